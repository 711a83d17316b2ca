"""Camera paths: orbit and spiral stay on the capture's sphere and see the bounds; paths pass through key cameras."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import captures
import numpy as np
import pytest

from taichi_vvc.capture.camera_paths import camera_path, keyframe_path, path_document, up_direction
from taichi_vvc.errors import ConfigError, DataError
from taichi_vvc.geometry.projection import inside_image, project
from taichi_vvc.types import Bounds, Camera

RIG = captures.ring_cameras(8, (64, 48))
CORNERS = np.array([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)], float)


def turned(cameras: list[Camera], rotation: np.ndarray, shift: np.ndarray) -> list[Camera]:
    return [
        Camera(**{**c.__dict__, "rotation": rotation @ c.rotation, "position": rotation @ c.position + shift})
        for c in cameras
    ]


def is_rotation(matrix: np.ndarray) -> bool:
    return bool(np.allclose(matrix.T @ matrix, np.eye(3), atol=1e-9) and np.linalg.det(matrix) > 0)


@pytest.mark.parametrize("kind", ["orbit", "spiral"])
@pytest.mark.parametrize("size", [(64, 48), (40, 90)])
def test_paths_circle_the_bounds_and_show_them_whole(kind: str, size: tuple[int, int]) -> None:
    path = camera_path(kind, RIG, captures.BOUNDS, 24, size)
    assert len(path) == 24 and len({c.name for c in path}) == 24
    for camera in path:
        assert (camera.width, camera.height) == size and is_rotation(camera.rotation)
        assert np.linalg.norm(camera.position) == pytest.approx(captures.DISTANCE)
        pixels, _ = project(camera, np.zeros(3))
        np.testing.assert_allclose(pixels, [size[0] / 2, size[1] / 2], atol=1e-9)
        assert -camera.rotation[2, 1] > 0.5, "the picture's top is up"
        assert inside_image(camera, project(camera, CORNERS)[0]).all()
    steps = np.linalg.norm(np.diff([c.position for c in [*path, path[0]]], axis=0), axis=1)
    assert steps.max() < 3 * steps.min(), "closed and even"


def test_orbit_has_the_mean_elevation_and_the_spiral_spans_them() -> None:
    heights = np.array([c.position[2] for c in RIG]) / captures.DISTANCE
    orbit = [
        math.asin(c.position[2] / captures.DISTANCE) for c in camera_path("orbit", RIG, captures.BOUNDS, 9, (8, 8))
    ]
    np.testing.assert_allclose(orbit, np.arcsin(heights).mean(), atol=1e-9)
    spiral = [c.position[2] / captures.DISTANCE for c in camera_path("spiral", RIG, captures.BOUNDS, 40, (8, 8))]
    assert min(spiral) == pytest.approx(heights.min(), abs=0.01)
    assert max(spiral) == pytest.approx(heights.max(), abs=0.01)


def test_paths_follow_a_rig_with_another_up() -> None:
    """The same rig, rolled over and moved: the path must move with it."""
    rotation = np.array([[0.0, 0, 1], [1, 0, 0], [0, 1, 0]])  # z up becomes x up
    shift = np.array([5.0, -3.0, 2.0])
    rig = turned(RIG, rotation, shift)
    np.testing.assert_allclose(up_direction(rig), [1, 0, 0], atol=1e-9)
    box = Bounds(tuple(shift - 1.0), tuple(shift + 1.0))
    one = camera_path("orbit", RIG, captures.BOUNDS, 5, (32, 32))
    two = camera_path("orbit", rig, box, 5, (32, 32))
    for a, b in zip(turned(one, rotation, shift), two, strict=True):
        np.testing.assert_allclose(a.position, b.position, atol=1e-9)
        np.testing.assert_allclose(a.rotation, b.rotation, atol=1e-9)


@pytest.mark.parametrize("count", [1, 3])
def test_cameras_on_one_side_are_not_left(count: int) -> None:
    """From a rig that films 0 to 90 degrees the path swings there instead of showing the unseen back."""
    rig = captures.ring_cameras(8, 32)[:count]
    path = camera_path("orbit", rig, captures.BOUNDS, 30, (32, 32))
    azimuths = np.degrees([math.atan2(c.position[1], c.position[0]) for c in path])
    # A single camera's own up is all that is known of up: its azimuths are not quite those about z.
    assert azimuths.min() >= -20 and azimuths.max() <= 45 * (count - 1) + 20
    assert np.ptp(azimuths) > 20
    steps = np.abs(np.diff(np.append(azimuths, azimuths[0])))
    assert steps.max() < 20


def test_bounds_around_the_cameras_keep_the_captures_focal_length() -> None:
    path = camera_path("orbit", RIG, Bounds((-9, -9, -9), (9, 9, 9)), 4, (64, 48))
    assert path[0].fy == pytest.approx(RIG[0].fy)


def keyframes(path: Path, cameras: list[Camera], **document: Any) -> Path:
    keys: list[dict[str, Any]] = [
        {"transform_matrix": captures.opengl(c), "fl_x": c.fx, "fl_y": c.fy, "w": c.width, "h": c.height}
        for c in cameras
    ]
    for key, time in zip(keys, document.pop("times", []), strict=False):
        key["time"] = time
    path.write_text(json.dumps({"cameras": keys, **document}), encoding="utf-8")
    return path


def test_key_cameras_are_met(tmp_path: Path) -> None:
    file = keyframes(tmp_path / "cameras.json", RIG[:4])
    path = camera_path(file, [], captures.BOUNDS, 13, (64, 48))
    assert len(path) == 13 and all(is_rotation(c.rotation) for c in path)
    for i, key in enumerate(RIG[:4]):
        np.testing.assert_allclose(path[4 * i].position, key.position, atol=1e-9)
        np.testing.assert_allclose(path[4 * i].rotation, key.rotation, atol=1e-7)
        assert path[4 * i].fx == pytest.approx(key.fx)


def test_up_is_a_world_axis_where_that_is_meant() -> None:
    """Slightly rolled rigs are levelled; clearly tilted ones are followed."""

    def tilted(degrees: float) -> np.ndarray:
        c, s = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
        return up_direction(turned(RIG, np.array([[1, 0, 0], [0, c, -s], [0, s, c]]), np.zeros(3)))

    np.testing.assert_array_equal(tilted(10), [0, 0, 1])
    np.testing.assert_allclose(tilted(30), [0, -0.5, math.cos(math.radians(30))], atol=1e-9)
    single = up_direction(RIG[:1])
    np.testing.assert_allclose(single, -RIG[0].rotation[:, 1], atol=1e-12)


def test_between_two_keys_the_rotation_is_halved(tmp_path: Path) -> None:
    quarter = np.array([[0.0, -1, 0], [1, 0, 0], [0, 0, 1]])
    for angle, end in ((45.0, quarter), (90.0, quarter @ quarter)):
        keys = [RIG[0], Camera(**{**RIG[0].__dict__, "rotation": RIG[0].rotation @ end})]
        middle = camera_path(keyframes(tmp_path / "c.json", keys), [], captures.BOUNDS, 3, (64, 48))[1]
        between = RIG[0].rotation.T @ middle.rotation
        assert math.degrees(math.acos((np.trace(between) - 1) / 2)) == pytest.approx(angle)
        assert is_rotation(middle.rotation) and abs(between[2, 2]) == pytest.approx(1.0), "about the same axis"


def test_times_space_the_keys(tmp_path: Path) -> None:
    file = keyframes(tmp_path / "c.json", RIG[:3], times=[0, 1, 4])
    path = camera_path(file, [], captures.BOUNDS, 9, (64, 48))
    np.testing.assert_allclose(path[2].position, RIG[1].position, atol=1e-9)
    np.testing.assert_allclose(path[8].position, RIG[2].position, atol=1e-9)


def test_a_closed_path_returns(tmp_path: Path) -> None:
    file = keyframes(tmp_path / "c.json", RIG, closed=True)
    path = camera_path(file, [], captures.BOUNDS, 32, (64, 48))
    for i, key in enumerate(RIG):
        np.testing.assert_allclose(path[4 * i].position, key.position, atol=1e-9)
    steps = np.linalg.norm(np.diff([c.position for c in [*path, path[0]]], axis=0), axis=1)
    assert steps.max() < 1.5 * steps.min(), "no jump and no stop at the seam"


def test_a_smooth_curve_has_no_corner_at_keys(tmp_path: Path) -> None:
    path = camera_path(keyframes(tmp_path / "c.json", RIG[:5]), [], captures.BOUNDS, 401, (64, 48))
    steps = np.diff([c.position for c in path], axis=0)
    turn = np.einsum("ij,ij->i", steps[1:], steps[:-1])
    turn /= np.linalg.norm(steps[1:], axis=1) * np.linalg.norm(steps[:-1], axis=1)
    assert turn.min() > math.cos(math.radians(3))


def test_another_size_keeps_the_vertical_field_of_view(tmp_path: Path) -> None:
    camera = camera_path(keyframes(tmp_path / "c.json", RIG[:1]), [], captures.BOUNDS, 2, (200, 96))[1]
    assert (camera.width, camera.height) == (200, 96)
    assert (camera.fx, camera.cx, camera.cy) == (pytest.approx(2 * RIG[0].fx), pytest.approx(100), pytest.approx(48))


FAR = np.outer([1e308, -1e308, 0.0, 0.0], [0.0, 0.0, 0.0, 1.0])


@pytest.mark.parametrize(
    ("document", "part"),
    [
        ({}, '"cameras"'),
        ({"cameras": []}, '"cameras"'),
        ({"cameras": [{}]}, "cameras[0]"),
        ({"cameras": [{"transform_matrix": np.eye(4).tolist()}]}, "focal length"),
        ({"fl_x": 50, "cameras": [{"transform_matrix": (2 * np.eye(4)).tolist()}]}, "rotation"),
        ({"fl_x": 50, "cameras": [{"transform_matrix": np.eye(4).tolist(), "time": "x"}]}, "time"),
        ({"fl_x": 50, "cameras": [{"transform_matrix": np.eye(4).tolist(), "time": 1}] * 2}, "time"),
        ({"fl_x": 50, "h": 0, "cameras": [{"transform_matrix": np.eye(4).tolist()}]}, 'pixels for "h"'),
        ({"fl_x": 1e30, "cameras": [{"transform_matrix": np.eye(4).tolist()}]}, "focal lengths of"),
        ({"fl_x": 50, "cameras": [{"transform_matrix": (np.eye(4) + FAR).tolist()}] * 2}, "a position of coordinates"),
    ],
)
def test_wrong_key_cameras_get_one_line(tmp_path: Path, document: dict[str, Any], part: str) -> None:
    file = tmp_path / "c.json"
    file.write_text(json.dumps(document), encoding="utf-8")
    with pytest.raises(DataError) as caught:
        camera_path(file, [], captures.BOUNDS, 5, (64, 48))
    assert part in str(caught.value) and "c.json" in str(caught.value) and "\n" not in str(caught.value)


def test_wrong_requests() -> None:
    for kind, count, size in (("circle", 5, (8, 8)), ("orbit", 0, (8, 8)), ("orbit", 5, (0, 8))):
        with pytest.raises(ConfigError):
            camera_path(kind, RIG, captures.BOUNDS, count, size)
    with pytest.raises(DataError, match=r"cameras.json"):
        camera_path("orbit", [], captures.BOUNDS, 5, (8, 8))


def test_a_written_path_keeps_distortion(tmp_path: Path) -> None:
    """``tvvc render --camera`` writes what ``--path`` takes: the same pictures again, not those of a lens without."""
    lens = {"k1": -0.12, "k2": 0.03, "p1": 0.004, "p2": -0.003}
    keys = [replace(camera, **lens) for camera in RIG[:4]]
    keys[3] = replace(keys[3], **{name: 2 * value for name, value in lens.items()})
    path = tmp_path / "cameras.json"
    path.write_text(json.dumps(path_document(keys)), encoding="utf-8")
    for again, key in zip(keyframe_path(path, 4, (64, 48)), keys, strict=True):
        for name in ("fx", "fy", "cx", "cy", *lens, "rotation", "position"):
            np.testing.assert_allclose(getattr(again, name), getattr(key, name), rtol=0, atol=1e-9)
    # Half the size shows the same; between keys a lens changes as the rest does.
    between = keyframe_path(path, 7, (32, 24))[5]
    assert keys[2].k1 > between.k1 > keys[3].k1 and between.fx == pytest.approx(keys[2].fx / 2)
