"""The order and the contexts of occupancy masks: coarse to fine, each pass predicted from what is already known.

Cells at multiples of 8 come first; then the spacing halves three times, and each time the seven new parity classes are
coded one after the other. A weighted sum of the known neighbours and of the previous frame's mask estimates the log
odds of a cell; its bin selects a pair of counts that adapt from pass to pass. Integers only. Normative text:
``docs/bitstream.md``, section "Occupancy".
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass

import numpy as np

from taichi_vvc.coding import contexts, tables
from taichi_vvc.coding.passes import advance
from taichi_vvc.coding.small_integers import Reader, Writer

FIRST_STRIDE = 8
BINS = 48
_HALF = BINS // 2
_KINDS = (3, 0, 1, 1, 1, 2, 2, 2)

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

# The same with a mask before that has moved, whose values are sixteenths of a cell: where much changes, and little.
MOVED = (
    {
        (0, 1): (-164, 0, 0, 26, 48, 31, 5, -11, 0, 0, -11),
        (0, 2): (-154, 0, 0, 11, 27, 41, 3, 0, 0, 0, -11),
        (1, 1): (-195, 102, 24, 0, 76, 31, 7, -6, -56, -21, 0),
        (1, 2): (-159, 47, 18, 0, 65, 21, 17, -10, -41, -18, 0),
        (2, 1): (-217, 83, 0, 1, 92, -4, -8, -1, -4, 1, -1),
        (2, 2): (-164, 44, 7, -2, 63, 34, 1, 2, -30, -7, -3),
        (3, 2): (-146, 0, 0, 0, 42, 25, 16, -8, 0, 0, 0),
    },
    {
        (0, 1): (-176, 0, 0, 42, 170, 12, 8, -20, 0, 0, -20),
        (0, 2): (-153, 0, 0, 16, 125, 20, 10, -9, 0, 0, -13),
        (1, 1): (-200, 116, 24, 0, 207, 10, 7, -2, -92, -23, 0),
        (1, 2): (-173, 61, -19, 0, 149, 22, 6, -4, -51, 19, 0),
        (2, 1): (-212, 106, -4, -7, 222, -31, -7, 4, -31, 5, 4),
        (2, 2): (-174, 73, 20, -3, 187, 13, 3, 1, -59, -22, -1),
        (3, 2): (-124, 0, 0, 0, 38, 53, 3, -12, 0, 0, 0),
    },
)
_SHARE_BITS = 4

_PRIOR = 256
_UNIT = 64


def _initial_counts() -> np.ndarray:
    """(2, bins) counts of empty and occupied cells before anything is known, in 1/64."""
    counts = []
    for index in range(BINS):
        likely = int(tables.PROBABILITIES[tables.EVEN + 2 * abs(index - _HALF)])
        major = max(1, likely * _PRIOR * _UNIT >> tables.PRECISION)
        minor = max(1, _PRIOR * _UNIT - major)
        counts.append((minor, major) if index >= _HALF else (major, minor))
    return np.array(counts, np.int64).T.copy()


_INITIAL = _initial_counts()


@dataclass(frozen=True)
class Pass:
    """One pass over a mask.

    Attributes:
        cells: index of the pass's cells in a (nz, ny, nx) array.
        bins: (m,) uint8, the bin of each of those cells in C order.
        counts: (48,) int64, cells in each bin.
        occupied: (48,) int64, the frequency of an occupied cell out of 2^24 in each bin.
    """

    cells: tuple[slice, slice, slice]
    bins: np.ndarray
    counts: np.ndarray
    occupied: np.ndarray


def _schedule(shape: tuple[int, int, int]) -> list[tuple[int, int]]:
    """(spacing, position in ``contexts.ORDER``) of each pass that has cells; the first one has position 0."""
    passes = [(FIRST_STRIDE, 0)]
    spacing = FIRST_STRIDE // 2
    while spacing:
        for position, parity in enumerate(contexts.ORDER[1:], 1):
            bits = (parity >> 2 & 1, parity >> 1 & 1, parity & 1)
            if all(bit * spacing < size for bit, size in zip(bits, shape, strict=True)):
                passes.append((spacing, position))
        spacing //= 2
    return passes


def _classes(known: Sequence[np.ndarray], spacing: int) -> np.ndarray:
    """(8, masks, Z, Y, X) uint8: the cells of masks at multiples of a spacing, apart by class and padded by one."""
    cells = [mask[::spacing, ::spacing, ::spacing] for mask in known]
    parts = np.zeros((8, len(cells), *((n + 1) // 2 + 2 for n in cells[0].shape)), np.uint8)
    for parity in range(8):
        for number, mask in enumerate(cells):
            found = mask[parity >> 2 & 1 :: 2, parity >> 1 & 1 :: 2, parity & 1 :: 2]
            parts[parity, number][_inner(found)] = found
    return parts


def _inner(cells: np.ndarray) -> tuple[slice, ...]:
    """Where cells of a class lie in its padded volume."""
    return tuple([slice(1, 1 + size) for size in cells.shape])


def _around(mask: np.ndarray) -> tuple[np.ndarray, ...]:
    """(nz, ny, nx) uint8: the cells themselves and the sums of their 6 faces, 12 edges and 8 corners."""
    one = np.pad(mask.view(np.uint8), 1)
    x = one[:, :, :-2] + one[:, :, 2:]
    y = one[:, :-2, 1:-1] + one[:, 2:, 1:-1]
    yx = x[:, :-2] + x[:, 2:]
    near = y + x[:, 1:-1]
    faces = one[:-2, 1:-1, 1:-1] + one[2:, 1:-1, 1:-1] + near[1:-1]
    return one[1:-1, 1:-1, 1:-1], faces, near[:-2] + near[2:] + yx[1:-1], yx[:-2] + yx[2:]


def walk(
    shape: tuple[int, int, int], previous: np.ndarray | None, moved: int | None = None
) -> Generator[Pass, np.ndarray, None]:
    """Yields each pass and is sent its cells, (m,) bool in C order. Both directions use it.

    Args:
        shape: (nz, ny, nx) of the mask.
        previous: the previous frame's mask, or None.
        moved: number of a weight set for a ``previous`` that has moved, uint8 in 0..16, see
            :mod:`taichi_vvc.coding.moved_masks`; None: it has not.
    """
    mask = np.zeros(shape, bool)
    masks = [mask] if previous is None else [mask, previous]
    around = [] if previous is None else _around(previous)
    shift = 0 if moved is None else _SHARE_BITS
    sets = _WEIGHTS_KEY if previous is None else _WEIGHTS_INTER if moved is None else MOVED[moved]
    counts: dict[tuple[int, int], np.ndarray] = {}
    parts: np.ndarray = np.zeros(0, np.uint8)
    last = 0

    for spacing, position in _schedule(shape):
        parity, kind = contexts.ORDER[position], _KINDS[position]
        step = 2 * spacing if position else spacing
        z, y, x = (slice((parity >> bit & 1) * spacing, None, step) for bit in (2, 1, 0))
        cells = (z, y, x)
        here = mask[cells]
        inner = _inner(here)
        key = (kind, min(spacing, 2))
        weights: tuple[int, ...] = sets[key]
        if spacing != last:
            parts, last = _classes(masks, spacing), spacing
        now, then = [], [(volume[cells], weight) for volume, weight in zip(around, weights[4:8], strict=False)]
        for sort, near in enumerate(contexts.NEIGHBOURS[position]):
            chosen = weights[1 + sort :: 7]
            if near and any(chosen):
                sums = contexts.near_sum(parts, parts.shape[2:], near)
                terms = [(volume[inner], weight) for volume, weight in zip(sums, chosen, strict=True)]
                now += terms[:1]
                then += terms[1:]
        score = _weighted(then, here.shape)
        score >>= shift
        score += _weighted(now, here.shape)
        score += np.int16(weights[0])
        score >>= 3
        bins = np.minimum(np.maximum(score + _HALF, 0), BINS - 1).astype(np.uint8).reshape(-1)
        size = np.bincount(bins, minlength=BINS)
        empty, occupied = counts.setdefault(key, _INITIAL.copy())
        share = (occupied << tables.PRECISION) // (empty + occupied)
        found = yield Pass(cells, bins, size, np.minimum(np.maximum(share, 1), tables.TOTAL - 1))
        here[...] = found.reshape(here.shape)
        if position:
            parts[parity, 0][inner] = here
        present = np.bincount(bins[found], minlength=BINS)
        occupied += _UNIT * present
        empty += _UNIT * (size - present)


def _weighted(terms: list[tuple[np.ndarray, int]], shape: tuple[int, ...]) -> np.ndarray:
    """The sum of features times their weights, int16."""
    result = np.zeros(shape, np.int16)
    for feature, weight in terms:
        if weight:
            result += np.multiply(feature, np.int16(weight), dtype=np.int16)
    return result


def _bin_tables(part: Pass) -> tuple[list[int], np.ndarray]:
    """Cells in each bin that has any, in coding order, and (n, 2) frequencies of empty and occupied there."""
    used = part.counts.nonzero()[0]
    occupied = part.occupied[used]
    return part.counts[used].tolist(), np.stack([tables.TOTAL - occupied, occupied], 1)


def write(writer: Writer, mask: np.ndarray, previous: np.ndarray | None, moved: int | None = None) -> None:
    """Codes a (nz, ny, nx) bool mask."""
    steps = walk(mask.shape, previous, moved)
    part: Pass | None = next(steps)
    while part is not None:
        found = mask[part.cells].reshape(-1)
        coded, start = found[np.argsort(part.bins, kind="stable")].astype(np.int32), 0
        for count, frequencies in zip(*_bin_tables(part), strict=True):
            writer.symbols(coded[start : start + count], frequencies)
            start += count
        part = advance(steps, found)


def read(
    reader: Reader, shape: tuple[int, int, int], previous: np.ndarray | None, moved: int | None = None
) -> np.ndarray:
    """The inverse of :func:`write`."""
    mask = np.zeros(shape, bool)
    steps = walk(shape, previous, moved)
    part: Pass | None = next(steps)
    while part is not None:
        found = np.zeros(part.bins.size, bool)
        found[np.argsort(part.bins, kind="stable")] = reader.groups(*_bin_tables(part)) == 1
        mask[part.cells] = found.reshape(mask[part.cells].shape)
        part = advance(steps, found)
    return mask
