"""Which cells may hold something: those that enough cameras see."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from taichi_vvc.capture.agreement import SHOWN
from taichi_vvc.capture.hull import coverage, visual_hull
from taichi_vvc.config import FEW_CAMERAS
from taichi_vvc.geometry.contraction import cell_centres
from taichi_vvc.geometry.projection import inside_image, project
from taichi_vvc.types import Camera, FieldLayout, View

VIEWS = 2
"""So many cameras must see a cell: what a single camera explains may be anywhere on its rays."""

VIEWS_OF_FEW = 3
"""So many of :data:`~taichi_vvc.config.FEW_CAMERAS` with masks must see a cell: beside the pictures of most of them
nothing is carved, and what fills that space hides what they show. Fewer do where a silhouette has no other cell."""

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


def believed_hull(layout: FieldLayout, views: Sequence[View]) -> np.ndarray:
    """The visual hull of training ``views`` with masks, (nz, ny, nx) bool.

    Of few cameras, without the cells that only one or two of them see, but for those on the ray of a pixel of the
    subject that would have no cell otherwise. Cells that two see are believed before those that one sees.
    """
    hull = visual_hull(views, layout.bounds, layout.occupancy)
    if len(views) > FEW_CAMERAS:
        return hull
    seen = views_of_cells(layout, [view.camera for view in views])
    least = min(VIEWS_OF_FEW, len(views) - 1)
    kept = hull & (seen >= least)
    if kept.sum() == hull.sum() or not kept.any():
        return hull
    centres, step = cell_centres(layout), np.full(3, layout.cell)
    shown = [
        (view.camera, (view.image[..., 3] >= SHOWN) & coverage(view.camera, centres[hull], step))
        for view in views
        if view.has_alpha
    ]
    for number in range(least - 1, 0, -1):
        more = hull & (seen == number)
        kept[more] = _needed(shown, centres[kept], centres[more], step)
    return kept


def _needed(
    shown: Sequence[tuple[Camera, np.ndarray]], kept: np.ndarray, asked: np.ndarray, step: np.ndarray
) -> np.ndarray:
    """Which of the cells ``asked`` lie on a pixel of the subject that no cell of ``kept`` covers, (n,) bool.

    Args:
        shown: cameras, each with (height, width) bool, the pixels of the subject that the hull covers.
        kept, asked: (m, 3), (n, 3) centres, world units.
        step: (3,) sides of a cell.
    """
    needed = np.zeros(len(asked), bool)
    for camera, subject in shown:
        lost = subject & ~coverage(camera, kept, step)
        pixels, _ = project(camera, asked)
        inside = np.flatnonzero(inside_image(camera, pixels))
        columns, rows = np.minimum(pixels[inside].astype(int), np.array(lost.shape[::-1]) - 1).T
        needed[inside] |= lost[rows, columns]
    return needed


def believed_cells(layout: FieldLayout, views: Sequence[View]) -> np.ndarray:
    """Where training ``views`` allow something to be before anything is known of it, (nz, ny, nx) bool.

    The :func:`believed_hull` where the capture has masks, else everything. In a whole scene, and where samples begin at
    a distance, only the :func:`possible_cells`.
    """
    nx, ny, nz = layout.occupancy
    masks = any(view.has_alpha for view in views)
    found = believed_hull(layout, views) if masks else np.ones((nz, ny, nx), bool)
    if layout.whole or layout.near:
        found = found & possible_cells(layout, [view.camera for view in views])
    return found


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
