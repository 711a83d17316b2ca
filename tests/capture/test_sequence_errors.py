"""Every error in a capture gives one clear line."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import captures
import numpy as np
import pytest
from opening import changed_copies, fails, small_capture
from PIL import Image

from taichi_vvc.capture.sequence import open_capture
from taichi_vvc.errors import ConfigError


@pytest.fixture(scope="module")
def capture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_capture(tmp_path_factory.mktemp("capture"))


@pytest.fixture
def changed(capture: Path, tmp_path: Path) -> Callable[..., Path]:
    return changed_copies(capture, tmp_path)


def _first(**values: Any) -> Callable[[dict[str, Any]], object]:
    return lambda document: document["frames"][0].update(values)


def _matrix(change: Callable[[list[list[float]]], object]) -> Callable[[dict[str, Any]], object]:
    return lambda document: change(document["frames"][0]["transform_matrix"])


def _scale(matrix: list[list[float]]) -> None:
    for row in matrix[:3]:
        row[:3] = [2.0 * value for value in row[:3]]


def _mirror(matrix: list[list[float]]) -> None:
    for row in matrix[:3]:
        row[0] = -row[0]


WRONG: list[tuple[str, Callable[[dict[str, Any]], object], list[str]]] = [
    ("no frames", lambda d: d.update(frames=[]), ['"frames"', "an empty list"]),
    ("frames missing", lambda d: d.pop("frames"), ['"frames"', "nothing"]),
    ("frames are no objects", lambda d: d.update(frames=[3]), ["frames[0]", "file_path"]),
    ("missing image", _first(file_path="images/nowhere.png"), ["1 of 12 images are missing", "nowhere.png"]),
    ("size differs", lambda d: d.update(w=80, h=64), ["80x64", "40x32", "cam00"]),
    ("scaled rotation", _matrix(_scale), ["rotation", "R^T R", "cam00"]),
    ("mirrored", _matrix(_mirror), ["rotation", "mirroring"]),
    ("NaN", _matrix(lambda m: m[0].__setitem__(0, math.nan)), ["finite", "NaN", "0000.png"]),
    ("NaN position", _matrix(lambda m: m[1].__setitem__(3, math.inf)), ["finite", "transform_matrix"]),
    ("3x3 matrix", _first(transform_matrix=[[1, 0, 0], [0, 1, 0], [0, 0, 1]]), ["4x4", "(3, 3)"]),
    ("ragged matrix", _first(transform_matrix=[[1, 0], [1]]), ["4x4"]),
    ("no matrix", lambda d: d["frames"][0].pop("transform_matrix"), ["transform_matrix", "none"]),
    ("sees nothing", lambda d: d.update(aabb=[[50, 50, 50], [51, 51, 51]]), ["camera cam00", "nothing", "OpenGL"]),
    ("image count differs", lambda d: d["frames"].pop(1), ["expected 4", "found 3", "time 1", "cam00"]),
    ("no focal length", lambda d: (d.pop("fl_x"), d.pop("fl_y")), ["no focal length", "camera_angle_x"]),
    ("negative focal length", lambda d: d.update(fl_x=-3), ["positive focal", "-3"]),
    ("text as number", lambda d: d.update(cx="20px"), ["finite number", '"cx"', "'20px'"]),
    ("NaN intrinsics", lambda d: d.update(cy=math.nan), ["finite number", '"cy"', "nan"]),
    ("fisheye", lambda d: d.update(camera_model="OPENCV_FISHEYE"), ["OPENCV_FISHEYE", "undistort"]),
    ("k3", lambda d: d.update(k3=0.1), ["k3 = 0.1", "undistort"]),
    ("p3", lambda d: d.update(p3=1e-3), ["p3 = 0.001", "undistort"]),
    ("skew of Metashape", lambda d: d["frames"][0].update(b2=0.3), ["cam00", "b2 = 0.3", "undistort"]),
    ("skew of a later image", lambda d: d["frames"][-1].update(b2=0.3), ["b2 = 0.3", "undistort"]),
    (
        "distortion as a list of a later image",
        lambda d: (
            [d.pop(k) for k in ("k1", "k2", "p1", "p2")],
            d["frames"][-1].update(distortion_params=[0.1, 0, 0, 0, 0, 0]),
        ),
        ["distortion_params", "by its name"],
    ),
    ("affinity of Metashape", lambda d: d.update(b1=-2), ["b1 = -2", "undistort"]),
    ("skew", lambda d: d.update(skew=0.1), ["skew = 0.1"]),
    (
        "distortion as a list only",
        lambda d: ([d.pop(k) for k in ("k1", "k2", "p1", "p2")], d.update(distortion_params=[0.1, 0, 0, 0, 0, 0])),
        ["distortion_params", "by its name"],
    ),
    ("field of view", lambda d: (d.pop("fl_x"), d.update(camera_angle_x=4)), ["camera_angle_x", "4"]),
    ("time on some", lambda d: d["frames"][5].pop("time"), ['"time"', "cam01/0002.png", "1 of 12"]),
    ("time is text", _first(time="one"), ['"time"', "'one'"]),
    ("time is huge", _first(time=10**400), ['"time"', "finite"]),
    ("camera on some", lambda d: d["frames"][4].pop("camera"), ['"camera"', "cam01/0001.png"]),
    ("two images at one time", lambda d: d["frames"][1].update(time=0), ["cam00", "two images", "time 0"]),
    ("unknown split", _first(split="holdout"), ["holdout", "train or test"]),
    ("split changes", _first(split="test"), ["cam00", "split by camera"]),
    ("no training camera", lambda d: [r.update(split="test") for r in d["frames"]], ["at least one training"]),
    ("unknown held-out camera", lambda d: d.update(test_cameras=["cam9"]), ["'cam9'", "test_cameras"]),
    ("camera in both lists", lambda d: d.update(test_cameras=["cam0" + "1"], train_cameras=["cam01"]), ["both"]),
    ("camera in neither", lambda d: d.update(test_cameras=["cam00"], train_cameras=["cam01"]), ["cam02", "neither"]),
    ("bad bounds", lambda d: d.update(aabb=[[0, 0, 0], [1, 1, 0]]), ["aabb", "lower"]),
    ("bounds of text", lambda d: d.update(aabb="big"), ["aabb", "big"]),
    ("bad fps", lambda d: d.update(fps=0), ["fps", "positive", "0"]),
    ("fps is text", lambda d: d.update(fps="fast"), ["fps", "'fast'"]),
    ("mask missing", _first(mask_path="masks/none.png"), ["mask", "none.png", "missing"]),
    ("mask is a number", _first(mask_path=7), ["mask_path", "7"]),
]


@pytest.mark.parametrize(("change", "parts"), [w[1:] for w in WRONG], ids=[w[0] for w in WRONG])
def test_wrong_input_gets_one_clear_line(
    changed: Callable[..., Path], change: Callable[[dict[str, Any]], object], parts: list[str]
) -> None:
    fails(changed(change), "transforms.json", *parts)


def test_cameras_that_file_paths_do_not_tell_apart(changed: Callable[..., Path]) -> None:
    def change(document: dict[str, Any]) -> None:
        for number, record in enumerate(document["frames"]):
            del record["camera"]
            record["file_path"] = f"all/{number:04d}.png"

    fails(changed(change), "which camera", '"camera"')


@pytest.mark.parametrize("text", ["", "{", '{"frames": [', "[1, 2]", "null", "\x00"])
def test_broken_json(tmp_path: Path, text: str) -> None:
    (tmp_path / "transforms.json").write_text(text, encoding="utf-8")
    fails(tmp_path, "transforms.json", "JSON")


def test_json_that_is_not_text(tmp_path: Path) -> None:
    (tmp_path / "transforms.json").write_bytes(b"\xff\xfe\x00\xd8")
    fails(tmp_path, "transforms.json", "UTF-8")


def test_unknown_layout_says_what_was_looked_for(tmp_path: Path) -> None:
    (tmp_path / "footage").mkdir()
    (tmp_path / "notes.txt").write_bytes(b"")
    fails(tmp_path, "looked for transforms.json", "poses_bounds.npy", "notes.txt", "footage/")
    fails(tmp_path / "notes.txt", "expected a capture folder")
    fails(tmp_path, "no capture of the layout nhr", "CamPose.inf", format="nhr")
    fails(tmp_path, "transforms", "colmap", "'maya'", format="maya", error=ConfigError)
    fails(tmp_path / "nowhere", "nothing there")


def test_an_image_that_is_none(changed: Callable[..., Path]) -> None:
    folder = changed(lambda document: None)
    (folder / "images/cam00/0001.png").write_text("not a picture", encoding="utf-8")
    fails(folder, "0001.png", "expected an image")


def test_one_image_of_another_size(changed: Callable[..., Path]) -> None:
    folder = changed(lambda document: (document.pop("w"), document.pop("h")))
    Image.new("RGBA", (20, 16)).save(folder / "images/cam02/0001.png")
    fails(folder, "cam02", "20x16", "40x32")


def test_mask_of_another_size(tmp_path: Path) -> None:
    folder = captures.write_capture(tmp_path, cameras=3, frames=1, size=32, masks="file", test_cameras=0)
    Image.new("L", (16, 16)).save(folder / "masks/cam01/0000.png")
    fails(folder, "masks", "32x32", "16x16")


@pytest.mark.parametrize("downscale", [0, -1, 1.5, True])
def test_downscale_out_of_range(capture: Path, downscale: Any) -> None:
    fails(capture, "downscale", error=ConfigError, downscale=downscale)


@pytest.mark.parametrize("frames", [3, "0:3", [0, 1], range(3), slice("0", "3"), slice(0, 1.5)])
def test_frames_must_be_a_slice_of_whole_numbers(capture: Path, frames: Any) -> None:
    fails(capture, "slice(0, 3)", "or None for all", repr(frames), error=ConfigError, frames=frames)


def test_ends_of_a_slice_may_be_numpy_integers(capture: Path) -> None:
    assert len(open_capture(capture, frames=slice(np.int64(0), np.int64(1)))) == 1
