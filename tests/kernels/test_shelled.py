"""Marching through a grid with a shell, against a twin in NumPy's double precision and the contraction there."""

from __future__ import annotations

import numpy as np
from backends import down, ints, unset, up
from taichi_vvc.kernels import march, shelled

from taichi_vvc.field.grids import occupancy_numbers
from taichi_vvc.geometry.contraction import to_grid
from taichi_vvc.types import Bounds, FieldLayout, GridLevel

CELLS, SHELL, STEP = (14, 12, 10), (3, 3, 2), 0.37
LAYOUT = FieldLayout(
    Bounds((0.0, 0.0, 0.0), (8.0, 6.0, 6.0)), (4, 4, 4), (GridLevel((4, 4, 4), 4, 1.0),), CELLS, shell=SHELL
)
RAYS, MOST, FAR = 60, 90, 5000.0
HALF = 0.5 * np.array(LAYOUT.inner)


def rays_of(seed: int) -> np.ndarray:
    """(n, 8) from inside and outside of the box, in cells from the grid's corner; some along an axis."""
    rng = np.random.default_rng(seed)
    rays = np.zeros((RAYS, 8))
    for i in range(RAYS):
        origin = 0.5 * np.array(CELLS) + rng.standard_normal(3) * (2 if i % 2 else 12)
        direction = rng.standard_normal(3)
        if i % 10 == 0:
            direction[rng.integers(3)] = 0.0
        rays[i] = [*origin, *direction / np.linalg.norm(direction), rng.uniform(0, 2), FAR]
    return rays.astype(np.float32)


def in_grid(ray: np.ndarray, t: float) -> np.ndarray:
    # One cell is one world unit; the world's origin is the lower corner of the box.
    return to_grid(LAYOUT, ray[:3].astype(float) - SHELL + t * ray[3:6].astype(float))


def region(ray: np.ndarray, t: float) -> int:
    parts = np.abs(ray[:3].astype(float) - SHELL + t * ray[3:6].astype(float) - HALF) / HALF
    return int(parts.argmax()) if parts.max() > 1 else 3


def marched(rays: np.ndarray, numbers: np.ndarray, opacity: np.ndarray, limit: float) -> list[np.ndarray]:
    """Samples (x, y, z, t) of each ray."""
    given = up(rays.reshape(-1)), ints(numbers), up(opacity), *CELLS, *SHELL, STEP, limit, 0, 0, 0, MOST
    counts, distances = ints(np.full(RAYS, -1)), unset(RAYS * MOST)
    shelled.march_shelled(RAYS, *given, march.DISTANCES, 1, RAYS, counts, distances, counts)
    starts = np.append(0, np.cumsum(down(counts, RAYS)))
    samples, owners = unset(int(starts[-1]) * 4), ints(np.full(int(starts[-1]), -1))
    shelled.place_shelled(RAYS, given[0], ints(starts), 1, RAYS, distances, *CELLS, *SHELL, samples, owners)
    found = down(samples, int(starts[-1]), 4)
    assert (down(owners) == np.repeat(np.arange(RAYS), np.diff(starts))).all()
    return np.split(found, starts[1:-1])


def test_samples_lie_at_equal_steps_of_contracted_length() -> None:
    rays = rays_of(1)
    full = np.ones(CELLS[::-1], bool)
    same = crossed = outside = 0
    for ray, samples in zip(rays, marched(rays, occupancy_numbers(full), np.zeros(full.size), 1e9), strict=True):
        assert 2 < len(samples) < MOST
        for place in samples:
            np.testing.assert_allclose(place[:3], in_grid(ray, float(place[3])), atol=2e-3)
        at = np.array([in_grid(ray, float(t)) for t in samples[:, 3]])
        regions = [region(ray, float(t)) for t in samples[:, 3]]
        for k in range(len(samples) - 1):
            if regions[k] == regions[k + 1]:
                assert abs(np.linalg.norm(at[k + 1] - at[k]) - STEP) < 4e-3
                same += 1
                outside += regions[k] < 3
            else:
                crossed += 1
        # The first lies half a step behind the entry; the last less than a step from infinity.
        if region(ray, float(ray[6])) == regions[0]:
            assert abs(np.linalg.norm(at[0] - in_grid(ray, float(ray[6]))) - STEP / 2) < 4e-3
        assert np.linalg.norm(at[-1] - in_grid(ray, FAR)) < STEP + 0.05 or regions[-1] != region(ray, FAR)
    assert same > 700 and outside > 400 and crossed > 60


def test_rays_never_stop_short_of_the_end() -> None:
    rays, full = rays_of(2), np.ones(CELLS[::-1], bool)
    for samples in marched(rays, occupancy_numbers(full), np.zeros(full.size), 1e9):
        # Half of the shell is left at twice the half size, an eighth at eight times: the last sample is beyond that.
        assert samples[-1, 3] > 8 * HALF.min()


def test_leaps_over_empty_cells_change_no_sample() -> None:
    rays, rng = rays_of(3), np.random.default_rng(4)
    mask = rng.random(CELLS[::-1]) < 0.25
    # Only a corner and the two ends along x have something.
    mask[:, :, 2:12] = False
    mask[:4, :4, 4:8] = True
    assert occupancy_numbers(mask).min() < -2
    leaping = marched(rays, occupancy_numbers(mask), np.zeros(mask.size), 1e9)
    walking = marched(rays, mask.astype(np.int32), np.zeros(mask.size), 1e9)
    # A leap adds up otherwise, so that a sample at a cell's face may be lost or found.
    alike = [len(a) == len(b) and np.allclose(a, b, atol=0.02) for a, b in zip(leaping, walking, strict=True)]
    assert sum(alike) >= 0.95 * RAYS and sum(map(len, walking)) > 60


def test_opacity_ends_rays() -> None:
    rays, full = rays_of(5), np.ones(CELLS[::-1], bool)
    clear = marched(rays, occupancy_numbers(full), np.zeros(full.size), 1.0)
    dark = marched(rays, occupancy_numbers(full), np.full(full.size, 0.5), 1.0)
    for a, b in zip(clear, dark, strict=True):
        assert len(b) == min(len(a), int(np.ceil(1.0 / (0.5 * STEP))))


def test_counts_and_visited_cells_are_those_of_the_samples() -> None:
    rays, rng = rays_of(6), np.random.default_rng(7)
    mask = rng.random(CELLS[::-1]) < 0.3
    numbers, clear = occupancy_numbers(mask), np.zeros(mask.size)
    samples = marched(rays, numbers, clear, 1e9)
    expected = np.zeros(mask.shape, bool)
    for part in samples:
        x, y, z = np.minimum(part[:, :3].astype(int), np.array(CELLS) - 1).T
        expected[z, y, x] = True
    visited, counts = ints(np.zeros(mask.size)), ints(np.zeros(RAYS))
    given = up(rays.reshape(-1)), ints(numbers), up(clear), *CELLS, *SHELL, STEP, 1e9, 0, 0, 0, MOST
    shelled.march_shelled(RAYS, *given, march.CELLS, 0, 0, counts, unset(1), visited)
    found = down(visited, *mask.shape) != 0
    assert (found <= mask).all() and (found != expected).sum() <= 2
    nothing = ints(np.full(RAYS, -1))
    shelled.march_shelled(RAYS, *given, march.NOTHING, 0, 0, nothing, unset(1), nothing)
    assert list(down(nothing, RAYS)) == [len(part) for part in samples] == list(down(counts, RAYS))
