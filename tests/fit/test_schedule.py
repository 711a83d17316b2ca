"""The schedule of a fit in numbers: what happens when, and how fast it learns."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
from taichi_vvc.kernels import quantize

from taichi_vvc.config import PRESETS, EncoderConfig
from taichi_vvc.fit.prediction import Prediction, Reference
from taichi_vvc.fit.schedule import Schedule, frame_seed
from taichi_vvc.types import GroupParameters, SymbolFrame

CONFIG = dataclasses.replace(PRESETS["fast"], key_iterations=1000, first_fit=1.0, inter_iterations=600)
BEFORE = Reference(SymbolFrame((), (), np.ones((2, 2, 2), bool)), GroupParameters((), ()))
KINDS = {
    "scratch": Prediction.scratch(),
    "on": Prediction.going_on(BEFORE),
    "inter": Prediction.inter(BEFORE),
}


def schedule(kind: str, **changes: Any) -> Schedule:
    return Schedule.of(dataclasses.replace(CONFIG, **changes), KINDS[kind])


def when(schedule: Schedule, name: str) -> list[int]:
    """The iterations in which something happens."""
    return [turn.iteration for turn in schedule if getattr(turn, name)]


@pytest.mark.parametrize("kind, iterations", [("scratch", 1000), ("on", 1000), ("inter", 600)])
def test_each_iteration_has_its_turn(kind: str, iterations: int) -> None:
    assert [turn.iteration for turn in schedule(kind)] == list(range(iterations))


def test_cells_are_dropped_three_times_on_a_key_frame_and_twice_on_others() -> None:
    for kind, expected in (("scratch", [150, 300, 500]), ("on", [150, 300, 500]), ("inter", [90, 210])):
        found = schedule(kind)
        assert when(found, "prune") == expected
        # The last time without a margin.
        assert [found.turn(iteration).margin for iteration in expected] == [True] * (len(expected) - 1) + [False]


def test_the_opacity_is_measured_every_hundred_iterations_unless_cells_are_dropped() -> None:
    assert when(schedule("scratch"), "measure_opacity") == [50, 250, 350, 450, 550, 650, 750, 850, 950]
    assert when(schedule("inter"), "measure_opacity") == [50, 150, 250, 350, 450, 550]


def test_symbols_are_noisy_first_only_from_scratch() -> None:
    noise, rounded = [quantize.NOISE] * 600, [quantize.ROUND]
    assert [turn.mode for turn in schedule("scratch")] == noise + rounded * 400
    assert [turn.mode for turn in schedule("scratch", rounding_from=0.25)] == noise[:250] + rounded * 750
    assert [turn.mode for turn in schedule("on")] == rounded * 1000
    assert [turn.mode for turn in schedule("inter")] == rounded * 600
    assert {turn.mode for kind in KINDS for turn in schedule(kind, joint=False)} == {quantize.IDENTITY}


def test_a_fit_from_scratch_is_longer() -> None:
    counts = {kind: schedule(kind, first_fit=2.5).iterations for kind in KINDS}
    assert counts == {"scratch": 2500, "on": 1000, "inter": 600}
    assert [schedule("scratch", key_iterations=1, first_fit=part).iterations for part in (0.1, 0.4, 1.6)] == [1, 1, 2]


def test_mlps_are_rounded_for_good_after_three_quarters() -> None:
    assert when(schedule("scratch"), "freeze_mlp") == when(schedule("on"), "freeze_mlp") == [750]
    # However few iterations there are, they are rounded in one of them.
    assert [when(schedule("scratch", key_iterations=n), "freeze_mlp") for n in (1, 2, 3)] == [[0], [1], [2]]


def test_bits_count_after_a_twentieth_and_tables_are_chosen_every_forty_iterations() -> None:
    assert when(schedule("scratch"), "rate") == list(range(50, 1000))
    assert when(schedule("inter"), "rate") == list(range(30, 600))
    assert when(schedule("inter"), "new_tables") == list(range(0, 600, 40))


def test_the_fit_tells_how_far_it_is_every_ten_iterations_and_in_the_end() -> None:
    assert when(schedule("inter", inter_iterations=34), "report") == [9, 19, 29, 33]
    assert when(schedule("inter", inter_iterations=30), "report") == [9, 19, 29]


def test_learning_rates_of_each_kind() -> None:
    given = {"grid_rate": 0.2, "mlp_rate": 0.02, "inter_rate": 0.5}
    found = {kind: schedule(kind, **given) for kind in KINDS}
    assert {kind: found[kind].grid_rate for kind in KINDS} == {"scratch": 0.2, "on": 0.2, "inter": 0.1}
    assert found["scratch"].mlp_rate == 0.02 and found["on"].mlp_rate == 0.005
    # Inter frames keep the steps of their group, and without joint fitting the steps are as they are given.
    assert {kind: found[kind].step_rate for kind in KINDS} == {"scratch": 0.005, "on": 0.005, "inter": 0.0}
    assert {schedule(kind, joint=False).step_rate for kind in KINDS} == {0.0}


def test_only_a_key_frame_from_scratch_has_less_lambda() -> None:
    found = {kind: schedule(kind, lambda_rate=1e-3, key_lambda=0.5, lambda_residual=0.25) for kind in KINDS}
    assert {kind: found[kind].lambda_rate for kind in KINDS} == {"scratch": 5e-4, "on": 1e-3, "inter": 1e-3}
    assert {kind: found[kind].lambda_residual for kind in KINDS} == {"scratch": 0.0, "on": 0.0, "inter": 0.25}


def test_a_key_frame_that_stays_near_the_one_before_keeps_its_steps_and_learns_slowly() -> None:
    config = dataclasses.replace(CONFIG, grid_rate=0.2, mlp_rate=0.02)
    found = Schedule.of(config, Prediction.going_on(BEFORE, steady=True))
    assert (found.grid_rate, found.mlp_rate) == pytest.approx((0.008, 0.001))
    usual = Schedule.of(config, Prediction.going_on(BEFORE))
    assert usual.step_rate > 0 and found.step_rate == 0
    rates = {name: getattr(usual, name) for name in ("grid_rate", "mlp_rate", "step_rate")}
    assert dataclasses.replace(found, **rates) == usual


def test_learning_rates_rise_and_then_fall_evenly() -> None:
    rates = np.array([turn.learning_rate for turn in schedule("on", rising=0.1, final_rate=0.2)])
    assert rates[0] == pytest.approx(0.01) and rates.argmax() == 99
    assert (np.diff(rates[:100]) > 0).all()
    # To a fifth at the end of the fit, along one line.
    np.testing.assert_allclose(rates[99:], 1 - 0.8 * np.arange(99, 1000) / 1000)
    assert schedule("on", rising=0.0).learning_rate(0) == 1.0


def test_seeds_depend_on_settings_frame_and_purpose() -> None:
    config = EncoderConfig(seed=3)
    assert frame_seed(config, 2) == 3 * 7919 + 2 * 104729
    assert frame_seed(config, 2, 5) == frame_seed(config, 2) + 5
    assert 0 <= frame_seed(EncoderConfig(seed=2**31 - 1), 10**6) < 2**31
