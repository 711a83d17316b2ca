"""A capture without masks has no foreground: no figure of one is shown."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from captures import ring_cameras, trace, write_capture
from tiny import ONE_LEVEL

import taichi_vvc as tv
from taichi_vvc.cli import run
from taichi_vvc.measure.evaluate import compare
from taichi_vvc.types import View


@pytest.fixture(scope="module")
def coded(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A capture without masks and its file."""
    folder = tmp_path_factory.mktemp("bare")
    capture = write_capture(folder / "capture", cameras=4, frames=1, size=32, masks=None)
    list(tv.encode(tv.open_capture(capture), tv.EncoderConfig(**ONE_LEVEL), folder / "a.tvvc"))
    return capture, folder / "a.tvvc"


def test_no_foreground_is_told_without_masks(coded: tuple[Path, Path], tmp_path: Path, capfd) -> None:
    capture, file = coded
    capfd.readouterr()
    page = tmp_path / "out.html"
    assert run(["eval", str(file), str(capture), "--json", "--backend", "cpu", "--report", str(page)]) == 0
    figures = json.loads(capfd.readouterr().out)
    assert figures["psnr"] > 5 and figures["psnr_foreground"] is None
    assert all(row["psnr_foreground"] is None for row in figures["per_frame"])
    text = page.read_text(encoding="utf-8")
    assert "PSNR, dB" in text and "SSIM" in text and "foreground" not in text
    assert run(["eval", str(file), str(capture), "--backend", "cpu"]) == 0
    out = capfd.readouterr().out
    assert "PSNR" in out and "SSIM" in out and "foreground" not in out


def test_a_foreground_is_that_of_a_mask() -> None:
    camera = ring_cameras(1, 32)[0]
    image = trace(camera, 0)
    picture = np.zeros((32, 32, 3), np.float32)
    assert np.isfinite(compare(View(camera, image), picture, (1.0, 1.0, 1.0)).psnr_foreground)
    image[..., 3] = 255
    found = compare(View(camera, image), picture, (1.0, 1.0, 1.0))
    assert np.isfinite(found.psnr) and np.isnan(found.psnr_foreground)
