"""The detail that reduced pictures had: which pixels rays are drawn from, how it is drawn, and when it is used."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import captures
import numpy as np
import pytest
from backends import down, field_of, look_at, random_grids, random_mlp, runtime, small_layout
from PIL import Image
from taichi_vvc.kernels.columns import Ray
from tiny import TWO_LEVELS

import taichi_vvc as tv
from taichi_vvc.bitstream import StreamReader
from taichi_vvc.encoder import frame
from taichi_vvc.encoder.detail import settle_detail, sharpness
from taichi_vvc.encoder.holding import held
from taichi_vvc.errors import ConfigError
from taichi_vvc.field.render import Workspace, make_rays, rays_across, render, render_rgb8
from taichi_vvc.fit.training_rays import make_training_rays
from taichi_vvc.measure.evaluate import evaluate
from taichi_vvc.media.images import area_resize
from taichi_vvc.types import View

LAYOUT = small_layout()
MASK = np.random.default_rng(2).random(LAYOUT.occupancy[::-1]) < 0.7
CENTRE = (-0.25, 1.5, 2.5)
CAMERAS = [look_at((2.5, 0.3, 3.6), CENTRE, (5, 4), 6.0), look_at((-1.8, 3.4, 1.2), CENTRE, (4, 6), 6.0, k1=-0.1)]
CONFIG = tv.EncoderConfig(**{**TWO_LEVELS, "keyint": 2})


def detailed_views() -> list[View]:
    """Pictures of random colours; no two pixels of their detail are alike."""
    found, start = [], 0
    for number, camera in enumerate(CAMERAS):
        count = 4 * camera.width * camera.height
        detail = np.arange(start, start + count, dtype=np.int32).view(np.uint8).reshape(-1, 2 * camera.width, 4).copy()
        detail[..., 3] = 255
        start += count
        image = detail[::2, ::2].copy()
        found.append(View(dataclasses.replace(camera, name=f"c{number}", split="train"), image, detail=detail))
    return found


def test_rays_are_drawn_from_all_of_the_detail_of_the_candidates() -> None:
    views = detailed_views()
    whole = np.ones(LAYOUT.occupancy[::-1], bool)
    coded = make_training_rays(Workspace(runtime()), LAYOUT, views, whole, fine=())
    fine = make_training_rays(Workspace(runtime()), LAYOUT, views, whole)
    assert fine.count == 4 * coded.count and fine.rays_per_view == coded.rays_per_view
    assert (fine.candidates == coded.candidates).all() and (down(coded.drawn, coded.count) == coded.candidates).all()
    # Pixels are numbered along rows of the detail, camera after camera; each number is the pixel's own colour.
    drawn = down(fine.drawn, fine.count)
    numbers = np.concatenate([v.detail.view(np.int32).reshape(-1) for v in views if v.detail is not None])
    assert (down(fine.images, numbers.size) == numbers).all()
    assert len(set(drawn.tolist())) == fine.count
    first = [0, 4 * CAMERAS[0].width * CAMERAS[0].height]
    for pixel, parts in zip(fine.candidates.tolist(), drawn.reshape(-1, 4).tolist(), strict=True):
        camera = int(pixel >= CAMERAS[0].width * CAMERAS[0].height)
        width = CAMERAS[camera].width
        row, column = divmod(pixel - first[camera] // 4, width)
        expected = [first[camera] + (2 * row + a) * 2 * width + 2 * column + b for a in (0, 1) for b in (0, 1)]
        assert parts == expected


def test_the_rays_of_a_pixel_surround_its_centre() -> None:
    views = detailed_views()
    ws = Workspace(runtime())
    training = make_training_rays(ws, LAYOUT, views, np.ones(LAYOUT.occupancy[::-1], bool))

    def directions(table, pixels) -> np.ndarray:
        make_rays(ws, LAYOUT, table, pixels, training.count)
        rows = down(ws.rays.array, training.count * Ray.ROW).reshape(-1, Ray.ROW)
        return rows[:, Ray.DIRECTION : Ray.DIRECTION + 3].copy()

    fine = directions(training.finest, training.drawn)
    centre = directions(training.table, runtime().upload(np.repeat(training.candidates, 4)))
    # A quarter of a pixel aside and a quarter up or down.
    off = np.linalg.norm(fine - centre, axis=1)
    assert 0.5 * 0.25 / 6 < off.min() and off.max() < 1.6 * 0.25 / 6
    assert np.abs((fine - centre).reshape(-1, 4, 3).mean(1)).max() < 2e-3


def test_where_memory_is_short_some_pixels_keep_all_of_their_detail() -> None:
    views, ws = detailed_views(), Workspace(runtime())
    whole = np.ones(LAYOUT.occupancy[::-1], bool)
    full = make_training_rays(ws, LAYOUT, views, whole)
    short = make_training_rays(ws, LAYOUT, views, whole, memory=12 * full.count // 2)
    assert short.places is not None and full.count // 2 - 4 < short.count <= full.count // 2
    drawn = down(short.drawn, short.count)
    assert (np.unique(drawn.reshape(-1, 4), axis=0).shape[0]) == short.candidates.size
    numbers = np.concatenate([v.detail.view(np.int32).reshape(-1) for v in views if v.detail is not None])
    assert (down(short.images, short.count) == numbers[drawn]).all()


def test_unknown_pixels_are_unknown_in_all_of_their_detail() -> None:
    views = detailed_views()
    unknown = np.zeros(views[1].image.shape[:2], bool)
    unknown[2, 1] = True
    views[1] = dataclasses.replace(views[1], unknown=unknown)
    fine = views[1].fine
    assert fine.unknown is not None and fine.unknown.sum() == 4 and fine.unknown[4:6, 2:4].all()
    assert (fine.camera.width, fine.camera.fx, fine.camera.cx) == (8, 12.0, 4.0)
    assert fine.image is views[1].detail and fine.fine is fine
    training = make_training_rays(Workspace(runtime()), LAYOUT, views, np.ones(LAYOUT.occupancy[::-1], bool))
    first = CAMERAS[0].width * CAMERAS[0].height
    assert first + 2 * 4 + 1 not in training.candidates.tolist()


@pytest.mark.parametrize("chunk", [None, 7])
def test_a_pixel_is_the_mean_of_its_rays(chunk: int | None) -> None:
    field = field_of(LAYOUT, random_grids(LAYOUT, 0), random_mlp(LAYOUT, 1), MASK)
    for camera in CAMERAS:
        behind = (0.9, 0.3, 0.5)
        found = render(field, camera, behind, chunk=chunk, across=2)
        moved = [
            render(field, dataclasses.replace(camera, cx=camera.cx - x, cy=camera.cy - y), behind)
            for y in (-0.25, 0.25)
            for x in (-0.25, 0.25)
        ]
        opacity = np.mean([m.opacity for m in moved], 0)
        np.testing.assert_allclose(found.colour, np.mean([m.colour for m in moved], 0), atol=2e-5)
        np.testing.assert_allclose(found.opacity, opacity, atol=2e-5)
        distance = np.mean([m.depth * m.opacity for m in moved], 0) / np.maximum(opacity, 1e-6)
        np.testing.assert_allclose(found.depth, np.where(opacity > 1e-3, distance, 0), rtol=2e-3, atol=1e-4)
        one = render(field, camera, behind)
        assert np.abs(one.colour - found.colour).max() > 1e-3
        # What was fitted to detail draws its cameras so by itself, and others whose pixels are as large.
        assert rays_across(field, camera) == 1
        field.focal = 2 * camera.fx
        assert rays_across(field, camera.resized(2 * camera.width, 2 * camera.height)) == 1
        np.testing.assert_array_equal(
            render(field, camera, behind).colour, render(field, camera, behind, across=2).colour
        )
        packed = render_rgb8(field, camera, behind)
        assert np.abs(packed / 255 - found.colour).max() < 0.51 / 255
        field.focal = 0.0


def test_pictures_are_resized_over_the_same_field_of_view() -> None:
    image = np.zeros((5, 3, 4), np.uint8)
    image[..., 3], image[:, 2, 0] = 255, 240
    assert area_resize(image, 3, 5) is image
    found = area_resize(image, 2, 5)
    assert found.shape == (5, 2, 4) and (found[:, 0, 0] == 0).all() and (found[:, 1, 0] == 160).all()
    assert area_resize(image, 4, 6)[0, :, 0].tolist() == [0, 0, 80, 240]


@pytest.fixture(scope="module")
def capture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return captures.write_capture(tmp_path_factory.mktemp("capture"), cameras=6, frames=3, size=64)


def checkered(capture: Path, folder: Path) -> Path:
    """The capture with a pattern as fine as its pixels on what it shows."""
    document = captures.read_document(capture)
    for record in document["frames"]:
        image = np.array(Image.open(capture / record["file_path"]))
        y, x = np.indices(image.shape[:2])
        image[..., :3] = np.clip(image[..., :3] + np.where((x + y) % 2, 40.0, -40.0)[..., None], 0, 255)
        (folder / record["file_path"]).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(folder / record["file_path"])
    captures.write_document(folder, document)
    return folder


def settings_of(path: Path) -> dict:
    with StreamReader(path) as reader:
        return json.loads(reader.header.settings)


def test_auto_asks_whether_subjects_are_sharp(capture: Path, tmp_path: Path) -> None:
    soft = tv.open_capture(capture, downscale=2)
    config, sequence = settle_detail(CONFIG, soft)
    assert config.detail == "off" and not sequence.detailed
    # The spheres are plain, but for their outlines before each other.
    plain = sharpness(dataclasses.replace(soft, detailed=True).frame(0).views)
    sharp = tv.open_capture(checkered(capture, tmp_path), downscale=2)
    config, sequence = settle_detail(CONFIG, sharp)
    assert config.detail == "on" and sequence.detailed
    found = sharpness(sequence.frame(0).views)
    assert 0.5 * (40 / 255) ** 2 < found - plain <= (40 / 255) ** 2
    # Held-out views are not fitted.
    assert [v.detail is None for v in sequence.frame(0).views] == [
        v.camera.split == "test" for v in sequence.frame(0).views
    ]
    assert settle_detail(dataclasses.replace(CONFIG, detail="off"), sharp)[0].detail == "off"
    assert settle_detail(CONFIG, tv.open_capture(tmp_path))[0].detail == "off"
    room = dataclasses.replace(sharp, scene=dataclasses.replace(sharp.scene, kind="whole"))
    assert settle_detail(CONFIG, room)[0].detail == "off"
    assert settle_detail(dataclasses.replace(CONFIG, detail="on"), soft)[0].detail == "on"
    assert settle_detail(dataclasses.replace(CONFIG, detail="on"), tv.open_capture(capture))[0].detail == "off"
    with pytest.raises(ConfigError, match="detail auto, on or off"):
        dataclasses.replace(CONFIG, detail="yes")


def test_files_say_that_they_hold_detail_and_show_it(capture: Path, tmp_path: Path) -> None:
    runtime()
    sequence = tv.open_capture(capture, downscale=2)
    figures = {}
    for detail in ("on", "off"):
        path, config = tmp_path / f"{detail}.tvvc", dataclasses.replace(CONFIG, detail=detail)
        statistics = list(tv.encode(sequence, config, path))
        assert settings_of(path).get("detail", "off") == detail
        figures[detail] = evaluate(path, capture, split="train")
        for s, found in zip(statistics, figures[detail]["per_frame"], strict=True):
            assert abs(s.psnr - found["psnr"]) < 0.01
        with tv.open(path) as stream:
            field, camera = stream[0], stream.cameras[0]
            assert rays_across(field, camera) == (2 if detail == "on" else 1)
    # Outlines are smoother, and right, as the mean of rays.
    assert figures["on"]["psnr"] > figures["off"]["psnr"] + 0.1
    # The auto of a soft capture is the file without detail, to the byte.
    list(tv.encode(sequence, CONFIG, tmp_path / "auto.tvvc"))
    assert (tmp_path / "auto.tvvc").read_bytes() == (tmp_path / "off.tvvc").read_bytes()


def test_key_frames_that_go_on_are_held_to_the_detail_of_the_frame_before(
    capture: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runtime()
    calls = []

    def watched(views, before):
        found = held(views, before)
        calls.append((views, before, found))
        return found

    monkeypatch.setattr(frame, "held", watched)
    config = dataclasses.replace(CONFIG, detail="on")
    list(tv.encode(tv.open_capture(capture, downscale=2), config, tmp_path / "a.tvvc"))
    # Of each frame its views and their detail; the third one is a key frame that goes on, which is fitted twice.
    views, before, found = calls[7]
    assert [len(c[1]) for c in calls] == [0, 0, 0, 0, 5, 5, 5, 5]
    assert {s.picture.shape for s in before} == {(64, 64, 4)} == {v.image.shape for v in views}
    assert all((f.image != v.image).any() for f, v in zip(found, views, strict=True))


def test_resuming_gives_the_same_file_with_detail(capture: Path, tmp_path: Path) -> None:
    runtime()
    sequence, config = tv.open_capture(capture, downscale=2), dataclasses.replace(CONFIG, detail="on")
    list(tv.encode(sequence, config, tmp_path / "whole.tvvc"))
    some = tv.encode(sequence, config, tmp_path / "half.tvvc")
    next(some), next(some)
    some.close()
    list(tv.encode(sequence, config, tmp_path / "half.tvvc", resume=True))
    assert (tmp_path / "half.tvvc").read_bytes() == (tmp_path / "whole.tvvc").read_bytes()
    with pytest.raises(ConfigError):
        list(tv.encode(sequence, dataclasses.replace(config, detail="off"), tmp_path / "half.tvvc", resume=True))
