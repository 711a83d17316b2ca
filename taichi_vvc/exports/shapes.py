"""Meshes and points of a decoded frame, in world coordinates and with colours."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from taichi_vvc.exports.colours import point_colours
from taichi_vvc.exports.surface import LEVEL, Surface, simplified, surface_of, usual_resolution
from taichi_vvc.field.grids import Field
from taichi_vvc.field.workspace import Workspace
from taichi_vvc.types import Camera, FieldLayout


@dataclass(frozen=True)
class Mesh:
    """Triangles in the world.

    Attributes:
        places: (n, 3) float64 vertices, world.
        normals: (n, 3) float32, unit length, outwards.
        colours: (n, 3) float32 sRGB in [0, 1].
        triangles: (m, 3) int32 vertices, counter-clockwise seen from outside.
    """

    places: np.ndarray
    normals: np.ndarray
    colours: np.ndarray
    triangles: np.ndarray


@dataclass(frozen=True)
class Points:
    """Points that lie evenly on a surface.

    Attributes:
        places: (n, 3) float64, world.
        normals: (n, 3) float32, unit length, outwards.
        colours: (n, 3) float32 sRGB in [0, 1].
        spacing: edge of the lattice's cells of which each has one point, world units.
    """

    places: np.ndarray
    normals: np.ndarray
    colours: np.ndarray
    spacing: float


def mesh_of(
    ws: Workspace,
    f: Field,
    cameras: Sequence[Camera],
    triangles: int,
    level: float = LEVEL,
    resolution: int | None = None,
) -> Mesh:
    """The surface of a frame as a mesh of about so many triangles; 0 keeps all. See :func:`surface_of`.

    Args:
        ws: scratch arrays.
        f: the decoded frame.
        cameras: of the capture at that frame, which colours are averaged over.
        triangles: how many to leave.
        level: of opacity.
        resolution: lattice nodes along the longest side of the bounds; None: the usual one.
    """
    surface = simplified(surface_of(ws, f, level, resolution), triangles)
    colours = point_colours(ws, f, cameras, surface.places, surface.normals)
    return Mesh(_world(f.layout, surface.places), surface.normals, colours, surface.triangles)


def points_of(
    ws: Workspace, f: Field, cameras: Sequence[Camera], level: float = LEVEL, resolution: int | None = None
) -> Points:
    """One point for each cell of the lattice that the surface of a frame passes through.

    The parameters are those of :func:`mesh_of`.
    """
    resolution = usual_resolution(f.layout) if resolution is None else resolution
    surface = surface_of(ws, f, level, resolution)
    spacing = max(f.layout.inner) / resolution
    places, normals = _one_per_cell(surface, spacing)
    colours = point_colours(ws, f, cameras, places, normals)
    return Points(_world(f.layout, places), normals, colours, spacing * f.layout.cell)


def _one_per_cell(surface: Surface, spacing: float) -> tuple[np.ndarray, np.ndarray]:
    """Places and normals, (n, 3) float32 each: the means of the vertices in each cell of a lattice."""
    if not len(surface.places):
        return surface.places, surface.normals
    cells = np.floor(surface.places / spacing).astype(np.int64)
    cells -= cells.min(0)
    x, y, _ = cells.max(0) + 1
    # Two sides of a thin thing do not share a point: their normals point in different directions.
    axis = np.argmax(np.abs(surface.normals), 1)
    facing = 2 * axis + (np.take_along_axis(surface.normals, axis[:, None], 1)[:, 0] > 0)
    key = ((cells[:, 2] * y + cells[:, 1]) * x + cells[:, 0]) * 6 + facing
    _, owner, count = np.unique(key, return_inverse=True, return_counts=True)
    owner = owner.reshape(-1)
    places, normals = (
        np.stack([np.bincount(owner, column) for column in of.T], 1) for of in (surface.places, surface.normals)
    )
    lengths = np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-12)
    return (places / count[:, None]).astype(np.float32), (normals / lengths).astype(np.float32)


def _world(layout: FieldLayout, places: np.ndarray) -> np.ndarray:
    """Cells within the bounds, shell counted, to world coordinates, float64."""
    return np.asarray(layout.bounds.lower) + layout.cell * (places.astype(np.float64) - np.asarray(layout.shell))
