"""Lenses whose distortion polynomial folds back inside the picture: pixels beyond the fold are ignored everywhere."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import captures
import numpy as np
import pytest
import tiny
from PIL import Image

from taichi_vvc.capture.bounds import bounds_from_masks
from taichi_vvc.capture.hull import visual_hull
from taichi_vvc.capture.readers.lens import undistortion
from taichi_vvc.capture.sequence import open_capture
from taichi_vvc.config import EncoderConfig, layout_of
from taichi_vvc.encode import encode
from taichi_vvc.encoder.trusted_views import trusted_views
from taichi_vvc.errors import DataError
from taichi_vvc.geometry.projection import (
    distort,
    distortion_limit,
    pixel_directions,
    pixels_with_rays,
    project,
    undistort,
)
from taichi_vvc.measure.estimate import work_of
from taichi_vvc.measure.evaluate import compare, evaluate
from taichi_vvc.measure.survey import survey
from taichi_vvc.media.pictures import edge_colour
from taichi_vvc.types import Bounds, Camera, View

FOLDED = (0.028, -1.49, 0.0, 0.0)
# Of captures.ring_cameras: folds at a radius of 0.33, within the picture, whose sides are at 0.325 of a plain lens.
CLOSE = (0.0, -16.8, 0.01, -0.005)


def camera_of(lens: tuple[float, ...]) -> Camera:
    return Camera("cam00", 192, 108, 160.0, 160.0, 96.0, 54.0, np.eye(3), np.zeros(3), *lens)


def determinant(camera: Camera, u: np.ndarray, v: np.ndarray, width: float = 1e-6) -> np.ndarray:
    """Of the Jacobian of the distortion, by central differences."""
    right, left = distort(camera, u + width, v), distort(camera, u - width, v)
    below, above = distort(camera, u, v + width), distort(camera, u, v - width)
    along = [(a - b) / (2 * width) for a, b in zip(right, left, strict=True)]
    across = [(a - b) / (2 * width) for a, b in zip(below, above, strict=True)]
    return along[0] * across[1] - along[1] * across[0]


@pytest.mark.parametrize(
    "lens",
    [FOLDED, (-0.8, 0.1, 0.0, 0.0), (-0.4, 0.0, 0.02, -0.01), (0.3, -0.7, 0.0, 0.2), (0.0, 0.0, 0.1, 0.1)]
    + [(0.05, -0.02, -0.15, 0.3), (2.0, -1.0, 0.9, 0.1)],
    ids=str,
)
def test_the_limit_is_where_the_determinant_changes_sign(lens: tuple[float, ...]) -> None:
    camera = camera_of(lens)
    limit = math.sqrt(distortion_limit(camera))
    angles, radii = np.linspace(0, 2 * np.pi, 1441), np.linspace(0, 0.999, 400)[:, None]
    inside = determinant(camera, limit * radii * np.cos(angles), limit * radii * np.sin(angles))
    assert inside.min() > 0
    beyond = determinant(camera, 1.002 * limit * np.cos(angles), 1.002 * limit * np.sin(angles))
    assert beyond.min() < 0


# What OpenCV 5.0's undistortPoints makes of pixels of camera_of(lens), by 5000 iterations.
PIXELS = [(96.5, 54.5), (120.5, 30.5), (20.5, 60.5), (96.5, 0.5), (40.5, 10.5), (150.5, 104.5)]
OPENCV = {
    FOLDED: [(0.003124998, 0.003124998), (0.153397493, -0.147136371), (-0.532163387, 0.045815391)]
    + [(0.003178037, -0.340049942), (-0.372324592, -0.291821977), (0.377068734, 0.349393965)],
    (0.028, -1.49, 0.01, -0.02): [(0.003125584, 0.003124998), (0.155788004, -0.14899774), (-0.500156012, 0.040826387)]
    + [(0.005632038, -0.344049975), (-0.362226361, -0.289748538), (0.392051934, 0.354256409)],
    (-0.3, 0.1, 0.005, 0.004): [(0.003124764, 0.003124745), (0.155100333, -0.149184738), (-0.511728139, 0.042531284)]
    + [(0.002744956, -0.348357679), (-0.373317179, -0.293050851), (0.361605196, 0.334730981)],
}


@pytest.mark.parametrize("lens", OPENCV, ids=str)
def test_rays_agree_with_opencv(lens: tuple[float, ...]) -> None:
    expected = np.concatenate((OPENCV[lens], np.ones((len(PIXELS), 1))), axis=1)
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    found = pixel_directions(camera_of(lens), np.array(PIXELS))
    angles = np.degrees(np.linalg.norm(np.cross(expected, found), axis=1))
    assert angles.max() < 2e-6


@pytest.mark.parametrize("lens", [FOLDED, (0.028, -1.49, 0.01, -0.02), (-0.8, 0.1, 0.0, 0.0)], ids=str)
def test_a_pixel_has_a_ray_that_lands_there_or_none(lens: tuple[float, ...]) -> None:
    camera = camera_of(lens)
    x, y = np.meshgrid(np.arange(192) + 0.5, np.arange(108) + 0.5)
    ud, vd = (x - 96) / 160, (y - 54) / 160
    u, v = undistort(camera, ud, vd)
    seen = pixels_with_rays(camera)
    assert seen is not None and 0.6 < seen.mean() < 0.8
    assert (np.isfinite(u) == seen).all() and (np.isfinite(v) == seen).all()
    again = distort(camera, u[seen], v[seen])
    assert np.hypot(again[0] - ud[seen], again[1] - vd[seen]).max() < 1e-12
    assert (u[seen] ** 2 + v[seen] ** 2).max() < distortion_limit(camera)
    # No point within the limit lands on a pixel without a ray.
    edge = 0.9999 * math.sqrt(distortion_limit(camera))
    angles = np.linspace(0, 2 * np.pi, 5000)
    rim = np.stack(distort(camera, edge * np.cos(angles), edge * np.sin(angles)), axis=1) * 160 + [96, 54]
    pixels = np.floor(rim).astype(int)
    pixels = pixels[(pixels >= 0).all(axis=1) & (pixels < [192, 108]).all(axis=1)]
    near = np.zeros_like(seen)
    near[pixels[:, 1], pixels[:, 0]] = True
    border = (seen[:, 1:] != seen[:, :-1]) & ~(near[:, 1:] | near[:, :-1])
    assert not border.any(), "the border between pixels with and without a ray is the image of the limit"


def test_the_share_of_the_first_example() -> None:
    seen = pixels_with_rays(camera_of(FOLDED))
    assert seen is not None and 1 - seen.mean() == pytest.approx(0.2535, abs=1e-4)
    assert pixels_with_rays(camera_of((-0.3, 0.1, 0.005, 0.004))) is None
    assert pixels_with_rays(camera_of((0.0, 0.0, 0.0, 0.0))) is None
    assert pixels_with_rays(replace(camera_of(FOLDED), fx=400.0, fy=400.0)) is None, "folds outside the picture"


def test_single_pixels() -> None:
    camera = camera_of(FOLDED)
    assert np.isfinite(pixel_directions(camera, np.array([96.5, 54.5]))).all()
    assert np.isnan(pixel_directions(camera, np.array([0.5, 0.5]))).all()
    assert np.isnan(project(camera, np.array([2.0, 0.0, 1.0]))[0]).all()


def folded_capture(folder: Path, noise: int | None, masks: str | None = "alpha") -> Path:
    """A capture of ``CLOSE`` lenses; with ``noise``, the seed of what pixels without a ray show."""
    captures.write_capture(folder, cameras=6, frames=1, size=48, lens=CLOSE, masks=masks)
    if noise is None:
        return folder
    rng = np.random.default_rng(noise)
    for camera in captures.ring_cameras(6, 48, lens=CLOSE):
        seen = pixels_with_rays(camera)
        assert seen is not None and 0.1 < 1 - seen.mean() < 0.6
        file = folder / "images" / camera.name / "0000.png"
        image = np.array(Image.open(file))
        image[~seen] = rng.integers(0, 256, (int((~seen).sum()), image.shape[2]))
        Image.fromarray(image).save(file)
    return folder


@pytest.mark.parametrize("masks", ["alpha", None], ids=["masks", "no masks"])
def test_what_pixels_without_a_ray_show_takes_part_in_nothing(tmp_path: Path, masks: str | None) -> None:
    files, told, figures = [], [], []
    config = EncoderConfig(**tiny.ONE_LEVEL)
    for noise in (1, 2):
        capture = folded_capture(tmp_path / f"{noise}", noise, masks)
        sequence = open_capture(capture)
        told.append([m for m in sequence.messages if "no ray" in m])
        file = tmp_path / f"{noise}.tvvc"
        stats = list(encode(sequence, config, file))
        files.append(file.read_bytes())
        figures.append((stats[0].psnr, *evaluate(file, capture)["per_frame"][0].values()))
        assert all(math.isfinite(value) for value in figures[-1] if isinstance(value, float))
        views = sequence.frame(0).views
        figures[-1] += (edge_colour(views), work_of(config, sequence.bounds, views))
        figures[-1] += tuple(w for w in survey(sequence)["warnings"] if "exposure" in w or "cut" in w)
    assert files[0] == files[1] and figures[0] == figures[1]
    assert told[0] == told[1] and len(told[0]) == 1
    assert "% of camera cam0" in told[0][0] and "k1, k2, p1, p2" in told[0][0]


def test_bounds_and_warnings_do_not_look_there(tmp_path: Path) -> None:
    small = Bounds((-0.5, -0.5, -0.5), (0.3, 0.5, 0.3))
    found, told = [], []
    for name, noise in (("clear", None), ("noisy", 3)):
        sequence = open_capture(folded_capture(tmp_path / name, noise), bounds=small)
        told.append(survey(sequence)["warnings"])
        found.append(bounds_from_masks([sequence.frame(0).views]))
    assert found[0] is not None and found[0] == found[1]
    assert told[0] == told[1] and any("bounds cut the masks" in line for line in told[0])


def test_a_mask_of_nothing_but_pixels_without_rays_is_empty(tmp_path: Path) -> None:
    sequence = open_capture(folded_capture(tmp_path, None))
    views = list(sequence.frame(0).views)
    seen = pixels_with_rays(views[0].camera)
    assert seen is not None
    blind = np.where(seen[..., None], 0, 255).astype(np.uint8).repeat(4, axis=2)
    views[0] = replace(views[0], image=blind)
    layout = layout_of(EncoderConfig(**tiny.ONE_LEVEL), sequence.bounds, sequence.cameras)
    # It would carve away what all others see.
    assert [v.camera.name for v in trusted_views(layout, tuple(views))] == [v.camera.name for v in views[1:]]


def test_ordinary_captures_are_told_nothing(tmp_path: Path) -> None:
    captures.write_capture(tmp_path, cameras=3, frames=1, size=24, lens=(-0.3, 0.1, 0.005, 0.004))
    assert not [m for m in open_capture(tmp_path).messages if "ray" in m]


def test_what_cannot_be_seen_is_not_carved(tmp_path: Path) -> None:
    sequence = open_capture(folded_capture(tmp_path, None))
    views = list(sequence.frame(0).views)
    empty = replace(views[0], image=np.zeros_like(views[0].image))
    cells = (24, 24, 24)
    carved = ~visual_hull([empty], captures.BOUNDS, cells)
    centres = np.stack(np.meshgrid(*(np.arange(24),) * 3, indexing="ij"), axis=-1).reshape(-1, 3) / 12 + 1 / 24 - 1
    local = (centres - empty.camera.position) @ empty.camera.rotation
    radius = np.linalg.norm(local[:, :2] / local[:, 2:], axis=1).reshape(24, 24, 24).transpose(2, 1, 0)
    limit = math.sqrt(distortion_limit(empty.camera))
    assert carved.any() and not carved[radius >= limit].any()
    assert (radius >= limit).sum() > 50


def test_figures_are_those_of_the_pixels_that_have_rays() -> None:
    camera, rng = camera_of(FOLDED), np.random.default_rng(0)
    seen = pixels_with_rays(camera)
    assert seen is not None
    image = rng.integers(0, 256, (108, 192, 4), np.uint8)
    image[..., 3] = 255
    # A foreground takes a mask.
    y, x = np.argwhere(~seen)[0]
    image[y, x, 3] = 0
    error = rng.normal(0, 0.1, (108, 192, 3)).astype(np.float32)
    picture = image[..., :3] / np.float32(255) + error
    found = compare(View(camera, image), picture, (1.0, 1.0, 1.0))
    assert found.psnr == pytest.approx(-10 * math.log10(float((error[seen].astype(float) ** 2).mean())), abs=1e-4)
    assert found.psnr_foreground == pytest.approx(found.psnr, abs=1e-6)
    # The same noise everywhere is worth the same similarity, whatever part of it is looked at.
    whole = compare(View(replace(camera, k1=0.0, k2=0.0), image), picture, (1.0, 1.0, 1.0))
    assert found.ssim == pytest.approx(whole.ssim, abs=0.01)


def test_pictures_with_k3_are_not_resampled_beyond_the_fold() -> None:
    camera = replace(camera_of((0.0, 0.0, 0.0, 0.0)), fx=220.0, fy=220.0)
    k3 = -1.0 / (7 * 0.46**6)
    lens = undistortion(camera, k3, "cam00")
    corner = math.hypot(96, 54) / lens.camera.fx
    assert corner**2 < distortion_limit(camera, k3) and corner > 0.45
    with pytest.raises(DataError, match="folds back inside the picture"):
        undistortion(camera, -1.0 / (7 * 0.25**6), "cam00")
