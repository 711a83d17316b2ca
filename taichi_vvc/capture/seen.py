"""Which cells of a whole scene may hold something: those that enough cameras see."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np

from taichi_vvc.geometry.contraction import cell_centres
from taichi_vvc.geometry.projection import inside_image, project
from taichi_vvc.types import Camera, FieldLayout

VIEWS = 2
"""So many cameras must see a cell: what a single camera explains may be anywhere on its rays."""

_CHUNK = 1 << 17


def views_of_cells(layout: FieldLayout, cameras: Sequence[Camera]) -> np.ndarray:
    """In the pictures of how many cameras the centre of each cell lies, (nz, ny, nx) int16.

    A camera does not see what is nearer than ``layout.near``.
    """
    centres = cell_centres(layout).reshape(-1, 3)
    seen = np.zeros(len(centres), np.int16)
    for start in range(0, len(centres), _CHUNK):
        part = centres[start : start + _CHUNK]
        for camera in cameras:
            pixels, _ = project(camera, part)
            away = np.linalg.norm(part - camera.position, axis=1) >= layout.near
            seen[start : start + _CHUNK] += inside_image(camera, pixels) & away
    nx, ny, nz = layout.occupancy
    return seen.reshape(nz, ny, nx)


def possible_cells(layout: FieldLayout, cameras: Sequence[Camera]) -> np.ndarray:
    """Where something may be believed to be, (nz, ny, nx) bool: all cells that :data:`VIEWS` cameras see."""
    key = tuple((c.width, c.height, c.fx, c.fy, c.cx, c.cy, c.k1, c.k2, c.p1, c.p2) for c in cameras)
    places = np.concatenate([np.concatenate((c.rotation.reshape(-1), c.position)) for c in cameras])
    return _possible(layout, key, places.tobytes())


@lru_cache(maxsize=4)
def _possible(layout: FieldLayout, key: tuple[tuple[float, ...], ...], places: bytes) -> np.ndarray:
    numbers = np.frombuffer(places).reshape(-1, 12)
    cameras = [
        Camera("", int(w), int(h), *lens[:4], row[:9].reshape(3, 3), row[9:], *lens[4:])
        for (w, h, *lens), row in zip(key, numbers, strict=True)
    ]
    found = views_of_cells(layout, cameras) >= min(VIEWS, len(cameras))
    found.setflags(write=False)
    return found
