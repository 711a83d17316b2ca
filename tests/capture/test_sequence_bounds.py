"""Reduced pictures and their rays, and the search for bounds that a capture does not state."""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path

import captures
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from opening import fails, small_capture
from PIL import Image

from taichi_vvc.capture.bounds import bounds_from_cameras, bounds_from_masks
from taichi_vvc.capture.sequence import open_capture
from taichi_vvc.cli import run
from taichi_vvc.cli.capture import Box, describe_capture
from taichi_vvc.errors import ConfigError
from taichi_vvc.geometry.projection import pixel_directions
from taichi_vvc.media.images import area_reduce, reduced_size
from taichi_vvc.types import Bounds, Camera, View


@pytest.fixture(scope="module")
def capture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_capture(tmp_path_factory.mktemp("capture"))


def test_bounds_argument(capture: Path) -> None:
    box = Bounds((-0.5, -0.5, -0.5), (0.5, 0.5, 0.5))
    sequence = open_capture(capture, bounds=box)
    assert (sequence.bounds, sequence.bounds_source) == (box, "argument")
    fails(capture, "lower < upper", error=ConfigError, bounds=Bounds((0, 0, 0), (1, 0, 1)))
    fails(capture, "lower < upper", error=ConfigError, bounds=Bounds((0, 0, 0), (1, math.nan, 1)))
    fails(capture, "sees nothing", bounds=Bounds((60, 0, 0), (61, 1, 1)))


def test_tiny_and_huge_bounds_are_seen(capture: Path) -> None:
    open_capture(capture, bounds=Bounds((0.1, 0.1, 0.1), (0.101, 0.101, 0.101)))
    open_capture(capture, bounds=Bounds((-500, -500, -500), (500, 500, 500)))


@pytest.mark.parametrize(
    ("lower", "upper", "ranges"),
    [
        ((-0.6, -0.6, -0.1), (0.6, 0.6, 1.9), "-0.6..0.6, -0.6..0.6, -0.1..1.9"),
        (
            (9999.2763, -20000.5281, -4e-5),
            (10000.8114, -19999.3, 1.0),
            "9999.276..10000.811, -20000.528..-19999.3, 0..1",
        ),
        ((-7.24e-4, 0.0, 0.0), (8.111e-4, 120.0, 98765.4), "-0.000724..0.000811, 0..120, 0..98765"),
        ((0.0, 1e12, -3e-9), (2e10, 1.0001e12, 4e-9), "0..2e+10, 1e+12..1.0001e+12, -3e-09..4e-09"),
    ],
)
def test_a_box_is_told_to_a_thousandth_of_its_sides(
    lower: tuple[float, float, float], upper: tuple[float, float, float], ranges: str
) -> None:
    box = Bounds(lower, upper)
    assert box.ranges() == ranges
    pairs = [text.split("..") for text in ranges.split(", ")]
    low, high = (", ".join(pair[end] for pair in pairs) for end in (0, 1))
    assert box.corners() == f"({low}) to ({high})"
    again = Box().convert(box.option().removeprefix("--bounds="), None, None)
    for ends in ("lower", "upper"):
        assert (np.abs(np.subtract(getattr(again, ends), getattr(box, ends))) <= 1e-3 * box.size).all()


def test_bounds_far_from_the_origin_can_be_put_back(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = captures.write_capture(tmp_path / "far", cameras=6, frames=1, size=48, bounds=False)
    document = captures.read_document(folder)
    for record in document["frames"]:
        for row, shift in zip(record["transform_matrix"], (1e4, -2e4, 3e4), strict=False):
            row[3] += shift
    captures.write_document(folder, document)
    found = open_capture(folder)
    option = found.messages[0].partition("frame: ")[2].split()
    assert option[0].startswith("--bounds=") and len(option) == 1
    assert run(["inspect", str(folder), *option, "--json"]) == 0
    lower, upper = json.loads(capsys.readouterr().out)["bounds"]
    slack = 1e-3 * found.bounds.size
    assert (np.abs(np.subtract(lower, found.bounds.lower)) <= slack).all()
    assert (np.abs(np.subtract(upper, found.bounds.upper)) <= slack).all()
    assert run(["inspect", str(folder)]) == 0
    out = capsys.readouterr().out
    assert " ".join(option) in out and found.bounds.ranges() in out and found.bounds.ranges() in describe_capture(found)


# ---- downscaling


def test_downscale_keeps_the_rays(capture: Path) -> None:
    """A reduced camera's pixel corners see what the full camera's corresponding points see."""
    for factor in (2, 3, 4):
        full, small = open_capture(capture).cameras[1], open_capture(capture, downscale=factor).cameras[1]
        assert (small.width, small.height) == reduced_size(40, 32, factor)
        corners = np.array([[0, 0], [small.width, small.height], [1, 2]], float)
        scaled = corners * [40 / small.width, 32 / small.height]
        np.testing.assert_allclose(pixel_directions(small, corners), pixel_directions(full, scaled), atol=1e-12)


def test_downscaled_pictures_are_alpha_weighted_averages(capture: Path) -> None:
    image = open_capture(capture).frame(0).views[0].image.astype(float)
    small = open_capture(capture, downscale=2).frame(0).views[0].image
    blocks = image.reshape(16, 2, 20, 2, 4).transpose(0, 2, 1, 3, 4).reshape(16, 20, 4, 4)
    alpha = blocks[..., 3].sum(-1)
    rgb = (blocks[..., :3] * blocks[..., 3:]).sum(2) / np.maximum(alpha, 1)[..., None]
    assert np.abs(small[..., :3] - rgb)[small[..., 3] > 0].max() <= 0.5 + 1e-4
    assert np.abs(small[..., 3] - alpha / 4).max() <= 0.5


def test_transparent_pixels_do_not_bleed() -> None:
    image = np.zeros((2, 2, 4), np.uint8)
    image[0, 0] = (200, 100, 50, 255)
    image[1, 1] = (255, 255, 255, 0)
    np.testing.assert_array_equal(area_reduce(image, 2), [[[200, 100, 50, 64]]])


@given(st.integers(1, 23), st.integers(1, 19), st.integers(1, 7), st.integers(0, 2**32 - 1))
@settings(max_examples=60, deadline=None)
def test_reduction_matches_a_dense_average(width: int, height: int, factor: int, seed: int) -> None:
    """Against an average over a raster so fine that it divides by both sizes."""
    image = np.random.default_rng(seed).integers(0, 256, (height, width, 4)).astype(np.uint8)
    w, h = reduced_size(width, height, factor)
    planes = np.concatenate((image[..., :3] * (image[..., 3:] / 255.0), image[..., 3:] / 255.0), axis=2)
    dense = planes.repeat(h, 0).repeat(w, 1).reshape(h, height, w, width, 4).mean((1, 3))
    out = area_reduce(image, factor)
    assert out.shape == (h, w, 4)
    if factor > 1:
        assert np.abs(out[..., 3] - 255 * dense[..., 3]).max() <= 0.51
        visible = out[..., 3] > 0
        rgb = dense[..., :3] / np.maximum(dense[..., 3:], 1e-9)
        assert np.abs(out[..., :3] - rgb)[visible].max(initial=0) <= 0.51


# ---- bounds that are found


def _box_of_spheres(times: range) -> tuple[np.ndarray, np.ndarray]:
    ends = [(centre - radius, centre + radius) for t in times for centre, radius, _ in captures.spheres(t)]
    return np.min([e[0] for e in ends], axis=0), np.max([e[1] for e in ends], axis=0)


@pytest.mark.parametrize("lens", [(0, 0, 0, 0), (-0.12, 0.05, 0.003, -0.002)])
def test_bounds_from_masks_hold_the_subject_closely(tmp_path: Path, lens: tuple[float, ...]) -> None:
    folder = captures.write_capture(tmp_path, cameras=10, frames=3, size=96, bounds=False, lens=lens)
    sequence = open_capture(folder)
    assert sequence.bounds_source == "masks" and "masks of 3 frames" in sequence.messages[0]
    lower, upper = _box_of_spheres(range(3))
    assert (np.asarray(sequence.bounds.lower) <= lower).all() and (np.asarray(sequence.bounds.upper) >= upper).all()
    assert (sequence.bounds.size < 1.45 * (upper - lower)).all()


def test_bounds_from_masks_of_close_ups() -> None:
    """Half the cameras see the upper part of the subject and half the lower one; the box must hold both."""
    views = []
    for number, camera in enumerate(captures.ring_cameras(12, 64, 0)):
        cut = 24.0 if number // 2 % 2 else 0.0
        crop = Camera(**{**camera.__dict__, "height": 40, "cy": camera.cy - cut})
        views.append(View(crop, captures.trace(crop, 0)))
    assert any(view.image[0, :, 3].any() for view in views) and any(view.image[-1, :, 3].any() for view in views)
    box = bounds_from_masks([views])
    assert box is not None
    lower, upper = _box_of_spheres(range(1))
    assert (np.asarray(box.lower) <= lower).all() and (np.asarray(box.upper) >= upper).all()
    assert (box.size < 2.5 * (upper - lower)).all()


def test_bounds_from_cameras_without_masks(tmp_path: Path) -> None:
    folder = captures.write_capture(tmp_path, cameras=8, frames=1, size=32, masks=None, bounds=False)
    sequence = open_capture(folder)
    assert sequence.bounds_source == "cameras" and "aabb" in sequence.messages[-1]
    lower, upper = np.asarray(sequence.bounds.lower), np.asarray(sequence.bounds.upper)
    assert (lower < -0.8).all() and (upper > 0.8).all(), "the scene is inside"
    assert (upper - lower < 2 * captures.DISTANCE).all(), "the cameras are outside"


def test_inconsistent_masks_fall_back_to_the_cameras(capture: Path, tmp_path: Path) -> None:
    folder = tmp_path / "odd"
    shutil.copytree(capture, folder)
    document = captures.read_document(folder)
    del document["aabb"]
    captures.write_document(folder, document)
    for number, name in enumerate(("cam00", "cam01", "cam02", "cam03")):
        for file in (folder / "images" / name).iterdir():
            image = np.zeros((32, 40, 4), np.uint8)
            image[1:4, 1:4] = 255
            Image.fromarray(np.rot90(image, 2) if number % 2 else image).save(file)
    sequence = open_capture(folder)
    assert sequence.bounds_source == "cameras" and "no common visual hull" in sequence.messages[-1]


def test_parallel_cameras_need_stated_bounds(tmp_path: Path) -> None:
    folder = captures.write_capture(tmp_path, cameras=3, frames=1, size=32, masks=None, bounds=False, test_cameras=0)
    document = captures.read_document(folder)
    for number, record in enumerate(document["frames"]):
        record["transform_matrix"] = [[1, 0, 0, 0.1 * number], [0, 1, 0, 0], [0, 0, 1, 4], [0, 0, 0, 1]]
    captures.write_document(folder, document)
    fails(folder, "cannot find bounds", "aabb")
    assert bounds_from_cameras(captures.ring_cameras(6, 32)) is not None


def test_a_camera_without_a_mask_does_not_hide_the_box_of_the_others(tmp_path: Path) -> None:
    captures.write_capture(tmp_path, cameras=8, frames=1, size=40, masks="file", bounds=False, test_cameras=0)
    whole = open_capture(tmp_path).bounds
    document = captures.read_document(tmp_path)
    del document["frames"][3]["mask_path"]
    captures.write_document(tmp_path, document)
    found = open_capture(tmp_path)
    assert found.bounds_source == "masks" and any("no mask on cam03" in line for line in found.messages)
    assert np.abs(np.subtract(found.bounds.lower, whole.lower)).max() < 0.15
    assert np.abs(np.subtract(found.bounds.upper, whole.upper)).max() < 0.15
