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
    |   `-- MemoryLimitExceeded  it would take more memory than it may, see ``taichi_vvc.open``
    `-- BackendError             the compute backend is missing or ran out of memory (exit code 5)

    TvvcWarning (a warning)
    |-- TargetMissed             a finished file has not quite the bitrate or PSNR that was asked for
    |-- PreviewStopped           a preview picture cannot be written; the encode goes on without them
    |-- MaskIgnored              an empty mask contradicts those of all other cameras
    |-- MasksDisagree            masks lack what those of the other cameras show
    `-- OtherCameras             a comparison is with other cameras than the capture or the caller says

Messages are one line: what was expected, what was found, what to do.
"""

from __future__ import annotations


class TvvcError(Exception):
    """Base of all errors that this package raises on purpose. ``exit_code`` is the command line's status."""

    exit_code = 1


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
    """Decoding or drawing would take more memory than the file may have; nothing was allocated."""


class BackendError(TvvcError):
    """The requested compute backend cannot be used here."""

    exit_code = 5


class TvvcWarning(UserWarning):
    """Base of the warnings of this package, which the command line shows as lines."""


class TargetMissed(TvvcWarning):
    """A finished file misses the bitrate or the PSNR that its encode was given."""


class PreviewStopped(TvvcWarning):
    """A picture of an encode under way cannot be written; the encode goes on without such pictures."""


class MaskIgnored(TvvcWarning):
    """The mask of a training view is empty where those of the others show something; the view is not used."""


class MasksDisagree(TvvcWarning):
    """Masks of training views contradict each other: some lack what the others show, or no telling which."""


class OtherCameras(TvvcWarning):
    """An evaluation compares other cameras than the capture's split, or the split that was asked for, would give."""
