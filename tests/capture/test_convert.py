"""``tvvc convert``: the written capture reads back the same, and no other file is changed."""

from __future__ import annotations

import json
from pathlib import Path

import captures
import layouts
import numpy as np
import pytest
from test_readers_easyvolcap import write_calibration, write_pictures
from test_readers_video import write_llff

from taichi_vvc.capture.convert import convert
from taichi_vvc.capture.sequence import MultiViewSequence, open_capture
from taichi_vvc.cli import run

LENS = (-0.08, 0.02, 0.003, -0.002)


@pytest.fixture(scope="module")
def capture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An EasyVolcap capture with distortion and masks."""
    folder = tmp_path_factory.mktemp("capture")
    rig = layouts.rig(LENS)
    write_calibration(folder, rig)
    write_pictures(folder, rig)
    return folder


def assert_same(a: MultiViewSequence, b: MultiViewSequence) -> None:
    assert (len(a), a.times, a.bounds, a.has_alpha) == (len(b), b.times, b.bounds, b.has_alpha)
    for i in range(len(a)):
        for x, y in zip(a.frame(i).views, b.frame(i).views, strict=True):
            assert x.camera.name == y.camera.name
            layouts.assert_same_rays(x.camera, y.camera, 1e-9)
            np.testing.assert_array_equal(x.image, y.image)


def test_it_reads_back_the_same(capture: Path, tmp_path: Path) -> None:
    target = tmp_path / "out"
    assert run(["convert", str(capture), "-o", str(target), "--test-cameras", "01,03", "--fps", "30000/1001"]) == 0
    converted = open_capture(target)
    assert converted.layout == "transforms" and converted.bounds_source == "file" and converted.messages == ()
    assert_same(converted, open_capture(capture, test_cameras="01,03"))
    assert [camera.split for camera in converted.cameras] == ["train", "test", "train", "test"]
    document = captures.read_document(target)
    assert document["fps"] == "30000/1001" and document["frames"][0]["file_path"] == "images/00/0000.png"
    assert [item.name for item in tmp_path.iterdir()] == ["out"], "no temporary folder is left"


def test_selection_downscale_and_bounds(capture: Path, tmp_path: Path) -> None:
    target = tmp_path / "out"
    box = "-1,-1,-1,1,1,1"
    options = ["--frames", "1:3", "--downscale", "2", "--bounds", box]
    assert run(["convert", str(capture), "-o", str(target), *options]) == 0
    converted = open_capture(target)
    assert converted.bounds == captures.BOUNDS and converted.times == (1.0, 2.0)
    assert_same(converted, layouts.opened(capture, frames=slice(1, 3), downscale=2))
    assert sorted(file.name for file in (target / "images/00").iterdir()) == ["0001.png", "0002.png"]


def test_videos(tmp_path: Path) -> None:
    write_llff(tmp_path / "scene", layouts.rig())
    assert run(["convert", str(tmp_path / "scene"), "-o", str(tmp_path / "out"), "--bounds", "-1,-1,-1,1,1,1"]) == 0
    converted = open_capture(tmp_path / "out")
    assert_same(converted, layouts.opened(tmp_path / "scene"))
    assert converted.fps == 30 and [camera.split for camera in converted.cameras] == ["test", "train", "train", "train"]


def test_moving_cameras_stay_moving(tmp_path: Path) -> None:
    folder = captures.write_capture(tmp_path / "c", cameras=3, frames=2, size=32, test_cameras=0)
    document = captures.read_document(folder)
    for record in document["frames"]:
        record["transform_matrix"][2][3] += 0.01 * record["time"]
    captures.write_document(folder, document)
    assert run(["convert", str(folder), "-o", str(tmp_path / "out")]) == 0
    assert_same(open_capture(tmp_path / "out"), open_capture(folder))


def test_nothing_is_replaced_that_should_not_be(
    capture: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "out"
    target.mkdir()
    (target / "thesis.tex").write_text("years of work", encoding="utf-8")
    for options in ([], ["-y"]):
        assert run(["convert", str(capture), "-o", str(target), *options]) == 2
        assert "found other files" in capsys.readouterr().err
    assert (target / "thesis.tex").read_text(encoding="utf-8") == "years of work"
    for unsafe in (capture, capture.parent):
        assert run(["convert", str(capture), "-o", str(unsafe), "-y"]) == 2
    (target / "thesis.tex").unlink()
    assert run(["convert", str(capture), "-o", str(target), "--frames", "0:1"]) == 0, "an empty folder is fine"
    assert run(["convert", str(capture), "-o", str(target), "--frames", "0:2"]) == 2
    assert len(open_capture(target)) == 1
    assert run(["convert", str(capture), "-o", str(target), "--frames", "0:2", "-y"]) == 0
    assert len(open_capture(target)) == 2 and [item.name for item in tmp_path.iterdir()] == ["out"]


def test_a_failure_leaves_the_old_capture(capture: Path, tmp_path: Path) -> None:
    target = tmp_path / "out"
    assert run(["convert", str(capture), "-o", str(target), "--frames", "0:1"]) == 0
    sequence = open_capture(capture)

    def stop(_done: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        convert(sequence, target, {c.name: c.name for c in sequence.cameras}, overwrite=True, progress=stop)
    assert len(open_capture(target)) == 1 and [item.name for item in tmp_path.iterdir()] == ["out"]


@pytest.mark.parametrize(("names", "message"), [("09", "no camera 09"), ("00,01,02,03", "left for training")])
def test_held_out_cameras_must_exist_and_leave_some(
    capture: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], names: str, message: str
) -> None:
    assert run(["convert", str(capture), "-o", str(tmp_path / "o"), "--test-cameras", names]) == 2
    assert message in capsys.readouterr().err


def test_camera_names_that_are_no_folder_names(tmp_path: Path) -> None:
    folder = captures.write_capture(tmp_path / "c", cameras=3, frames=1, size=32, test_cameras=0)
    document = captures.read_document(folder)
    for record, name in zip(document["frames"], ("a/b", "a:b", "../x"), strict=True):
        record["camera"] = name
    captures.write_document(folder, document)
    assert run(["convert", str(folder), "-o", str(tmp_path / "out")]) == 0
    written = json.loads((tmp_path / "out/transforms.json").read_text(encoding="utf-8"))
    assert [record["camera"] for record in written["frames"]] == ["a/b", "a:b", "../x"]
    assert_same(open_capture(tmp_path / "out"), open_capture(folder))
