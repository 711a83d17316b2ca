"""Rays, their samples, and pictures of a field."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from taichi_vvc.kernels import geometry, march, shade

from .fields import Field
from .runtime import Runtime
from .shading import project, projection_stride, shade_rays
from .types import Camera, FieldLayout
from .workspace import Workspace

# Optical depth at which a ray ends: exp(-7) of the light passes.
DEPTH_LIMIT = 7.0


@dataclass(frozen=True)
class Image:
    """A rendered picture.

    Attributes:
        colour: (height, width, 3) float32, sRGB in [0, 1], over the background.
        depth: (height, width) float32, mean distance from the camera along the ray, world units; 0 where empty.
        opacity: (height, width) float32 in [0, 1].
    """

    colour: np.ndarray
    depth: np.ndarray
    opacity: np.ndarray


@dataclass(frozen=True)
class CameraTable:
    """Cameras on the device: rows as ``kernels/geometry.py`` reads them, and the index of each one's first pixel."""

    rows: Any
    first_pixel: Any
    count: int
    pixels: int


def camera_table(runtime: Runtime, layout: FieldLayout, cameras: Sequence[Camera]) -> CameraTable:
    """Upload cameras in cell units of the layout's bounds."""
    rows = [
        [
            *np.asarray(c.rotation, np.float64).reshape(9),
            *((np.asarray(c.position, np.float64) - np.asarray(layout.bounds.lower)) / layout.cell),
            *(c.fx, c.fy, c.cx, c.cy, c.k1, c.k2, c.p1, c.p2, c.width, c.height),
        ]
        for c in cameras
    ]
    first = np.concatenate([[0], np.cumsum([c.width * c.height for c in cameras])])
    return CameraTable(
        runtime.upload(np.array(rows, np.float32)),
        runtime.upload(first.astype(np.int32)),
        len(cameras),
        int(first[-1]),
    )


def make_rays(ws: Workspace, layout: FieldLayout, table: CameraTable, pixels: Any, count: int) -> None:
    """Fill the workspace's ``rays`` with the rays through ``count`` pixels (device int32 indices)."""
    nx, ny, nz = layout.occupancy
    rays = ws.get("rays", count * geometry.RAY_ROW)
    geometry.rays_of_pixels(count, pixels, table.rows, table.first_pixel, table.count, nx, ny, nz, rays)


def trace(ws: Workspace, f: Field, rays: int, seed: int | None = None, iteration: int = 0) -> int:
    """March the workspace's rays into packed samples and return their number; ``seed`` jitters the ray starts."""
    runtime = f.runtime
    nx, ny, nz = f.layout.occupancy
    jitter, seed = (0, 0) if seed is None else (1, seed)
    counts, starts = ws.get("counts", rays, np.int32), ws.get("starts", rays + 1, np.int32)
    step = f.layout.march_step
    # No ray is longer than the diagonal of the bounds. Threads of a GPU write side by side.
    most = int((nx * nx + ny * ny + nz * nz) ** 0.5 / step) + 2
    strides = (most, 1) if runtime.host_arrays else (1, rays)
    distances = ws.get("distances", rays * most)
    where = f.occupancy, f.opacity, nx, ny, nz, step, DEPTH_LIMIT, jitter, seed, iteration
    march.march_rays(rays, ws.arrays["rays"], *where, most, *strides, counts, distances)
    if runtime.host_arrays:
        starts[0] = 0
        np.cumsum(counts[:rays], out=starts[1 : rays + 1])
        total = int(starts[rays])
    else:
        chunk = max(16, int(rays**0.5))
        march.exclusive_sum(rays, counts, starts, chunk, ws.get("partial", rays // chunk + 1, np.int32))
        total = int(starts[rays])
    samples, owners = ws.get("samples", total * 4), ws.get("sample_ray", total, np.int32)
    march.place_samples(rays, ws.arrays["rays"], starts, *strides, distances, samples, owners)
    return total


def measure_opacity(ws: Workspace, f: Field) -> np.ndarray:
    """Bound the optical depth of every occupied cell from its corners.

    Updates ``f.opacity``, which lets rays end early, and returns the largest optical depth per cell edge, (nz, ny, nx).
    """
    nx, ny, nz = f.layout.occupancy
    target = np.flatnonzero(f.mask).astype(np.int32)
    peak = np.zeros(f.mask.size, np.float32)
    if not target.size:
        return peak.reshape(nz, ny, nx)
    k, j, i = np.unravel_index(target, f.mask.shape)
    corner = np.stack(
        [((k + (c >> 2)) * (ny + 1) + j + ((c >> 1) & 1)) * (nx + 1) + i + (c & 1) for c in range(8)], axis=1
    )
    used, index = np.unique(corner, return_inverse=True)
    z, y, x = np.unravel_index(used, (nz + 1, ny + 1, nx + 1))
    # Just inside the far borders, where the sawtooth would wrap around.
    points = np.stack([np.minimum(x, nx - 1e-3), np.minimum(y, ny - 1e-3), np.minimum(z, nz - 1e-3), 0 * x], axis=1)
    samples = ws.get("samples", used.size * 4)
    host = np.zeros(ws.sizes["samples"], np.float32)
    host[: used.size * 4] = points.astype(np.float32).reshape(-1)
    f.runtime.store(samples, host)
    project(ws, f, used.size)
    peaks = f.runtime.zeros(f.mask.size)
    shade.opacity_of_cells(
        target.size,
        f.runtime.upload(index.reshape(-1).astype(np.int32)),
        f.runtime.upload(target),
        ws.arrays["projection"],
        projection_stride(f),
        1.0 / max(nx, ny, nz),
        f.opacity,
        peaks,
    )
    return f.runtime.download(peaks, f.mask.size).reshape(nz, ny, nx).copy()


def render_pixels(
    ws: Workspace, f: Field, table: CameraTable, background: Sequence[float], chunk: int
) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Render all pixels of all cameras in order, ``chunk`` at a time: colour (n, 3), depth (n), opacity (n)."""
    for start in range(0, table.pixels, chunk):
        count = min(chunk, table.pixels - start)
        pixels = f.runtime.upload(np.arange(start, start + count, dtype=np.int32))
        make_rays(ws, f.layout, table, pixels, count)
        ws.get("background", count * 3)
        host = np.zeros(ws.sizes["background"], np.float32)
        host[: count * 3] = np.tile(np.asarray(background, np.float32), count)
        f.runtime.store(ws.arrays["background"], host)
        samples = trace(ws, f, count)
        shade_rays(ws, f, count, samples)
        opacity = 1.0 - f.runtime.download(ws.arrays["transmittance"], count)
        depth = f.runtime.download(ws.arrays["depth"], count) * f.layout.cell / np.maximum(opacity, 1e-6)
        colour = f.runtime.download(ws.arrays["colour"], count * 3).reshape(count, 3)
        yield colour.copy(), np.where(opacity > 1e-3, depth, 0), opacity


def render(
    f: Field,
    camera: Camera,
    background: Sequence[float] = (1.0, 1.0, 1.0),
    *,
    workspace: Workspace | None = None,
    chunk: int = 8192,
) -> Image:
    """Render a field from a camera.

    Args:
        f: the field; its opacity bounds are measured if they are unknown.
        camera: any view, distortion included.
        background: sRGB in [0, 1].
        workspace: scratch arrays to reuse between pictures.
        chunk: rays that are rendered together.

    Returns:
        Colour, depth and opacity, see :class:`Image`.
    """
    ws = workspace or Workspace(f.runtime)
    if not f.measured:
        measure_opacity(ws, f)
        f.measured = True
    parts = list(render_pixels(ws, f, camera_table(f.runtime, f.layout, [camera]), background, chunk))
    shape = (camera.height, camera.width)
    colour, depth, opacity = (np.concatenate(p).astype(np.float32) for p in zip(*parts, strict=True))
    return Image(np.clip(colour, 0, 1).reshape(*shape, 3), depth.reshape(shape), opacity.reshape(shape))
