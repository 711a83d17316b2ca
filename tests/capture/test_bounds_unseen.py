"""The box on a side that no camera looks at: below a table all of whose cameras look down."""

from __future__ import annotations

import math

import captures
import numpy as np
import pytest

from taichi_vvc.capture.bounds import bounds_from_masks
from taichi_vvc.geometry.projection import pixel_directions, rays_hit
from taichi_vvc.types import Bounds, Camera, View

TABLE = -0.5


def rig(elevations: tuple[float, ...], count: int = 12, size: int = 120, span: float = 360.0) -> list[Camera]:
    """Cameras on a ring around the origin, or on a part of it of ``span`` degrees, at elevations in turn."""
    focal = 0.5 * size / math.tan(0.5 * captures.FOV_X)
    cameras = []
    for k in range(count):
        azimuth, elevation = math.radians(span * k / count), math.radians(elevations[k % len(elevations)])
        flat = math.cos(elevation)
        at = 4.0 * np.array([flat * math.cos(azimuth), flat * math.sin(azimuth), math.sin(elevation)])
        turned = captures.look_at(at, np.zeros(3))
        cameras.append(Camera(f"cam{k:02d}", size, size, focal, focal, size / 2, size / 2, turned, at))
    return cameras


def centres(camera: Camera) -> np.ndarray:
    """(height * width, 2) pixel centres."""
    x, y = np.meshgrid(np.arange(camera.width) + 0.5, np.arange(camera.height) + 0.5)
    return np.stack((x, y), -1).reshape(-1, 2)


def view(camera: Camera, shown: np.ndarray) -> View:
    image = np.zeros((camera.height, camera.width, 4), np.uint8)
    image[shown.reshape(camera.height, camera.width)] = 255
    return View(camera, image)


def block(camera: Camera) -> View:
    """What stands on the table: a block of 1.2 x 1.2, 0.6 high."""
    return view(camera, rays_hit(camera, centres(camera), Bounds((-0.6, -0.6, TABLE), (0.6, 0.6, TABLE + 0.6))))


def bowl(camera: Camera) -> View:
    """A flat cone, open upwards: cameras look down more steeply than its wall, so its rim is all of its outline."""
    rim, depth, radius = 0.0, 0.25, 0.6
    directions = pixel_directions(camera, centres(camera))
    met = camera.position + ((rim - camera.position[2]) / directions[:, 2])[:, None] * directions
    assert depth / radius < math.tan(math.radians(50))
    return view(camera, np.hypot(met[:, 0], met[:, 1]) < radius)


def test_the_box_ends_not_far_below_a_table() -> None:
    notes: list[str] = []
    box = bounds_from_masks([[block(c) for c in rig((55, 65))]], notes)
    assert box is not None
    assert (np.array(box.lower[:2]) < -0.6).all() and (np.array(box.upper) > (0.6, 0.6, TABLE + 0.6)).all()
    assert TABLE - 0.35 < box.lower[2] < TABLE, "the hull alone goes down to -1.8"
    assert notes == ["no camera looks at the subject from -z: how far it goes there is a guess"]


@pytest.mark.parametrize("elevations", [(20, 30), (50, 50)])
def test_a_hollow_that_cameras_look_into_is_kept(elevations: tuple[float, ...]) -> None:
    box = bounds_from_masks([[bowl(c) for c in rig(elevations)]])
    assert box is not None and box.lower[2] < -0.25


def test_nothing_is_cut_where_cameras_look_from_all_sides() -> None:
    notes: list[str] = []
    box = bounds_from_masks([[block(c) for c in rig((60, -20))]], notes)
    assert box is not None and box.lower[2] < TABLE and not notes


def test_nothing_is_cut_behind_a_subject_that_is_filmed_from_one_side() -> None:
    notes: list[str] = []
    box = bounds_from_masks([[block(c) for c in rig((10, 20), span=100.0)]], notes)
    assert box is not None and not notes
    assert (np.array(box.lower) < (-0.6, -0.6, TABLE)).all()
