"""Fine grids that start with coarse ones hold the same field."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from backends import runtime
from taichi_vvc.kernels import quantize
from tiny import TWO_LEVELS

import taichi_vvc as tv
from taichi_vvc.config import layout_of
from taichi_vvc.field.render import render
from taichi_vvc.field.workspace import Workspace
from taichi_vvc.fit.coarse import coarser, interpolated, start_from
from taichi_vvc.fit.optimize import _quantize
from taichi_vvc.fit.prediction import Prediction
from taichi_vvc.fit.state import begin_fit, scratch
from taichi_vvc.types import Bounds, Camera

CONFIG = tv.EncoderConfig(**{**TWO_LEVELS, "nodes_per_pixel": 0})
CAMERA = Camera("a", 24, 20, 30.0, 30.0, 12.0, 10.0, np.eye(3), np.array([0.5, 0.5, -2.5]))


@pytest.mark.parametrize("shape", [(5, 9, 7), (4, 8, 13), (2, 3, 4)])
def test_linear_numbers_stay_linear(shape: tuple[int, int, int]) -> None:
    def ramp(*nodes: int) -> np.ndarray:
        z, y, x = np.meshgrid(*(np.linspace(0, 1, n) for n in nodes), indexing="ij")
        return np.stack((x + 2 * y - z, 3 * z), -1).astype(np.float32)

    found = interpolated(ramp(3, 4, 5), (*shape, 2))
    np.testing.assert_allclose(found, ramp(*shape), atol=1e-6)


def test_half_the_nodes_at_least_two() -> None:
    layout = layout_of(CONFIG, Bounds((0.0, 0.0, 0.0), (1.0, 0.8, 0.6)))
    coarse = coarser(layout)
    assert coarse.occupancy == layout.occupancy and coarse.steps_per_side == layout.steps_per_side
    pairs = [(layout.coefficients, coarse.coefficients)]
    pairs += [(a.resolution, b.resolution) for a, b in zip(layout.levels, coarse.levels, strict=True)]
    assert all(few == max(2, (many + 1) // 2) for a, b in pairs for many, few in zip(a, b, strict=True))


@pytest.mark.parametrize("whole", [False, True])
def test_the_picture_is_the_same_where_fine_nodes_lie_on_coarse_ones(whole: bool) -> None:
    layout = layout_of(CONFIG, Bounds((0.0, 0.0, 0.0), (1.0, 1.0, 1.0)), (), whole, 0.1 if whole else 0.0)

    def odd(nodes: tuple[int, int, int]) -> tuple[int, int, int]:
        x, y, z = (2 * (n // 2) + 1 for n in nodes)
        return x, y, z

    levels = tuple(dataclasses.replace(level, resolution=odd(level.resolution)) for level in layout.levels)
    layout = dataclasses.replace(layout, coefficients=odd(layout.coefficients), levels=levels)
    nx, ny, nz = layout.occupancy
    mask = np.ones((nz, ny, nx), bool)
    ws = Workspace(runtime())

    def shown(state):  # type: ignore[no-untyped-def]
        _quantize(state, quantize.IDENTITY, 0, 0)
        return render(state.field, CAMERA, (0.2, 0.4, 0.6), workspace=ws).colour

    coarse = begin_fit(ws.runtime, coarser(layout), CONFIG, mask, Prediction.scratch())
    fine = begin_fit(ws.runtime, layout, CONFIG, mask, Prediction.scratch(), None, start_from(coarse, layout, CONFIG))
    other = begin_fit(ws.runtime, layout, CONFIG, mask, Prediction.scratch())
    before = shown(coarse)
    # Basis and coefficients are interpolated apart: their product is the same at the nodes of the coarse grids only.
    assert before.std() > 1e-3
    assert np.abs(shown(fine) - before).max() < 0.02 * np.ptp(before) + 1e-3
    assert np.abs(shown(other) - before).max() > 5 * np.abs(shown(fine) - before).max()


def test_where_the_coarse_grids_held_nothing_numbers_are_random() -> None:
    layout = layout_of(CONFIG, Bounds((0.0, 0.0, 0.0), (1.0, 1.0, 1.0)))
    nx, ny, nz = layout.occupancy
    mask = np.zeros((nz, ny, nx), bool)
    mask[: nz // 4] = True
    state = begin_fit(runtime(), coarser(layout), CONFIG, mask, Prediction.scratch())
    start = start_from(state, layout, CONFIG)
    fresh = begin_fit(runtime(), layout, CONFIG, mask, Prediction.scratch())
    drawn = scratch(layout, CONFIG).parameters
    for grid, random in zip(start.parameters[1:], drawn[1:], strict=True):
        np.testing.assert_array_equal(grid[-1], random[-1])
        assert (grid[0] != random[0]).mean() > 0.9
    assert fresh.steps.tolist() == start.steps.tolist()
