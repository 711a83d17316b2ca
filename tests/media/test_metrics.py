"""PSNR, foreground PSNR and SSIM against their definitions."""

from __future__ import annotations

import math

import numpy as np
import pytest

from taichi_vvc.errors import DataError
from taichi_vvc.media.metrics import composite, grown, psnr, psnr_foreground, ssim

RNG = np.random.default_rng(3)


def test_psnr_of_a_known_error() -> None:
    a = np.zeros((4, 5, 3), np.float32)
    assert psnr(a, a + np.float32(0.1)) == pytest.approx(20.0, abs=1e-5)
    assert psnr(a, a) == math.inf
    with pytest.raises(DataError, match="shapes"):
        psnr(a, a[1:])


def test_psnr_does_not_lose_small_errors() -> None:
    a = np.full((64, 64, 3), 0.5, np.float32)
    b = a.copy()
    b[0, 0, 0] += np.float32(1 / 1024)
    assert psnr(a, b) == pytest.approx(10 * math.log10(a.size * 1024**2), abs=1e-6)


def test_composite() -> None:
    image = np.array([[[255, 0, 0, 255], [255, 0, 0, 0], [0, 255, 0, 51]]], np.uint8)
    out = composite(image, (0.0, 0.0, 1.0))
    assert out.dtype == np.float32
    np.testing.assert_allclose(out[0], [[1, 0, 0], [0, 0, 1], [0, 0.2, 0.8]], atol=1e-6)


def test_growing_a_mask() -> None:
    mask = np.zeros((7, 9), bool)
    mask[3, 4] = True
    out = grown(mask, 2)
    expected = np.zeros((7, 9), bool)
    expected[1:6, 2:7] = True
    np.testing.assert_array_equal(out, expected)
    np.testing.assert_array_equal(grown(mask, 0), mask)
    corner = np.zeros((3, 3), bool)
    corner[0, 0] = True
    np.testing.assert_array_equal(grown(corner, 1), [[1, 1, 0], [1, 1, 0], [0, 0, 0]])


def test_foreground_psnr_looks_at_the_grown_mask_only() -> None:
    a = np.zeros((16, 16, 3), np.float32)
    mask = np.zeros((16, 16), bool)
    mask[8, 8] = True
    inside, outside = a.copy(), a.copy()
    inside[6, 6] = 0.5
    outside[5, 8] = 0.5
    assert psnr_foreground(a, outside, mask) == math.inf
    assert psnr_foreground(a, inside, mask) == pytest.approx(-10 * math.log10(0.25 / 25))
    assert math.isnan(psnr_foreground(a, inside, np.zeros((16, 16), bool)))


def test_ssim_against_its_formula() -> None:
    """A direct evaluation with an 11 x 11 Gaussian window of sigma 1.5 at every inner pixel."""
    a = RNG.random((20, 18, 3))
    b = np.clip(a + 0.1 * RNG.standard_normal(a.shape), 0, 1)
    x = np.arange(-5, 6)
    window = np.exp(-0.5 * (x / 1.5) ** 2)
    window = np.outer(window, window) / window.sum() ** 2
    values = []
    for row in range(5, 15):
        for column in range(5, 13):
            p, q = (i[row - 5 : row + 6, column - 5 : column + 6] for i in (a, b))
            w = window[..., None]
            mp, mq = (w * p).sum((0, 1)), (w * q).sum((0, 1))
            vp, vq = (w * p * p).sum((0, 1)) - mp**2, (w * q * q).sum((0, 1)) - mq**2
            cov = (w * p * q).sum((0, 1)) - mp * mq
            c1, c2 = 0.01**2, 0.03**2
            values.append((2 * mp * mq + c1) * (2 * cov + c2) / ((mp**2 + mq**2 + c1) * (vp + vq + c2)))
    assert ssim(a.astype(np.float32), b.astype(np.float32)) == pytest.approx(np.mean(values), abs=1e-5)
    assert ssim(a, a) == pytest.approx(1.0)


@pytest.mark.parametrize("shape", [(11, 11), (11, 40), (53, 34)])
def test_ssim_is_scikit_images(shape: tuple[int, int]) -> None:
    reference = pytest.importorskip("skimage.metrics", reason="no package scikit-image to compare with")
    a = np.cumsum(RNG.standard_normal((*shape, 3)), axis=1)
    a = (a - a.min()) / np.ptp(a)
    b = np.clip(a + 0.05 * RNG.standard_normal(a.shape), 0, 1)
    options = {"data_range": 1.0, "gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}
    expected = reference.structural_similarity(a, b, channel_axis=2, **options)
    assert 0.1 < expected < 0.99
    assert ssim(a, b) == pytest.approx(expected, abs=1e-12)


def test_ssim_of_tiny_pictures_is_refused() -> None:
    with pytest.raises(DataError, match="11x11"):
        ssim(np.zeros((10, 30, 3)), np.zeros((10, 30, 3)))
