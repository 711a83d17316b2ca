"""What a file holds between header and index: entries of its chunks, and the order that they keep."""

from __future__ import annotations

from dataclasses import dataclass

from taichi_vvc.errors import CorruptStream


@dataclass(frozen=True)
class FrameEntry:
    """Where the chunk of a frame is.

    Attributes:
        number: frame number within the file.
        type: ``"key"`` or ``"inter"``.
        group: number of its group.
        offset: bytes from the start of the file to its chunk.
        size: bytes of its chunk with framing; a key frame's group chunk is not included.
    """

    number: int
    type: str
    group: int
    offset: int
    size: int


@dataclass(frozen=True)
class GroupEntry:
    """Where the chunk of a group's parameters is.

    Attributes:
        number: number of the group.
        first_frame: number of its first frame.
        offset: bytes from the start of the file to its chunk.
        size: bytes of its chunk with framing.
        mlp, colours: whether its chunk holds MLPs and colour maps of its own; None where the index does not tell.
    """

    number: int
    first_frame: int
    offset: int
    size: int
    mlp: bool | None = None
    colours: bool | None = None


@dataclass(frozen=True)
class SoundEntry:
    """Where a run of Opus packets is.

    Attributes:
        number: of its first packet within the file.
        offset: bytes from the start of the file to its chunk.
        size: bytes of its chunk with framing.
    """

    number: int
    offset: int
    size: int


@dataclass(frozen=True)
class OtherEntry:
    """Where a chunk is that a decoder passes over: its ``offset`` in the file and its ``size`` with framing, bytes."""

    offset: int
    size: int


Entry = FrameEntry | GroupEntry | SoundEntry | OtherEntry


@dataclass(frozen=True)
class Contents:
    """The chunks between header and index of a file.

    Attributes:
        groups, frames, sounds, others: their entries, in file order.
        end: offset of the first byte after the last whole chunk of the sequence.
        complete: whether an index follows.
    """

    groups: tuple[GroupEntry, ...]
    frames: tuple[FrameEntry, ...]
    sounds: tuple[SoundEntry, ...]
    others: tuple[OtherEntry, ...]
    end: int
    complete: bool


class Order:
    """Collects entries of chunks in file order and refuses a chunk that breaks the order.

    The order: numbers count up by one, a group's chunk comes before its frames, and exactly the first frame of each
    group is a key frame. Sound and chunks of other types may stand anywhere; numbers of packets count up.
    """

    def __init__(self, start: int) -> None:
        self.groups: list[GroupEntry] = []
        self.frames: list[FrameEntry] = []
        self.sounds: list[SoundEntry] = []
        self.others: list[OtherEntry] = []
        self.end = start

    def problem(self, kind: str, number: int) -> str:
        """The reason why a chunk cannot come next, or "". ``kind``: one of ``ENTRY_KINDS``."""
        if kind == "other":
            return ""
        if kind == "sound":
            first, least = not self.sounds, self.sounds[-1].number + 1 if self.sounds else 0
            if number < least or (first and number):
                return f"expected packet {least}{'' if first else ' or a later one'}, found packet {number}"
            return ""
        if kind == "group":
            if number != len(self.groups):
                return f"expected group {len(self.groups)}, found group {number}"
            if self.groups and self.groups[-1].first_frame == len(self.frames):
                return f"expected a frame of group {len(self.groups) - 1}, found group {number}"
            return ""
        if not self.groups:
            return "expected a group, found a frame"
        expected = "key" if self.groups[-1].first_frame == len(self.frames) else "inter"
        if number != len(self.frames) or kind != expected:
            return f"expected {expected} frame {len(self.frames)}, found {kind} frame {number}"
        return ""

    def add(self, kind: str, number: int, size: int, mlp: bool | None = None, colours: bool | None = None) -> None:
        """Appends the next chunk, of ``size`` bytes. Raises :class:`CorruptStream` where it breaks the order.

        ``mlp`` and ``colours``: what a group's chunk holds, see :class:`GroupEntry`.
        """
        problem = self.problem(kind, number)
        if problem:
            raise CorruptStream(f"chunk at byte {self.end}: {problem}; the file is damaged")
        if kind == "group":
            self.groups.append(GroupEntry(number, len(self.frames), self.end, size, mlp, colours))
        elif kind == "sound":
            self.sounds.append(SoundEntry(number, self.end, size))
        elif kind == "other":
            self.others.append(OtherEntry(self.end, size))
        else:
            self.frames.append(FrameEntry(number, kind, len(self.groups) - 1, self.end, size))
        self.end += size

    def contents(self, complete: bool) -> Contents:
        """What was collected. ``complete``: whether an index follows."""
        groups, frames = tuple(self.groups), tuple(self.frames)
        return Contents(groups, frames, tuple(self.sounds), tuple(self.others), self.end, complete)

    def cut(self, end: int) -> None:
        """Forgets the chunks from the offset ``end`` on."""
        self.groups = [entry for entry in self.groups if entry.offset < end]
        self.frames = [entry for entry in self.frames if entry.offset < end]
        self.sounds = [entry for entry in self.sounds if entry.offset < end]
        self.others = [entry for entry in self.others if entry.offset < end]
        self.end = end

    def entries(self) -> list[Entry]:
        """All entries in the order of the file."""
        return sorted((*self.groups, *self.frames, *self.sounds, *self.others), key=lambda entry: entry.offset)
