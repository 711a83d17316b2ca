"""Fit one frame through the quantiser and the rate model (paper, sections III.B and III.C).

loss = mean over rays of |colour - target|^2 + lambda_rate * bits / (training rays per view) + lambda_residual * |R|_1

The symbols' residual against the decoded reference is what is optimised, in units of the quantisation step: first with
uniform noise in place of rounding, then with real rounding and a straight-through gradient, so that in the end what is
fitted is what is coded. Bits are counted with the very tables and contexts that the entropy coder would use for the
current symbols (or with one Laplace distribution per channel, the paper's model).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from taichi_vvc.coding.known import Known
from taichi_vvc.coding.live_set import live_nodes
from taichi_vvc.coding.quantize import grid_offset, quantize_tensors, tensor_values
from taichi_vvc.config import EncoderConfig
from taichi_vvc.field.grids import Field, occupy
from taichi_vvc.field.mlp import flatten, unflatten
from taichi_vvc.field.render import measure_opacity
from taichi_vvc.field.workspace import Workspace
from taichi_vvc.fit.coarse import coarser, start_from
from taichi_vvc.fit.colour_error import distortion_step
from taichi_vvc.fit.occupancy import kept_cells, missed_cells
from taichi_vvc.fit.parameters import quantize_symbols, shrink_live, update_symbols
from taichi_vvc.fit.prediction import Prediction, Reference
from taichi_vvc.fit.rate import RateTables, add_laplace_gradient, plan_tables
from taichi_vvc.fit.rate_on_device import DevicePlanner
from taichi_vvc.fit.schedule import Schedule, Turn, frame_seed
from taichi_vvc.fit.state import FitState, FittedMlp, GivenMlp, NoTables, RoundedMlp, Start, begin_fit, rounded
from taichi_vvc.fit.training_rays import TrainingRays
from taichi_vvc.geometry.projection import dilate
from taichi_vvc.kernels import adam, update
from taichi_vvc.kernels.columns import SymbolGrid
from taichi_vvc.runtime import Runtime
from taichi_vvc.types import FieldLayout, GroupParameters, marched_in

_BETA1, _BETA2, _EPSILON = 0.8, 0.95, 1e-15
_ADAM = {SymbolGrid.BETA1: _BETA1, SymbolGrid.BETA2: _BETA2, SymbolGrid.EPSILON: _EPSILON}
# What is left of a batch's error in the running mean after each iteration.
_ERROR_KEPT = 0.95


@dataclass(frozen=True)
class FitResult:
    """What a fit hands to the coder.

    Attributes:
        residuals: int32 grids, what is added to the reference.
        occupancy: (nz, ny, nx) bool after pruning.
        parameters: steps and dequantised MLP (those of the group on an inter frame).
        mlp_symbols: integers of the MLP tensors; None where they are those of the frame before.
        bits: of the grid symbols, as the fit's rate model counts them.
    """

    residuals: tuple[np.ndarray, ...]
    occupancy: np.ndarray
    parameters: GroupParameters
    mlp_symbols: tuple[np.ndarray, ...] | None
    bits: float


@dataclass(frozen=True)
class FitReport:
    """How far a fit is.

    Attributes:
        step: iterations that are done.
        steps: all iterations.
        error: mean squared error per channel, a running mean over the last batches.
        bits: of the grid symbols, as they were last counted.
        field: as it is rendered for the fit; not to be changed.
    """

    step: int
    steps: int
    error: float
    bits: float
    field: Field


def unchanged(reference: Reference, mask: np.ndarray) -> FitResult:
    """The result for a frame in which nothing is to be fitted: no residual, occupancy as given."""
    residuals = tuple(np.zeros_like(s) for s in reference.frame.symbols)
    return FitResult(residuals, mask, reference.parameters, None, 8.0 * len(residuals))


def fit_frame(
    ws: Workspace,
    config: EncoderConfig,
    training: TrainingRays,
    prediction: Prediction,
    frame: int = 0,
    tell: Callable[[FitReport], None] | None = None,
) -> FitResult:
    """Fit a frame.

    Args:
        ws: scratch arrays.
        config: the settings.
        training: the training views, and where samples may be taken at first.
        prediction: what the frame is predicted from, and what the fit starts with.
        frame: number of the frame; with ``config.seed`` it fixes all random draws.
        tell: called now and then, and after the last iteration.
    """
    schedule = Schedule.of(config, prediction, training.layout.whole)
    start = None
    if schedule.formed:
        training, start = _formed(ws, config, training, frame, tell)
    state = begin_fit(ws.runtime, training.layout, config, training.mask, prediction, training.cells, start)
    known = prediction.known(len(state.steps))
    _run(ws, state, config, training, schedule, known, frame_seed(config, frame), tell)
    bits = _plan(state, config, known) if training.cells is None else _whole_bits(state, config, known)
    return _result(state, config, prediction, bits)


def _formed(
    ws: Workspace,
    config: EncoderConfig,
    training: TrainingRays,
    frame: int,
    tell: Callable[[FitReport], None] | None,
) -> tuple[TrainingRays, Start]:
    """The coarse pass of a whole scene: where samples may be taken after it, and what the fit then starts with."""
    coarse, less = replace(training, layout=coarser(training.layout)), replace(config, rays=-(-config.rays // 2))
    state = begin_fit(ws.runtime, coarse.layout, less, coarse.mask, Prediction.scratch())
    known = Prediction.scratch().known(len(state.steps))

    def tell_of_all(report: FitReport) -> None:
        assert tell is not None
        tell(replace(report, steps=config.iterations(True, True)))

    drawn = frame_seed(config, frame, 1)
    _run(ws, state, less, coarse, Schedule.coarse(config), known, drawn, None if tell is None else tell_of_all)
    # Two cells more than what was found: with one, surfaces that the fine grids would move are cut.
    mask = dilate(dilate(state.field.mask)) & training.mask
    return replace(training, mask=mask), start_from(state, training.layout, config)


def _run(
    ws: Workspace,
    state: FitState,
    config: EncoderConfig,
    training: TrainingRays,
    schedule: Schedule,
    known: Sequence[Known],
    seed: int,
    tell: Callable[[FitReport], None] | None,
) -> None:
    """All iterations of a schedule."""
    planner = planner_for(ws.runtime, training.layout, config, known)
    running, bits = _RunningMean(), 0.0
    for turn in schedule:
        state.field.layout = marched_in(training.layout, turn.longer)
        if turn.prune and _prune(ws, state, config, training, turn.margin):
            state.tables = NoTables()
        if turn.measure_opacity:
            measure_opacity(ws, state.field)
        if turn.freeze_mlp and isinstance(state.mlp, FittedMlp):
            _freeze_mlp(state, config)
        _quantize(state, turn.mode, seed, turn.iteration)
        of_mlp = state.mlp.gradient if isinstance(state.mlp, FittedMlp) else None
        drawn = seed, turn.iteration, schedule.compactness, turn.spread
        error = distortion_step(ws, state.field, config, training, state.gradient, of_mlp, *drawn)
        running.add(error, turn.iteration)
        if turn.rate and (turn.new_tables or isinstance(state.tables, NoTables)):
            bits = _plan(state, config, known, planner)
        _update(state, schedule, training, turn)
        if tell is not None and turn.report:
            done, steps = (schedule.formed + n for n in (turn.iteration + 1, schedule.iterations))
            tell(FitReport(done, steps, running.mean, bits, state.field))


@dataclass
class _RunningMean:
    """The mean error of batches. It fades at each iteration, also where the error is not read back at each of them."""

    mean: float = 0.0
    heard: int = 0

    def add(self, error: float | None, iteration: int) -> None:
        """Takes note of the error of an iteration's batch; None where it was not read back."""
        if error is not None:
            kept = _ERROR_KEPT ** (iteration - self.heard) if iteration else 0.0
            self.mean, self.heard = kept * self.mean + (1 - kept) * error, iteration


def _result(state: FitState, config: EncoderConfig, prediction: Prediction, bits: float) -> FitResult:
    """What the state has become; ``bits``: of its symbols."""
    residuals = rounded(state)
    assert not isinstance(state.mlp, FittedMlp)
    mlp_symbols = state.mlp.symbols if isinstance(state.mlp, RoundedMlp) else None
    if prediction.key or prediction.reference is None:
        tensors = state.mlp.tensors if isinstance(state.mlp, GivenMlp) else _values(state.mlp, config)
        parameters = GroupParameters(tuple(float(s) for s in state.steps), tensors)
    else:
        parameters = prediction.reference.parameters
        if config.whole_coefficients:
            before = np.where(state.symbols.live[0][..., None], prediction.reference.frame.symbols[0], 0)
            residuals = (residuals[0] - before, *residuals[1:])
    return FitResult(residuals, state.field.mask, parameters, mlp_symbols, bits)


def _quantize(state: FitState, mode: int, seed: int, iteration: int) -> None:
    s, runtime = state.symbols, state.field.runtime
    offsets = [grid_offset(grid) for grid in range(len(state.steps))]
    columns = {SymbolGrid.STEP: state.steps, SymbolGrid.OFFSET: offsets}
    quantize_symbols(runtime, s, state.field.values, columns, mode, seed, iteration)


def _prune(ws: Workspace, state: FitState, config: EncoderConfig, training: TrainingRays, margin: bool = True) -> bool:
    """Drop cells that turned out empty or hidden from the state, all but a ``margin`` of one cell; True if any was."""
    f, cells = state.field, training.cells
    keep = kept_cells(ws, f, training, margin)
    if cells is not None:
        keep |= f.mask & ~cells
    keep |= missed_cells(ws, f, training, keep, config.backdrop)
    if not keep.any() or keep.sum() == f.mask.sum():
        return False
    occupy(f, keep)
    live = live_nodes(f.layout, keep if cells is None else keep & cells)
    state.symbols = shrink_live(f.runtime, f.layout, f.map, state.symbols, live)
    return True


def planner_for(
    runtime: Runtime, layout: FieldLayout, config: EncoderConfig, known: Sequence[Known]
) -> DevicePlanner | None:
    """What chooses tables on a device; None where the host does: on the CPU, and for the paper's way of coding."""
    if runtime.host_arrays or config.rate_model != "context" or config.whole_coefficients:
        return None
    return DevicePlanner(runtime, layout, known)


def _whole_bits(state: FitState, config: EncoderConfig, known: Sequence[Known]) -> float:
    """Bits of all symbols of the frame, those included that could not change."""
    live = live_nodes(state.field.layout, state.field.mask)
    return plan_tables(state.field.runtime, rounded(state), live, known, config.rate_model).bits


def _plan(
    state: FitState, config: EncoderConfig, known: Sequence[Known], planner: DevicePlanner | None = None
) -> float:
    """Let the coder choose its tables for the symbols as they would be rounded now; returns their bits."""
    if planner is not None:
        tables = planner.plan(state.symbols)
    else:
        residuals = rounded(state)
        tables = plan_tables(state.field.runtime, residuals, state.symbols.live, known, config.rate_model)
    state.tables = tables
    return tables.bits


def _freeze_mlp(state: FitState, config: EncoderConfig) -> None:
    """Quantise the MLPs for good; the grids adapt to the rounded weights in the iterations that are left."""
    runtime, layout = state.field.runtime, state.field.layout
    tensors = unflatten(layout, runtime.download(state.field.mlp, _weights(layout)))
    state.mlp = RoundedMlp(quantize_tensors(tensors, config.mlp_step))
    runtime.store(state.field.mlp, flatten(_values(state.mlp, config)))


def _values(mlp: RoundedMlp, config: EncoderConfig) -> tuple[np.ndarray, ...]:
    """The tensors as a decoder will have them."""
    return tensor_values(mlp.symbols, config.mlp_step)


def _weights(layout: FieldLayout) -> int:
    """How many weights and biases the MLPs have."""
    return sum(int(np.prod(shape)) for shape in layout.mlp_shapes)


def _update(state: FitState, schedule: Schedule, training: TrainingRays, turn: Turn) -> None:
    """Add the rate's gradient and take one Adam step on symbols, steps and MLPs."""
    s, runtime, tables = state.symbols, state.field.runtime, state.tables
    t = turn.iteration + 1
    correction1, correction2 = 1 / (1 - _BETA1**t), 1 / (1 - _BETA2**t)
    weight = schedule.lambda_rate / training.rays_per_view
    given, largest = update.NO_RATE, 0
    rows, slopes = s.place, s.gradient
    if isinstance(tables, RateTables) and schedule.joint:
        if tables.model == "laplace":
            s.gradient.fill(0)
            add_laplace_gradient(s, tables, weight)
            given = update.GIVEN
        else:
            given, largest = update.TABLES, tables.largest
            rows, slopes = tables.rows, tables.slopes
    # Learning rates are in grid values; those of the symbols follow from the steps that the fit started with.
    rate = schedule.grid_rate / state.first_steps * turn.learning_rate * correction1
    magnitude = np.zeros(len(state.steps))
    magnitude[1:] = schedule.lambda_residual * state.steps[1:] / training.rays_per_view
    columns = _ADAM | {
        SymbolGrid.STEP: state.steps,
        SymbolGrid.SPEED: rate,
        SymbolGrid.MAGNITUDE: magnitude,
        SymbolGrid.RATE: given,
        SymbolGrid.RATE_WEIGHT: weight,
        SymbolGrid.LARGEST: largest,
        SymbolGrid.CORRECTION: correction2,
    }
    update_symbols(runtime, s, state.gradient, columns, rows, slopes)
    if schedule.step_rate:
        _update_steps(state, schedule.step_rate * turn.learning_rate, correction1, correction2)
    if isinstance(state.mlp, FittedMlp):
        adam.adam_step(
            0,
            _weights(state.field.layout),
            schedule.mlp_rate * turn.learning_rate * correction1,
            _BETA1,
            _BETA2,
            correction2,
            _EPSILON,
            state.mlp.gradient,
            *state.mlp.moments,
            state.field.mlp,
        )


def _update_steps(state: FitState, rate: float, correction1: float, correction2: float) -> None:
    """Adam on the logarithm of each grid's step."""
    g = state.symbols.blocks.step_gradients(state.field.runtime) * state.steps
    m, v = state.step_moments
    m[:], v[:] = _BETA1 * m + (1 - _BETA1) * g, _BETA2 * v + (1 - _BETA2) * g * g
    move = rate * m * correction1 / (np.sqrt(v * correction2) + 1e-12)
    state.steps = (state.steps * np.exp(-move)).astype(np.float32)
