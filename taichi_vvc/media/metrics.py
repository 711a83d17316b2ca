"""Picture quality: PSNR over all pixels and over the foreground, and SSIM."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np

from taichi_vvc.errors import DataError
from taichi_vvc.media.pictures import grown

SSIM_WINDOW, SSIM_SIGMA = 11, 1.5  # pixels
SSIM_C1, SSIM_C2 = 0.01**2, 0.03**2  # K1 and K2 of the paper, for values in [0, 1]


def finite_mean(values: Iterable[float | None]) -> float | None:
    """The mean of the finite numbers among ``values``; None if there are none.

    Pictures without any error have no finite PSNR, and would leave none to the rest.
    """
    known = [float(value) for value in values if value is not None and math.isfinite(value)]
    return sum(known) / len(known) if known else None


def psnr(a: np.ndarray, b: np.ndarray, rays: np.ndarray | None = None) -> float:
    """Peak signal-to-noise ratio in dB of values in [0, 1] over all pixels and channels; infinity if equal.

    ``rays``: (H, W) bool, the pixels that count (:func:`taichi_vvc.geometry.projection.pixels_with_rays`); None: all.

    Raises:
        DataError: the shapes differ.
    """
    _same_shape(a, b)
    if rays is not None:
        if not rays.any():
            return math.nan
        a, b = a[rays], b[rays]
    return psnr_of_error(np.square(a.astype(np.float64) - b.astype(np.float64)).mean())


def psnr_foreground(
    a: np.ndarray, b: np.ndarray, mask: np.ndarray, grow: int = 2, rays: np.ndarray | None = None
) -> float:
    """PSNR in dB over the pixels of ``mask`` (H, W) bool grown by ``grow`` pixels in all eight directions.

    ``rays``: as of :func:`psnr`.

    NaN when the mask is empty: such an image says nothing and is left out of averages.
    """
    _same_shape(a, b)
    chosen = grown(mask, grow)
    if rays is not None:
        chosen &= rays
    if not chosen.any():
        return math.nan
    return psnr_of_error(np.square(a[chosen].astype(np.float64) - b[chosen].astype(np.float64)).mean())


def ssim(a: np.ndarray, b: np.ndarray) -> float:
    """Structural similarity of two (H, W, 3) pictures in [0, 1]: Wang et al. 2004, 11 x 11 Gaussian window, sigma 1.5.

    The mean over all channels and all places where the window lies within the picture; equal to scikit-image's
    ``structural_similarity`` with ``gaussian_weights`` and without ``use_sample_covariance``.

    Raises:
        DataError: the shapes differ, or a side is shorter than the window.
    """
    _same_shape(a, b)
    if min(a.shape[:2]) < SSIM_WINDOW:
        raise DataError(f"SSIM needs pictures of at least {SSIM_WINDOW}x{SSIM_WINDOW} pixels, found {a.shape[:2]}")
    total = 0.0
    for channel in range(a.shape[2]):  # one at a time: a picture of 1920x1080 takes 16 MB per array
        x, y = a[..., channel].astype(np.float64), b[..., channel].astype(np.float64)
        mx, my = _windowed(x), _windowed(y)
        vx, vy, vxy = _windowed(x * x) - mx * mx, _windowed(y * y) - my * my, _windowed(x * y) - mx * my
        similar = (2.0 * mx * my + SSIM_C1) * (2.0 * vxy + SSIM_C2)
        total += float((similar / ((mx * mx + my * my + SSIM_C1) * (vx + vy + SSIM_C2))).mean())
    return total / a.shape[2]


def _windowed(plane: np.ndarray) -> np.ndarray:
    """(H - 10, W - 10): the Gaussian mean around each place where the window lies within ``plane`` (H, W)."""
    offsets = np.arange(SSIM_WINDOW) - SSIM_WINDOW // 2
    weights = np.exp(-0.5 * (offsets / SSIM_SIGMA) ** 2)
    weights /= weights.sum()
    rows, columns = (length - SSIM_WINDOW + 1 for length in plane.shape)
    down = sum(weight * plane[k : k + rows] for k, weight in enumerate(weights))
    return np.asarray(sum(weight * down[:, k : k + columns] for k, weight in enumerate(weights)))


def ssim_with_rays(a: np.ndarray, b: np.ndarray, rays: np.ndarray) -> float:
    """:func:`ssim` over the pixels that ``rays`` (H, W) bool has; NaN where there are none.

    In the others the pictures are made equal, so that what they differ by, 1 - SSIM, all belongs to those that count.
    """
    inner = rays[SSIM_WINDOW // 2 : -(SSIM_WINDOW // 2), SSIM_WINDOW // 2 : -(SSIM_WINDOW // 2)]
    if not inner.any():
        return math.nan
    return 1.0 - (1.0 - ssim(np.where(rays[..., None], a, b), b)) / float(inner.mean())


def psnr_of_error(mean_squared_error: float) -> float:
    """PSNR in dB of a mean squared error of values in [0, 1]; infinite for 0."""
    return math.inf if mean_squared_error == 0.0 else -10.0 * math.log10(mean_squared_error)


def _same_shape(a: np.ndarray, b: np.ndarray) -> None:
    if a.shape != b.shape:
        raise DataError(f"cannot compare pictures of different shapes, {a.shape} and {b.shape}")
