"""``tvvc mask``: what it writes is a capture with masks; what it cannot use is one line."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import ModuleType

import captures
import numpy as np
import pytest
import stage
from commands import expect_error
from layouts import assert_same_rays
from PIL import Image

from taichi_vvc.capture import masking
from taichi_vvc.capture.sequence import open_capture
from taichi_vvc.cli import run

pytest.importorskip("cv2", reason="OpenCV (extra mask) is not installed")

FRAMES = 9


@pytest.fixture(scope="module")
def capture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("capture") / "stage"
    stage.write_stage(folder, cameras=5, frames=FRAMES, size=40)
    return folder


def mask(capture: Path, *options: object) -> int:
    return run(["mask", str(capture), *map(str, options)])


def test_the_result_is_the_capture_with_masks(capture: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    target = tmp_path / "out"
    assert mask(capture, "-o", target, "--plate", capture / "empty", "--frames", "2:6:2") == 0
    assert "masks of 2 frames of 5 cameras" in capfd.readouterr().err
    before, after = open_capture(capture, frames=slice(2, 6, 2)), open_capture(target)
    assert (after.fps, after.times, after.bounds, after.has_alpha) == (before.fps, before.times, before.bounds, True)
    for a, b in zip(before, after, strict=True):
        for x, y in zip(a.views, b.views, strict=True):
            assert_same_rays(y.camera, x.camera, 1e-9)
            assert x.camera.split == y.camera.split
            np.testing.assert_array_equal(x.image[..., :3], y.image[..., :3])
            assert set(np.unique(y.image[..., 3])) == {0, 255}
    assert sorted(item.name for item in target.iterdir()) == ["masks", "transforms.json"], "pictures are not copied"
    assert run(["inspect", str(target), "--json"]) == 0
    assert json.loads(capfd.readouterr().out)["masks"] is True


def test_the_median_is_written_and_can_be_given_again(capture: Path, tmp_path: Path) -> None:
    target = tmp_path / "out"
    assert mask(capture, "-o", target) == 0
    plates = sorted((target / "plates").iterdir())
    assert [file.name for file in plates] == [f"cam{k:02d}.png" for k in range(5)]
    empty = np.asarray(Image.open(capture / "empty" / "cam00.png")).astype(int)
    assert np.abs(np.asarray(Image.open(plates[0])) - empty).mean() < 3.0
    before = (target / "transforms.json").read_bytes()
    assert mask(capture, "-o", target, "--plate", target / "plates", "-y") == 0
    assert (target / "transforms.json").read_bytes() == before and len(list((target / "plates").iterdir())) == 5


def test_videos_stay_where_they_are(tmp_path: Path) -> None:
    folder, target = tmp_path / "videos", tmp_path / "out"
    truth, _ = stage.write_stage(folder, cameras=5, frames=FRAMES, size=40, video=True)
    assert mask(folder, "-o", target, "--plate", folder / "empty", "--frames", "3:5") == 0
    document = json.loads((target / "transforms.json").read_text())
    assert document["frames"][0]["file_path"] == "../videos/cam00.mp4#3"
    before, after = open_capture(folder, frames=slice(3, 5)), open_capture(target)
    found = []
    for a, b in zip(before, after, strict=True):
        found.append([view.image[..., 3] > 0 for view in b.views])
        for x, y in zip(a.views, b.views, strict=True):
            np.testing.assert_array_equal(x.image[..., :3], y.image[..., :3])
    assert stage.iou(found, truth[3:5]) > 0.5
    document["frames"][0]["file_path"] = "../videos/cam00.mp4#99"
    (target / "transforms.json").write_text(json.dumps(document))
    with pytest.raises(Exception, match=f"expected frames 0 to {FRAMES - 1} of"):
        open_capture(target)


def test_nothing_is_overwritten_unasked(capture: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    target, other = tmp_path / "out", tmp_path / "other"
    plate = ["--plate", capture / "empty", "--frames", "0:1"]
    assert mask(capture, "-o", target, *plate) == 0
    expect_error(capfd, ["mask", capture, "-o", target, *plate], 2, "masks are there already; add -y")
    assert mask(capture, "-o", target, *plate, "-y") == 0
    other.mkdir()
    (other / "letter.txt").write_text("dear")
    expect_error(capfd, ["mask", capture, "-o", other, *plate, "-y"], 2, "found other files")
    expect_error(capfd, ["mask", capture, "-o", capture, *plate, "-y"], 2, "is the capture or holds it")
    expect_error(capfd, ["mask", capture, "-o", capture.parent, *plate, "-y"], 2, "is the capture or holds it")
    expect_error(capfd, ["mask", capture, "-o", "-", *plate], 2, "cannot go to stdout")
    # A capture that somebody made: pictures and a transforms.json, but no masks.
    assert run(["convert", str(capture), "-o", str(tmp_path / "made"), "--frames", "0:1"]) == 0
    expect_error(capfd, ["mask", capture, "-o", tmp_path / "made", *plate, "-y"], 2, "found other files")


def test_an_interrupted_run_is_no_capture(
    capture: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "out"
    plate = ["--plate", capture / "empty"]
    assert mask(capture, "-o", target, *plate, "--frames", "0:2") == 0
    written = masking.write_png
    count = 0

    def interrupted(path: Path, image: np.ndarray) -> None:
        nonlocal count
        count += 1
        if count == 8:
            raise KeyboardInterrupt
        written(path, image)

    monkeypatch.setattr(masking, "write_png", interrupted)
    assert mask(capture, "-o", target, *plate, "-y") == 130
    monkeypatch.undo()
    files = [file for file in target.rglob("*") if file.is_file()]
    assert not (target / "transforms.json").exists(), "old masks and new ones are not mixed"
    pictures = [file for file in files if file.suffix == ".png"]
    assert len(pictures) == 7
    for file in pictures:
        Image.open(file).load()
    expect_error(capfd, ["mask", capture, "-o", target, *plate], 2, "add -y")
    assert mask(capture, "-o", target, *plate, "--frames", "0:1", "-y") == 0
    assert len(list(target.rglob("*.png"))) == 5 and not (target / "transforms.json.part").exists()


def test_missing_plates_and_packages_are_one_line(
    capture: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "out"
    (tmp_path / "none").mkdir()
    expect_error(capfd, ["mask", capture, "-o", target, "--plate", tmp_path / "none"], 3, "no plate of 5 of 5 cameras")
    expect_error(capfd, ["mask", capture, "-o", target, "--frames", "0:1"], 3, "at least 3 frames", "--plate")
    both = ["--plate", capture / "empty", "--rembg", "u2net"]
    expect_error(capfd, ["mask", capture, "-o", target, *both], 2, "found both")
    monkeypatch.setitem(sys.modules, "rembg", None)
    expect_error(capfd, ["mask", capture, "-o", target, "--rembg", "u2net"], 3, 'pip install "taichi_vvc[rembg]"')
    monkeypatch.setitem(sys.modules, "cv2", None)
    expect_error(capfd, ["mask", capture, "-o", target], 3, 'pip install "taichi_vvc[mask]"')
    assert not target.exists()


def test_rembg_starts_masks(
    capture: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """A stand-in for the package, whose network thinks that all that is red is a subject."""

    def remove(image: np.ndarray, session: object, only_mask: bool) -> np.ndarray:
        assert session == "session of u2net" and only_mask
        red = image[..., 0].astype(int) - image[..., 2] > 60
        return red.astype(np.uint8) * np.uint8(255)

    module = ModuleType("rembg")
    module.__dict__.update(remove=remove, new_session=lambda model: f"session of {model}")
    monkeypatch.setitem(sys.modules, "rembg", module)
    monkeypatch.setenv("U2NET_HOME", str(tmp_path / "models"))
    target = tmp_path / "out"
    expect_error(capfd, ["mask", capture, "-o", target, "--rembg", "u2net"], 3, "u2net.onnx", "rembg d u2net")
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "u2net.onnx").touch()
    assert mask(capture, "-o", target, "--rembg", "u2net", "--frames", "0:1") == 0
    assert open_capture(target).has_alpha and not (target / "plates").exists()


def test_pictures_with_masks(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    plain = captures.write_capture(tmp_path / "files", cameras=4, frames=5, size=32, masks="file")
    assert mask(plain, "-o", tmp_path / "a") == 0
    assert "are not looked at" in capfd.readouterr().err
    transparent = captures.write_capture(tmp_path / "alpha", cameras=4, frames=5, size=32)
    expect_error(capfd, ["mask", transparent, "-o", tmp_path / "b"], 3, "without transparent pixels")
