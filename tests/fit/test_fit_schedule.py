"""The schedule of a fit: noise and rounding, pruning, freezing of the MLPs, new tables, learning rates, randomness."""

from __future__ import annotations

import dataclasses
from typing import Any

import backends
import numpy as np
import pytest
from backends import runtime
from taichi_vvc.kernels import quantize as quant
from tiny import ONE_LEVEL

from taichi_vvc.coding.entropy import plan_rate
from taichi_vvc.coding.live_set import live_nodes
from taichi_vvc.coding.quantize import quantize_tensors, tensor_values
from taichi_vvc.config import EncoderConfig
from taichi_vvc.field.render import Workspace
from taichi_vvc.fit import optimize
from taichi_vvc.fit.optimize import FitResult, Reference, Start, fit_frame, learning_decay
from taichi_vvc.fit.training_rays import make_problem
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


@dataclasses.dataclass
class Record:
    """What a fit did: one entry per iteration, or the iterations at which something happened."""

    result: FitResult | None = None
    modes: list[int] = dataclasses.field(default_factory=list)
    draws: list[int] = dataclasses.field(default_factory=list)
    with_mlp: list[bool] = dataclasses.field(default_factory=list)
    rates: list[np.ndarray] = dataclasses.field(default_factory=list)
    decays: list[float] = dataclasses.field(default_factory=list)
    prunes: list[tuple[int, bool]] = dataclasses.field(default_factory=list)
    plans: list[int] = dataclasses.field(default_factory=list)


@pytest.fixture
def watched(monkeypatch: pytest.MonkeyPatch):
    """A function that fits a frame of ``kind`` (``scratch``, ``on`` or ``inter``) and records what happens."""

    def fit(kind: str, config: EncoderConfig = CONFIG, frame: int = 0, drop: bool = False) -> Record:
        record, usual = (
            Record(),
            {n: getattr(optimize, n) for n in ("_quantize", "distortion_step", "_update", "_plan")},
        )

        def quantize(state, mode, seed, iteration) -> None:
            record.modes.append(mode)
            usual["_quantize"](state, mode, seed, iteration)

        def step(ws, field, config, problem, gradient, mlp_gradient, seed, iteration) -> Any:
            assert iteration == len(record.draws)
            record.draws.append(seed)
            record.with_mlp.append(mlp_gradient is not None)
            return usual["distortion_step"](ws, field, config, problem, gradient, mlp_gradient, seed, iteration)

        def update(state, config, problem, rates, decay, iteration, key) -> None:
            record.rates.append(rates)
            record.decays.append(decay)
            usual["_update"](state, config, problem, rates, decay, iteration, key)

        def prune(ws, state, config, problem, margin=True) -> bool:
            record.prunes.append((len(record.modes), margin))
            return drop

        def plan(*arguments) -> float:
            record.plans.append(len(record.modes))
            return usual["_plan"](*arguments)

        changes = {"_quantize": quantize, "distortion_step": step, "_update": update, "_prune": prune, "_plan": plan}
        with monkeypatch.context() as patch:
            for name, change in changes.items():
                patch.setattr(optimize, name, change)
            ws, before = Workspace(runtime()), reference()
            centre = (np.asarray(LAYOUT.bounds.lower) + np.asarray(LAYOUT.bounds.upper)) / 2
            cameras = [
                backends.look_at(centre + 5 * np.array(d), centre, (12, 12), 30.0) for d in ((1, 0, 0), (0, 0, 1))
            ]
            views = [View(camera, np.full((12, 12, 4), 160, np.uint8)) for camera in cameras]
            problem = make_problem(ws, LAYOUT, views, FULL)
            given = before if kind == "inter" else None
            begin = Start(before, False) if kind == "on" else None
            record.result = fit_frame(ws, LAYOUT, config, problem, FULL, given, None, frame, begin=begin)
        return record

    return fit


def test_a_key_frame_from_scratch_is_noisy_first_and_rounded_then(watched) -> None:
    found = watched("scratch")
    rounded = round(CONFIG.rounding_from * KEY)
    assert found.modes == [quant.NOISE] * rounded + [quant.ROUND] * (KEY - rounded)
    # Cells are dropped three times, the last time without a margin; then the MLPs are frozen.
    assert found.prunes == [(15, True), (30, True), (50, False)]
    assert found.with_mlp == [True] * 75 + [False] * 25
    np.testing.assert_allclose(found.decays, [learning_decay(CONFIG, i, KEY) for i in range(KEY)])


def test_what_begins_with_a_decoded_field_is_rounded_from_the_first(watched) -> None:
    assert set(watched("on").modes) == {quant.ROUND}
    found = watched("inter")
    assert found.modes == [quant.ROUND] * INTER
    assert found.prunes == [(int(INTER * 0.15), True), (int(INTER * 0.35), False)]
    assert not any(found.with_mlp)


def test_without_joint_fitting_nothing_is_quantised(watched) -> None:
    config = dataclasses.replace(CONFIG, joint=False)
    for kind in ("scratch", "inter"):
        assert set(watched(kind, config).modes) == {quant.IDENTITY}


def test_tables_are_chosen_anew_now_and_then(watched) -> None:
    """After a twentieth of the fit, every forty iterations, where cells were dropped, and once more in the end."""
    assert watched("scratch").plans == [6, 41, 81, KEY]
    assert watched("inter").plans == [5, 41, 81, INTER]
    assert watched("inter", drop=True).plans == [5, 14, 32, 41, 81, INTER]


def test_learning_rates_are_in_values(watched) -> None:
    """A grid with a smaller step takes as many more steps to the same value."""
    config = dataclasses.replace(CONFIG, inter_rate=0.5)
    steps = np.array(reference().parameters.steps, np.float32)
    for kind, factor in (("inter", 0.5), ("on", 1.0)):
        found = watched(kind, config)
        decay = np.array(found.decays)[:, None]
        np.testing.assert_allclose(np.array(found.rates), factor * config.grid_rate * decay / steps, rtol=1e-5)


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
        known = optimize.known_grids(3, None, before.frame.symbols if kind == "inter" else None)[grid]
        bits += plan_rate(residual, mask, known).bits
    # A GPU's planner leaves signs to the coder; the last plan is always the coder's own.
    assert result.bits == pytest.approx(bits, rel=1e-4)
    if kind == "inter":
        assert result.mlp_symbols is None and result.parameters.steps == before.parameters.steps
        assert all((a == b).all() for a, b in zip(result.predicted, before.frame.symbols, strict=True))
        return
    assert result.predicted is None and result.mlp_symbols is not None
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
