"""Marching into packed samples, prefix sums and visited cells, against NumPy twins."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import reference
from backends import down, ints, unset, up
from taichi_vvc.kernels import march

from taichi_vvc.field.grids import occupancy_numbers

CELLS = (6, 5, 4)  # x, y, z
STEP = 0.37
SEED = 1
RAYS = 40
MOST = 40  # samples of a ray


def scene(seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rays (n, 8) through the box from all sides, some of which miss it; a mask and opacities (nz, ny, nx)."""
    rng = np.random.default_rng(seed)
    size = np.array(CELLS, np.float64)
    rays = np.zeros((RAYS, 8), np.float32)
    for i in range(RAYS):
        target = rng.uniform(0, 1, 3) * size
        origin = size / 2 + rng.standard_normal(3) * (0.5 if i % 8 == 0 else 6)
        direction = (target - origin) / np.linalg.norm(target - origin)
        if i % 7 == 3:
            direction = -direction
        rays[i] = [*origin, *direction, *reference.box_interval(origin, direction, size)]
    shape = CELLS[::-1]
    return rays, rng.random(shape) < 0.4, (rng.random(shape) * 1.5).astype(np.float32)


def offsets(jitter: int, seed: int, iteration: int) -> list[float]:
    """Start offset of each ray, steps."""
    return [reference.uniform(seed, iteration, i) if jitter else 0.5 for i in range(RAYS)]


def marched(
    rays: np.ndarray,
    mask: np.ndarray,
    opacity: np.ndarray,
    limit: float,
    jitter: int,
    seed: int,
    iteration: int,
    strides: tuple[int, int] = (1, RAYS),
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Starts (n + 1), samples (m, 4) and the ray of each sample, by the kernels."""
    where = up(rays.reshape(-1)), ints(occupancy_numbers(mask)), up(opacity), *CELLS, STEP, limit
    where += jitter, seed, iteration
    counts, distances = ints(np.full(RAYS, -1)), unset(RAYS * MOST)
    march.march_rays(RAYS, *where, MOST, *strides, counts, distances)
    starts = np.concatenate([[0], np.cumsum(down(counts, RAYS))])
    total = int(starts[-1])
    samples, sample_ray = unset(total * 4), ints(np.full(total, -1))
    march.place_samples(RAYS, where[0], ints(starts), *strides, distances, samples, sample_ray)
    return starts, down(samples, total, 4), down(sample_ray, total)


@pytest.mark.parametrize("strides", [(1, RAYS), (MOST, 1)])
@pytest.mark.parametrize(("limit", "jitter"), [(1e9, 0), (1e9, 1), (1.2, 0), (1.2, 1)])
def test_samples_equal_those_of_the_twin(limit: float, jitter: int, strides: tuple[int, int]) -> None:
    rays, mask, opacity = scene(SEED)
    starts, samples, sample_ray = marched(rays, mask, opacity, limit, jitter, 17, 4, strides)
    longest = 0
    for i, offset in enumerate(offsets(jitter, 17, 4)):
        expected, _, margin = reference.march(rays[i].astype(np.float64), mask, opacity, STEP, limit, offset)
        assert margin > 2e-5, "the scene leaves the choice of a cell to rounding: take another seed"
        found = samples[starts[i] : starts[i + 1]]
        assert len(found) == len(expected)
        assert (sample_ray[starts[i] : starts[i + 1]] == i).all()
        longest = max(longest, len(found))
        if expected:
            # Coordinates of order 10 in float32.
            np.testing.assert_allclose(found, np.array(expected), atol=2e-5)
    assert longest >= (8 if limit > 1e6 else 3)


def test_passing_over_empty_cells_changes_nothing() -> None:
    cells = (30, 28, 20)
    rng = np.random.default_rng(5)
    mask = np.zeros(cells[::-1], bool)
    for z, y, x in rng.integers(0, 20, (6, 3)):
        mask[z : z + 2, y : y + 2, x : x + 2] = True
    size = np.array(cells, np.float64)
    rays = np.zeros((RAYS, 8), np.float32)
    for i, (z, y, x) in enumerate(np.argwhere(mask)[rng.integers(0, mask.sum(), RAYS)]):
        origin = size / 2 + rng.standard_normal(3) * 40
        direction = (x + 0.5, y + 0.5, z + 0.5) - origin
        direction /= np.linalg.norm(direction)
        rays[i] = [*origin, *direction, *reference.box_interval(origin, direction, size)]
    numbers = occupancy_numbers(mask)
    assert numbers.min() == -6 and ((numbers > 0) == mask).all()
    found = []
    for kind in (mask, numbers):
        where = up(rays.reshape(-1)), ints(kind), up(np.zeros(mask.shape)), *cells, STEP, 1e9, 1, 3, 0
        counts, distances = ints(np.zeros(RAYS)), up(np.zeros(RAYS * 200))
        march.march_rays(RAYS, *where, 200, 200, 1, counts, distances)
        found.append((down(counts, RAYS), down(distances, RAYS, 200)))
    assert found[0][0].sum() > 2 * RAYS
    np.testing.assert_array_equal(found[0][0], found[1][0])
    np.testing.assert_array_equal(found[0][1], found[1][1])


def test_there_is_room_for_so_many_samples_only() -> None:
    rays, mask, opacity = scene(SEED)
    where = up(rays.reshape(-1)), ints(mask), up(opacity), *CELLS, STEP, 1e9, 0, 0, 0
    counts, distances = ints(np.full(RAYS, -1)), up(np.full(RAYS * 4, -1.0))
    march.march_rays(RAYS, *where, 3, 4, 1, counts, distances)
    assert down(counts, RAYS).max() == 3
    assert (down(distances, RAYS, 4)[:, 3] == -1).all()


def test_a_ray_ends_where_it_is_opaque() -> None:
    rays, mask, opacity = scene(SEED)
    free, _, _ = marched(rays, mask, opacity, 1e9, 0, 0, 0)
    ended, samples, _ = marched(rays, mask, opacity, 1.2, 0, 0, 0)
    assert (np.diff(ended) <= np.diff(free)).all()
    assert ended[-1] < 0.8 * free[-1]
    reached = 0
    for i in range(RAYS):
        inside = samples[ended[i] : ended[i + 1], :3]
        cells = np.clip(np.floor(inside).astype(int), 0, np.array(CELLS) - 1)
        depth = np.cumsum([opacity[z, y, x] * STEP for x, y, z in cells])
        if len(depth) and len(depth) < free[i + 1] - free[i]:
            reached += 1
            assert depth[-1] >= 1.2 - 1e-5
        assert (depth[:-1] < 1.2).all()
    assert reached > 5


def test_no_sample_lies_in_an_empty_cell_or_outside_its_ray() -> None:
    rays, mask, opacity = scene(SEED + 1)
    starts, samples, sample_ray = marched(rays, mask, opacity, 1e9, 1, 3, 0)
    x, y, z = np.clip(np.floor(samples[:, :3]).astype(int), 0, np.array(CELLS) - 1).T
    assert len(samples) > 50
    assert mask[z, y, x].all()
    assert (samples[:, 3] >= rays[sample_ray, 6]).all() and (samples[:, 3] < rays[sample_ray, 7]).all()
    misses = rays[:, 6] >= rays[:, 7]
    assert misses.sum() > 2 and (np.diff(starts)[misses] == 0).all()


@pytest.mark.parametrize("summed", [False, True])
@pytest.mark.parametrize("most", [1, 3, MOST])
def test_counts_are_those_of_the_march(most: int, summed: bool) -> None:
    rays, mask, opacity = scene(SEED)
    counts = ints(np.full(RAYS, -1))
    where = up(rays.reshape(-1)), ints(occupancy_numbers(mask)), up(opacity), *CELLS, STEP, 1.2, 1, 17, 4
    march.count_samples(RAYS, *where, most, summed, counts)
    starts, _, _ = marched(rays, mask, opacity, 1.2, 1, 17, 4)
    np.testing.assert_array_equal(down(counts, RAYS), np.minimum(np.diff(starts), most))
    assert np.diff(starts).max() > 3


def test_an_empty_mask_takes_no_samples() -> None:
    rays, mask, opacity = scene(SEED)
    starts, _, _ = marched(rays, np.zeros_like(mask), opacity, 1e9, 0, 0, 0)
    assert starts[-1] == 0


@pytest.mark.parametrize("chunk", [1, 3, 16, 40])
def test_exclusive_sum(chunk: int) -> None:
    rng = np.random.default_rng(chunk)
    for count in (1, 2, 15, 16, 17, 31, 48, 100, 257):
        counts = rng.integers(0, 90, count)
        starts, partial = ints(np.full(count + 1, -1)), ints(np.full(-(-count // chunk) + -(-count // chunk**2), -1))
        march.exclusive_sum(count, ints(counts), starts, chunk, partial)
        assert down(starts, count + 1).tolist() == [0, *np.cumsum(counts).tolist()]


@pytest.mark.parametrize("limit", [1e9, 1.2])
def test_visited_cells(limit: float) -> None:
    rays, mask, opacity = scene(SEED)
    visited, numbers = ints(np.zeros(mask.size)), ints(occupancy_numbers(mask))
    march.mark_visited(RAYS, up(rays.reshape(-1)), numbers, up(opacity), *CELLS, STEP, limit, visited)
    expected = np.zeros_like(mask)
    for ray in rays:
        for cell in reference.march(ray.astype(np.float64), mask, opacity, STEP, limit, 0.5)[1]:
            expected[cell] = True
    np.testing.assert_array_equal(down(visited, *mask.shape) != 0, expected)
    assert 5 < expected.sum() < mask.sum()


@pytest.mark.parametrize("limit", [1e9, 1.2])
def test_rays_that_meet_some_cells(limit: float) -> None:
    rays, mask, opacity = scene(SEED)
    among = mask & (np.random.default_rng(5).random(mask.shape) < 0.1)
    met = ints(np.full(RAYS, -1))
    where = up(rays.reshape(-1)), ints(occupancy_numbers(mask)), up(opacity), *CELLS, STEP, limit
    march.meet_cells(RAYS, *where, ints(among.astype(int)), met)
    starts, samples, _ = marched(rays, mask, opacity, limit, 0, 0, 0)
    x, y, z = np.clip(np.floor(samples[:, :3]).astype(int), 0, np.array(CELLS) - 1).T
    there = among[z, y, x]
    expected = [int(there[a:b].any()) for a, b in pairwise(starts)]
    assert down(met, RAYS).tolist() == expected
    assert 0 < sum(expected) < RAYS
