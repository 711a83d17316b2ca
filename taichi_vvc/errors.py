"""The exceptions of the package.

::

    TvvcError
    |-- ConfigError              a setting is out of range or contradicts another (exit code 2)
    |-- DataError                the capture cannot be used, or an output cannot be written (exit code 3)
    |-- StreamError              a .tvvc file cannot be used (exit code 4)
    |   |-- NotATvvcFile         the magic number is missing
    |   |-- UnsupportedVersion   written by a newer version of the format
    |   |-- TruncatedStream      the file ends inside a chunk, or has no index
    |   |-- CorruptStream        a checksum, a limit or the order of chunks is violated
    |   `-- MemoryLimitExceeded  decoding would exceed the memory limit, see ``taichi_vvc.open``
    `-- BackendError             the compute backend is missing or ran out of memory (exit code 5)

    TvvcWarning (a warning)
    |-- TargetMissed             a finished file misses its target bitrate or PSNR
    |-- PreviewStopped           a preview picture cannot be written; the encode goes on without previews
    |-- MaskIgnored              an empty mask contradicts those of all other cameras
    |-- CamerasMoved             the pictures say that the calibration is off; cameras were moved
    |-- WorkerLost           a worker was lost; what it was coding is coded again
    |-- MasksDisagree            masks lack a part of the subject that other cameras' masks show
    `-- OtherCameras             an evaluation uses other cameras than the capture or the caller states

Messages are one line: what was expected, what was found, what to do.
"""

from __future__ import annotations

import re

LONGEST_LINE = 1000  # characters: more than any message needs whose names are those of real files

# Characters that end a line, control a terminal or cannot be printed.
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")


def one_line(message: str) -> str:
    """``message`` with control characters escaped, and without its middle if it is very long."""
    if len(message) > LONGEST_LINE:
        message = f"{message[: LONGEST_LINE - 305]} ... {message[-300:]}"
    return _CONTROL.sub(lambda found: f"\\x{ord(found[0]):02x}", message)


class TvvcError(Exception):
    """Base of all errors that this package raises on purpose. ``exit_code`` is the command line's status.

    The message is one line of limited length, whatever names and values it contains.
    """

    exit_code = 1

    def __init__(self, message: object = "") -> None:
        super().__init__(one_line(str(message)))


class ConfigError(TvvcError):
    """A setting is out of its range or contradicts another one."""

    exit_code = 2


class DataError(TvvcError):
    """A capture cannot be read or makes no sense, or an output cannot be written (a full disk)."""

    exit_code = 3


class StreamError(TvvcError):
    """A .tvvc file cannot be read."""

    exit_code = 4


class NotATvvcFile(StreamError):
    """The file does not start with the magic number of the format."""


class UnsupportedVersion(StreamError):
    """The file needs a newer decoder."""


class TruncatedStream(StreamError):
    """The file ends before its last chunk does, or before its index."""


class CorruptStream(StreamError):
    """A checksum fails, a value is outside its limits, or chunks are missing or out of order."""


class MemoryLimitExceeded(StreamError):
    """Decoding or rendering would exceed the memory limit; nothing was allocated."""


class BackendError(TvvcError):
    """The requested compute backend cannot be used here."""

    exit_code = 5


class TvvcWarning(UserWarning):
    """Base of the warnings of this package; the command line prints each as a line."""


class TargetMissed(TvvcWarning):
    """A finished file misses the target bitrate or the target PSNR of its encode."""


class PreviewStopped(TvvcWarning):
    """A preview picture cannot be written; the encode goes on without previews."""


class MaskIgnored(TvvcWarning):
    """The mask of a training view is empty although the others show a subject in its view; the view is not used."""


class MasksDisagree(TvvcWarning):
    """Masks of training views contradict each other; the message names those that lack a part, if that is known."""


class CamerasMoved(TvvcWarning):
    """Pictures of training cameras show that their calibration is off; the encode has moved these cameras."""


class WorkerLost(TvvcWarning):
    """A worker of an encode in parts was lost; another one codes its part again."""


class OtherCameras(TvvcWarning):
    """An evaluation compares other cameras than those of the capture's split or of the requested split."""
