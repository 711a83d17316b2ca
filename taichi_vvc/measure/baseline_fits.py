"""Baselines that fit fields as the encoder does but code them in other ways than a .tvvc file.

Each function yields, frame by frame, the field that a receiver would decode and the number of bytes sent for it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from taichi_vvc.capture.sequence import MultiViewSequence
from taichi_vvc.coding.entropy import encode_integers, encode_mask
from taichi_vvc.coding.live_set import live_nodes
from taichi_vvc.coding.quantize import grid_offset
from taichi_vvc.config import EncoderConfig
from taichi_vvc.encoder.detail import fitted_focal, settle_detail
from taichi_vvc.field.grids import Field, field_of_symbols, flat_values, make_field
from taichi_vvc.field.mlp import flatten
from taichi_vvc.field.workspace import Workspace
from taichi_vvc.fit.occupancy import first_mask
from taichi_vvc.fit.optimize import FitReport, FitResult, fit_frame
from taichi_vvc.fit.prediction import Prediction, Reference
from taichi_vvc.fit.training_rays import make_training_rays
from taichi_vvc.measure.baselines import FINE_STEP, code_blocks, pack_floats, without_rate
from taichi_vvc.types import FieldLayout, SymbolFrame

_FRAME_HEADER = 8  # bytes for the lengths and the type of a frame's parts, about as in a .tvvc file
_FINE_MLP = 2.0**-16


def _fit(
    ws: Workspace,
    layout: FieldLayout,
    config: EncoderConfig,
    sequence: MultiViewSequence,
    number: int,
    reference: Reference | None,
) -> tuple[FitResult, Field]:
    """Fits one frame. Also returns the field as last rendered; its values are not rounded without ``joint``."""
    views = sequence.frame(number).views
    mask = first_mask(layout, views, None if reference is None else reference.frame)
    training = make_training_rays(ws, layout, views, mask)
    prediction = Prediction.scratch() if reference is None else Prediction.inter(reference)
    reports: list[FitReport] = []
    fit = fit_frame(ws, config, training, prediction, number, reports.append)
    return fit, reports[-1].field


def independent_frames(
    ws: Workspace, layout: FieldLayout, config: EncoderConfig, sequence: MultiViewSequence
) -> Iterator[tuple[Field, int]]:
    """Fits every frame independently; sends the float32 values of live nodes and MLPs, and the mask, by LZMA.

    Yields:
        The field and its bytes.
    """
    config, sequence = settle_detail(config, sequence)
    focal = fitted_focal(config, sequence)
    config = replace(
        without_rate(config),
        coefficient_step=FINE_STEP,
        basis_step=FINE_STEP,
        mlp_step=_FINE_MLP,
        key_iterations=max(10, config.key_iterations),
        first_fit=1.0,
    )
    for number in range(len(sequence)):
        fit, seen = _fit(ws, layout, config, sequence, number, None)
        flat = np.array(ws.runtime.download(seen.values, seen.map.size))
        grids, sent = [], []
        for grid, (shape, live) in enumerate(zip(layout.grid_shapes, live_nodes(layout, fit.occupancy), strict=True)):
            nodes = np.flatnonzero(live)
            values = flat[seen.map.places(grid, nodes)]
            dense = np.full(shape, grid_offset(grid), np.float32)
            dense.reshape(-1, shape[3])[nodes] = values
            grids.append(dense)
            sent.append(values)
        payload = pack_floats([*sent, *fit.parameters.mlp], fit.occupancy)
        values = flat_values(seen.map, layout, tuple(grids))
        field = make_field(ws.runtime, layout, values, flatten(fit.parameters.mlp), fit.occupancy)
        field.focal = focal
        yield field, len(payload) + _FRAME_HEADER


def transformed_frames(
    ws: Workspace, layout: FieldLayout, config: EncoderConfig, sequence: MultiViewSequence, quality: float
) -> Iterator[tuple[Field, int]]:
    """Fits without rate; codes the residual grids with :func:`~taichi_vvc.measure.baselines.code_blocks`.

    Residuals are relative to the decoded frame before. Masks and MLPs are coded as in a .tvvc file.

    Yields:
        The decoded field and its bytes.
    """
    config, sequence = settle_detail(config, sequence)
    focal = fitted_focal(config, sequence)
    config = replace(without_rate(config), coefficient_step=FINE_STEP, basis_step=FINE_STEP)
    group, reference = config.group_length(sequence.fps), None
    for number in range(len(sequence)):
        if number % group == 0:
            reference = None
        fit, _ = _fit(ws, layout, config, sequence, number, reference)
        live = live_nodes(layout, fit.occupancy)
        residuals = [r.astype(np.float64) * FINE_STEP for r in fit.residuals]
        coded = code_blocks(residuals, live, quality)
        size = len(coded.payload) + _FRAME_HEADER
        size += len(encode_mask(fit.occupancy, None if reference is None else reference.frame.occupancy))
        if reference is None:
            assert fit.mlp_symbols is not None
            size += len(encode_integers(fit.mlp_symbols))
        # Decoded residuals are rounded to multiples of the fine step, so that encoder and decoder have equal integers.
        steps = tuple(np.rint(d / FINE_STEP).astype(np.int32) for d in coded.decoded)
        symbols = steps
        if reference is not None:
            symbols = tuple(r + s for r, s in zip(reference.frame.symbols, steps, strict=True))
        frame = SymbolFrame(symbols, steps, fit.occupancy, reference is None)
        reference = Reference(frame, fit.parameters)
        yield field_of_symbols(ws.runtime, layout, fit.parameters, frame, focal=focal), size
