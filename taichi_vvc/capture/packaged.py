"""The small capture that comes with the package, and the comparison picture of ``tvvc demo`` and of previews."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from taichi_vvc.errors import DataError

CAPTURE = Path(__file__).resolve().parent / "data" / "walkwave_demo"
DIFFERENCE_GAIN = 4
_CAPTION_HEIGHT = 18  # pixels


def capture_path() -> Path:
    """The folder of the capture.

    Raises:
        DataError: the installation does not contain it.
    """
    if not (CAPTURE / "transforms.json").is_file():
        raise DataError(f"expected the demo capture at {CAPTURE}, found none; reinstall the package")
    return CAPTURE


def side_by_side(capture: np.ndarray, decoded: np.ndarray, zoom: int = 2) -> np.ndarray:
    """Capture, decoded picture and difference beside each other, each with a caption above.

    Args:
        capture, decoded: (height, width, 3) in [0, 1], on the same background.
        zoom: integer factor by which pixels are repeated.

    Returns:
        (height * zoom + caption, 3 * width * zoom + gaps, 3) uint8. The difference is absolute, per channel, multiplied
        by :data:`DIFFERENCE_GAIN` and inverted, so that equal pixels are white.
    """
    difference = 1.0 - np.clip(np.abs(capture - decoded) * DIFFERENCE_GAIN, 0.0, 1.0)
    panels = [("capture", capture), ("decoded", decoded), (f"difference x{DIFFERENCE_GAIN} (white: none)", difference)]
    height, width = capture.shape[0] * zoom, capture.shape[1] * zoom
    gap = 4
    sheet = Image.new("RGB", (3 * width + 2 * gap, height + _CAPTION_HEIGHT), (255, 255, 255))
    draw = ImageDraw.Draw(sheet)
    for number, (caption, panel) in enumerate(panels):
        pixels = np.clip(np.rint(panel * 255.0), 0, 255).astype(np.uint8).repeat(zoom, 0).repeat(zoom, 1)
        sheet.paste(Image.fromarray(pixels), (number * (width + gap), _CAPTION_HEIGHT))
        draw.text((number * (width + gap) + 4, 3), caption, fill=(0, 0, 0))
    return np.asarray(sheet)
