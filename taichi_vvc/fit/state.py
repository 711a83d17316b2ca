"""Everything that changes while a frame is fitted, and what it is at first."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from taichi_vvc.coding.live_set import live_nodes
from taichi_vvc.coding.quantize import grid_values
from taichi_vvc.config import EncoderConfig
from taichi_vvc.field.grids import Field, flat_values, make_field, map_of
from taichi_vvc.field.mlp import flatten
from taichi_vvc.fit.parameters import LiveSymbols, make_live, scatter_live
from taichi_vvc.fit.prediction import Prediction, Reference
from taichi_vvc.fit.rate import RateTables
from taichi_vvc.runtime import Runtime
from taichi_vvc.types import FieldLayout

Grids = tuple[np.ndarray, ...]
"""One dense array (nz, ny, nx, channels) per grid."""


@dataclass(frozen=True)
class FittedMlp:
    """MLPs that are being fitted: their gradient and the moments of Adam, flat as ``Field.mlp``."""

    gradient: Any
    moments: tuple[Any, Any]


@dataclass(frozen=True)
class RoundedMlp:
    """MLPs that were fitted and then rounded for good: the integers of their tensors, which will be sent."""

    symbols: tuple[np.ndarray, ...]


@dataclass(frozen=True)
class GivenMlp:
    """MLPs that are those of the frame before: their tensors, dequantised. They are not sent."""

    tensors: tuple[np.ndarray, ...]


@dataclass(frozen=True)
class NoTables:
    """No tables were chosen yet, or cells were dropped since: no bits count."""


@dataclass
class FitState:
    """Everything that changes while a frame is fitted.

    Attributes:
        field: as it is rendered for the fit.
        symbols: the parameters of the grids.
        steps: (grids,) float32, the quantisation steps.
        step_moments: (2, grids), moments of Adam of their logarithms.
        first_steps: the steps that the fit started with.
        gradient: of the flat grid values.
        mlp: what becomes of the MLPs.
        tables: code lengths of the symbols.
    """

    field: Field
    symbols: LiveSymbols
    steps: np.ndarray
    step_moments: np.ndarray
    first_steps: np.ndarray
    gradient: Any
    mlp: FittedMlp | RoundedMlp | GivenMlp
    tables: RateTables | NoTables


def initial_mlp(layout: FieldLayout, seed: int) -> np.ndarray:
    """Flat MLP weights drawn uniformly from +-1/sqrt(inputs), biases 0."""
    rng = np.random.default_rng([seed, 1])
    tensors = []
    for shape in layout.mlp_shapes:
        bound = 1 / np.sqrt(shape[0])
        tensors.append(rng.uniform(-bound, bound, shape) if len(shape) == 2 else np.zeros(shape))
    return flatten(tuple(t.astype(np.float32) for t in tensors))


@dataclass(frozen=True)
class Start:
    """The numbers that a fit starts with.

    Attributes:
        steps: (grids,) float32.
        reference: int32 symbols that the parameters are added to.
        parameters: float32 residuals.
        mlp: flat weights.
    """

    steps: np.ndarray
    reference: Grids
    parameters: Grids
    mlp: np.ndarray


def begin_fit(
    runtime: Runtime,
    layout: FieldLayout,
    config: EncoderConfig,
    mask: np.ndarray,
    prediction: Prediction,
    cells: np.ndarray | None = None,
    start: Start | None = None,
) -> FitState:
    """The state that a fit begins with.

    Args:
        runtime: where its arrays live.
        layout: of the field.
        config: the settings.
        mask: (nz, ny, nx) bool, where samples may be taken at first.
        prediction: what the frame is predicted from.
        cells: (nz, ny, nx) bool, where symbols may change; None: wherever samples may be taken.
        start: the numbers to begin with; None: those that follow from the prediction.
    """
    start = _start_of(layout, config, prediction) if start is None else start
    grid_map = map_of(layout)
    grids = tuple(grid_values(r, step, n) for n, (r, step) in enumerate(zip(start.reference, start.steps, strict=True)))
    values = flat_values(grid_map, layout, grids)
    live = live_nodes(layout, mask if cells is None else mask & cells)
    symbols = make_live(runtime, layout, grid_map, live, start.parameters, start.reference)
    size = start.mlp.size
    mlp: FittedMlp | GivenMlp
    if prediction.reference is not None and prediction.keep_mlp:
        mlp = GivenMlp(prediction.reference.parameters.mlp)
    else:
        mlp = FittedMlp(runtime.zeros(size), (runtime.zeros(size), runtime.zeros(size)))
    return FitState(
        field=make_field(runtime, layout, values, start.mlp, mask),
        symbols=symbols,
        steps=start.steps,
        step_moments=np.zeros((2, len(start.steps))),
        first_steps=start.steps,
        gradient=runtime.zeros(grid_map.size),
        mlp=mlp,
        tables=NoTables(),
    )


def _start_of(layout: FieldLayout, config: EncoderConfig, prediction: Prediction) -> Start:
    if prediction.reference is None:
        return scratch(layout, config)
    kind = _going_on if prediction.key else _residual
    return kind(layout, config, prediction.reference)


def scratch(layout: FieldLayout, config: EncoderConfig) -> Start:
    """Random basis grids and MLPs, coefficients of 0."""
    rng = np.random.default_rng([config.seed, 0])
    shapes = layout.grid_shapes
    steps = np.array([config.coefficient_step] + [config.basis_step] * len(layout.levels), np.float32)
    basis = tuple(
        (rng.standard_normal(shape) * 0.1 / step).astype(np.float32)
        for shape, step in zip(shapes[1:], steps[1:], strict=True)
    )
    nothing = tuple(np.zeros(shape, np.int32) for shape in shapes)
    return Start(steps, nothing, (np.zeros(shapes[0], np.float32), *basis), initial_mlp(layout, config.seed))


def _going_on(layout: FieldLayout, config: EncoderConfig, before: Reference) -> Start:
    """The symbols of the frame before where those were live, and its steps and MLPs."""
    random = scratch(layout, config)
    # What was not live is random still: with zeros, something new could hardly begin to form there.
    known = live_nodes(layout, before.frame.occupancy)
    parameters = tuple(
        np.where(live[..., None], symbols, drawn).astype(np.float32)
        for live, symbols, drawn in zip(known, before.frame.symbols, random.parameters, strict=True)
    )
    steps = np.array(before.parameters.steps, np.float32)
    return Start(steps, random.reference, parameters, flatten(before.parameters.mlp))


def _residual(layout: FieldLayout, config: EncoderConfig, before: Reference) -> Start:
    """The frame before, and no residual."""
    reference = before.frame.symbols
    parameters = tuple(np.zeros(shape, np.float32) for shape in layout.grid_shapes)
    if config.whole_coefficients:
        parameters = (reference[0].astype(np.float32), *parameters[1:])
        reference = (np.zeros(layout.grid_shapes[0], np.int32), *reference[1:])
    steps = np.array(before.parameters.steps, np.float32)
    return Start(steps, reference, parameters, flatten(before.parameters.mlp))


def rounded(state: FitState) -> Grids:
    """The parameters as the integers that would be coded now, dense int32 grids."""
    s, f = state.symbols, state.field
    values = np.floor(f.runtime.download(s.parameters, s.count) + np.float32(0.5)).astype(np.int32)
    return scatter_live(f.layout, s.live, s.ranges, values)
