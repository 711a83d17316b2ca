"""The demonstration and the examples, with settings so small that they run but their quality is not tested."""

from __future__ import annotations

import dataclasses
import runpy
import sys
from pathlib import Path

import numpy as np
import pytest
from captures import write_capture
from PIL import Image
from places import ROOT

import taichi_vvc
from taichi_vvc.capture.packaged import capture_path
from taichi_vvc.cli import run
from taichi_vvc.config import PRESETS
from taichi_vvc.media.charts import side_by_side

EXAMPLES = sorted((ROOT / "examples").glob("*.py"))
QUICK = dataclasses.replace(
    PRESETS["ultrafast"], rays=256, key_iterations=20, inter_iterations=10, occupancy_cells=24, steps_per_side=48
)


def test_the_package_carries_its_capture() -> None:
    sequence = taichi_vvc.open_capture(capture_path())
    assert len(sequence) >= 2 and {camera.split for camera in sequence.cameras} == {"train", "test"}
    size = sum(path.stat().st_size for path in capture_path().rglob("*") if path.is_file())
    assert size <= 2_000_000


def test_demo_writes_its_files_and_a_table(tmp_path, capfd, monkeypatch) -> None:
    small = write_capture(tmp_path / "capture", cameras=4, frames=2, size=24)
    monkeypatch.setattr("taichi_vvc.capture.packaged.CAPTURE", small)
    monkeypatch.setattr("taichi_vvc.cli.demo.settings_of_demo", lambda: QUICK)
    monkeypatch.setattr("taichi_vvc.cli.demo.SIZE", (16, 16))
    out = tmp_path / "out"
    for _ in range(2):  # the second time over its own results
        assert run(["demo", "-o", str(out), "--backend", "cpu"]) == 0
    written = ["demo.html", "demo.png", "demo.tvvc", "orbit.cameras.json", "orbit.mp4"]
    assert sorted(path.name for path in out.iterdir()) == written
    table = capfd.readouterr().out
    assert "held out" in table and "kB/frame" in table and " dB" in table
    assert str((out / "demo.html").resolve()) in table.splitlines()[-1]
    assert np.asarray(Image.open(out / "demo.png")).shape[2] == 3

    (out / "mine.txt").write_text("keep", encoding="utf-8")
    assert run(["demo", "-o", str(out), "--backend", "cpu"]) == 2
    assert "mine.txt" in capfd.readouterr().err


def test_side_by_side_shows_equal_pictures_as_white() -> None:
    picture = np.random.default_rng(0).random((6, 5, 3)).astype(np.float32)
    other = picture.copy()
    other[2, 3] = 1.0 - picture[2, 3].round()
    sheet = side_by_side(picture, other, zoom=2)
    height, width = 12, 10
    panels = [sheet[-height:, k * (width + 4) : k * (width + 4) + width] for k in range(3)]
    assert sheet.shape[1] == 3 * width + 8
    assert np.array_equal(panels[0][::2, ::2], np.rint(picture * 255).astype(np.uint8))
    differing = np.argwhere((panels[2][::2, ::2] != 255).any(axis=2))
    assert differing.tolist() == [[2, 3]]


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_examples_are_short_and_explained(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert text.startswith('"""') and text.count("\n") < 80


def test_examples_run(tmp_path, capsys, monkeypatch) -> None:
    capture = write_capture(tmp_path / "capture", cameras=4, frames=2, size=24)
    file, video = tmp_path / "a.tvvc", tmp_path / "a.mp4"
    monkeypatch.setitem(PRESETS, "ultrafast", QUICK)
    monkeypatch.setattr(sys, "argv", ["encode_decode.py", str(capture), str(file)])
    examples = {path.stem: str(path) for path in EXAMPLES}
    runpy.run_path(examples["encode_decode"], run_name="__main__")
    assert capsys.readouterr().out.count(" dB") == 2 and file.is_file()
    monkeypatch.setattr(sys, "argv", ["free_camera.py", str(file), str(video)])
    runpy.run_path(examples["free_camera"], run_name="__main__")
    assert video.stat().st_size > 0
