"""The surface of a field: the level set of opacity on a lattice, as triangles."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from taichi_vvc.errors import ConfigError
from taichi_vvc.field.grids import Field
from taichi_vvc.field.probes import optical_depths
from taichi_vvc.field.workspace import Workspace
from taichi_vvc.types import FieldLayout

LEVEL = 0.5
"""The opacity of a cell's edge that counts as a surface."""

# Bytes per node of the lattice: opacities, labels of what is outside, and what marching cubes takes.
_NODE = 24
# Nodes along the longest side that are enough unless more are asked for: a lattice of 256 takes up to 400 MB.
_FINEST = 256


@dataclass(frozen=True)
class Surface:
    """Triangles of a surface.

    Attributes:
        places: (n, 3) float32 vertices, cells from the lower corner of the grid, shell included.
        normals: (n, 3) float32 unit normals at the vertices, outwards.
        triangles: (m, 3) int32 vertices of each, counter-clockwise seen from outside.
    """

    places: np.ndarray
    normals: np.ndarray
    triangles: np.ndarray


def required(package: str, name: str) -> Any:
    """A package of the extra ``export``.

    Args:
        package: to import.
        name: to install.

    Raises:
        ConfigError: it is not installed.
    """
    import importlib

    try:
        return importlib.import_module(package)
    except ImportError:
        raise ConfigError(
            f"expected the package {name} for this export, found none; install it: pip install 'taichi_vvc[export]'"
        ) from None


def usual_resolution(layout: FieldLayout) -> int:
    """Lattice nodes along the longest side of the bounds: twice those of the finest level, but no more than 256.

    Never fewer than there are occupancy cells.
    """
    finest = max(max(level.resolution) * level.frequency for level in layout.levels)
    inner, whole = max(layout.inner), max(layout.occupancy)
    return max(inner, min(_FINEST, math.ceil(2.0 * finest * inner / whole)))


def surface_of(ws: Workspace, f: Field, level: float = LEVEL, resolution: int | None = None) -> Surface:
    """The level set of opacity within the bounds, by marching cubes.

    Opacity is that of a cell's edge of what is at a place, 0 in empty cells and beyond the bounds. Hollows that are
    closed all around are taken as full: nobody can look into them. Where nothing reaches the level there are no
    triangles.

    Args:
        ws: scratch arrays.
        f: the field.
        level: of opacity, between 0 and 1.
        resolution: lattice nodes along the longest side of the bounds; None: :func:`usual_resolution`.

    Raises:
        ConfigError: scikit-image is not installed, or level or resolution are out of range.
        MemoryLimitExceeded: the lattice would be too large.
    """
    measure = required("skimage.measure", "scikit-image")
    if not 0.0 < level < 1.0:
        raise ConfigError(f"expected a level of opacity between 0 and 1, found {level}")
    resolution = usual_resolution(f.layout) if resolution is None else resolution
    if resolution < 2:
        raise ConfigError(f"expected a resolution of at least 2 nodes along the longest side, found {resolution}")
    spacing = max(f.layout.inner) / resolution
    lattice = _lattice(ws, f, spacing)
    _fill_hollows(lattice, level)
    if not lattice.max() > level:
        nothing = np.zeros((0, 3), np.float32)
        return Surface(nothing, nothing, nothing.astype(np.int32))
    places, faces, normals, _ = measure.marching_cubes(lattice, level, gradient_direction="descent")
    # Nodes lie in the middle between lattice planes; the first one is the empty border.
    places = (places[:, ::-1] - 0.5) * spacing + np.asarray(f.layout.shell)
    # They turn inwards in the array's order of axes; the other order is a mirror, in which they turn outwards.
    triangles = np.ascontiguousarray(faces, np.int32)
    return Surface(places.astype(np.float32), _unit(normals[:, ::-1]), triangles)


def _lattice(ws: Workspace, f: Field, spacing: float) -> np.ndarray:
    """(z, y, x) float32 opacities of a cell's edge at the lattice's nodes, with an empty border."""
    shell = f.layout.shell
    counts = [max(1, math.ceil(n / spacing)) for n in f.layout.inner]
    nodes = math.prod(n + 2 for n in counts)
    if f.budget is not None:
        f.budget.check(_NODE * nodes, f"a lattice of {'x'.join(map(str, counts))} nodes")
    axes = [(np.arange(n) + 0.5) * spacing + b for n, b in zip(counts, shell, strict=True)]
    cells = [
        np.minimum(axis.astype(int), n - b - 1) for axis, n, b in zip(axes, f.layout.occupancy, shell, strict=True)
    ]
    inside = [axis < n - b for axis, n, b in zip(axes, f.layout.occupancy, shell, strict=True)]
    occupied = f.mask[np.ix_(*cells[::-1])] & inside[2][:, None, None] & inside[1][:, None] & inside[0]
    z, y, x = np.nonzero(occupied)
    places = np.stack((axes[0][x], axes[1][y], axes[2][z]), 1).astype(np.float32)
    lattice = np.zeros([n + 2 for n in counts[::-1]], np.float32)
    lattice[z + 1, y + 1, x + 1] = -np.expm1(-optical_depths(ws, f, places))
    return lattice


def _fill_hollows(lattice: np.ndarray, level: float) -> None:
    """Makes full what lies below the level and cannot be reached from the border."""
    measure = required("skimage.measure", "scikit-image")
    labels = measure.label(lattice < level, connectivity=1)
    hollow = (labels > 0) & (labels != labels[0, 0, 0])
    lattice[hollow] = 1.0


def _unit(vectors: np.ndarray) -> np.ndarray:
    """Vectors (n, 3) of length 1, float32; those without a direction point upwards."""
    length = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.where(length > 1e-12, vectors / np.maximum(length, 1e-12), [0.0, 0.0, 1.0]).astype(np.float32)


def simplified(surface: Surface, triangles: int) -> Surface:
    """The surface with at most about so many triangles, by quadric error (Garland and Heckbert 1997).

    Normals are those of the triangles around each vertex, by their areas.

    Args:
        surface: what to simplify.
        triangles: how many to leave; 0: all.

    Raises:
        ConfigError: fast-simplification is not installed.
    """
    if not 0 < triangles < len(surface.triangles):
        return surface
    simplify = required("fast_simplification", "fast-simplification").simplify
    places, faces = simplify(surface.places, surface.triangles, target_count=triangles)
    faces = np.ascontiguousarray(faces, np.int32)
    corners = places[faces]
    areas = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    normals = np.zeros_like(places, dtype=np.float64)
    for corner in range(3):
        np.add.at(normals, faces[:, corner], areas)
    return Surface(np.ascontiguousarray(places, np.float32), _unit(normals), faces)
