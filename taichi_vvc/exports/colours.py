"""Colours of points on a surface: what the cameras that see them see there, averaged."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from taichi_vvc.field.grids import Field
from taichi_vvc.field.probes import look_along
from taichi_vvc.field.workspace import Workspace
from taichi_vvc.types import Camera

VIEWS = 8
"""Cameras that a point's colour is averaged over: those that see it most nearly from the front."""

# How far behind the point rays end, and how far before it what they see may lie, cells.
_BEHIND = 1.5
_BEFORE = 2.0
# Cosine of the angle between normal and view below which a view says little of a surface.
_SLANTING = 0.15
# Points that are looked at together, which bounds the memory.
_POINTS = 1 << 14


def point_colours(
    ws: Workspace, f: Field, cameras: Sequence[Camera], places: np.ndarray, normals: np.ndarray
) -> np.ndarray:
    """The colours of points of a surface.

    A ray from each camera that a point faces ends just behind it. Where it sees something at the point, and nothing
    before it, its colour counts, by the square of the cosine between view and normal. Points that no camera sees have
    the colour that they show along their normal.

    Args:
        ws: scratch arrays.
        f: the field.
        cameras: of the capture, at the field's frame.
        places: (n, 3) cells from the lower corner of the grid, shell included.
        normals: (n, 3) unit length, outwards.

    Returns:
        (n, 3) float32 sRGB in [0, 1].
    """
    layout = f.layout
    corner = np.asarray(layout.bounds.lower) - layout.cell * np.asarray(layout.shell)
    total, weight = np.zeros((len(places), 3)), np.zeros(len(places))
    origins = np.array([(np.asarray(c.position, np.float64) - corner) / layout.cell for c in cameras]).reshape(-1, 3)
    for point, camera, cosine in _pairs(origins, places, normals):
        arms = places[point] - origins[camera]
        lengths = np.linalg.norm(arms, axis=1)
        directions = arms / np.maximum(lengths, 1e-9)[:, None]
        seen = look_along(ws, f, origins[camera], directions, lengths + _BEHIND)
        there = (seen.opacity > 0.5) & (seen.distance > lengths - _BEFORE)
        counts = np.where(there, cosine**2, 0.0)
        straight = seen.colour / np.maximum(seen.opacity, 1e-3)[:, None]
        np.add.at(total, point, counts[:, None] * straight)
        np.add.at(weight, point, counts)
    unseen = np.flatnonzero(weight == 0.0)
    if unseen.size:
        origin = places[unseen] + _BEHIND * normals[unseen]
        seen = look_along(ws, f, origin, -normals[unseen], np.full(unseen.size, 2.0 * _BEHIND))
        total[unseen] = seen.colour / np.maximum(seen.opacity, 1e-3)[:, None]
    colours = total / np.where(weight > 0.0, weight, 1.0)[:, None]
    return np.clip(colours, 0.0, 1.0).astype(np.float32)


def _pairs(
    origins: np.ndarray, places: np.ndarray, normals: np.ndarray
) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Yields (points, camera of each, cosine of each): every point with the cameras that it faces most."""
    if not len(origins):
        return
    for start in range(0, len(places), _POINTS):
        part = slice(start, min(start + _POINTS, len(places)))
        arms = origins[None] - places[part, None]
        cosines = np.einsum("pck,pk->pc", arms, normals[part]) / np.maximum(np.linalg.norm(arms, axis=2), 1e-9)
        views = min(VIEWS, len(origins))
        best = np.argpartition(-cosines, views - 1, axis=1)[:, :views]
        rank = np.take_along_axis(cosines, best, 1)
        row, column = np.nonzero(rank > _SLANTING)
        yield row + start, best[row, column], rank[row, column]
