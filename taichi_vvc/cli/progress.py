"""The output of commands on stderr: messages, warnings and progress.

On a terminal, progress is one live line (rich, which honours ``NO_COLOR``). Elsewhere it is plain lines: one per
finished item, and one every few seconds in between. With ``--quiet`` only warnings and errors are printed.

``--progress json`` writes one JSON object per line for programs. ``docs/quickstart.md`` documents its keys; ``event``
is progress, item, message, warning, result or error, and determines the other keys.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import sys
import time
import warnings
from collections.abc import Iterator, Sequence
from types import TracebackType
from typing import Any

from taichi_vvc.cli.options import settings
from taichi_vvc.cli.text import printable
from taichi_vvc.errors import TvvcWarning

PLAIN_INTERVAL = 15.0  # seconds between plain lines about an unfinished item
JSON_INTERVAL = 0.5  # seconds between JSON lines about an unfinished item


def emit(event: str, **fields: Any) -> None:
    """Prints one JSON object on stderr; infinities and NaN become null."""
    finite = {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in fields.items()}
    # Only ASCII: an stderr that cannot encode a character would write a Python escape, which is invalid JSON.
    print(json.dumps({"event": event, **finite}, allow_nan=False), file=sys.stderr, flush=True)


def say(message: str) -> None:
    """Prints a message for the user, unless ``--quiet``."""
    if settings.json and not settings.quiet:
        emit("message", text=message)
    elif not settings.quiet:
        print(printable(message), file=sys.stderr, flush=True)


def detail(message: str) -> None:
    """Prints a message with ``-v`` only."""
    if settings.verbose:
        say(message)


def warn(message: str) -> None:
    """Prints a warning, even with ``--quiet``."""
    text = printable(" ".join(message.split()))
    if settings.json:
        emit("warning", text=text)
    else:
        print(f"warning: {text}", file=sys.stderr, flush=True)


def say_result(message: str, **fields: Any) -> None:
    """Prints the result of a command: ``message`` for people, ``fields`` for programs. Nothing with ``--quiet``."""
    if settings.json and not settings.quiet:
        emit("result", **fields)
    else:
        say(message)


@contextlib.contextmanager
def warnings_said() -> Iterator[None]:
    """A context in which the package's warnings are printed in the form of the command line's own."""
    with warnings.catch_warnings():
        warnings.simplefilter("always", TvvcWarning)
        show = warnings.showwarning

        def shown(message: Warning | str, category: type[Warning], *place: Any, **more: Any) -> None:
            if issubclass(category, TvvcWarning):
                warn(str(message))
            else:
                show(message, category, *place, **more)

        warnings.showwarning = shown
        yield


def clock(seconds: float) -> str:
    """A duration as ``m:ss`` or ``h:mm:ss``."""
    minutes, rest = divmod(int(seconds + 0.5), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def is_interactive() -> bool:
    """Whether stderr is a terminal that can rewrite a line."""
    return sys.stderr.isatty() and os.environ.get("TERM", "") != "dumb"


class ProgressLine:
    """Progress over ``total`` items; use as a context manager.

    ``update`` sets the progress, with fractions for a part of an item; ``finish_item`` prints a line. ``costs`` are the
    costs of the items in any unit, for the expected time; without it all items count the same.
    """

    def __init__(self, total: int, label: str, keep_lines: bool = True, costs: Sequence[float] | None = None) -> None:
        self.total, self.label, self.keep_lines = total, label, keep_lines
        self._costs = [1.0] * total if costs is None else list(costs)
        self._begun: tuple[float, float] | None = None
        self._start = self._last_plain = time.monotonic()
        self._last_json = -math.inf
        self._live: Any = None
        self._task: Any = None

    def __enter__(self) -> ProgressLine:
        self._start = self._last_plain = time.monotonic()
        if not settings.quiet and not settings.json and is_interactive():
            from rich.console import Console
            from rich.progress import BarColumn, Progress, TextColumn

            # The text may contain names of cameras that look like rich's markup.
            text = TextColumn("{task.fields[text]}", markup=False)
            columns = (TextColumn("{task.description}"), BarColumn(bar_width=24), text)
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
        """The expected time to the end as text; "" while it is unknown."""
        seconds = self._remaining_seconds(done)
        return "" if seconds is None else f"ETA {clock(seconds)}"

    def begin(self, done: float) -> None:
        """Starts the measurement of speed at ``done``: work and time before it do not count for the expected time."""
        self._begun = time.monotonic(), self._cost(done)

    def _cost(self, done: float) -> float:
        """The cost of the first ``done`` items, fractions included."""
        whole = int(done)
        return sum(self._costs[:whole]) + (done - whole) * sum(self._costs[whole : whole + 1])

    def _remaining_seconds(self, done: float) -> float | None:
        start, before = self._begun or (self._start, 0.0)
        elapsed, cost = time.monotonic() - start, self._cost(done)
        return elapsed / (cost - before) * (sum(self._costs) - cost) if cost > before and elapsed > 0.5 else None

    def _emit(self, event: str, done: float, text: str, fields: dict[str, Any]) -> None:
        remaining = self._remaining_seconds(done)
        emit(
            event,
            task=self.label,
            done=round(done, 4),
            total=self.total,
            elapsed_s=round(time.monotonic() - self._start, 3),
            eta_s=None if remaining is None else round(remaining, 1),
            text=text,
            **fields,
        )

    def update(self, done: float, text: str = "", **fields: Any) -> None:
        """Sets the progress to ``done`` of ``total`` items; ``text`` is for people, ``fields`` are for programs."""
        if settings.quiet:
            return
        text = printable(text)
        if settings.json:
            if time.monotonic() - self._last_json >= JSON_INTERVAL:
                self._last_json = time.monotonic()
                self._emit("progress", done, text, fields)
            return
        parts = [part for part in (text, self.remaining(done)) if part]
        if self._live is not None:
            self._live.update(self._task, completed=done, text="  ".join(parts))
        elif time.monotonic() - self._last_plain >= PLAIN_INTERVAL:
            self._last_plain = time.monotonic()
            print("  ".join((self.label, *parts)), file=sys.stderr, flush=True)

    def finish_item(self, done: int, text: str, **fields: Any) -> None:
        """Reports item number ``done`` (counted from 1) as complete; ``text`` for people, ``fields`` for programs."""
        if settings.quiet:
            return
        text = printable(text)
        if settings.json:
            self._emit("item", done, text, fields)
            return
        if self._live is not None:
            self._live.update(self._task, completed=done)
            if self.keep_lines:
                self._live.console.print(text, markup=False, highlight=False, soft_wrap=True)
        elif self.keep_lines:
            self._last_plain = time.monotonic()
            print(text, file=sys.stderr, flush=True)
