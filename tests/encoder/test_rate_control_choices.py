"""The lambda that rate control chooses for the next frame, after small histories with a known right answer."""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import streams

from taichi_vvc.bitstream import StreamReader
from taichi_vvc.config import PRESETS
from taichi_vvc.encoder import quality, targets
from taichi_vvc.encoder.first_lambda import find_start
from taichi_vvc.encoder.rate_control import (
    FIRST,
    INTER,
    LATER,
    Controller,
    Outcome,
    Target,
    kinds_ahead,
    solve,
    target_of,
)

FPS = Fraction(25)
LAMBDA = 1e-3


def history(frames: int, coded: tuple[int, int] = (8000, 2000), fixed: int = 100, psnr: float = 30.0) -> list:
    """Frames of one group, all with the same lambda: a key frame and inter frames."""
    outcomes = [Outcome(True, coded[0], fixed, psnr, first=True)]
    outcomes += [Outcome(False, coded[1], fixed, psnr) for _ in range(frames - 1)]
    return [(LAMBDA, outcome) for outcome in outcomes]


def rate(frames: int, size: float, group: int = 100) -> Target:
    return Target(frames, group, size, None, 3000, FPS)


def after(target: Target, past: Sequence[tuple[float, Outcome]], key: bool = False) -> float:
    controller = Controller(target, LAMBDA)
    for weight, outcome in past:
        controller.observe(weight, outcome)
    return controller.weight(key)


def test_a_file_on_its_way_keeps_its_lambda() -> None:
    past = history(10)
    size = 8100 + 19 * 2100
    assert after(rate(20, size), past) == LAMBDA
    # Within a hundredth of the target there is nothing to correct.
    assert after(rate(20, 1.009 * size), past) == after(rate(20, 0.991 * size), past) == LAMBDA
    assert after(rate(20, 0.95 * size), past) > LAMBDA > after(rate(20, 1.05 * size), past)


def test_what_is_left_is_spent_on_the_frames_to_come() -> None:
    """The bytes so far and those besides the grids are gone: what remains follows the slope of the bytes."""
    past = history(10)
    spent = 8100 + 9 * 2100
    # Ten frames to come with half as many bytes for their grids: as seen so far, bytes go with lambda^-0.75.
    half = spent + 10 * (100 + 1000)
    found = solve(rate(20, half), past, [INTER] * 10)
    assert found == pytest.approx(LAMBDA * 2 ** (1 / 0.75), rel=0.02)
    # From frame to frame it goes there in steps.
    assert after(rate(20, half), past) == pytest.approx(1.5 * LAMBDA)
    assert after(rate(20, 10 * half), past) == pytest.approx(LAMBDA / 1.5)
    assert after(rate(20, half / 1e3), past, key=True) == pytest.approx(4 * LAMBDA)


def test_the_last_frames_count_most() -> None:
    past = history(30)
    dearer = [*past[:25], *((LAMBDA, Outcome(False, 3000, 100)) for _ in range(5))]
    # Ten more frames: as the last five were, rather than as all were.
    total = sum(outcome.coded + outcome.fixed for _, outcome in dearer)
    expected = total + 10 * (100 + 2700)
    weights = [solve(rate(40, size), dearer, [INTER] * 10) for size in (expected, total + 10 * (100 + 2100))]
    assert weights[0] == pytest.approx(LAMBDA, rel=0.1) and weights[1] > 1.2 * LAMBDA


def test_frames_of_an_empty_stage_are_no_measure() -> None:
    past = [*history(6), *((LAMBDA, Outcome(False, 8, 30, math.inf, empty=True)) for _ in range(4))]
    total = sum(outcome.coded + outcome.fixed for _, outcome in past)
    assert solve(rate(20, total + 10 * 2100), past, [INTER] * 10) == pytest.approx(LAMBDA, rel=0.02)


def test_slopes_are_learnt_within_reason() -> None:
    """Frames whose bytes do not answer to lambda at all, or in the wrong direction, are taken for noise."""
    for sign in (-1, 0, 1):
        past = history(2)
        for number in range(20):
            weight = LAMBDA * (2.0 if number % 2 else 0.5)
            past.append((weight, Outcome(False, round(2000 * 4.0 ** (-sign * (1 if number % 2 else -1) / 2)), 100)))
        total = sum(outcome.coded + outcome.fixed for _, outcome in past)
        fewer = solve(rate(32, total + 10 * 1100), past, [INTER] * 10)
        more = solve(rate(32, total + 10 * 4100), past, [INTER] * 10)
        assert fewer > 1.05 * more, "more bytes never cost a larger lambda"
        assert 1e-7 <= more < fewer <= 0.33


def test_one_frame_tells_no_slope() -> None:
    past = history(3)
    total = 8100 + 2 * 2100
    # Two frames with nearly the same lambda and other bytes: the usual slope is still what counts.
    past[2] = (1.01 * LAMBDA, Outcome(False, 2300, 100))
    found = solve(rate(13, total + 10 * 1200), past, [INTER] * 10)
    assert 1.5 * LAMBDA < found < 4 * LAMBDA


def test_later_key_frames_go_on_from_what_is_there() -> None:
    """Before one has been seen, 85 % of the first one's bytes."""
    past = history(10)
    total = 8100 + 9 * 2100
    # What comes: ten groups of one later key frame each and nothing else.
    ahead = [LATER] * 10
    assert solve(rate(20, total + 10 * (100 + 0.85 * 8000), group=10), past, ahead) == pytest.approx(LAMBDA, rel=0.02)


def test_a_psnr_is_not_reached_at_any_price() -> None:
    target = Target(40, 100, None, 45.0, 3000, FPS)
    past = [(LAMBDA, outcome) for _, outcome in history(4)]
    for _ in range(30):
        weight = after(target, past)
        past.append((weight, Outcome(False, 2000, 100, 30.0)))
    assert min(weight for weight, _ in past) == pytest.approx(LAMBDA / 8, rel=1e-3)
    target = Target(40, 100, None, 10.0, 3000, FPS)
    past = past[:4]
    for _ in range(30):
        past.append((after(target, past), Outcome(False, 2000, 100, 30.0)))
    assert max(weight for weight, _ in past) == pytest.approx(8 * LAMBDA, rel=1e-3)


@pytest.mark.parametrize("relative, told", [(0.93, True), (0.96, False), (1.04, False), (1.07, True)])
def test_a_bitrate_is_missed_on_either_side(relative: float, told: bool) -> None:
    target = rate(10, 50000.0)
    controller = Controller(target, LAMBDA, history(10))
    asked = 50000 + 3000
    assert (controller.missed(round(relative * asked) + 3000 - 3000) is not None) == told


@pytest.mark.parametrize("off, told", [(-0.3, True), (-0.15, False), (0.15, False), (0.3, True)])
def test_a_psnr_is_missed_on_either_side(off: float, told: bool) -> None:
    controller = Controller(Target(10, 100, None, 30.0, 3000, FPS), LAMBDA, history(10, psnr=30.0 + off))
    assert (controller.missed(10**6) is not None) == told


def test_the_budget_is_that_of_the_frames_alone() -> None:
    config = PRESETS["fast"]
    found = target_of(type(config)(bitrate=400.0), 50, FPS, 1234)
    # 400 kbit/s for two seconds are 100,000 bytes; header and index take part of them.
    assert found is not None and found.bytes == pytest.approx(100_000 - 1234)


def test_kinds_to_come() -> None:
    target = rate(7, 1.0, group=3)
    assert kinds_ahead(target, [], True) == [FIRST, INTER, INTER, LATER, INTER, INTER, LATER]
    past = [outcome for _, outcome in history(2)]
    assert kinds_ahead(target, past, False) == [INTER, LATER, INTER, INTER, LATER]
    # A group that began early, at a cut, shifts those behind it.
    assert kinds_ahead(target, past, True) == [LATER, INTER, INTER, LATER, INTER]


def test_the_search_goes_on_until_the_target_is_near() -> None:
    """Bytes that follow lambda with a power: the first lambda must end near the one that meets the target."""
    right = 0.02

    def probe(weight: float) -> list[Outcome]:
        key, inter = 8000 * (weight / right) ** -0.45, 2000 * (weight / right) ** -0.75
        return [Outcome(True, round(key), 100, first=True), Outcome(False, round(inter), 100)]

    target = rate(24, 8100 + 23 * 2100)
    for guess in (1e-5, 1e-3, 0.3):
        assert find_start(target, guess, probe) == pytest.approx(right, rel=0.3)


# -- what a frame turned out to be -----------------------------------------------------------------------------------


def test_header_and_index_are_known_beforehand(tmp_path: Path) -> None:
    data = streams.write(tmp_path / "a.tvvc", frames=15, per_group=5)
    with StreamReader(tmp_path / "a.tvvc") as reader:
        end = reader.frames[-1].offset + reader.frames[-1].size
        index, fixed = len(data) - end, reader.header_bytes + len(data) - end
    config = type(PRESETS["fast"])(bitrate=400.0, keyint=5)
    found = targets.file_target(config, 15, FPS, streams.header())
    # Real frames have more bytes, the number of which takes a byte more.
    assert found is not None and fixed <= found.extra <= fixed + 20 and index > 60
    assert targets.file_target(PRESETS["fast"], 15, FPS, streams.header()) is None


def test_the_bytes_of_the_grids_are_what_lambda_moves() -> None:
    sizes = {"coefficients": 1000, "level1": 200, "level2": 30, "mlp": 4000, "occupancy": 500, "motion": 60}
    frame = SimpleNamespace(key=True, occupancy=np.ones((2, 2, 2), bool))
    found = targets.outcome_of(0, frame, {**sizes, "overhead": 7}, 31.0)  # type: ignore[arg-type]
    assert found == Outcome(True, 1230, 4567, 31.0, empty=False, first=True)
    nothing = SimpleNamespace(key=False, occupancy=np.zeros((2, 2, 2), bool))
    found = targets.outcome_of(3, nothing, sizes, math.inf)  # type: ignore[arg-type]
    assert (found.key, found.empty, found.first) == (False, True, False)


def test_a_psnr_is_judged_by_held_out_views(monkeypatch: pytest.MonkeyPatch) -> None:
    def view(split: str, quality: float) -> SimpleNamespace:
        return SimpleNamespace(camera=SimpleNamespace(split=split, width=10, height=10), quality=quality)

    monkeypatch.setattr(quality, "view_psnrs", lambda ws, field, background, views: [v.quality for v in views])
    views = [view("train", 40.0), view("test", 20.0), view("train", 30.0), view("test", math.inf)]
    judge = (None, None, (1.0, 1.0, 1.0))
    assert quality.judged_psnr(*judge, views) == 20.0  # type: ignore[arg-type]
    assert quality.judged_psnr(*judge, views[::2]) == 35.0  # type: ignore[arg-type]
    assert math.isnan(quality.judged_psnr(*judge, views[3:]))  # type: ignore[arg-type]


def test_the_quality_of_a_frame_is_the_mean_of_its_views() -> None:
    def shown(quality: float) -> SimpleNamespace:
        return SimpleNamespace(psnr=lambda: quality)

    assert quality.mean_psnr([shown(40.0), shown(30.0), shown(math.inf)]) == 35.0  # type: ignore[list-item]
    assert quality.mean_psnr([shown(math.inf)]) == math.inf  # type: ignore[list-item]
