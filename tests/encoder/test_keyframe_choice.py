"""The choice between a key frame and an inter frame by their costs, in the unit of the fit's loss."""

from __future__ import annotations

import dataclasses
import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import captures
import numpy as np
import pytest
from backends import runtime
from places import DATA
from tiny import TWO_LEVELS

import taichi_vvc as tv
from taichi_vvc.bitstream import FrameData, GroupHeader, StreamReader
from taichi_vvc.capture.sequence import MultiViewSequence
from taichi_vvc.encoder.frame import CodedFrame, FrameTask, Job
from taichi_vvc.encoder.groups import GroupWatch
from taichi_vvc.encoder.resume import position_behind
from taichi_vvc.media.pictures import composite

ENCODER = importlib.import_module("taichi_vvc.encoder.frames")
CONFIG = tv.EncoderConfig(**{**TWO_LEVELS, "keyint": 100, "background": (255, 255, 255)})


def coded(data: FrameData, group: GroupHeader | None, quality: float, pixels: float, other: Any = None) -> CodedFrame:
    return CodedFrame(other, other, other, data, group, 0.0, quality, pixels)


def test_every_coded_byte_counts() -> None:
    data = FrameData(1, 0, "inter", b"o" * 2, (b"c" * 30, b"a" * 400, b"b" * 5000), b"m" * 60000)
    assert coded(data, None, 30.0, 100.0).size == 65432
    header = GroupHeader(0, 1, (1.0,) * 3, (1.0,), b"p" * 700000)
    assert coded(data, header, 30.0, 100.0).size == 765432


@pytest.fixture(scope="module")
def sequence(tmp_path_factory: pytest.TempPathFactory) -> MultiViewSequence:
    runtime()
    return tv.open_capture(captures.write_capture(tmp_path_factory.mktemp("capture"), cameras=6, frames=3, size=32))


@pytest.fixture(scope="module")
def key(sequence: MultiViewSequence, tmp_path_factory: pytest.TempPathFactory) -> tuple[CodedFrame, Any]:
    """A real key frame as it was coded, and its views."""
    found: list[CodedFrame] = []
    usual = ENCODER.code_frame

    def keeping(*arguments: Any) -> CodedFrame:
        found.append(usual(*arguments))
        return found[-1]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ENCODER, "code_frame", keeping)
        list(tv.encode(tv.open_capture(sequence.path, frames=slice(0, 1)), CONFIG, tmp_path_factory.mktemp("a") / "a"))
    return found[0], sequence.frame(0).views


def test_the_cost_is_the_squared_error_of_a_view_and_its_bits(key: tuple[CodedFrame, Any]) -> None:
    """Summed over pixels and channels, as a fit sums the channels of its rays; lambda weighs bits per ray of a view."""
    frame, views = key
    errors = []
    for view in views:
        if view.camera.split == "train":
            picture = tv.render(frame.field, view.camera, (1.0, 1.0, 1.0)).colour
            errors.append(float(((picture - composite(view.image, (1.0, 1.0, 1.0))) ** 2).sum()))
    assert frame.pixels == 32 * 32
    # The mean of the views' dB is not quite that of their errors.
    assert frame.cost(0.0) == pytest.approx(np.mean(errors), rel=0.1)
    bits = 8 * (sum(map(len, frame.data.grids)) + len(frame.data.occupancy) + len(frame.group.mlp))
    assert frame.cost(0.01) - frame.cost(0.0) == pytest.approx(0.01 * bits)


Choice = Callable[..., dict[str, Any]]
# Of the second frame as an inter frame; it is the first one's 30 dB that it has lost.
LOST, LENGTH, PIXELS = 20.0, 100, 1000.0


@pytest.fixture
def choice(
    sequence: MultiViewSequence, key: tuple[CodedFrame, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Choice:
    """A function that goes through the encoder's frames with made-up results of coding them: the second one has
    ``LOST`` dB and ``LENGTH`` bytes as an inter frame and, as a key frame, those that are given."""

    def encode(quality: float, length: int, inter: float = LOST, **changes: Any) -> dict[str, Any]:
        tried: list[FrameTask] = []
        first, config = key[0], dataclasses.replace(CONFIG, **changes)
        assert first.group is not None

        def made(job: Job, task: FrameTask) -> CodedFrame:
            tried.append(task)
            number, is_key, header = task.number, task.prediction.key or task.opens, None
            if is_key:
                header = GroupHeader(task.group, number, first.group.grid_steps, (), b"") if number else first.group
            db = {0: 30.0, 1: quality if is_key else inter}.get(number, 29.9)
            size = length if number == 1 and is_key else LENGTH
            data = FrameData(number, task.group, "key" if is_key else "inter", b"", (b"x" * size, b"", b""))
            reference = dataclasses.replace(
                first.reference, frame=dataclasses.replace(first.reference.frame, key=is_key)
            )
            return CodedFrame(task, reference, first.field, data, header, 0.0, db, PIXELS)

        monkeypatch.setattr(ENCODER, "code_frame", made)
        path = tmp_path / "a.tvvc"
        statistics = list(tv.encode(sequence, config, path, overwrite=True))
        with StreamReader(path) as reader:
            groups, starts = [f.group for f in reader.frames], [g.first_frame for g in reader.groups]
        return {"types": [s.type for s in statistics], "tried": tried, "groups": groups, "starts": starts}

    return encode


# 30 dB instead of 20 save 27 of squared error at 1000 pixels, which are worth so many bytes.
SAVED = round(3 * PIXELS * (0.01 - 0.001) / CONFIG.lambda_rate / 8)


@pytest.mark.parametrize("more, types", [(-100, ["key", "key", "inter"]), (100, ["key", "inter", "inter"])])
def test_a_key_frame_is_taken_where_it_costs_less(choice: Choice, more: int, types: list[str]) -> None:
    found = choice(30.0, LENGTH + SAVED + more)
    assert found["types"] == types
    tried = [(task.number, task.prediction.key) for task in found["tried"]]
    assert tried == [(0, True), (1, False), (1, True), (2, False)]
    # It goes on from the decoded frame before it, with MLPs of its own and everywhere that masks allow.
    again = found["tried"][2]
    assert again.prediction.reference is not None and again.mlp_age > 1e9 and again.mask.any()
    if types[1] == "key":
        assert found["groups"] == [0, 1, 1] and found["starts"] == [0, 1]
    else:
        assert found["groups"] == [0, 0, 0] and found["starts"] == [0]


def test_no_key_frame_is_tried_where_nothing_is_lost(choice: Choice) -> None:
    found = choice(60.0, 1, inter=29.0)
    assert found["types"] == ["key", "inter", "inter"] and len(found["tried"]) == 3


def test_no_key_frame_is_tried_where_the_settings_forbid_it(choice: Choice) -> None:
    found = choice(60.0, 1, scenecut=False)
    assert found["types"] == ["key", "inter", "inter"] and len(found["tried"]) == 3


@pytest.mark.parametrize("keyint, groups", [(1, [0, 1, 2]), (2, [0, 0, 1]), (3, [0, 0, 0])])
def test_groups_have_their_length(choice: Choice, keyint: int, groups: list[int]) -> None:
    found = choice(30.0, 100, inter=30.0, keyint=keyint)
    assert found["groups"] == groups
    # A group that begins because the one before is over goes on from it.
    goes_on = [task.opens and task.prediction.reference is not None for task in found["tried"]]
    assert goes_on == [number > 0 and number % keyint == 0 for number in range(3)]


def test_the_watch_says_what_is_lost_and_when_to_try_again() -> None:
    watch = GroupWatch()
    assert not watch.lost(0.0), "nothing is lost before there was anything"
    watch.observe(30.0)
    # One and a half dB of a key frame's lead, and one more that may be lost.
    assert not watch.lost(27.51) and watch.lost(27.49)
    watch.observe(33.0)
    assert watch.lost(31.99) and not watch.lost(32.01), "an inter frame has no lead"
    tried = []
    for _ in range(16):
        tried.append(watch.lost(20.0))
        watch.observe(20.0)
    # Frames for which trying did not pay are followed by ever more that are not tried.
    assert [n for n, lost in enumerate(tried) if lost] == [0, 1, 3, 7, 15]


def test_a_resumed_encode_knows_where_it_stands() -> None:
    """Of a file whose second group begins with frame 3 and shares the first one's MLPs."""
    path = DATA / "golden_v3.tvvc"
    for done, expected in ((0, (0, 0, 0, 0)), (1, (1, 0, 0, 0)), (3, (3, 0, 0, 0)), (4, (4, 1, 3, 0))):
        found = position_behind(path, done)
        assert (found.number, found.group, found.first_of_group, found.first_with_mlp) == expected
        assert (found.reference is not None) == (done > 0)
        if found.reference is not None:
            with tv.open(path) as stream:
                before = stream.symbols(done - 1)
            assert found.reference.frame.key == before.key
            assert all((a == b).all() for a, b in zip(found.reference.frame.symbols, before.symbols, strict=True))
