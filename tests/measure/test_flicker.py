"""How much still pixels change, counted on pictures of which it is known."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from captures import ring_cameras, write_capture
from tiny import ONE_LEVEL

import taichi_vvc as tv
from taichi_vvc.cli import run
from taichi_vvc.measure.flicker import Flicker, StillChange
from taichi_vvc.media.stillness import STILL
from taichi_vvc.types import View

WHITE = (1.0, 1.0, 1.0)
SIDE = 32


def view_of(levels: np.ndarray | int, alpha: np.ndarray | int = 255, camera: int = 0) -> View:
    """A grey picture of 8-bit ``levels``."""
    image = np.zeros((SIDE, SIDE, 4), np.uint8)
    image[..., :3] = np.broadcast_to(np.asarray(levels)[..., None], (SIDE, SIDE, 1))
    image[..., 3] = alpha
    return View(ring_cameras(2, SIDE)[camera], image)


def grey(levels: np.ndarray | float) -> np.ndarray:
    return np.full((SIDE, SIDE, 3), 1 / 255, np.float32) * np.broadcast_to(
        np.asarray(levels)[..., None], (SIDE, SIDE, 1)
    )


def test_the_change_of_file_and_capture_is_counted_apart() -> None:
    flicker = Flicker(WHITE)
    assert flicker.observe(view_of(100), grey(90)) == StillChange()
    assert flicker.observe(view_of(100), grey(90)).values() == {"flicker": 0.0, "flicker_capture": 0.0}
    assert flicker.observe(view_of(102), grey(97)).values() == {"flicker": 7.0, "flicker_capture": 2.0}
    # Against the frame before, not against the first; brighter and darker alike.
    assert flicker.observe(view_of(101), grey(94)).values() == {"flicker": 3.0, "flicker_capture": 1.0}


def test_pixels_whose_surroundings_move_do_not_count() -> None:
    flicker, moved = Flicker(WHITE), np.full((SIDE, SIDE), 100)
    flicker.observe(view_of(100), grey(100))
    moved[:, SIDE // 2 :] = 140
    found = flicker.observe(view_of(moved), grey(np.where(moved == 140, 200, 105)))
    # The edge's neighbours see a third of the change, which is more than what passes for still.
    assert 40 / 3 > STILL and found.pixels == SIDE * (SIDE // 2 - 1)
    assert found.values() == {"flicker": pytest.approx(5.0), "flicker_capture": 0.0}


def test_noise_is_still() -> None:
    flicker, rng = Flicker(WHITE), np.random.default_rng(1)
    for _ in range(2):
        found = flicker.observe(view_of(np.rint(rng.normal(128, 1.5, (SIDE, SIDE))).astype(int)), grey(128))
    assert found.pixels > 0.95 * SIDE**2 and found.shown == 0.0
    assert found.values()["flicker_capture"] == pytest.approx(1.5 * 2 / np.sqrt(np.pi), rel=0.1)


def test_with_masks_only_the_subject_counts() -> None:
    flicker, alpha = Flicker(WHITE), np.zeros((SIDE, SIDE), np.uint8)
    alpha[:8] = 255
    flicker.observe(view_of(100, alpha), grey(100))
    alpha = np.roll(alpha, 4, 0)
    found = flicker.observe(view_of(100, alpha), grey(103))
    # Four rows are in both masks; the neighbours of the outer ones leave the subject or enter it.
    assert found.pixels == 2 * SIDE and found.values() == {"flicker": 3.0, "flicker_capture": 0.0}


def test_cameras_are_compared_with_themselves_while_they_stand() -> None:
    flicker = Flicker(WHITE)
    flicker.observe(view_of(100), grey(100))
    assert flicker.observe(view_of(100, camera=1), grey(180)).values() == {"flicker": None, "flicker_capture": None}
    moved = view_of(100)
    moved = replace(moved, camera=replace(moved.camera, fx=moved.camera.fx * 1.1))
    assert flicker.observe(moved, grey(100)).pixels == 0
    assert flicker.observe(moved, grey(101)).pixels == SIDE**2


def test_eval_tells_key_frames_apart(tmp_path: Path, capfd) -> None:
    capture = write_capture(tmp_path / "capture", cameras=4, frames=4, size=SIDE)
    list(tv.encode(tv.open_capture(capture), tv.EncoderConfig(**{**ONE_LEVEL, "keyint": 2}), tmp_path / "a.tvvc"))
    capfd.readouterr()
    page = tmp_path / "a.html"
    assert (
        run(["eval", str(tmp_path / "a.tvvc"), str(capture), "--json", "--report", str(page), "--backend", "cpu"]) == 0
    )
    figures = json.loads(capfd.readouterr().out)
    rows = figures["per_frame"]
    assert rows[0]["flicker"] is None and [row["type"] for row in rows] == ["key", "inter", "key", "inter"]
    assert figures["flicker_key"] == rows[2]["flicker"] and figures["flicker_key_capture"] == rows[2]["flicker_capture"]
    shown = [row["flicker"] for row in rows[1:]]
    assert min(shown) < figures["flicker"] < max(shown)
    assert "Change of still pixels" in page.read_text(encoding="utf-8")
    assert run(["eval", str(tmp_path / "a.tvvc"), str(capture), "--backend", "cpu"]) == 0
    out = capfd.readouterr().out
    assert f"still pixels change by {figures['flicker']:.2f} grey levels" in out and "at key frames" in out
