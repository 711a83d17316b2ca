"""Runs of sound in the container: where they stand, what is passed over, and how they are cut and joined."""

from __future__ import annotations

import dataclasses
from fractions import Fraction
from pathlib import Path

import independent_reader
import pytest
import streams
from places import DATA

from taichi_vvc.bitstream import Sound, StreamReader, StreamWriter, chunks, versions
from taichi_vvc.bitstream.contents import Order
from taichi_vvc.bitstream.sound import PACKET, SILENCE, joined, packet_samples, piece
from taichi_vvc.bitstream.sound_runs import SoundWriter, sound_writer, stored_packets
from taichi_vvc.errors import ConfigError, CorruptStream, StreamError


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "small.tvvc"


def numbered(count: int, channels: int = 1, skip: int = 700) -> Sound:
    """A sound whose packets say where they are from."""
    return Sound(channels, skip, tuple(bytes([0xF8, number]) for number in range(count)))


def numbers(sound: Sound | None) -> list[int]:
    """Where the packets of a sound are from; -1 for silence."""
    assert sound is not None
    return [-1 if packet in SILENCE.values() else packet[1] for packet in sound.packets]


def test_runs_are_found_with_and_without_an_index(path: Path) -> None:
    data = streams.write(path, sound=True)
    found = independent_reader.read_file(data)
    with StreamReader(path) as reader:
        assert reader.complete and reader.version == found["version"] == 7
        with_index, sound = reader.sounds, reader.sound()
        assert sound is not None and list(sound.packets) == found["sound"]["packets"]
        assert [run.number for run in with_index] == found["sound"]["runs"] == [0, 2, 4]
        assert sound == Sound(1, 700, tuple(p for number in (0, 2, 4) for p in streams.run(number).packets))
        # Sound is nobody's frame, and everything but header and index is somebody's.
        sizes = sum(reader.frame_size(frame) for frame in range(5)) + sum(run.size for run in with_index)
        end = reader.frames[-1].offset + reader.frames[-1].size
        assert sizes == end - reader.header_bytes
    path.write_bytes(data[:end])
    with StreamReader(path) as reader:
        assert not reader.complete and reader.sounds == with_index and reader.sound() == sound


def test_files_without_sound_are_what_they_were(path: Path) -> None:
    with StreamWriter.create(path, streams.header(), version=6) as writer:
        writer.add_group(streams.group(0, 0))
        writer.add_frame(streams.frame(0, 0, True))
        writer.finish()
    silent = path.read_bytes()
    path.unlink()
    with StreamWriter.create(path, streams.header(), version=7) as writer:
        writer.add_group(streams.group(0, 0))
        writer.add_frame(streams.frame(0, 0, True))
        writer.finish()
    # But for the version, and the checksums that follow from it, nothing has changed.
    assert len(path.read_bytes()) == len(silent)
    with StreamReader(path) as reader:
        assert reader.sound() is None and reader.sounds == ()


@pytest.mark.parametrize("at", [0, 1, 3])
def test_chunks_with_a_small_letter_are_passed_over(path: Path, at: int) -> None:
    plain = streams.write(path, sound=True)
    with StreamReader(path) as reader:
        frames = [reader.read_frame(number) for number in range(5)]
        sound = reader.sound()
    for kind, version, fine in ((b"note", 7, True), (b"Note", 7, False), (b"note", 6, False), (b"soun", 6, False)):
        source = plain if version == 7 else streams.write(path.with_name(f"{kind!r}{at}.tvvc"), version=6)
        path.write_bytes(with_chunk(path, source, kind, at, index=False))
        with StreamReader(path) as reader:
            assert len(reader.frames) == (5 if fine else at)
            assert not reader.complete and (not fine or len(reader.others) == 1)
            if not fine:
                with pytest.raises(CorruptStream, match="expected a group or a frame"):
                    reader.scan()
                continue
            assert [reader.read_frame(number) for number in range(5)] == frames and reader.sound() == sound
            reader.scan()
    data = with_chunk(path, plain, b"note", at, index=True)
    path.write_bytes(data)
    with StreamReader(path) as reader:
        assert reader.complete and len(reader.others) == 1 and reader.sound() == sound
        assert [reader.read_frame(number) for number in range(5)] == frames
    found = independent_reader.read_file(data)
    assert found["others"] == [(b"note", b"hello")] and len(found["frames"]) == 5


def with_chunk(path: Path, data: bytes, kind: bytes, frame: int, index: bool) -> bytes:
    """A file with a chunk of a type before a frame (and its group), with a new index or none."""
    path.write_bytes(data)
    with StreamReader(path) as reader:
        order, fps = Order(reader.header_bytes), reader.header.fps
        entries = sorted((*reader.groups, *reader.frames, *reader.sounds), key=lambda entry: entry.offset)
        place = next(i for i, e in enumerate(entries) if e.offset >= reader.frames[frame].offset)
        place -= reader.frames[frame].type == "key"
    out = data[: order.end]

    def add(kind: bytes, payload: bytes, entry: object) -> None:
        nonlocal out
        chunk = chunks.seal(kind, payload, out[-4:])
        out += chunk
        if entry is None:
            order.add("other", 0, len(chunk))
        elif isinstance(entry, type(entries[0])) and kind == chunks.SOUND:
            order.add("sound", entry.number, len(chunk))
        elif kind == chunks.GROUP:
            order.add("group", entry.number, len(chunk), entry.mlp, entry.colours)
        else:
            order.add(entry.type, entry.number, len(chunk))

    for number, entry in enumerate(entries):
        if number == place:
            add(kind, b"hello", None)
        own = data[entry.offset : entry.offset + entry.size]
        add(own[:4], own[8:-4], entry)
    if index:
        payload = chunks.pack_index(order.entries()[0].offset, order.entries(), len(order.frames), fps, 7)
        out += chunks.seal(chunks.INDEX, payload, out[-4:])
    return out


def test_altered_sound_is_never_returned(path: Path) -> None:
    data = streams.write(path, sound=True)
    with StreamReader(path) as reader:
        sound, runs = reader.sound(), reader.sounds
    for run in runs:
        for at in range(run.offset, run.offset + run.size):
            path.write_bytes(data[:at] + bytes([data[at] ^ 0x20]) + data[at + 1 :])
            with StreamReader(path) as reader:
                # Frames do not depend on it.
                assert len(reader.frames) == 5 and [reader.read_frame(n).number for n in range(5)] == list(range(5))
                with pytest.raises(StreamError):
                    reader.sound()
                with pytest.raises(StreamError):
                    reader.scan()
    path.write_bytes(data)
    with StreamReader(path) as reader:
        assert reader.sound() == sound


@pytest.mark.parametrize(
    ("second", "what"),
    [
        ({"number": 3}, "expected packet 2 of one sound"),
        ({"number": 0}, "packet"),
        ({"channels": 2}, "expected packet 2 of one sound"),
        ({"skip": 701}, "expected packet 2 of one sound"),
    ],
)
def test_runs_are_of_one_sound(path: Path, second: dict, what: str) -> None:
    with StreamWriter.create(path, streams.header(), version=7) as writer:
        with pytest.raises(ValueError, match="expected packet 0, found packet 1"):
            writer.add_sound(streams.run(1))
        writer.add_sound(streams.run(0))
        run = dataclasses.replace(streams.run(2), **second)
        if run.number == 0:
            with pytest.raises(ValueError, match="expected packet 1 or a later one"):
                writer.add_sound(run)
            return
        writer.add_sound(run)
        writer.add_group(streams.group(0, 0))
        writer.add_frame(streams.frame(0, 0, True))
        writer.finish()
    with StreamReader(path) as reader:
        assert reader.complete and len(reader.frames) == 1
        with pytest.raises(CorruptStream, match=what):
            reader.sound()
    with pytest.raises(independent_reader.Damaged):
        independent_reader.read_file(path.read_bytes())
    with (
        StreamWriter.create(path, streams.header(), overwrite=True, version=6) as writer,
        pytest.raises(ValueError, match="no sound"),
    ):
        writer.add_sound(streams.run(0))


def test_an_index_with_sound_out_of_order_is_none(path: Path) -> None:
    data = streams.write(path, sound=True)
    with StreamReader(path) as reader:
        start = reader.frames[-1].offset + reader.frames[-1].size
        order = Order(reader.header_bytes)
        order.groups, order.frames, order.sounds = list(reader.groups), list(reader.frames), list(reader.sounds)
        sounds = reader.sounds
    for number in (0, 1, 4):
        order.sounds[1] = dataclasses.replace(sounds[1], number=number)
        payload = chunks.pack_index(reader.header_bytes, order.entries(), 5, streams.header().fps, 7)
        path.write_bytes(data[:start] + chunks.seal(chunks.INDEX, payload, data[start - 4 : start]))
        with StreamReader(path) as reader:
            # Numbers that rise make an index, but one that the chunk contradicts.
            assert reader.complete == (number == 1)
            if number == 1:
                with pytest.raises(CorruptStream, match="expected packet 1 of sound, found packet 2"):
                    reader.sound()
            else:
                assert reader.sounds == sounds


@pytest.mark.parametrize(("frames", "period"), [(7, 3), (7, 1), (1, 10), (12, 5)])
def test_sound_comes_before_the_frames_that_it_is_heard_with(path: Path, frames: int, period: int) -> None:
    fps = streams.header().fps
    whole = numbered(60)
    heard = SoundWriter(whole, fps, frames, period)
    with StreamWriter.create(path, streams.header(), version=7) as writer:
        for number in range(frames):
            heard.before_frame(writer, number)
            if number % 4 == 0:
                writer.add_group(streams.group(number // 4, number))
            writer.add_frame(streams.frame(number, number // 4, number % 4 == 0))
        writer.finish()
    with StreamReader(path) as reader:
        sound = reader.sound()
        assert sound is not None
        needed = -(-(round(frames / fps * 48000) + 700) // PACKET)
        assert sound.packets == whole.packets[:needed]
        assert len(reader.sounds) == -(-frames // period)
        assert sum(run.size for run in reader.sounds) <= heard.size
        for number, frame in enumerate(reader.frames):
            last = -(-(round((number + 1) / fps * 48000) + 700) // PACKET)
            behind = [run.number for run in reader.sounds if run.offset > frame.offset]
            assert len(behind) < len(reader.sounds) and min(behind, default=last) >= last
    assert stored_packets(path, whole) == needed
    other = dataclasses.replace(whole, packets=whole.packets[1:])
    for wrong, line in (
        (None, "expected the sound, as it was begun, found none"),
        (other, "found another one"),
        (dataclasses.replace(whole, skip=1), "found another one"),
    ):
        with pytest.raises(ConfigError, match=line):
            stored_packets(path, wrong)
    silent = path.with_name("silent.tvvc")
    streams.write(silent)
    assert stored_packets(silent, None) == 0
    with pytest.raises(ConfigError, match="expected no sound, as it was begun, found some"):
        stored_packets(silent, whole)


def test_what_stands_behind_the_last_frame_is_written_again(path: Path) -> None:
    """A stopped encode may have written a run of sound whose frame never came."""
    whole, fps = numbered(60), streams.header().fps
    heard = SoundWriter(whole, fps, 4, 2)
    with StreamWriter.create(path, streams.header()) as writer:
        for number in range(3):
            heard.before_frame(writer, number)
            if number == 2:
                break
            if number == 0:
                writer.add_group(streams.group(0, 0))
            writer.add_frame(streams.frame(number, 0, number == 0))
    cut = path.read_bytes()
    sent = stored_packets(path, whole)
    assert sent < heard.sent
    writer, done = StreamWriter.resume(path, streams.header())
    heard.sent = sent
    with writer:
        assert done == 2
        for number in (2, 3):
            heard.before_frame(writer, number)
            writer.add_frame(streams.frame(number, 0, False))
        writer.finish()
    data = path.read_bytes()
    assert data.startswith(cut)
    with StreamReader(path) as reader:
        assert reader.complete and [run.number for run in reader.sounds] == [0, sent]
        sound = reader.sound()
        assert sound is not None and sound.packets == whole.packets[: len(sound.packets)]


def test_lengths_of_packets() -> None:
    # One of each configuration and code, by the units of RFC 6716's second table.
    units = [4, 8, 16, 24] * 3 + [4, 8] * 2 + [1, 2, 4, 8] * 4
    for first in range(256):
        count = (1, 2, 2, 3)[first & 3]
        assert packet_samples(bytes([first, 3])) == units[first >> 3] * 120 * count
    assert packet_samples(b"") == packet_samples(b"\xfb") == 0
    assert all(packet_samples(packet) == PACKET for packet in SILENCE.values())


def test_a_piece_keeps_what_a_decoder_needs_to_settle() -> None:
    whole = numbered(100)
    found = piece(whole, Fraction(1), Fraction(1, 2))
    # A second and 700 samples are 50.7 packets; 80 ms before that are 46.7.
    assert numbers(found)[0] == 46 and found.skip == 48700 - 46 * PACKET
    assert PACKET * len(found.packets) - found.skip >= 24000
    assert numbers(piece(whole, Fraction(0), Fraction(1, 2))) == list(range(26))
    assert piece(whole, Fraction(3), Fraction(1)).samples == 0
    again = piece(found, Fraction(1, 4), Fraction(1, 4))
    assert numbers(again)[0] == 59 and again.skip + 59 * PACKET == round(48000 * 1.25) + 700


def test_joined_pieces_are_at_most_ten_milliseconds_off() -> None:
    a, b = numbered(100), numbered(90, skip=333)
    third = Fraction(1, 3)
    found = joined([(a, Fraction(0), third), (b, third, third), (None, Fraction(0), third), (a, third, third)])
    assert found is not None
    for number, packet in enumerate(numbers(found)):
        time = Fraction(number * PACKET - found.skip, 48000)
        part = min(3, max(0, int((time + Fraction(1, 100)) / third)))
        if packet < 0:
            assert 2 * third - Fraction(1, 100) <= time <= 3 * third
            continue
        source = a if part in (0, 3) else b
        theirs = Fraction(packet * PACKET - source.skip, 48000) - (0 if part == 0 else third)
        assert abs(time - part * third - theirs) <= Fraction(1, 100)
    assert joined([(None, Fraction(0), third)] * 3) is None
    assert joined([]) is None
    # An early end is silence, not a shift; the one at the very end stays out.
    short = joined([(numbered(5), Fraction(0), third), (numbered(5), Fraction(0), third)])
    assert numbers(short)[:5] == [0, 1, 2, 3, 4] and numbers(short).count(-1) == 12
    two = joined([(numbered(9, channels=1), Fraction(0), third), (numbered(9, channels=2), Fraction(0), third)])
    assert two is not None and two.channels == 2 and SILENCE[2] in two.packets


def test_a_file_without_anything_to_hear_is_of_version_6() -> None:
    fps = Fraction(25)
    assert sound_writer(None, fps, 10, 7) == (None, 6)
    assert sound_writer(Sound(1, 960, (b"\xf8",)), fps, 10, 7) == (None, 6)
    assert sound_writer(None, fps, 10, 4) == (None, 4)
    writer, version = sound_writer(numbered(9), fps, 10, 4)
    assert version == versions.FIRST_WITH_SOUND and writer is not None and writer.period == 25


def test_the_golden_file_has_sound_that_ends_with_its_frames() -> None:
    with StreamReader(DATA / "golden_v7.tvvc") as reader:
        sound = reader.sound()
        assert sound is not None
        assert 0 <= sound.seconds - len(reader.frames) / float(reader.header.fps) < 0.02
