"""Pictures, depth maps and videos: right values, whole files or none, clear lines."""

from __future__ import annotations

import errno
import io
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace

import av
import numpy as np
import pytest
from PIL import Image

from taichi_vvc.errors import ConfigError, DataError
from taichi_vvc.media import video
from taichi_vvc.media.video import (
    VideoWriter,
    atomic,
    depth_unit,
    read_depth_png,
    with_decoding_times,
    write_depth_png,
    write_png,
)


def read_video(path: Path) -> tuple[list[np.ndarray], av.video.stream.VideoStream]:
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        return [frame.to_ndarray(format="rgb24") for frame in container.decode(stream)], stream


def test_png_values(tmp_path: Path) -> None:
    image = np.array([[[0.0, 0.5, 1.0], [-1.0, 2.0, np.nan]]], np.float32)
    write_png(tmp_path / "new" / "a.png", image)
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "new" / "a.png")), [[[0, 128, 255], [0, 255, 0]]])
    write_png(tmp_path / "b.png", np.full((2, 3), 7, np.uint8))
    with Image.open(tmp_path / "b.png") as picture:
        assert picture.mode == "L"


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    target = tmp_path / "a.png"
    target.write_bytes(b"old")
    with pytest.raises(RuntimeError), atomic(target) as temporary:
        temporary.write_bytes(b"half")
        raise RuntimeError
    assert target.read_bytes() == b"old" and list(tmp_path.iterdir()) == [target]


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    with pytest.raises(DataError, match="cannot write") as caught:
        write_png(tmp_path / "file" / "a.png", np.zeros((2, 2, 3)))
    assert "\n" not in str(caught.value)


def test_depth_survives_with_its_unit(tmp_path: Path) -> None:
    depth = np.array([[0.0, 1.23456, 5.0], [np.inf, np.nan, 99.0]], np.float32)
    unit = depth_unit(5.0)
    assert unit == 1e-4
    write_depth_png(tmp_path / "d.png", depth, unit)
    raw = np.asarray(Image.open(tmp_path / "d.png"))
    np.testing.assert_array_equal(raw, [[0, 12346, 50000], [0, 0, 65535]])
    np.testing.assert_allclose(read_depth_png(tmp_path / "d.png")[0], [0.0, 1.2346, 5.0], rtol=1e-6)


@pytest.mark.parametrize(("farthest", "unit"), [(6.5535, 1e-4), (6.56, 1e-3), (65535.0, 1.0), (0.003, 1e-7)])
def test_depth_unit_is_the_smallest_power_of_ten_that_fits(farthest: float, unit: float) -> None:
    assert depth_unit(farthest) == unit


def test_depth_unit_and_depth_png_refuse_nonsense(tmp_path: Path) -> None:
    for value in (0.0, -1.0, np.nan, np.inf):
        with pytest.raises(ConfigError):
            depth_unit(value)
    write_png(tmp_path / "a.png", np.zeros((2, 2)))
    with pytest.raises(DataError, match="depth_unit"):
        read_depth_png(tmp_path / "a.png")


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".mov"])
def test_video_has_the_pictures_that_were_added(tmp_path: Path, suffix: str) -> None:
    colours = [(0.9, 0.2, 0.1), (0.1, 0.8, 0.3), (0.2, 0.3, 0.9)]
    path = tmp_path / f"out{suffix}"
    with VideoWriter(path, Fraction(30000, 1001)) as writer:
        for colour in colours:
            assert not path.exists()
            writer.add(np.broadcast_to(np.array(colour, np.float32), (36, 50, 3)))
    pictures, stream = read_video(path)
    assert [p.name for p in tmp_path.iterdir()] == [path.name]
    assert len(pictures) == 3 and pictures[0].shape == (36, 50, 3)
    assert stream.codec_context.pix_fmt == "yuv420p"
    assert abs(float(stream.average_rate) - 30000 / 1001) < 0.05
    for picture, colour in zip(pictures, colours, strict=True):
        np.testing.assert_allclose(picture[18, 25] / 255.0, colour, atol=0.03)


def gradient() -> np.ndarray:
    """(48, 64, 4): slopes in every channel; the left quarter is transparent."""
    rows, columns = np.mgrid[0:48, 0:64]
    alpha = np.clip((columns - 16) / 32, 0, 1)
    return np.stack([columns / 63, rows / 47, np.full(rows.shape, 0.5), alpha], axis=-1).astype(np.float32)


def decoded_rgba(path: Path, decoder: str) -> tuple[np.ndarray, str]:
    """The first picture as (H, W, 4) in [0, 1], and the codec's name; FFmpeg's own VP9 decoder leaves alpha out."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        context = av.codec.CodecContext.create(decoder, "r")
        context.extradata = stream.codec_context.extradata
        frames = [frame for packet in container.demux(stream) for frame in context.decode(packet)]
        assert len(frames) == 3
        return frames[0].to_ndarray(format="rgba") / 255.0, stream.codec_context.name


@pytest.mark.parametrize(("name", "decoder", "codec"), [("a.mov", "prores", "prores"), ("a.webm", "libvpx-vp9", "vp9")])
def test_videos_that_hold_transparency(tmp_path: Path, name: str, decoder: str, codec: str) -> None:
    with VideoWriter(tmp_path / name, 25, alpha=True) as writer:
        for _ in range(3):
            writer.add(gradient())
    found, used = decoded_rgba(tmp_path / name, decoder)
    assert used == codec
    np.testing.assert_allclose(found[..., 3], gradient()[..., 3], atol=0.01)
    np.testing.assert_allclose(found[..., :3], gradient()[..., :3], atol=0.04)


@pytest.mark.parametrize(
    ("name", "codec"), [("a.mp4", "h265"), ("a.webm", "vp9"), ("a.mkv", "vp9"), ("a.mov", "prores")]
)
def test_other_codecs(tmp_path: Path, name: str, codec: str) -> None:
    with VideoWriter(tmp_path / name, 25, codec=codec) as writer:
        writer.add(gradient()[..., :3])
    pictures, stream = read_video(tmp_path / name)
    assert stream.codec_context.name == {"h265": "hevc"}.get(codec, codec)
    np.testing.assert_allclose(pictures[0] / 255.0, gradient()[..., :3], atol=0.06)


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5])
def test_short_videos_of_h265_say_when_to_decode_what(tmp_path: Path, count: int) -> None:
    with VideoWriter(tmp_path / "a.mp4", 25, codec="h265") as writer:
        for number in range(count):
            writer.add(np.roll(gradient()[..., :3], 3 * number, axis=1))
    with av.open(str(tmp_path / "a.mp4")) as container:
        packets = [p for p in container.demux(video=0) if p.size]
        assert all(-count - 2 <= p.dts / (p.duration or 1) <= p.pts / (p.duration or 1) < count + 2 for p in packets)
    assert len(read_video(tmp_path / "a.mp4")[0]) == count


def test_decoding_times_lie_before_those_of_display() -> None:
    packets = [SimpleNamespace(pts=pts, dts=-(1 << 40)) for pts in (0, 3, 1, 2)]
    with_decoding_times(packets)
    assert [p.dts for p in packets] == [-3, -2, -1, 0]
    with_decoding_times(packets[:1])
    assert packets[0].dts == 0


def test_a_larger_rate_factor_takes_fewer_bytes(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).random((64, 64, 3)).astype(np.float32)
    sizes = []
    for crf in (5, 40):
        with VideoWriter(tmp_path / f"{crf}.mp4", 25, crf=crf) as writer:
            writer.add(noise)
        sizes.append((tmp_path / f"{crf}.mp4").stat().st_size)
    assert sizes[1] < 0.5 * sizes[0]


def test_what_does_not_go_together_is_refused(tmp_path: Path) -> None:
    for name, options, words in (
        ("a.mp4", {"alpha": True}, "ProRes 4444"),
        ("a.mov", {"alpha": True, "codec": "h264"}, "ProRes 4444"),
        ("a.webm", {"codec": "h264"}, "h264 in .mp4"),
        ("a.mp4", {"codec": "mpeg"}, "a codec of h264"),
        ("a.mp4", {"crf": 52}, "0 to 51"),
        ("a.mp4", {"crf": -1}, "0 to 51"),
        ("a.mov", {"codec": "prores", "crf": 5}, "has none"),
    ):
        with pytest.raises(ConfigError, match=words):
            VideoWriter(tmp_path / name, 25, **options)
    with pytest.raises(DataError, match="rgba"), VideoWriter(tmp_path / "a.mov", 25, alpha=True) as writer:
        writer.add(np.zeros((32, 32, 3)))
    assert list(tmp_path.iterdir()) == []


def test_odd_sizes_are_made_even_by_repeating_the_edge(tmp_path: Path) -> None:
    image = np.zeros((35, 51, 3), np.float32)
    image[:, -1] = image[-1] = 1.0
    with VideoWriter(tmp_path / "a.mp4", 25, crf=1) as writer:
        writer.add(image)
    picture = read_video(tmp_path / "a.mp4")[0][0]
    assert picture.shape == (36, 52, 3)
    assert picture[:35, 51].min() > 225 and picture[35].min() > 225 and picture[:34, :50].max() < 60


def test_an_interrupted_video_leaves_nothing(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    path.write_bytes(b"old")
    with pytest.raises(KeyboardInterrupt), VideoWriter(path, 25) as writer:
        writer.add(np.zeros((32, 32, 3)))
        raise KeyboardInterrupt
    assert path.read_bytes() == b"old" and list(tmp_path.iterdir()) == [path]


def test_video_errors_are_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match=r"\.mp4"):
        VideoWriter(tmp_path / "a.gif", 25)
    with pytest.raises(ConfigError, match="frame rate"):
        VideoWriter(tmp_path / "a.mp4", 0)
    with pytest.raises(DataError, match="at least one"), VideoWriter(tmp_path / "a.mp4", 25):
        pass
    with pytest.raises(DataError, match="one shape"), VideoWriter(tmp_path / "a.mp4", 25) as writer:
        writer.add(np.zeros((32, 32, 3)))
        writer.add(np.zeros((32, 34, 3)))
    monkeypatch.setitem(video.CODECS, "h264", replace(video.CODECS["h264"], encoder="no_such_codec"))
    with pytest.raises(ConfigError, match="no_such_codec encoder") as caught, VideoWriter(tmp_path / "a.mp4", 25):
        pass
    assert "\n" not in str(caught.value)
    (tmp_path / "file").write_text("", encoding="utf-8")
    with pytest.raises(DataError, match="cannot write"), VideoWriter(tmp_path / "file" / "a.mp4", 25):
        pass
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize("taken", [0, 1])
def test_what_a_stream_refuses_is_told_whenever_it_does(taken: int) -> None:
    """Most of a short video is written when it ends, in several pieces."""

    class Closing(io.BytesIO):
        pieces = 0

        def write(self, data) -> int:
            self.pieces += 1
            if self.pieces > taken:
                raise BrokenPipeError(errno.EPIPE, "Broken pipe")
            return super().write(data)

    noise = np.random.default_rng(0)
    with pytest.raises(BrokenPipeError), VideoWriter(Closing(), 25) as written:
        for _ in range(40):
            written.add(noise.integers(0, 256, (32, 32, 3)).astype(np.uint8))
