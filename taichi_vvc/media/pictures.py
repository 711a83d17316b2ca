"""What pictures in memory need: 8-bit values, backgrounds, and masks."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from taichi_vvc.geometry.projection import pixels_with_rays
from taichi_vvc.types import View

DIFFERENT = 0.005
"""Squared difference, summed over channels, from which a pixel shows something else than the background."""


def to_bytes(image: np.ndarray) -> np.ndarray:
    """Values in [0, 1] to uint8, rounded and clipped; uint8 passes, NaN becomes 0."""
    if image.dtype == np.uint8:
        return image
    return np.rint(np.clip(np.nan_to_num(image, nan=0.0), 0.0, 1.0) * 255.0).astype(np.uint8)


def nearest_bytes(values: np.ndarray) -> np.ndarray:
    """Finite values on the scale of 0 to 255 as uint8, rounded and clipped."""
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)


def composite(image: np.ndarray, background: Sequence[float] | np.ndarray) -> np.ndarray:
    """A straight-alpha picture on a plain background, blended in sRGB values as the renderer does.

    Args:
        image: (H, W, 4) uint8.
        background: 3 values in [0, 1].

    Returns:
        (H, W, 3) float32 in [0, 1].
    """
    pixels = image.astype(np.float32) * np.float32(1.0 / 255.0)
    alpha = pixels[..., 3:]
    return pixels[..., :3] * alpha + np.asarray(background, np.float32) * (1.0 - alpha)


def edge_colour(views: Sequence[View]) -> tuple[int, int, int]:
    """What most of the pictures show at their edges, sRGB 8-bit: the background of a capture without masks."""
    edges = []
    for view in views:
        rgb, rays = view.image[..., :3], pixels_with_rays(view.camera)
        if rays is None:
            edges += [rgb[0], rgb[-1], rgb[:, 0], rgb[:, -1]]
        else:
            # The picture ends where its rays do.
            around = np.pad(rays, 1)
            inner = around[2:, 1:-1] & around[:-2, 1:-1] & around[1:-1, 2:] & around[1:-1, :-2]
            edges.append(rgb[rays & ~inner])
    red, green, blue = (int(c) for c in np.median(np.concatenate(edges), axis=0))
    return red, green, blue


def differs(image: np.ndarray, background: Sequence[float]) -> np.ndarray:
    """(H, W) bool: which pixels of a picture (H, W, 4) without alpha clearly show something else than ``background``,
    3 values in [0, 1]."""
    pixels = image[..., :3] * np.float32(1.0 / 255.0)
    return np.asarray(((pixels - np.asarray(background, np.float32)) ** 2).sum(-1) > DIFFERENT)


def grown(mask: np.ndarray, pixels: int) -> np.ndarray:
    """(H, W) bool: ``mask`` dilated by a square of 2 ``pixels`` + 1."""
    out = np.pad(mask.astype(bool), pixels)
    for axis in (0, 1):
        length = mask.shape[axis]
        out = np.logical_or.reduce([out.take(range(s, s + length), axis=axis) for s in range(2 * pixels + 1)])
    return out
