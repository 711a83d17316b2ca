"""The rate term of the fit: bits under the tables that the entropy coder would choose for the current symbols."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from taichi_vvc.coding.entropy import Known, plan_rate
from taichi_vvc.fit.parameters import LiveSymbols
from taichi_vvc.kernels import rate as kernels
from taichi_vvc.runtime import Runtime


@dataclass
class RateTables:
    """Code lengths on the device.

    Attributes:
        model: "context" or "laplace".
        table: (live symbols,) int32, the table of each symbol.
        lengths: context: (tables * (2 * largest + 1),) bits; laplace: (tables,) scales in symbols.
        largest, slope: alphabet bound, and bits per unit beyond it.
        rows, slopes: context: where each symbol's table begins in the derivatives of the bits, see
            ``kernels.rate.table_slope``; laplace: None.
        bits: what the coder would need for the symbols that the tables were chosen for, as it counts them.
    """

    model: str
    table: Any
    lengths: Any
    largest: int
    slope: float
    bits: float
    rows: Any = None
    slopes: Any = None


def plan_tables(
    runtime: Runtime,
    residuals: tuple[np.ndarray, ...],
    live: tuple[np.ndarray, ...],
    known: Sequence[Known],
    model: str,
) -> RateTables:
    """Choose the tables for integer residual grids, as the coder would. ``known``: what a decoder has of each."""
    # The contexts are small matrix products, at which several BLAS threads mostly wait for each other.
    with runtime.single_threaded_blas():
        plans = [
            plan_rate(residual, mask, grid, model=model)
            for residual, mask, grid in zip(residuals, live, known, strict=True)
        ]
    tables, lengths = [], []
    largest, slope, base, bits = 0, 0.0, 0, 0.0
    for plan, residual, mask in zip(plans, residuals, live, strict=True):
        bits += plan.bits
        if model == "laplace":
            symbols = residual[mask]
            # Maximum likelihood for a Laplace distribution, kept away from 0 so that a symbol can come back.
            scale = np.maximum(np.abs(symbols).mean(axis=0) if len(symbols) else np.ones(residual.shape[3]), 0.05)
            tables.append(np.tile(np.arange(residual.shape[3], dtype=np.int32) + base, len(symbols)))
            lengths.append(scale.astype(np.float32))
            base += residual.shape[3]
            continue
        tables.append(plan.table.reshape(-1).astype(np.int32) + base)
        lengths.append(_even(plan.lengths).reshape(-1))
        base += len(plan.lengths)
        largest, slope = (plan.lengths.shape[1] - 1) // 2, plan.slope
    table, flat = np.concatenate(tables).astype(np.int32), np.concatenate(lengths).astype(np.float32)
    result = RateTables(model, runtime.upload(table), runtime.upload(flat), largest, slope, bits)
    if model != "laplace":
        result.slopes = runtime.upload(derivatives(flat.reshape(-1, 2 * largest + 1), slope))
        result.rows = runtime.upload(table * (2 * largest + 2))
    return result


def derivatives(lengths: np.ndarray, slope: float) -> np.ndarray:
    """(tables, n + 1) float32 derivatives of code lengths (tables, n) between the values, and beyond both ends."""
    ends = np.full((len(lengths), 1), slope, np.float32)
    return np.concatenate([-ends, np.diff(lengths, axis=1), ends], axis=1)


def _even(lengths: np.ndarray) -> np.ndarray:
    """Code lengths with both signs equally probable.

    The coder predicts signs from neighbours. A fit that follows it fills whole regions with cheap equal symbols, which
    cost more in the end than the zeros they replace.
    """
    return (1 - np.logaddexp2(-lengths, -lengths[:, ::-1])).astype(np.float32)


def add_laplace_gradient(s: LiveSymbols, tables: RateTables, weight: float) -> None:
    """Add ``weight`` times the derivative of the bits of Laplace distributions to the gradient of the live symbols.

    That of the coder's tables is part of ``kernels.update``.
    """
    kernels.laplace_rate_bwd(s.count, s.parameters, tables.table, tables.lengths, weight, s.gradient)
