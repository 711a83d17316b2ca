"""From pixels that have changed to cells: how many views must agree, and what is drawn then."""

from __future__ import annotations

import math
from typing import Any

import captures
import numpy as np
import pytest
from backends import runtime
from tiny import TWO_LEVELS

import taichi_vvc as tv
from taichi_vvc.coding.live_set import live_nodes
from taichi_vvc.config import layout_of
from taichi_vvc.field.render import Workspace
from taichi_vvc.fit.changes import Change, _enough, find_change
from taichi_vvc.fit.prediction import Prediction
from taichi_vvc.fit.state import begin_fit
from taichi_vvc.geometry.projection import project
from taichi_vvc.types import View

CAMERAS = captures.ring_cameras(7, 40, test_cameras=1)
LAYOUT = layout_of(tv.EncoderConfig(**TWO_LEVELS), captures.BOUNDS)
# Something has come up here, far from all that is occupied.
PLACE = np.array([0.55, -0.5, 0.6])


def changed_at(place: np.ndarray, cameras: int) -> dict[str, np.ndarray]:
    """Errors of 1 around where a place is seen, in so many cameras; none in the other training cameras."""
    errors = {}
    for number, camera in enumerate(c for c in CAMERAS if c.split == "train"):
        errors[camera.name] = np.zeros((camera.height, camera.width), np.float32)
        if number < cameras:
            (x, y), _ = (part[0] for part in project(camera, place[None]))
            errors[camera.name][int(y) - 1 : int(y) + 2, int(x) - 1 : int(x) + 2] = 1
    return errors


def found(errors: dict[str, np.ndarray], allowed: float, alpha: int = 255, **changes: Any) -> Change | None:
    """What may change in a field that has something in its lower corner only."""
    rt = runtime()
    occupied = np.zeros(LAYOUT.occupancy[::-1], bool)
    occupied[:5, :5, :5] = True
    field = begin_fit(rt, LAYOUT, tv.EncoderConfig(**TWO_LEVELS), occupied, Prediction.scratch()).field
    views = [View(c, np.full((c.height, c.width, 4), alpha, np.uint8)) for c in CAMERAS]
    return find_change(Workspace(rt), field, views, errors, allowed, changes.get("mask", occupied))


def cell_of(place: np.ndarray) -> tuple[int, ...]:
    return tuple(((place - LAYOUT.bounds.lower) / LAYOUT.cell).astype(int)[::-1])


def test_what_comes_up_anywhere_is_found_without_masks() -> None:
    change = found(changed_at(PLACE, 6), 0.0)
    assert change is not None and change.cells[cell_of(PLACE)] and change.mask[cell_of(PLACE)]
    assert change.cells.mean() < 0.1
    # All of what was there stays.
    assert change.mask[:5, :5, :5].all()
    # Their pixels are drawn, and some around.
    first, size = 0, 40 * 40
    for errors in changed_at(PLACE, 6).values():
        near = change.among(first, (40, 40))
        assert near[errors > 0].mean() > 0.8 and near.mean() < 0.5
        first += size


def test_masks_say_where_something_may_come_up() -> None:
    change = found(changed_at(PLACE, 6), 1e9, alpha=200)
    assert change is not None and not change.cells.any()
    hull = np.zeros(LAYOUT.occupancy[::-1], bool)
    hull[:5, :5, :5] = True
    hull[cell_of(PLACE)] = True
    change = found(changed_at(PLACE, 6), 1e9, alpha=200, mask=hull)
    assert change is not None and np.argwhere(change.cells & ~hull).size == 0 and change.cells[cell_of(PLACE)]


def test_what_no_cell_explains_is_left_or_fitted_with_everything() -> None:
    lonely = changed_at(PLACE, 1)
    change = found(lonely, 9.0)
    assert change is not None and not change.cells.any() and not change.pixels.size
    assert found(lonely, 8.9) is None


def test_nothing_changes_where_no_pixel_does() -> None:
    change = found(changed_at(PLACE, 0), 0.0)
    assert change is not None and not change.cells.any() and change.mask.sum() == 125


def test_two_views_must_agree_and_half_of_those_that_see_a_cell() -> None:
    # Where hardly a pixel changes nothing happens by chance.
    needed = _enough(9, 1e-4)
    assert needed.tolist() == [10, 10, 2, 2, 2, 3, 3, 4, 4, 5]


@pytest.mark.parametrize("part", [0.05, 0.2, 0.5])
def test_what_happens_by_chance_in_a_thousandth_of_the_cells_is_not_believed(part: float) -> None:
    needed = _enough(20, part)

    def chance(seeing: int, showing: int) -> float:
        parts = (math.comb(seeing, k) * part**k * (1 - part) ** (seeing - k) for k in range(showing, seeing + 1))
        return sum(parts)

    for seeing, showing in enumerate(needed.tolist()):
        assert chance(seeing, showing) <= 1e-3
        least = max(2, math.ceil(seeing / 2))
        if least < showing <= seeing:
            assert chance(seeing, showing - 1) > 1e-3
        if showing > seeing >= 2:
            assert chance(seeing, seeing) > 1e-3
    assert needed[20] <= 20


def test_pixels_of_a_picture() -> None:
    cells = np.ones((1, 1, 1), bool)
    change = Change(cells, cells, np.array([3, 12, 14, 23, 24], np.int32), 0.5)
    found = change.among(12, (3, 4))
    assert np.argwhere(found).tolist() == [[0, 0], [0, 2], [2, 3]]
    assert not change.among(30, (2, 2)).any()


def test_rays_follow_what_changes() -> None:
    cells = np.ones((1, 1, 1), bool)
    nothing = np.zeros(0, np.int32)
    assert Change(cells, cells, nothing, 0.3).rays(1000) == 600
    assert Change(cells, cells, nothing, 0.8).rays(1000) == 1000
    assert Change(cells, cells, nothing, 0.001).rays(1000) == 128
    assert Change(cells, cells, nothing, 0.001).rays(100) == 100


def test_only_symbols_that_touch_the_cells_are_fitted() -> None:
    mask, cells = (np.zeros(LAYOUT.occupancy[::-1], bool) for _ in range(2))
    mask[:6, :6, :6] = cells[4:9, 4:9, 4:9] = True
    config = tv.EncoderConfig(**TWO_LEVELS)
    symbols = begin_fit(runtime(), LAYOUT, config, mask, Prediction.scratch(), cells).symbols
    expected = live_nodes(LAYOUT, mask & cells)
    assert all((a == b).all() for a, b in zip(symbols.live, expected, strict=True))
    assert 0 < symbols.count < begin_fit(runtime(), LAYOUT, config, mask, Prediction.scratch()).symbols.count
