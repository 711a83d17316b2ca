"""The file as a whole: what readers and writers of .tvvc files need. See :mod:`.chunks` for the framing."""

from .chunks import FORMAT_VERSION, FrameEntry, GroupEntry
from .reader import StreamReader
from .writer import StreamWriter

__all__ = ["FORMAT_VERSION", "FrameEntry", "GroupEntry", "StreamReader", "StreamWriter"]
