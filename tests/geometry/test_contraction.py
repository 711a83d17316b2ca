"""The contraction of a whole scene: both ways, and straight rays within regions."""

from __future__ import annotations

import numpy as np

from taichi_vvc.geometry.contraction import cell_centres, to_grid, to_world
from taichi_vvc.types import Bounds, FieldLayout, GridLevel

LAYOUT = FieldLayout(
    Bounds((-1.0, 0.0, 2.0), (3.0, 3.0, 4.0)), (4, 4, 4), (GridLevel((4, 4, 4), 4, 1.0),), (14, 10, 8), shell=(3, 2, 2)
)
CENTRE, HALF = np.array([1.0, 1.5, 3.0]), np.array([2.0, 1.5, 1.0])


def points(count: int, reach: float) -> np.ndarray:
    rng = np.random.default_rng(3)
    return CENTRE + HALF * reach ** rng.uniform(-1, 1, (count, 1)) * rng.uniform(-1, 1, (count, 3))


def test_the_inside_is_cells_from_the_lower_corner_of_the_grid() -> None:
    assert LAYOUT.inner == (8, 6, 4) and LAYOUT.cell == 0.5
    inside = CENTRE + HALF * np.random.default_rng(1).uniform(-1, 1, (50, 3))
    expected = (inside - LAYOUT.bounds.lower) / 0.5 + LAYOUT.shell
    np.testing.assert_allclose(to_grid(LAYOUT, inside), expected, atol=1e-12)


def test_known_places_outside() -> None:
    # Twice the half size behind the face +x: half of the shell is left. Sideways half of what it was.
    found = to_grid(LAYOUT, CENTRE + HALF * [2.0, 1.0, -0.5])
    np.testing.assert_allclose(found, [7 + 4 + 1.5, 5 + 1.5, 4 - 0.5])
    # Four times behind -z.
    np.testing.assert_allclose(to_grid(LAYOUT, CENTRE - HALF * [0, 0, 4.0]), [7, 5, 4 - 2 - 1.5])


def test_there_and_back_again() -> None:
    world = points(2000, 40.0)
    grid = to_grid(LAYOUT, world)
    assert (grid >= 0).all() and (grid <= LAYOUT.occupancy).all()
    outside = (np.abs(world - CENTRE) > HALF).any(1)
    assert 500 < outside.sum() < 1900
    np.testing.assert_allclose(to_world(LAYOUT, grid), world, rtol=1e-9, atol=1e-9)


def test_rays_are_straight_within_a_region() -> None:
    rng = np.random.default_rng(5)
    checked = 0
    for _ in range(200):
        origin, direction = CENTRE + HALF * rng.uniform(-1, 1, 3), rng.standard_normal(3)
        world = origin + direction * np.sort(rng.uniform(2, 30, 3))[:, None]
        relative = np.abs(world - CENTRE) / HALF
        if len(set(relative.argmax(1))) > 1 or (relative.max(1) < 1).any():
            continue
        a, b, c = to_grid(LAYOUT, world)
        assert np.linalg.norm(np.cross(b - a, c - a)) < 1e-9
        checked += 1
    assert checked > 50


def test_zones_where_two_axes_lie_in_the_shell_hold_nothing() -> None:
    centres = cell_centres(LAYOUT)
    z, y, x = np.indices(centres.shape[:3])
    outer = [(n < s) | (n >= c - s) for n, s, c in zip((x, y, z), LAYOUT.shell, LAYOUT.occupancy, strict=True)]
    assert (np.isnan(centres).all(-1) == (np.sum(outer, 0) > 1)).all()
    assert np.isfinite(centres).all(-1).sum() == 8 * 6 * 4 + 2 * (3 * 6 * 4 + 2 * 8 * 4 + 2 * 8 * 6)
