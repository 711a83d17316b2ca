"""``tvvc inspect``: its report, its warnings and its picture."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import captures
import numpy as np
import pytest
from PIL import Image

from taichi_vvc.capture.sequence import open_capture
from taichi_vvc.cli import run
from taichi_vvc.geometry.projection import project
from taichi_vvc.measure.sketch import BOX, TEST, TRAIN, sketch
from taichi_vvc.measure.survey import survey
from taichi_vvc.types import Bounds


@pytest.fixture(scope="module")
def capture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """12 cameras, 2 held out, 3 frames; nothing is wrong with it."""
    return captures.write_capture(
        tmp_path_factory.mktemp("capture"), cameras=12, frames=3, size=(80, 64), test_cameras=2
    )


def inspect(path: Path, capsys: pytest.CaptureFixture[str], *options: str) -> dict[str, Any]:
    assert run(["inspect", str(path), "--json", *options]) == 0
    return json.loads(capsys.readouterr().out)


def test_what_is_found(capture: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = inspect(capture, capsys)
    assert (found["layout"], found["frames"], found["fps"], found["duration"]) == ("transforms", 3, 25.0, 0.12)
    assert found["bounds"] == [[-1.0] * 3, [1.0] * 3] and found["bounds_source"] == "file"
    assert [camera["split"] for camera in found["cameras"]] == ["train"] * 10 + ["test"] * 2
    assert all(camera["distance"] == pytest.approx(captures.DISTANCE) for camera in found["cameras"])
    assert found["masks"] and not found["moving"] and found["warnings"] == []


def test_the_text_and_its_warnings(capture: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["inspect", str(capture), "--bounds", "-0.2,-0.2,-0.2,0.2,0.2,0.2", "--frames", "1:3"]) == 0
    out, err = capsys.readouterr()
    assert "2 at 25 fps" in out and "first number 1" in out and "10 training, 2 held out (cam10, cam11)" in out
    assert "(argument)" in out
    assert "warning: the bounds cut the masks of 12 of 12 cameras" in err


def warnings_of(path: Path, **options: Any) -> str:
    return "\n".join(survey(open_capture(path, strict=False, **options))["warnings"])


def test_bounds_that_cut_masks(capture: Path) -> None:
    assert "cut the masks" not in warnings_of(capture, bounds=Bounds((-0.9, -0.9, -0.9), (0.9, 0.9, 0.9)))
    found = warnings_of(capture, bounds=Bounds((-1.0, -1.0, -1.0), (1.0, 1.0, 0.3)))
    assert "the bounds cut the masks of 7 of 12 cameras: most with cam07" in found and "in frame" in found


def test_cameras_inside_the_bounds(capture: Path) -> None:
    assert "inside the bounds: camera cam00" in warnings_of(capture, bounds=Bounds((-1.0, -1.0, -1.0), (5.0, 1.0, 4.0)))


def test_cameras_that_see_nothing_are_drawn_and_not_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = captures.write_capture(tmp_path / "c", cameras=3, frames=1, size=32, test_cameras=0)
    document = captures.read_document(folder)
    for record in document["frames"][:1]:
        for row in record["transform_matrix"][:3]:
            row[1:3] = [-row[1], -row[2]]  # OpenCV axes in place of OpenGL: it looks away
    captures.write_document(folder, document)
    found = inspect(folder, capsys, "-o", str(tmp_path / "a.png"))
    assert any("camera cam00 sees nothing of the bounds" in warning for warning in found["warnings"])
    assert (tmp_path / "a.png").is_file()
    assert run(["inspect", str(folder), "-o", str(tmp_path / "a.png")]) == 2, "an existing picture needs -y"


def test_few_views_and_none_held_out(tmp_path: Path) -> None:
    found = warnings_of(captures.write_capture(tmp_path, cameras=4, frames=1, size=32, test_cameras=0))
    assert "few views: 4 training cameras" in found and "no held-out cameras" in found


def test_exposure_that_differs_and_an_empty_mask(tmp_path: Path) -> None:
    folder = captures.write_capture(tmp_path, cameras=12, frames=2, size=32)
    assert "exposure" not in warnings_of(folder)
    for file in (folder / "images/cam03").iterdir():
        pixels = np.array(Image.open(file))
        pixels[..., :3] //= 2
        Image.fromarray(pixels).save(file)
    Image.fromarray(np.zeros((32, 32, 4), np.uint8)).save(folder / "images/cam05/0001.png")
    found = warnings_of(folder)
    assert re.search("unequal exposure .* median camera.s: cam03 0.5[01] ", found)
    assert "empty masks: camera cam05 (of cam05 in frame 1)" in found


def test_without_masks(tmp_path: Path) -> None:
    folder = captures.write_capture(tmp_path, cameras=12, frames=1, size=32, masks=None)
    assert "no masks" in warnings_of(folder)


def near(image: np.ndarray, colour: tuple[int, int, int]) -> np.ndarray:
    return (np.abs(image.astype(int) - colour) < 40).all(axis=2)


def test_the_picture_shows_cameras_around_the_bounds(capture: Path) -> None:
    image = np.asarray(sketch(open_capture(capture)))
    plan = image[30:480, :640]
    rows, columns = np.nonzero(near(plan, BOX))
    # From above, the box is a square in the middle of a ring of cameras.
    width, height = np.ptp(columns), np.ptp(rows)
    assert width > 60 and abs(width - height) <= 4
    blue_rows, blue_columns = np.nonzero(near(plan, TRAIN))
    for low, high, at in ((columns.min(), columns.max(), blue_columns), (rows.min(), rows.max(), blue_rows)):
        assert at.min() < low - 20 and at.max() > high + 20
    assert near(plan, TEST).sum() > 50
    inside = near(plan, TRAIN)[rows.min() : rows.max(), columns.min() : columns.max()]
    assert inside.sum() == 0, "no camera stands in the box"
    side_rows, side_columns = np.nonzero(near(image[30:480, 660:], BOX))
    assert abs(np.ptp(side_rows) - np.ptp(side_columns)) <= 4, "a cube from the side, too"


def test_the_bounds_in_the_pictures_are_where_the_cameras_see_them(capture: Path) -> None:
    sequence = open_capture(capture, bounds=Bounds((-0.5, -0.4, -0.3), (0.6, 0.5, 0.4)))
    image = np.asarray(sketch(sequence))
    camera = sequence.cameras[0]
    corners = np.array([[x, y, z] for x in (-0.5, 0.6) for y in (-0.4, 0.5) for z in (-0.3, 0.4)])
    pixels, _ = project(camera, corners)
    scale = 312 / camera.width
    panel = near(image[520 + 22 :, 4 : 4 + 312], BOX)
    for x, y in pixels * scale:
        assert panel[int(y) - 2 : int(y) + 3, int(x) - 2 : int(x) + 3].any(), (x, y)


@pytest.mark.parametrize("options", [["--bounds", "1,2,3"], ["--bounds", "0,0,0,1,1,0"], ["--format", "maya"]])
def test_wrong_options_are_usage_errors(capture: Path, options: list[str]) -> None:
    assert run(["inspect", str(capture), *options]) == 2


def test_output_must_be_a_picture(capture: Path, tmp_path: Path) -> None:
    assert run(["inspect", str(capture), "-o", str(tmp_path / "a.jpg")]) == 2


def test_a_layout_that_is_not_there(capture: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["inspect", str(capture), "--format", "nhr"]) == 3
    assert "no capture of the layout nhr: looked for CamPose.inf" in capsys.readouterr().err


def lacking(folder: Path, target: Path, names: tuple[str, ...]) -> Path:
    """A copy of a capture in which the masks of some cameras lack what is above the middle of their pictures."""
    shutil.copytree(folder, target)
    for name in names:
        for file in (target / "images" / name).iterdir():
            pixels = np.array(Image.open(file))
            pixels[: len(pixels) // 2 - 4] = 0
            Image.fromarray(pixels).save(file)
    return target


def test_masks_that_agree(capture: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for camera in inspect(capture, capsys)["cameras"]:
        assert camera["mask_explained"] > 0.99 and camera["mask_lacks"] == 0.0
    assert run(["inspect", str(capture)]) == 0
    assert "masks       yes; the others explain 100 % of the median one, 100 % of the worst" in capsys.readouterr().out


def test_a_mask_that_lacks_a_part_is_named(capture: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = inspect(lacking(capture, tmp_path / "lacking", ("cam05",)), capsys)
    lacks = {camera["name"]: camera["mask_lacks"] for camera in found["cameras"]}
    assert max(lacks, key=lacks.__getitem__) == "cam05" and lacks["cam05"] > 0.1
    (line,) = [w for w in found["warnings"] if "masks lack" in w]
    assert "subject: cam05 " in line and "cam04" not in line


def test_few_masks_that_disagree_are_told_of(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    whole = captures.write_capture(tmp_path / "whole", cameras=5, frames=1, size=96, test_cameras=0)
    found = inspect(lacking(whole, tmp_path / "few", ("cam02",)), capsys)
    assert min(camera["mask_explained"] for camera in found["cameras"]) < 0.9
    assert all(camera["mask_lacks"] == 0.0 for camera in found["cameras"])
    assert any("explain to a part only: cam0" in w for w in found["warnings"])


def test_without_masks_nothing_is_told_of_them(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = captures.write_capture(tmp_path, cameras=4, frames=1, size=32, masks=None)
    assert all(camera["mask_explained"] is None for camera in inspect(folder, capsys)["cameras"])
