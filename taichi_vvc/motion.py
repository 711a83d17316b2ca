"""Motion between frames: a coarse lattice of displacements that moves the reference's symbols, in integers only.

An inter frame may be predicted from symbols that have moved with the scene. Displacements stand at the nodes of a
lattice, are interpolated trilinearly in between, and say where in the reference a grid node's symbols come from. All
of it is integer arithmetic, the same on every machine: see docs/bitstream.md, "Motion".
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from .types import FieldLayout

UNITS = 4
"""Displacements are coded in this part of an occupancy cell."""

LARGEST = 1 << 12
"""The largest magnitude of a coded displacement."""

PLACE = 64
"""The place of a grid node within its lattice block is rounded down to such a part of the block."""

_PART = 32  # parts of the distance between grid nodes that the place of origin is rounded to
_SMALL = 1 << 11  # symbols below this leave room for the interpolation in 16 and 32 bits


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


def live_motion(layout: FieldLayout, live: tuple[np.ndarray, ...]) -> np.ndarray:
    """The lattice nodes that are coded, (mz, my, mx) bool: those around a block with a live node of a moved grid.

    Args:
        layout: shape of the field.
        live: the live nodes of all grids, see :func:`taichi_vvc.live.live_nodes`.
    """
    mz, my, mx, _ = lattice_shape(layout)
    nodes = np.zeros((mz, my, mx), bool)
    for grid in moved_grids(layout):
        blocks = live[grid]
        for axis, count in enumerate((mz, my, mx)):
            block, _ = places(layout, grid, 2 - axis)
            found, first = np.unique(block, return_index=True)
            whole = np.zeros((*blocks.shape[:axis], count - 1, *blocks.shape[axis + 1 :]), bool)
            whole[(slice(None),) * axis + (found,)] = np.logical_or.reduceat(blocks, first, axis)
            blocks = whole
        for corner in range(8):
            z, y, x = corner >> 2, corner >> 1 & 1, corner & 1
            nodes[z : z + mz - 1, y : y + my - 1, x : x + mx - 1] |= blocks
    return nodes


def displacements(layout: FieldLayout, grid: int, motion: np.ndarray, nodes: tuple[np.ndarray, ...]) -> np.ndarray:
    """Displacements at some nodes of a grid, in 1/32 of the distance between its nodes.

    Args:
        motion: integers of shape :func:`lattice_shape`.
        nodes: their indices (z, y, x), as ``np.nonzero`` gives them.

    Returns:
        (n, 3) int64: x, y, z.
    """
    _, my, mx, _ = motion.shape
    flat = motion.reshape(-1, 3).astype(np.int64)
    (bz, fz), (by, fy), (bx, fx) = (
        tuple(part[index] for part in places(layout, grid, 2 - axis)) for axis, index in enumerate(nodes)
    )
    first = (bz * my + by) * mx + bx
    total = np.zeros((first.size, 3), np.int64)
    for corner in range(8):
        z, y, x = corner >> 2, corner >> 1 & 1, corner & 1
        weight = (fx if x else PLACE - fx) * (fy if y else PLACE - fy) * (fz if z else PLACE - fz)
        total += weight[:, None] * flat[first + (z * my + y) * mx + x]
    for axis in range(3):
        above, below = extent(layout, grid, axis)
        unit = (PLACE**3 * UNITS // _PART) * above
        steps = (_nodes(layout, grid)[axis] - 1) * below
        total[:, axis] = (total[:, axis] * steps + unit // 2) // unit
    return total


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
        nodes = np.nonzero(live[grid])
        shift = displacements(layout, grid, motion, nodes)
        moving = np.flatnonzero(shift.any(1))
        if moving.size:
            nodes = tuple(index[moving] for index in nodes)
            result[grid] = symbols[grid].copy()
            result[grid][nodes] = _interpolated(symbols[grid], nodes, shift[moving])
    return tuple(result)


def second_differences(grid: np.ndarray, axis: int) -> np.ndarray:
    """v[i - 1] - 2 v[i] + v[i + 1] along an axis; beyond the ends the last value is repeated."""
    padded = np.concatenate([grid.take([0], axis), grid, grid.take([-1], axis)], axis)
    along = (slice(None),) * axis
    return padded[(*along, slice(2, None))] - 2 * grid + padded[(*along, slice(None, -2))]


def _interpolated(grid: np.ndarray, nodes: tuple[np.ndarray, ...], shift: np.ndarray) -> np.ndarray:
    """(n, channels) int32: symbols at ``nodes`` (z, y, x) displaced by ``shift`` (x, y, z), in 1/32 of a node.

    Trilinear interpolation, less f (1 - f) / 2 times that of the second differences along each axis. Along one axis
    that is the cubic of Catmull and Rom; without the second term every frame would blur what the one before it had.
    """
    largest = max(int(grid.max(initial=0)), -int(grid.min(initial=0)))
    kind, wide = (np.int16, np.int32) if largest < _SMALL else (np.int64, np.int64)
    origin, fraction = [], []
    for axis in range(3):
        last = grid.shape[2 - axis] - 1
        place = np.clip(_PART * nodes[2 - axis] + shift[:, axis], 0, _PART * last)
        below = np.minimum(place // _PART, last - 1)
        origin.append(below)
        fraction.append((place - _PART * below).astype(wide)[:, None])
    # Only the part of the grid that something comes from.
    low = [max(int(o.min()) - 1, 0) for o in origin]
    part = grid[tuple(slice(low[a], int(origin[a].max()) + 3) for a in (2, 1, 0))].astype(kind)
    nz, ny, nx, channels = part.shape
    first = ((origin[2] - low[2]) * ny + origin[1] - low[1]) * nx + origin[0] - low[0]
    weights = []
    for corner in range(8):
        chosen = [f if corner >> axis & 1 else _PART - f for axis, f in enumerate(fraction)]
        offset = ((corner >> 2) * ny + (corner >> 1 & 1)) * nx + (corner & 1)
        weights.append((first + offset, chosen[0] * chosen[1] * chosen[2]))

    def trilinear(values: np.ndarray) -> np.ndarray:
        rows = np.ascontiguousarray(values).reshape(-1, channels)
        total = np.zeros((first.size, channels), wide)
        for at, weight in weights:
            total += weight * rows[at]
        return total.astype(np.int64)

    total = 2 * _PART**2 * trilinear(part)
    for axis, f in enumerate(fraction):
        total -= f * (_PART - f) * trilinear(second_differences(part, 2 - axis))
    return ((total + _PART**5) >> 26).astype(np.int32)
