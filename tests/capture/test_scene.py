"""What of a capture is coded: a box or a whole scene, where samples begin, and which cells may hold something."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import captures
import halls
import numpy as np
import pytest

from taichi_vvc.capture.scene import near_distance
from taichi_vvc.capture.seen import possible_cells, views_of_cells
from taichi_vvc.capture.sequence import open_capture
from taichi_vvc.config import PRESETS, layout_of
from taichi_vvc.errors import ConfigError
from taichi_vvc.geometry.contraction import to_grid
from taichi_vvc.geometry.projection import project
from taichi_vvc.types import Bounds


@pytest.fixture(scope="module")
def hall(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return halls.write_hall(tmp_path_factory.mktemp("hall"), cameras=10, frames=1)


@pytest.mark.parametrize(
    ("masks", "background", "kind"), [("alpha", None, "box"), ("file", None, "box"), (None, (0.2, 0.3, 0.4), "box")]
)
def test_masks_and_plain_pictures_are_a_box(tmp_path: Path, masks, background, kind) -> None:
    more = {} if background is None else {"background": background}
    sequence = open_capture(captures.write_capture(tmp_path, cameras=4, frames=1, masks=masks, **more))
    assert (sequence.scene.kind, sequence.scene.near) == (kind, 0.0)


def test_a_hall_without_masks_is_a_whole_scene(hall: Path) -> None:
    scene = open_capture(hall).scene
    assert scene.whole and "beside the bounds are not plain" in scene.why
    cameras = [c for c in halls.hall_cameras(10) if c.split == "train"]
    assert scene.near == near_distance(cameras, halls.BOUNDS)
    away = np.median([np.linalg.norm(c.position - [0, 0, 0.8]) for c in cameras])
    assert scene.near == pytest.approx(0.3 * away)


def test_cameras_inside_the_bounds_are_a_whole_scene(hall: Path) -> None:
    scene = open_capture(hall, bounds=Bounds((-4.5, -3.5, 0.0), (4.5, 3.5, 3.0))).scene
    assert scene.whole and "stand inside the bounds" in scene.why and scene.near > 0.5


def test_what_is_asked_for_holds(hall: Path, tmp_path: Path) -> None:
    assert open_capture(hall, scene="box").scene.kind == "box"
    assert open_capture(hall, scene="box", near=0.5).scene.near == 0.5
    assert open_capture(hall, near=0.25).scene.near == 0.25
    plain = captures.write_capture(tmp_path, cameras=4, frames=1, masks=None)
    assert open_capture(plain, scene="whole").scene.whole


@pytest.mark.parametrize(
    ("options", "part"),
    [({"scene": "hall"}, "found 'hall'"), ({"near": -1.0}, "-1.0"), ({"near": float("nan")}, "nan")],
)
def test_nonsense_is_refused(hall: Path, options, part: str) -> None:
    with pytest.raises(ConfigError, match=part):
        open_capture(hall, **options)


def test_a_whole_scene_with_masks_is_refused(tmp_path: Path) -> None:
    capture = captures.write_capture(tmp_path, cameras=4, frames=1)
    with pytest.raises(ConfigError, match="without masks"):
        open_capture(capture, scene="whole")


def test_samples_begin_nearer_where_bounds_come_near_to_cameras() -> None:
    cameras = halls.hall_cameras(10)
    large = Bounds((-2.3, -2.0, 0.0), (2.3, 2.0, 1.6))
    gaps = sorted(np.linalg.norm(np.maximum(np.abs(c.position[:2]) - [2.3, 2.0], 0.0)) for c in cameras)
    assert near_distance(cameras, large) < near_distance(cameras, halls.BOUNDS)
    assert gaps[0] <= near_distance(cameras, large) <= gaps[3] + 0.2


@pytest.mark.parametrize("count", [1, 2, 5])
def test_bounds_in_which_cameras_stand_do_not_tell_where_samples_begin(count: int) -> None:
    """Two of 14 are more than a tenth: then it does not matter how near the others are to the bounds."""
    bounds = Bounds((-2.0, -1.7, 0.0), (2.0, 1.7, 1.6))
    cameras = halls.hall_cameras(14)
    cameras[:count] = [replace(c, position=np.array([1.5, 0.0, 0.8])) for c in cameras[:count]]
    far = 0.3 * float(np.median([np.linalg.norm(c.position - [0, 0, 0.8]) for c in cameras]))
    found = near_distance(cameras, bounds)
    assert found == pytest.approx(far) if count > 1 else 0.0 < found < 0.5 * far


def test_cells_count_the_cameras_that_see_them() -> None:
    cameras = halls.hall_cameras(6)
    layout = layout_of(PRESETS["ultrafast"], halls.BOUNDS, cameras, whole=True, near=1.2)
    seen = views_of_cells(layout, cameras)
    rng = np.random.default_rng(1)
    # Far from cells' borders and from the pictures' edges there is no doubt.
    points = rng.uniform(halls.LOWER, halls.UPPER, (400, 3))
    x, y, z = to_grid(layout, points).astype(int).T
    counts = np.zeros(len(points), int)
    for camera in cameras:
        (u, v), depth = project(camera, points)[0].T, project(camera, points)[1]
        away = np.linalg.norm(points - camera.position, axis=1)
        counts += (u > 0) & (u < camera.width) & (v > 0) & (v < camera.height) & (depth > 0) & (away >= 1.2)
    assert np.mean(seen[z, y, x] == counts) > 0.8 and np.abs(seen[z, y, x] - counts).max() <= 3
    possible = possible_cells(layout, cameras)
    assert (possible == (seen >= 2)).all() and 0.2 < possible.mean() < 0.9


def test_a_whole_layout_continues_the_box_into_the_shell() -> None:
    cameras = halls.hall_cameras(6)
    box = layout_of(PRESETS["fast"], halls.BOUNDS, cameras)
    whole = layout_of(PRESETS["fast"], halls.BOUNDS, cameras, whole=True, near=0.5)
    assert box.shell == (0, 0, 0) and all(whole.shell)
    assert whole.inner == tuple(n - 2 * s for n, s in zip(whole.occupancy, whole.shell, strict=True))
    np.testing.assert_allclose(whole.bounds.size, np.array(whole.inner) * whole.cell)
    # A step is no longer than it was inside.
    assert whole.cell * whole.march_step <= box.cell * box.march_step * 1.02
    assert len(whole.levels) == len(box.levels) + 1
    assert [b.resolution[0] / a.resolution[0] for a, b in zip(whole.levels, whole.levels[1:], strict=False)] == [
        pytest.approx(2, abs=0.2)
    ] * 3
