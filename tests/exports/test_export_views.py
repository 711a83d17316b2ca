"""Views with depth, read by OpenCV, Pillow and OpenEXR, and the cameras beside them."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import OpenEXR
import pytest
from commands import expect_error
from PIL import Image
from places import ROOT

import taichi_vvc as tv
from taichi_vvc.cli import run
from taichi_vvc.media.video import read_depth_png

GOLDEN = ROOT / "tests" / "data" / "golden_v6.tvvc"
CPU = ("--backend", "cpu")


@pytest.fixture(scope="module")
def rendered() -> tv.field.render.Image:
    """What the second camera shows of the second frame, on black."""
    with tv.open(GOLDEN) as stream:
        return tv.render(stream[1], stream.cameras_at(1)[1], (0.0, 0.0, 0.0))


def export(folder: Path, *options: str) -> dict:
    arguments = ["export", str(GOLDEN), "-o", str(folder), "--as", "views", "--cameras", "cam02", "--frames", "1"]
    assert run([*arguments, *options, *CPU]) == 0
    return json.loads((folder / "transforms.json").read_text(encoding="utf-8"))


def test_png_has_sixteen_bits_of_colour_and_depth_of_the_axis(rendered, tmp_path) -> None:
    document = export(tmp_path)
    (row,) = document["frames"]
    assert (row["file_path"], row["depth_file_path"]) == ("cam02/0001.png", "cam02/0001.depth.png")
    picture = cv2.imread(str(tmp_path / row["file_path"]), cv2.IMREAD_UNCHANGED)
    assert picture.dtype == np.uint16 and picture.shape == (128, 128, 4)
    rgba = picture[..., [2, 1, 0, 3]] / 65535.0
    np.testing.assert_allclose(rgba[..., 3], rendered.opacity, atol=1e-5)
    np.testing.assert_allclose(rgba[..., :3] * rgba[..., 3:], rendered.colour, atol=2e-5)
    # More shades than eight bits have.
    assert len(np.unique(picture[..., 2])) > 1000
    with Image.open(tmp_path / row["depth_file_path"]) as depth:
        assert depth.mode == "I;16"
        axial = np.asarray(depth).astype(float) * document["depth_unit_scale_factor"]
    np.testing.assert_allclose(axial, read_depth_png(tmp_path / row["depth_file_path"]), rtol=1e-6)
    # A pinhole's point at that depth is as far away as what the ray sees.
    pose = np.array(row["transform_matrix"])
    column, line = np.meshgrid(np.arange(128) + 0.5, np.arange(128) + 0.5)
    local = np.stack(((column - row["cx"]) / row["fl_x"], -(line - row["cy"]) / row["fl_y"], -np.ones_like(line)), -1)
    points = (local * axial[..., None]) @ pose[:3, :3].T + pose[:3, 3]
    hit = rendered.opacity > 0.5
    distance = np.linalg.norm(points - pose[:3, 3], axis=-1)
    np.testing.assert_allclose(distance[hit], rendered.depth[hit], atol=1e-3)
    lower, upper = np.array(document["aabb"])
    assert ((points[hit] > lower - 0.05) & (points[hit] < upper + 0.05)).all()


def test_exr_is_linear_and_premultiplied_with_infinity_where_nothing_is(rendered, tmp_path) -> None:
    (row,) = export(tmp_path, "--pictures", "exr")["frames"]
    with OpenEXR.File(str(tmp_path / row["file_path"])) as file:
        rgba, depth = file.channels()["RGBA"].pixels, file.channels()["Z"].pixels
    assert rgba.dtype == np.float16 and depth.dtype == np.float32
    alpha = rgba[..., 3].astype(float)
    np.testing.assert_allclose(alpha, rendered.opacity, atol=1e-3)
    solid = rendered.opacity > 0.95
    light = np.clip(rgba[..., :3][solid].astype(float) / alpha[solid, None], 0.0, 1.0)
    srgb = np.where(light <= 0.0031308, 12.92 * light, 1.055 * np.maximum(light, 1e-9) ** (1 / 2.4) - 0.055)
    np.testing.assert_allclose(srgb, rendered.colour[solid] / rendered.opacity[solid, None], atol=3e-3)
    assert np.isinf(depth[rendered.opacity == 0.0]).all() and np.isfinite(depth[solid]).all()
    assert (depth[solid] <= rendered.depth[solid] + 1e-4).all()


def test_the_cameras_of_gltf_look_where_those_of_the_capture_do(tmp_path) -> None:
    (row,) = export(tmp_path)["frames"]
    data = (tmp_path / "cameras.glb").read_bytes()
    scene = json.loads(data[20 : 20 + int.from_bytes(data[12:16], "little")])
    assert len(data) == int.from_bytes(data[8:12], "little")
    root, node = scene["nodes"]
    (camera,) = scene["cameras"]
    matrices = [np.array(n["matrix"]).reshape(4, 4).T for n in (root, node)]
    np.testing.assert_allclose(matrices[1], row["transform_matrix"], atol=1e-9)
    # The capture's +z is glTF's +y.
    np.testing.assert_allclose(matrices[0][:3, :3] @ [0.0, 0.0, 1.0], [0.0, 1.0, 0.0], atol=1e-12)
    lens = camera["perspective"]
    assert np.tan(lens["yfov"] / 2) == pytest.approx(64 / row["fl_y"])
    assert lens["aspectRatio"] == 1.0 and lens["zfar"] > 10.0


def test_the_folder_is_a_capture(tmp_path) -> None:
    export(tmp_path / "c", "--cameras", "all")
    capture = tv.open_capture(tmp_path / "c")
    with tv.open(GOLDEN) as stream:
        assert len(capture.cameras) == len(stream.cameras)
        for found, camera in zip(capture.cameras, stream.cameras, strict=True):
            assert (found.name, found.split, found.fx, found.k1) == (camera.name, camera.split, camera.fx, camera.k1)
            np.testing.assert_allclose(found.rotation, camera.rotation, atol=1e-9)
            np.testing.assert_allclose(found.position, camera.position, atol=1e-9)


def test_options_of_views_and_of_others_do_not_mix(tmp_path, capfd) -> None:
    for arguments, part in (
        (["-o", tmp_path / "m.glb", "--cameras", "all"], "--as views"),
        (["-o", tmp_path / "v.png", "--as", "views"], "a folder for views"),
        (["-o", tmp_path / "v", "--as", "views", "--animated"], "without --animated"),
        (["-o", tmp_path / "v", "--as", "views", "--cameras", "nobody"], "nobody"),
    ):
        expect_error(capfd, ["export", GOLDEN, *arguments, *CPU], 2, part)
    assert list(tmp_path.iterdir()) == []
