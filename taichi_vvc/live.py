"""Which symbols can be seen: the live set, derived from the occupancy mask in integer arithmetic.

A node of a grid is live if a sample inside an occupied cell can touch it. Encoder and decoder derive the same set on
every machine, since only integers are involved; see docs/bitstream.md, "Live set".
"""

from __future__ import annotations

import numpy as np

from .types import FieldLayout

# Samples are placed in floating point, so a cell is taken to be larger by 1/64 of its edge on either side.
_UNITS = 64


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
        # Counting touches with exact small integers; a separable product per axis.
        touched = occupancy.astype(np.float32)
        touched = (np.tensordot(axes[0].astype(np.float32), touched, axes=(1, 2)) > 0).astype(np.float32)  # x z y
        touched = (np.tensordot(axes[1].astype(np.float32), touched, axes=(1, 2)) > 0).astype(np.float32)  # y x z
        live.append(np.ascontiguousarray(np.tensordot(axes[2].astype(np.float32), touched, axes=(1, 2)) > 0))  # z y x
    return tuple(live)
