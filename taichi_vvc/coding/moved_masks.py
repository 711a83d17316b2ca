"""The mask of the frame before where the scene has moved to: what an inter frame's mask is expected to be.

Since version 8 of the format displacements are coded before the mask. Which lattice nodes have one follows from the
mask before; those next to them are expected to move with them. Integers only, see docs/bitstream.md, "Moved masks".
"""

from __future__ import annotations

import numpy as np

from taichi_vvc.coding.motion import PLACE, UNITS, lattice_shape
from taichi_vvc.types import FieldLayout

SHARES = 16
"""The value of a cell that is occupied; those of moved masks are shares of it."""

_PART = 8  # parts of a cell that places of origin are rounded to
_CHUNK = 1 << 14  # cells at a time, which bounds the memory


def coded_nodes(layout: FieldLayout, before: np.ndarray) -> np.ndarray:
    """The lattice nodes whose displacements are coded, (mz, my, mx) bool: corners of blocks with an occupied cell.

    Args:
        layout: shape of the field.
        before: (nz, ny, nx) bool, the mask of the frame before.
    """
    blocks = before
    for axis in range(3):
        blocks = np.logical_or.reduceat(blocks, np.arange(0, blocks.shape[axis], layout.motion_block), axis)
    return _corners(blocks)


def _corners(blocks: np.ndarray) -> np.ndarray:
    """The lattice nodes at the corners of some blocks."""
    nodes = np.zeros([n + 1 for n in blocks.shape], bool)
    for corner in range(8):
        z, y, x = corner >> 2, corner >> 1 & 1, corner & 1
        nodes[z : z + blocks.shape[0], y : y + blocks.shape[1], x : x + blocks.shape[2]] |= blocks
    return nodes


def filled(motion: np.ndarray, coded: np.ndarray) -> np.ndarray:
    """Displacements of all lattice nodes: where none is coded, the mean of coded neighbours, or 0 without any.

    Args:
        motion: (mz, my, mx, 3), integers or floats; values outside ``coded`` do not count.
        coded: (mz, my, mx) bool.
    """
    real = motion.dtype.kind == "f"
    sums: np.ndarray = np.where(coded[..., None], motion, 0).astype(np.float64 if real else np.int64)
    weights: np.ndarray = coded[..., None].astype(np.int64)
    for axis in range(3):
        sums, weights = _spread(sums, axis), _spread(weights, axis)
    weights = np.maximum(weights, 1)
    means = sums / weights if real else (2 * sums + weights) // (2 * weights)
    return np.where(coded[..., None], motion, means).astype(motion.dtype)


def _spread(values: np.ndarray, axis: int) -> np.ndarray:
    """Sums over three neighbours along an axis, with weights 1, 4, 1: over the axes 16, 4, 1 for faces, edges,
    corners."""
    result = 4 * values
    along = (slice(None),) * axis
    result[(*along, slice(1, None))] += values[(*along, slice(None, -1))]
    result[(*along, slice(None, -1))] += values[(*along, slice(1, None))]
    return result


def _cell_places(cells: int, block: int) -> tuple[np.ndarray, np.ndarray]:
    """For the centre of each cell along an axis, the lattice block that it lies in and how far into it."""
    place = (PLACE * np.arange(cells, dtype=np.int64) + PLACE // 2) // block
    return place // PLACE, (place % PLACE).astype(np.int32)


def moved_mask(layout: FieldLayout, before: np.ndarray, motion: np.ndarray | None) -> np.ndarray:
    """How much of each cell the mask before covers once it has moved, (nz, ny, nx) uint8 in 0..``SHARES``.

    Args:
        layout: shape of the field.
        before: (nz, ny, nx) bool, the mask of the frame before.
        motion: integers of shape :func:`~taichi_vvc.coding.motion.lattice_shape`; None: nothing moves.
    """
    result: np.ndarray = before.view(np.uint8) * np.uint8(SHARES)
    if motion is None:
        return result
    still = (motion == 0).all(3)
    quiet = np.ones([n - 1 for n in lattice_shape(layout)[:3]], bool)
    for corner in range(8):
        z, y, x = corner >> 2, corner >> 1 & 1, corner & 1
        quiet &= still[z : z + quiet.shape[0], y : y + quiet.shape[1], x : x + quiet.shape[2]]
    (bz, fz), (by, fy), (bx, fx) = (_cell_places(n, layout.motion_block) for n in before.shape)
    moving = np.flatnonzero(~quiet[np.ix_(bz, by, bx)])
    if not moving.size:
        return result
    # As for the nodes of grids: the trilinear sum axis by axis, and along x only where it is wanted.
    lattice = np.moveaxis(motion, 3, 0).astype(np.int32)
    for axis, block, far in ((1, bz, fz), (2, by, fy)):
        along = far.reshape((-1,) + (1,) * (3 - axis))
        lattice = lattice.take(block, axis) * (PLACE - along) + lattice.take(block + 1, axis) * along
    rows, mx = lattice.reshape(3, -1), lattice.shape[3]
    nz, ny, nx = before.shape
    # Beyond the ends nothing is occupied; origins are at most a cell outside.
    padded = np.pad(before.view(np.uint8), ((1, 2),) * 3)
    # Of the eight cells from each on, how many are occupied.
    whole = padded.reshape(-1)
    for step in ((ny + 3) * (nx + 3), nx + 3, 1):
        further = whole.copy()
        further[:-step] += whole[step:]
        whole = further
    shift = PLACE**3 * UNITS // _PART
    for begin in range(0, moving.size, _CHUNK):
        chosen = moving[begin : begin + _CHUNK]
        iz, iy, ix = np.unravel_index(chosen, before.shape)
        first, far = (iz * ny + iy) * mx + bx[ix], fx[ix]
        total = rows.take(first, 1) * (PLACE - far) + rows.take(first + 1, 1) * far
        origin: list[np.ndarray] = []
        fraction: list[np.ndarray] = []
        for index, sums, size in zip((ix, iy, iz), (total + shift // 2) // shift, (nx, ny, nz), strict=True):
            place = np.minimum(np.maximum(_PART * index + sums, -_PART), _PART * size)
            origin.append((place >> 3) + 1)
            fraction.append((place & 7).astype(np.int32))
        base = (origin[2] * (ny + 3) + origin[1]) * (nx + 3) + origin[0]
        # Most cells come from where none of the eight is occupied, or all are.
        some = whole.take(base)
        result.reshape(-1)[chosen] = (some == 8) * np.uint8(SHARES)
        edge = np.flatnonzero((some > 0) & (some < 8))
        base, parts = base[edge], [part[edge] for part in fraction]
        covered: np.ndarray = np.zeros(edge.size, np.int32)
        for corner in range(8):
            cz, cy, cx = corner >> 2, corner >> 1 & 1, corner & 1
            share = padded.take(base + (cz * (ny + 3) + cy) * (nx + 3) + cx).astype(np.int32)
            for part, upper in zip(parts, (cx, cy, cz), strict=True):
                share *= part if upper else _PART - part
            covered += share
        result.reshape(-1)[chosen[edge]] = (covered + 16) >> 5
    return result
