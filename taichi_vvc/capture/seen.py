"""Which cells of a whole scene may hold something: those that enough cameras see."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
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
    return _possible(layout, tuple(map(_Key, cameras)))


@dataclass(frozen=True)
class _Key:
    """A camera that stands for all that are the :meth:`~taichi_vvc.types.Camera.same_as` it."""

    camera: Camera

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Key) and self.camera.same_as(other.camera)

    def __hash__(self) -> int:
        return hash((*self.camera.position.tolist(), self.camera.fx, self.camera.width))


@lru_cache(maxsize=4)
def _possible(layout: FieldLayout, keys: tuple[_Key, ...]) -> np.ndarray:
    found = views_of_cells(layout, [key.camera for key in keys]) >= min(VIEWS, len(keys))
    found.setflags(write=False)
    return found
