"""The contraction of what lies outside the bounds into the shell of a grid, both ways, in NumPy.

Grid coordinates are cells from the lower corner of the grid, shell included; see ``kernels/shelled.py`` for the
contraction, and docs/bitstream.md for the normative text.
"""

from __future__ import annotations

import numpy as np

from taichi_vvc.types import FieldLayout

# Where the outermost cells are taken to end: what is farther, in half sizes of the box, looks the same.
_END = 1000.0


def to_grid(layout: FieldLayout, points: np.ndarray) -> np.ndarray:
    """World points (..., 3) to grid coordinates (..., 3), float64."""
    half, shell, centre = _sizes(layout)
    x = (np.asarray(points, np.float64) - layout.bounds.lower) / layout.cell - half
    parts = np.abs(x) / half
    axis = parts.argmax(-1)
    m = np.maximum(np.take_along_axis(parts, axis[..., None], -1), 1.0)
    outside = np.sign(x) * (half + shell * (1.0 - 1.0 / m))
    behind = (np.arange(3) == axis[..., None]) & (m > 1.0)
    return np.where(behind, outside, x / m) + centre


def to_world(layout: FieldLayout, grid: np.ndarray) -> np.ndarray:
    """Grid coordinates (..., 3) to world points (..., 3), float64.

    NaN in the zones where two axes lie in the shell, which stand for nothing. What lies nearer to infinity than 1000
    half sizes of the box is put there.
    """
    half, shell, centre = _sizes(layout)
    g = np.asarray(grid, np.float64) - centre
    beyond = np.abs(g) - half
    behind = beyond > 1e-9
    with np.errstate(divide="ignore", invalid="ignore"):
        left = np.where(behind, 1.0 - beyond / shell, 1.0).min(-1, keepdims=True)
    m = 1.0 / np.maximum(left, 1.0 / _END)
    x = np.where(behind, np.sign(g) * half * m, g * m)
    x[behind.sum(-1) > 1] = np.nan
    return (x + half) * layout.cell + layout.bounds.lower


def cell_centres(layout: FieldLayout) -> np.ndarray:
    """World places of the cells' centres, (nz, ny, nx, 3); NaN for cells that hold nothing."""
    nx, ny, nz = layout.occupancy
    z, y, x = np.meshgrid(np.arange(nz) + 0.5, np.arange(ny) + 0.5, np.arange(nx) + 0.5, indexing="ij")
    return to_world(layout, np.stack((x, y, z), -1))


def _sizes(layout: FieldLayout) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Half size of the box, thickness of the shell, and centre of the grid; (3,) each, cells."""
    return 0.5 * np.array(layout.inner, float), np.array(layout.shell, float), 0.5 * np.array(layout.occupancy, float)
