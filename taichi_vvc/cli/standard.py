"""Makes the standard streams and signals of the process usable, also if streams are closed or full.

Only the standard library is imported, since this runs before anything else.
"""

from __future__ import annotations

import errno
import os
import signal
import sys
import threading
from typing import Any, NoReturn

# Set on SIGTERM, which is the process's and not a call's.
_terminated = threading.Event()


class Terminated(KeyboardInterrupt):
    """Raised on SIGTERM. Code that handles Ctrl-C handles it, too."""


class _LossyStream:
    """A stream for messages that ignores errors of writing: text is lost if nobody reads it, and the work goes on."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        """Writes ``text``, or drops it if that fails."""
        try:
            return int(self._stream.write(text))
        except OSError:
            return len(text)

    def flush(self) -> None:
        """Flushes the stream and ignores errors."""
        try:
            self._stream.flush()
        except OSError:
            pass


def _fill_gaps() -> None:
    """Opens the null device for each closed standard stream, so that no other file gets its descriptor.

    Otherwise the next opened file would get the descriptor, and printed text would be written into it. The device is
    opened for the wrong direction (stdout for reading), so that using the stream still fails.
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
    """Prepares streams and signals of the process. Called once by the console script, not by tests within pytest."""
    _fill_gaps()
    if sys.stdout is None:
        # sys.__stdout__ is set, too: libraries compare the two to recognise a notebook.
        sys.stdout = sys.__stdout__ = open(  # type: ignore[misc] # noqa: SIM115 - lasts as long as the process
            1, "w", encoding="utf-8", closefd=False
        )
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115
    sys.stderr = _LossyStream(sys.stderr)
    try:
        signal.signal(signal.SIGTERM, _terminate)
    except ValueError:
        pass  # not in the main thread, where alone signal handlers can be set


def _terminate(_number: int, _frame: object) -> NoReturn:
    # A second SIGTERM ends the process at once.
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    _terminated.set()
    raise Terminated


def interrupted_status(error: BaseException) -> int:
    """The exit code after Ctrl-C or SIGTERM: 128 plus the signal's number, as in shells."""
    # Click may wrap the exception in one of its own. Ray raises a KeyboardInterrupt in place of it where it waits.
    return 143 if _terminated.is_set() or Terminated in (type(error), type(error.__cause__)) else 130


def is_output_error(error: BaseException) -> bool:
    """Whether an error comes from writing to a closed stdout or to a full device behind it."""
    return (
        isinstance(error, OSError) and error.filename is None and error.errno in (errno.EBADF, errno.ENOSPC, errno.EIO)
    )


def abandon_stdout() -> None:
    """Redirects stdout to the null device, since Python would report the unwritten buffer again at exit."""
    try:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except (OSError, ValueError):
        pass


def system_error_line(error: OSError) -> str:
    """An error of the operating system as one line."""
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
