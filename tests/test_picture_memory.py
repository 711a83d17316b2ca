"""Encodes with little memory for pictures, and frames of videos that are decoded ahead."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

import taichi_vvc as tv
from taichi_vvc.capture.packaged import capture_path
from taichi_vvc.cli import run
from taichi_vvc.errors import ConfigError

CONFIG = replace(tv.PRESETS["ultrafast"], key_iterations=24, inter_iterations=12, rays=256, detail="off")


def encoded(path: Path, memory: int) -> tuple[str, bytes]:
    """Hash of the symbols, and bytes, of two frames of the packaged capture at a quarter of its size."""
    sequence = tv.open_capture(capture_path(), frames=slice(0, 2), downscale=4)
    for _ in tv.encode(sequence, replace(CONFIG, picture_memory=memory), path):
        pass
    with tv.open(path) as stream:
        return stream.symbol_hash(), path.read_bytes()


def test_memory_bounds_what_is_fitted_and_nothing_else(tmp_path: Path) -> None:
    # 22 cameras of 32x32 pixels take 90 kB, and 4 bytes more for each pixel that shows the subject.
    enough, default = encoded(tmp_path / "a.tvvc", 1 << 20), encoded(tmp_path / "b.tvvc", 2 << 30)
    # Pixels that show nothing are left out: the same fit.
    few = encoded(tmp_path / "c.tvvc", 110_000)
    # A sample of the others: another fit, but the same one again.
    fewer, again = (encoded(tmp_path / f"{name}.tvvc", 1 << 16) for name in "de")
    assert enough[0] == default[0] == few[0]
    assert b"picture_memory" not in default[1]
    assert fewer == again and fewer[0] != few[0]


def test_the_setting_has_a_range() -> None:
    with pytest.raises(ConfigError, match="picture_memory of 65536 bytes or more, found 65535"):
        replace(CONFIG, picture_memory=(1 << 16) - 1)
    assert run(["encode", str(capture_path()), "-o", "x.tvvc", "--picture-memory", "1K"]) == 2
