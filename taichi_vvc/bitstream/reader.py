"""Reading a .tvvc file: header and index on opening, groups and frames on demand, each checked when it is read."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any

from taichi_vvc.bitstream import chunks, versions
from taichi_vvc.bitstream.contents import FrameEntry, GroupEntry, OtherEntry, SoundEntry
from taichi_vvc.bitstream.elements import Structure
from taichi_vvc.bitstream.sound import Sound, SoundData
from taichi_vvc.bitstream.syntax import FrameData, GroupHeader, SequenceHeader
from taichi_vvc.errors import CorruptStream, StreamError, TruncatedStream


class StreamReader:
    """An open .tvvc file; usable as a context manager.

    Attributes:
        path: path of the file.
        size: bytes of the file.
        version: format version of the file.
        header: the sequence header.
        header_bytes: bytes of preamble and header chunk.
        complete: whether the file has a valid index. Without one, the encode was stopped or the index is damaged, and
            the frames were found by walking over the chunks.
        frames: one :class:`FrameEntry` per frame.
        groups: one :class:`GroupEntry` per group.
        sounds: one :class:`SoundEntry` per run of sound; empty for a file without.
        others: chunks of types that are passed over.

    Raises:
        StreamError: the header cannot be read: :class:`NotATvvcFile`, :class:`UnsupportedVersion`,
            :class:`TruncatedStream` or :class:`CorruptStream`.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        try:
            self._file = open(self.path, "rb")  # noqa: SIM115
        except OSError as error:
            raise StreamError(f"{self.path}: expected a readable .tvvc file, found: {error.strerror}") from error
        try:
            self._open()
        except BaseException:
            self._file.close()
            raise

    def _open(self) -> None:
        self.size = os.fstat(self._file.fileno()).st_size
        self.version = chunks.read_preamble(self._file, str(self.path))
        chunk = chunks.peek(self._file, chunks.PREAMBLE_BYTES, self.size)
        if chunk is None:
            raise TruncatedStream(f"{self.path}: expected a whole sequence header, found {self.size} bytes")
        payload = chunks.read_payload(self._file, chunk, f"{self.path}: sequence header")
        if chunk.type != chunks.HEADER:
            raise CorruptStream(f"{self.path}: expected a sequence header first, found type {chunk.type!r}")
        self.header: SequenceHeader = versions.parse_header(payload, self.version)
        self.header_bytes = chunk.end
        try:
            contents = chunks.read_index(self._file, chunk.end, self.size, self.version, self.header.fps)
        except StreamError:
            contents = chunks.scan(self._file, chunk.end, self.size, verify=False, version=self.version)
            self.complete = False
        else:
            self.complete = True
        self.frames: tuple[FrameEntry, ...] = contents.frames
        self.groups: tuple[GroupEntry, ...] = contents.groups
        self.sounds: tuple[SoundEntry, ...] = contents.sounds
        self.others: tuple[OtherEntry, ...] = contents.others
        self._owners: dict[int, int] = {}
        self._owner = GroupHeader(-1, 0, (), (), b"")
        self._colours: dict[int, bytes] = {}

    def _read(self, entry: FrameEntry | GroupEntry | SoundEntry, kind: bytes, structure: Structure, what: str) -> Any:
        chunk = chunks.peek(self._file, entry.offset, self.size)
        place = f"{self.path}: {what}"
        if chunk is None or chunk.type != kind or chunk.end - chunk.offset != entry.size:
            raise CorruptStream(f"{place} at byte {entry.offset}: expected {entry.size} bytes, found another chunk")
        return structure.parse(chunks.read_payload(self._file, chunk, place), f"{place} at byte {entry.offset}")

    def read_group(self, number: int) -> GroupHeader:
        """The parameters in a group's own chunk: without MLPs where it shares those of the group before.

        Raises:
            CorruptStream: the chunk is damaged.
            IndexError: there is no group of this number.
        """
        entry = self.groups[number]
        group: GroupHeader = self._read(entry, chunks.GROUP, versions.GROUPS[self.version], f"group {number}")
        if (group.number, group.first_frame) != (entry.number, entry.first_frame):
            raise CorruptStream(f"{self.path}: expected group {entry.number}, found group {group.number}")
        if len(group.grid_steps) != 1 + len(self.header.layout.levels):
            count = 1 + len(self.header.layout.levels)
            raise CorruptStream(f"{self.path}: group {number}: expected {count} steps, found {len(group.grid_steps)}")
        if not group.mlp and (number == 0 or self.version < versions.FIRST_WITH_SHARED_MLPS):
            raise CorruptStream(f"{self.path}: group {number}: expected MLPs, found none")
        for what, stated, there in (("MLPs", entry.mlp, group.mlp), ("colours", entry.colours, group.colours)):
            if stated is not None and stated != bool(there):
                expected, found = (what, "none") if stated else (f"no {what}", "some")
                raise CorruptStream(f"{self.path}: group {number}: expected {expected} by the index, found {found}")
        return group

    def owner_of_mlp(self, number: int) -> GroupHeader:
        """The group whose chunk holds the MLPs of group ``number``: itself, or the last one before it that has any.

        Raises:
            CorruptStream: its chunk is damaged, or one between the two groups that might have MLPs.
            IndexError: there is no group of this number.
        """
        group, passed = self.read_group(number), []
        while not group.mlp:
            passed.append(group.number)
            # Owners found earlier shorten the walk: a file may have many groups and one set of MLPs.
            before = self._owners.get(group.number, self._before(group.number))
            if before == self._owner.number and self._owner.mlp:
                group = self._owner
                break
            try:
                group = self.read_group(before)
            except CorruptStream as error:
                raise CorruptStream(f"{error}; group {number} shares its MLPs") from error
        self._owners.update(dict.fromkeys(passed, group.number))
        self._owner = group
        return group

    def _before(self, number: int) -> int:
        """The last group before ``number`` whose chunk may hold MLPs; the first one should have some."""
        number -= 1
        while number > 0 and self.groups[number].mlp is False:
            number -= 1
        return number

    def read_whole_group(self, number: int) -> GroupHeader:
        """The parameters of a group with its MLPs, from whichever group's chunk holds them.

        Raises:
            CorruptStream: it or a group that it shares MLPs with is damaged.
            IndexError: there is no group of this number.
        """
        group = self.read_group(number)
        if group.mlp:
            return group
        owner = self.owner_of_mlp(number)
        return replace(group, mlp_steps=owner.mlp_steps, mlp=owner.mlp)

    def read_colours(self, number: int) -> bytes:
        """The coded colour maps of the cameras in group ``number``: its own, or those of the last group before it that
        has any; empty for none.

        Raises:
            CorruptStream: its chunk is damaged, or one between the two groups that might have some.
            IndexError: there is no group of this number.
        """
        if self.version < versions.FIRST_WITH_SHELL:
            return b""
        passed: list[int] = []
        at = number
        while at not in self._colours:
            try:
                coded = b"" if self.groups[at].colours is False else self.read_group(at).colours
            except CorruptStream as error:
                raise CorruptStream(f"{error}; group {number} has its colours of cameras") from error
            if coded or at == 0:
                self._colours[at] = coded
            else:
                passed.append(at)
                at -= 1
        self._colours.update(dict.fromkeys(passed, self._colours[at]))
        return self._colours[at]

    def read_frame(self, number: int) -> FrameData:
        """The coded payloads of a frame.

        Raises:
            CorruptStream: its chunk is damaged.
            IndexError: there is no frame of this number.
        """
        entry = self.frames[number]
        frame: FrameData = self._read(entry, chunks.FRAME, versions.FRAMES[self.version], f"frame {number}")
        if (frame.number, frame.group, frame.type) != (entry.number, entry.group, entry.type):
            raise CorruptStream(f"{self.path}: expected frame {entry.number}, found frame {frame.number}")
        if len(frame.grids) != 1 + len(self.header.layout.levels):
            count = 1 + len(self.header.layout.levels)
            raise CorruptStream(f"{self.path}: frame {number}: expected {count} grids, found {len(frame.grids)}")
        return frame

    def read_sound(self, index: int) -> SoundData:
        """A run of sound, by its place in :attr:`sounds`.

        Raises:
            CorruptStream: its chunk is damaged.
            IndexError: there is no such run.
        """
        entry = self.sounds[index]
        run: SoundData = self._read(entry, chunks.SOUND, versions.SOUNDS[self.version], f"sound {index}")
        if run.number != entry.number:
            raise CorruptStream(f"{self.path}: expected packet {entry.number} of sound, found packet {run.number}")
        return run

    def sound(self) -> Sound | None:
        """All sound of the file; None for a file without.

        Raises:
            CorruptStream: a run of it is damaged, or they do not follow each other.
        """
        runs = [self.read_sound(index) for index in range(len(self.sounds))]
        packets: list[bytes] = []
        for run in runs:
            if (run.number, run.channels, run.skip) != (len(packets), runs[0].channels, runs[0].skip):
                raise CorruptStream(f"{self.path}: expected packet {len(packets)} of one sound, found another")
            packets += run.packets
        return Sound(runs[0].channels, runs[0].skip, tuple(packets)) if runs else None

    def frame_size(self, number: int) -> int:
        """Bytes that a frame added to the file, from the index; for a key frame with its group's parameters."""
        entry = self.frames[number]
        return entry.size + (self.groups[entry.group].size if entry.type == "key" else 0)

    def components(self, number: int) -> dict[str, int]:
        """Bytes of a frame by part; they sum to :meth:`frame_size`.

        Keys: ``coefficients``, ``level1`` ..., ``occupancy``, ``motion``, ``cameras`` (their moves and colour maps; 0
        where there are none), ``mlp`` (0 except on the first frame of a group with MLPs of its own), and ``overhead``:
        framing, numbers, lengths and checksums.
        """
        entry, frame = self.frames[number], self.read_frame(number)
        parts = {"coefficients": len(frame.grids[0])}
        parts.update({f"level{k}": len(payload) for k, payload in enumerate(frame.grids[1:], 1)})
        parts["occupancy"] = len(frame.occupancy)
        parts["motion"] = len(frame.motion)
        parts["cameras"] = len(frame.cameras)
        parts["mlp"] = 0
        if entry.type == "key":
            group = self.read_group(entry.group)
            parts["mlp"] = len(group.mlp)
            parts["cameras"] += len(group.colours)
        parts["overhead"] = self.frame_size(number) - sum(parts.values())
        return parts

    def scan(self, verify: bool = True) -> None:
        """Reads every chunk and checks it. Raises :class:`CorruptStream` where one is damaged."""
        for group in self.groups:
            self.read_group(group.number)
        for frame in self.frames:
            self.read_frame(frame.number)
        self.sound()
        if verify and not self.complete:
            chunks.scan(self._file, self.header_bytes, self.size, verify=True, version=self.version)

    def close(self) -> None:
        """Closes the file."""
        self._file.close()

    def __enter__(self) -> StreamReader:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
