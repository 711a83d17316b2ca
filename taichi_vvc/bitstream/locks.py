"""Who may write a file: one writer at a time, by the system's own locks, which end with the process that holds them."""

from __future__ import annotations

import os
import sys
from typing import BinaryIO

# Far behind what files hold: on Windows others cannot read what is locked.
_PLACE = 0x7FFFFFF0


def lock(file: BinaryIO) -> bool:
    """Lock an open file until it is closed; False if another one has locked it, in this process or elsewhere.

    Where the file system has no locks nothing is locked, and the answer is True.
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
        # Not lockf, whose locks a process loses when it closes any of its handles of the file.
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
