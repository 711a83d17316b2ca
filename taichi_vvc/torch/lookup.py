"""Trilinear lookups in grids with gradients: :func:`grid_lookup`."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable

from taichi_vvc.errors import ConfigError
from taichi_vvc.field.grids import group_rows
from taichi_vvc.kernels import grids_cpu, grids_gpu
from taichi_vvc.torch.arrays import check, launch, raw, runtime_of, warm


@lru_cache(maxsize=64)
def _groups(
    coefficients: tuple[int, ...], bases: tuple[tuple[int, ...], ...], size: tuple[float, ...], tiles: tuple[float, ...]
) -> tuple[np.ndarray, np.ndarray, tuple[tuple[int, int, int, int, int, int], ...], int]:
    """The tables of channel groups for the kernels (see ``kernels/columns.py``).

    Returns the tables of integers and floats; for each group its level, its first channel in the level and overall, its
    width, and the offsets of its coefficients and basis in the flat array; and the length of the flat array.
    """
    cz, cy, cx = (max(2, n) for n in coefficients[:3])
    per_cell = [(n - 1) / s for n, s in zip(coefficients[2::-1], size, strict=True)]
    rows, parts = [], []
    at = feature = 0
    for level, (basis, tile) in enumerate(zip(bases, tiles, strict=True)):
        bz, by, bx = (max(2, n) for n in basis[:3])
        channel = 0
        while channel < basis[3]:
            width = 4 if basis[3] - channel >= 4 else 2
            base = at + cx * cy * cz * width
            of_basis = [(n - 1) / tile for n in basis[2::-1]]
            rows.append(group_rows(width, feature, (at, (cx, cy, cz), per_cell), (base, (bx, by, bz), of_basis), tile))
            parts.append((level, channel, feature, width, at, base))
            at = base + bx * by * bz * width
            channel, feature = channel + width, feature + width
    ints, floats = (np.concatenate(of) for of in zip(*rows, strict=True))
    return ints, floats, tuple(parts), at


def _block(flat: Tensor, base: int, shape: Sequence[int], width: int) -> Tensor:
    """A view of one group's nodes (nz, ny, nx, width) in the flat array; an axis of one node is stored twice there."""
    z, y, x = (max(2, n) for n in shape[:3])
    return flat[base : base + z * y * x * width].view(z, y, x, width)


class _GridLookup(Function):
    @staticmethod
    def forward(ctx: Any, points: Tensor, table: Any, coefficients: Tensor, *bases: Tensor) -> Tensor:
        device = points.device
        ints, floats, parts, length = table
        flat = torch.empty(length, device=device)
        for level, channel, feature, width, c_base, b_base in parts:
            own = coefficients[..., feature : feature + width]
            _block(flat, c_base, coefficients.shape, width).copy_(own)
            basis = bases[level][..., channel : channel + width] if bases else torch.ones((), device=device)
            _block(flat, b_base, bases[level].shape if bases else (2, 2, 2), width).copy_(basis)
        count, channels = len(points), coefficients.shape[3]
        c, b, out = (torch.empty((count, channels), device=device) for _ in range(3))
        tables = [torch.from_numpy(a).to(device) for a in (ints, floats)]
        fixed = (raw(points), *map(raw, tables))
        arrays = fixed[0], raw(flat), *fixed[1:], *map(raw, (c, b, out))
        if device.type == "cpu":
            launch(device, grids_cpu.lookup_fwd, count, len(parts), channels, *arrays)
        else:
            launch(device, grids_gpu.lookup_fwd_channels, count, channels, *arrays)
        ctx.save_for_backward(points, c, b, *tables)
        ctx.parts, ctx.length = parts, length
        ctx.shapes = [tuple(t.shape) for t in (coefficients, *bases)]
        kernel, numbers = _lookup_bwd(device, len(parts), channels)
        warm(device, kernel, *numbers, *fixed, *map(raw, (c, b, out, flat)))
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, d_out: Tensor) -> Any:
        points, c, b, ints, floats = ctx.saved_tensors
        device = points.device
        flat = torch.zeros(ctx.length, device=device)
        arrays = (points, ints, floats, c, b, d_out.contiguous(), flat)
        kernel, numbers = _lookup_bwd(device, len(ctx.parts), c.shape[1])
        launch(device, kernel, len(points), *numbers, *map(raw, arrays))
        gradients = [torch.empty(shape, device=device) for shape in ctx.shapes]
        for level, channel, feature, width, c_base, b_base in ctx.parts:
            places = [(0, feature, c_base)] + ([(level + 1, channel, b_base)] if len(gradients) > 1 else [])
            for grid, first, base in places:
                z, y, x = ctx.shapes[grid][:3]
                # An axis of one node is stored as two nodes, of which the second has no weight.
                gradients[grid][..., first : first + width] = _block(flat, base, ctx.shapes[grid], width)[:z, :y, :x]
        return (None, None, *gradients)


def _lookup_bwd(device: torch.device, groups: int, channels: int) -> tuple[Any, tuple[float, ...]]:
    """The adjoint kernel and its arguments after the number of points; no gradient counts as negligible."""
    if device.type == "cpu":
        return grids_cpu.lookup_bwd_tasks, (groups, channels)
    return grids_gpu.lookup_bwd_channels, (channels, 0.0)


def grid_lookup(
    grid: Tensor,
    points: Tensor,
    size: Sequence[float] = (1.0, 1.0, 1.0),
    bases: Sequence[Tensor] = (),
    frequencies: Sequence[float] = (),
) -> Tensor:
    """Trilinear interpolation of a grid, or the product of a coefficient grid and basis grids (arXiv 2302.01226).

    Args:
        grid: (nz, ny, nx, C), C even; its first and last nodes lie on the borders of the box. The grid is constant
            along an axis of one node, so that it can be a plane.
        points: (n, 3), or (n, 4) of which the last column is ignored: x, y, z in the units of ``size``, clamped to the
            box.
        size: (x, y, z) size of the box, which starts at 0.
        bases: grids (nz, ny, nx, C_l) whose C_l sum to C; each is multiplied with its share of the channels.
        frequencies: number of repetitions of each basis along the longest side; 1 by default.

    Returns:
        (n, C). Differentiable in ``grid`` and ``bases``, not in ``points``.
    """
    check("grid", grid, "nz ny nx C")
    runtime_of(grid.device)
    if points.requires_grad:
        raise ConfigError("points: expected a tensor without gradient, found requires_grad; call .detach()")
    if points.ndim == 2 and points.shape[1] == 3:
        points = torch.nn.functional.pad(points, (0, 1))
    check("points", points, "n 4", grid)
    for basis in bases:
        check("bases", basis, "nz ny nx C", grid)
    channels = [basis.shape[3] for basis in bases] or [grid.shape[3]]
    if any(c % 2 or not c for c in channels) or sum(channels) != grid.shape[3]:
        raise ConfigError(f"expected even channels that sum to the grid's {grid.shape[3]}, found {channels}")
    frequencies = tuple(frequencies) or (1.0,) * len(channels)
    if len(frequencies) != len(channels) or len(size) != 3 or min(*size, *frequencies) <= 0:
        raise ConfigError(f"expected 3 sizes and {len(channels)} frequencies above 0, found {size}, {frequencies}")
    shapes = tuple(tuple(b.shape) for b in bases) or ((2, 2, 2, grid.shape[3]),)
    tiles = tuple(max(size) / f for f in frequencies)
    if min(grid.shape) < 1 or any(min(shape) < 1 for shape in shapes):
        raise ConfigError(f"expected grids with nodes on every axis, found {tuple(grid.shape)}, {shapes}")
    table = _groups(tuple(grid.shape), shapes, tuple(map(float, size)), tiles)
    return _GridLookup.apply(points, table, grid, *bases)
