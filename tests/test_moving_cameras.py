"""Cameras that move and zoom: how files store them, and their use by decode, eval and the player."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from backends import runtime
from browser import wait_for
from captures import read_document, ring_cameras, write_capture, write_document
from moving import cameras_at, farthest_apart, write_moving
from PIL import Image
from tiny import TWO_LEVELS

import taichi_vvc as tv
from taichi_vvc.bitstream import StreamReader
from taichi_vvc.cli import run
from taichi_vvc.geometry.rotations import rotation_of
from taichi_vvc.measure.evaluate import evaluate
from taichi_vvc.media.metrics import psnr
from taichi_vvc.media.pictures import composite
from taichi_vvc.play.playback import Playback
from taichi_vvc.types import Camera

FRAMES, SIZE = 4, 32
TINY = tv.EncoderConfig(**{**TWO_LEVELS, "keyint": 3})


@pytest.fixture(scope="module")
def capture(tmp_path_factory) -> Path:
    return write_moving(tmp_path_factory.mktemp("moving") / "capture", FRAMES, SIZE)


@pytest.fixture(scope="module")
def coded(capture) -> Path:
    """Two groups, of three frames and of one."""
    file = capture.parent / "a.tvvc"
    list(tv.encode(tv.open_capture(capture), TINY, file))
    return file


def test_each_frame_has_the_cameras_that_filmed_it(coded) -> None:
    with tv.open(coded) as stream:
        # Seeking in any order gives the same.
        for index in (2, 0, 3, 1, 1, 2):
            for stored, filmed in zip(stream.cameras_at(index), cameras_at(index, SIZE), strict=True):
                assert (stored.name, stored.split) == (filmed.name, filmed.split)
                assert farthest_apart(stored, filmed) < 0.03, (index, stored.name)
        assert farthest_apart(stream.cameras[1], cameras_at(2, SIZE)[1]) > 2
        assert stream.cameras_at(0) is stream.cameras and stream.cameras_at(-1) == stream.cameras_at(3)
        # To the last bit, where nothing has moved.
        for still in (0, 4):
            assert stream.cameras_at(3)[still] is stream.cameras[still]
        with pytest.raises(IndexError):
            stream.cameras_at(FRAMES)


def test_still_cameras_cost_nothing(tmp_path) -> None:
    list(tv.encode(tv.open_capture(write_capture(tmp_path / "c", frames=2, size=16)), TINY, tmp_path / "a.tvvc"))
    with StreamReader(tmp_path / "a.tvvc") as reader:
        assert reader.version == 8
        assert [reader.read_frame(i).cameras for i in range(2)] == [b"", b""]
    with tv.open(tmp_path / "a.tvvc") as stream:
        assert stream.cameras_at(1) is stream.cameras


def test_moving_cameras_take_few_bytes(coded) -> None:
    with StreamReader(coded) as reader:
        sizes = [reader.components(i)["cameras"] for i in range(FRAMES)]
    # Four cameras change, by tens of pixels a frame; as 32-bit floats they would take 136 bytes.
    assert sizes[0] == 0 and all(20 < size < 48 for size in sizes[1:])


def test_going_on_with_a_file_gives_the_same_bytes(capture, coded, tmp_path) -> None:
    with StreamReader(coded) as reader:
        ends = [frame.offset + frame.size for frame in reader.frames]
    for done in (2, 3):
        cut = tmp_path / f"{done}.tvvc"
        cut.write_bytes(coded.read_bytes()[: ends[done - 1]])
        frames = list(tv.encode(tv.open_capture(capture), TINY, cut, resume=True))
        assert [frame.index for frame in frames] == list(range(done, FRAMES))
        with tv.open(cut) as ours, tv.open(coded) as whole:
            assert ours.hashes() == whole.hashes()


def test_decode_shows_what_was_filmed(capture, coded, tmp_path) -> None:
    assert run(["decode", str(coded), "-o", str(tmp_path / "d"), "--cameras", "cam01,cam03", "--backend", "cpu"]) == 0
    runtime()
    with tv.open(coded) as stream:
        for index, number in ((1, 2), (3, 3)):
            camera = stream.cameras_at(number)[index]
            own = tv.render(stream[number], camera, stream.background).colour
            found = np.asarray(Image.open(tmp_path / "d" / camera.name / f"{number:04d}.png"))
            assert np.abs(found - 255.0 * own).max() <= 0.51
            view = tv.open_capture(capture).frame(number).views[index]
            first = tv.render(stream[number], stream.cameras[index], stream.background).colour
            truth = composite(view.image, stream.background)
            assert psnr(truth, own) > psnr(truth, first) + 3, (index, number)


def test_eval_measures_what_decode_shows(capture, coded) -> None:
    runtime()
    figures = evaluate(coded, capture, split="all")
    sequence = tv.open_capture(capture)
    with tv.open(coded) as stream:
        for number, row in enumerate(figures["per_frame"]):
            field = stream[number]
            own = [
                psnr(composite(view.image, stream.background), tv.render(field, camera, stream.background).colour)
                for view, camera in zip(sequence.frame(number).views, stream.cameras_at(number), strict=True)
            ]
            assert np.mean(own) == pytest.approx(row["psnr"], abs=0.02)


def test_opening_says_that_cameras_move(capture, tmp_path) -> None:
    message = "cameras move during the capture: each frame has its own, in the fit and in the file"
    assert message in tv.open_capture(capture).messages
    sequence = tv.open_capture(capture, frames=slice(2, 4), downscale=2)
    assert sequence.cameras_at(0) == sequence.cameras
    assert all(a.same_as(view.camera) for a, view in zip(sequence.cameras_at(1), sequence.frame(1).views, strict=True))
    # Keys that differ from image to image are no movement.
    folder = write_capture(tmp_path / "still", cameras=4, frames=2, size=16)
    document = read_document(folder)
    for number, record in enumerate(document["frames"]):
        record["colmap_im_id"] = number
    write_document(folder, document)
    assert message not in tv.open_capture(folder).messages


def test_bounds_come_from_wherever_cameras_stand(tmp_path) -> None:
    """A single camera that walks around the subject: its axes meet, though there is one at a time."""

    def walking(frame: int, size: int) -> list[Camera]:
        return [replace(ring_cameras(8, size, 0)[frame], name="phone")]

    folder = write_moving(tmp_path / "c", 8, 16, walking)
    document = read_document(folder)
    del document["aabb"]
    for record in document["frames"]:
        Image.open(folder / record["file_path"]).convert("RGB").save(folder / record["file_path"])
    write_document(folder, document)
    sequence = tv.open_capture(folder)
    assert sequence.bounds_source == "cameras"
    assert (np.array(sequence.bounds.lower) < -0.8).all() and (np.array(sequence.bounds.upper) > 0.8).all()


def test_the_player_shows_cameras_where_they_were(coded) -> None:
    pytest.importorskip("viser")
    from taichi_vvc.play.viewer import Viewer

    with tv.open(coded) as stream, Playback(coded) as playback:
        viewer = Viewer(stream, playback, runtime(), port=8980)
        try:
            for frame in (2, 3, 0):
                viewer._clock.seek(frame, time.monotonic())
                wait_for(lambda frame=frame: viewer._turn() or viewer._field[0] == frame, f"frame {frame}", 60)
                for shown, camera in zip(viewer._markers._frusta, stream.cameras_at(frame), strict=True):
                    np.testing.assert_allclose(shown.position, camera.position, atol=1e-5)
                    np.testing.assert_allclose(rotation_of(shown.wxyz), camera.rotation, atol=1e-5)
                    assert shown.fov == pytest.approx(2 * np.arctan(0.5 * camera.height / camera.fy))
                # A click looks through the camera as it stands then.
                assert viewer._markers._cameras == stream.cameras_at(frame)
        finally:
            viewer.server.stop()
