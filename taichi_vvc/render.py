"""Rays, marching, shading and compositing on a device, and the adjoint of it all.

A :class:`Workspace` holds the arrays that a batch of rays passes through, so that nothing is allocated per step.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from taichi_vvc.kernels import geometry, grids, march, shade

from .fields import Field
from .mlp import mlp_backward, mlp_forward, perceptrons
from .runtime import Runtime
from .types import Camera, FieldLayout

# A sample that contributes less than this to its pixel is not coloured.
WEIGHT_THRESHOLD = 1e-3
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


@dataclass
class Workspace:
    """Device arrays of a batch of rays and its samples, allocated by name and grown when needed."""

    runtime: Runtime
    arrays: dict[str, Any] = field(default_factory=dict)
    sizes: dict[str, int] = field(default_factory=dict)

    def get(self, name: str, count: int, dtype: Any = np.float32) -> Any:
        """The array called ``name`` with at least ``count`` elements; contents survive only while it suffices."""
        if self.sizes.get(name, -1) < count:
            # A third on top, since the number of samples changes from batch to batch.
            self.sizes[name] = count + count // 3 + 64
            self.arrays[name] = None
            self.runtime.sync()
            self.arrays[name] = self.runtime.empty(self.sizes[name], dtype)
        return self.arrays[name]


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


@dataclass(frozen=True)
class Batch:
    """Sizes of the batch that a workspace holds: rays, samples, and samples that were coloured."""

    rays: int
    samples: int
    coloured: int


def trace(ws: Workspace, f: Field, rays: int, seed: int | None = None, iteration: int = 0) -> int:
    """March the workspace's rays into packed samples and return their number; ``seed`` jitters the ray starts."""
    runtime = f.runtime
    nx, ny, nz = f.layout.occupancy
    jitter, seed = (0, 0) if seed is None else (1, seed)
    counts, starts = ws.get("counts", rays, np.int32), ws.get("starts", rays + 1, np.int32)
    where = (
        ws.arrays["rays"],
        f.occupancy,
        f.opacity,
        nx,
        ny,
        nz,
        f.layout.march_step,
        DEPTH_LIMIT,
        jitter,
        seed,
        iteration,
    )
    march.count_samples(rays, *where, counts)
    if runtime.host_arrays:
        starts[0] = 0
        np.cumsum(counts[:rays], out=starts[1 : rays + 1])
        total = int(starts[rays])
    else:
        chunk = max(16, int(rays**0.5))
        march.exclusive_sum(rays, counts, starts, chunk, ws.get("partial", rays // chunk + 1, np.int32))
        total = int(starts[rays])
    march.write_samples(rays, *where, starts, ws.get("samples", total * 4), ws.get("sample_ray", total, np.int32))
    return total


def project(ws: Workspace, f: Field, samples: int) -> None:
    """Grid lookups and projection MLP at the workspace's ``samples``: raw density and appearance of each."""
    channels = f.layout.channels
    projection, _ = perceptrons(f.layout)
    out = [ws.get(name, samples * channels) for name in ("coefficients", "basis", "features")]
    if _in_fours(f):
        places = _fours(ws.arrays["samples"], samples * 4)
        found = (_fours(array, samples * channels) for array in out)
        grids.lookup_fwd_fours(samples, f.map.groups, places, _fours(f.values), *f.tables, *found)
    else:
        grids.lookup_fwd(samples, f.map.groups, channels, ws.arrays["samples"], f.values, *f.tables, *out)
    hidden = ws.get("hidden", samples * projection.hidden)
    raw = ws.get("projection", samples * projection.outputs)
    mlp_forward(f.runtime, samples, projection, f.mlp, ws.arrays["features"], hidden, raw)


def _select(ws: Workspace, f: Field, samples: int) -> int:
    selected = ws.get("selected", samples, np.int32)
    if f.runtime.host_arrays:
        chosen = np.flatnonzero(ws.arrays["weights"][:samples] > WEIGHT_THRESHOLD)
        selected[: chosen.size] = chosen
        return int(chosen.size)
    counter = ws.get("counter", 1, np.int32)
    counter.fill(0)
    shade.select_samples(samples, ws.arrays["weights"], WEIGHT_THRESHOLD, selected, counter)
    return int(counter[0])


def shade_rays(ws: Workspace, f: Field, rays: int, samples: int) -> Batch:
    """Weights, colours of the samples that carry weight, and the composited ``colour`` over ``background``."""
    layout = f.layout
    a = ws.arrays
    projection, colour = perceptrons(layout)
    project(ws, f, samples)
    passed, depth = ws.get("transmittance", rays), ws.get("depth", rays)
    shade.weights_fwd(
        rays,
        a["starts"],
        a["projection"],
        a["samples"],
        projection.outputs,
        1.0 / layout.steps_per_side,
        ws.get("weights", samples),
        passed,
        depth,
    )
    width = layout.direction_features
    directions = ws.get("directions", rays * width)
    geometry.encode_directions(rays, a["rays"], layout.view_frequencies, directions)
    count = _select(ws, f, samples)
    inputs = ws.get("colour_inputs", count * colour.inputs)
    shade.colour_inputs_fwd(
        count, a["selected"], a["sample_ray"], a["projection"], projection.outputs, directions, width, inputs
    )
    hidden, out = ws.get("colour_hidden", count * colour.hidden), ws.get("colour_outputs", count * 3)
    mlp_forward(f.runtime, count, colour, f.mlp, inputs, hidden, out)
    rgb = ws.get("rgb", samples * 3)
    rgb.fill(0)
    shade.colour_outputs_fwd(count, a["selected"], out, rgb)
    shade.composite_fwd(rays, a["starts"], a["weights"], rgb, passed, a["background"], ws.get("colour", rays * 3))
    return Batch(rays, samples, count)


def backward(ws: Workspace, f: Field, batch: Batch, gradient: Any, mlp_gradient: Any | None) -> None:
    """Adjoint of :func:`shade_rays`: adds to ``gradient`` (as ``f.values``) and ``mlp_gradient`` (as ``f.mlp``).

    The workspace's ``d_colour`` holds the gradient of the composited colours. ``mlp_gradient`` is None where the MLPs
    are frozen.
    """
    layout, a, n, m = f.layout, ws.arrays, batch.samples, batch.coloured
    projection, colour = perceptrons(layout)
    stride = projection.outputs
    d_rgb, d_projection = ws.get("d_rgb", n * 3), ws.get("d_projection", n * stride)
    d_projection.fill(0)
    shade.composite_bwd(
        batch.rays,
        a["starts"],
        a["projection"],
        stride,
        1.0 / layout.steps_per_side,
        a["weights"],
        a["rgb"],
        a["transmittance"],
        a["background"],
        a["d_colour"],
        d_rgb,
        d_projection,
    )
    d_out, d_inputs = ws.get("d_colour_outputs", m * 3), ws.get("d_colour_inputs", m * colour.inputs)
    shade.colour_outputs_bwd(m, a["selected"], a["rgb"], d_rgb, d_out)
    widest = max(m * colour.hidden, n * projection.hidden) if not f.runtime.host_arrays else 1
    scratch = ws.get("d_hidden", widest)
    mlp_backward(
        f.runtime, m, colour, f.mlp, a["colour_inputs"], a["colour_hidden"], d_out, d_inputs, mlp_gradient, scratch
    )
    shade.colour_inputs_bwd(m, a["selected"], stride, layout.direction_features, d_inputs, d_projection)
    d_features = ws.get("d_features", n * layout.channels)
    mlp_backward(
        f.runtime, n, projection, f.mlp, a["features"], a["hidden"], d_projection, d_features, mlp_gradient, scratch
    )
    # One function, several implementations: plain stores per (group, grid) on the CPU, atomics per sample on a GPU.
    if _in_fours(f):
        places = _fours(a["samples"], n * 4)
        stored = (_fours(a[name], n * layout.channels) for name in ("coefficients", "basis", "d_features"))
        grids.lookup_bwd_fours(n, f.map.groups, places, *f.tables, *stored, _fours(gradient))
        return
    lookup_bwd = grids.lookup_bwd_tasks if f.runtime.host_arrays else grids.lookup_bwd_samples
    lookup_bwd(
        n,
        f.map.groups,
        layout.channels,
        a["samples"],
        *f.tables,
        a["coefficients"],
        a["basis"],
        d_features,
        gradient,
    )


def _in_fours(f: Field) -> bool:
    """Whether lookups may use vectors: on the CPU, with every group of four channels."""
    return f.runtime.host_arrays and f.layout.channels == 4 * f.map.groups


def _fours(array: np.ndarray, count: int | None = None) -> np.ndarray:
    return array[:count].reshape(-1, 4)


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
    stride = 1 + f.layout.appearance
    peaks = f.runtime.zeros(f.mask.size)
    shade.opacity_of_cells(
        target.size,
        f.runtime.upload(index.reshape(-1).astype(np.int32)),
        f.runtime.upload(target),
        ws.arrays["projection"],
        stride,
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
