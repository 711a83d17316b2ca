"""Pictures and moving cameras by the tests' own renderer, which follows the document alone, against the package's."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import independent_reader
import numpy as np
import plain_cameras
import plain_picture
import pytest
from backends import runtime
from test_golden import FILES, GOLDEN, Golden

import taichi_vvc as tv
from taichi_vvc.coding.hashes import Hashes
from taichi_vvc.decode import Stream
from taichi_vvc.field.grids import field_of_symbols
from taichi_vvc.media.metrics import psnr
from taichi_vvc.types import Camera


def plain_volume(stream: Stream, found: dict, index: int) -> plain_picture.Volume:
    """A frame by the document. Its symbols and MLPs are the package's: other tests hold those to the document."""
    frame, parameters = stream.symbols(index), stream.parameters(index)
    return plain_picture.Volume(
        found["header"], frame.occupancy, list(frame.symbols), list(parameters.steps), list(parameters.mlp)
    )


def plain(camera: Camera) -> dict:
    """A camera as the document's renderer takes it."""
    lens = [camera.fx, camera.fy, camera.cx, camera.cy, camera.k1, camera.k2, camera.p1, camera.p2]
    pose = {"rotation": camera.rotation, "position": camera.position}
    return {"width": camera.width, "height": camera.height, "lens": lens, **pose}


@pytest.mark.parametrize("golden", FILES, ids=lambda g: g.file.stem)
def test_pictures_by_the_document_alone(golden: Golden) -> None:
    runtime()
    found = independent_reader.read_file(golden.file.read_bytes())
    with tv.open(golden.file) as stream:
        camera = stream.cameras_at(1)[0].resized(24, 24)
        picture = plain_picture.render(plain_volume(stream, found, 1), plain(camera))
        ours = tv.render(stream[1], camera, stream.background).colour
    assert ours.std() > 0.02
    assert psnr(picture, ours) > 90


def test_pictures_of_moved_and_distorted_cameras_by_the_document_alone() -> None:
    runtime()
    found = independent_reader.read_file(GOLDEN.read_bytes())
    with tv.open(GOLDEN) as stream:
        volume, field = plain_volume(stream, found, 3), stream[3]
        for index in (1, 3, 5):
            camera = stream.cameras_at(3)[index].resized(20, 20)
            picture = plain_picture.render(volume, plain(camera))
            assert psnr(picture, tv.render(field, camera, stream.background).colour) > 90, camera.name
            # That is another picture than the first frame's camera gives.
            other = tv.render(field, stream.cameras[index].resized(20, 20), stream.background).colour
            assert psnr(picture, other) < 40, camera.name
        strong = replace(stream.cameras[0].resized(20, 20), k1=-0.6, k2=0.9, p1=0.02, p2=-0.03)
        picture = plain_picture.render(volume, plain(strong))
        assert psnr(picture, tv.render(field, strong, stream.background).colour) > 90


def test_rays_by_the_document_end_where_the_lens_folds() -> None:
    camera = {"width": 64, "height": 36, "lens": [53.0, 53.0, 32.0, 18.0, 0.028, -1.49, 0.0, 0.0]}
    rays = plain_picture.directions({**camera, "rotation": np.eye(3)})
    missing = np.isnan(rays).any(axis=2)
    assert 0.1 < missing.mean() < 0.9
    # 1 + 3 k1 r + 5 k2 r^2 = 0.
    limit = np.roots([5 * -1.49, 3 * 0.028, 1]).max()
    x, y = np.sqrt(limit) * np.array([1.0, 0.0])
    farthest = plain_picture.lens_shows(np.array([x]), np.array([y]), camera["lens"][4:])[0, 0]
    row, column = np.mgrid[:36, :64]
    apart = np.hypot((column + 0.5 - 32) / 53, (row + 0.5 - 18) / 53)
    np.testing.assert_array_equal(missing, apart > farthest)


@pytest.mark.parametrize("tilt", [(0.0, 0.0), (0.02, -0.03)])
def test_pictures_of_a_lens_that_folds_by_the_document_alone(tilt: tuple[float, float]) -> None:
    found = independent_reader.read_file(GOLDEN.read_bytes())
    with tv.open(GOLDEN) as stream:
        near = stream.cameras[4].resized(24, 24)
        # The subject fills the picture, so that it would be seen where there is no ray.
        camera = replace(
            near, position=0.4 * near.position, fx=24.0, fy=24.0, k1=0.028, k2=-1.49, p1=tilt[0], p2=tilt[1]
        )
        missing = np.isnan(plain_picture.directions(plain(camera))).any(axis=2)
        assert 0.1 < missing.mean() < 0.5
        picture = plain_picture.render(plain_volume(stream, found, 0), plain(camera))
        ours = tv.render(
            field_of_symbols(runtime(), stream.header.layout, stream.parameters(0), stream.symbols(0)), camera
        )
        assert psnr(picture, ours.colour) > 90
        assert (ours.colour[missing] == 1).all() and not ours.opacity[missing].any()
        assert ours.opacity[~missing].mean() > 0.3


@pytest.mark.parametrize("golden", FILES, ids=lambda g: g.file.stem)
def test_cameras_by_the_document_alone(golden: Golden) -> None:
    documented = plain_cameras.camera_values(independent_reader.read_file(golden.file.read_bytes()))
    with tv.open(golden.file) as stream:
        for index, row in enumerate(documented):
            for camera, expected in zip(stream.cameras_at(index), row, strict=True):
                ours = plain(camera)
                assert ours["lens"] == expected["lens"]
                np.testing.assert_array_equal(ours["position"], expected["position"])
                np.testing.assert_allclose(ours["rotation"], expected["rotation"], atol=1e-14)
                assert (ours["width"], ours["height"]) == (expected["width"], expected["height"])


@pytest.mark.parametrize("golden", FILES, ids=lambda g: g.file.stem)
def test_hash_of_pictures_by_the_document_alone(golden: Golden) -> None:
    found = independent_reader.read_file(golden.file.read_bytes())
    digest = hashlib.sha256(found["header"]["for_pictures"])
    cameras = plain_cameras.camera_numbers(found) if golden.version > 3 else [[]] * len(found["frames"])
    with tv.open(golden.file) as stream:
        for index, (frame, states) in enumerate(zip(found["frames"], cameras, strict=True)):
            if frame["type"] == "key":
                digest.update(np.array(found["groups"][frame["group"]]["grid_steps"], "<f4").tobytes())
                for tensor in stream.parameters(index).mlp:
                    digest.update(tensor.astype("<f4").tobytes())
                maps = found["groups"][frame["group"]].get("maps", b"")
                many = len(found["header"]["cameras"])
                digest.update(plain_cameras.hashed_colours(plain_cameras.colour_maps(maps, many)))
            symbols = stream.symbols(index)
            digest.update(symbols.occupancy.astype(np.uint8).tobytes())
            for grid in symbols.symbols:
                digest.update(grid.astype("<i4").tobytes())
            digest.update(plain_cameras.hashed(states))
        assert stream.hashes() == Hashes(golden.hash, digest.hexdigest())
        assert digest.hexdigest() == golden.pictures


def test_the_golden_file_moves_its_cameras_in_every_way() -> None:
    found = independent_reader.read_file(GOLDEN.read_bytes())
    assert [bool(frame["cameras"]) for frame in found["frames"]] == [False, True, True, True, True]
    # From the second frame on: still, moved, moved, zoomed, still, moved.
    for states in plain_cameras.camera_numbers(found)[1:]:
        assert "".join("sP"[state["pose"]] + "sL"[state["lens"]] for state in states) == "ssPsPssLssPs"
    assert sum(len(frame["cameras"]) for frame in found["frames"]) < 160
    assert GOLDEN.stat().st_size < 5000


def test_rays_end_early_as_documented() -> None:
    """In a scene of one density, in which the light left at the end shows; bounds of its cells are exact."""
    found = independent_reader.read_file(GOLDEN.read_bytes())
    with tv.open(GOLDEN) as stream:
        frame, parameters, camera = stream.symbols(0), stream.parameters(0), stream.cameras[1].resized(16, 16)
        mlp = [tensor.copy() for tensor in parameters.mlp]
        mlp[2][:, 0], mlp[3][0] = 0.0, 3.0
        dense = replace(parameters, mlp=tuple(mlp))
        field = field_of_symbols(runtime(), stream.header.layout, dense, frame)
        ours = tv.render(field, camera, stream.background)
        volume = plain_picture.Volume(
            found["header"], frame.occupancy, list(frame.symbols), list(dense.steps), list(dense.mlp)
        )
        assert psnr(plain_picture.render(volume, plain(camera)), ours.colour) > 90
        # Without an end, less of the background would pass.
        volume.depths = lambda: np.zeros(frame.occupancy.shape)
        assert psnr(plain_picture.render(volume, plain(camera)), ours.colour) < 85
