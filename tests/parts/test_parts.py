"""Encodes in parts: the file is the same in whatever order parts are coded, and however often it is stopped."""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Generator, Sequence
from pathlib import Path

import captures
import moving
import numpy as np
import pytest
from backends import runtime
from PIL import Image
from tiny import ONE_LEVEL

import taichi_vvc as tv
from taichi_vvc.bitstream import Sound, StreamReader
from taichi_vvc.bitstream.numbering import capture_frames
from taichi_vvc.capture.sequence import MultiViewSequence
from taichi_vvc.encoder.progress import Listener, Progress
from taichi_vvc.errors import ConfigError, DataError
from taichi_vvc.parts.coding import Here, Work, encode_in_parts
from taichi_vvc.parts.folder import PartsFolder
from taichi_vvc.parts.plan import Part, piece, planned
from taichi_vvc.types import FrameStats

TINY = tv.EncoderConfig(**{**ONE_LEVEL, "keyint": 2, "part_length": 2, "key_iterations": 12, "inter_iterations": 6})
FRAMES = 6


@pytest.fixture(scope="module")
def capture(tmp_path_factory: pytest.TempPathFactory) -> MultiViewSequence:
    runtime()
    return tv.open_capture(
        captures.write_capture(tmp_path_factory.mktemp("capture"), cameras=5, frames=FRAMES, size=24)
    )


@pytest.fixture(scope="module")
def encoded(capture: MultiViewSequence, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[FrameStats]]:
    path = tmp_path_factory.mktemp("encoded") / "a.tvvc"
    return path, list(tv.encode(capture, TINY, path))


class Disordered(Here):
    """Codes the last part first, and tells of whole parts only, as workers do."""

    def code(
        self, works: Sequence[Work], folder: PartsFolder, listener: Listener
    ) -> Generator[FrameStats | int, None, None]:
        for work in reversed(works):
            yield from (event for event in super().code([work], folder, listener) if isinstance(event, int))


@pytest.mark.parametrize(
    ("frames", "group", "length", "expected"),
    [
        (6, 2, 2, [2, 4]),
        (6, 2, 3, [2, 4]),  # whole groups
        (6, 2, 4, [2]),  # as many groups in each part, give or take one
        (6, 2, 6, []),
        (7, 2, 4, [4]),
        (5, 25, 5, []),  # a group is never cut
        (3000, 25, 250, [*range(250, 3000, 250)]),
    ],
)
def test_parts_are_whole_groups_of_about_one_length(frames: int, group: int, length: int, expected: list[int]) -> None:
    parts = planned(frames, group, length)
    assert [part.start for part in parts] == [0, *expected]
    assert [part.stop for part in parts] == [*expected, frames]
    assert [part.number for part in parts] == list(range(len(parts)))


def test_a_part_goes_on_where_none_can_begin() -> None:
    assert planned(8, 2, 2, lambda n: n != 4) == (Part(0, 0, 2), Part(1, 2, 6), Part(2, 6, 8))
    with pytest.raises(ConfigError, match="parts of one frame or more, found 0"):
        planned(8, 2, 0)


def test_a_piece_has_the_numbers_and_times_of_its_frames(capture: MultiViewSequence) -> None:
    every_other = tv.open_capture(capture.path, frames=slice(0, None, 2))
    own = piece(every_other, Part(1, 1, 3))
    assert (len(own), own.first_index, list(own.indices), own.fps) == (2, 2, [2, 4], every_other.fps)
    assert own.times == every_other.times[1:3] and own.frame(0).index == every_other.frame(1).index
    assert (own.frame(1).views[0].image == every_other.frame(2).views[0].image).all()


def test_the_file_is_whole_and_every_byte_is_told_of(encoded, capture: MultiViewSequence) -> None:
    path, statistics = encoded
    assert [s.index for s in statistics] == list(range(FRAMES))
    assert [s.type for s in statistics] == ["key", "inter"] * 3
    with tv.open(path) as stream:
        assert [s.bytes for s in statistics] == [stream.info(i).bytes for i in range(FRAMES)]
    assert all(s.bytes == sum(s.components.values()) for s in statistics)
    with StreamReader(path) as reader:
        assert reader.complete and json.loads(reader.header.settings)["part_length"] == 2
        # Each part has MLPs of its own, and depends on no other.
        assert all(reader.read_group(n).mlp for n in range(3))
    assert list(path.parent.iterdir()) == [path]


def test_a_part_is_the_same_for_itself(encoded, capture: MultiViewSequence, tmp_path: Path) -> None:
    """Its symbols are those of an encode of its frames alone."""
    alone = tv.open_capture(capture.path, frames=slice(2, 4), bounds=capture.bounds)
    list(tv.encode(alone, dataclasses.replace(TINY, part_length=0), tmp_path / "alone.tvvc"))
    with tv.open(encoded[0]) as whole, tv.open(tmp_path / "alone.tvvc") as part:
        for number in range(2):
            for ours, theirs in zip(whole.symbols(2 + number).symbols, part.symbols(number).symbols, strict=True):
                assert (ours == theirs).all()


def test_the_order_of_parts_does_not_matter(encoded, capture: MultiViewSequence, tmp_path: Path) -> None:
    path = tmp_path / "b.tvvc"
    statistics = list(encode_in_parts(capture, TINY, path, Disordered()))
    assert path.read_bytes() == encoded[0].read_bytes()
    assert [(s.index, s.bytes, s.psnr) for s in statistics] == [(s.index, s.bytes, s.psnr) for s in encoded[1]]


@pytest.mark.parametrize("after", [0, 1, 2, 3, 5])
def test_a_stopped_encode_goes_on(encoded, capture: MultiViewSequence, tmp_path: Path, after: int) -> None:
    path, folder = tmp_path / "c.tvvc", PartsFolder(tmp_path / "c.tvvc")
    frames = tv.encode(capture, TINY, path)
    told = [next(frames).index for _ in range(after)]
    frames.close()
    if after:
        assert folder.exists()
        with StreamReader(path) as reader:
            assert len(reader.frames) == max(0, (after - 1) // 2 * 2)
        with pytest.raises(ConfigError, match="expected no"):
            next(tv.encode(capture, TINY, path))
    told += [frame.index for frame in tv.encode(capture, TINY, path, resume=True)]
    assert told == list(range(FRAMES))
    assert path.read_bytes() == encoded[0].read_bytes() and not folder.path.exists()
    # Once more: all is there.
    assert list(tv.encode(capture, TINY, path, resume=True)) == []
    assert path.read_bytes() == encoded[0].read_bytes()


def test_parts_that_are_there_are_used_whichever_they_are(encoded, capture: MultiViewSequence, tmp_path: Path) -> None:
    path, folder = tmp_path / "d.tvvc", PartsFolder(tmp_path / "d.tvvc")
    with pytest.raises(KeyboardInterrupt):
        for frame in encode_in_parts(capture, TINY, path, _StopsBeforeTheFirst()):
            raise AssertionError(frame)
    assert folder.whole(Part(2, 4, 6)) and folder.whole(Part(1, 2, 4)) and not folder.whole(Part(0, 0, 2))
    # A part plays by itself, and knows which frames it has.
    with StreamReader(folder.file(2)) as reader:
        assert capture_frames(reader.header, 2) == [4, 5]
    before = folder.file(1).stat().st_mtime_ns
    told = []
    for frame in tv.encode(capture, TINY, path, resume=True):
        told.append(frame.index)
        assert not folder.file(1).exists() or folder.file(1).stat().st_mtime_ns == before
    assert told == list(range(FRAMES)) and path.read_bytes() == encoded[0].read_bytes()


class _StopsBeforeTheFirst(Disordered):
    def code(
        self, works: Sequence[Work], folder: PartsFolder, listener: Listener
    ) -> Generator[FrameStats | int, None, None]:
        yield from super().code(works[1:], folder, listener)
        raise KeyboardInterrupt


def test_sound_is_added_where_parts_are_put_together(encoded, capture: MultiViewSequence, tmp_path: Path) -> None:
    sound = Sound(1, 300, tuple(bytes([0xF8, number]) for number in range(40)))
    path = tmp_path / "a.tvvc"
    assert len(list(tv.encode(capture, TINY, path, sound=sound))) == FRAMES
    with StreamReader(path) as reader, StreamReader(encoded[0]) as silent:
        assert reader.version == 8 and silent.version == 8
        assert reader.sound() == dataclasses.replace(sound, packets=sound.packets[:13])
        assert [reader.read_frame(n) for n in range(FRAMES)] == [silent.read_frame(n) for n in range(FRAMES)]
    assert list(tv.encode(capture, TINY, path, resume=True, sound=sound)) == []
    for other, line in ((None, "expected the sound, as it was begun"), (dataclasses.replace(sound, skip=1), "another")):
        with pytest.raises(ConfigError, match=line):
            list(tv.encode(capture, TINY, path, resume=True, sound=other))
    with pytest.raises(ConfigError, match="expected no sound in an encode of parts with a bitrate"):
        list(tv.encode(capture, dataclasses.replace(TINY, bitrate=100), tmp_path / "b.tvvc", sound=sound))


def test_a_damaged_part_is_coded_again(encoded, capture: MultiViewSequence, tmp_path: Path) -> None:
    path, folder = tmp_path / "e.tvvc", PartsFolder(tmp_path / "e.tvvc")
    frames = tv.encode(capture, TINY, path)
    for _ in range(3):
        next(frames)
    frames.close()
    data = folder.file(0).read_bytes()
    folder.file(0).write_bytes(data[:-9])
    list(tv.encode(capture, TINY, path, resume=True))
    assert path.read_bytes() == encoded[0].read_bytes()


def test_other_settings_and_lost_parts_are_refused(encoded, capture: MultiViewSequence, tmp_path: Path) -> None:
    path, folder = tmp_path / "f.tvvc", PartsFolder(tmp_path / "f.tvvc")
    frames = tv.encode(capture, TINY, path)
    for _ in range(3):
        next(frames)
    frames.close()
    other = dataclasses.replace(TINY, seed=1)
    with pytest.raises(ConfigError, match="found other seed;"):
        list(tv.encode(capture, other, path, resume=True))
    # The same where no part is to go on in its middle.
    folder.clear(1)
    with pytest.raises(ConfigError, match="found other seed;"):
        next(encode_in_parts(capture, other, path, _Idle(), resume=True))
    shorter = tv.open_capture(capture.path, frames=slice(0, 4))
    with pytest.raises(ConfigError, match="expected the 6 frames that the file was started with, found 4"):
        list(tv.encode(shorter, TINY, path, resume=True))
    plan = folder.path / "plan.json"
    text = plan.read_text()
    plan.write_text(text[:-20])
    with pytest.raises(DataError, match="expected the plan of an encode in parts"):
        list(tv.encode(capture, TINY, path, resume=True))
    shutil.rmtree(folder.path)
    with pytest.raises(ConfigError, match="expected a whole file or its parts"):
        list(tv.encode(capture, TINY, path, resume=True))
    assert [s.index for s in tv.encode(capture, TINY, path, overwrite=True)] == list(range(FRAMES))
    assert path.read_bytes() == encoded[0].read_bytes()


class _Idle(Here):
    def code(
        self, works: Sequence[Work], folder: PartsFolder, listener: Listener
    ) -> Generator[FrameStats | int, None, None]:
        raise AssertionError("expected nothing to be coded")
        yield


def test_a_folder_of_something_else_is_left_alone(capture: MultiViewSequence, tmp_path: Path) -> None:
    other = tmp_path / "g.tvvc.parts"
    other.mkdir()
    (other / "letter.txt").write_text("mine")
    with pytest.raises(ConfigError, match="found something else"):
        list(tv.encode(capture, TINY, tmp_path / "g.tvvc", overwrite=True))
    assert (other / "letter.txt").read_text() == "mine"


def test_progress_counts_the_frames_of_the_whole_file(capture: MultiViewSequence, tmp_path: Path) -> None:
    reports: list[Progress] = []
    shown: list[int] = []
    list(
        tv.encode(
            capture,
            TINY,
            tmp_path / "h.tvvc",
            progress=reports.append,
            preview=lambda glimpse: shown.append(glimpse.number) if glimpse.finished else None,
        )
    )
    assert [report.frame for report in reports] == sorted(report.frame for report in reports)
    assert {report.frame for report in reports} == set(range(FRAMES)) and shown == list(range(FRAMES))


def test_moving_cameras_and_colour_maps_are_those_of_the_whole(tmp_path: Path) -> None:
    """What is found from the first frame holds for all parts, and is in the file once."""
    runtime()
    capture = tv.open_capture(moving.write_moving(tmp_path / "capture", frames=4, size=24))
    config = dataclasses.replace(TINY, colours="on")
    statistics = list(tv.encode(capture, config, tmp_path / "a.tvvc"))
    list(tv.encode(capture, dataclasses.replace(config, part_length=0), tmp_path / "serial.tvvc"))
    with tv.open(tmp_path / "a.tvvc") as ours, tv.open(tmp_path / "serial.tvvc") as serial:
        assert [s.bytes for s in statistics] == [ours.info(i).bytes for i in range(4)]
        for number in range(4):
            for a, b in zip(ours.cameras_at(number), serial.cameras_at(number), strict=True):
                assert a.same_as(b)
            assert ours.looks_at(number) == serial.looks_at(number) != ()
    with StreamReader(tmp_path / "a.tvvc") as reader:
        assert [bool(reader.read_group(n).colours) for n in range(2)] == [True, False]


def test_no_part_begins_with_an_empty_stage(tmp_path: Path) -> None:
    runtime()
    path = captures.write_capture(tmp_path / "capture", cameras=5, frames=6, size=24)
    for picture in sorted(path.rglob("*0002.png")):
        Image.fromarray(np.zeros((24, 24, 4), np.uint8)).save(picture)
    capture = tv.open_capture(path)
    assert not any(view.image[..., 3].any() for view in capture.frame(2).views)
    assert [s.index for s in tv.encode(capture, TINY, tmp_path / "a.tvvc")] == list(range(6))
    with StreamReader(tmp_path / "a.tvvc") as reader:
        # The part before goes on, and its next group begins when there is something again.
        assert [frame.type for frame in reader.frames] == ["key", "inter", "inter", "key", "key", "inter"]
