"""The container of a .tvvc file: syntax tables, chunks, checksums, reader and writer.

:class:`StreamWriter` appends groups and frames, and the file plays after every frame. :class:`StreamReader` opens a
file and reads groups and frames when they are asked for. The dataclasses (:class:`SequenceHeader`,
:class:`GroupHeader`, :class:`FrameData` and others) are the records of the file; coded payloads are plain bytes here.
``bitstream/syntax.py`` has one table per record, used for both directions. The normative text is
``docs/bitstream.md``. The room imports the standard library and ``errors`` only, so that any program can inspect a
file without NumPy, Taichi or the entropy coder.
"""

from taichi_vvc.bitstream.chunks import FORMAT_VERSION
from taichi_vvc.bitstream.contents import FrameEntry, GroupEntry
from taichi_vvc.bitstream.reader import StreamReader
from taichi_vvc.bitstream.settings import settings_text
from taichi_vvc.bitstream.sound import Sound
from taichi_vvc.bitstream.syntax import (
    CameraRecord,
    FrameData,
    GroupHeader,
    Intrinsics,
    Layout,
    Level,
    SequenceHeader,
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
    "Sound",
    "StreamReader",
    "StreamWriter",
    "settings_text",
]
