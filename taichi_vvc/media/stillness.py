"""Where a camera's picture stands still from one frame to the next."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from taichi_vvc.media.pictures import composite, to_bytes

STILL = 4.0
"""Grey levels of 255. Where pictures change by more, something moves; sensors have noise of one to three."""


def grey_levels(before: np.ndarray, now: np.ndarray, background: Sequence[float]) -> np.ndarray:
    """(H, W) float32: by how much each pixel changes, mean over the channels, in grey levels of 255.

    Args:
        before, now: (H, W, 4) uint8, straight alpha.
        background: 3 values in [0, 1], what they are composited on.
    """
    a, b = (to_bytes(composite(image, background)).astype(np.float32) for image in (before, now))
    return np.asarray(np.abs(a - b).mean(2))


def still_pixels(before: np.ndarray, now: np.ndarray, background: Sequence[float]) -> np.ndarray:
    """(H, W) bool: pixels around which (3x3 pixels) a picture changes by at most :data:`STILL` in the mean.

    Pixels that are more transparent than opaque in one of the pictures are not among them, as they show no subject.
    Arguments as of :func:`grey_levels`.
    """
    still = _box_mean(grey_levels(before, now, background)) <= STILL
    return np.asarray(still & (before[..., 3] > 127) & (now[..., 3] > 127))


def _box_mean(values: np.ndarray) -> np.ndarray:
    """(H, W): the mean over 3x3 pixels, of which there are fewer at the edges."""
    padded, inside = np.pad(values, 1), np.pad(np.ones_like(values), 1)
    height, width = values.shape
    total, count = (
        sum(part[y : y + height, x : x + width] for y in range(3) for x in range(3)) for part in (padded, inside)
    )
    return np.asarray(total / count)
