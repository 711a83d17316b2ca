"""Which symbols can be seen: the live set, derived from the occupancy mask in integer arithmetic.

A node of a grid is live if a sample inside an occupied cell can touch it. Encoder and decoder derive the same set on
every machine, since only integers are involved; see docs/bitstream.md, "Live set".
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from taichi_vvc.types import FieldLayout

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


@lru_cache(maxsize=256)
def _cells_of(cells: int, nodes: int, tile: int, scale: int) -> np.ndarray:
    """(longest, nodes): the cells that touch each node, one per row, filled up with ``cells``, which is no cell."""
    touched = _touched(cells, nodes, tile, scale)
    result = np.full((max(1, touched.sum(1).max(initial=0)), nodes), cells, np.int16)
    node, cell = touched.nonzero()
    result[np.cumsum(touched, 1)[node, cell] - 1, node] = cell
    result.setflags(write=False)
    return result


def _any_of(bits: np.ndarray, cells: np.ndarray) -> np.ndarray:
    """(cells, ...) uint8 -> (nodes, ...): bitwise or over the cells of each node, see :func:`_cells_of`."""
    bits = np.concatenate([bits, np.zeros_like(bits[:1])])
    result = bits[cells[0]]
    for more in cells[1:]:
        result |= bits[more]
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
    # Whole rows at once, eight cells or nodes a byte: x first, the mask being smallest then.
    columns = np.packbits(occupancy.transpose(2, 0, 1), axis=2)
    live = []
    for resolution, frequency in grids:
        along_x, along_y, along_z = (
            _cells_of(cells[axis], resolution[axis], _UNITS * cells[axis], 1)
            if frequency is None
            else _cells_of(cells[axis], resolution[axis], _UNITS * 256 * longest, frequency)
            for axis in range(3)
        )
        found = np.unpackbits(_any_of(columns, along_x), axis=2, count=cells[1])
        rows = np.packbits(found.transpose(2, 1, 0), axis=2)
        nodes = _any_of(_any_of(rows, along_y).transpose(1, 0, 2), along_z)
        live.append(np.ascontiguousarray(np.unpackbits(nodes, axis=2, count=resolution[0])).view(bool))
    return tuple(live)
