"""Tells the subject from the background in one picture, given what the camera sees without the subject.

The model of a shadow is that of Horprasert, Harwood and Davis (1999): it scales the background's brightness and keeps
its chromaticity. A pixel that differs from the background in that way only is :data:`UNSURE`: a shadow, or a subject of
the background's own colour. What the other views say decides (``capture/consensus.py``).

Pixels are OpenCV's work (extra ``mask``).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from taichi_vvc.errors import DataError

NOISE = 1.5  # 8-bit levels: least noise of a channel; light that the subject throws back changes as much
EDGES = 0.25  # pixels by which the picture may be shifted against the background: compression, vibration, demosaicking
WEAK, STRONG = 3.0, 6.0  # changes in units of the noise: of all pixels of the subject, and of at least one
SHADOW = (0.4, 1.2)  # brightness of the background, sRGB values, that a shadow or light thrown back leaves
TINT = 0.06  # change of colour in a shadow relative to its change of brightness: its light comes from elsewhere
GAIN = (0.6, 1.6)  # changes of exposure between background and picture that are looked for
SPECK = 0.004  # of the picture's diagonal: side of the smallest area that is a part of the subject
BACKGROUND, UNSURE, SUBJECT = 0, 1, 2


@dataclass(frozen=True)
class Plate:
    """What a camera sees without the subject: ``image`` (height, width, 3) uint8, sRGB."""

    image: np.ndarray


def opencv() -> Any:
    """The module ``cv2``.

    Raises:
        DataError: OpenCV is not installed.
    """
    try:
        import cv2
    except ImportError:
        raise DataError('making masks needs OpenCV, which is not installed; pip install "taichi_vvc[mask]"') from None
    return cv2


def changed(image: np.ndarray, plate: Plate) -> np.ndarray:
    """(height, width) uint8: :data:`BACKGROUND`, :data:`UNSURE` or :data:`SUBJECT` for each pixel.

    ``image`` (height, width, 3) uint8, sRGB. Noise and exposure are estimated from the two pictures; at least half of
    the pixels must show the background for that.
    """
    cv2 = opencv()
    picture, empty = image.astype(np.float32), plate.image.astype(np.float32)
    empty *= _gain(picture, empty)
    noise = _noise(picture - empty)
    weights = 1.0 / (noise * noise + _slope(cv2, empty))
    product, square = ((weights * empty * other).sum(-1) for other in (picture, empty))
    ratio = product / np.maximum(square, 1e-6)
    scaled = np.clip(ratio, *SHADOW)[..., None] * empty
    tint = (TINT * (scaled - empty)) ** 2
    difference = (weights * (picture - empty) ** 2).mean(-1)
    colour = ((picture - scaled) ** 2 / (1.0 / weights + tint)).mean(-1)
    found = np.where(difference > WEAK * WEAK, np.uint8(UNSURE), np.uint8(BACKGROUND))
    found[_connected(cv2, colour > WEAK * WEAK, colour > STRONG * STRONG)] = SUBJECT
    return tidied(found)


def tidied(found: np.ndarray) -> np.ndarray:
    """The labels of :func:`changed` with specks of the subject removed, and gaps as small as these closed."""
    cv2 = opencv()
    side = speck(found.shape)
    subject = (found == SUBJECT).astype(np.uint8)
    round_one = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side | 1, side | 1))
    subject = cv2.morphologyEx(subject, cv2.MORPH_CLOSE, round_one)
    subject = without_specks(subject, side)
    out = np.where(found == SUBJECT, np.uint8(UNSURE), found)
    out[subject > 0] = SUBJECT
    return out


def speck(shape: tuple[int, ...]) -> int:
    """Side of the smallest area that is a part of the subject, pixels; ``shape``: (height, width) of the picture."""
    return max(2, round(SPECK * math.hypot(*shape[:2])))


def without_specks(mask: np.ndarray, side: int) -> np.ndarray:
    """(height, width) uint8, 0 or 1: ``mask`` without parts or holes of fewer than ``side`` squared pixels."""
    cv2, area = opencv(), side * side
    for value in (1, 0):
        count, parts, figures, _ = cv2.connectedComponentsWithStats((mask == value).astype(np.uint8), connectivity=4)
        small = figures[:count, cv2.CC_STAT_AREA] < area
        small[0] = False
        mask = np.where(small[parts], np.uint8(1 - value), mask.astype(np.uint8))
    return mask


def _connected(cv2: Any, weak: np.ndarray, strong: np.ndarray) -> np.ndarray:
    """(height, width) bool: the connected parts of ``weak`` with a pixel of ``strong``."""
    count, parts = cv2.connectedComponents(weak.astype(np.uint8), connectivity=8)
    kept = np.zeros(count, bool)
    kept[np.unique(parts[strong & weak])] = True
    kept[0] = False
    return kept[parts]


def _mean(cv2: Any, values: np.ndarray, side: int) -> np.ndarray:
    return np.asarray(cv2.blur(values, (side, side), borderType=cv2.BORDER_REFLECT))


def _slope(cv2: Any, empty: np.ndarray) -> np.ndarray:
    """(height, width, 3): squared change of the background over a shift of :data:`EDGES` pixels."""
    scale = EDGES / 8.0  # Sobel's kernel sums to 8 times the slope
    along, across = (cv2.Sobel(empty, cv2.CV_32F, x, 1 - x, ksize=3, scale=scale) for x in (1, 0))
    return np.asarray(along**2 + across**2)


def _gain(picture: np.ndarray, empty: np.ndarray) -> np.ndarray:
    """(3,) the exposure of each channel relative to the background's; 1 unless another explains more of the picture."""
    rows = (slice(None, None, max(1, picture.shape[0] // 256)), slice(None, None, max(1, picture.shape[1] // 256)))
    a, b = picture[rows].reshape(-1, 3), empty[rows].reshape(-1, 3)
    bright = (b > 24.0) & (b < 240.0) & (a < 250.0)
    gain = np.ones(3, np.float32)
    for channel in range(3):
        values = a[bright[:, channel], channel] / b[bright[:, channel], channel]
        if len(values) > 100:
            gain[channel] = np.clip(np.median(values), *GAIN)
    tolerance = 2.0 * np.minimum(_noise(a - b), _noise(a - gain * b))
    before, after = ((np.abs(a - factor * b) < tolerance).all(-1).mean() for factor in (1.0, gain))
    return gain if after > before + 0.02 else np.ones(3, np.float32)


def _noise(difference: np.ndarray) -> np.ndarray:
    """(3,) standard deviation of each channel of the background, from the smaller half of the differences."""
    rows = (slice(None, None, max(1, difference.shape[0] // 512)), Ellipsis)
    # A quarter of a normal distribution lies within 0.3186 standard deviations.
    quarter = np.quantile(np.abs(difference[rows]).reshape(-1, 3), 0.25, axis=0)
    return np.maximum(quarter / 0.3186, NOISE).astype(np.float32)
