"""The player's decoder, which decodes ahead and packs what it keeps, and its clock."""

from __future__ import annotations

import dataclasses
import threading
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from browser import wait_for
from captures import write_capture
from tiny import TWO_LEVELS

import taichi_vvc as tv
from taichi_vvc.bitstream import StreamReader
from taichi_vvc.errors import ConfigError, CorruptStream
from taichi_vvc.play.playback import Clock, Playback, pack, unpack
from taichi_vvc.types import SymbolFrame

FRAMES = 7
# Settings under which inter frames have motion.
MOVING = tv.EncoderConfig(
    **{**TWO_LEVELS, "motion_blocks": 4, "key_iterations": 150, "inter_iterations": 40, "keyint": 4}
)


@pytest.fixture(scope="module")
def file(tmp_path_factory) -> Path:
    """Seven frames in two groups, with motion."""
    folder = tmp_path_factory.mktemp("play")
    capture = write_capture(folder / "capture", cameras=4, frames=FRAMES, size=24)
    list(tv.encode(tv.open_capture(capture), MOVING, folder / "a.tvvc"))
    with tv.open(folder / "a.tvvc") as stream:
        assert any(stream.symbols(index).motion is not None for index in range(FRAMES))
    return folder / "a.tvvc"


def same(a: SymbolFrame, b: SymbolFrame) -> bool:
    """Whether two frames agree in every field that a frame has, also in those that are yet to come."""

    def equal(x, y) -> bool:
        if isinstance(x, tuple):
            return len(x) == len(y) and all(map(equal, x, y))
        if isinstance(x, np.ndarray):
            return isinstance(y, np.ndarray) and x.dtype == y.dtype and np.array_equal(x, y)
        return type(x) is type(y) and x == y

    return all(equal(getattr(a, field.name), getattr(b, field.name)) for field in dataclasses.fields(SymbolFrame))


# ---- decoding ahead


def test_packed_frames_come_back_exactly(file) -> None:
    with tv.open(file) as stream:
        for index in range(FRAMES):
            frame = stream.symbols(index)
            assert same(unpack(pack(frame), stream.header.layout), frame)
        large = stream.symbols(0)
        for grids in (large.symbols, large.residuals):
            grids[0][0, 0, 0, :3] = (-(2**24) + 1, 127, -128)
        assert same(unpack(pack(large), stream.header.layout), large)


def test_every_array_of_a_frame_takes_memory(file) -> None:
    with tv.open(file) as stream:
        index = next(i for i in range(FRAMES) if stream.symbols(i).motion is not None)
        frame = stream.symbols(index)
    assert pack(frame).size > pack(dataclasses.replace(frame, motion=None)).size


def test_going_on_behind_an_unpacked_frame_needs_its_motion(file) -> None:
    """After a jump back, the frame after a packed one is decoded from what was unpacked."""
    with tv.open(file) as stream, Playback(file, 2**28) as playback:
        wait_for(lambda: playback.ready == tuple(range(FRAMES)), "all frames", 60)
        for index in range(FRAMES):
            kept = unpack(playback._kept[index], playback.layout)
            if index + 1 < FRAMES and stream.info(index + 1).type == "inter":
                assert same(playback._decode(index + 1, kept), stream.symbols(index + 1)), index + 1


@pytest.mark.parametrize("memory", [1, 20_000, 2**28])
def test_any_order_of_seeking_gives_the_decoder_s_frames(file, memory) -> None:
    with tv.open(file) as stream, Playback(file, memory) as playback:
        for index in (6, 0, 3, 2, 5, 5, 1, 4):
            found = playback.get(index, timeout=60)
            assert found is not None and same(found[0], stream.symbols(index))
            assert found[1].steps == stream.parameters(index).steps


def test_the_rest_of_the_file_is_decoded_unasked(file) -> None:
    with Playback(file) as playback:
        wait_for(lambda: playback.ready == tuple(range(FRAMES)), "all frames", 60)


def test_memory_is_bounded_and_keeps_what_comes_next(file) -> None:
    with tv.open(file) as stream:
        sizes = [pack(stream.symbols(index)).size for index in range(FRAMES)]
    budget = 3 * max(sizes)
    with Playback(file, budget) as playback:
        playback.get(4, timeout=60)
        wait_for(lambda: {4, 5, 6} <= set(playback.ready), "the frames after the one at hand", 60)
        assert playback.used <= budget
        playback.get(1, timeout=60)
        wait_for(lambda: {1, 2} <= set(playback.ready), "the frames after the one at hand", 60)
        assert playback.used <= budget


def test_a_damaged_frame_is_told_to_who_asks_and_the_next_group_plays(file, tmp_path) -> None:
    with StreamReader(file) as reader:
        entry = reader.frames[2]
    data = bytearray(file.read_bytes())
    data[entry.offset + entry.size // 2] ^= 255
    (tmp_path / "bad.tvvc").write_bytes(data)
    with tv.open(file) as stream, Playback(tmp_path / "bad.tvvc") as playback:
        for index in (2, 3):
            with pytest.raises(CorruptStream):
                playback.get(index, timeout=60)
        for index in (1, 5):
            found = playback.get(index, timeout=60)
            assert found is not None and same(found[0], stream.symbols(index))


def test_there_is_no_frame_beyond_the_file(file) -> None:
    with Playback(file) as playback, pytest.raises(IndexError, match=r"0..6"):
        playback.get(FRAMES)
    with pytest.raises(ConfigError, match="positive"):
        Playback(file, 0)


def test_closing_ends_the_thread(file) -> None:
    before = threading.active_count()
    Playback(file).close()
    assert threading.active_count() == before


# ---- the clock


def test_the_clock_plays_loops_and_stops() -> None:
    clock = Clock(10, Fraction(25))
    assert clock.frame(100.0) == 0
    clock.play(100.0)
    assert [clock.frame(100.0 + t) for t in (0.0, 0.05, 0.21, 0.39)] == [0, 1, 5, 9]
    assert clock.frame(100.41) == 0, "from the last frame to the first"
    clock.loop = False
    assert clock.frame(200.0) == 9 and not clock.playing
    clock.play(300.0)
    assert clock.frame(300.05) == 1, "played from the start again"


def test_the_clock_keeps_its_place_when_the_speed_changes() -> None:
    clock = Clock(100, 10)
    clock.play(0.0)
    clock.set_speed(0.5, 2.0)
    assert clock.frame(2.0) == 20 and clock.frame(4.1) == 30
    clock.pause(4.1)
    assert clock.frame(50.0) == 30


def test_steps_pause_and_wrap_around() -> None:
    clock = Clock(5, 25)
    clock.play(0.0)
    clock.step(-1, 0.0)
    assert clock.frame(9.0) == 4 and not clock.playing
    clock.loop = False
    clock.step(1, 9.0)
    assert clock.frame(9.0) == 4
    clock.seek(-3, 9.0)
    assert clock.frame(9.0) == 0
