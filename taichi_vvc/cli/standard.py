"""A command's standard streams and signals, whatever state the outside world left them in.

Only the standard library is imported: this runs before anything else.
"""

from __future__ import annotations

import errno
import os
import signal
import sys
from typing import Any, NoReturn


class Terminated(KeyboardInterrupt):
    """Somebody asked the process to end (SIGTERM). Everything that handles Ctrl-C handles it."""


class _Deaf:
    """A stream for messages whose reader may be gone or full: what it cannot take is lost, the work goes on."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        """Writes what can be written."""
        try:
            return int(self._stream.write(text))
        except OSError:
            return len(text)

    def flush(self) -> None:
        """Sends it on, if there is somebody."""
        try:
            self._stream.flush()
        except OSError:
            pass


def _fill_gaps() -> None:
    """Opens the null device under each standard number that is closed, the wrong way round, so that using it fails.

    Otherwise the next file that is opened would get the number, and what is printed would be written into it.
    """
    for number, way in ((0, os.O_WRONLY), (1, os.O_RDONLY), (2, os.O_RDONLY)):
        try:
            os.fstat(number)
        except OSError:
            opened = os.open(os.devnull, way)
            if opened != number:
                os.dup2(opened, number)
                os.close(opened)


def prepare() -> None:
    """Make the process ready for any command: called once, by the program and not by tests in a process of theirs."""
    _fill_gaps()
    if sys.stdout is None:
        # As the original one as well: libraries compare the two to find out whether they run in a notebook.
        sys.stdout = sys.__stdout__ = open(  # type: ignore[misc] # noqa: SIM115 - lasts as long as the process
            1, "w", encoding="utf-8", closefd=False
        )
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115
    sys.stderr = _Deaf(sys.stderr)
    try:
        signal.signal(signal.SIGTERM, _terminate)
    except ValueError:
        pass  # not the main thread of its process: signals are somebody else's


def _terminate(_number: int, _frame: object) -> NoReturn:
    # A second one ends the process at once.
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    raise Terminated


def interrupted_status(error: BaseException) -> int:
    """The exit code after Ctrl-C or SIGTERM: 128 and the signal's number, as shells have it."""
    # Click passes either on as an error of its own.
    return 143 if isinstance(error, Terminated) or isinstance(error.__cause__, Terminated) else 130


def is_output_error(error: BaseException) -> bool:
    """Whether stdout could not take what was written: it is closed, or what is behind it is full."""
    return (
        isinstance(error, OSError) and error.filename is None and error.errno in (errno.EBADF, errno.ENOSPC, errno.EIO)
    )


def abandon_stdout() -> None:
    """Whatever is still waiting to go to stdout goes nowhere: Python would complain of it once more at its end."""
    try:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except (OSError, ValueError):
        pass


def system_error_line(error: OSError) -> str:
    """What the system refused, in one line."""
    why = error.strerror or str(error)
    if is_output_error(error):
        return f"stdout: cannot write: {why}"
    if error.filename is None and isinstance(error, FileNotFoundError) and not _has_folder():
        return "the working directory no longer exists; change into one that does"
    return f"{error.filename}: {why}" if error.filename is not None else f"the system refused: {why}"


def _has_folder() -> bool:
    try:
        os.getcwd()
    except OSError:
        return False
    return True
