"""A field at places and along rays that the host gives, for what is made from a field outside of pictures."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from taichi_vvc.coding.memory import field_need, sample_need
from taichi_vvc.field.grids import Field
from taichi_vvc.field.mlp import Lanes, from_blocks, perceptrons
from taichi_vvc.field.render import measure_opacity, most_samples, trace
from taichi_vvc.field.shading import project, shade_rays
from taichi_vvc.field.workspace import Workspace
from taichi_vvc.kernels.columns import Ray
from taichi_vvc.kernels.shade import DENSITY_SCALE, DENSITY_SHIFT

# Places or rays that are looked at together: on the CPU so few rays that their arrays stay in the caches.
_PLACES = 1 << 16
_RAYS = {True: 8192, False: 1 << 16}
_PLACE = 40  # bytes of a sample before it is shaded


@dataclass(frozen=True)
class Seen:
    """What rays see.

    Attributes:
        colour: (n, 3) float32, sRGB in [0, 1], over black.
        opacity: (n,) float32 in [0, 1].
        distance: (n,) float32, mean distance of what is seen from the rays' origins, cells; 0 where nothing is.
    """

    colour: np.ndarray
    opacity: np.ndarray
    distance: np.ndarray


def optical_depths(ws: Workspace, f: Field, places: np.ndarray) -> np.ndarray:
    """The optical depth that one cell edge of what is at each place would have.

    Occupancy is not looked at: in empty cells the field says anything.

    Args:
        ws: scratch arrays.
        f: the field.
        places: (n, 3) float32, cells from the lower corner of the grid, shell included.

    Returns:
        (n,) float32, not negative.

    Raises:
        MemoryLimitExceeded: the field's budget is too small.
    """
    found = np.empty(len(places), np.float32)
    projection, _ = perceptrons(f.layout)
    _check(f, _PLACES * sample_need(f.layout))
    for start in range(0, len(places), _PLACES):
        part = places[start : start + _PLACES]
        count = len(part)
        samples = ws.samples.get(count * 4)
        host = np.zeros(ws.samples.size, np.float32)
        host[: count * 4].reshape(count, 4)[:, :3] = part
        f.runtime.store(samples, host)
        project(ws, f, count)
        if f.runtime.host_arrays:
            raw = from_blocks(ws.projection.array, count, Lanes.of(projection).outputs)[:, 0]
        else:
            raw = f.runtime.download(ws.projection.array, count * projection.outputs)[:: projection.outputs]
        found[start : start + count] = np.logaddexp(np.float32(0), raw - np.float32(DENSITY_SHIFT))
    return found * np.float32(DENSITY_SCALE / max(f.layout.occupancy))


def look_along(ws: Workspace, f: Field, origins: np.ndarray, directions: np.ndarray, ends: np.ndarray) -> Seen:
    """What is seen from points along directions, up to a distance.

    Args:
        ws: scratch arrays.
        f: the field; its opacity bounds are measured if they are unknown.
        origins: (n, 3) cells from the lower corner of the grid, shell included.
        directions: (n, 3) unit length.
        ends: (n,) distance at which each ray ends, cells; it ends where it leaves the grid at the latest.

    Returns:
        See :class:`Seen`.

    Raises:
        MemoryLimitExceeded: the field's budget is too small.
    """
    count = len(origins)
    if not f.measured:
        measure_opacity(ws, f)
        f.measured = True
    rays = _rows(f, origins, directions, ends)
    together = _together(f)
    colour, opacity, distance = np.zeros((count, 3), np.float32), np.zeros(count, np.float32), np.zeros(count)
    for start in range(0, count, together):
        stop = min(start + together, count)
        n = stop - start
        given = ws.rays.get(n * Ray.ROW)
        host = np.zeros(ws.rays.size, np.float32)
        host[: n * Ray.ROW] = rays[start:stop].reshape(-1)
        f.runtime.store(given, host)
        behind = ws.background.get(n * 3)
        behind.fill(0.0)
        shade_rays(ws, f, n, trace(ws, f, n))
        colour[start:stop] = f.runtime.download(ws.colour.array, n * 3).reshape(n, 3)
        opacity[start:stop] = 1.0 - f.runtime.download(ws.transmittance.array, n)
        distance[start:stop] = f.runtime.download(ws.depth.array, n)
    seen = opacity > 1e-6
    return Seen(colour, opacity, np.where(seen, distance / np.maximum(opacity, 1e-6), 0.0).astype(np.float32))


def _rows(f: Field, origins: np.ndarray, directions: np.ndarray, ends: np.ndarray) -> np.ndarray:
    """(n, Ray.ROW) float32: the rays as kernels read them, clipped to the grid, or to the near distance."""
    rows = np.zeros((len(origins), Ray.ROW), np.float32)
    rows[:, Ray.ORIGIN : Ray.ORIGIN + 3] = origins
    rows[:, Ray.DIRECTION : Ray.DIRECTION + 3] = directions
    near = np.full(len(origins), f.layout.near / f.layout.cell)
    far = np.asarray(ends, np.float64)
    if not f.layout.whole:
        with np.errstate(divide="ignore", invalid="ignore"):
            slope = np.where(np.abs(directions) < 1e-12, 1e-12, directions)
            a, b = -origins / slope, (np.asarray(f.layout.occupancy) - origins) / slope
        near = np.maximum(near, np.minimum(a, b).max(1))
        far = np.minimum(far, np.maximum(a, b).min(1))
    rows[:, Ray.ENTRY], rows[:, Ray.EXIT] = near, far
    return rows


def _together(f: Field) -> int:
    """Rays that are looked along together: as many as the field's budget has room for."""
    most = most_samples(f.layout)
    together = max(1, min(_RAYS[f.runtime.host_arrays], 2**27 // most))
    if f.budget is None:
        return together
    need = most * (sample_need(f.layout) + _PLACE)
    _check(f, need)
    held = field_need(f.layout, f.map.size, f.runtime.host_arrays)
    return int(min(together, max(1, (f.budget.limit - held) // need)))


def _check(f: Field, need: float) -> None:
    """Raises MemoryLimitExceeded where the field and ``need`` bytes are more than its budget."""
    if f.budget is not None:
        f.budget.check(field_need(f.layout, f.map.size, f.runtime.host_arrays) + need, "looking into a frame")
