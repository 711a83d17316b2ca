"""Motion between frames: a coarse lattice of displacements that moves the reference's symbols, in integers only.

An inter frame may be predicted from symbols that have moved with the scene. Displacements stand at the nodes of a
lattice, are interpolated trilinearly in between, and say where in the reference a grid node's symbols come from. All
of it is integer arithmetic, the same on every machine: see docs/bitstream.md, "Motion".
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from taichi_vvc.coding.zeros import is_blank
from taichi_vvc.types import FieldLayout

UNITS = 4
"""Displacements are coded in this part of an occupancy cell."""

LARGEST = 1 << 12
"""The largest magnitude of a coded displacement."""

PLACE = 64
"""The place of a grid node within its lattice block is rounded down to such a part of the block."""

_PART = 32  # parts of the distance between grid nodes that the place of origin is rounded to
_SMALL = 1 << 7  # symbols below this leave room for the interpolation in 16 and 32 bits
_CHUNK = 1 << 14  # nodes at a time, which bounds the memory


def lattice_shape(layout: FieldLayout) -> tuple[int, int, int, int]:
    """(mz, my, mx, 3) of the displacements: x, y, z in ``UNITS`` per cell at the corners of blocks of cells."""
    x, y, z = (-(-n // layout.motion_block) + 1 for n in layout.occupancy)
    return z, y, x, 3


def moved_grids(layout: FieldLayout) -> tuple[int, ...]:
    """Numbers of the grids that move: the coefficients, and the levels that do not repeat within the bounds."""
    return 0, *(n for n, level in enumerate(layout.levels, 1) if level.frequency <= 1)


def extent(layout: FieldLayout, grid: int, axis: int) -> tuple[int, int]:
    """How many cells a moved grid spans along an axis (0 = x), as numerator and denominator."""
    if grid == 0:
        return layout.occupancy[axis], 1
    return 256 * max(layout.occupancy), round(layout.levels[grid - 1].frequency * 256)


def _nodes(layout: FieldLayout, grid: int) -> tuple[int, int, int]:
    return layout.coefficients if grid == 0 else layout.levels[grid - 1].resolution


@lru_cache(maxsize=64)
def places(layout: FieldLayout, grid: int, axis: int) -> tuple[np.ndarray, np.ndarray]:
    """For each node of a grid along an axis, the lattice block it lies in and how far into it, 0 .. ``PLACE``."""
    above, below = extent(layout, grid, axis)
    n = _nodes(layout, grid)[axis]
    last = lattice_shape(layout)[2 - axis] - 1
    place = np.arange(n, dtype=np.int64) * (PLACE * above) // (below * (n - 1) * layout.motion_block)
    place = np.minimum(place, PLACE * last)
    block = np.minimum(place // PLACE, last - 1)
    return block, place - PLACE * block


@lru_cache(maxsize=64)
def _block_starts(layout: FieldLayout, grid: int, axis: int) -> tuple[np.ndarray, np.ndarray]:
    """The blocks that hold nodes of a grid along an axis (0 = z), and the first node of each."""
    return np.unique(places(layout, grid, 2 - axis)[0], return_index=True)


def live_motion(layout: FieldLayout, live: tuple[np.ndarray, ...]) -> np.ndarray:
    """The lattice nodes that are coded, (mz, my, mx) bool: those around a block with a live node of a moved grid.

    Args:
        layout: shape of the field.
        live: the live nodes of all grids, see :func:`taichi_vvc.coding.live_set.live_nodes`.
    """
    mz, my, mx, _ = lattice_shape(layout)
    nodes = np.zeros((mz, my, mx), bool)
    for grid in moved_grids(layout):
        # Eight nodes a byte, until the last axis is their own.
        blocks = np.packbits(live[grid], axis=2)
        for axis, count in enumerate((mz, my, mx)):
            if axis == 2:
                blocks = np.unpackbits(blocks, axis=2, count=live[grid].shape[2])
            found, first = _block_starts(layout, grid, axis)
            whole = np.zeros((*blocks.shape[:axis], count - 1, *blocks.shape[axis + 1 :]), np.uint8)
            whole[(slice(None),) * axis + (found,)] = np.bitwise_or.reduceat(blocks, first, axis)
            blocks = whole
        for corner in range(8):
            z, y, x = corner >> 2, corner >> 1 & 1, corner & 1
            nodes[z : z + mz - 1, y : y + my - 1, x : x + mx - 1] |= blocks.view(bool)
    return nodes


def displacements(layout: FieldLayout, grid: int, motion: np.ndarray, nodes: tuple[np.ndarray, ...]) -> np.ndarray:
    """Displacements at some nodes of a grid, in 1/32 of the distance between its nodes.

    Args:
        motion: integers of shape :func:`lattice_shape`, magnitudes up to ``LARGEST``.
        nodes: their indices (z, y, x), as ``np.nonzero`` gives them.

    Returns:
        (3, n) int32: x, y, z. Those that lead out of the grid from anywhere in it are cut off there.
    """
    z, y, x = nodes
    # The trilinear sum of integers is the same taken axis by axis: at all nodes along z and y, then at those wanted.
    # No sum leaves 32 bits: weights add up to 2^18, displacements are at most 2^12.
    lattice = np.moveaxis(motion, 3, 0).astype(np.int32)
    for axis in (1, 2):
        block, place = places(layout, grid, 3 - axis)
        far = place.astype(np.int32).reshape((-1,) + (1,) * (3 - axis))
        lattice = lattice.take(block, axis) * (PLACE - far) + lattice.take(block + 1, axis) * far
    _, _, ny, mx = lattice.shape
    block, place = places(layout, grid, 0)
    first, far = (z * ny + y) * mx + block[x], place.astype(np.int32)[x]
    rows = lattice.reshape(3, -1)
    total = rows.take(first, 1) * (PLACE - far) + rows.take(first + 1, 1) * far
    result = np.empty(total.shape, np.int32)
    for axis in range(3):
        above, below = extent(layout, grid, axis)
        last = _nodes(layout, grid)[axis] - 1
        unit = (PLACE**3 * UNITS // _PART) * above
        moved = (total[axis].astype(np.int64) * (last * below) + unit // 2) // unit
        result[axis] = np.clip(moved, -_PART * last, _PART * last)
    return result


def moved_symbols(
    layout: FieldLayout, symbols: tuple[np.ndarray, ...], motion: np.ndarray, live: tuple[np.ndarray, ...]
) -> tuple[np.ndarray, ...]:
    """The reference's symbols where the scene has moved to.

    Args:
        layout: shape of the field.
        symbols: of the reference, int32 of shapes ``layout.grid_shapes``, magnitudes below 2^24.
        motion: integers of shape :func:`lattice_shape`, magnitudes up to ``LARGEST``.
        live: nodes that are wanted; the others keep the reference's symbols.

    Returns:
        New grids where something moves, and those of ``symbols`` elsewhere.
    """
    result = list(symbols)
    for grid in moved_grids(layout):
        if is_blank(symbols[grid]):
            continue
        flat = np.flatnonzero(live[grid])
        nodes = np.unravel_index(flat, live[grid].shape)
        shift = displacements(layout, grid, motion, nodes)
        moving = np.flatnonzero(shift[0] | shift[1] | shift[2])
        if moving.size:
            found = _interpolated(symbols[grid], tuple(index[moving] for index in nodes), shift[:, moving])
            result[grid] = symbols[grid].copy()
            result[grid].reshape(-1, found.shape[1])[flat[moving]] = found
    return tuple(result)


def second_differences(grid: np.ndarray, axis: int) -> np.ndarray:
    """v[i - 1] - 2 v[i] + v[i + 1] along an axis; beyond the ends the last value is repeated."""
    steps = np.diff(grid, axis=axis)
    result = np.zeros_like(grid)
    along = (slice(None),) * axis
    result[(*along, slice(None, -1))] = steps
    result[(*along, slice(1, None))] -= steps
    return result


def _interpolated(grid: np.ndarray, nodes: tuple[np.ndarray, ...], shift: np.ndarray) -> np.ndarray:
    """(n, channels) int32: symbols at ``nodes`` (z, y, x) displaced by ``shift`` (x, y, z), in 1/32 of a node.

    Trilinear interpolation, less f (1 - f) / 2 times that of the second differences along each axis. Along one axis
    that is the cubic of Catmull and Rom; without the second term every frame would blur what the one before it had.
    """
    origin, fraction = [], []
    for axis in range(3):
        last = grid.shape[2 - axis] - 1
        place = np.clip(_PART * nodes[2 - axis] + shift[axis], 0, _PART * last)
        below = np.minimum(place // _PART, last - 1)
        origin.append(below)
        fraction.append(place - _PART * below)
    # Only the part of the grid that something comes from.
    low = [max(int(o.min()) - 1, 0) for o in origin]
    part = grid[tuple(slice(low[a], int(origin[a].max()) + 3) for a in (2, 1, 0))]
    sources = _sources(part)
    _, ny, nx, channels = part.shape
    first = ((origin[2] - low[2]) * ny + origin[1] - low[1]) * nx + origin[0] - low[0]
    result = np.empty((first.size, sources.shape[1] * 4), np.int32)
    for begin in range(0, first.size, _CHUNK):
        chosen = slice(begin, begin + _CHUNK)
        moved = _moved(sources, first[chosen], nx, ny, tuple(f[chosen] for f in fraction))
        for number, four in enumerate(moved):
            result[chosen, 4 * number : 4 * number + 4] = four
    return result[:, :channels]


def _sources(part: np.ndarray) -> np.ndarray:
    """(4, fours, nodes, 4): symbols, and their second differences along x, y and z, of four channels at a time.

    16 bits wide where symbols are small enough for :func:`_moved`, else 64.
    """
    nz, ny, nx, channels = part.shape
    largest = max(int(part.max(initial=0)), -int(part.min(initial=0)))
    fours = np.zeros((-(-channels // 4), nz, ny, nx, 4), np.int16 if largest < _SMALL else np.int64)
    for channel in range(0, channels, 4):
        four = part[..., channel : channel + 4]
        fours[channel // 4, ..., : four.shape[3]] = four
    fields = np.stack([fours, *(second_differences(fours, axis) for axis in (3, 2, 1))])
    return fields.reshape(4, len(fours), -1, 4)


def _moved(sources: np.ndarray, first: np.ndarray, nx: int, ny: int, fraction: tuple[np.ndarray, ...]) -> np.ndarray:
    """(fours, n, 4): the symbols some way, ``fraction`` (x, y, z), from nodes ``first`` of a grid of nx by ny by n.

    The four channels of a node lie side by side and all loops are over whole arrays. Where symbols are below 2^7,
    second differences are below 2^9 and both, interpolated along x, below 2^14; along y and z below 2^24. The last sum,
    below 2^35, needs 64 bits.
    """
    narrow = sources.dtype
    wide: np.dtype = np.dtype(np.int32 if narrow == np.int16 else np.int64)
    along = [_weights(narrow.name).take(f, 0) for f in fraction]
    fx, (fy, fz) = along[0], (f.astype(wide) for f in along[1:])
    total = np.zeros((*sources.shape[:2], *fx.shape), wide)
    for corner in range(4):
        y, z = corner & 1, corner >> 1
        at = first + (z * ny + y) * nx
        near, far = sources.take(at, 2), sources.take(at + 1, 2)
        # Modulo 2^16, like all sums of this width; what comes out is in range.
        far -= near
        far *= fx
        near *= _PART
        near += far
        total += near * ((fy if y else _PART - fy) * (fz if z else _PART - fz))
    result = total[0].astype(np.int64) * (2 * _PART**2)
    for f, bend in zip(along, total[1:], strict=True):
        result -= f.astype(np.int64) * (_PART - f) * bend
    result += _PART**5
    result >>= 26
    return result


@lru_cache(maxsize=4)
def _weights(kind: str) -> np.ndarray:
    """(33, 4): each fraction, four times."""
    return np.repeat(np.arange(_PART + 1, dtype=kind), 4).reshape(-1, 4)
