"""Finds the bounds of the subject where a capture does not state them, and checks that cameras see the bounds."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from taichi_vvc.capture.agreement import settled
from taichi_vvc.capture.axes import FORWARD_FACING, SAME_POINT
from taichi_vvc.capture.hull import coverage, vote
from taichi_vvc.errors import DataError
from taichi_vvc.geometry.projection import (
    closest_point,
    inside_image,
    pixel_directions,
    project,
    rays_hit,
    seen_subject,
)
from taichi_vvc.types import Bounds, Camera, View

PADDING = 0.05  # of each side, added at both ends: for motion between the examined frames
SEARCH_CELLS = 48
CONSISTENT = 0.75  # share of silhouette pixels that a hull must explain; below, masks and calibration disagree
UNEXPLAINED = 0.005  # share of silhouette pixels that the hull of the whole subject may leave unexplained
# For a side that no camera sees:
HOLLOW = 0.25  # depth that is kept there for a hollow, relative to the hull's width where the silhouettes end
CUT = 0.001  # share of silhouette pixels that may become unexplained by the cut
FAR = 0.1  # share of the box's side that the cut must take off to be made at all


def bounds_from_masks(frames: Iterable[Sequence[View]], notes: list[str] | None = None) -> Bounds | None:
    """The padded box around the visual hulls of several frames; None where the silhouettes have no common hull.

    For each frame, a box that reaches the farthest camera is carved and shrunk to the kept cells, until it no longer
    shrinks. Cells outside a camera's image are never carved by it. Therefore only cells count whose projections touch
    all silhouettes. Where such cells do not explain the silhouettes (close-ups), touching 3/4 or half of them is
    enough. On a side that no camera looks at, the box is cut a little beyond the end of the silhouettes, and a line
    that says so is appended to ``notes``.
    """
    cut: set[str] = set()
    boxes = [box for views in frames if (box := _hull_box(views, cut)) is not None]
    if not boxes:
        return None
    lower = np.min([box[0] for box in boxes], axis=0)
    upper = np.max([box[1] for box in boxes], axis=0)
    if cut and notes is not None:
        notes.append(
            f"no camera looks at the subject from {' or '.join(sorted(cut))}: how far it goes there is a guess"
        )
    return _padded(lower, upper)


def _hull_box(views: Sequence[View], cut: set[str]) -> np.ndarray | None:
    """(2, 3) corners of one frame's hull, or None if it is empty or explains too little of the silhouettes.

    The names of sides that were cut because no camera sees them, such as ``-z``, are added to ``cut``.
    """
    # Without a mask the whole picture counts as subject, which no hull explains: use the masked views if possible.
    drawn = [view for view in views if view.has_alpha]
    views = drawn if len(drawn) > 1 and 2 * len(drawn) >= len(views) else views
    masked = [view for view in views if seen_subject(view).any()]
    if not masked:
        return None
    positions = np.stack([view.camera.position for view in masked])
    directions = np.stack([_silhouette_direction(view) for view in masked])
    centre, _ = closest_point(positions, directions)
    reach = float(np.linalg.norm(positions - centre, axis=1).max())
    if len(masked) > 1 and reach <= SAME_POINT * float(np.abs(positions).max()):
        return None  # all in one point, but for rounding: silhouettes from there meet at any depth, or at none
    reach = reach or 1.0
    start = np.stack((centre - reach, centre + reach))
    best = _tightest(views, start)
    if best is None or best.explained < 1.0 - UNEXPLAINED:
        # Masks that lack a part of the subject would cut the box. The lenient box is large enough to find such masks.
        wide = _shrink(views, start, math.ceil(0.5 * len(views)), allowed=len(views))
        if wide is not None:
            marked, found = settled(views, Bounds(tuple(wide.box[0]), tuple(wide.box[1])))
            best = _tightest(marked, start) if any(region is not None for region in found.unknown) else best
    if best is None or best.explained < CONSISTENT:
        return None
    return _without_what_nobody_sees(views, best, cut)


@dataclass(frozen=True)
class _Hull:
    """A frame's hull. World units.

    Attributes:
        explained: share of the silhouette pixels that the cells cover.
        box: (2, 3) lower and upper corner.
        centres, step: (n, 3) centres of the kept cells, and (3,) their size.
    """

    explained: float
    box: np.ndarray
    centres: np.ndarray
    step: np.ndarray


def _tightest(views: Sequence[View], start: np.ndarray) -> _Hull | None:
    """The hull of the tightest box among those that explain nearly as many pixels as the best one.

    With imperfect masks no hull explains all pixels.
    """
    found: list[_Hull] = []
    for share in (1.0, 0.75, 0.5):
        hull = _shrink(views, start, math.ceil(share * len(views)))
        if hull is not None:
            found.append(hull)
            if hull.explained >= 1.0 - UNEXPLAINED:
                break
    best = max((hull.explained for hull in found), default=0.0)
    return next((hull for hull in found if hull.explained >= best - UNEXPLAINED), None)


def _shrink(views: Sequence[View], box: np.ndarray, needed: int, allowed: int = 0) -> _Hull | None:
    """Carves and shrinks ``box`` (2, 3) to the cells whose projections touch the silhouettes of ``needed`` views.

    ``allowed``: see :func:`vote`. None if no cell is left.
    """
    for _ in range(8):
        bounds = Bounds(tuple(box[0]), tuple(box[1]))
        cells = np.maximum(4, np.ceil(SEARCH_CELLS * bounds.size / bounds.largest_side)).astype(int)
        votes = vote(views, bounds, (int(cells[0]), int(cells[1]), int(cells[2])), 1.0, allowed)
        index = np.argwhere(votes.kept & (votes.touched >= needed))[:, ::-1]
        if not len(index):
            return None
        step = bounds.size / cells
        centres = bounds.lower + (index + 0.5) * step
        smaller = np.stack((box[0] + index.min(0) * step, box[0] + (index.max(0) + 1) * step))
        if np.prod((smaller[1] - smaller[0]) / bounds.size) > 0.9:
            return _Hull(_explained(views, centres, step), smaller, centres, step)
        box = smaller
    return _Hull(_explained(views, centres, step), box, centres, step)


def _without_what_nobody_sees(views: Sequence[View], hull: _Hull, cut: set[str]) -> np.ndarray:
    """The box, cut where the hull reaches beyond the subject on a side that no camera looks at from outside.

    Cameras around a table that all look down leave a cone below the subject in the hull; the steeper they look, the
    deeper it is. Cells of the cone are not needed to explain the silhouettes, so that the box can be cut at the deepest
    place that leaves them explained. The subject may have a hollow there that a camera looks into, and some depth is
    kept for it. Where cameras do not stand all around, silhouettes do not tell the depth, and nothing is cut.
    """
    box = hull.box.copy()
    positions = np.stack([view.camera.position for view in views])
    for axis in range(3):
        across = [k for k in range(3) if k != axis]
        around = (positions < box[0]).any(0) & (positions > box[1]).any(0)
        if not around[across].all():
            continue
        for end, sign in ((0, 1.0), (1, -1.0)):
            if not (sign * (positions[:, axis] - box[end, axis]) > 0.0).all():
                continue
            beyond = sign * (hull.centres[:, axis] - box[end, axis])
            least = hull.explained - CUT
            cuts = np.arange(0.0, beyond.max(), hull.step[axis])
            # Bisection for the deepest cut that leaves the silhouettes explained: deeper cuts explain ever less.
            deep, shallow = len(cuts), 0
            while deep - shallow > 1:
                middle = (deep + shallow) // 2
                kept = hull.centres[beyond > cuts[middle]]
                shallow, deep = (middle, deep) if _explained(views, kept, hull.step) >= least else (shallow, middle)
            layer = hull.centres[np.abs(beyond - cuts[shallow]) <= hull.step[axis]][:, across]
            beyond_it = cuts[shallow] - HOLLOW * float((np.ptp(layer, axis=0) + hull.step[across]).max())
            # A small cut is not worth the risk of a wrong guess.
            if beyond_it > FAR * float(hull.box[1, axis] - hull.box[0, axis]):
                box[end, axis] += sign * beyond_it
                cut.add(f"{'-+'[end]}{'xyz'[axis]}")
    return box


def _explained(views: Sequence[View], centres: np.ndarray, step: np.ndarray) -> float:
    """The share of silhouette pixels, over all views, that the projections of the cells cover."""
    total = covered = 0
    for view in views:
        mask = seen_subject(view)
        total += int(mask.sum())
        covered += int((mask & coverage(view.camera, centres, step)).sum())
    return covered / max(1, total)


def _silhouette_direction(view: View) -> np.ndarray:
    rows, columns = np.nonzero(seen_subject(view))
    return pixel_directions(view.camera, np.array([columns.mean() + 0.5, rows.mean() + 0.5]))


def bounds_from_cameras(cameras: Sequence[Camera]) -> Bounds | None:
    """The padded box of the space around the cameras' common point that at least half of the cameras see.

    None where the axes do not meet in front of the cameras (a forward-facing rig, or all cameras in one point): the
    depth is unknown then.
    """
    positions = np.stack([camera.position for camera in cameras])
    axes = np.stack([camera.rotation[:, 2] for camera in cameras])
    centre, condition = closest_point(positions, axes)
    ahead = np.einsum("ij,ij->i", centre - positions, axes)
    if condition < FORWARD_FACING or np.mean(ahead > 0.0) < 0.5:
        return None
    reach = float(np.median(np.linalg.norm(positions - centre, axis=1)))
    if reach <= SAME_POINT * float(np.abs(positions).max()):
        return None
    steps = (np.arange(SEARCH_CELLS) + 0.5) / SEARCH_CELLS * 2.0 - 1.0
    grid = np.stack(np.meshgrid(steps, steps, steps, indexing="ij"), axis=-1).reshape(-1, 3)
    # A ball and not a cube: the corners of a cube would lie outside the ring of cameras.
    points = centre + reach * grid[(grid**2).sum(1) < 0.9**2]
    seen = np.zeros(len(points), int)
    for camera in cameras:
        seen += inside_image(camera, project(camera, points)[0])
    points = points[2 * seen >= len(cameras)]
    if not len(points):
        return None
    half_cell = reach / SEARCH_CELLS
    return _padded(points.min(0) - half_cell, points.max(0) + half_cell)


def check_cameras_see(bounds: Bounds, cameras: Iterable[Camera], where: str, advice: str) -> None:
    """Checks that every camera sees some of the bounds.

    Raises:
        DataError: a camera sees nothing of them; ``where`` begins the message and ``advice`` ends it.
    """
    lower, upper = np.asarray(bounds.lower), np.asarray(bounds.upper)
    steps = np.linspace(0.0, 1.0, 9)
    grid = np.stack(np.meshgrid(steps, steps, steps, indexing="ij"), axis=-1).reshape(-1, 3)
    points = lower + grid * (upper - lower)
    for camera in cameras:
        if inside_image(camera, project(camera, points)[0]).any() or _rays_cross(camera, bounds):
            continue
        raise DataError(f"{where}: camera {camera.name} sees nothing of the bounds {bounds.corners()}; {advice}")


def _rays_cross(camera: Camera, bounds: Bounds) -> bool:
    """Whether any ray of a 17 x 17 raster over the image meets the box; finds boxes larger than the image."""
    x, y = np.meshgrid(np.linspace(0, camera.width, 17), np.linspace(0, camera.height, 17))
    return bool(rays_hit(camera, np.stack((x, y), axis=-1).reshape(-1, 2), bounds).any())


def _padded(lower: np.ndarray, upper: np.ndarray) -> Bounds:
    pad = PADDING * (upper - lower)
    low, high = (lower - pad).tolist(), (upper + pad).tolist()
    return Bounds((low[0], low[1], low[2]), (high[0], high[1], high[2]))
