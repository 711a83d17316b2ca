"""The file as a whole: what readers and writers of .tvvc files need. See :mod:`.chunks` for the framing."""

from taichi_vvc.bitstream.chunks import FORMAT_VERSION, FrameEntry, GroupEntry
from taichi_vvc.bitstream.reader import StreamReader
from taichi_vvc.bitstream.writer import StreamWriter

__all__ = ["FORMAT_VERSION", "FrameEntry", "GroupEntry", "StreamReader", "StreamWriter"]
