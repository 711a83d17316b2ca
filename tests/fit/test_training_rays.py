"""The training pictures of a frame, and the pixels from which training rays are drawn."""

from __future__ import annotations

import numpy as np
import pytest
from backends import down, look_at, runtime, small_layout

from taichi_vvc.errors import DataError
from taichi_vvc.field.render import Workspace
from taichi_vvc.fit.training_rays import in_patches, make_training_rays
from taichi_vvc.types import View

LAYOUT = small_layout()
CELLS = LAYOUT.occupancy[::-1]
CENTRE = (-0.25, 1.5, 2.5)
CAMERAS = [look_at((2.5, 0.3, 3.6), CENTRE, (5, 4), 6.0), look_at((-1.8, 3.4, 1.2), CENTRE, (4, 4), 6.0, k1=-0.1)]
RAYS = 36


def views(alpha: int = 255, split: str = "train") -> list[View]:
    """One picture of random colours per camera."""
    rng = np.random.default_rng(6)
    found = []
    for n, camera in enumerate(CAMERAS):
        image = rng.integers(0, 256, (camera.height, camera.width, 4), np.uint8)
        image[..., 3] = alpha
        own = type(camera)(**{**vars(camera), "split": split if n == 0 else "train" if split == "train" else "test"})
        found.append(View(own, image))
    return found


def test_the_candidates_are_the_training_pixels() -> None:
    mask = np.ones(CELLS, bool)
    training = make_training_rays(Workspace(runtime()), LAYOUT, views(), mask)
    assert training.count == len(down(training.candidates, training.count)) <= RAYS
    assert training.rays_per_view == training.count / 2
    assert not training.has_alpha and make_training_rays(Workspace(runtime()), LAYOUT, views(alpha=9), mask).has_alpha
    pixels = down(training.images, RAYS).view(np.uint8).reshape(RAYS, 4)
    np.testing.assert_array_equal(pixels, np.concatenate([v.image.reshape(-1, 4) for v in views()]))


def test_a_frame_without_views_or_rays_is_refused() -> None:
    with pytest.raises(DataError, match="training view"):
        make_training_rays(Workspace(runtime()), LAYOUT, views(split="test"), np.ones(CELLS, bool))
    with pytest.raises(DataError, match="none"):
        make_training_rays(Workspace(runtime()), LAYOUT, views(), np.zeros(CELLS, bool))


def test_patches_keep_every_pixel_and_its_neighbours_together() -> None:
    cameras = [look_at((3.0, 0.0, 0.0), (0.0, 0.0, 0.0), size, 9.0) for size in ((16, 16), (5, 7))]
    ordered = in_patches(np.arange(16 * 16 + 5 * 7, dtype=np.int32), cameras)
    assert ordered.dtype == np.int32 and sorted(ordered) == list(range(291))
    assert set(ordered[:256]) == set(range(256)), "camera after camera"
    for patch in ordered[:256].reshape(-1, 16):
        y, x = np.divmod(patch, 16)
        assert np.ptp(y) == np.ptp(x) == 3
    assert np.abs(np.diff(np.divmod(ordered[256:] - 256, 5)[0])).max() < 7
