"""Sound through the commands: a flash in the pictures and a click in the sound stay together."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from captures import read_document, write_document
from commands import TINY_OPTIONS, expect_error, tiny_preset
from layouts import write_video
from sounds import click, click_time, flash_time, write_flash, write_sound

from taichi_vvc.bitstream import StreamReader
from taichi_vvc.cli import run

FPS, FRAMES, FLASH = 5, 4, 2
AT = FLASH / FPS
NEAR = 0.002  # s
CPU = ("--backend", "cpu")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A capture ``capture``, a sound ``a.wav`` and their file ``a.tvvc``."""
    folder = tmp_path_factory.mktemp("sound")
    write_flash(folder / "capture", FRAMES, FLASH, FPS)
    write_sound(folder / "a.wav", click(2.0, AT), "pcm_s16le")
    with tiny_preset():
        arguments = ["encode", str(folder / "capture"), "-o", str(folder / "a.tvvc"), *TINY_OPTIONS]
        assert run([*arguments, "--audio", str(folder / "a.wav")]) == 0
        yield folder


def offset(path: Path) -> float:
    """Seconds from the flash in a video to its click."""
    return click_time(path) - flash_time(path)


def test_info_tells_of_the_sound(folder: Path, capfd) -> None:
    assert run(["info", str(folder / "a.tvvc")]) == 0
    assert "sound       Opus, 1 channel, 0.81" in capfd.readouterr().out
    assert run(["info", str(folder / "a.tvvc"), "--json"]) == 0
    found = json.loads(capfd.readouterr().out)
    assert found["version"] == 8 and found["sound"]["channels"] == 1 and found["sound"]["codec"] == "opus"
    with StreamReader(folder / "a.tvvc") as reader:
        assert found["sound"]["seconds"] == reader.sound().seconds
        groups = sum(group["bytes"] for group in found["gops"])
        assert reader.header_bytes + groups + found["sound"]["bytes"] < found["bytes"] == reader.size
    assert run(["decode", str(folder / "a.tvvc"), "--verify"]) == 0


@pytest.mark.parametrize(
    "arguments",
    [
        ["decode", "-o", "OUT.mp4", "--cameras", "cam00"],
        ["decode", "-o", "OUT.mov", "--cameras", "cam00", "--frames", "1:4"],
        ["decode", "-o", "OUT.webm", "--cameras", "cam00", "--frames", "1:"],
        ["render", "-o", "OUT.mp4", "--size", "32x32"],
        ["render", "-o", "OUT.mp4", "--size", "32x32", "--frames", "1:4", "--fps", "20"],
        ["render", "-o", "OUT.mkv", "--size", "32x32", "--frames", "1:4", "--duration", "1.5"],
    ],
)
def test_videos_have_it_in_time(folder: Path, tmp_path: Path, arguments: list[str]) -> None:
    out = next(argument for argument in arguments if argument.startswith("OUT"))
    path = tmp_path / out
    command, *rest = (str(path) if argument == out else argument for argument in arguments)
    assert run([command, str(folder / "a.tvvc"), *rest, *CPU]) == 0
    assert abs(offset(path)) < NEAR


def test_videos_of_depth_and_of_one_frame_are_silent(folder: Path, tmp_path: Path) -> None:
    file, size = str(folder / "a.tvvc"), ["--size", "32x32", *CPU]
    assert run(["render", file, "-o", str(tmp_path / "a.mp4"), "--depth", *size]) == 0
    assert run(["render", file, "-o", str(tmp_path / "b.mp4"), "--frame", "3", "--duration", "1", *size]) == 0
    import av

    for name in ("a.mp4", "b.mp4"):
        with av.open(str(tmp_path / name)) as container:
            assert not container.streams.audio


def test_selected_frames_have_their_part(folder: Path, tmp_path: Path, capfd) -> None:
    arguments = ["encode", str(folder / "capture"), "-o", str(tmp_path / "b.tvvc"), *TINY_OPTIONS]
    sound = ["--frames", "1:3", "--audio", str(folder / "a.wav")]
    assert run([*arguments, *sound]) == 0
    said = capfd.readouterr().err
    assert "sound of a.wav: mono, pcm_s16le as Opus of 48 kbit/s, from 0.200 s on, 1.40 s longer than" in said
    assert run(["decode", str(tmp_path / "b.tvvc"), "-o", str(tmp_path / "b.mp4"), "--cameras", "cam00", *CPU]) == 0
    assert abs(offset(tmp_path / "b.mp4")) < NEAR
    # A sound of its own beginning, which ends early: no error, and a line that says so.
    late = write_sound(tmp_path / "late.wav", click(0.4, 0.3), "pcm_s16le")
    assert run([*arguments, "-y", "--frames", "1:3", "--audio", str(late), "--audio-start", "-0.1"]) == 0
    assert "from 0.100 s on, 0.10 s shorter than the frames" in capfd.readouterr().err
    assert (
        run(["decode", str(tmp_path / "b.tvvc"), "-o", str(tmp_path / "b.mp4"), "--cameras", "cam00", *CPU, "-y"]) == 0
    )
    assert abs(offset(tmp_path / "b.mp4")) < NEAR
    expect_error(capfd, [*arguments, "-y", "--audio-start", "1"], 2, "give --audio")
    expect_error(capfd, [*arguments, "-y", "--audio", "auto"], 3, "expected a camera whose video has sound, found none")
    expect_error(capfd, [*arguments, "-y", "--audio", str(tmp_path / "no.wav")], 3, "found no such file")


def test_a_stopped_encode_goes_on_with_its_sound(folder: Path, tmp_path: Path, capfd) -> None:
    path, sound = tmp_path / "a.tvvc", ["--audio", str(folder / "a.wav")]
    arguments = ["encode", str(folder / "capture"), "-o", str(path), *TINY_OPTIONS]
    assert run([*arguments, "--frames", "0:2", *sound]) == 0
    capfd.readouterr()
    expect_error(capfd, [*arguments, "--resume"], 2, "expected the sound, as it was begun, found none")
    assert run([*arguments, "--resume", *sound]) == 0
    with StreamReader(path) as reader, StreamReader(folder / "a.tvvc") as whole:
        assert reader.complete and len(reader.frames) == FRAMES and reader.sound() == whole.sound()
    other = write_sound(tmp_path / "other.wav", click(2.0, 0.1), "pcm_s16le")
    expect_error(capfd, [*arguments, "--resume", "--audio", str(other)], 2, "found another one")


def test_pieces_keep_their_sound(folder: Path, tmp_path: Path, capfd) -> None:
    cut, joined = tmp_path / "cut.tvvc", tmp_path / "joined.tvvc"
    assert run(["cut", str(folder / "a.tvvc"), "-o", str(cut), "--frames", "1:4", "--exact"]) == 0
    assert run(["join", str(cut), str(cut), str(folder / "a.tvvc"), "-o", str(joined)]) == 0
    for path, wanted in ((cut, NEAR), (joined, NEAR)):
        video = path.with_suffix(".mp4")
        assert run(["decode", str(path), "-o", str(video), "--cameras", "cam00", *CPU]) == 0
        assert abs(offset(video)) < wanted
    last = tmp_path / "last.mp4"
    assert run(["decode", str(joined), "-o", str(last), "--cameras", "cam00", "--frames", "3:6", *CPU]) == 0
    assert abs(offset(last)) < 0.011
    silent = tmp_path / "silent.tvvc"
    assert run(["encode", str(folder / "capture"), "-o", str(silent), *TINY_OPTIONS, "--frames", "0:1"]) == 0
    assert run(["join", str(silent), "-o", str(tmp_path / "still.tvvc")]) == 0
    with StreamReader(tmp_path / "still.tvvc") as reader:
        assert reader.version == 8 and reader.sound() is None


def test_a_damaged_sound_leaves_a_silent_video(folder: Path, tmp_path: Path, capfd) -> None:
    data = bytearray((folder / "a.tvvc").read_bytes())
    with StreamReader(folder / "a.tvvc") as reader:
        data[reader.sounds[0].offset + 40] ^= 1
    bad = tmp_path / "bad.tvvc"
    bad.write_bytes(bytes(data))
    assert run(["decode", str(bad), "-o", str(tmp_path / "a.mp4"), "--cameras", "cam00", *CPU]) == 0
    assert "a.mp4 has no sound" in capfd.readouterr().err
    assert click_time_or_none(tmp_path / "a.mp4") is None
    expect_error(capfd, ["decode", str(bad), "--verify"], 4, "sound 0")
    expect_error(capfd, ["cut", str(bad), "-o", str(tmp_path / "c.tvvc"), "--frames", "0:2"], 4, "sound 0")


def click_time_or_none(path: Path) -> float | None:
    import av

    with av.open(str(path)) as container:
        return click_time(path) if container.streams.audio else None


def test_the_video_of_a_camera_has_the_sound(tmp_path: Path, capfd) -> None:
    """One video per camera, the second one with sound that began before its pictures."""
    import numpy as np
    from PIL import Image

    capture = write_flash(tmp_path / "pictures", 3, 1, FPS)
    document = read_document(capture)
    videos = tmp_path / "videos"
    records = []
    for camera in sorted({record["camera"] for record in document["frames"]}):
        own = [record for record in document["frames"] if record["camera"] == camera]
        pictures = []
        for record in own:
            rgba = np.asarray(Image.open(capture / record["file_path"])).astype(float)
            alpha = rgba[..., 3:] / 255
            pictures.append(np.rint(rgba[..., :3] * alpha + 255 * (1 - alpha)).astype(np.uint8))
        write_video(videos / f"{camera}.mp4", pictures, fps=FPS)
        keep = {key: own[0][key] for key in ("camera", "split", "transform_matrix")}
        records.append({**keep, "file_path": f"{camera}.mp4"})
    write_document(videos, {**{k: v for k, v in document.items() if k != "frames"}, "frames": records})
    add_sound(videos / "cam01.mp4", click(1.0, 1 / FPS))
    add_sound(videos / "cam04.mp4", click(1.0, 0.5))
    file = tmp_path / "a.tvvc"
    arguments = ["encode", str(videos), "-o", str(file), *TINY_OPTIONS, "--audio", "auto", "--scene", "box"]
    assert run([*arguments, "--frames", "0:1"]) == 0
    assert "sound of cam01.mp4 (camera cam01, of 2 with sound): mono, aac" in capfd.readouterr().err
    with StreamReader(file) as reader:
        assert reader.sound().seconds == pytest.approx(1 / FPS, abs=0.02)
    assert run([*arguments, "-y", "--frames", "1:2"]) == 0
    from taichi_vvc.media.ogg import ogg_of

    with StreamReader(file) as reader:
        # The click is at the beginning of the frame that was chosen.
        assert abs(click_time(ogg_of(reader.sound()))) < NEAR


def add_sound(path: Path, samples) -> None:
    """Gives a video a track of AAC."""
    import av

    silent = path.with_suffix(".silent.mp4")
    path.rename(silent)
    with av.open(str(silent)) as source, av.open(str(path), "w") as container:
        video = container.add_stream_from_template(source.streams.video[0])
        audio = container.add_stream("aac", rate=48000)
        audio.layout = "mono"
        for packet in source.demux(source.streams.video[0]):
            if packet.size:
                packet.stream = video
                container.mux(packet)
        for first in range(0, len(samples), 1024):
            block = samples[first : first + 1024].reshape(1, -1).copy()
            frame = av.AudioFrame.from_ndarray(block, format="fltp", layout="mono")
            frame.sample_rate, frame.pts = 48000, first
            container.mux(audio.encode(frame))
        container.mux(audio.encode(None))
    silent.unlink()
