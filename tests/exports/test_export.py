"""Exports, opened by readers that others wrote, and drawn by a rasteriser that shares nothing with the package."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
import trimesh
from commands import expect_error
from javascript import needs_node, node
from npm import npm_packages
from places import ROOT
from rasters import psnr_of_subject
from read_exports import columns, draw_export, mesh_colours, read_mesh, read_points, turns_of

import taichi_vvc as tv
from taichi_vvc.cli import run
from taichi_vvc.field.render import Image
from taichi_vvc.types import Camera

GOLDEN = ROOT / "tests" / "data" / "golden_v6.tvvc"
CPU = ("--backend", "cpu")


def export(*arguments: object) -> None:
    assert run(["export", str(GOLDEN), *map(str, arguments), *CPU]) == 0


@pytest.fixture(scope="module")
def stream():
    with tv.open(GOLDEN) as opened:
        yield opened


@pytest.fixture(scope="module")
def pictures(stream) -> list[tuple[Camera, Image]]:
    """What two cameras of the file show of its first frame."""
    chosen = [c for c in stream.cameras if c.split == "test"][:1] + list(stream.cameras[:1])
    field = stream[0]
    return [(camera, tv.render(field, camera, stream.background)) for camera in chosen]


@pytest.fixture(scope="module")
def mesh(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("mesh") / "m.glb"
    export("-o", path, "--triangles", 6000)
    return path


def psnrs(path: Path, stream, pictures) -> list[float]:
    """dB of an export against each of the pictures."""
    return [
        psnr_of_subject(draw_export(path, camera), image.colour, image.opacity, stream.background)
        for camera, image in pictures
    ]


def test_a_mesh_looks_like_the_picture(mesh, stream, pictures) -> None:
    part = read_mesh(mesh)
    assert 3000 < len(part.faces) <= 6000
    found = psnrs(mesh, stream, pictures)
    assert min(found) > 22.0, found


def test_a_mesh_is_closed_stands_upright_and_is_valid(mesh, stream) -> None:
    scene, part = trimesh.load_scene(mesh), read_mesh(mesh)
    assert part.is_watertight
    # Outwards everywhere: no second surface within the first.
    assert all(piece.volume > 0.0 for piece in part.split(only_watertight=True))
    assert (
        np.einsum("nk,nk->n", part.vertex_normals, trimesh.Trimesh(part.vertices, part.faces).vertex_normals) > 0
    ).mean() > 0.99
    lower, upper = (np.array(side) for side in (stream.header.layout.bounds.lower, stream.header.layout.bounds.upper))
    assert (part.vertices > lower - 1e-3).all() and (part.vertices < upper + 1e-3).all()
    # The capture has +z up, the scene +y.
    np.testing.assert_allclose(scene.bounds[:, 1], part.bounds[:, 2], atol=1e-6)
    np.testing.assert_allclose(scene.extents[[0, 2]], part.extents[:2], atol=1e-6)


def test_points_lie_on_the_surface_with_its_normals_and_colours(mesh, tmp_path) -> None:
    from scipy.spatial import cKDTree

    export("-o", tmp_path / "p.ply")
    table, part = read_points(tmp_path / "p.ply"), read_mesh(mesh)
    assert table.dtype.names == ("x", "y", "z", "nx", "ny", "nz", "red", "green", "blue")
    places, normals = columns(table, "x", "y", "z"), columns(table, "nx", "ny", "nz")
    spacing = 2.003 / 80
    samples, faces = trimesh.sample.sample_surface(part, 40_000, seed=1)
    distance, nearest = cKDTree(samples).query(places)
    assert np.percentile(distance, 99) < spacing
    np.testing.assert_allclose(np.linalg.norm(normals, axis=1), 1.0, atol=1e-5)
    assert np.median(np.einsum("nk,nk->n", normals, part.face_normals[faces[nearest]])) > 0.9
    assert len(np.unique(np.floor(places / spacing), axis=0)) > 0.8 * len(places)
    distance, nearest = cKDTree(part.vertices).query(places)
    error = columns(table, "red", "green", "blue") / 255 - mesh_colours(part)[nearest]
    assert np.median(np.abs(error[distance < 0.5 * spacing])) < 0.03


def test_splats_look_like_the_picture(stream, pictures, tmp_path) -> None:
    export("-o", tmp_path / "s.ply", "--as", "splats")
    found = psnrs(tmp_path / "s.ply", stream, pictures)
    assert min(found) > 20.0, found
    # Discs: thin along the normals that the file states besides.
    table = read_points(tmp_path / "s.ply")
    np.testing.assert_allclose(turns_of(table)[:, :, 2], columns(table, "nx", "ny", "nz"), atol=1e-3)
    assert (table["scale_2"] < table["scale_0"] - 1.0).all()


def json_of_glb(path: Path) -> dict:
    """The JSON of a .glb, section 4.4 of the specification."""
    data = path.read_bytes()
    return json.loads(data[20 : 20 + int.from_bytes(data[12:16], "little")])


def test_an_animation_shows_one_frame_after_the_other(stream, tmp_path, capfd) -> None:
    export("-o", tmp_path / "a.glb", "--animated", "--frames", "1:4", "--triangles", 500)
    assert "over 3 frames" in capfd.readouterr().err
    scene = trimesh.load_scene(tmp_path / "a.glb")
    assert list(scene.geometry) == ["frame 0001", "frame 0002", "frame 0003"]
    document = json_of_glb(tmp_path / "a.glb")
    (animation,) = document["animations"]
    times = document["accessors"][animation["samplers"][0]["input"]]
    assert times["max"] == [pytest.approx(3 / float(stream.fps))] and times["min"] == [0.0] and times["count"] == 4
    assert {s["interpolation"] for s in animation["samplers"]} == {"STEP"}
    assert [node.get("scale") for node in document["nodes"][1:]] == [[1.0] * 3, [0.0] * 3, [0.0] * 3]


VALIDATE = """
const { validateBytes } = require(process.argv[1] + "/gltf-validator");
const bytes = new Uint8Array(require("fs").readFileSync(process.argv[2]));
validateBytes(bytes).then((report) => console.log(JSON.stringify(report)));
"""


@needs_node
def test_the_validator_of_khronos_finds_nothing(mesh, tmp_path) -> None:
    modules = npm_packages("gltf-validator@2.0.0-dev.3.10")
    export("-o", tmp_path / "a.glb", "--animated", "--frames", "0:2", "--triangles", 300)
    for path, nodes in ((mesh, 1), (tmp_path / "a.glb", 2)):
        done = node("-e", VALIDATE, modules, path)
        report = json.loads(done.stdout)
        assert report["issues"]["messages"] == []
        assert report["info"]["drawCallCount"] == nodes


READ_SPLATS = """
globalThis.window = globalThis.self = globalThis;
const { PlyParser } = await import(`file://${process.argv[1]}/@mkkellogg/gaussian-splats-3d/build/gaussian-splats-3d.module.js`);
const { buffer } = new Uint8Array((await import("node:fs")).readFileSync(process.argv[2]));
const read = PlyParser.parseToUncompressedSplatArray(buffer, 0);
console.log(JSON.stringify({ degree: read.sphericalHarmonicsDegree, splats: read.splats }));
"""


@needs_node
def test_the_reader_of_a_viewer_of_splats_finds_what_is_meant(tmp_path) -> None:
    """Places, standard deviations, rotations (w first), 8-bit colours and opacities."""
    modules = npm_packages("@mkkellogg/gaussian-splats-3d@0.4.7", "three@0.170.0")
    export("-o", tmp_path / "s.ply", "--as", "splats", "--resolution", 20)
    export("-o", tmp_path / "p.ply", "--resolution", 20)
    done = node("--input-type=module", "-e", READ_SPLATS, modules, tmp_path / "s.ply")
    assert done.returncode == 0, done.stderr
    read = json.loads(done.stdout)
    found, points = np.array([[*splat] for splat in read["splats"]], float), read_points(tmp_path / "p.ply")
    assert read["degree"] == 0 and len(found) == len(points)
    spacing = 2.0031 / 20
    normals = columns(points, "nx", "ny", "nz")
    np.testing.assert_allclose(found[:, :3], columns(points, "x", "y", "z") - 0.8 * spacing * normals, atol=1e-4)
    np.testing.assert_allclose(
        found[:, 3:6], np.tile([0.5 * spacing, 0.5 * spacing, 0.1 * spacing], (len(found), 1)), 1e-4
    )
    w, x, y, z = found[:, 6:10].T
    turned = np.stack((2 * (x * z + w * y), 2 * (y * z - w * x), w * w - x * x - y * y + z * z), 1)
    np.testing.assert_allclose(turned, normals, atol=1e-3)
    assert np.abs(found[:, 10:13] - columns(points, "red", "green", "blue")).max() <= 1.0
    assert set(found[:, 13]) == {242.0}


def test_a_folder_and_a_pattern_get_a_file_per_frame(tmp_path, capfd) -> None:
    export("-o", tmp_path / "d", "--as", "mesh", "--frames", "1:3", "--triangles", 300)
    export("-o", tmp_path / "p%03d.ply", "--frames", "2", "--resolution", 20)
    assert sorted(path.name for path in tmp_path.rglob("*.*")) == ["0001.glb", "0002.glb", "p002.ply"]
    assert re.search(r"^\S+: \d+ triangles a frame over 2 frames, 0\.\d+ MB$", capfd.readouterr().err, re.MULTILINE)


def test_what_contradicts_itself_is_refused(tmp_path, capfd) -> None:
    (tmp_path / "old.glb").write_bytes(b"old")
    for arguments, *parts in (
        (["-o", tmp_path / "d"], "--as mesh"),
        (["-o", tmp_path / "m.obj", "--as", "mesh"], "ending in .glb"),
        (["-o", tmp_path / "m.glb", "--frames", "0:2"], "--animated"),
        (["-o", tmp_path / "p.ply", "--animated"], "--animated writes one .glb"),
        (["-o", tmp_path / "old.glb"], "exists"),
        (["-o", GOLDEN], "ending in .ply"),
    ):
        expect_error(capfd, ["export", GOLDEN, *arguments], 2, *parts)
    assert [path.name for path in tmp_path.iterdir()] == ["old.glb"]


def test_of_a_whole_scene_the_bounds_are_exported(tmp_path, capfd) -> None:
    whole = ROOT / "tests" / "data" / "golden_v5.tvvc"
    assert run(["export", str(whole), "-o", str(tmp_path / "m.glb"), *CPU]) == 0
    assert "what lies within its bounds (-1, -1, 0) to (1, 1, 1.6) is exported" in capfd.readouterr().err
    part = read_mesh(tmp_path / "m.glb")
    assert part.is_watertight
    assert (part.vertices > np.array([-1, -1, 0]) - 1e-3).all() and (part.vertices < np.array([1, 1, 1.6]) + 1e-3).all()
    # Where it is seen, it has the colours of the picture: so it lies where that shows it, shell or not.
    with tv.open(whole) as opened:
        camera = opened.cameras[0]
        image = tv.render(opened[0], camera, opened.background)
    drawn, covered = draw_export(tmp_path / "m.glb", camera)
    there = covered > 0.99
    error = np.abs(drawn[there] - image.colour[there])
    assert there.sum() > 20 and np.median(error) < 0.04


def test_a_lattice_that_is_too_large_is_refused(tmp_path, capfd) -> None:
    arguments = ["export", GOLDEN, "-o", tmp_path / "m.glb", "--resolution", "4096", "--memory-limit", "1G", *CPU]
    expect_error(capfd, arguments, 4, "lattice", "--memory-limit")
    assert list(tmp_path.iterdir()) == []


def test_a_frame_without_a_surface_is_an_error_that_leaves_nothing(tmp_path, capfd, monkeypatch) -> None:
    nothing = np.float32(0)
    monkeypatch.setattr("taichi_vvc.exports.surface.optical_depths", lambda ws, f, places: nothing * places[:, 0])
    expect_error(capfd, ["export", GOLDEN, "-o", tmp_path / "m.glb", *CPU], 3, "no surface")
    assert list(tmp_path.iterdir()) == []


def test_a_missing_package_is_named(tmp_path, capfd, monkeypatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "fast_simplification", None)
    expect_error(capfd, ["export", GOLDEN, "-o", tmp_path / "m.glb", "--triangles", "9", *CPU], 2, "taichi_vvc[export]")
    assert list(tmp_path.iterdir()) == []
