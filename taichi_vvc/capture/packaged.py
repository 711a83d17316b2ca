"""The small capture that comes with the package."""

from __future__ import annotations

from pathlib import Path

from taichi_vvc.errors import DataError

CAPTURE = Path(__file__).resolve().parents[1] / "data" / "walkwave_demo"


def capture_path() -> Path:
    """The folder of the capture.

    Raises:
        DataError: the installation does not contain it.
    """
    if not (CAPTURE / "transforms.json").is_file():
        raise DataError(f"expected the demo capture at {CAPTURE}, found none; reinstall the package")
    return CAPTURE
