"""File locks of the operating system: they keep a file to one writer at a time, and end with the process."""

from __future__ import annotations

import os
import sys
from typing import BinaryIO

# An offset beyond the end of any real file: on Windows other processes cannot read a locked range.
_PLACE = 0x7FFFFFF0


def lock(file: BinaryIO) -> bool:
    """Lock an open file until it is closed.

    Returns False if the file is already locked, by this process or another one. On a file system without locks
    nothing is locked, and the result is True.
    """
    if sys.platform == "win32":
        import msvcrt

        before = file.tell()
        try:
            file.seek(_PLACE)
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        finally:
            file.seek(before)
        return True
    import fcntl

    try:
        # Not lockf: a process loses its locks when it closes any of its handles of the file.
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return True
    return True


def is_at(file: BinaryIO, path: str | os.PathLike[str]) -> bool:
    """Whether ``path`` still names the open file."""
    try:
        return os.path.samestat(os.fstat(file.fileno()), os.stat(path))
    except OSError:
        return False
