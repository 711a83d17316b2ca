"""Helpers for tests that open captures: a small capture, changed copies of it, and a check that opening fails."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import captures
import pytest

from taichi_vvc.capture.sequence import open_capture
from taichi_vvc.errors import DataError


def small_capture(folder: Path) -> Path:
    """4 cameras (the last held out), 3 frames, RGBA; not to be changed."""
    return captures.write_capture(folder, cameras=4, frames=3, size=(40, 32))


def changed_copies(capture: Path, folder: Path) -> Callable[..., Path]:
    """A function that copies the capture, changes the copy's JSON by another function, and returns the copy."""

    def make(change: Callable[[dict[str, Any]], object]) -> Path:
        copy = folder / "copy"
        shutil.copytree(capture, copy)
        document = captures.read_document(copy)
        change(document)
        captures.write_document(copy, document)
        return copy

    return make


def fails(path: Path, *parts: str, error: type[Exception] = DataError, **options: Any) -> str:
    """Opening must fail with one line that has all ``parts``; returns it."""
    with pytest.raises(error) as caught:
        open_capture(path, **options)
    line = str(caught.value)
    assert "\n" not in line and len(line) < 400
    for part in parts:
        assert part in line, f"{part!r} is not in {line!r}"
    return line
