"""Poses in another axis convention are recognised, and the message names it, if cameras look away from the subject."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import captures
import layouts
import numpy as np
import pytest
from opening import fails
from test_readers_easyvolcap import write_calibration, write_pictures

from taichi_vvc.capture.axes import looks_like
from taichi_vvc.capture.bounds import bounds_from_cameras
from taichi_vvc.capture.sequence import open_capture
from taichi_vvc.types import Bounds, Camera

FLIP = np.diag([1.0, -1.0, -1.0, 1.0])

# The matrix that a file has in place of the OpenGL camera-to-world matrix M, and parts of the expected message.
WRONG: dict[str, tuple[Callable[[np.ndarray], np.ndarray], list[str]]] = {
    "OpenCV": (
        lambda m: m @ FLIP,
        ["camera to world with OpenCV axes", "behind", 'add "camera_convention": "opencv"'],
    ),
    "OpenGL inverted": (
        np.linalg.inv,
        ["world to camera with OpenGL axes", "in front", "write the inverse matrices"],
    ),
    "OpenCV inverted": (
        lambda m: np.linalg.inv(m @ FLIP),
        ["world to camera with OpenCV axes", "inverse matrices and add", '"camera_convention": "opencv"'],
    ),
}
wrong = pytest.mark.parametrize(("change", "parts"), WRONG.values(), ids=WRONG.keys())


def jittered(count: int, seed: int = 3, spread: float = 0.15) -> list[Camera]:
    """A ring whose cameras look at slightly different places, none of them the origin of the world."""
    random = np.random.default_rng(seed)
    cameras = []
    for camera in captures.ring_cameras(count, 32, 0):
        position = camera.position * random.uniform(0.8, 1.2) + [0.5, -0.3, 0.2]
        target = random.normal(0.0, spread, 3) + [0.5, -0.3, 0.2]
        cameras.append(dataclasses.replace(camera, position=position, rotation=captures.look_at(position, target)))
    return cameras


def rewrite(folder: Path, change: Callable[[np.ndarray], np.ndarray], rig: list[Camera] | None = None) -> None:
    """Changes the matrices of a capture (those of ``rig``, if given) as another convention has them."""
    document = captures.read_document(folder)
    for record in document["frames"]:
        matrix = record["transform_matrix"]
        if rig is not None:
            matrix = captures.opengl(rig[int(record["camera"][3:])])
        record["transform_matrix"] = change(np.array(matrix)).tolist()
    captures.write_document(folder, document)


@wrong
@pytest.mark.parametrize("masks", ["alpha", None])
@pytest.mark.parametrize("jitter", [False, True], ids=["exact", "jitter"])
def test_without_bounds_the_convention_is_named(
    tmp_path: Path, masks: str | None, jitter: bool, change: Any, parts: list[str]
) -> None:
    folder = captures.write_capture(tmp_path, cameras=8, frames=1, size=32, masks=masks, bounds=False, test_cameras=0)
    rewrite(folder, change, jittered(8) if jitter else None)
    line = fails(folder, "cannot find bounds", *parts)
    assert ("camera_convention" in line) == ("OpenCV" in parts[0]), "only what is to be done"


@wrong
def test_with_bounds_the_convention_is_named(tmp_path: Path, change: Any, parts: list[str]) -> None:
    folder = captures.write_capture(tmp_path, cameras=8, frames=1, size=32, test_cameras=1)
    rewrite(folder, change)
    fails(folder, "sees nothing of the bounds", *parts)
    told = open_capture(folder, strict=False).messages
    assert sum(parts[0] in message for message in told) == 1, "inspect says it, once"


@wrong
def test_where_all_cameras_stand_in_the_bounds_it_is_a_warning(tmp_path: Path, change: Any, parts: list[str]) -> None:
    folder = captures.write_capture(tmp_path, cameras=8, frames=1, size=32, masks=None, bounds=False)
    room = Bounds((-9, -9, -9), (9, 9, 9))
    assert not any("convention" in m or "looks like" in m for m in open_capture(folder, bounds=room).messages)
    rewrite(folder, change)
    told = [m for m in open_capture(folder, bounds=room).messages if "unless the cameras look outwards" in m]
    assert len(told) == 1
    for part in parts:
        assert part in told[0]


def test_doing_what_the_line_says_helps(tmp_path: Path) -> None:
    folder = captures.write_capture(tmp_path, cameras=8, frames=1, size=32, bounds=False)
    truth = open_capture(folder).cameras
    rewrite(folder, lambda m: m @ FLIP)
    document = captures.read_document(folder)
    captures.write_document(folder, {**document, "camera_convention": "opencv"})
    for found, camera in zip(open_capture(folder).cameras, truth, strict=True):
        layouts.assert_same_rays(found, camera)
    rewrite(folder, lambda m: m @ FLIP)
    fails(folder, "OpenGL axes (looking along -z)", 'remove "camera_convention"')


@pytest.mark.parametrize(("change", "part"), [(FLIP[:3, :3], "look along -z"), (None, "are inverted")])
def test_other_layouts_are_not_told_about_matrices(tmp_path: Path, change: np.ndarray | None, part: str) -> None:
    """EasyVolcap's files are world to camera with OpenCV axes; here they are something else."""
    rig = layouts.rig()
    if change is None:
        odd = [dataclasses.replace(c, rotation=c.rotation.T, position=-c.rotation.T @ c.position) for c in rig]
    else:
        odd = [dataclasses.replace(c, rotation=c.rotation @ change) for c in rig]
    write_calibration(tmp_path, odd)
    write_pictures(tmp_path, rig, ".png", masks=False)
    line = fails(tmp_path, "cannot find bounds", part, "docs/capture.md has the axes of easyvolcap")
    assert "transform_matrix" not in line
    line = fails(tmp_path, "sees nothing", part, bounds=captures.BOUNDS)
    assert "transform_matrix" not in line and "OpenGL axes" not in line


def test_bounds_elsewhere_are_not_blamed_on_the_axes(tmp_path: Path) -> None:
    rig = layouts.rig()
    write_calibration(tmp_path, rig)
    write_pictures(tmp_path, rig, ".png", masks=False)
    line = fails(tmp_path, "sees nothing", "check the bounds", "easyvolcap", bounds=Bounds((60, 0, 0), (61, 1, 1)))
    assert "transform" not in line and "-z" not in line


def turned(position: np.ndarray, forward: np.ndarray, name: str) -> Camera:
    return Camera(name, 32, 32, 40, 40, 16, 16, captures.look_at(position, position + forward), position)


def test_rigs_that_are_right_are_left_alone() -> None:
    for seed in range(60):
        random = np.random.default_rng(seed)
        world = np.linalg.qr(random.normal(size=(3, 3)))[0]
        world *= np.linalg.det(world)
        shift = random.normal(0.0, 5.0, 3)
        for rig in (jittered(random.integers(2, 12), seed, 0.4), captures.ring_cameras(5, 32)[: random.integers(1, 6)]):
            moved = [
                dataclasses.replace(c, rotation=world @ c.rotation, position=world @ c.position + shift) for c in rig
            ]
            assert looks_like(moved) is None, seed


def test_rigs_that_look_forward_or_nowhere_are_left_alone() -> None:
    places = [np.array([x, 0.0, z]) for x in np.linspace(-1, 1, 5) for z in (0.0, 0.5)]
    ahead = np.array([0.0, 1.0, 0.0])
    assert looks_like([turned(p, ahead, str(n)) for n, p in enumerate(places)]) is None
    assert looks_like([turned(p, 6 * ahead - p, str(n)) for n, p in enumerate(places)]) is None
    around = captures.ring_cameras(8, 32, 0)
    outwards = [turned(np.zeros(3), c.position, c.name) for c in around]
    assert looks_like(outwards) is None, "a panorama from one point"
    assert bounds_from_cameras(outwards) is None
    place = np.array([3.0, 4.0, 1.0])
    for apart in (0.0, 1e-8):  # as rounding has it: the axes meet, barely in front of the cameras
        aside = [turned(place - apart * c.position, c.position, c.name) for c in around]
        assert looks_like(aside) is None, "and from another"
        assert bounds_from_cameras(aside) is None, "no box of the size of rounding errors"
    assert looks_like(around[:1]) is None and looks_like([]) is None


@pytest.mark.parametrize("spread", [0.02, 0.05, 0.1])
def test_cameras_that_look_forward_but_for_jitter_are_left_alone(spread: float) -> None:
    """Their axes meet somewhere by chance: in front, behind, or once their poses are inverted."""
    for seed in range(60):
        random = np.random.default_rng(seed)
        world = np.linalg.qr(random.normal(size=(3, 3)))[0]
        world *= np.linalg.det(world)
        shift = random.normal(0.0, 5.0, 3)
        rig = []
        for number in range(random.integers(4, 20)):
            place = random.uniform(-1.0, 1.0, 3) * (1.0, 0.0, 0.5)
            camera = turned(place, random.normal((0.0, 1.0, 0.0), spread * np.array([1.0, 0.0, 1.0])), str(number))
            rotation, position = world @ camera.rotation, world @ camera.position + shift
            rig.append(dataclasses.replace(camera, rotation=rotation, position=position))
        assert looks_like(rig) is None, seed
