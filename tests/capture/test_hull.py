"""The visual hull: conservative, tight, correct under distortion, and equal to a brute-force projection."""

from __future__ import annotations

from dataclasses import replace

import captures
import numpy as np
import pytest

from taichi_vvc.capture.hull import carve, visual_hull
from taichi_vvc.geometry.projection import (
    closest_point,
    distort,
    distortion_limit,
    inside_image,
    pixel_directions,
    project,
    undistort,
)
from taichi_vvc.types import Bounds, Camera, View

LENS = (-0.15, 0.06, 0.004, -0.003)
CELLS = (24, 20, 22)


def views(count: int = 9, size: int = 72, lens: tuple[float, ...] = (0, 0, 0, 0), time: float = 0) -> list[View]:
    return [View(c, captures.trace(c, time)) for c in captures.ring_cameras(count, size, 0, lens)]


def centres(bounds: Bounds, cells: tuple[int, int, int]) -> np.ndarray:
    """(nz, ny, nx, 3) world."""
    z, y, x = np.meshgrid(*(np.arange(n) + 0.5 for n in reversed(cells)), indexing="ij")
    return np.asarray(bounds.lower) + np.stack((x, y, z), -1) / np.array(cells) * bounds.size


@pytest.mark.parametrize("lens", [(0, 0, 0, 0), LENS])
def test_every_cell_that_holds_something_is_kept(lens: tuple[float, ...]) -> None:
    kept = visual_hull(views(lens=lens), captures.BOUNDS, CELLS)
    assert kept.shape == CELLS[::-1] and kept.dtype == bool
    points = centres(captures.BOUNDS, CELLS)
    half = 0.5 * captures.BOUNDS.size / np.array(CELLS)
    for centre, radius, _ in captures.spheres(0):
        nearest = np.clip(centre, points - half, points + half)
        holds = ((nearest - centre) ** 2).sum(-1) < radius**2
        assert holds.sum() > 50 and kept[holds].all()


@pytest.mark.parametrize("lens", [(0, 0, 0, 0), LENS])
def test_cells_far_from_the_subject_are_carved(lens: tuple[float, ...]) -> None:
    kept = visual_hull(views(lens=lens), captures.BOUNDS, CELLS)
    points = centres(captures.BOUNDS, CELLS)
    gaps = [np.linalg.norm(points - centre, axis=-1) - radius for centre, radius, _ in captures.spheres(0)]
    away = np.minimum(*gaps) > 0.3
    assert away.mean() > 0.4 and kept[away].mean() < 0.01


def test_agrees_with_projected_samples_of_each_cell() -> None:
    """Brute force: a cell with any of 6^3 samples on silhouettes (or off the image) in all views must be kept; cells
    that are kept beyond that come within a few pixels of the silhouette or the image's border in every view."""
    chosen = views(5, 40)
    cells = (12, 12, 12)
    kept = visual_hull(chosen, captures.BOUNDS, cells, margin_px=0.0)
    steps = (np.arange(6) + 0.5) / 6 - 0.5
    offsets = np.stack(np.meshgrid(steps, steps, steps, indexing="ij"), -1).reshape(-1, 3)
    samples = centres(captures.BOUNDS, cells)[..., None, :] + offsets * captures.BOUNDS.size / np.array(cells)
    strict = np.ones(kept.shape, bool)
    loose = np.ones(kept.shape, bool)
    for view in chosen:
        mask = view.image[..., 3] > 0
        thick = np.array(
            [[mask[max(0, r - 4) : r + 5, max(0, c - 4) : c + 5].any() for c in range(40)] for r in range(40)]
        )
        pixels, _ = project(view.camera, samples)
        off = ~inside_image(view.camera, pixels)
        x, y = (np.clip(np.nan_to_num(pixels[..., k]).astype(int), 0, 39) for k in (0, 1))
        strict &= (off | mask[y, x]).any(-1)
        near_border = ~inside_image(view.camera, 20.0 + (pixels - 20.0) * 20.0 / 16.0)
        loose &= (near_border | thick[y, x]).any(-1)
    assert strict.any() and not strict.all()
    assert kept[strict].all()
    assert not kept[~loose].any()


def test_margin_only_adds() -> None:
    chosen = views(6, 40)
    none, two = (visual_hull(chosen, captures.BOUNDS, CELLS, margin_px=m) for m in (0.0, 2.0))
    assert two[none].all() and two.sum() > none.sum()


def test_more_views_only_carve() -> None:
    chosen = views(8, 40)
    few, many = visual_hull(chosen[:3], captures.BOUNDS, CELLS), visual_hull(chosen, captures.BOUNDS, CELLS)
    assert few[many].all() and many.sum() < few.sum()


def test_views_without_masks_carve_nothing() -> None:
    camera = captures.ring_cameras(1, 32)[0]
    opaque = View(camera, np.full((32, 32, 4), 255, np.uint8))
    assert visual_hull([opaque], captures.BOUNDS, (8, 8, 8)).all()
    assert visual_hull([], captures.BOUNDS, (3, 4, 5)).shape == (5, 4, 3)
    assert visual_hull([], captures.BOUNDS, (3, 4, 5)).all()


def test_an_empty_silhouette_carves_what_the_camera_sees_and_nothing_else() -> None:
    camera = captures.ring_cameras(1, 32)[0]
    empty = View(camera, np.zeros((32, 32, 4), np.uint8))
    assert not visual_hull([empty], Bounds((-0.2,) * 3, (0.2,) * 3), (8, 8, 8)).any()
    ahead = camera.rotation[:, 2]
    behind = camera.position - 3.0 * ahead
    box = Bounds(tuple(behind - 0.5), tuple(behind + 0.5))
    assert visual_hull([empty], box, (8, 8, 8)).all()
    around = Bounds(tuple(camera.position - 0.5), tuple(camera.position + 0.5))
    kept = visual_hull([empty], around, (9, 9, 9))
    assert kept[4, 4, 4] and kept.mean() > 0.5, "the cells at and behind the camera"


def test_touched_counts_views() -> None:
    chosen = views(7, 40)
    kept, touched = carve(chosen, captures.BOUNDS, CELLS)
    centre = captures.spheres(0)[0][0]
    x, y, z = ((centre + 1.0) / 2.0 * np.array(CELLS)).astype(int)
    assert touched[z, y, x] == 7
    assert (touched[~kept] == 0).all()


def test_strong_distortion_does_not_fold_points_into_the_image() -> None:
    """With k1 < 0 the polynomial comes back: points far off the axis would land in the image."""
    camera = Camera("c", 64, 64, 40.0, 40.0, 32.0, 32.0, np.eye(3), np.zeros(3), k1=-0.3)
    limit = distortion_limit(camera)
    assert limit == pytest.approx(1 / 0.9)
    pixels, _ = project(camera, np.array([[1.8, 0.0, 1.0], [0.5, 0.0, 1.0], [0.0, 0.0, -1.0]]))
    assert np.isnan(pixels[0]).all() and np.isnan(pixels[2]).all()
    assert pixels[1, 0] == pytest.approx(32 + 40 * 0.5 * (1 - 0.3 * 0.25))
    empty = View(camera, np.zeros((64, 64, 4), np.uint8))
    assert visual_hull([empty], Bounds((1.7, -0.1, 0.9), (1.9, 0.1, 1.1)), (2, 2, 2)).all()


def test_distortion_follows_the_published_polynomial() -> None:
    camera = Camera("c", 64, 48, 50.0, 52.0, 31.0, 25.0, np.eye(3), np.zeros(3), *LENS)
    u, v = 0.3, -0.2
    r2 = u * u + v * v
    k1, k2, p1, p2 = LENS
    radial = 1 + k1 * r2 + k2 * r2 * r2
    expected = (
        u * radial + 2 * p1 * u * v + p2 * (r2 + 2 * u * u),
        v * radial + p1 * (r2 + 2 * v * v) + 2 * p2 * u * v,
    )
    assert distort(camera, np.array(u), np.array(v)) == pytest.approx(expected)
    pixels, depth = project(camera, np.array([2 * u, 2 * v, 2.0]))
    np.testing.assert_allclose(pixels, [50 * expected[0] + 31, 52 * expected[1] + 25])
    assert depth == 2.0


@pytest.mark.parametrize("lens", [(0, 0, 0, 0), LENS, (0.2, -0.03, 0.0, 0.0)])
def test_rays_and_projection_are_inverse(lens: tuple[float, ...]) -> None:
    camera = captures.ring_cameras(5, (64, 48), 0, lens)[3]
    x, y = np.meshgrid(np.linspace(0, 64, 9), np.linspace(0, 48, 7))
    pixels = np.stack((x, y), -1)
    directions = pixel_directions(camera, pixels)
    np.testing.assert_allclose(np.linalg.norm(directions, axis=-1), 1.0)
    back, depth = project(camera, camera.position + 2.5 * directions)
    np.testing.assert_allclose(back, pixels, atol=1e-8)
    assert (depth > 0).all()
    u, v = undistort(camera, *distort(camera, np.array([0.21]), np.array([-0.3])))
    np.testing.assert_allclose([u[0], v[0]], [0.21, -0.3], atol=1e-12)


def test_closest_point() -> None:
    rig = captures.ring_cameras(6, 32)
    origins = np.stack([c.position for c in rig])
    point, condition = closest_point(origins, np.stack([c.rotation[:, 2] for c in rig]))
    np.testing.assert_allclose(point, 0.0, atol=1e-9)
    assert condition > 0.1
    parallel = np.tile([0.0, 0.0, 1.0], (6, 1))
    assert closest_point(origins, parallel)[1] == 0.0


def test_cells_need_not_divide_into_blocks() -> None:
    """Odd grids agree with the finer test done without blocks."""
    chosen = views(6, 48)
    one = visual_hull(chosen, captures.BOUNDS, (5, 7, 1))
    assert one.shape == (1, 7, 5) and one.any()
    shifted = [replace(v, camera=replace(v.camera, position=v.camera.position + 100.0)) for v in chosen]
    box = Bounds(tuple(np.array(captures.BOUNDS.lower) + 100), tuple(np.array(captures.BOUNDS.upper) + 100))
    same = visual_hull(shifted, box, CELLS) == visual_hull(chosen, captures.BOUNDS, CELLS)
    assert same.mean() > 0.999
