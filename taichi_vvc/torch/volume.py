"""Rays of cameras, their samples in occupied cells, and volume rendering with gradients."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable

from taichi_vvc.errors import ConfigError
from taichi_vvc.field.render import camera_row
from taichi_vvc.geometry.projection import is_strong
from taichi_vvc.kernels import geometry, march, shade
from taichi_vvc.kernels.columns import Ray
from taichi_vvc.torch.arrays import check, launch, raw, runtime_of, warm
from taichi_vvc.types import Bounds, Camera

# Optical depth that no ray reaches.
_ENDLESS = 1e30


def pixel_rays(cameras: Sequence[Camera], bounds: Bounds, cells: Sequence[int], device: Any = "cpu") -> Tensor:
    """The rays of all pixels of all cameras, image row by image row.

    Args:
        cameras: the cameras.
        bounds: the box of the scene, world units.
        cells: (x, y, z) numbers of cells; a cell is a cube with the longest side divided by the largest number.
        device: torch device of the result.

    Returns:
        (pixels, 8), in cells from the lower corner of ``bounds``: origin, unit direction, entry and exit distance.
        Entry > exit where a ray misses the bounds, or the lens model has no ray for the pixel.
    """
    device = torch.device(device)
    runtime_of(device)
    edge = bounds.largest_side / max(cells)
    rows = [camera_row(camera, bounds.lower, edge) for camera in cameras]
    first = np.cumsum([0, *(c.width * c.height for c in cameras)])
    count = int(first[-1])
    table = torch.tensor(np.array(rows), dtype=torch.float32, device=device)
    pixels = torch.arange(count, dtype=torch.int32, device=device)
    firsts = torch.tensor(first, dtype=torch.int32, device=device)
    rays = torch.empty((count, Ray.ROW), device=device)
    sides = [float(s) for s in bounds.size / edge]
    given = [raw(t) for t in (pixels, table, firsts)]
    strong = any(is_strong(camera) for camera in cameras)
    launch(device, geometry.rays_of_pixels, count, strong, *given, len(cameras), *sides, False, 0.0, 0.0, raw(rays))
    return rays


def march_rays(
    rays: Tensor, occupancy: Tensor, step: float, *, seed: int | None = None, iteration: int = 0
) -> tuple[Tensor, Tensor, Tensor]:
    """Samples of rays in occupied cells, packed one ray after the other; without gradient.

    Args:
        rays: (rays, 8), see :func:`pixel_rays`.
        occupancy: (nz, ny, nx) bool.
        step: distance between samples, cells.
        seed: jitters the first sample of each ray, depending on ``seed`` and ``iteration`` only; None puts samples in
            the middle of their steps.
        iteration: see ``seed``.

    Returns:
        samples (n, 4): x, y, z and distance along the ray, cells; the index of each sample's ray, (n,) int32; and the
        index of each ray's first sample, (rays + 1,) int32.
    """
    check("rays", rays, "rays 8")
    check("occupancy", occupancy, "nz ny nx", rays, torch.bool)
    if not step > 0:
        raise ConfigError(f"expected a step above 0, found {step}")
    device, count = rays.device, len(rays)
    runtime_of(device)
    nz, ny, nx = occupancy.shape
    # Not all backends of Taichi have boolean arrays.
    where = [raw(t) for t in (rays, occupancy.to(torch.int32), torch.zeros(occupancy.shape, device=device))]
    rest = (nx, ny, nz, float(step), _ENDLESS, 0 if seed is None else 1, seed or 0, iteration)
    starts = torch.zeros(count + 1, dtype=torch.int32, device=device)
    counts = torch.empty(count, dtype=torch.int32, device=device)
    launch(device, march.count_samples, count, *where, *rest, 2**31 - 1, False, raw(counts))
    # Room for as many samples per ray as the ray with the most takes.
    most = int(counts.max()) if count else 0
    distances = torch.empty(count * most, device=device)
    launch(device, march.march_rays, count, *where, *rest, most, most, 1, raw(counts), raw(distances))
    torch.cumsum(counts, 0, dtype=torch.int32, out=starts[1:])
    total = int(starts[-1])
    samples = torch.empty((total, 4), device=device)
    owner = torch.empty(total, dtype=torch.int32, device=device)
    given = raw(starts), most, 1, raw(distances)
    launch(device, march.place_samples, count, where[0], *given, raw(samples), raw(owner))
    return samples, owner, starts


class _VolumeRender(Function):
    @staticmethod
    def forward(
        ctx: Any, density: Tensor, colours: Tensor, samples: Tensor, starts: Tensor, background: Tensor, step: float
    ) -> Any:
        device, rays = density.device, len(starts) - 1
        weights = torch.empty_like(density)
        passed, depth = torch.empty(rays, device=device), torch.empty(rays, device=device)
        out = torch.empty((rays, 3), device=device)
        arrays = [raw(t) for t in (starts, density, samples)]
        launch(device, shade.weights_fwd, rays, *arrays, 1, step, *map(raw, (weights, passed, depth)))
        arrays = [raw(t) for t in (starts, weights, colours, passed, background, out)]
        launch(device, shade.composite_fwd, rays, *arrays)
        ctx.save_for_backward(density, colours, samples, starts, background, weights, passed)
        ctx.step = step
        ctx.set_materialize_grads(False)
        before, after = map(raw, (starts, density)), map(raw, (weights, colours, passed, background, out, colours))
        warm(device, shade.composite_bwd, *before, 1, step, *after, raw(density))
        return out, passed, depth

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, d_out: Tensor | None, d_passed: Tensor | None, d_depth: Tensor | None) -> Any:
        density, colours, samples, starts, background, weights, passed = ctx.saved_tensors
        d_density: Any = None
        d_colours = d_background = None

        def adjoint(colour: Tensor, behind: Tensor, d_colour: Tensor) -> tuple[Tensor, Tensor]:
            d_rgb, d_raw = torch.empty_like(colour), torch.empty_like(density)
            arrays = [raw(t) for t in (weights, colour, passed, behind, d_colour, d_rgb, d_raw)]
            kernel = shade.composite_bwd
            launch(density.device, kernel, len(passed), raw(starts), raw(density), 1, ctx.step, *arrays)
            return d_rgb, d_raw

        if d_out is not None:
            d_colours, d_density = adjoint(colours, background, d_out.contiguous())
            d_background = d_out * passed[:, None]
        if d_passed is not None or d_depth is not None:
            # Depth is composited as a colour equal to each sample's distance, transmittance as a background of 1.
            zero = torch.zeros_like(passed)
            d = torch.stack([zero if t is None else t for t in (d_depth, d_passed, zero)], dim=1)
            distance = torch.zeros_like(colours)
            distance[:, 0] = samples[:, 3]
            _, more = adjoint(distance, torch.tensor([0.0, 1.0, 0.0], device=d.device).repeat(len(d), 1), d)
            d_density = more if d_density is None else d_density + more
        return d_density, d_colours, None, None, d_background, None


def volume_render(
    density: Tensor, colours: Tensor, samples: Tensor, starts: Tensor, background: Tensor, step: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Composite packed samples front to back (NeRF eq. 3).

    Args:
        density: (n,) raw, before the activation ``50 softplus(density - 3)``; the result is per unit of ``step``.
        colours: (n, 3).
        samples: (n, 4), of which only the last column, the distance along the ray, is used (for the depth).
        starts: (rays + 1,) int32, index of each ray's first sample, from 0 to n, as returned by :func:`march_rays`.
        background: (rays, 3).
        step: length of a sample; the codec's unit is the longest side of the bounds.

    Returns:
        Colour (rays, 3), transmittance (rays,), and depth (rays,): the weighted sum of distances, not divided by the
        opacity. Differentiable in density, colours and background.
    """
    check("density", density, "n")
    runtime_of(density.device)
    n = len(density)
    check("colours", colours, f"{n} 3", density)
    check("samples", samples, f"{n} 4", density)
    check("starts", starts, "rays+1", density, torch.int32)
    check("background", background, f"{len(starts) - 1} 3", density)
    if not len(starts) or int(starts[0]) or int(starts[-1]) != n or bool((starts[1:] < starts[:-1]).any()):
        raise ConfigError(f"starts: expected numbers that rise from 0 to {n}, found others; see march_rays")
    return _VolumeRender.apply(density, colours, samples, starts, background, float(step))
