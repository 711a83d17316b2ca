"""Quantisation noise and bit counts of symbols, with gradients."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable

from taichi_vvc.coding.choose_tables import NOTHING
from taichi_vvc.errors import ConfigError
from taichi_vvc.fit.rate import RateTables, plan_tables
from taichi_vvc.kernels import quantize, rate
from taichi_vvc.torch.arrays import check, launch, raw, runtime_of, warm

_SMALLEST_SCALE = 0.05


class _Quantize(Function):
    @staticmethod
    def forward(ctx: Any, symbols: Tensor, mode: int, seed: int, iteration: int) -> Tensor:
        n, device = symbols.numel(), symbols.device
        out = torch.empty_like(symbols)
        place = torch.arange(n, dtype=torch.int32, device=device)
        # The kernel also dequantises and adds a reference, which changes nothing with step 1 and reference 0.
        arrays = [raw(t) for t in (symbols, torch.zeros_like(symbols), place, out, torch.empty_like(symbols))]
        launch(device, quantize.quantize_fwd, 0, n, mode, 1.0, 0.0, seed, iteration, *arrays)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, d_out: Tensor) -> Any:
        return d_out, None, None, None


def quantize_noise(symbols: Tensor, *, seed: int = 0, iteration: int = 0, rounded: bool = False) -> Tensor:
    """Symbols with quantisation noise, which can be optimised, or rounded as a decoder sees them.

    Args:
        symbols: any shape, in units of the quantisation step.
        seed: the noise of an element depends on this, on ``iteration`` and on its index only.
        iteration: number of the fit's step, see ``seed``.
        rounded: round to the nearest integer (ties up) instead of adding uniform noise on [-1/2, 1/2).

    Returns:
        The same shape. The gradient passes unchanged: exact for noise, straight-through for rounding.
    """
    check("symbols", symbols, "...")
    runtime_of(symbols.device)
    return _Quantize.apply(symbols, quantize.ROUND if rounded else quantize.NOISE, seed, iteration)


class _Bits(Function):
    """Total bits of symbols, by a pair of kernels (forward, adjoint) that take ``count, symbols, *tables``."""

    @staticmethod
    def forward(ctx: Any, symbols: Tensor, kernels: tuple[Any, Any], tables: tuple[Any, ...]) -> Tensor:
        ctx.save_for_backward(symbols)
        ctx.kernel, ctx.tables = kernels[1], tables
        warm(symbols.device, ctx.kernel, raw(symbols), *tables, 1.0, raw(symbols))
        total = launch(symbols.device, kernels[0], symbols.numel(), raw(symbols), *tables) if symbols.numel() else 0.0
        return torch.tensor(total, dtype=torch.float32, device=symbols.device)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, d_bits: Tensor) -> Any:
        (symbols,) = ctx.saved_tensors
        gradient = torch.zeros_like(symbols)
        tables = (*ctx.tables, float(d_bits))
        launch(symbols.device, ctx.kernel, symbols.numel(), raw(symbols), *tables, raw(gradient))
        return gradient, None, None


def laplace_bits(symbols: Tensor, scale: Tensor | None = None) -> Tensor:
    """Bits of (noisy) symbols under one Laplace distribution per channel: -log2 of the mass of each unit interval.

    Args:
        symbols: (..., C), in units of the quantisation step.
        scale: (C,) positive scales in units of the quantisation step, without gradient; None takes those of maximum
            likelihood, but at least 0.05.

    Returns:
        A scalar, summed in float32. Differentiable in ``symbols``.
    """
    check("symbols", symbols, "...")
    runtime_of(symbols.device)
    if not symbols.ndim or not symbols.shape[-1]:
        raise ConfigError(f"symbols: expected shape (..., C), found {tuple(symbols.shape)}")
    channels, device = symbols.shape[-1], symbols.device
    if scale is None:
        mean = symbols.detach().abs().reshape(-1, channels).mean(0)
        scale = torch.nan_to_num(mean, nan=1.0).clamp(min=_SMALLEST_SCALE)
    check("scale", scale, str(channels), symbols)
    if scale.requires_grad:
        raise ConfigError("scale: expected a tensor without gradient, found requires_grad; call .detach()")
    if not bool((scale > 0).all()):
        raise ConfigError("scale: expected values above 0, found others; clamp them")
    table = torch.arange(channels, dtype=torch.int32, device=device).repeat(symbols.numel() // channels)
    return _Bits.apply(symbols, (rate.laplace_rate_fwd, rate.laplace_rate_bwd), (raw(table), raw(scale)))


@dataclass(frozen=True)
class CoderTables:
    """The entropy coder's code lengths for a rounded grid, see :func:`coder_tables`.

    Attributes:
        shape: shape of the symbols that the tables are for: the grid's, or (live nodes, channels).
        device: device of those symbols.
        rate: the code lengths.
        bits: total bits that the coder needs for the grid, side information included.
    """

    shape: tuple[int, ...]
    device: torch.device
    rate: RateTables
    bits: float


@torch.no_grad()
def coder_tables(grid: Tensor, live: Tensor | None = None) -> CoderTables:
    """Chooses contexts and tables for a grid's rounded symbols, as :func:`~taichi_vvc.torch.compress` does.

    The symbols are copied to the host. A fit should therefore call it every few dozen steps, not in each.

    Args:
        grid: (nz, ny, nx, C) float32, in units of the quantisation step.
        live: (nz, ny, nx) bool, the nodes that are coded; None for all.
    """
    check("grid", grid, "nz ny nx C")
    runtime = runtime_of(grid.device)
    rounded = torch.floor(grid + 0.5).to(torch.int32).cpu()
    if live is None:
        live = torch.ones(grid.shape[:3], dtype=torch.bool)
        shape = tuple(grid.shape)
    else:
        check("live", live, " ".join(map(str, grid.shape[:3])), grid, torch.bool)
        shape = (int(live.sum()), grid.shape[3])
        live = live.cpu()
        rounded *= live[..., None]
    tables = plan_tables(runtime, (rounded.numpy(),), (live.numpy(),), (NOTHING,), "context")
    return CoderTables(shape, grid.device, tables, tables.bits)


def entropy_bits(symbols: Tensor, tables: CoderTables) -> Tensor:
    """Bits of symbols by the entropy coder's code lengths, interpolated linearly between integers.

    Both signs of a magnitude get the same length.

    Args:
        symbols: the grid that the tables were chosen for, (nz, ny, nx, C), or its live nodes ``grid[live]``, (n, C).
        tables: the result of :func:`coder_tables`; its contexts and tables are constants here.

    Returns:
        A scalar, summed in float32, without side information. Differentiable in ``symbols``.
    """
    check("symbols", symbols, " ".join(map(str, tables.shape)))
    runtime_of(symbols.device)
    if symbols.device != tables.device:
        raise ConfigError(f"expected symbols on {tables.device} as their tables, found {symbols.device}")
    r = tables.rate
    return _Bits.apply(symbols, (rate.table_rate_fwd, rate.table_rate_bwd), (r.table, r.lengths, r.largest, r.slope))
