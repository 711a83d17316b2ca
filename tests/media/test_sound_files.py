"""Sound from files as Opus packets, as Ogg, and in videos: when a click is heard, by FFmpeg."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from sounds import click, click_time, flash_time, write_sound

from taichi_vvc.bitstream.sound import PACKET, Sound, joined, packet_samples
from taichi_vvc.errors import DataError
from taichi_vvc.media.ogg import ogg_of
from taichi_vvc.media.sound import has_sound, read_sound
from taichi_vvc.media.video import VideoWriter

AT = 0.7  # s
MILLISECOND = 0.001


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A click in files of several kinds."""
    folder, samples = tmp_path_factory.mktemp("sounds"), click(1.2, AT)
    made = {
        name: write_sound(folder / name, samples, codec)
        for name, codec in (
            ("a.wav", "pcm_s16le"),
            ("a.mp3", "libmp3lame"),
            ("a.m4a", "aac"),
            ("a.opus", "libopus"),
            ("a.webm", "libopus"),
            ("a.mp4", "libopus"),
        )
    }
    made["slow.wav"] = write_sound(folder / "slow.wav", click(1.2, AT, rate=22050), "pcm_s16le", rate=22050)
    made["stereo.wav"] = write_sound(folder / "stereo.wav", click(1.2, AT, channels=2), "pcm_s16le")
    return made


@pytest.mark.parametrize("begin", [Fraction(0), Fraction(1, 3), Fraction(2, 3), Fraction(-1, 4)])
@pytest.mark.parametrize("name", ["a.wav", "a.mp3", "a.m4a", "a.opus", "a.webm", "a.mp4", "slow.wav", "stereo.wav"])
def test_a_click_is_heard_when_it_should_be(files: dict[str, Path], name: str, begin: Fraction) -> None:
    found = read_sound(files[name], begin, Fraction(1))
    sound = found.sound
    assert abs(click_time(ogg_of(sound)) - (AT - begin)) < MILLISECOND
    assert sound.channels == (2 if name == "stereo.wav" else 1)
    # The packets of an Opus file are its own, unless silence has to come before them.
    assert found.copied == (name in ("a.opus", "a.webm", "a.mp4") and begin >= 0)
    assert all(packet_samples(packet) == PACKET for packet in sound.packets)
    assert -0.01 < sound.seconds - min(1.0, 1.2 - float(begin)) < 0.06
    assert found.more == pytest.approx(0.2 - float(begin), abs=0.06)


def test_time_begins_with_the_pictures(tmp_path: Path) -> None:
    """As where a phone's microphone starts before its camera."""
    file = write_sound(tmp_path / "late.mp4", click(1.2, AT), "aac", pictures=0.4)
    assert abs(click_time(ogg_of(read_sound(file, Fraction(0), Fraction(1)).sound)) - (AT - 0.4)) < MILLISECOND


def test_more_channels_become_two(tmp_path: Path) -> None:
    import av

    with av.open(str(tmp_path / "a.wav"), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=48000)
        stream.layout = "5.1"
        block = np.zeros((1, 6 * 48000), np.int16)
        block[0, 6 * 33600 : 6 * 34080] = 30000 * (-1) ** np.arange(2880)
        frame = av.AudioFrame.from_ndarray(block, format="s16", layout="5.1")
        frame.sample_rate = 48000
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    sound = read_sound(tmp_path / "a.wav", Fraction(0), Fraction(1)).sound
    assert sound.channels == 2 and abs(click_time(ogg_of(sound)) - 0.7) < MILLISECOND


@pytest.mark.parametrize("name", ["a.wav", "a.opus"])
def test_packets_do_not_depend_on_how_much_is_wanted(files: dict[str, Path], name: str) -> None:
    """So an encode that is resumed with more frames has the same sound."""
    short, long = (read_sound(files[name], Fraction(1, 10), Fraction(part)).sound for part in ("0.3", "1"))
    assert len(short.packets) < len(long.packets) and short.skip == long.skip
    assert long.packets[: len(short.packets)] == short.packets


def test_what_has_no_sound_is_told_in_one_line(files: dict[str, Path], tmp_path: Path) -> None:
    (tmp_path / "text.wav").write_text("no sound")
    with VideoWriter(tmp_path / "silent.mp4", 25) as video:
        video.add(np.zeros((32, 32, 3), np.uint8))
    for path, begin, line in (
        (tmp_path / "missing.wav", 0, "expected a file with sound, found no such file"),
        (tmp_path / "text.wav", 0, "expected a file with sound, cannot read it"),
        (tmp_path / "silent.mp4", 0, "expected a track of sound, found none"),
        (files["a.wav"], 5, "expected sound from 5 s on, found none; it ends before"),
        (files["a.opus"], 5, "expected sound from 5 s on, found none; it ends before"),
    ):
        with pytest.raises(DataError, match=line) as caught:
            read_sound(path, Fraction(begin), Fraction(1))
        assert "\n" not in str(caught.value)
        assert has_sound(path) == (path in files.values())


def test_ogg_holds_packets_of_any_length() -> None:
    import io

    import av

    packets = tuple(b"\xf8" + bytes(size - 1) for size in (1, 3, 254, 255, 256, 509, 510, 511, 1275, 16000) * 30)
    with av.open(io.BytesIO(ogg_of(Sound(1, 312, packets)))) as container:
        found = [bytes(packet) for packet in container.demux(container.streams.audio[0]) if packet.size]
    assert tuple(found) == packets
    with av.open(io.BytesIO(ogg_of(Sound(2, 0, packets[:1])))) as container:
        assert container.streams.audio[0].codec_context.channels == 2


@pytest.mark.parametrize("ending", ["mp4", "mov", "mkv", "webm"])
def test_videos_play_sound_in_time(files: dict[str, Path], tmp_path: Path, ending: str) -> None:
    sound = read_sound(files["a.wav"], Fraction(1, 2), Fraction(2)).sound
    path = tmp_path / f"a.{ending}"
    with VideoWriter(path, Fraction(25), sound=sound) as video:
        for number in range(15):
            video.add(np.full((32, 32, 3), 255 * (number == 5), np.uint8))
    assert abs(click_time(path) - flash_time(path)) < 2 * MILLISECOND
    import av

    with av.open(str(path)) as container:
        frames = list(container.decode(container.streams.audio[0]))
        last = frames[-1]
        # Sound ends with the pictures, which last 0.6 s.
        assert 0.58 < float(last.pts * last.time_base) + last.samples / last.sample_rate < 0.66
        assert container.streams.audio[0].codec_context.name == ("aac" if ending == "mov" else "opus")


def test_clicks_stay_where_they_are_when_pieces_are_joined(files: dict[str, Path]) -> None:
    sound = read_sound(files["a.wav"], Fraction(0), Fraction(1)).sound
    found = joined([(sound, Fraction(0), Fraction(1, 3)), (sound, Fraction(1, 2), Fraction(1, 3))])
    assert found is not None
    # The second piece begins at a third; the click is 0.2 s into it. Packets are 20 ms.
    assert abs(click_time(ogg_of(found)) - (1 / 3 + 0.2)) < 0.011
