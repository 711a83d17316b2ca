"""From coarse grids to fine ones: how the fit of a whole scene begins.

Everything may be anywhere in a room at first, so that a step looks at many samples; and fine grids explain each picture
by what floats before its camera before they know where the walls are. So a first pass fits grids of half the nodes, and
the fine ones start with what those hold, in the cells that it left.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from taichi_vvc.config import EncoderConfig
from taichi_vvc.fit.parameters import scatter_live
from taichi_vvc.fit.state import FitState, Start, scratch
from taichi_vvc.types import FieldLayout


def coarser(layout: FieldLayout) -> FieldLayout:
    """The layout with half the nodes along each axis of all grids, at least two. Cells and steps are the same."""
    return replace(
        layout,
        coefficients=_halved(layout.coefficients),
        levels=tuple(replace(level, resolution=_halved(level.resolution)) for level in layout.levels),
    )


def start_from(state: FitState, layout: FieldLayout, config: EncoderConfig) -> Start:
    """What a fit with ``layout`` starts with after one with the :func:`coarser` layout has come to ``state``.

    Where the coarse grids held nothing, there are random numbers, as in a fit from scratch.
    """
    runtime, symbols, fresh = state.field.runtime, state.symbols, scratch(layout, config)
    values = runtime.download(symbols.parameters, symbols.count)
    grids = scatter_live(coarser(layout), symbols.live, symbols.ranges, values)
    parameters = tuple(
        np.where(
            interpolated(live.astype(np.float32)[..., None], drawn.shape) > 0,
            interpolated(grid * (before / step), drawn.shape),
            drawn,
        ).astype(np.float32)
        for grid, live, drawn, before, step in zip(
            grids, symbols.live, fresh.parameters, state.steps, fresh.steps, strict=True
        )
    )
    return replace(fresh, parameters=parameters, mlp=runtime.download(state.field.mlp, fresh.mlp.size).copy())


def interpolated(grid: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """A grid (nz, ny, nx, channels) at the nodes of one of another ``shape`` that spans the same box, trilinear."""
    for axis in range(3):
        nodes, wanted = grid.shape[axis], shape[axis]
        place = np.arange(wanted) * ((nodes - 1) / (wanted - 1))
        below = np.minimum(place.astype(np.int64), nodes - 2)
        part = (place - below).astype(np.float32).reshape([-1 if k == axis else 1 for k in range(4)])
        grid = np.take(grid, below, axis) * (1 - part) + np.take(grid, below + 1, axis) * part
    return grid


def _halved(nodes: tuple[int, int, int]) -> tuple[int, int, int]:
    x, y, z = (max(2, -(-n // 2)) for n in nodes)
    return x, y, z
