"""The layout of NeRF's and D-NeRF's Blender scripts."""

from __future__ import annotations

import json
from pathlib import Path

import captures
import layouts
import pytest

from taichi_vvc.errors import DataError
from taichi_vvc.types import Camera


def write_split(folder: Path, split: str, cameras: list[Camera], times: list[float], first: int = 0) -> None:
    records = []
    for number, (time, camera) in enumerate((t, c) for t in times for c in cameras):
        name = f"{split}/r_{first + number:03d}"
        layouts.save(folder / f"{name}.png", captures.trace(camera, round(2 * time)))
        records.append(
            {"file_path": f"./{name}", "rotation": 0.01, "time": time, "transform_matrix": captures.opengl(camera)}
        )
    document = {"camera_angle_x": captures.FOV_X, "frames": records}
    (folder / f"transforms_{split}.json").write_text(json.dumps(document), encoding="utf-8")


def test_cameras_that_see_every_time(tmp_path: Path) -> None:
    rig = layouts.rig()
    write_split(tmp_path, "train", rig[:3], [0.0, 0.5, 1.0])
    write_split(tmp_path, "test", rig[3:], [0.0, 0.5, 1.0])
    sequence = layouts.opened(tmp_path)
    layouts.assert_reads_back(sequence, rig, layout="blender", masks=True, tolerance=0.01)
    assert sequence.times == (0.0, 0.5, 1.0)
    assert [camera.split for camera in sequence.cameras] == ["train"] * 3 + ["test"]
    layouts.assert_reads_back(
        layouts.opened(tmp_path / "transforms_train.json"), rig, layout="blender", masks=True, tolerance=0.01
    )


def test_static_scene_is_one_frame(tmp_path: Path) -> None:
    rig = layouts.rig()
    write_split(tmp_path, "train", rig, [0.0])
    document = json.loads((tmp_path / "transforms_train.json").read_text(encoding="utf-8"))
    for record in document["frames"]:
        del record["time"]
    (tmp_path / "transforms_train.json").write_text(json.dumps(document), encoding="utf-8")
    layouts.assert_reads_back(layouts.opened(tmp_path), rig, layout="blender", masks=True, tolerance=0.01, frames=1)


def test_monocular_capture_moves_and_loses_the_other_times(tmp_path: Path) -> None:
    """D-NeRF: every training image from another place at another time, held-out images at times of their own."""
    rig = layouts.rig()
    for number, time in enumerate([0.0, 0.5, 1.0]):
        write_split(tmp_path / str(number), "train", [rig[number]], [time])
    records = []
    for number in range(3):
        part = json.loads((tmp_path / f"{number}/transforms_train.json").read_text(encoding="utf-8"))
        part["frames"][0]["file_path"] = f"./{number}/train/r_000"
        records += part["frames"]
    document = {"camera_angle_x": captures.FOV_X, "frames": records}
    (tmp_path / "transforms_train.json").write_text(json.dumps(document), encoding="utf-8")
    write_split(tmp_path, "test", rig[3:], [0.25])
    sequence = layouts.opened(tmp_path)
    assert len(sequence) == 3 and [camera.name for camera in sequence.cameras] == ["train"]
    for i in range(3):
        layouts.assert_same_rays(sequence.frame(i).views[0].camera, rig[i])
    assert any("1 held-out images at other times" in message for message in sequence.messages)
    assert any("monocular" in message for message in sequence.messages)


def test_what_fits_no_pattern_is_refused(tmp_path: Path) -> None:
    rig = layouts.rig()
    write_split(tmp_path, "train", rig[:2], [0.0, 0.5])
    document = json.loads((tmp_path / "transforms_train.json").read_text(encoding="utf-8"))
    document["frames"].pop()
    (tmp_path / "transforms_train.json").write_text(json.dumps(document), encoding="utf-8")
    with pytest.raises(DataError, match="same cameras at every time"):
        layouts.opened(tmp_path)
