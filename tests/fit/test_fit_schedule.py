"""A fit does what its schedule says: noise and rounding, pruning, freezing of the MLPs, new tables, learning rates."""

from __future__ import annotations

import dataclasses
from typing import Any

import backends
import numpy as np
import pytest
from backends import runtime
from taichi_vvc.kernels import quantize as quant
from tiny import ONE_LEVEL

from taichi_vvc.coding.choose_tables import plan_rate
from taichi_vvc.coding.live_set import live_nodes
from taichi_vvc.coding.quantize import quantize_tensors, tensor_values
from taichi_vvc.config import EncoderConfig
from taichi_vvc.field.render import Workspace
from taichi_vvc.fit import optimize
from taichi_vvc.fit.optimize import FitReport, FitResult, fit_frame
from taichi_vvc.fit.prediction import Prediction, Reference
from taichi_vvc.fit.schedule import Schedule, Turn
from taichi_vvc.fit.training_rays import make_training_rays
from taichi_vvc.types import GroupParameters, SymbolFrame, View

LAYOUT = backends.small_layout()
KEY, INTER = 100, 90
CONFIG = EncoderConfig(
    **{**ONE_LEVEL, "key_iterations": KEY, "inter_iterations": INTER, "rays": 64, "background": (255, 255, 255)}
)
FULL = np.ones(LAYOUT.occupancy[::-1], bool)


def reference() -> Reference:
    rng = np.random.default_rng(1)
    symbols = tuple(rng.integers(-3, 4, shape).astype(np.int32) for shape in LAYOUT.grid_shapes)
    frame = SymbolFrame(symbols, symbols, FULL, True)
    return Reference(frame, GroupParameters((0.25, 0.5, 0.125), backends.random_mlp(LAYOUT, 0)))


def prediction_of(kind: str) -> Prediction:
    """Of a key frame from ``scratch``, of one that goes ``on``, or of an ``inter`` frame."""
    if kind == "scratch":
        return Prediction.scratch()
    return Prediction.inter(reference()) if kind == "inter" else Prediction.going_on(reference())


@dataclasses.dataclass
class Record:
    """What a fit did: one entry per iteration, or the iterations at which something happened."""

    result: FitResult | None = None
    modes: list[int] = dataclasses.field(default_factory=list)
    draws: list[int] = dataclasses.field(default_factory=list)
    with_mlp: list[bool] = dataclasses.field(default_factory=list)
    turns: list[Turn] = dataclasses.field(default_factory=list)
    reports: list[FitReport] = dataclasses.field(default_factory=list)
    prunes: list[tuple[int, bool]] = dataclasses.field(default_factory=list)
    plans: list[int] = dataclasses.field(default_factory=list)


@pytest.fixture
def watched(monkeypatch: pytest.MonkeyPatch):
    """A function that fits a frame of some kind, see :func:`prediction_of`, and records what happens."""

    def fit(kind: str | Prediction, config: EncoderConfig = CONFIG, frame: int = 0, drop: bool = False) -> Record:
        record, usual = (
            Record(),
            {n: getattr(optimize, n) for n in ("_quantize", "distortion_step", "_update", "_plan")},
        )

        def quantize(state, mode, seed, iteration) -> None:
            record.modes.append(mode)
            usual["_quantize"](state, mode, seed, iteration)

        def step(ws, field, config, training, gradient, mlp_gradient, seed, iteration, *regular) -> Any:
            assert iteration == len(record.draws)
            record.draws.append(seed)
            record.with_mlp.append(mlp_gradient is not None)
            assert regular == (0.0, 0.0)  # of a box
            return usual["distortion_step"](ws, field, config, training, gradient, mlp_gradient, seed, iteration)

        def update(state, schedule, training, turn) -> None:
            record.turns.append(turn)
            usual["_update"](state, schedule, training, turn)

        def prune(ws, state, config, training, margin) -> bool:
            record.prunes.append((len(record.modes), margin))
            return drop

        def plan(*arguments) -> float:
            record.plans.append(len(record.modes))
            return usual["_plan"](*arguments)

        changes = {"_quantize": quantize, "distortion_step": step, "_update": update, "_prune": prune, "_plan": plan}
        with monkeypatch.context() as patch:
            for name, change in changes.items():
                patch.setattr(optimize, name, change)
            ws = Workspace(runtime())
            centre = (np.asarray(LAYOUT.bounds.lower) + np.asarray(LAYOUT.bounds.upper)) / 2
            cameras = [
                backends.look_at(centre + 5 * np.array(d), centre, (12, 12), 30.0) for d in ((1, 0, 0), (0, 0, 1))
            ]
            views = [View(camera, np.full((12, 12, 4), 160, np.uint8)) for camera in cameras]
            training = make_training_rays(ws, LAYOUT, views, FULL)
            record.result = fit_frame(
                ws,
                config,
                training,
                prediction_of(kind) if isinstance(kind, str) else kind,
                frame,
                record.reports.append,
            )
        return record

    return fit


def test_a_key_frame_from_scratch_is_noisy_first_and_rounded_then(watched) -> None:
    found = watched("scratch")
    rounded = round(CONFIG.rounding_from * KEY)
    assert found.modes == [quant.NOISE] * rounded + [quant.ROUND] * (KEY - rounded)
    # Cells are dropped three times, the last time without a margin; then the MLPs are frozen.
    assert found.prunes == [(15, True), (30, True), (50, False)]
    assert found.with_mlp == [True] * 75 + [False] * 25


def test_what_begins_with_a_decoded_field_is_rounded_from_the_first(watched) -> None:
    assert set(watched("on").modes) == {quant.ROUND}
    found = watched("inter")
    assert found.modes == [quant.ROUND] * INTER
    assert found.prunes == [(int(INTER * 0.15), True), (int(INTER * 0.35), False)]
    assert not any(found.with_mlp)


@pytest.mark.parametrize("kind", ["scratch", "on", "inter"])
def test_a_fit_takes_the_turns_of_its_schedule(watched, kind: str) -> None:
    found, schedule = watched(kind), Schedule.of(CONFIG, prediction_of(kind))
    assert found.turns == list(schedule)
    assert found.modes == [turn.mode for turn in schedule]
    assert found.prunes == [(turn.iteration, turn.margin) for turn in schedule if turn.prune]
    told = [turn.iteration + 1 for turn in schedule if turn.report]
    assert [report.step for report in found.reports] == told and told[-1] == schedule.iterations
    assert {report.steps for report in found.reports} == {schedule.iterations}


def test_mlps_that_are_kept_are_not_fitted(watched) -> None:
    with_mlp = {}
    for kind, prediction in (
        ("on", Prediction.going_on(reference())),
        ("kept", Prediction.going_on(reference(), True)),
    ):
        found = watched(prediction)
        with_mlp[kind] = found.with_mlp
        assert (found.result.mlp_symbols is None) == (kind == "kept")
    assert with_mlp == {"on": [True] * 75 + [False] * 25, "kept": [False] * KEY}
    assert all((a == b).all() for a, b in zip(found.result.parameters.mlp, reference().parameters.mlp, strict=True))
    assert found.result.parameters.steps != reference().parameters.steps


def test_without_joint_fitting_nothing_is_quantised(watched) -> None:
    config = dataclasses.replace(CONFIG, joint=False)
    for kind in ("scratch", "inter"):
        assert set(watched(kind, config).modes) == {quant.IDENTITY}


def test_tables_are_chosen_anew_now_and_then(watched) -> None:
    """After a twentieth of the fit, every forty iterations, where cells were dropped, and once more in the end."""
    assert watched("scratch").plans == [6, 41, 81, KEY]
    assert watched("inter").plans == [5, 41, 81, INTER]
    assert watched("inter", drop=True).plans == [5, 14, 32, 41, 81, INTER]


def test_draws_depend_on_seed_and_frame(watched) -> None:
    config = dataclasses.replace(CONFIG, key_iterations=2, inter_iterations=2)
    seeds = {}
    for seed in (0, 1):
        for frame in (0, 1, 2):
            found = watched("inter", dataclasses.replace(config, seed=seed), frame)
            assert len(set(found.draws)) == 1, "iterations are another number that draws depend on"
            seeds[seed, frame] = found.draws[0]
    assert len(set(seeds.values())) == 6
    assert all(0 <= value < 2**31 for value in seeds.values())


@pytest.mark.parametrize("kind", ["scratch", "on", "inter"])
def test_the_result_is_what_was_fitted(watched, kind: str) -> None:
    result = watched(kind).result
    live = live_nodes(LAYOUT, result.occupancy)
    bits = 0.0
    before = reference()
    for grid, (residual, mask) in enumerate(zip(result.residuals, live, strict=True)):
        assert residual.dtype == np.int32 and not residual[~mask].any()
        known = prediction_of(kind).known(3)[grid]
        bits += plan_rate(residual, mask, known).bits
    # A GPU's planner leaves signs to the coder; the last plan is always the coder's own.
    assert result.bits == pytest.approx(bits, rel=1e-4)
    if kind == "inter":
        assert result.mlp_symbols is None and result.parameters.steps == before.parameters.steps
        return
    assert result.mlp_symbols is not None
    assert (np.array(result.parameters.steps) > 0).all()
    # What the stream has of the MLPs is what the grids were fitted to in the end.
    for symbols, values in zip(result.mlp_symbols, result.parameters.mlp, strict=True):
        np.testing.assert_array_equal(tensor_values((symbols,), CONFIG.mlp_step)[0], values)
    again = quantize_tensors(result.parameters.mlp, CONFIG.mlp_step)
    assert all((a == b).all() for a, b in zip(again, result.mlp_symbols, strict=True))


def test_coefficients_that_are_fitted_whole_are_sent_as_differences(watched) -> None:
    config = dataclasses.replace(CONFIG, whole_coefficients=True, lambda_rate=0.0)
    # The fit begins with the reference's coefficients; at this rate it ends there.
    still = dataclasses.replace(config, grid_rate=1e-9)
    assert not any(residual.any() for residual in watched("inter", still).result.residuals)
    assert watched("inter", config).result.residuals[0].any()
