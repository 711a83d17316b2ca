"""The .tvvc container: syntax, chunks, reader and writer. Standard library only. Format: ``docs/bitstream.md``."""

from taichi_vvc.bitstream.container import FORMAT_VERSION, FrameEntry, StreamReader, StreamWriter
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

__all__ = [
    "FORMAT_VERSION",
    "CameraRecord",
    "FrameData",
    "FrameEntry",
    "GroupHeader",
    "Intrinsics",
    "Layout",
    "Level",
    "SequenceHeader",
    "StreamReader",
    "StreamWriter",
    "settings_text",
]
