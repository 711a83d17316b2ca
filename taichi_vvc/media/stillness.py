"""Where a camera's picture stands still from one frame to the next."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from taichi_vvc.media.pictures import composite, to_bytes

STILL = 4.0
"""Grey levels of 255. Where pictures change by more, something moves; sensors have noise of one to three."""


def still_pixels(before: np.ndarray, now: np.ndarray, background: Sequence[float]) -> tuple[np.ndarray, np.ndarray]:
    """Which pixels of a picture stand still, and by how much each one changes.

    Those are still around which (3x3 pixels) the picture changes by at most :data:`STILL` in the mean. Pixels that are
    more transparent than opaque in one of the pictures are not among them, as they show no subject.

    Args:
        before, now: (H, W, 4) uint8, straight alpha.
        background: 3 values in [0, 1], what they are composited on.

    Returns:
        (H, W) bool; and (H, W) float32, the change in grey levels of 255, mean over the channels.
    """
    a, b = (to_bytes(composite(image, background)).astype(np.float32) for image in (before, now))
    change = np.asarray(np.abs(a - b).mean(2))
    still = _box_mean(change) <= STILL
    return np.asarray(still & (before[..., 3] > 127) & (now[..., 3] > 127)), change


def _box_mean(values: np.ndarray) -> np.ndarray:
    """(H, W): the mean over 3x3 pixels, of which there are fewer at the edges."""
    padded, inside = np.pad(values, 1), np.pad(np.ones_like(values), 1)
    height, width = values.shape
    total, count = (
        sum(part[y : y + height, x : x + width] for y in range(3) for x in range(3)) for part in (padded, inside)
    )
    return np.asarray(total / count)
