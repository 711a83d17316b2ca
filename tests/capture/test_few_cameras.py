"""Of few cameras with masks, cells that hardly any sees are believed only where a silhouette needs them."""

from __future__ import annotations

import dataclasses

import captures
import numpy as np

from taichi_vvc.capture.hull import coverage, visual_hull
from taichi_vvc.capture.seen import believed_hull, views_of_cells
from taichi_vvc.config import FEW_CAMERAS, PRESETS, layout_of
from taichi_vvc.geometry.contraction import cell_centres
from taichi_vvc.geometry.projection import project
from taichi_vvc.types import Bounds, FieldLayout, View

TALL = Bounds((-1.0, -1.0, -1.0), (1.0, 1.0, 1.8))
CUT = 20  # rows of a picture of 64 above which most cameras see nothing


def rig(count: int, high: int) -> list[View]:
    """``count`` cameras around the spheres; all but ``high`` of them have pictures that end near the top of these."""
    views = []
    for number, camera in enumerate(captures.ring_cameras(count, 64, 0)):
        image = captures.trace(camera, 0, samples=1)
        if number >= high:
            camera = dataclasses.replace(camera, height=64 - CUT, cy=camera.cy - CUT)
            image = image[CUT:]
        views.append(View(camera, image))
    return views


def with_holder(view: View) -> View:
    """The view with something at the upper edge of its picture, of which the other cameras see nothing."""
    image = view.image.copy()
    image[:3, 20:44] = 255
    return View(view.camera, image)


def layout(views: list[View]) -> FieldLayout:
    return layout_of(PRESETS["ultrafast"], TALL, [view.camera for view in views])


def covered(shape: FieldLayout, view: View, cells: np.ndarray) -> np.ndarray:
    return coverage(view.camera, cell_centres(shape)[cells], np.full(3, shape.cell))


def on_lost_pixels(
    shape: FieldLayout, views: list[View], hull: np.ndarray, kept: np.ndarray, asked: np.ndarray
) -> np.ndarray:
    """Which of the cells ``asked`` have their centre on a pixel of a mask that ``kept`` cells lose, cell by cell."""
    found = np.zeros(int(asked.sum()), bool)
    for view in views:
        lost = (view.image[..., 3] > 127) & covered(shape, view, hull) & ~covered(shape, view, kept)
        pixels, _ = project(view.camera, cell_centres(shape)[asked])
        for number, (x, y) in enumerate(pixels):
            found[number] |= 0 <= x < view.camera.width and 0 <= y < view.camera.height and lost[int(y), int(x)]
    return found


def test_cells_that_one_or_two_see_go_where_nothing_needs_them() -> None:
    views = rig(6, high=1)
    shape = layout(views)
    hull, seen = visual_hull(views, shape.bounds, shape.occupancy), views_of_cells(shape, [v.camera for v in views])
    assert (hull & (seen < 3)).any(), "the rig leaves nothing open"
    kept = believed_hull(shape, views)
    assert not (kept & ~hull).any() and (kept & (seen >= 3) == hull & (seen >= 3)).all()
    assert (kept & (seen < 3)).sum() < 0.1 * (hull & (seen < 3)).sum()


def test_what_one_camera_shows_brings_back_only_the_cells_on_its_rays() -> None:
    views = rig(6, high=1)
    views[0] = with_holder(views[0])
    shape = layout(views)
    hull, seen = visual_hull(views, shape.bounds, shape.occupancy), views_of_cells(shape, [v.camera for v in views])
    rare = hull & (seen < 3)
    kept = believed_hull(shape, views)
    explained = covered(shape, views[0], hull) & (views[0].image[..., 3] > 0)
    assert explained[:3, 20:44].all(), "the hull does not hold the planted part"
    assert (explained == covered(shape, views[0], kept) & (views[0].image[..., 3] > 0)).all()
    assert 0 < (kept & rare).sum() < 0.5 * rare.sum()


def test_cells_that_two_see_come_before_those_that_one_sees() -> None:
    views = [with_holder(view) if number < 2 else view for number, view in enumerate(rig(6, high=2))]
    shape = layout(views)
    hull, seen = visual_hull(views, shape.bounds, shape.occupancy), views_of_cells(shape, [v.camera for v in views])
    kept = believed_hull(shape, views)
    one = hull & (seen == 1)
    wanted_at_first, wanted_then = (
        on_lost_pixels(shape, views, hull, hull & c, one) for c in (seen > 2, kept & (seen > 1))
    )
    assert wanted_then.sum() < wanted_at_first.sum(), "cells that two see explain nothing here"
    assert (kept[one] == wanted_then).all() and (kept & (seen == 2)).any()


def test_of_many_cameras_all_of_the_hull_is_believed() -> None:
    views = rig(FEW_CAMERAS + 1, high=1)
    shape = layout(views)
    assert (believed_hull(shape, views) == visual_hull(views, shape.bounds, shape.occupancy)).all()
