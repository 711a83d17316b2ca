"""Grid lookups and their adjoints, against NumPy twins, torch and finite differences, on the backend under test."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import reference
import torch
import torch_model
from backends import BACKEND, down, ints, random_grids, slope, small_layout, unset, up
from taichi_vvc.kernels import grids_cpu as kernels
from taichi_vvc.kernels import grids_gpu as by_channel

from taichi_vvc.field import mlp
from taichi_vvc.field.grids import flat_values, map_of
from taichi_vvc.types import FieldLayout, GridLevel

LAYOUT = small_layout()
MAP = map_of(LAYOUT)
GRIDS = random_grids(LAYOUT, 0)
POINTS = 60
# The adjoint with plain stores is for the CPU; the one with atomics runs everywhere.
ADJOINTS = ["channels", "tasks"] if BACKEND == "cpu" else ["channels"]


def points(layout: FieldLayout = LAYOUT) -> np.ndarray:
    """(n, 3) points in the bounds, cells, away from the wraps of the sawtooth; borders and corners among them."""
    rng = np.random.default_rng(1)
    cells = np.array(layout.occupancy, np.float64)
    found = rng.uniform(0, 1, (4 * POINTS, 3)) * cells
    found[0], found[1], found[2] = 0, cells - 1e-3, (0, cells[1] - 1e-3, 1.0)
    tiles = [cells.max() / level.frequency for level in layout.levels]
    ok = [
        all(abs(x - round(x / t) * t) > 1e-3 or x == 0 for t in tiles for x in p if x < cells.max() - 2e-3)
        for p in found
    ]
    return found[ok][:POINTS].astype(np.float32)


def looked_up(
    values: np.ndarray, x: np.ndarray, layout: FieldLayout = LAYOUT
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Coefficients, basis and features, (n, channels) each, by the kernel for a GPU; on the CPU its own agrees."""
    grid_map, channels = map_of(layout), layout.channels
    samples = np.concatenate([x, np.full((len(x), 1), np.nan)], axis=1)
    given = up(samples.reshape(-1)), up(values), ints(grid_map.ints), up(grid_map.floats)
    out = [unset(len(x) * channels) for _ in range(3)]
    by_channel.lookup_fwd_channels(len(x), channels, *given, *out)
    if BACKEND == "cpu":
        own = [unset(len(x) * channels) for _ in range(3)]
        kernels.lookup_fwd(len(x), grid_map.groups, channels, *given, *own)
        for one, other in zip(own, out, strict=True):
            np.testing.assert_allclose(down(one), down(other), rtol=1e-6, atol=1e-6)
    coefficients, basis, features = (down(o, len(x), channels) for o in out)
    return coefficients, basis, features


def adjoint(
    name: str, values: np.ndarray, x: np.ndarray, d_features: np.ndarray, start: float = 0.0, negligible: float = 0.0
) -> np.ndarray:
    """Gradient of the flat values by one of :data:`ADJOINTS`, added to an array of ``start``."""
    coefficients, basis, _ = looked_up(values, x)
    samples = np.concatenate([x, np.full((len(x), 1), np.nan)], axis=1)
    gradient = up(np.full(MAP.size, start))
    tables = ints(MAP.ints), up(MAP.floats)
    stored = up(coefficients.reshape(-1)), up(basis.reshape(-1)), up(d_features.reshape(-1))
    arrays = up(samples.reshape(-1)), *tables, *stored, gradient
    if name == "tasks":
        kernels.lookup_bwd_tasks(len(x), MAP.groups, LAYOUT.channels, *arrays)
    else:
        by_channel.lookup_bwd_channels(len(x), LAYOUT.channels, negligible, *arrays)
    return down(gradient, MAP.size)


def test_every_symbol_has_a_place_of_its_own() -> None:
    places = [MAP.places(n, np.arange(int(np.prod(shape[:3])))) for n, shape in enumerate(LAYOUT.grid_shapes)]
    assert [p.shape[1] for p in places] == [10, 4, 6]
    everything = np.concatenate([p.reshape(-1) for p in places])
    assert np.array_equal(np.sort(everything), np.arange(MAP.size))


def test_lookup_equals_its_twin() -> None:
    x = points()
    coefficients, basis, features = looked_up(flat_values(MAP, LAYOUT, GRIDS), x)
    for i, point in enumerate(x.astype(np.float64)):
        c, b = reference.lookup(LAYOUT, GRIDS, point)
        # Fractions are differences of float32 numbers of up to 8: errors of 1e-6 times slopes of about 3 per node.
        np.testing.assert_allclose(coefficients[i], c, atol=2e-5)
        np.testing.assert_allclose(basis[i], b, atol=2e-5)
    np.testing.assert_allclose(features, coefficients * basis, rtol=1e-6)


def test_lookup_equals_torch_grid_sample() -> None:
    x = points()
    expected = torch_model.features(LAYOUT, torch_model.doubles(GRIDS), x).detach()
    np.testing.assert_allclose(looked_up(flat_values(MAP, LAYOUT, GRIDS), x)[2], expected.numpy(), atol=5e-5)


def test_lookup_at_nodes_returns_the_nodes() -> None:
    # Cells and tiles that float32 holds, so that points fall on nodes exactly.
    layout = small_layout(
        coefficients=(9, 5, 3), occupancy=(8, 8, 8), levels=(GridLevel((5, 5, 5), 2, 2.0), GridLevel((3, 2, 5), 4, 1.0))
    )
    grids = random_grids(layout, 4)
    x = np.array([[0, 0, 0], [1, 2, 4], [3, 6, 0], [5, 4, 4], [7, 6, 4]], np.float32)
    coefficients, basis, _ = looked_up(flat_values(map_of(layout), layout, grids), x, layout)
    for i, (px, py, pz) in enumerate(x.astype(int)):
        np.testing.assert_array_equal(coefficients[i], grids[0][pz // 4, py // 2, px])
        # The tile of frequency 2 is 4 cells long with 5 nodes: the point at 4 is the first node again.
        np.testing.assert_array_equal(basis[i, :2], grids[1][pz % 4, py % 4, px % 4])


def test_the_tile_repeats_and_has_nodes_on_both_borders() -> None:
    layout = small_layout(levels=(GridLevel((5, 4, 3), 4, 4.0),), occupancy=(8, 8, 8))
    grids = random_grids(layout, 5)
    values = flat_values(map_of(layout), layout, grids)
    x = np.array([[0.5, 1.25, 0.75], [6.5, 3.25, 4.75]], np.float32)  # a tile is 2 cells long
    first, again = looked_up(values, x, layout)[1]
    np.testing.assert_allclose(first, again, atol=1e-6)
    before = looked_up(values, np.nextafter(np.array([[2, 2, 2]], np.float32), np.float32(0)), layout)[1]
    np.testing.assert_allclose(before[0], grids[1][-1, -1, -1], atol=1e-5)


def test_lookup_outside_the_bounds_is_clamped() -> None:
    cells = np.array(LAYOUT.occupancy, np.float32)
    coefficients = looked_up(flat_values(MAP, LAYOUT, GRIDS), np.stack([cells + 1, cells * 0 - 1]).astype(np.float32))[
        0
    ]
    np.testing.assert_allclose(coefficients, [GRIDS[0][-1, -1, -1], GRIDS[0][0, 0, 0]], atol=1e-6)


@pytest.mark.parametrize("name", ADJOINTS)
def test_adjoint_equals_torch_autograd(name: str) -> None:
    x = points()
    d_features = np.random.default_rng(2).standard_normal((len(x), LAYOUT.channels)).astype(np.float32)
    gradient = adjoint(name, flat_values(MAP, LAYOUT, GRIDS), x, d_features)
    grids = torch_model.doubles(GRIDS)
    (torch_model.features(LAYOUT, grids, x) * torch.from_numpy(d_features.astype(np.float64))).sum().backward()
    for number, expected in enumerate(torch_model.gradients(grids)):
        found = gradient[MAP.places(number, np.arange(expected[..., 0].size))].reshape(expected.shape)
        # Sums of up to 60 terms of order 1, each good to about 1e-5 (see the lookup).
        np.testing.assert_allclose(found, expected, atol=2e-4)
        assert np.abs(found).max() > 1


@pytest.mark.parametrize("name", ADJOINTS)
def test_adjoint_equals_finite_differences(name: str) -> None:
    x = points()
    rng = np.random.default_rng(3)
    values = flat_values(MAP, LAYOUT, GRIDS).astype(np.float64)
    d_features = rng.standard_normal((len(x), LAYOUT.channels)).astype(np.float32)

    def loss(v: np.ndarray) -> float:
        return float((looked_up(v, x)[2].astype(np.float64) * d_features).sum())

    gradient = adjoint(name, values, x, d_features).astype(np.float64)
    for _ in range(5):
        direction = rng.standard_normal(values.shape)
        # Along a line the features are quadratic, so that a wide central difference is exact but for rounding.
        assert gradient @ direction == pytest.approx(slope(loss, values, direction, 0.5), abs=1e-3, rel=1e-4)


@pytest.mark.parametrize("name", ADJOINTS)
def test_adjoint_adds_to_what_is_there_and_touches_nothing_else(name: str) -> None:
    x = np.array([[0.3, 0.4, 0.2]], np.float32)
    gradient = adjoint(name, flat_values(MAP, LAYOUT, GRIDS), x, np.ones((1, LAYOUT.channels)), start=2.0)
    touched = gradient != 2
    # One sample, 10 channels, 8 corners of the coefficient grid and 8 of a basis grid.
    assert touched.sum() == 2 * 8 * LAYOUT.channels
    again = adjoint(name, flat_values(MAP, LAYOUT, GRIDS), x, np.ones((1, LAYOUT.channels)))
    np.testing.assert_allclose(gradient - 2, again, atol=1e-6)


def test_adjoint_leaves_out_what_is_negligible() -> None:
    x, values = points(), flat_values(MAP, LAYOUT, GRIDS)
    d_features = np.random.default_rng(7).uniform(-1, 1, (len(x), LAYOUT.channels)).astype(np.float32)
    small = np.abs(d_features) <= 0.5
    assert 0 < small.sum() < small.size
    found = adjoint("channels", values, x, d_features, negligible=0.5)
    np.testing.assert_allclose(found, adjoint("channels", values, x, np.where(small, 0, d_features)), atol=1e-5)


@pytest.mark.skipif(BACKEND != "cpu", reason="the adjoint with plain stores is for the CPU")
def test_adjoint_of_tasks_is_reproducible() -> None:
    x = np.tile(points(), (20, 1))
    d_features = np.random.default_rng(4).standard_normal((len(x), LAYOUT.channels)).astype(np.float32)
    values = flat_values(MAP, LAYOUT, GRIDS)
    first = adjoint("tasks", values, x, d_features)
    assert all(np.array_equal(first, adjoint("tasks", values, x, d_features)) for _ in range(3))


@pytest.mark.skipif(BACKEND != "cpu", reason="vector lookups are for the CPU")
def test_lookups_in_fours_equal_the_general_ones() -> None:
    layout = replace(LAYOUT, levels=(GridLevel((5, 6, 4), 8, 1.0), GridLevel((4, 4, 7), 4, 2.0)))
    grid_map, x = map_of(layout), points(layout)
    values = flat_values(grid_map, layout, random_grids(layout, 5)).astype(np.float32)
    samples = np.concatenate([x, np.full((len(x), 1), np.nan)], axis=1).astype(np.float32)
    tables = ints(grid_map.ints), up(grid_map.floats)
    general = [down(up(o.reshape(-1)), len(x) * layout.channels) for o in looked_up(values, x, layout)]
    count, groups, shift = len(x), grid_map.groups, mlp.shift_of(layout.channels)
    # Kernels that load vectors want aligned arrays, which the runtime hands out.
    fours, stored = up(samples), [unset(count * groups * 4).reshape(-1, 4) for _ in range(2)]
    features = unset(mlp.in_blocks(count, shift))
    where = fours.reshape(-1, 4), up(values).reshape(-1, 4)
    kernels.lookup_fwd_fours(count, groups, shift, *where, *tables, *stored, features)
    rows = mlp.from_blocks(features, count, shift)[:, : layout.channels]
    for ours, theirs in zip([*stored, rows], general, strict=True):
        np.testing.assert_allclose(ours.reshape(-1), theirs, atol=1e-5)
    kept = np.flatnonzero(np.arange(count) % 3).astype(np.int32)
    d_features = np.random.default_rng(6).standard_normal((len(kept), layout.channels)).astype(np.float32)
    d_blocks = unset(mlp.in_blocks(len(kept), shift))
    mlp.to_blocks(d_features, d_blocks, shift)
    gradients = up(np.full(grid_map.size, 2.0)), up(np.full(grid_map.size, 2.0))
    found = *stored, d_blocks, gradients[0].reshape(-1, 4)
    kernels.lookup_bwd_fours(len(kept), kept, groups, shift, where[0], *tables, *found)
    flat = [array.reshape(count, -1)[kept].reshape(-1) for array in (samples, *stored)]
    kernels.lookup_bwd_tasks(
        len(kept), groups, layout.channels, flat[0], *tables, *flat[1:], d_features.reshape(-1), gradients[1]
    )
    np.testing.assert_allclose(gradients[0], gradients[1], atol=1e-4)
    assert np.abs(gradients[0] - 2).max() > 1
