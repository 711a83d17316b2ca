"""The training pictures of a frame, and the pixels from which training rays are drawn."""

from __future__ import annotations

import numpy as np
import pytest
from backends import down, look_at, runtime, small_layout

from taichi_vvc.errors import DataError
from taichi_vvc.field.render import Workspace
from taichi_vvc.fit.training_rays import in_patches, make_training_rays, sampled
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
    assert training.count == len(down(training.drawn, training.count)) <= RAYS
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


def test_where_memory_is_short_only_candidates_are_uploaded() -> None:
    """Then every draw has the ray and the colour that it had."""
    ws, mask = Workspace(runtime()), np.zeros(CELLS, bool)
    mask[CELLS[0] // 2, CELLS[1] // 2, CELLS[2] // 2] = True
    whole = make_training_rays(ws, LAYOUT, views(), mask)
    assert whole.places is None and 0 < whole.count < RAYS
    full = 4 * (RAYS + whole.count)
    assert 12 * whole.count < full
    assert make_training_rays(ws, LAYOUT, views(), mask, memory=full).places is None
    short = make_training_rays(ws, LAYOUT, views(), mask, memory=full - 1)
    assert short.count == whole.count
    assert (down(short.drawn, short.count) == down(whole.drawn, whole.count)).all()
    pixels, colours = down(short.drawn, short.count), down(short.images, short.count)
    assert (colours == down(whole.images, RAYS)[pixels]).all()
    assert (down(short.places, short.count) == np.arange(short.count)).all()
    assert short.rays_per_view == whole.rays_per_view


def test_a_sample_of_the_candidates_fits_the_memory() -> None:
    ws, mask = Workspace(runtime()), np.ones(CELLS, bool)
    whole = make_training_rays(ws, LAYOUT, views(), mask)
    count = whole.count // 3
    some = [make_training_rays(ws, LAYOUT, views(), mask, memory=12 * count + 11, number=n) for n in (4, 4, 5)]
    everything = set(down(whole.drawn, whole.count).tolist())
    first, again, other = (down(rays.drawn, rays.count) for rays in some)
    assert some[0].count == count == len(set(first.tolist()))
    assert set(first.tolist()) < everything
    assert (first == again).all() and set(first.tolist()) != set(other.tolist())
    assert (down(some[0].images, count) == down(whole.images, RAYS)[first]).all()
    # The unit of the rate is that of all candidates.
    assert some[0].rays_per_view == whole.rays_per_view
    # Every view has its share.
    first_view = CAMERAS[0].width * CAMERAS[0].height
    part = np.count_nonzero(down(whole.drawn, whole.count) < first_view) / whole.count
    assert [np.count_nonzero(p < first_view) / count for p in (first, other)] == pytest.approx([part] * 2, abs=0.1)


@pytest.mark.parametrize(("size", "count"), [(10, 10), (10, 11), (10, 3), (1000, 999), (7, 1)])
def test_a_sample_has_one_of_each_part(size: int, count: int) -> None:
    pixels = np.arange(100, 100 + size, dtype=np.int32)
    found = sampled(pixels, count, seed=3)
    assert found.size == min(size, count) and (np.diff(found) > 0).all()
    if count < size:
        edges = 100 + np.arange(count + 1) * size // count
        assert (edges[:-1] <= found).all() and (found < edges[1:]).all()
