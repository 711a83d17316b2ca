"""COLMAP models with several poses of one camera: cameras that only translate, only rotate, or stand still."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import layouts
import numpy as np
import pytest
from test_readers_colmap import write_model

from taichi_vvc.types import Camera


def turned(rotation: np.ndarray, angle: float) -> np.ndarray:
    """Turned about the camera's own upward axis, radians."""
    c, s = np.cos(angle), np.sin(angle)
    return rotation @ np.array([[c, 0, s], [0, 1, 0], [-s, 0, c]])


def messages(folder: Path, change) -> tuple[str, ...]:
    """The messages about a scene whose camera cam01 has two pictures; ``change`` makes the second one's pose."""
    rig = layouts.rig()
    second: Camera = change(rig[1])
    names = ["cam00/0000.png", "cam01/0000.png", "cam02/0000.png", "cam01/0001.png"]
    write_model(folder / "sparse/0", [rig[0], rig[1], rig[2], second], names, "PINHOLE", "bin")
    for number in range(3):
        for frame in range(2):
            layouts.save(folder / f"images/cam{number:02d}/{frame:04d}.png", layouts.pictures(rig[number], 1)[0])
    sequence = layouts.opened(folder)
    assert {camera.name for camera in sequence.cameras} >= {"cam00", "cam01", "cam02"}
    return tuple(sequence.messages)


def size_of(rig) -> float:
    return float(np.ptp([camera.position for camera in rig], axis=0).max())


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_camera_that_only_translates(tmp_path: Path, axis: int) -> None:
    step = 0.01 * size_of(layouts.rig()) * np.eye(3)[axis]
    found = messages(tmp_path, lambda camera: dataclasses.replace(camera, position=camera.position - step))
    assert any("cam01" in line and "pose" in line for line in found), found


def test_a_camera_that_only_turns(tmp_path: Path) -> None:
    found = messages(tmp_path, lambda camera: dataclasses.replace(camera, rotation=turned(camera.rotation, 0.01)))
    assert any("cam01" in line and "pose" in line for line in found), found


def test_a_camera_that_stands_as_well_as_a_calibration_can_tell(tmp_path: Path) -> None:
    step = 2e-4 * size_of(layouts.rig())

    def nearly(camera: Camera) -> Camera:
        rotation = turned(camera.rotation, 2e-4)
        return dataclasses.replace(camera, rotation=rotation, position=camera.position + step)

    assert not any("cam01" in line for line in messages(tmp_path, nearly))
