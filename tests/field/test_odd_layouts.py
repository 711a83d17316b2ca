"""Layouts that the format allows but no preset uses: they are rendered correctly and in bounded time."""

from __future__ import annotations

import dataclasses
import os
import sys

import numpy as np
import pytest
from backends import runtime
from conftest import child_environment

from taichi_vvc.bitstream.syntax import MOST_CELLS_PER_STEP
from taichi_vvc.config import PRESETS, layout_of
from taichi_vvc.field import mlp
from taichi_vvc.field.grids import flat_values, make_field, map_of
from taichi_vvc.field.render import render
from taichi_vvc.field.shading import logistic
from taichi_vvc.types import Bounds, Camera, FieldLayout, GridLevel

CELLS = (6, 6, 6)
CAMERA = Camera("a", 12, 10, 12.0, 12.0, 6.0, 5.0, np.eye(3), np.array([0.5, 0.5, -2.0]))


def layout(channels: tuple[int, ...] = (4,), **changes: int) -> FieldLayout:
    return FieldLayout(
        Bounds((0.0, 0.0, 0.0), (1.0, 1.0, 1.0)),
        (4, 4, 4),
        tuple(GridLevel((3, 4, 5), n, 1.0) for n in channels),
        CELLS,
        **{"projection_hidden": 8, "appearance": 3, "colour_hidden": 8, "view_frequencies": 1, "steps_per_side": 24}
        | changes,
    )


def drawn(shape: FieldLayout, grids: tuple[np.ndarray, ...], weights: np.ndarray) -> np.ndarray:
    mask = np.ones(CELLS, bool)
    field = make_field(runtime(), shape, flat_values(map_of(shape), shape, grids), weights, mask)
    return render(field, CAMERA, (0.25, 0.5, 0.75)).colour


def random_field(shape: FieldLayout) -> tuple[tuple[np.ndarray, ...], tuple[np.ndarray, ...]]:
    rng = np.random.default_rng(3)
    grids = tuple((rng.standard_normal(s) + 0.5).astype(np.float32) for s in shape.grid_shapes)
    return grids, tuple((rng.standard_normal(s) * 0.5).astype(np.float32) for s in shape.mlp_shapes)


@pytest.mark.parametrize("channels", [(1,), (3, 5), (7, 1, 2)])
def test_any_number_of_channels_is_drawn_like_an_even_one(channels: tuple[int, ...]) -> None:
    """An odd level draws like an even one whose further channel is 0 and has no weights."""
    odd = layout(channels)
    even = layout(tuple(n + n % 2 for n in channels))
    grids, tensors = random_field(odd)
    kept = np.concatenate([np.arange(n + n % 2) < n for n in channels])
    wide = [np.zeros(s, np.float32) for s in even.grid_shapes]
    wide[0][..., kept] = grids[0]
    for target, grid in zip(wide[1:], grids[1:], strict=True):
        target[..., : grid.shape[3]] = grid
    first = np.zeros(even.mlp_shapes[0], np.float32)
    first[kept] = tensors[0]
    found = drawn(odd, grids, mlp.flatten(tensors))
    expected = drawn(even, tuple(wide), mlp.flatten((first, *tensors[1:])))
    assert np.ptp(expected) > 0.1
    np.testing.assert_allclose(found, expected, atol=2e-5)


@pytest.mark.parametrize("changes", [{"appearance": 40}, {"appearance": 140, "view_frequencies": 16}])
def test_wide_networks_are_drawn_without_the_unrolled_kernels(changes: dict[str, int]) -> None:
    """Appearance features without weights change nothing, however many there are; the kernels draw the few."""
    few = layout()
    many = layout(**changes)
    projection, _colour = mlp.perceptrons(many)
    assert mlp.is_wide(projection) or not runtime().host_arrays
    grids, tensors = random_field(few)
    wide = [np.zeros(s, np.float32) for s in many.mlp_shapes]
    for number in (0, 1, 5, 6, 7):
        wide[number] = tensors[number]
    wide[2][:, : 1 + few.appearance], wide[3][: 1 + few.appearance] = tensors[2], tensors[3]
    inputs = np.zeros(many.mlp_shapes[4], np.float32)
    inputs[: few.appearance] = tensors[4][: few.appearance]
    inputs[many.appearance : many.appearance + few.direction_features] = tensors[4][few.appearance :]
    wide[4] = inputs
    expected = drawn(few, grids, mlp.flatten(tensors))
    assert np.ptp(expected) > 0.1
    np.testing.assert_allclose(drawn(many, grids, mlp.flatten(tuple(wide))), expected, atol=2e-5)


@pytest.mark.parametrize("steps", [1, 7, 24])
def test_no_step_is_longer_than_three_cells(steps: int) -> None:
    config = dataclasses.replace(PRESETS["fast"], steps_per_side=steps, occupancy_cells=48)
    found = layout_of(config, Bounds((0.0, 0.0, 0.0), (1.0, 0.5, 0.25)))
    assert found.steps_per_side == max(steps, 48 // MOST_CELLS_PER_STEP)


def test_the_numpy_logistic_neither_overflows_nor_differs() -> None:
    values = np.array([-200.0, -3.0, 0.0, 2.0, 200.0], np.float32)
    with np.errstate(all="raise", under="ignore"):
        np.testing.assert_allclose(logistic(values)[1:], 1 / (1 + np.exp(-values[1:].astype(np.float64))), rtol=1e-6)
        assert 0 <= logistic(values)[0] < 1e-37


ENDLESS = """
import numpy as np
from backends import down, ints, unset, up
from taichi_vvc.kernels import march
far = np.float32(1e30)
nan = np.float32(np.nan)
size = 8
rays = np.zeros((4, 8), np.float32)
rays[0] = [4, 4, -2, 0, 0, 1, 2, 10]  # leaps over less than a step
rays[1] = [nan, nan, nan, nan, nan, nan, 0, far]  # a camera that is nowhere
rays[2] = [0, 0, -1e12, 0, 0, 1, 1e12, 1e12 + 2e5]  # so far away that a step adds nothing
rays[3] = [4, 4, 4, 0, 0, 0, 0, far]  # a ray without a direction
for step in (8.0, 0.5, 1e-4):
    for number in (0, -2, -6):
        occupancy, opacity = ints(np.full(size**3, number)), up(np.zeros(size**3, np.float32))
        where = up(rays.reshape(-1)), occupancy, opacity, size, size, size, step, 7.0
        counts, distances = ints(np.zeros(4)), unset(4 * 16)
        march.march_rays(4, *where, 0, 0, 0, 16, 16, 1, counts, distances)
        assert not down(counts, 4).any()
        visited = ints(np.zeros(size**3))
        march.mark_visited(4, *where, visited)
        for summed in (False, True):
            march.count_samples(4, *where, 0, 0, 0, 16, summed, counts)
            assert not down(counts, 4).any()
print("all marches ended")
"""


def test_every_march_ends_whatever_it_is_given(python) -> None:
    done = python("-c", ENDLESS, env=child_environment() | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))})
    assert done.returncode == 0, done.stderr
    assert "all marches ended" in done.stdout
