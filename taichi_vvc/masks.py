"""The order and the contexts of occupancy masks: coarse to fine, each pass predicted from what is already known.

Cells at multiples of 8 come first; then the spacing halves three times, and each time the seven new parity classes are
coded one after the other. A weighted sum of the known neighbours and of the previous frame's mask estimates the log
odds of a cell; its bin selects a pair of counts that adapt from pass to pass. Integers only. Normative text:
``docs/bitstream.md``, section "Occupancy".
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass

import numpy as np

from . import tables
from .side import Reader, Writer

FIRST_STRIDE = 8
BINS = 48
_HALF = BINS // 2
_PAD = 8
_ORDER = (7, 3, 5, 6, 1, 2, 4)
_KINDS = (0, 1, 1, 1, 2, 2, 2)
_OFFSETS = tuple(
    (dz, dy, dx) for dz in (-1, 0, 1) for dy in (-1, 0, 1) for dx in (-1, 0, 1) if (dz, dy, dx) != (0, 0, 0)
)

# Log odds in 1/16 octave: bias, then per known neighbour (face, edge, corner at the pass's spacing); with a previous
# mask also: its cell, its neighbours at distance 1 (face, edge, corner), its cells where the known neighbours are.
_WEIGHTS_KEY = {
    (0, 1): (-170, 0, 0, 44),
    (0, 2): (-122, 0, 0, 34),
    (1, 1): (-185, 134, 14, 0),
    (1, 2): (-141, 95, 14, 0),
    (2, 1): (-251, 84, 1, 1),
    (2, 2): (-173, 68, 0, -5),
    (3, 2): (-49, 0, 0, 0),
}
_WEIGHTS_INTER = {
    (0, 1): (-171, 0, 0, 43, 46, 10, 0, -6, 0, 0, -6),
    (0, 2): (-144, 0, 0, 40, 39, 9, 9, 0, 0, 0, -28),
    (1, 1): (-198, 102, 24, 0, 41, 12, 12, -6, -26, -19, 0),
    (1, 2): (-157, 73, 26, 0, 43, 11, 8, 0, -28, -22, 0),
    (2, 1): (-250, 82, 4, 3, 53, -1, 0, -2, -1, -3, -2),
    (2, 2): (-181, 64, 7, 4, 49, 10, 5, 3, -22, -8, -12),
    (3, 2): (-124, 0, 0, 0, 13, 16, 14, -2, 0, 0, 0),
}

_PRIOR = 256
_UNIT = 64


def _initial_counts() -> np.ndarray:
    """(bins, 2) counts of empty and occupied cells before anything is known, in 1/64."""
    counts = []
    for index in range(BINS):
        likely = int(tables.PROBABILITIES[tables.EVEN + 2 * abs(index - _HALF)])
        major = max(1, likely * _PRIOR * _UNIT >> tables.PRECISION)
        minor = max(1, _PRIOR * _UNIT - major)
        counts.append((minor, major) if index >= _HALF else (major, minor))
    return np.array(counts, np.int64)


@dataclass(frozen=True)
class Pass:
    """One pass over a mask.

    Attributes:
        cells: index of the pass's cells in a (nz, ny, nx) array.
        bins: (m,) uint8, the bin of each of those cells in C order.
        occupied: (48,) int64, the frequency of an occupied cell out of 2^24 in each bin.
    """

    cells: tuple[slice, slice, slice]
    bins: np.ndarray
    occupied: np.ndarray


def _schedule(shape: tuple[int, int, int]) -> list[tuple[int, int, int, tuple[int, int, int], int]]:
    """(spacing, class, kind, first cell, step between cells) of each pass that has cells."""
    passes = [(FIRST_STRIDE, 0, 3, (0, 0, 0), FIRST_STRIDE)]
    spacing = FIRST_STRIDE // 2
    while spacing:
        for parity, kind in zip(_ORDER, _KINDS, strict=True):
            start = ((parity >> 2 & 1) * spacing, (parity >> 1 & 1) * spacing, (parity & 1) * spacing)
            if all(first < size for first, size in zip(start, shape, strict=True)):
                passes.append((spacing, parity, kind, start, 2 * spacing))
        spacing //= 2
    return passes


def _known(parity: int) -> list[tuple[int, tuple[int, int, int]]]:
    """(kind, offset) of the neighbours of a class that earlier passes of the same spacing decoded."""
    done = (0, *_ORDER[: _ORDER.index(parity)])
    found = []
    for offset in _OFFSETS:
        other = parity ^ (abs(offset[0]) << 2 | abs(offset[1]) << 1 | abs(offset[2]))
        if other in done:
            found.append((sum(map(abs, offset)) - 1, offset))
    return found


def walk(shape: tuple[int, int, int], previous: np.ndarray | None) -> Generator[Pass, np.ndarray, None]:
    """Yields each pass and is sent its cells, (m,) bool in C order. Both directions use it.

    Args:
        shape: (nz, ny, nx) of the mask.
        previous: the previous frame's mask, or None.
    """
    now = np.pad(np.zeros(shape, np.int16), _PAD)
    past = None if previous is None else np.pad(previous.astype(np.int16), _PAD)
    counts: dict[tuple[int, int], np.ndarray] = {}

    for spacing, parity, kind, start, step in _schedule(shape):

        def at(volume: np.ndarray, z: int, y: int, x: int, start=start, step=step) -> np.ndarray:
            shifted = (z, y, x)
            axes = zip(start, shifted, shape, strict=True)
            return volume[tuple(slice(_PAD + first + by, _PAD + size + by, step) for first, by, size in axes)]

        key = (kind, min(spacing, 2))
        weights: tuple[int, ...] = _WEIGHTS_KEY[key] if past is None else _WEIGHTS_INTER[key]
        score = np.full(at(now, 0, 0, 0).shape, weights[0], np.int32)
        known = [] if kind == 3 else _known(parity)
        for sort, (dz, dy, dx) in known:
            if weights[1 + sort]:
                score += np.int32(weights[1 + sort]) * at(now, spacing * dz, spacing * dy, spacing * dx)
        if past is not None:
            score += np.int32(weights[4]) * at(past, 0, 0, 0)
            for dz, dy, dx in _OFFSETS:
                weight = weights[4 + abs(dz) + abs(dy) + abs(dx)]
                if weight:
                    score += np.int32(weight) * at(past, dz, dy, dx)
            for sort, (dz, dy, dx) in known:
                if weights[8 + sort]:
                    score += np.int32(weights[8 + sort]) * at(past, spacing * dz, spacing * dy, spacing * dx)
        bins = np.clip((score >> 3) + _HALF, 0, BINS - 1).astype(np.uint8).reshape(-1)
        tally = counts.setdefault(key, _initial_counts())
        occupied = np.clip((tally[:, 1] << tables.PRECISION) // tally.sum(1), 1, tables.TOTAL - 1)
        cells = (slice(start[0], None, step), slice(start[1], None, step), slice(start[2], None, step))
        found = yield Pass(cells, bins, occupied)
        at(now, 0, 0, 0)[...] = found.reshape(score.shape)
        tally[:, 1] += _UNIT * np.bincount(bins[found], minlength=BINS)
        tally[:, 0] += _UNIT * np.bincount(bins[~found], minlength=BINS)


def _bin_tables(part: Pass) -> list[tuple[int, np.ndarray]]:
    """(count, frequencies of empty and occupied) of each bin of a pass in coding order."""
    counts = np.bincount(part.bins, minlength=BINS).tolist()
    return [
        (count, np.array([tables.TOTAL - occupied, occupied], np.int64))
        for count, occupied in zip(counts, part.occupied.tolist(), strict=True)
        if count
    ]


def write(writer: Writer, mask: np.ndarray, previous: np.ndarray | None) -> None:
    """Codes a (nz, ny, nx) bool mask."""
    steps = walk(mask.shape, previous)
    part: Pass | None = next(steps)
    while part is not None:
        found = mask[part.cells].reshape(-1)
        coded, start = found[np.argsort(part.bins, kind="stable")].astype(np.int32), 0
        for count, frequencies in _bin_tables(part):
            writer.symbols(coded[start : start + count], frequencies)
            start += count
        part = _next(steps, found)


def read(reader: Reader, shape: tuple[int, int, int], previous: np.ndarray | None) -> np.ndarray:
    """The inverse of :func:`write`."""
    mask = np.zeros(shape, bool)
    steps = walk(shape, previous)
    part: Pass | None = next(steps)
    while part is not None:
        found = np.zeros(part.bins.size, bool)
        coded = [reader.symbols(count, frequencies) for count, frequencies in _bin_tables(part)]
        found[np.argsort(part.bins, kind="stable")] = np.concatenate(coded) == 1
        mask[part.cells] = found.reshape(mask[part.cells].shape)
        part = _next(steps, found)
    return mask


def _next(steps: Generator[Pass, np.ndarray, None], found: np.ndarray) -> Pass | None:
    try:
        return steps.send(found)
    except StopIteration:
        return None
