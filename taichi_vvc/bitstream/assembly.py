"""Assembling a file from whole groups of other files, without decoding them.

Groups are closed: a frame depends on its group's key frame and on what lies between, on the MLPs and colour maps that
hold in its group, and on the header. So a group can stand in any file with the same field and cameras. What changes are
its numbers, what it shares with the group before, and the checksums; coded payloads are copied. Cameras are coded as
differences to the header's, and are coded anew where the header has others.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Sequence
from dataclasses import replace
from fractions import Fraction
from types import TracebackType

from taichi_vvc.bitstream import versions
from taichi_vvc.bitstream.colours import NO_MAP, pack_colours
from taichi_vvc.bitstream.common import stand_alike
from taichi_vvc.bitstream.poses import CameraTrack, header_states, pack_cameras, parse_cameras, units
from taichi_vvc.bitstream.reader import StreamReader
from taichi_vvc.bitstream.sound_runs import SoundWriter
from taichi_vvc.bitstream.syntax import MAX_FRAMES, FrameData, GroupHeader, SequenceHeader
from taichi_vvc.bitstream.writer import StreamWriter
from taichi_vvc.errors import ConfigError


class Assembly:
    """A file that is put together group by group; made by :meth:`create`, usable as a context manager.

    The file plays after every group. What is written is on the disk when :meth:`add` returns, so that a crash loses the
    group at hand only. One group at a time is in memory.

    Attributes:
        header: the sequence header of the file.
        frames, groups: how many the file has so far.
    """

    def __init__(
        self, writer: StreamWriter, header: SequenceHeader, version: int, sound: SoundWriter | None = None
    ) -> None:
        self.header, self.version = header, version
        self.frames = self.groups = 0
        self._writer, self._sound = writer, sound
        self._mlp: tuple[bytes, tuple[float, ...]] = b"", ()
        self._no_maps = pack_colours([NO_MAP] * len(header.cameras), False)
        self._maps = self._no_maps
        states = header_states(header)
        self._key = CameraTrack(states, states)

    @classmethod
    def create(
        cls,
        path: str | os.PathLike[str],
        header: SequenceHeader,
        version: int = versions.WRITTEN,
        overwrite: bool = False,
        sound: SoundWriter | None = None,
    ) -> Assembly:
        """Starts a file with a ``header``, in a format ``version``, with a ``sound``; see :func:`common_header`.

        Raises:
            ConfigError: the file exists and ``overwrite`` is not set, another process is writing it, the name is not
                possible, or the version cannot hold the header.
            DataError: the header cannot be written.
        """
        return cls(StreamWriter.create(path, header, overwrite, version), header, version, sound)

    def add(self, source: StreamReader, number: int, stop: int | None = None) -> int:
        """Appends group ``number`` of an open file; returns the bytes written.

        Nothing of the group is written unless all of it can be read.

        Args:
            source: the file; :func:`common_header` tells whether its groups fit.
            number: of the group within it.
            stop: leave out its frames from this one on, as numbered in ``source``; None: none of them.

        Raises:
            ConfigError: the cameras of the group cannot be stored here, or the file would have too many frames.
            DataError: the file cannot be written.
            IndexError: there is no group of this number.
            StreamError: the group, or what it shares with groups before it, is damaged.
        """
        group = source.read_whole_group(number)
        end = group_end(source, number) if stop is None else min(group_end(source, number), stop)
        if end <= group.first_frame:
            raise ConfigError(f"{source.path}: expected frames of group {number}, found none")
        if self.frames + end - group.first_frame > MAX_FRAMES:
            raise ConfigError(f"expected at most {MAX_FRAMES} frames in a file, found more")
        frames = [source.read_frame(index) for index in range(group.first_frame, end)]
        cameras = self._cameras(source, [frame.cameras for frame in frames], group.first_frame)
        placed = [replace(frame, cameras=said) for frame, said in zip(frames, cameras, strict=True)]
        return self.append(group, source.read_colours(number), placed)

    def append(self, group: GroupHeader, maps: bytes, frames: Sequence[FrameData]) -> int:
        """Appends a group of frames whose cameras are coded for this file's header; returns the bytes written.

        Args:
            group: its parameters with MLPs; numbers in it, and in its frames, are not used.
            maps: the coded colour maps that hold in it; empty for none.
            frames: a key frame and the inter frames behind it.

        Raises:
            DataError: the file cannot be written.
        """
        mlp, maps = (group.mlp, group.mlp_steps), maps or self._no_maps
        own = replace(group, number=self.groups, first_frame=self.frames, colours=b"" if maps == self._maps else maps)
        if mlp == self._mlp and self.version >= versions.FIRST_WITH_SHARED_MLPS:
            own = replace(own, mlp=b"", mlp_steps=())
        self._hear(self.frames)
        size = self._writer.add_group(own)
        for index, frame in enumerate(frames):
            self._hear(self.frames + index)
            numbered = replace(frame, number=self.frames + index, group=self.groups)
            size += self._writer.add_frame(numbered, wait=index == len(frames) - 1)
        self._mlp, self._maps = mlp, maps
        self.frames, self.groups = self.frames + len(frames), self.groups + 1
        return size

    def _hear(self, number: int) -> None:
        if self._sound is not None:
            self._sound.before_frame(self._writer, number)

    def add_all(self, source: StreamReader, groups: Iterable[int] | None = None) -> int:
        """Appends all groups of an open file, or those ``groups``, in that order; returns the bytes written.

        Raises what :meth:`add` raises. A group without frames, which a stopped encode leaves, is left out.
        """
        chosen = whole_groups(source) if groups is None else groups
        return sum(self.add(source, number) for number in chosen)

    def _cameras(self, source: StreamReader, payloads: Sequence[bytes], first: int) -> list[bytes]:
        """What the frames of a group say of their cameras in this file, from what they say in ``source``."""
        theirs, own = source.header, self.header
        bits = (own.rotation_bits, own.position_bits)
        same_units = bits == (theirs.rotation_bits, theirs.position_bits)
        if stand_alike(theirs, own) and (same_units or not any(payloads)):
            return list(payloads)
        # A camera that has not moved stands where the other header has it, and else where its integers say.
        still = header_states(replace(theirs, rotation_bits=bits[0], position_bits=bits[1]))
        ratios = [Fraction(a) / Fraction(b) for a, b in zip(units(theirs), units(own), strict=True)][:7]
        states = header_states(theirs)
        there, here = CameraTrack(states, states), self._key
        names, coded = [camera.name for camera in own.cameras], []
        for index, payload in enumerate(payloads):
            place = f"{source.path}: frame {first + index}"
            there = parse_cameras(payload, there, not index, theirs.rotation_bits, place)
            wanted = []
            for state, unmoved, now in zip(there.now, still, here.now, strict=True):
                pose = _scaled(state.pose, ratios) if state.moved else unmoved.pose
                wanted.append(replace(state, pose=_facing(pose, now.pose)))
            coded.append(pack_cameras(wanted, here, names, tolerance=0))
            here = parse_cameras(coded[-1], here, not index, own.rotation_bits, place)
        return coded

    def finish(self) -> int:
        """Appends the index and closes the file; returns the bytes of the index.

        Raises:
            DataError: it cannot be written (all groups are whole).
        """
        return self._writer.finish()

    def close(self) -> None:
        """Closes the file; without :meth:`finish` it has no index, but plays."""
        self._writer.close()

    def __enter__(self) -> Assembly:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _scaled(pose: Sequence[int], ratios: Sequence[Fraction]) -> tuple[int, ...]:
    """A pose in other units, rounded."""
    return tuple(math.floor(value * ratio + Fraction(1, 2)) for value, ratio in zip(pose, ratios, strict=True))


def _facing(pose: tuple[int, ...], now: tuple[int, ...]) -> tuple[int, ...]:
    """A pose with that of its two quaternions which is nearer to the one of ``now``."""
    if sum(a * b for a, b in zip(pose[:4], now[:4], strict=True)) >= 0:
        return pose
    return (*(-part for part in pose[:4]), *pose[4:])


def whole_groups(source: StreamReader) -> range:
    """The groups of a file that have frames: all but a last one that a stopped encode has left without any."""
    return range(sum(group.first_frame < len(source.frames) for group in source.groups))


def group_end(source: StreamReader, number: int) -> int:
    """The number of the frame behind the last one of a group."""
    return source.groups[number + 1].first_frame if number + 1 < len(source.groups) else len(source.frames)
