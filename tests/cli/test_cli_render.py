"""``tvvc render``: clips, stills, transparency, depth beside colour, and the cameras that were rendered."""

from __future__ import annotations

import json
import os
from pathlib import Path

import av
import numpy as np
import pytest
from captures import ring_cameras, write_capture
from commands import expect_error, run
from PIL import Image
from tiny import ONE_LEVEL

import taichi_vvc as tv
from taichi_vvc.capture.camera_paths import keyframe_path
from taichi_vvc.field.render import render
from taichi_vvc.media.video import read_depth_png

FRAMES, SIZE = 5, 24


@pytest.fixture(scope="module")
def file(tmp_path_factory) -> Path:
    """Five frames at 25 frames per second."""
    folder = tmp_path_factory.mktemp("render")
    capture = write_capture(folder / "capture", cameras=4, frames=FRAMES, size=SIZE)
    list(tv.encode(tv.open_capture(capture), tv.EncoderConfig(**ONE_LEVEL), folder / "a.tvvc"))
    return folder / "a.tvvc"


def draws(file: Path, *arguments: object) -> int:
    return run(["render", str(file), "--backend", "cpu", *map(str, arguments)])


def pictures_of(path: Path) -> list[np.ndarray]:
    with av.open(str(path)) as container:
        return [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]


def png(path: Path) -> np.ndarray:
    return np.asarray(Image.open(path))


def expected(file: Path, frame: int, camera: str, background=None) -> np.ndarray:
    """The picture of one of the file's cameras by the Python API, uint8."""
    with tv.open(file) as stream:
        chosen = next(c for c in stream.cameras if c.name == camera)
        image = render(stream[frame], chosen, stream.background if background is None else background)
        return np.rint(np.clip(image.colour, 0, 1) * 255).astype(np.uint8)


def test_a_clip_lasts_as_long_as_its_frames_unless_asked(file, tmp_path, capfd) -> None:
    assert draws(file, "-o", tmp_path / "a.mp4", "--size", "24x16") == 0
    assert len(pictures_of(tmp_path / "a.mp4")) == FRAMES
    assert f"{FRAMES} pictures of 24x16 at 25 per second" in capfd.readouterr().err
    assert draws(file, "-o", tmp_path / "b.mp4", "--size", "24x16", "--duration", "1", "--fps", "12.5") == 0
    assert [p.shape for p in pictures_of(tmp_path / "b.mp4")] == [(16, 24, 3)] * 12
    expect_error(capfd, ["render", file, "-o", tmp_path / "a.mp4"], 2, "exists", "-y")
    expect_error(capfd, ["render", file, "-o", tmp_path / "x.mp4", "--path", "zigzag"], 2, "zigzag")
    expect_error(
        capfd, ["render", file, "-o", tmp_path / "x.mp4", "--duration", "86400", "--fps", "1000"], 2, "--duration"
    )


def test_a_still_is_one_picture(file, tmp_path, capfd) -> None:
    out = tmp_path / "a.png"
    assert draws(file, "-o", out, "--frame", "3", "--camera", "cam01") == 0
    assert out.is_file() and "a.png: 1 picture of 24x24" in capfd.readouterr().err
    np.testing.assert_array_equal(png(out), expected(file, 3, "cam01"))
    assert draws(file, "-o", tmp_path / "b.jpg", "--camera", "cam01") == 0
    assert np.abs(png(tmp_path / "b.jpg").astype(int) - expected(file, 0, "cam01")).mean() < 6
    expect_error(capfd, ["render", file, "-o", out], 2, "a.png exists")
    expect_error(capfd, ["render", file, "-o", tmp_path / "c.png", "--frames", "0:2"], 2, "--frame N")
    expect_error(capfd, ["render", file, "-o", tmp_path / "c.png", "--frame", "9"], 2, "5 frames")
    expect_error(capfd, ["render", file, "-o", tmp_path / "c.png", "--frame", "1", "--frames", "0"], 2, "contradict")
    expect_error(capfd, ["render", file, "-o", tmp_path / "c.png", "--camera", "nobody"], 2, "cam00, cam01")
    expect_error(
        capfd, ["render", file, "-o", tmp_path / "c.png", "--camera", "cam00", "--path", "orbit"], 2, "contradict"
    )


def test_a_still_on_a_path_is_the_clips_picture(file, tmp_path) -> None:
    assert draws(file, "-o", tmp_path / "clip/", "--path", "spiral", "--size", "20x20") == 0
    assert draws(file, "-o", tmp_path / "s.png", "--path", "spiral", "--size", "20x20", "--frame", "2") == 0
    np.testing.assert_array_equal(png(tmp_path / "s.png"), png(tmp_path / "clip" / "0002.png"))


def test_a_name_says_what_it_is(file, tmp_path, monkeypatch, capfd) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("plain", "v1.0/"):
        assert draws(file, "-o", name, "--size", "16x16", "--frames", "0:2") == 0
        assert sorted(p.name for p in Path(name).iterdir()) == ["0000.png", "0001.png", "cameras.json"]
    assert draws(file, "-o", "v1.0", "--size", "16x16", "--frames", "0:2", "-y") == 0, "a folder that is there"
    for name in ("a.gif", "v2.0", "a.tvvc"):
        expect_error(capfd, ["render", file, "-o", name], 2, name, "/ at the end")
        expect_error(capfd, ["decode", file, "-o", name], 2, name, "/ at the end")


def test_decode_writes_stills_of_one_frame(file, tmp_path, capfd) -> None:
    out = tmp_path / "a.png"
    expect_error(capfd, ["decode", file, "-o", out, "--cameras", "cam00"], 2, "a still", "--frames N")
    assert (
        run(["decode", str(file), "-o", str(out), "--cameras", "cam00,cam02", "--frames", "1", "--backend", "cpu"]) == 0
    )
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a_cam00.png", "a_cam02.png"]
    np.testing.assert_array_equal(png(tmp_path / "a_cam02.png"), expected(file, 1, "cam02"))


def test_backgrounds(file, tmp_path) -> None:
    assert draws(file, "-o", tmp_path / "red.png", "--camera", "cam00", "--background", "#ff0000") == 0
    np.testing.assert_array_equal(png(tmp_path / "red.png"), expected(file, 0, "cam00", (1.0, 0.0, 0.0)))
    assert draws(file, "-o", tmp_path / "clear.png", "--camera", "cam00", "--background", "transparent") == 0
    clear = png(tmp_path / "clear.png")
    assert clear.shape == (SIZE, SIZE, 4) and clear[..., 3].min() == 0 and clear[..., 3].max() > 200
    for background in ((1.0, 1.0, 1.0), (0.0, 0.4, 0.0)):
        alpha = clear[..., 3:] / 255.0
        blended = 255 * (clear[..., :3] / 255.0 * alpha + np.array(background) * (1 - alpha))
        assert np.abs(blended - expected(file, 0, "cam00", background)).max() <= 2


@pytest.mark.parametrize(("name", "decoder"), [("a.mov", "prores"), ("a.webm", "libvpx-vp9")])
def test_videos_with_transparency(file, tmp_path, name: str, decoder: str) -> None:
    assert draws(file, "-o", tmp_path / name, "--camera", "cam00", "--background", "transparent") == 0
    with av.open(str(tmp_path / name)) as container:
        stream = container.streams.video[0]
        context = av.codec.CodecContext.create(decoder, "r")
        context.extradata = stream.codec_context.extradata
        found = [frame for packet in container.demux(stream) for frame in context.decode(packet)]
    assert len(found) == FRAMES
    assert draws(file, "-o", tmp_path / "still.png", "--camera", "cam00", "--background", "transparent") == 0
    opacity = found[0].to_ndarray(format="rgba")[..., 3].astype(int)
    assert np.abs(opacity - png(tmp_path / "still.png")[..., 3]).mean() < 8


def test_codecs_and_quality(file, tmp_path, capfd) -> None:
    sizes = []
    for crf in (5, 45):
        assert draws(file, "-o", tmp_path / f"{crf}.mp4", "--size", "64x64", "--codec", "h265", "--crf", crf) == 0
        sizes.append((tmp_path / f"{crf}.mp4").stat().st_size)
    assert sizes[1] < sizes[0]
    with av.open(str(tmp_path / "5.mp4")) as container:
        assert container.streams.video[0].codec_context.name == "hevc"
    for options, words in (
        (["-o", "x.mp4", "--background", "transparent"], "ProRes 4444"),
        (["-o", "x.webm", "--codec", "h264"], "h264"),
        (["-o", "x.mp4", "--crf", "60"], "0 to 51"),
        (["-o", "x/", "--crf", "20"], "for videos"),
        (["-o", "x.jpg", "--background", "transparent"], "JPEG"),
        (["-o", "x.jpg", "--depth"], "JPEG"),
        (["-o", "x.mp4", "--depth", "--background", "white"], "--depth"),
        (["-o", "x.mp4", "--depth", "--depth-output", "d/"], "--depth"),
        (["-o", "x.mp4", "--depth-output", "-"], "of its own"),
        (["-o", "x.mp4", "--depth-output", "d.png"], "a still of both"),
        (["-o", "x.png", "--depth-output", "d.jpg"], "JPEG"),
    ):
        expect_error(capfd, ["render", file, *options], 2, words)


def test_depth_beside_colour_is_that_of_the_cameras(file, tmp_path) -> None:
    assert draws(file, "-o", tmp_path / "c/", "--depth-output", tmp_path / "d/", "--camera", "cam02") == 0
    with tv.open(file) as stream:
        truth = render(stream[4], stream.cameras[2], stream.background)
    depth = read_depth_png(tmp_path / "d" / "0004.png")
    np.testing.assert_allclose(depth, truth.depth, atol=2e-3)
    np.testing.assert_array_equal(png(tmp_path / "c" / "0004.png"), expected(file, 4, "cam02"))
    assert draws(file, "-o", tmp_path / "only/", "--depth", "--camera", "cam02") == 0
    np.testing.assert_array_equal(png(tmp_path / "only" / "0004.png"), png(tmp_path / "d" / "0004.png"))
    assert draws(file, "-o", tmp_path / "c.mp4", "--depth-output", tmp_path / "d.mp4", "--size", "24x24") == 0
    grey, colour = pictures_of(tmp_path / "d.mp4"), pictures_of(tmp_path / "c.mp4")
    assert len(grey) == len(colour) == FRAMES and np.ptp(grey[0].astype(int), axis=2).max() < 6
    assert draws(file, "-o", tmp_path / "s.png", "--depth-output", tmp_path / "sd.png", "--camera", "cam02") == 0
    assert png(tmp_path / "sd.png").dtype == np.uint16


def test_the_rendered_cameras_are_written_and_can_be_rendered_again(file, tmp_path) -> None:
    assert draws(file, "-o", tmp_path / "a/", "--path", "orbit", "--size", "24x16", "--frames", "1:4") == 0
    document = json.loads((tmp_path / "a" / "cameras.json").read_text(encoding="utf-8"))
    assert [row["frame"] for row in document["cameras"]] == [1, 2, 3]
    assert [row["time"] for row in document["cameras"]] == pytest.approx([0.0, 0.04, 0.08])
    again = ["--path", tmp_path / "a" / "cameras.json", "--size", "24x16", "--frames", "1:4"]
    assert draws(file, "-o", tmp_path / "b/", *again) == 0
    for number in range(3):
        first, second = (png(tmp_path / folder / f"{number:04d}.png").astype(int) for folder in "ab")
        assert np.abs(first - second).max() <= 1
    assert draws(file, "-o", tmp_path / "c.mp4", "--size", "24x16") == 0
    assert len(keyframe_path(tmp_path / "c.cameras.json", FRAMES, (24, 16))) == FRAMES


def test_a_camera_at_another_size_keeps_square_pixels(file, tmp_path) -> None:
    from taichi_vvc.cli.shots import framed

    camera = ring_cameras(3, (40, 30))[0]
    wide = framed(camera, (80, 30))
    assert (wide.width, wide.height, wide.fx, wide.fy) == (80, 30, camera.fx, camera.fy)
    assert (wide.cx, wide.cy) == (40.0, 15.0)
    half = framed(camera, (20, 15))
    assert (half.fx, half.cx, half.cy) == pytest.approx((camera.fx / 2, 10.0, 7.5))
    assert draws(file, "-o", tmp_path / "big.png", "--camera", "cam00", "--size", "48x48") == 0
    small = png(tmp_path / "big.png").reshape(24, 2, 24, 2, 3).mean((1, 3))
    assert np.abs(small - expected(file, 0, "cam00")).mean() < 6


def test_render_says_the_size_that_the_file_has(file, tmp_path, capfd) -> None:
    capfd.readouterr()
    command = ["--path", "orbit", "--size", "25x17", "--progress", "json"]
    assert draws(file, "-o", tmp_path / "odd.mp4", *command) == 0
    result = json.loads(capfd.readouterr().err.splitlines()[-1])
    assert (result["pictures"], result["width"], result["height"]) == (FRAMES, 26, 18)
    assert pictures_of(tmp_path / "odd.mp4")[0].shape == (18, 26, 3)
    assert draws(file, "-o", tmp_path / "p", *command) == 0
    assert png(tmp_path / "p" / "0000.png").shape == (17, 25, 3)


def test_what_would_do_nothing_or_harm_is_refused(file, tmp_path, capfd) -> None:
    still, folder = tmp_path / "a.png", tmp_path / "tour"
    for option in (("--fps", "5"), ("--duration", "2")):
        expect_error(capfd, ["render", file, "-o", still, *option], 2, "is a still")
    expect_error(capfd, ["render", file, "-o", tmp_path / "a.mp4", "--fps", "0.0001"], 2, "--fps")
    # The same folder under two names.
    folder.mkdir()
    beside = f"{tmp_path}/tour/../tour/"
    expect_error(capfd, ["render", file, "-o", folder, "--depth-output", beside], 2, "of its own")
    # Somebody's own path, where that of the pictures would go.
    poses = folder / "cameras.json"
    assert draws(file, "-o", still, "--size", "8x8") == 0
    poses.write_bytes((tmp_path / "a.cameras.json").read_bytes())
    expect_error(capfd, ["render", file, "-o", folder, "--path", poses, "-y"], 2, "would be written there")
    assert poses.read_bytes() == (tmp_path / "a.cameras.json").read_bytes() and os.listdir(folder) == [poses.name]


@pytest.mark.parametrize("way", [("--path", "orbit"), ("--camera", "cam01")])
def test_pictures_before_a_damaged_frame_are_drawn(file, tmp_path, capfd, way: tuple[str, str]) -> None:
    damaged = tmp_path / "a.tvvc"
    data = bytearray(file.read_bytes())
    with tv.open(file) as stream:
        entry = stream._reader.frames[3]
    data[entry.offset + entry.size // 2] ^= 1
    damaged.write_bytes(data)
    assert draws(damaged, "-o", tmp_path / "d", "--size", "8x8", *way) == 4
    assert "frame 3" in capfd.readouterr().err
    assert sorted(path.name for path in (tmp_path / "d").iterdir()) == ["0000.png", "0001.png", "0002.png"]
