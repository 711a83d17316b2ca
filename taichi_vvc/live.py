"""Which symbols can be seen: the live set, derived from the occupancy mask in integer arithmetic.

A node of a grid is live if a sample inside an occupied cell can touch it. Encoder and decoder derive the same set on
every machine, since only integers are involved; see docs/bitstream.md, "Live set".
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from .types import FieldLayout

# Samples are placed in floating point, so a cell is taken to be larger by 1/64 of its edge on either side.
_UNITS = 64


@lru_cache(maxsize=256)
def _touched(cells: int, nodes: int, tile: int, scale: int) -> np.ndarray:
    """(nodes, cells) bool: which nodes of a tile a sample in each cell can touch along one axis.

    A cell edge is ``_UNITS * scale`` long in integer units, a tile ``tile``, with nodes on both of its borders.
    """
    result = np.zeros((nodes, cells), bool)
    for cell in range(cells):
        low = max(0, _UNITS * scale * cell - scale)
        high = min(_UNITS * scale * cells, _UNITS * scale * (cell + 1) + scale)
        for k in range(low // tile, (high - 1) // tile + 1):
            start = max(low, k * tile) - k * tile
            end = min(high, (k + 1) * tile) - k * tile
            first = start * (nodes - 1) // tile
            last = min(nodes - 1, end * (nodes - 1) // tile + 1)
            result[first : last + 1, cell] = True
    result.setflags(write=False)
    return result


def _any_touched(mask: np.ndarray, axis: int, touched: np.ndarray) -> np.ndarray:
    """Replace an axis of cells by one of nodes: True where any cell that touches the node is True.

    The cells of a node are a few runs, so differences of a running count answer it.
    """
    shape = list(mask.shape)
    shape[axis] = 1
    counts = np.concatenate([np.zeros(shape, np.int32), np.cumsum(mask, axis=axis, dtype=np.int32)], axis=axis)
    edges = np.diff(np.pad(touched.astype(np.int8), ((0, 0), (1, 1))), axis=1)
    starts, ends = (np.argwhere(edges == sign) for sign in (1, -1))
    rank = np.concatenate([np.arange(n) for n in np.bincount(starts[:, 0], minlength=len(touched))])
    shape[axis] = len(touched)
    result = np.zeros(shape, bool)
    for run in range(int(rank.max(initial=-1)) + 1):
        nodes, low, high = starts[rank == run, 0], starts[rank == run, 1], ends[rank == run, 1]
        found = np.take(counts, high, axis) > np.take(counts, low, axis)
        index: list[slice | np.ndarray] = [slice(None)] * 3
        index[axis] = nodes
        result[tuple(index)] |= found
    return result


def live_nodes(layout: FieldLayout, occupancy: np.ndarray) -> tuple[np.ndarray, ...]:
    """Live nodes of each grid.

    Args:
        layout: shape of the field.
        occupancy: (nz, ny, nx) bool.

    Returns:
        One (nz, ny, nx) bool array per grid, the coefficient grid first.
    """
    cells = layout.occupancy
    longest = max(cells)
    grids = [(layout.coefficients, None)] + [
        (level.resolution, round(level.frequency * 256)) for level in layout.levels
    ]
    live = []
    for resolution, frequency in grids:
        axes = []
        for axis in range(3):
            if frequency is None:
                axes.append(_touched(cells[axis], resolution[axis], _UNITS * cells[axis], 1))
            else:
                axes.append(_touched(cells[axis], resolution[axis], _UNITS * 256 * longest, frequency))
        touched = occupancy
        for axis, touches in zip((2, 1, 0), axes, strict=True):
            touched = _any_touched(touched, axis, touches)
        live.append(np.ascontiguousarray(touched))
    return tuple(live)
