"""Fit one frame through the quantiser and the rate model (paper, sections III.B and III.C).

loss = mean over rays of |colour - target|^2 + lambda_rate * bits / (training rays per view) + lambda_residual * |R|_1

The symbols' residual against the decoded reference is what is optimised, in units of the quantisation step: first with
uniform noise in place of rounding, then with real rounding and a straight-through gradient, so that in the end what is
fitted is what is coded. Bits are counted with the very tables and contexts that the entropy coder would use for the
current symbols (or with one Laplace distribution per channel, the paper's model).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from taichi_vvc.coding.entropy import Known, known_grids
from taichi_vvc.coding.live_set import live_nodes
from taichi_vvc.coding.quantize import grid_offset, grid_values, quantize_tensors, tensor_values
from taichi_vvc.config import EncoderConfig
from taichi_vvc.field.grids import Field, flat_values, make_field, map_of, occupy
from taichi_vvc.field.mlp import flatten, unflatten
from taichi_vvc.field.render import measure_opacity
from taichi_vvc.field.workspace import Workspace
from taichi_vvc.fit.colour_error import distortion_step
from taichi_vvc.fit.occupancy import kept_cells, missed_cells
from taichi_vvc.fit.parameters import (
    LiveSymbols,
    make_live,
    quantize_symbols,
    scatter_live,
    shrink_live,
    update_symbols,
)
from taichi_vvc.fit.rate import RateTables, add_laplace_gradient, plan_tables
from taichi_vvc.fit.rate_on_device import DevicePlanner
from taichi_vvc.fit.training_rays import FrameProblem
from taichi_vvc.kernels import adam, quantize, update
from taichi_vvc.kernels.columns import SymbolGrid
from taichi_vvc.runtime import Runtime
from taichi_vvc.types import FieldLayout, GroupParameters, SymbolFrame

_BETA1, _BETA2, _EPSILON = 0.8, 0.95, 1e-15
_ADAM = {SymbolGrid.BETA1: _BETA1, SymbolGrid.BETA2: _BETA2, SymbolGrid.EPSILON: _EPSILON}
_PLAN_EVERY = 40
# When cells are dropped, in fractions of the iterations; the last time without a margin.
KEY_PRUNES = (0.15, 0.3, 0.5)
INTER_PRUNES = (0.15, 0.35)
# Learning rate of MLPs that are fitted on, as a part of the usual one.
_FITTED_ON = 0.25


@dataclass(frozen=True)
class FitResult:
    """What a fit hands to the coder.

    Attributes:
        residuals: int32 grids, what is added to the reference.
        occupancy: (nz, ny, nx) bool after pruning.
        parameters: steps and dequantised MLP (those of the group on an inter frame).
        mlp_symbols: integers of the MLP tensors; None where they are those of the frame before.
        bits: of the grid symbols, as the fit's rate model counts them.
        error: mean squared error per channel over the last batches.
        motion: displacements that the reference was moved by, or None; filled in by the encoder.
        predicted: the symbols that the residuals are to be added to, or None on a key frame.
    """

    residuals: tuple[np.ndarray, ...]
    occupancy: np.ndarray
    parameters: GroupParameters
    mlp_symbols: tuple[np.ndarray, ...] | None
    bits: float
    error: float
    motion: np.ndarray | None = None
    predicted: tuple[np.ndarray, ...] | None = None


@dataclass(frozen=True)
class Reference:
    """What an inter frame is predicted from: decoded integers and the group's parameters."""

    frame: SymbolFrame
    parameters: GroupParameters


def unchanged(reference: Reference, mask: np.ndarray) -> FitResult:
    """The result for a frame in which nothing is to be fitted: no residual, occupancy as given."""
    residuals = tuple(np.zeros_like(s) for s in reference.frame.symbols)
    return FitResult(
        residuals, mask, reference.parameters, None, 8.0 * len(residuals), 0.0, predicted=reference.frame.symbols
    )


@dataclass(frozen=True)
class Start:
    """Where the fit of a key frame begins when the scene goes on.

    Attributes:
        before: the decoded frame before it, its symbols moved to where the scene has gone, and its group's parameters.
        shared: whether the MLPs stay as they are; else they are fitted on.
    """

    before: Reference
    shared: bool


@dataclass
class _State:
    """Everything that changes while a frame is fitted."""

    field: Field
    symbols: LiveSymbols
    steps: np.ndarray  # (grids,) float32
    step_moments: np.ndarray  # (2, grids)
    tables: RateTables | None
    gradient: Any  # of the flat grid values
    mlp_gradient: Any | None
    mlp_moments: tuple[Any, Any] | None
    mlp_symbols: tuple[np.ndarray, ...] | None = None
    mlp_rate: float = 1.0  # factor of the learning rate of the MLPs
    rate_weight: float = 1.0  # factor of lambda


def initial_mlp(layout: FieldLayout, seed: int) -> np.ndarray:
    """Flat MLP weights drawn uniformly from +-1/sqrt(inputs), biases 0."""
    rng = np.random.default_rng([seed, 1])
    tensors = []
    for shape in layout.mlp_shapes:
        bound = 1 / np.sqrt(shape[0])
        tensors.append(rng.uniform(-bound, bound, shape) if len(shape) == 2 else np.zeros(shape))
    return flatten(tuple(t.astype(np.float32) for t in tensors))


def begin_fit(
    runtime: Runtime,
    layout: FieldLayout,
    config: EncoderConfig,
    mask: np.ndarray,
    reference: Reference | None,
    begin: Start | None = None,
) -> _State:
    """The state that a fit begins with: the reference and no residual, or for a key frame random grids and MLPs.

    With ``begin`` a key frame has its symbols where those were live, and its steps and MLPs.
    """
    grid_map = map_of(layout)
    shapes = layout.grid_shapes
    zeros = tuple(np.zeros(s, np.float32) for s in shapes)
    if reference is None:
        rng = np.random.default_rng([config.seed, 0])
        steps = np.array([config.coefficient_step] + [config.basis_step] * len(layout.levels), np.float32)
        ref = tuple(np.zeros(s, np.int32) for s in shapes)
        start = (zeros[0],) + tuple(
            (rng.standard_normal(s) * 0.1 / step).astype(np.float32)
            for s, step in zip(shapes[1:], steps[1:], strict=True)
        )
        mlp = initial_mlp(layout, config.seed)
        if begin is not None:
            frame, parameters = begin.before.frame, begin.before.parameters
            # What was not live is random still: with zeros, something new could hardly begin to form there.
            known = live_nodes(layout, frame.occupancy)
            start = tuple(np.where(k[..., None], s, r) for k, s, r in zip(known, frame.symbols, start, strict=True))
            start = tuple(s.astype(np.float32) for s in start)
            steps, mlp = np.array(parameters.steps, np.float32), flatten(parameters.mlp)
    else:
        steps = np.array(reference.parameters.steps, np.float32)
        ref, start = reference.frame.symbols, zeros
        if config.whole_coefficients:
            ref, start = (zeros[0].astype(np.int32), *ref[1:]), (ref[0].astype(np.float32), *zeros[1:])
        mlp = flatten(reference.parameters.mlp)
    grids = tuple(grid_values(r, step, n) for n, (r, step) in enumerate(zip(ref, steps, strict=True)))
    values = flat_values(grid_map, layout, grids)
    symbols = make_live(runtime, layout, grid_map, live_nodes(layout, mask), start, ref)
    fitted = reference is None and (begin is None or not begin.shared)
    return _State(
        make_field(runtime, layout, values, mlp, mask),
        symbols,
        steps,
        np.zeros((2, len(steps))),
        None,
        runtime.zeros(grid_map.size),
        runtime.zeros(mlp.size) if fitted else None,
        (runtime.zeros(mlp.size), runtime.zeros(mlp.size)) if fitted else None,
        mlp_rate=1.0 if begin is None else _FITTED_ON,
        rate_weight=config.key_lambda if reference is None and begin is None else 1.0,
    )


def _quantize(state: _State, mode: int, seed: int, iteration: int) -> None:
    s, runtime = state.symbols, state.field.runtime
    offsets = [grid_offset(grid) for grid in range(len(state.steps))]
    columns = {SymbolGrid.STEP: state.steps, SymbolGrid.OFFSET: offsets}
    quantize_symbols(runtime, s, state.field.values, columns, mode, seed, iteration)


def rounded(runtime: Runtime, layout: FieldLayout, s: LiveSymbols) -> tuple[np.ndarray, ...]:
    """The parameters as the integers that would be coded now, dense int32 grids."""
    values = np.floor(runtime.download(s.parameters, s.count) + np.float32(0.5)).astype(np.int32)
    return scatter_live(layout, s.live, s.ranges, values)


def _prune(ws: Workspace, state: _State, config: EncoderConfig, problem: FrameProblem, margin: bool = True) -> bool:
    """Drop cells that turned out empty or hidden from the state, all but a ``margin`` of one cell; True if any was."""
    f = state.field
    keep = kept_cells(ws, f, problem, margin)
    keep |= missed_cells(ws, f, problem, keep, config.backdrop)
    if not keep.any() or keep.sum() == f.mask.sum():
        return False
    occupy(f, keep)
    state.symbols = shrink_live(f.runtime, f.layout, f.map, state.symbols, live_nodes(f.layout, keep))
    return True


def learning_decay(config: EncoderConfig, iteration: int, total: int) -> float:
    """The learning rates at an iteration of ``total``, as a part of the highest."""
    # Adam's first steps are all of full size, whatever the gradient: at full rate they throw the density everywhere
    # far below zero, from where some fits never recover.
    risen = min(1.0, (iteration + 1) / max(1.0, config.rising * total))
    return risen * (1 - (1 - config.final_rate) * iteration / total)


def fit_frame(
    ws: Workspace,
    layout: FieldLayout,
    config: EncoderConfig,
    problem: FrameProblem,
    mask: np.ndarray,
    reference: Reference | None = None,
    previous: tuple[np.ndarray, ...] | None = None,
    frame: int = 0,
    progress: Callable[[int, int, float, float], None] | None = None,
    look: Callable[[Field], None] | None = None,
    begin: Start | None = None,
) -> FitResult:
    """Fit a key frame (``reference`` None) or an inter frame.

    Args:
        ws: scratch arrays.
        problem: the training views.
        mask: (nz, ny, nx) bool, where samples may be taken at first.
        reference: decoded predecessor and the group's parameters.
        previous: residuals of the preceding inter frame: contexts of the rate model.
        frame: number of the frame; with ``config.seed`` it fixes all random draws.
        progress: called now and then with iteration, iterations, the running mean squared error and the
            estimated bits.
        look: called as often with the field as it is rendered for the fit; not to be changed.
        begin: what a key frame's fit begins with; None: field and MLPs from scratch.
    """
    runtime = ws.runtime
    key = reference is None
    state = begin_fit(runtime, layout, config, mask, reference, begin)
    total = config.key_iterations if key else config.inter_iterations
    grid_rate = config.grid_rate * (1.0 if key else config.inter_rate)
    seed = (config.seed * 7919 + frame * 104729) % (2**31)
    # Learning rates are in grid values; the symbols' rate follows from the steps that the fit starts with.
    symbol_rates = grid_rate / state.steps
    prune_at = {int(total * x) for x in (KEY_PRUNES if key else INTER_PRUNES)}
    freeze_at = int(total * 0.75)
    round_at = int(total * config.rounding_from) if key and begin is None else 0
    known = known_grids(len(state.steps), previous, None if reference is None else reference.frame.symbols)
    planner = planner_for(runtime, layout, config, known)
    recent = bits = 0.0
    heard = 0
    for iteration in range(total):
        if iteration in prune_at or (iteration % 100 == 50):
            if iteration in prune_at and _prune(ws, state, config, problem, margin=iteration < max(prune_at)):
                state.tables = None
            elif iteration not in prune_at:
                measure_opacity(ws, state.field)
        if state.mlp_gradient is not None and iteration == freeze_at:
            _freeze_mlp(state, layout, config)
        mode = quantize.ROUND if iteration >= round_at else quantize.NOISE
        _quantize(state, mode if config.joint else quantize.IDENTITY, seed, iteration)
        gradients = state.gradient, state.mlp_gradient
        error = distortion_step(ws, state.field, config, problem, *gradients, seed, iteration)
        if error is not None:
            # The average fades by 5 % per iteration, also where the error is not read back at each of them.
            kept = 0.95 ** (iteration - heard) if iteration else 0.0
            recent, heard = kept * recent + (1 - kept) * error, iteration
        warm = iteration >= total // 20
        if warm and (state.tables is None or iteration % _PLAN_EVERY == 0):
            bits = _plan(state, config, known, planner)
        decay = learning_decay(config, iteration, total)
        _update(state, config, problem, symbol_rates * decay, decay, iteration, key)
        if progress is not None and (iteration % 10 == 9 or iteration == total - 1):
            progress(iteration + 1, total, recent, bits)
        if look is not None and iteration % 10 == 9:
            look(state.field)
    bits = _plan(state, config, known)
    residuals = rounded(runtime, layout, state.symbols)
    if key:
        if state.mlp_symbols is not None:
            mlp = tensor_values(state.mlp_symbols, config.mlp_step)
        else:
            assert begin is not None
            mlp = begin.before.parameters.mlp
        parameters = GroupParameters(tuple(float(s) for s in state.steps), mlp)
    else:
        assert reference is not None
        parameters = reference.parameters
        if config.whole_coefficients:
            before = np.where(state.symbols.live[0][..., None], reference.frame.symbols[0], 0)
            residuals = (residuals[0] - before, *residuals[1:])
    predicted = None if reference is None else reference.frame.symbols
    return FitResult(residuals, state.field.mask, parameters, state.mlp_symbols, bits, recent, predicted=predicted)


def planner_for(
    runtime: Runtime, layout: FieldLayout, config: EncoderConfig, known: Sequence[Known]
) -> DevicePlanner | None:
    """What chooses tables on a device; None where the host does: on the CPU, and for the paper's way of coding."""
    if runtime.host_arrays or config.rate_model != "context" or config.whole_coefficients:
        return None
    return DevicePlanner(runtime, layout, known)


def _plan(state: _State, config: EncoderConfig, known: Sequence[Known], planner: DevicePlanner | None = None) -> float:
    """Let the coder choose its tables for the symbols as they would be rounded now; returns their bits."""
    runtime, layout, s = state.field.runtime, state.field.layout, state.symbols
    if planner is not None:
        state.tables = planner.plan(s)
        return state.tables.bits
    residuals = rounded(runtime, layout, s)
    state.tables = plan_tables(runtime, residuals, s.live, known, config.rate_model)
    return state.tables.bits


def _freeze_mlp(state: _State, layout: FieldLayout, config: EncoderConfig) -> None:
    """Quantise the MLPs for good; the grids adapt to the rounded weights in the iterations that are left."""
    runtime = state.field.runtime
    tensors = unflatten(layout, runtime.download(state.field.mlp, sum(int(np.prod(s)) for s in layout.mlp_shapes)))
    state.mlp_symbols = quantize_tensors(tensors, config.mlp_step)
    runtime.store(state.field.mlp, flatten(tensor_values(state.mlp_symbols, config.mlp_step)))
    state.mlp_gradient = None


def _update(
    state: _State,
    config: EncoderConfig,
    problem: FrameProblem,
    symbol_rates: np.ndarray,
    decay: float,
    iteration: int,
    key: bool,
) -> None:
    """Add the rate's gradient and take one Adam step on symbols, steps and MLPs."""
    s, runtime, tables = state.symbols, state.field.runtime, state.tables
    t = iteration + 1
    correction1, correction2 = 1 / (1 - _BETA1**t), 1 / (1 - _BETA2**t)
    weight = state.rate_weight * config.lambda_rate / problem.rays_per_view
    given, largest = update.NO_RATE, 0
    rows, slopes = s.place, s.gradient
    if tables is not None and config.joint:
        if tables.model == "laplace":
            s.gradient.fill(0)
            add_laplace_gradient(s, tables, weight)
            given = update.GIVEN
        else:
            given, largest = update.TABLES, tables.largest
            rows, slopes = tables.rows, tables.slopes
    magnitude = np.zeros(len(state.steps))
    if not key:
        magnitude[1:] = config.lambda_residual * state.steps[1:] / problem.rays_per_view
    columns = _ADAM | {
        SymbolGrid.STEP: state.steps,
        SymbolGrid.SPEED: symbol_rates * correction1,
        SymbolGrid.MAGNITUDE: magnitude,
        SymbolGrid.RATE: given,
        SymbolGrid.RATE_WEIGHT: weight,
        SymbolGrid.LARGEST: largest,
        SymbolGrid.CORRECTION: correction2,
    }
    update_symbols(runtime, s, state.gradient, columns, rows, slopes)
    if key and config.joint:
        _update_steps(state, decay, correction1, correction2)
    if state.mlp_gradient is not None and state.mlp_moments is not None:
        adam.adam_step(
            0,
            sum(int(np.prod(shape)) for shape in state.field.layout.mlp_shapes),
            config.mlp_rate * state.mlp_rate * decay * correction1,
            _BETA1,
            _BETA2,
            correction2,
            _EPSILON,
            state.mlp_gradient,
            *state.mlp_moments,
            state.field.mlp,
        )


def _update_steps(state: _State, decay: float, correction1: float, correction2: float) -> None:
    """Adam on the logarithm of each grid's step."""
    g = state.symbols.blocks.step_gradients(state.field.runtime) * state.steps
    m, v = state.step_moments
    m[:], v[:] = _BETA1 * m + (1 - _BETA1) * g, _BETA2 * v + (1 - _BETA2) * g * g
    move = 0.005 * decay * m * correction1 / (np.sqrt(v * correction2) + 1e-12)
    state.steps = (state.steps * np.exp(-move)).astype(np.float32)
