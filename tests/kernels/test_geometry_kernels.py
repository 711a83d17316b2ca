"""Random numbers, pixels to rays, targets and direction encoding, against NumPy twins, on the backend under test."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import reference
from backends import down, fog, ints, look_at, runtime, small_layout, unset, up
from taichi_vvc.kernels import geometry, quantize

from taichi_vvc.field.render import Workspace, camera_table, make_rays, render
from taichi_vvc.geometry.projection import is_strong, pixel_directions, pixels_with_rays
from taichi_vvc.types import Bounds

COUNTERS = [(0, 0, 0), (1, 2, 3), (7919, 499, 16383), (2**31 - 1, -1, 12345), (-5, 2**31 - 1, 0)]
# Upper 24 bits of the hash of each of COUNTERS. A stream is fitted with these numbers, so they may not change.
PINNED = [0xB888F1, 0x23E905, 0x167CEB, 0xAFDD95, 0x0EBDED]


def numbers_of(seed: int, step: int, count: int) -> np.ndarray:
    """uniform(seed, step, 0 ... count - 1), by way of the quantiser's noise, which is that less a half."""
    noise, zeros = unset(count), up(np.zeros(count))
    where = ints(np.arange(count))
    quantize.quantize_fwd(0, count, quantize.NOISE, 1.0, 0.0, seed, step, zeros, zeros, where, noise, unset(count))
    return down(noise, count) + np.float32(0.5)


def draw(count: int, candidates: np.ndarray, seed: int, step: int) -> np.ndarray:
    """``count`` drawn pixels."""
    pixels = ints(np.full(count, -1))
    geometry.draw_pixels(count, ints(candidates), len(candidates), seed, step, pixels)
    return down(pixels, count)


@pytest.mark.parametrize(("counters", "bits"), list(zip(COUNTERS, PINNED, strict=True)))
def test_uniform_is_pinned(counters: tuple[int, int, int], bits: int) -> None:
    seed, iteration, i = counters
    assert reference.hash_u32(*counters) >> 8 == bits
    # The noise of symbol i is uniform(seed, iteration, i) - 1/2, which float32 holds exactly.
    noise, values = unset(i + 1), unset(1)
    zeros, place = up(np.zeros(i + 1)), ints(np.zeros(i + 1))
    quantize.quantize_fwd(i, i + 1, quantize.NOISE, 1.0, 0.0, seed, iteration, zeros, zeros, place, noise, values)
    assert (down(noise)[i] + 0.5) * 2**24 == bits


def test_uniform_equals_its_twin_and_stays_in_range() -> None:
    numbers = numbers_of(41, 7, 2100)
    assert numbers.tolist() == [reference.uniform(41, 7, i) for i in range(2100)]
    assert numbers.min() >= 0 and numbers.max() < 1
    # Mean and variance of 2100 uniform numbers, within five standard errors.
    assert abs(numbers.mean() - 0.5) < 5 * np.sqrt(1 / 12 / 2100)
    assert abs(numbers.var() - 1 / 12) < 5 * np.sqrt(1 / 180 / 2100)


def test_each_counter_changes_the_numbers() -> None:
    first = numbers_of(1, 2, 300)
    for other in (numbers_of(2, 2, 300), numbers_of(1, 3, 300), np.roll(first, 1)):
        assert np.mean(first == other) < 0.01
        # The correlation of 300 independent pairs has a standard deviation of 0.06.
        assert abs(np.corrcoef(first, other)[0, 1]) < 0.3


def parts_of(candidates: int, count: int) -> np.ndarray:
    """First candidate of each part, and the end of the last."""
    whole, rest = divmod(candidates, count)
    return np.concatenate([[0], np.cumsum([whole + (i < rest) for i in range(count)])])


@pytest.mark.parametrize("step", [0, 1, 11, 2**20 + 3])
def test_drawn_pixels_equal_their_twin_and_repeat(step: int) -> None:
    candidates = np.random.default_rng(4).permutation(5007)
    first = parts_of(5007, 500)
    expected = []
    for i in range(500):
        place = (reference.hash_u32(3, 0, i) + step * 0x9E3779B9) % 2**32 >> 8
        within = np.float32(place / 2**24) * np.float32(first[i + 1] - first[i])
        expected.append(candidates[first[i] + min(int(within), first[i + 1] - first[i] - 1)])
    assert draw(500, candidates, 3, step).tolist() == expected
    assert draw(500, candidates, 3, step).tolist() == expected


def test_every_part_is_drawn_from_and_soon_in_full() -> None:
    draws = np.array([draw(300, np.arange(2400), 9, step) for step in range(21)])
    assert (draws // 8 == np.arange(300)).all()
    # Multiples of the golden ratio: among 21 of them no two neighbours are further apart than 0.09.
    assert np.unique(draws).size == 2400
    assert np.unique(draws[:8]).size > 0.75 * 2400
    assert np.mean(draw(300, np.arange(2400), 8, 0) == draws[0]) < 0.25


@pytest.mark.parametrize("count", [5, 13, 2000])
def test_few_candidates_are_drawn_about_equally_often(count: int) -> None:
    candidates = np.array([3, 9, 4, 1000, 70])
    numbers, counts = np.unique(draw(count, candidates, 0, 0), return_counts=True)
    assert numbers.tolist() == sorted(candidates)
    assert counts.max() - counts.min() <= 1


LAYOUT = small_layout()
CELL = LAYOUT.bounds.largest_side / max(LAYOUT.occupancy)
CAMERAS = [
    look_at((3.0, 1.0, 2.4), (0.0, 1.2, 2.5), (7, 5), 9.0, fy=8.0, cx=3.1, name="plain"),
    look_at((-2.0, -1.0, 4.0), (0.1, 1.0, 2.4), (4, 6), 6.0, k1=-0.2, k2=0.05, p1=0.01, p2=-0.02, name="distorted"),
    look_at((0.2, 1.0, 2.5), (1.0, 1.1, 2.6), (5, 3), 4.0, k1=0.1, name="inside the bounds"),
    look_at((5.0, 5.0, 5.0), (9.0, 9.0, 9.0), (3, 3), 9.0, name="looking away"),
]


def all_rays() -> tuple[np.ndarray, list[tuple[int, int, int]]]:
    """(n, 8) rays of every pixel of CAMERAS in a shuffled order, and the camera, column and row of each."""
    where = [(c, x, y) for c, camera in enumerate(CAMERAS) for y in range(camera.height) for x in range(camera.width)]
    order = np.random.default_rng(0).permutation(len(where))
    ws = Workspace(runtime())
    make_rays(ws, LAYOUT, camera_table(ws.runtime, LAYOUT, CAMERAS), ints(order), len(order))
    return down(ws.rays.array, len(order), 8), [where[i] for i in order]


def test_rays_pass_through_their_pixels() -> None:
    rays, where = all_rays()
    for ray, (c, column, row) in zip(rays.astype(np.float64), where, strict=True):
        camera = CAMERAS[c]
        np.testing.assert_allclose(ray[:3] * CELL + LAYOUT.bounds.lower, camera.position, atol=1e-5)
        assert np.linalg.norm(ray[3:6]) == pytest.approx(1, abs=1e-6)
        x, y, z = camera.rotation.T @ ray[3:6]
        assert z > 0
        u, v = reference.distort(x / z, y / z, camera.k1, camera.k2, camera.p1, camera.p2)
        # A thousandth of a pixel: float32 coordinates of order 1, and 20 rounds of a contraction in the inverse.
        assert u * camera.fx + camera.cx == pytest.approx(column + 0.5, abs=1e-3)
        assert v * camera.fy + camera.cy == pytest.approx(row + 0.5, abs=1e-3)


WIDE = look_at((0.0, 1.2, 9.0), (-0.2, 1.4, 2.5), (96, 54), 80.0)
# Folds inside the picture, the last one but for it; its fixed-point iteration does not converge.
STRONG = [(0.028, -1.49, 0.0, 0.0), (0.028, -1.49, 0.01, -0.02), (-0.8, 0.1, 0.0, 0.0), (4.0, 3.0, 0.0, 0.01)]


@pytest.mark.parametrize("lens", STRONG, ids=str)
def test_strong_lenses_have_the_rays_of_the_host_or_none(lens: tuple[float, ...]) -> None:
    k1, k2, p1, p2 = lens
    camera, count = replace(WIDE, k1=k1, k2=k2, p1=p1, p2=p2), WIDE.width * WIDE.height
    assert is_strong(camera) and not is_strong(WIDE) and not is_strong(CAMERAS[1])
    ws, layout = Workspace(runtime()), replace(LAYOUT, bounds=Bounds((-9.0, -9.0, 0.0), (9.0, 9.0, 4.0)))
    table = camera_table(ws.runtime, layout, [WIDE, camera])
    make_rays(ws, layout, table, ints(np.arange(2 * count)), 2 * count)
    rays = down(ws.rays.array, 2 * count, 8).astype(np.float64)
    pixels = np.stack(np.meshgrid(np.arange(96) + 0.5, np.arange(54) + 0.5), axis=-1).reshape(-1, 2)
    expected = pixel_directions(camera, pixels)
    seen = np.isfinite(expected[:, 0])
    assert seen.all() == (lens == STRONG[-1]) and 0.6 < seen.mean()
    assert np.isfinite(rays[:, :6]).all()
    beyond, within = rays[count:][~seen], rays[count:][seen]
    assert (beyond[:, 6] > beyond[:, 7]).all() and (within[:, 6] < within[:, 7]).mean() > 0.9
    # Float32; at a fold the ray turns ever faster over the pixel.
    off = np.linalg.norm(within[:, 3:6] - expected[seen], axis=1)
    assert np.median(off) < 3e-7 and np.quantile(off, 0.98) < 5e-6 and off.max() < 5e-3
    np.testing.assert_allclose(rays[:count, 3:6], pixel_directions(WIDE, pixels), atol=1e-6)


def test_pixels_without_a_ray_show_the_background() -> None:
    field = fog(replace(LAYOUT, bounds=Bounds((-9.0, -9.0, 0.0), (9.0, 9.0, 8.0))))
    k1, k2, p1, p2 = STRONG[1]
    camera = replace(WIDE, k1=k1, k2=k2, p1=p1, p2=p2).resized(32, 18)  # few enough samples for memory to be watched
    picture, seen = render(field, camera, (0.2, 0.4, 0.6)), pixels_with_rays(camera)
    assert seen is not None
    assert (picture.opacity[~seen] == 0).all() and (picture.depth[~seen] == 0).all()
    np.testing.assert_allclose(picture.colour[~seen], np.broadcast_to([0.2, 0.4, 0.6], ((~seen).sum(), 3)), atol=1e-6)
    assert (picture.opacity[seen] > 0).mean() > 0.9


def test_rays_are_clipped_to_the_bounds() -> None:
    rays, where = all_rays()
    size = np.array(LAYOUT.occupancy, np.float64)
    hits = []
    for ray, (c, _, _) in zip(rays.astype(np.float64), where, strict=True):
        near, far = reference.box_interval(ray[:3], ray[3:6], size)
        hits.append(near < far)
        assert (ray[6] < ray[7]) == (near < far)
        if near < far:
            # Distances of order 10 cells in float32, divided by direction cosines down to 0.01.
            assert ray[6:] == pytest.approx([near, far], abs=1e-3)
            assert (ray[6] == 0) == (CAMERAS[c].name == "inside the bounds")
        assert (CAMERAS[c].name == "looking away") <= (near >= far)
    assert 10 < sum(hits) < len(hits) - 10


def test_axis_parallel_rays() -> None:
    camera = look_at((0.0, 1.2, 9.0), (0.0, 1.2, 0.0), (1, 1), 5.0)
    flat = np.round(camera.rotation)
    beside = camera.position + [0.0, 5.0, 0.0]
    cameras = [type(camera)(**{**vars(camera), "rotation": flat, "position": p}) for p in (camera.position, beside)]
    ws = Workspace(runtime())
    make_rays(ws, LAYOUT, camera_table(ws.runtime, LAYOUT, cameras), ints([0, 1]), 2)
    inside, outside = down(ws.rays.array, 2, 8)
    assert inside[6:] * CELL == pytest.approx([6.0, 7.0], abs=1e-5)
    assert outside[6] > outside[7]


def test_targets_are_composited_over_the_background() -> None:
    rng = np.random.default_rng(2)
    image = rng.integers(0, 256, (30, 4), np.uint8)
    image[:2, 3] = 0, 255
    pixels = rng.integers(0, 30, 50)
    pixels[:2] = 0, 1
    behind, targets = np.array([0.2, 0.4, 0.6]), unset(200)
    geometry.targets_of_pixels(50, ints(pixels), ints(image.view("<i4").reshape(-1)), *behind, targets)
    straight = image[pixels].astype(np.float64) / 255
    over = straight[:, :3] * straight[:, 3:] + behind * (1 - straight[:, 3:])
    # Three roundings of numbers of at most 1 (division on a GPU: 2.5 units in the last place).
    found = down(targets, 50, 4)
    np.testing.assert_allclose(found, np.concatenate([over, 1 - straight[:, 3:]], axis=1), atol=1e-6)
    np.testing.assert_allclose(found[:2], [[0.2, 0.4, 0.6, 1], [*straight[1, :3], 0]], atol=1e-6)


@pytest.mark.parametrize("octaves", [0, 1, 4])
def test_directions_are_encoded(octaves: int) -> None:
    rng = np.random.default_rng(3)
    directions = rng.standard_normal((9, 3))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    rays = np.concatenate([rng.standard_normal((9, 3)), directions, rng.standard_normal((9, 2))], axis=1)
    width = 3 + 6 * octaves
    encoded = unset(9 * width)
    geometry.encode_directions(9, up(rays), octaves, encoded)
    expected = [reference.encode_direction(d, octaves) for d in directions]
    # GPU sines of arguments up to 8 are good to 2^-11 by the Vulkan specification; the others are far better.
    np.testing.assert_allclose(down(encoded, 9, width), expected, atol=6e-4)
