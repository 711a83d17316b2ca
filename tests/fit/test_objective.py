"""One step of the fit goes down the loss that the fit states: squared error per ray, plus lambda times the bits and the
residual's magnitude per training ray of one view. And the quantisation steps learn in the right direction."""

from __future__ import annotations

import dataclasses
from types import SimpleNamespace

import backends
import numpy as np
import pytest
import reference as twins
from backends import down, runtime
from taichi_vvc.kernels import quantize
from tiny import ONE_LEVEL

from taichi_vvc.coding.quantize import grid_offset
from taichi_vvc.config import EncoderConfig
from taichi_vvc.field.render import Workspace
from taichi_vvc.fit.optimize import _plan, _quantize, _update, _update_steps
from taichi_vvc.fit.prediction import Prediction, Reference
from taichi_vvc.fit.rate import RateTables
from taichi_vvc.fit.schedule import Schedule
from taichi_vvc.fit.state import FitState, FittedMlp, begin_fit
from taichi_vvc.fit.training_rays import make_training_rays
from taichi_vvc.types import GroupParameters, SymbolFrame, View

BETA1 = 0.8
LAYOUT = backends.small_layout()
SIZES = [int(np.prod(shape)) for shape in LAYOUT.grid_shapes]
GRID = np.repeat(np.arange(len(SIZES)), SIZES)
RAYS = 320.0
CONFIG = EncoderConfig(**{**ONE_LEVEL, "lambda_rate": 2e-3, "lambda_residual": 0.25, "key_lambda": 0.4})


def reference() -> Reference:
    """A decoded frame: a few small symbols."""
    rng = np.random.default_rng(1)
    symbols = tuple(rng.integers(-3, 4, shape).astype(np.int32) for shape in LAYOUT.grid_shapes)
    mask = np.ones(LAYOUT.occupancy[::-1], bool)
    steps = (0.25, 0.5, 0.125)[: len(symbols)]
    return Reference(SymbolFrame(symbols, symbols, mask, True), GroupParameters(steps, backends.random_mlp(LAYOUT, 0)))


def prediction_of(kind: str) -> Prediction:
    """Of a key frame from ``scratch``, of one that goes ``on``, or of an ``inter`` frame."""
    if kind == "scratch":
        return Prediction.scratch()
    return Prediction.inter(reference()) if kind == "inter" else Prediction.going_on(reference())


def state_of(kind: str, config: EncoderConfig = CONFIG) -> FitState:
    """A fit under way of a key frame from ``scratch``, of one that goes ``on``, or of an ``inter`` frame: everything
    is live, parameters lie between the integers, the coder has chosen its tables."""
    mask, prediction = np.ones(LAYOUT.occupancy[::-1], bool), prediction_of(kind)
    state = begin_fit(runtime(), LAYOUT, config, mask, prediction)
    s = state.symbols
    assert s.count == sum(SIZES)
    runtime().store(s.parameters, parameters())
    _plan(state, config, prediction.known(len(SIZES)))
    # The slopes as a fit reads them, and no gradient of the distortion yet.
    _quantize(state, quantize.ROUND, 0, 0)
    return state


def parameters() -> np.ndarray:
    """Away from the integers, where the rate has kinks, and from 0."""
    rng = np.random.default_rng(2)
    leaning = rng.uniform(0.1, 0.4, sum(SIZES)) * rng.choice([-1, 1])
    return (rng.integers(-2, 3, sum(SIZES)) + leaning).astype(np.float32)


def update(state: FitState, config: EncoderConfig, kind: str, learning_rate: float = 1.0) -> None:
    """Takes the first step of a fit with a learning rate that is part of the highest."""
    schedule = Schedule.of(config, prediction_of(kind))
    turn = dataclasses.replace(schedule.turn(0), learning_rate=learning_rate)
    _update(state, schedule, SimpleNamespace(rays_per_view=RAYS), turn)  # type: ignore[arg-type]


def first_gradient(state: FitState, config: EncoderConfig, kind: str) -> np.ndarray:
    """What Adam is given at the first step: its first moment is (1 - beta1) of that."""
    update(state, config, kind)
    return down(state.symbols.moment1, sum(SIZES)) / (1 - BETA1)


def bit_slopes(state: FitState) -> np.ndarray:
    """Derivative of the bits at each symbol, by differences of the code lengths that the tables hold."""
    tables = state.tables
    assert isinstance(tables, RateTables)
    lengths = down(tables.lengths).reshape(-1, 2 * tables.largest + 1).astype(np.float64)
    chosen, y = down(tables.table, sum(SIZES)), parameters()
    width = 1e-3

    def bits(offset: float) -> np.ndarray:
        pairs = zip((y + offset).tolist(), chosen.tolist(), strict=True)
        return np.array([twins.table_bits(value, lengths[table], tables.slope) for value, table in pairs])

    return (bits(width) - bits(-width)) / (2 * width)


def magnitude_slopes(state: FitState, weight: float) -> np.ndarray:
    """Derivative of the L1 norm of the basis residual, in values, at each symbol."""
    return np.where(GRID > 0, weight * state.steps[GRID] * np.sign(parameters()), 0.0)


needs_host = pytest.mark.skipif(backends.BACKEND != "cpu", reason="reads the tables that the host chooses")


@needs_host
@pytest.mark.parametrize(
    "kind, factor, magnitude", [("inter", 1.0, 0.25), ("on", 1.0, 0.0), ("scratch", CONFIG.key_lambda, 0.0)]
)
def test_rate_and_magnitude_are_weighed_per_ray_of_one_view(kind: str, factor: float, magnitude: float) -> None:
    state = state_of(kind)
    expected = factor * CONFIG.lambda_rate / RAYS * bit_slopes(state) + magnitude_slopes(state, magnitude / RAYS)
    assert np.abs(expected).max() > 1e-6
    found = first_gradient(state, CONFIG, kind)
    np.testing.assert_allclose(found, expected, atol=2e-3 * np.abs(expected).max())


@needs_host
@pytest.mark.parametrize("change, part", [({"lambda_rate": 0.0}, "magnitude"), ({"lambda_residual": 0.0}, "rate")])
def test_either_weight_may_be_nothing(change: dict, part: str) -> None:
    config = dataclasses.replace(CONFIG, **change)
    state = state_of("inter", config)
    if part == "rate":
        expected = config.lambda_rate / RAYS * bit_slopes(state)
    else:
        expected = magnitude_slopes(state, config.lambda_residual / RAYS)
    np.testing.assert_allclose(first_gradient(state, config, "inter"), expected, atol=2e-3 * np.abs(expected).max())


@needs_host
def test_without_joint_fitting_there_is_no_rate() -> None:
    config = dataclasses.replace(CONFIG, joint=False, lambda_residual=0.0)
    state = state_of("inter", config)
    assert not first_gradient(state, config, "inter").any()


def test_a_distortion_passes_through_the_step_of_its_grid() -> None:
    config = dataclasses.replace(CONFIG, lambda_rate=0.0, lambda_residual=0.0)
    state = state_of("inter", config)
    weights = np.random.default_rng(3).normal(size=state.field.map.size).astype(np.float32)
    runtime().store(state.gradient, weights)
    places = down(state.symbols.place, sum(SIZES))
    expected = weights[places.astype(np.int64)] * state.steps[GRID]
    np.testing.assert_allclose(first_gradient(state, config, "inter"), expected, rtol=1e-4, atol=1e-5)


def views(cameras: int, copies: int) -> tuple[View, ...]:
    """Pictures all around the bounds, each as often as ``copies`` says."""
    centre = (np.asarray(LAYOUT.bounds.lower) + np.asarray(LAYOUT.bounds.upper)) / 2
    found = []
    for number in range(cameras):
        angle = 2 * np.pi * number / cameras
        place = centre + 5 * np.array([np.cos(angle), 0.2, np.sin(angle)])
        for copy in range(copies):
            camera = backends.look_at(place, centre, size=(20, 16), focal=40.0, name=f"{number} {copy}")
            found.append(View(camera, np.full((16, 20, 4), 255, np.uint8)))
    return tuple(found)


def test_more_cameras_do_not_change_what_a_bit_costs() -> None:
    """A capture with every camera twice has the same loss, so lambda must mean the same there."""
    mask = np.ones(LAYOUT.occupancy[::-1], bool)
    ws = Workspace(runtime())
    once, twice = (make_training_rays(ws, LAYOUT, views(4, copies), mask) for copies in (1, 2))
    assert twice.count == 2 * once.count
    assert once.rays_per_view == twice.rays_per_view == once.count / 4
    assert 0 < once.rays_per_view < 20 * 16, "only rays that meet something count"


def step_gradients(state: FitState, d_values: np.ndarray) -> None:
    """Leaves the gradients of the steps where :func:`_update_steps` looks for them, symbols staying as they are."""
    runtime().store(state.gradient, d_values)
    update(state, dataclasses.replace(CONFIG, lambda_rate=0.0), "inter", learning_rate=0.0)


@pytest.mark.parametrize("decay", [1.0, 0.25])
def test_the_first_move_of_a_step_is_against_its_gradient(decay: float) -> None:
    """Adam's first move has the full length, here half a per cent, whatever the step and its gradient."""
    state = state_of("scratch")
    rising = np.array([1, -1, 1][: len(SIZES)])
    levels, places = down(state.symbols.levels, sum(SIZES)), down(state.symbols.place, sum(SIZES)).astype(np.int64)
    d = np.zeros(state.field.map.size, np.float32)
    # The sum of d * level is the gradient of a grid's step.
    d[places] = 1e-3 * rising[GRID] * levels
    runtime().store(state.gradient, d)
    before = state.steps.copy()
    update(state, dataclasses.replace(CONFIG, lambda_rate=0.0), "scratch", decay)
    np.testing.assert_allclose(np.log(state.steps / before), -0.005 * decay * rising, rtol=1e-3)


def test_steps_learn_to_lower_the_loss() -> None:
    """Values that half and double the steps would give: the steps find back, each in its own direction."""
    state = state_of("scratch")
    levels, places = down(state.symbols.levels, sum(SIZES)), down(state.symbols.place, sum(SIZES)).astype(np.int64)
    offsets = np.array([grid_offset(grid) for grid in range(len(SIZES))])
    wanted = state.steps * np.array([1.25, 0.8, 1.1])[: len(SIZES)]
    targets = offsets[GRID] + wanted[GRID] * levels
    losses = []
    for iteration in range(60):
        _quantize(state, quantize.ROUND, 0, iteration)
        values = down(state.field.values)
        errors = values[places] - targets
        losses.append(float((errors**2).sum()))
        d = np.zeros(state.field.map.size, np.float32)
        d[places] = errors
        step_gradients(state, d)
        t = iteration + 1
        _update_steps(state, 0.005, 1 / (1 - BETA1**t), 1 / (1 - 0.95**t))
    assert losses[20] < 0.5 * losses[0] and losses[-1] < 0.02 * losses[0]
    np.testing.assert_allclose(state.steps, wanted, rtol=0.05)


@pytest.mark.parametrize(
    "kind, joint, moves", [("scratch", True, True), ("inter", True, False), ("scratch", False, False)]
)
def test_steps_move_on_key_frames_that_are_fitted_jointly(kind: str, joint: bool, moves: bool) -> None:
    config = dataclasses.replace(CONFIG, joint=joint)
    state = state_of("scratch", config)
    runtime().store(state.gradient, np.ones(state.field.map.size, np.float32))
    before = state.steps.copy()
    update(state, config, kind)
    assert (state.steps != before).any() == moves


@pytest.mark.parametrize("kind, factor", [("scratch", 1.0), ("on", 1.0), ("inter", 0.5)])
def test_learning_rates_are_in_values(kind: str, factor: float) -> None:
    """A grid with a smaller step takes as many more steps to the same value. What counts is the step at first."""
    config = dataclasses.replace(CONFIG, lambda_rate=0.0, lambda_residual=0.0, inter_rate=0.5)
    state, rng = state_of(kind, config), np.random.default_rng(5)
    signs = rng.choice([-1, 1], state.field.map.size).astype(np.float32)
    runtime().store(state.gradient, 1e-3 * signs)
    places, rates = down(state.symbols.place, sum(SIZES)).astype(np.int64), config.grid_rate / state.steps
    state.steps = state.steps * np.float32(1.5)
    update(state, config, kind, 0.7)
    moved = down(state.symbols.parameters, sum(SIZES)) - parameters()
    np.testing.assert_allclose(moved, -0.7 * factor * rates[GRID] * signs[places], rtol=1e-4)


@pytest.mark.parametrize("kind, factor", [("scratch", 1.0), ("on", 0.25)])
def test_the_perceptrons_learn_at_their_rate(kind: str, factor: float) -> None:
    state = state_of(kind)
    before = down(state.field.mlp).copy()
    gradient = np.random.default_rng(4).choice([-1e-3, 1e-3], before.size).astype(np.float32)
    assert isinstance(state.mlp, FittedMlp)
    runtime().store(state.mlp.gradient, gradient)
    decay = 0.7
    update(state, CONFIG, kind, decay)
    size = sum(int(np.prod(shape)) for shape in LAYOUT.mlp_shapes)
    moved = (down(state.field.mlp) - before)[:size]
    np.testing.assert_allclose(moved, -factor * CONFIG.mlp_rate * decay * np.sign(gradient[:size]), rtol=1e-3)
