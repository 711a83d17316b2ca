"""Rays, their samples, and pictures of a field."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from taichi_vvc.coding.memory import field_need, picture_need, sample_need
from taichi_vvc.field.grids import Field
from taichi_vvc.field.shading import project, projection_stride, shade_rays
from taichi_vvc.field.workspace import Workspace
from taichi_vvc.geometry.projection import distortion_limit, is_strong
from taichi_vvc.kernels import columns, geometry, march, shade, shelled
from taichi_vvc.kernels.columns import Ray
from taichi_vvc.runtime import Runtime
from taichi_vvc.types import DETAIL, Camera, FieldLayout

# Optical depth at which a ray ends: exp(-7) of the light passes.
DEPTH_LIMIT = 7.0
# Cells whose corners are looked up together, which bounds the memory.
_MEASURED = 1 << 16
# Rays that are rendered together: on the CPU so few that their arrays stay in the caches, on a GPU enough to fill it.
# Where rays end in a shell, in longest sides of the grid: the rest of the way to infinity is a part of a cell.
_FARTHEST = 1000.0
_PLACE = 40  # bytes of a sample before it is shaded
_TOGETHER = {True: 8192, False: 1 << 18}


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

    def __repr__(self) -> str:
        height, width = self.depth.shape
        return f"<Image {width}x{height}>"


@dataclass(frozen=True)
class CameraTable:
    """Cameras on the device: rows of ``kernels/columns.py``, and the index of each one's first pixel.

    ``strong``: whether any lens is, see :func:`taichi_vvc.geometry.projection.is_strong`.
    """

    rows: Any
    first_pixel: Any
    count: int
    pixels: int
    strong: bool


def camera_row(camera: Camera, lower: Sequence[float], cell: float) -> np.ndarray:
    """A camera as kernels read it (:class:`columns.Camera`, float64); cells of ``cell`` world units, from ``lower``."""
    row, of = np.zeros(columns.Camera.ROW), columns.Camera
    row[of.ROTATION : of.ROTATION + 9] = np.asarray(camera.rotation, np.float64).reshape(9)
    row[of.POSITION : of.POSITION + 3] = (np.asarray(camera.position, np.float64) - np.asarray(lower)) / cell
    row[of.FOCAL : of.FOCAL + 2] = camera.fx, camera.fy
    row[of.CENTRE : of.CENTRE + 2] = camera.cx, camera.cy
    row[of.DISTORTION : of.DISTORTION + 4] = camera.k1, camera.k2, camera.p1, camera.p2
    row[of.IMAGE : of.IMAGE + 2] = camera.width, camera.height
    row[of.LIMIT] = min(distortion_limit(camera), geometry.NO_LIMIT)
    return row


def camera_table(runtime: Runtime, layout: FieldLayout, cameras: Sequence[Camera]) -> CameraTable:
    """Upload cameras in cell units of the layout's grid, from its lower corner."""
    lower = [low - layout.cell * b for low, b in zip(layout.bounds.lower, layout.shell, strict=True)]
    rows = [camera_row(camera, lower, layout.cell) for camera in cameras]
    first = np.concatenate([[0], np.cumsum([c.width * c.height for c in cameras])])
    return CameraTable(
        runtime.upload(np.array(rows, np.float32)),
        runtime.upload(first.astype(np.int32)),
        len(cameras),
        int(first[-1]),
        any(is_strong(camera) for camera in cameras),
    )


def make_rays(ws: Workspace, layout: FieldLayout, table: CameraTable, pixels: Any, count: int) -> None:
    """Fill the workspace's ``rays`` with the rays through ``count`` pixels (device int32 indices)."""
    size, rays = layout.occupancy, ws.rays.get(count * Ray.ROW)
    begin, end = layout.near / layout.cell, _FARTHEST * max(size) if layout.whole else 0.0
    given = pixels, table.rows, table.first_pixel, table.count
    geometry.rays_of_pixels(count, table.strong, *given, *size, begin + end > 0.0, begin, end, rays)


def most_samples(layout: FieldLayout) -> int:
    """What a ray has samples at the most: none is longer than the diagonal of the bounds.

    With a shell, what is longer ends there: rays that pass behind three faces and more.
    """
    return int(sum(n * n for n in layout.occupancy) ** 0.5 / layout.march_step) + 2


def march_through(
    layout: FieldLayout,
    rays: tuple[int, Any],
    where: tuple[Any, Any],
    limit: float,
    most: int,
    kept: int,
    found: tuple[Any, Any, Any],
    jitter: tuple[int, int, int] = (0, 0, 0),
    strides: tuple[int, int] = (0, 0),
) -> None:
    """``march_shelled`` of ``kernels/shelled.py`` for a layout with a shell.

    Args:
        layout: with a shell.
        rays: how many, and the rays on the device.
        where: occupancy numbers and opacity.
        limit: optical depth at which rays end.
        most: samples after which they end.
        kept: ``NOTHING``, ``DISTANCES`` or ``CELLS`` of ``kernels/march.py``.
        found: the kernel's outputs: counts, distances, visited cells. Those that are not asked for may be any array of
            their type.
        jitter: whether rays start at random, seed and iteration.
        strides: of the distances, see the kernel.
    """
    count, of = rays
    size = *layout.occupancy, *layout.shell, layout.march_step
    shelled.march_shelled(count, of, *where, *size, limit, *jitter, most, kept, *strides, *found)


def trace(ws: Workspace, f: Field, rays: int, seed: int | None = None, iteration: int = 0) -> int:
    """March the workspace's rays into packed samples and return their number; ``seed`` jitters the ray starts."""
    runtime = f.runtime
    nx, ny, nz = f.layout.occupancy
    jitter, seed = (0, 0) if seed is None else (1, seed)
    counts, starts = ws.counts.get(rays), ws.starts.get(rays + 1)
    step = f.layout.march_step
    most = most_samples(f.layout)
    # Threads of a GPU write side by side.
    strides = (most, 1) if runtime.host_arrays else (1, rays)
    distances = ws.distances.get(rays * most)
    if f.layout.whole:
        found = counts, distances, counts
        drawn = jitter, seed, iteration
        given = (rays, ws.rays.array), (f.occupancy, f.opacity), DEPTH_LIMIT, most, march.DISTANCES
        march_through(f.layout, *given, found, drawn, strides)
    else:
        where = f.occupancy, f.opacity, nx, ny, nz, step, DEPTH_LIMIT, jitter, seed, iteration
        march.march_rays(rays, ws.rays.array, *where, most, *strides, counts, distances)
    if runtime.host_arrays:
        starts[0] = 0
        np.cumsum(counts[:rays], out=starts[1 : rays + 1])
        total = int(starts[rays])
    else:
        chunk = max(16, round(rays ** (1 / 3)))
        partial = ws.partial.get(rays // chunk + rays // chunk**2 + 2)
        march.exclusive_sum(rays, counts, starts, chunk, partial)
        total = int(starts[rays])
    samples, owners = ws.samples.get(total * 4), ws.sample_ray.get(total)
    if f.layout.whole:
        size = *f.layout.occupancy, *f.layout.shell
        shelled.place_shelled(rays, ws.rays.array, starts, *strides, distances, *size, samples, owners)
    else:
        march.place_samples(rays, ws.rays.array, starts, *strides, distances, samples, owners)
    return total


def measure_opacity(ws: Workspace, f: Field) -> np.ndarray:
    """Bound the optical depth of every occupied cell from its corners.

    Updates ``f.opacity``, which lets rays end early, and returns the largest optical depth per cell edge, (nz, ny, nx).
    """
    nx, ny, nz = f.layout.occupancy
    whole = np.flatnonzero(f.mask).astype(np.int32)
    if not whole.size:
        return np.zeros((nz, ny, nx), np.float32)
    peaks = f.runtime.zeros(f.mask.size)
    for start in range(0, whole.size, _MEASURED):
        _measure_cells(ws, f, whole[start : start + _MEASURED], peaks)
    return f.runtime.download(peaks, f.mask.size).reshape(nz, ny, nx).copy()


def _measure_cells(ws: Workspace, f: Field, target: np.ndarray, peaks: Any) -> None:
    """Bounds of the cells with the flat indices ``target``, into ``f.opacity`` and ``peaks``."""
    nx, ny, nz = f.layout.occupancy
    k, j, i = np.unravel_index(target, f.mask.shape)
    corner = np.stack(
        [((k + (c >> 2)) * (ny + 1) + j + ((c >> 1) & 1)) * (nx + 1) + i + (c & 1) for c in range(8)], axis=1
    )
    used, index = np.unique(corner, return_inverse=True)
    z, y, x = np.unravel_index(used, (nz + 1, ny + 1, nx + 1))
    # Just inside the far borders, where the sawtooth would wrap around.
    points = np.stack([np.minimum(x, nx - 1e-3), np.minimum(y, ny - 1e-3), np.minimum(z, nz - 1e-3), 0 * x], axis=1)
    samples = ws.samples.get(used.size * 4)
    host = np.zeros(ws.samples.size, np.float32)
    host[: used.size * 4] = points.astype(np.float32).reshape(-1)
    f.runtime.store(samples, host)
    project(ws, f, used.size)
    shade.opacity_of_cells(
        target.size,
        f.runtime.upload(index.reshape(-1).astype(np.int32)),
        f.runtime.upload(target),
        ws.projection.array,
        projection_stride(f),
        1.0 / max(nx, ny, nz),
        f.opacity,
        peaks,
    )


def rays_across(f: Field, camera: Camera) -> int:
    """Rays along each side of a pixel that show a field well: several where a pixel is larger than its detail."""
    return DETAIL if 1.5 * max(camera.fx, camera.fy) < f.focal else 1


def render_parts(
    ws: Workspace,
    f: Field,
    camera: Camera,
    background: Sequence[float],
    chunk: int | None = None,
    across: int = 1,
) -> Iterator[int]:
    """Render a picture into the workspace part by part; yields the number of pixels that are done.

    :func:`finished` takes the picture from there. Opacity bounds are measured if they are unknown. Nothing crosses to
    the device or back meanwhile, but the numbers of samples. ``chunk`` and ``across``: see :func:`render`.
    """
    layout, pixels, each = f.layout, camera.width * camera.height, across**2
    # Half a GiB for the places of samples.
    most = min(_TOGETHER[f.runtime.host_arrays], 2**27 // most_samples(layout))
    room = _room(f, pixels)
    if room is not None:
        most = max(1, min(most, room // (_PLACE * most_samples(layout))))
    chunk = min(chunk or most, most)
    if not f.measured:
        measure_opacity(ws, f)
        f.measured = True
    table = camera_table(f.runtime, layout, [camera.resized(across * camera.width, across * camera.height)])
    picture = ws.picture_colour.get(pixels * 3), ws.picture_depth.get(pixels), ws.picture_opacity.get(pixels)
    start = 0
    while start < pixels:
        count = min(max(1, chunk // each), pixels - start) * each
        numbers, behind = ws.pixels.get(count), ws.background.get(count * 3)
        geometry.pixels_of_detail(count, start, camera.width, across, numbers)
        shade.fill_colour(count, *(float(c) for c in background), behind)
        make_rays(ws, layout, table, numbers, count)
        samples = trace(ws, f, count)
        if room is not None and samples * sample_need(layout) > room and count > each:
            # So many samples that fewer rays must do.
            chunk = max(1, min(count // 2, count * room // (samples * sample_need(layout))))
            continue
        shade_rays(ws, f, count, samples)
        found = ws.colour.array, ws.transmittance.array, ws.depth.array
        shade.place_pixels(count // each, each, start, layout.cell, *found, *picture)
        start += count // each
        yield start


def _room(f: Field, pixels: int) -> int | None:
    """Bytes for the rays that are rendered together; None without a limit.

    Raises:
        MemoryLimitExceeded: the field and the picture leave none.
    """
    if f.budget is None:
        return None
    layout, most = f.layout, most_samples(f.layout)
    corners = min(8 * _MEASURED, math.prod(n + 1 for n in layout.occupancy))
    held = field_need(layout, f.map.size, f.runtime.host_arrays) + picture_need(pixels)
    measured = 300 * min(_MEASURED, f.mask.size) + (0 if f.measured else sample_need(layout) * corners)
    least = max(measured, most * (sample_need(layout) + _PLACE))
    f.budget.check(held + least, f"drawing {pixels} pixels")
    # Half for the places of samples, half for what stands at them.
    return (f.budget.limit - held) // 2


def _rendered(
    f: Field,
    camera: Camera,
    background: Sequence[float],
    workspace: Workspace | None,
    chunk: int | None,
    across: int | None,
) -> Workspace:
    """The workspace with all parts of a picture."""
    ws = workspace or Workspace(f.runtime)
    for _ in render_parts(ws, f, camera, background, chunk, across or rays_across(f, camera)):
        pass
    return ws


def finished(ws: Workspace, camera: Camera) -> Image:
    """The picture of ``camera`` that :func:`render_parts` has rendered."""
    shape, runtime = (camera.height, camera.width), ws.runtime
    pixels = camera.width * camera.height
    colour = runtime.download(ws.picture_colour.array, pixels * 3).reshape(*shape, 3)
    depth, opacity = (
        runtime.download(buffer.array, pixels).reshape(shape) for buffer in (ws.picture_depth, ws.picture_opacity)
    )
    found = colour, depth, opacity
    # On the CPU these are the workspace's own.
    return Image(*(part.copy() for part in found) if runtime.host_arrays else found)


def render(
    f: Field,
    camera: Camera,
    background: Sequence[float] = (1.0, 1.0, 1.0),
    *,
    workspace: Workspace | None = None,
    chunk: int | None = None,
    across: int | None = None,
) -> Image:
    """Render a field from a camera.

    Args:
        f: the field; its opacity bounds are measured if they are unknown.
        camera: any view, distortion included. A pixel for which its lens has no ray shows the background.
        background: sRGB in [0, 1].
        workspace: scratch arrays to reuse between pictures.
        chunk: rays that are rendered together; by default what suits the backend.
        across: rays along each side of a pixel, which shows their mean; by default :func:`rays_across`.

    Returns:
        Colour, depth and opacity, see :class:`Image`.
    """
    return finished(_rendered(f, camera, background, workspace, chunk, across), camera)


def render_rgb8(
    f: Field,
    camera: Camera,
    background: Sequence[float] = (1.0, 1.0, 1.0),
    *,
    workspace: Workspace | None = None,
    chunk: int | None = None,
    across: int | None = None,
) -> np.ndarray:
    """The colours of :func:`render` as (height, width, 3) uint8, rounded on the device.

    For players and videos: a seventh of the bytes comes back from a GPU.
    """
    return finished_rgb8(_rendered(f, camera, background, workspace, chunk, across), camera)


def finished_rgb8(ws: Workspace, camera: Camera) -> np.ndarray:
    """As :func:`finished`, for :func:`render_rgb8`."""
    count = camera.width * camera.height * 3
    packed = ws.picture_packed.get(count // 4 + 1)
    shade.pack_bytes(count // 4 + 1, count, ws.picture_colour.array, packed)
    found = ws.runtime.download(packed, count // 4 + 1).astype("<i4", copy=ws.runtime.host_arrays).view(np.uint8)
    return found[:count].reshape(camera.height, camera.width, 3)
