"""Decodes a file ahead of a player, in one background thread and within a memory limit; and the player's clock.

The integers of decoded frames are kept in compressed form. Most of them are zero, so that a frame takes a few percent
of its size and even long files fit in memory. The requested frame and the frames after it are decoded first, then the
rest of the file, as far as the memory limit allows. Nothing here uses a device: uploading and rendering are done by
the caller's thread.
"""

from __future__ import annotations

import os
import threading
import zlib
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from taichi_vvc.bitstream import StreamReader
from taichi_vvc.coding.headers import layout_of_header, unpack_group
from taichi_vvc.coding.memory import Budget, default_limit, network_need
from taichi_vvc.coding.motion import lattice_shape
from taichi_vvc.coding.zeros import blank, is_blank
from taichi_vvc.decode import decode_symbols
from taichi_vvc.errors import BackendError, ConfigError, CorruptStream, TvvcError
from taichi_vvc.types import FieldLayout, GroupParameters, SymbolFrame

DEFAULT_MEMORY = 256 * 2**20  # bytes of packed frames that are kept


@dataclass(frozen=True)
class PackedFrame:
    """The integers of a decoded frame; for each array its compressed bytes and integer type."""

    symbols: tuple[tuple[bytes, np.dtype], ...]
    residuals: tuple[tuple[bytes, np.dtype], ...]
    occupancy: bytes
    key: bool
    motion: tuple[bytes, np.dtype] | None

    @property
    def size(self) -> int:
        """Bytes of memory that the packed frame takes."""
        motion = () if self.motion is None else (self.motion,)
        return sum(len(data) for data, _ in (*self.symbols, *self.residuals, *motion)) + len(self.occupancy)


def pack(frame: SymbolFrame) -> PackedFrame:
    """Compresses a frame. Residuals of a key frame equal its symbols and are not stored."""
    return PackedFrame(
        tuple(_squeezed(grid) for grid in frame.symbols),
        () if frame.key else tuple(_squeezed(grid) for grid in frame.residuals),
        zlib.compress(np.packbits(frame.occupancy).tobytes(), 1),
        frame.key,
        None if frame.motion is None else _squeezed(frame.motion),
    )


def unpack(packed: PackedFrame, layout: FieldLayout) -> SymbolFrame:
    """The inverse of :func:`pack`, exactly."""
    symbols = _restored(packed.symbols, layout.grid_shapes)
    x, y, z = layout.occupancy
    bits = np.unpackbits(np.frombuffer(zlib.decompress(packed.occupancy), np.uint8), count=x * y * z)
    return SymbolFrame(
        symbols,
        symbols if packed.key else _restored(packed.residuals, layout.grid_shapes),
        bits.astype(bool).reshape(z, y, x),
        packed.key,
        None if packed.motion is None else _restored((packed.motion,), (lattice_shape(layout),))[0],
    )


def _squeezed(grid: np.ndarray) -> tuple[bytes, np.dtype]:
    if is_blank(grid):
        return b"", np.dtype(np.int8)
    kind = np.min_scalar_type(-1 - int(np.abs(grid).max(initial=0)))
    return zlib.compress(grid.astype(kind).tobytes(), 1), kind


def _restored(parts: tuple[tuple[bytes, np.dtype], ...], shapes: tuple[tuple[int, ...], ...]) -> tuple[np.ndarray, ...]:
    return tuple(
        np.frombuffer(zlib.decompress(data), kind).astype(np.int32).reshape(shape) if data else blank(shape)
        for (data, kind), shape in zip(parts, shapes, strict=True)
    )


class Playback:
    """The frames of a file, decoded by a background thread. Use it as a context manager, or call :meth:`close`."""

    def __init__(
        self, path: str | os.PathLike[str], memory: int = DEFAULT_MEMORY, memory_limit: int | None = None
    ) -> None:
        """Opens ``path`` and begins to decode at frame 0.

        Args:
            path: the .tvvc file.
            memory: largest number of bytes of packed frames that are kept.
            memory_limit: bytes that decoding a frame may take in addition, as in :class:`~taichi_vvc.decode.Stream`.

        Raises:
            StreamError: the file is no .tvvc file, is of a newer version, or is damaged.
            ConfigError: ``memory`` is not positive.
        """
        if memory <= 0:
            raise ConfigError(f"expected a positive number of bytes for decoded frames, found {memory}")
        # The thread has a reader of its own and shares no state with the caller's.
        self._reader = StreamReader(path)
        self.layout = layout_of_header(self._reader.header)
        self.count = len(self._reader.frames)
        self._memory = memory
        self._budget = Budget(default_limit() if memory_limit is None else memory_limit, str(path))
        self._change = threading.Condition()
        self._kept: dict[int, PackedFrame] = {}
        self._used = self._largest = 0
        self._failed: dict[int, TvvcError] = {}
        self._groups: dict[int, GroupParameters] = {}
        self._target = 0
        self._stop = False
        self._process = os.getpid()
        self._thread = threading.Thread(target=self._run, name="tvvc-decode", daemon=True)
        self._thread.start()

    def request(self, index: int) -> None:
        """Makes frame ``index`` the next to be decoded, followed by the frames after it. Returns at once."""
        with self._change:
            if index != self._target:
                self._target = index
                self._change.notify_all()

    def get(self, index: int, timeout: float | None = None) -> tuple[SymbolFrame, GroupParameters] | None:
        """Frame ``index`` and its group's parameters; None if ``timeout`` (seconds) passes before it is decoded.

        Raises:
            CorruptStream: this frame or one that it depends on is damaged.
            IndexError: there is no such frame.
            BackendError: this process was forked from the one that opened the file.
        """
        if not 0 <= index < self.count:
            raise IndexError(f"expected a frame in 0..{self.count - 1}, found {index}")
        if os.getpid() != self._process:
            raise BackendError(
                "the decoder's thread is in the process that this one was forked from; open the file anew"
            )
        self.request(index)
        with self._change:
            there = self._change.wait_for(
                lambda: index in self._kept or index in self._failed or self._stop, timeout=timeout
            )
            if not there or self._stop:
                return None
            if index in self._failed:
                raise self._failed[index]
            packed, parameters = self._kept[index], self._groups[self._reader.frames[index].group]
        return unpack(packed, self.layout), parameters

    @property
    def ready(self) -> tuple[int, ...]:
        """Numbers of the frames that are decoded and in memory."""
        with self._change:
            return tuple(sorted(self._kept))

    @property
    def used(self) -> int:
        """Bytes of packed frames in memory."""
        with self._change:
            return self._used

    def close(self) -> None:
        """Stop the thread and close the file."""
        # A forked process has no such thread, and locks that the thread held are never released.
        if os.getpid() == self._process:
            with self._change:
                self._stop = True
                self._change.notify_all()
            self._thread.join()
        self._reader.close()

    def __enter__(self) -> Playback:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    def _run(self) -> None:
        last: tuple[int, SymbolFrame] | None = None
        while True:
            with self._change:
                self._change.wait_for(lambda: self._stop or self._next() is not None)
                if self._stop:
                    return
                wanted = self._next()
                assert wanted is not None
                number, start = self._step_towards(wanted, None if last is None else last[0])
                packed = None if start is None else self._kept.get(start)
            try:
                before = None
                if start is not None:
                    before = last[1] if last is not None and last[0] == start else self._unpacked(packed)
                last = number, self._decode(number, before)
            except Exception as error:  # get() raises the error of a frame in the thread that asks for it
                told = error if isinstance(error, TvvcError) else CorruptStream(f"frame {number}: {error}")
                self._fail(number, told)
            else:
                self._keep(number, pack(last[1]))

    def _unpacked(self, packed: PackedFrame | None) -> SymbolFrame:
        assert packed is not None
        return unpack(packed, self.layout)

    def _ahead(self, index: int) -> int:
        """The number of frames from the target to ``index`` in playing order, with the file in a loop."""
        return (index - self._target) % max(self.count, 1)

    def _next(self) -> int | None:
        """The frame to decode next: the first missing one from the target on; None if there is no memory for it."""
        for distance in range(self.count):
            index = (self._target + distance) % self.count
            if index in self._kept or index in self._failed:
                continue
            room = self._used + self._largest <= self._memory
            # Without room, a frame that is played later can be dropped; if there is none, decoding pauses.
            later = any(self._ahead(kept) > distance for kept in self._kept)
            return index if room or later or not distance else None
        return None

    def _step_towards(self, wanted: int, last: int | None) -> tuple[int, int | None]:
        """The frame to decode first in order to reach ``wanted``, and the decoded frame that it refers to, or None."""
        index = wanted
        while self._reader.frames[index].type != "key":
            before = index - 1
            if before < 0 or before in self._failed:
                return index, None
            if before in self._kept or before == last:
                return index, before
            index = before
        return index, None

    def _decode(self, number: int, before: SymbolFrame | None) -> SymbolFrame:
        entry = self._reader.frames[number]
        if entry.type != "key" and before is None:
            raise CorruptStream(f"frame {number}: expected the frame before it, which is damaged or missing")
        if entry.group not in self._groups:
            self._budget.check(network_need(self.layout), f"group {entry.group}")
            parameters = unpack_group(self._reader.read_whole_group(entry.group), self.layout)
            with self._change:
                self._groups[entry.group] = parameters
        return decode_symbols(self.layout, self._reader.read_frame(number), before, self._budget)

    def _keep(self, number: int, packed: PackedFrame) -> None:
        with self._change:
            self._kept[number] = packed
            self._used += packed.size
            self._largest = max(self._largest, packed.size)
            while self._used > self._memory and len(self._kept) > 1:
                # Drop the frame that is played last, but never the requested one.
                victim = max((k for k in self._kept if k != self._target), key=self._ahead)
                self._used -= self._kept.pop(victim).size
            groups = {self._reader.frames[kept].group for kept in self._kept}
            self._groups = {group: values for group, values in self._groups.items() if group in groups}
            self._change.notify_all()

    def _fail(self, number: int, error: TvvcError) -> None:
        with self._change:
            self._failed[number] = error
            self._change.notify_all()


class Clock:
    """Maps time to frames for a player with pause, speed, loop and steps. Times are seconds of a monotonic clock."""

    def __init__(self, count: int, fps: Fraction | float) -> None:
        """Creates a paused clock at frame 0 of ``count`` frames at ``fps``."""
        self.count, self.fps = count, float(fps)
        self.playing, self.loop, self.speed = False, True, 1.0
        self._frame, self._since = 0.0, 0.0

    def frame(self, now: float) -> int:
        """The frame at time ``now``. At the end of the file the clock pauses, unless it loops."""
        if self.playing:
            reached = self._frame + (now - self._since) * self.speed * self.fps
            if self.loop:
                reached %= self.count
            elif reached >= self.count - 1:
                reached, self.playing = float(self.count - 1), False
            self._frame, self._since = reached, now
        return min(int(self._frame), self.count - 1)

    def play(self, now: float) -> None:
        """Plays from the current frame, or from frame 0 if the clock does not loop and is at the end."""
        if not self.loop and self._frame >= self.count - 1:
            self._frame = 0.0
        self.playing, self._since = True, now

    def pause(self, now: float) -> None:
        """Pauses at the current frame."""
        self.seek(self.frame(now), now)
        self.playing = False

    def seek(self, index: int, now: float) -> None:
        """Jumps to a frame, clamped to the file; a playing clock keeps playing."""
        self._frame, self._since = float(min(max(index, 0), self.count - 1)), now

    def step(self, frames: int, now: float) -> None:
        """Pauses and moves by some frames; with a loop it wraps around at the ends."""
        target = self.frame(now) + frames
        self.playing = False
        self.seek(target % self.count if self.loop else target, now)

    def set_speed(self, speed: float, now: float) -> None:
        """Sets the speed, as a multiple of normal speed, from time ``now`` on."""
        self.frame(now)
        self.speed = speed
