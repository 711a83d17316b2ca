"""Everything that a command says on stderr: messages, warnings and progress.

On a terminal, progress is one live line (rich, which honours ``NO_COLOR``); elsewhere it is plain lines, one per
finished item and one now and then in between, so that a log stays readable. ``--quiet`` leaves warnings and errors.
"""

from __future__ import annotations

import os
import sys
import time
from types import TracebackType
from typing import Any

from taichi_vvc.cli.options import settings

PLAIN_INTERVAL = 15.0  # seconds between plain lines about an unfinished item


def say(message: str) -> None:
    """A message for the user, unless ``--quiet``."""
    if not settings.quiet:
        print(message, file=sys.stderr, flush=True)


def detail(message: str) -> None:
    """A message that only ``-v`` shows."""
    if settings.verbose and not settings.quiet:
        print(message, file=sys.stderr, flush=True)


def warn(message: str) -> None:
    """A warning, shown even with ``--quiet``."""
    print(f"warning: {' '.join(message.split())}", file=sys.stderr, flush=True)


def clock(seconds: float) -> str:
    """A duration as ``m:ss`` or ``h:mm:ss``."""
    minutes, rest = divmod(int(seconds + 0.5), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def is_interactive() -> bool:
    """Whether stderr is a terminal that can rewrite a line."""
    return sys.stderr.isatty() and os.environ.get("TERM", "") != "dumb"


class ProgressLine:
    """Progress over ``total`` items of about equal cost; use as a context manager.

    ``update`` says how far the work is, with fractions for a part of an item; ``finish_item`` leaves a line behind.
    """

    def __init__(self, total: int, label: str, keep_lines: bool = True) -> None:
        self.total, self.label, self.keep_lines = total, label, keep_lines
        self._start = self._last_plain = time.monotonic()
        self._live: Any = None
        self._task: Any = None

    def __enter__(self) -> ProgressLine:
        self._start = self._last_plain = time.monotonic()
        if not settings.quiet and is_interactive():
            from rich.console import Console
            from rich.progress import BarColumn, Progress, TextColumn

            columns = (TextColumn("{task.description}"), BarColumn(bar_width=24), TextColumn("{task.fields[text]}"))
            self._live = Progress(*columns, console=Console(stderr=True, highlight=False), transient=True)
            self._live.start()
            self._task = self._live.add_task(self.label, total=self.total, text="")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.stop()

    def remaining(self, done: float) -> str:
        """The expected time to the end as text; empty while nothing is known."""
        elapsed = time.monotonic() - self._start
        return f"ETA {clock(elapsed / done * (self.total - done))}" if done > 0 and elapsed > 0.5 else ""

    def update(self, done: float, text: str = "") -> None:
        """The work is at ``done`` of ``total`` items; ``text`` says what is going on."""
        if settings.quiet:
            return
        parts = [part for part in (text, self.remaining(done)) if part]
        if self._live is not None:
            self._live.update(self._task, completed=done, text="  ".join(parts))
        elif time.monotonic() - self._last_plain >= PLAIN_INTERVAL:
            self._last_plain = time.monotonic()
            print("  ".join((self.label, *parts)), file=sys.stderr, flush=True)

    def finish_item(self, done: int, text: str) -> None:
        """Item number ``done`` (counted from 1) is complete; ``text`` is its line."""
        if settings.quiet:
            return
        if self._live is not None:
            self._live.update(self._task, completed=done)
            if self.keep_lines:
                self._live.console.print(text, markup=False, highlight=False, soft_wrap=True)
        elif self.keep_lines:
            self._last_plain = time.monotonic()
            print(text, file=sys.stderr, flush=True)
