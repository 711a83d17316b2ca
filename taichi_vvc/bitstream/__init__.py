"""The .tvvc container: syntax, chunks, reader and writer. Standard library only. Format: ``docs/bitstream.md``."""

from taichi_vvc.bitstream.chunks import FORMAT_VERSION, FrameEntry, GroupEntry
from taichi_vvc.bitstream.reader import StreamReader
from taichi_vvc.bitstream.syntax import (
    CameraRecord,
    FrameData,
    GroupHeader,
    Intrinsics,
    Layout,
    Level,
    SequenceHeader,
    settings_text,
)
from taichi_vvc.bitstream.writer import StreamWriter

__all__ = [
    "FORMAT_VERSION",
    "CameraRecord",
    "FrameData",
    "FrameEntry",
    "GroupEntry",
    "GroupHeader",
    "Intrinsics",
    "Layout",
    "Level",
    "SequenceHeader",
    "StreamReader",
    "StreamWriter",
    "settings_text",
]
