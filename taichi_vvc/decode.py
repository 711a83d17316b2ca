"""The decoder: from chunks to integer symbols, and from symbols to a field that can be rendered.

Steps of a frame: (1) read its chunk and check its CRC; (2) decode the motion, if there is any, and move the mask
before; (3) decode the occupancy mask; (4) derive the live symbols from it, and move those of the reference; (5) decode
the residual of each grid and add it: integers, the same on every machine; (6) dequantise into a field on the device.
In files of versions before 8 the motion comes behind the mask.
"""

from __future__ import annotations

import math
import os
import threading
import weakref
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from types import TracebackType

import numpy as np

from taichi_vvc.bitstream import StreamReader
from taichi_vvc.bitstream.numbering import frame_step_of, shows_detail
from taichi_vvc.bitstream.syntax import FrameData, SequenceHeader
from taichi_vvc.coding import memory
from taichi_vvc.coding.entropy import decode_mask, decode_moved_mask, is_moved
from taichi_vvc.coding.grid_decoder import decode_grid
from taichi_vvc.coding.hashes import FrameParts, Hashes, hashes_of
from taichi_vvc.coding.headers import layout_of_header, unpack_group
from taichi_vvc.coding.known import NOTHING_CODED, known_grids
from taichi_vvc.coding.live_set import live_nodes
from taichi_vvc.coding.memory import Budget, default_limit
from taichi_vvc.coding.moved_masks import moved_mask
from taichi_vvc.coding.moving_cameras import CameraReader
from taichi_vvc.coding.prediction import decode_moved, decode_prediction
from taichi_vvc.coding.zeros import blank, is_blank
from taichi_vvc.errors import ConfigError, CorruptStream
from taichi_vvc.field.grids import Field, detail_focal, field_of_symbols
from taichi_vvc.runtime import start
from taichi_vvc.types import Camera, ColourMap, FieldLayout, GroupParameters, SymbolFrame
from taichi_vvc.words import counted

_ROUNDING = 1e-6  # frames: what a time in seconds may be off by
_streams: weakref.WeakSet[Stream] = weakref.WeakSet()


@dataclass(frozen=True)
class StreamHeader:
    """What holds for the whole file: ``layout`` of the field, and the ``record`` as the stream states it."""

    layout: FieldLayout
    record: SequenceHeader


@dataclass(frozen=True)
class FrameInfo:
    """What the index tells of a frame: its number, type (``"key"`` or ``"inter"``), group, and all bytes it added."""

    number: int
    type: str
    group: int
    bytes: int


def decode_symbols(
    layout: FieldLayout, data: FrameData, reference: SymbolFrame | None, budget: Budget | None = None
) -> SymbolFrame:
    """The integers of one frame.

    Args:
        data: the frame's chunk.
        reference: the decoded frame before it; None for a key frame.
        budget: what it may take of memory; None: whatever it takes.

    Raises:
        CorruptStream: a payload does not decode, or symbols leave their range.
        MemoryLimitExceeded: it would take too much.
    """
    shapes = layout.grid_shapes
    if len(data.grids) != len(shapes):
        raise CorruptStream(f"frame {data.number}: expected {len(shapes)} grids, found {len(data.grids)}")
    held = memory.held_by(reference) + 4 * (len(data.occupancy) + len(data.motion) + sum(map(len, data.grids)))

    def take(need: float) -> None:
        if budget is not None:
            budget.check(held + need, f"frame {data.number}")

    nx, ny, nz = layout.occupancy
    before = None if reference is None else reference.occupancy
    motion = decode_moved(layout, data, reference, take)
    if before is not None and is_moved(data.occupancy):
        take(memory.moved_mask_need(layout))
        expected = moved_mask(layout, before, motion)
        held += expected.nbytes
        take(memory.mask_need(layout, True))
        occupancy = decode_moved_mask(data.occupancy, expected)
    else:
        take(memory.mask_need(layout, before is not None))
        occupancy = decode_mask(data.occupancy, (nz, ny, nx), before)
    held += occupancy.nbytes
    live: tuple[np.ndarray, ...] = ()
    if data.motion or any(payload != NOTHING_CODED for payload in data.grids):
        take(memory.live_need(layout))
        live = live_nodes(layout, occupancy)
        held += sum(nodes.nbytes for nodes in live)
    motion, predicted = decode_prediction(layout, data, reference, live, motion, take)
    if predicted is not None and reference is not None and predicted is not reference.symbols:
        held += sum(p.nbytes for p, s in zip(predicted, reference.symbols, strict=True) if p is not s)
    known = known_grids(len(shapes), previous_residuals(reference), predicted)
    residuals, symbols = [], []
    for grid, (payload, shape) in enumerate(zip(data.grids, shapes, strict=True)):
        if payload == NOTHING_CODED:
            residual = blank(shape)
            total = residual if predicted is None else predicted[grid]
        else:
            added = predicted is not None and not is_blank(predicted[grid])
            take(memory.grid_need(live[grid], shape[3], known[grid].previous, added))
            residual = decode_grid(payload, shape, live[grid], known[grid])
            # A residual is at most 2^20, so that sums of int32 cannot overflow before they are refused.
            total = residual + predicted[grid] if predicted is not None and added else residual
            held += residual.nbytes + (total.nbytes if added else 0)
        if not is_blank(total) and max(total.max(initial=0), -total.min(initial=0)) >= 2**24:
            raise CorruptStream(f"frame {data.number}: expected symbols below 2^24 in grid {grid}, found larger ones")
        residuals.append(residual)
        symbols.append(total)
    return SymbolFrame(tuple(symbols), tuple(residuals), occupancy, data.type == "key", motion)


def previous_residuals(reference: SymbolFrame | None) -> tuple[np.ndarray, ...] | None:
    """What an inter frame's contexts may look at: its reference's residuals, unless that is a key frame."""
    return None if reference is None or reference.key else reference.residuals


class Stream:
    """A .tvvc file, opened for playing. Use as a context manager, or close it.

    ``len(stream)`` frames; ``stream[i]`` is frame i as a :class:`~taichi_vvc.field.grids.Field` on the device. Decoding
    starts at the nearest key frame, or at the last decoded frame where that is nearer. Threads may share a stream.

    Attributes:
        header: the field's layout and the sequence header.
        cameras: the capture's cameras at the coded size, as they stood at the first frame; see :meth:`cameras_at`.
        fps: frames per second.
        background: what lies behind the coded content, sRGB in [0, 1].
        first_frame: of the capture that was coded; ``frame_step``: every so many frames of it were.
        downscale: how many times the pictures of the capture were reduced.
        complete: False for a file that was cut off; its whole frames play.
        memory_limit: bytes that decoding and drawing a frame may take.
    """

    def __init__(self, path: str | os.PathLike[str], memory_limit: int | None = None) -> None:
        """Open ``path`` and read header and index.

        Args:
            path: of the file.
            memory_limit: bytes for decoding and drawing a frame, else :class:`MemoryLimitExceeded`; None: half of the
                machine's memory.

        Raises:
            StreamError: it is no .tvvc file, of a newer version, or damaged.
            ConfigError: the limit is not positive.
        """
        self.memory_limit: int = default_limit() if memory_limit is None else memory_limit
        if self.memory_limit <= 0:
            raise ConfigError(f"expected a positive memory limit in bytes, found {memory_limit}")
        self.budget = Budget(self.memory_limit, str(path))
        self._reader = StreamReader(path)
        record = self._reader.header
        self.header = StreamHeader(layout_of_header(record), record)
        self._cameras = CameraReader(self._reader)
        self.cameras: tuple[Camera, ...] = self._cameras.still
        self.fps: Fraction = record.fps
        red, green, blue = (c / 255 for c in record.background)
        self.background: tuple[float, float, float] = red, green, blue
        self.first_frame: int = record.first_frame
        self.frame_step: int = frame_step_of(record)
        self.downscale, self.complete = record.downscale, self._reader.complete
        self._focal = detail_focal(self.cameras) if shows_detail(record) else 0.0
        self._begin()
        _streams.add(self)

    def _begin(self) -> None:
        """Nothing is decoded yet, in this process."""
        # Over what was decoded last: a thread must not go on from another one's frame.
        self._lock = threading.RLock()
        self._last: tuple[int, SymbolFrame] | None = None
        self._group: tuple[int, GroupParameters] | None = None
        self._coded_mlp: tuple[bytes, tuple[float, ...]] = b"", ()

    def __len__(self) -> int:
        """Number of whole frames."""
        return len(self._reader.frames)

    def __repr__(self) -> str:
        cut = "" if self.complete else ", incomplete"
        return (
            f"<Stream {str(self._reader.path)!r}: {counted(len(self), 'frame')} at {float(self.fps):g} fps, "
            f"{counted(len(self.cameras), 'camera')}{cut}>"
        )

    def info(self, index: int) -> FrameInfo:
        """Type and size of a frame, from the index; a key frame's size includes its group's parameters."""
        number = self._check(index)
        entry = self._reader.frames[number]
        return FrameInfo(entry.number, entry.type, entry.group, self._reader.frame_size(number))

    def symbols(self, index: int) -> SymbolFrame:
        """The decoded integers of frame ``index``.

        Raises:
            CorruptStream: this frame or one that it depends on is damaged.
            IndexError: there is no such frame.
        """
        index = self._check(index)
        with self._lock:
            return self._decoded(index)

    def _decoded(self, index: int) -> SymbolFrame:
        first, frame = index, None
        while self._last is None or self._last[0] != first:
            if self._reader.frames[first].type == "key":
                break
            first -= 1
            if first < 0:
                raise CorruptStream(f"frame {index}: expected a key frame before it, found none")
        else:
            first, frame = first + 1, self._last[1]
        for number in range(first, index + 1):
            data = self._reader.read_frame(number)
            frame = decode_symbols(self.header.layout, data, None if data.type == "key" else frame, self.budget)
            self._last = number, frame
        assert frame is not None
        return frame

    def parameters(self, index: int) -> GroupParameters:
        """Steps and MLPs of the group that frame ``index`` belongs to."""
        number = self.info(index).group
        with self._lock:
            if self._group is None or self._group[0] != number:
                group = self._reader.read_whole_group(number)
                # Many groups may share MLPs.
                coded, known = (group.mlp, group.mlp_steps), None
                if self._group is not None and self._coded_mlp == coded:
                    known = self._group[1].mlp
                self.budget.check(4 * len(group.mlp) + memory.network_need(self.header.layout), f"group {number}")
                self._group = number, unpack_group(group, self.header.layout, known)
                self._coded_mlp = coded
            return self._group[1]

    def cameras_at(self, index: int) -> tuple[Camera, ...]:
        """The capture's cameras as they were when frame ``index`` was filmed, in the order of :attr:`cameras`.

        They are :attr:`cameras` itself where none has moved or zoomed, and in files of format versions before 4, which
        keep the cameras of the first frame only. Nothing is decoded but the cameras.

        Raises:
            CorruptStream: this frame or one that it depends on is damaged.
            IndexError: there is no such frame.
        """
        with self._lock:
            return self._cameras.cameras(self._check(index))

    def looks_at(self, index: int) -> tuple[ColourMap, ...]:
        """How each of :attr:`cameras` showed colours when frame ``index`` was filmed; empty: as they are.

        Raises:
            CorruptStream: the chunk that holds the colour maps is damaged.
            IndexError: there is no such frame.
        """
        with self._lock:
            return self._cameras.looks(self._check(index))

    def __getitem__(self, index: int) -> Field:
        """Frame ``index`` as a field on the device (the running backend, or the automatic one)."""
        with self._lock:
            frame = self.symbols(index)
            layout, parameters = self.header.layout, self.parameters(index)
            return field_of_symbols(start(), layout, parameters, frame, self.budget, self._focal)

    def frames(self, first: int = 0, stop: int | None = None) -> Iterator[Field]:
        """Frames ``first`` to ``stop - 1`` in order."""
        for index in range(first, len(self) if stop is None else min(stop, len(self))):
            yield self[index]

    def seek(self, seconds: float) -> int:
        """Index of the frame that is shown at a time, clamped to the file.

        Raises:
            IndexError: the file has no frames.
            ConfigError: the time is not a number.
        """
        if not len(self):
            raise IndexError("expected a frame to seek to, found none in the file")
        if math.isnan(seconds):
            raise ConfigError(f"expected a time in seconds, found {seconds}")
        # A frame's own time, as a float, may lie a little before it.
        shown = float(max(seconds, 0.0) * self.fps) + _ROUNDING
        return int(min(shown, float(len(self) - 1)))

    def symbol_hash(self) -> str:
        """SHA-256 (hex) of all decoded symbols, the same on every machine and backend; see :meth:`hashes`."""
        return self.hashes().symbols

    def hashes(self) -> Hashes:
        """Decode the whole file, and sum up what it holds; docs/bitstream.md, section 13.

        Raises:
            CorruptStream: a frame or a group is damaged.
        """

        def frames() -> Iterator[FrameParts]:
            for index in range(len(self)):
                parameters, frame, looks = self.parameters(index), self.symbols(index), self.looks_at(index)
                with self._lock:
                    track = self._cameras.track(index)
                yield parameters, frame, track, looks

        return hashes_of(self.header.record, self._reader.version, frames())

    def close(self) -> None:
        """Close the file."""
        self._reader.close()

    def __enter__(self) -> Stream:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _check(self, index: int) -> int:
        if not -len(self) <= index < len(self):
            raise IndexError(f"expected a frame in 0..{len(self) - 1}, found {index}")
        return index % len(self)


def _after_fork() -> None:
    # A thread of the parent may have held the lock, and stays behind with what it was about.
    for stream in tuple(_streams):
        stream._begin()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def open(path: str | os.PathLike[str], memory_limit: int | None = None) -> Stream:
    """Open a .tvvc file for playing, see :class:`Stream`."""
    return Stream(path, memory_limit)
