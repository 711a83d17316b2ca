"""Finds the box that holds the subject when a capture does not state it, and checks that cameras look at it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import numpy as np

from taichi_vvc.axes import FORWARD_FACING, SAME_POINT
from taichi_vvc.errors import DataError
from taichi_vvc.geometry import closest_point, inside_image, pixel_directions, project, seen_subject
from taichi_vvc.hull import carve
from taichi_vvc.types import Bounds, Camera, View

PADDING = 0.05  # of each side, on both ends: for motion between the frames looked at
SEARCH_CELLS = 48
CONSISTENT = 0.75  # share of the silhouettes that a hull must explain: below, masks and calibration do not fit
UNEXPLAINED = 0.005  # share of the silhouettes that a hull may leave uncovered and still be the whole subject


def bounds_from_masks(frames: Iterable[Sequence[View]]) -> Bounds | None:
    """The padded box around the visual hulls of several frames; None where the silhouettes have no common hull.

    Per frame, a box that reaches the farthest camera is carved and shrunk to what is left, until it no longer shrinks.
    Nothing is ever carved outside the images, so only cells that all silhouettes touch count, or, where those do not
    explain the silhouettes (close-ups), 3/4 or half of them.
    """
    boxes = [box for views in frames if (box := _hull_box(views)) is not None]
    if not boxes:
        return None
    lower = np.min([box[0] for box in boxes], axis=0)
    upper = np.max([box[1] for box in boxes], axis=0)
    return _padded(lower, upper)


def _hull_box(views: Sequence[View]) -> np.ndarray | None:
    """(2, 3) corners of one frame's hull, or None if it is empty or explains too little of the silhouettes."""
    masked = [view for view in views if seen_subject(view).any()]
    if not masked:
        return None
    positions = np.stack([view.camera.position for view in masked])
    directions = np.stack([_silhouette_direction(view) for view in masked])
    centre, _ = closest_point(positions, directions)
    reach = float(np.linalg.norm(positions - centre, axis=1).max()) or 1.0
    start = np.stack((centre - reach, centre + reach))
    found: list[tuple[float, np.ndarray]] = []
    for share in (1.0, 0.75, 0.5):
        box = _shrink(views, start, math.ceil(share * len(views)))
        if box is not None:
            found.append(box)
            if box[0] >= 1.0 - UNEXPLAINED:
                break
    # The tightest box that explains about as much as any: imperfect masks keep all of them from explaining everything.
    best = max((explained for explained, _ in found), default=0.0)
    if best < CONSISTENT:
        return None
    return next((box for explained, box in found if explained >= best - UNEXPLAINED), None)


def _shrink(views: Sequence[View], box: np.ndarray, needed: int) -> tuple[float, np.ndarray] | None:
    """Carve and shrink ``box`` (2, 3) to cells touched in ``needed`` views: (share of silhouettes explained, box)."""
    for _ in range(8):
        bounds = Bounds(tuple(box[0]), tuple(box[1]))
        cells = np.maximum(4, np.ceil(SEARCH_CELLS * bounds.size / bounds.largest_side)).astype(int)
        kept, touched = carve(views, bounds, (int(cells[0]), int(cells[1]), int(cells[2])), margin_px=1.0)
        index = np.argwhere(kept & (touched >= needed))[:, ::-1]
        if not len(index):
            return None
        step = bounds.size / cells
        smaller = np.stack((box[0] + index.min(0) * step, box[0] + (index.max(0) + 1) * step))
        if np.prod((smaller[1] - smaller[0]) / bounds.size) > 0.9:
            return _explained(views, box[0] + (index + 0.5) * step, step), smaller
        box = smaller
    return _explained(views, bounds.lower + (index + 0.5) * step, step), box


def _explained(views: Sequence[View], centres: np.ndarray, step: np.ndarray) -> float:
    """The share of silhouette pixels, over all views, that the projections of the cells cover."""
    total = covered = 0
    for view in views:
        camera, mask = view.camera, seen_subject(view)
        pixels, depth = project(camera, centres)
        seen = inside_image(camera, pixels)
        reach = 0.5 * max(camera.fx, camera.fy) * float(step.max()) / depth[seen] + 1.0
        low = np.clip(np.floor(pixels[seen] - reach[:, None]).astype(int), 0, mask.shape[::-1])
        high = np.clip(np.ceil(pixels[seen] + reach[:, None]).astype(int), 0, mask.shape[::-1])
        # Each cell paints a square: add its corners, integrate once.
        paint = np.zeros((mask.shape[0] + 1, mask.shape[1] + 1), np.int32)
        for x, y, sign in ((low, low, 1), (high, high, 1), (low, high, -1), (high, low, -1)):
            np.add.at(paint, (y[:, 1], x[:, 0]), sign)
        painted = paint.cumsum(0).cumsum(1)[:-1, :-1] > 0
        total += int(mask.sum())
        covered += int((mask & painted).sum())
    return covered / max(1, total)


def _silhouette_direction(view: View) -> np.ndarray:
    rows, columns = np.nonzero(seen_subject(view))
    return pixel_directions(view.camera, np.array([columns.mean() + 0.5, rows.mean() + 0.5]))


def bounds_from_cameras(cameras: Sequence[Camera]) -> Bounds | None:
    """The padded box that at least half the cameras see around the point where their axes meet.

    None where the axes do not meet in front of the cameras (a forward-facing rig, or all cameras in one point): nothing
    then tells the depth.
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
    # A ball and not a cube: outside the ring of cameras there is nothing that they were set up to film.
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
    """Every camera must have some of the bounds in its image.

    Raises:
        DataError: one has not; ``where`` begins the message and ``advice`` ends it.
    """
    lower, upper = np.asarray(bounds.lower), np.asarray(bounds.upper)
    steps = np.linspace(0.0, 1.0, 9)
    grid = np.stack(np.meshgrid(steps, steps, steps, indexing="ij"), axis=-1).reshape(-1, 3)
    points = lower + grid * (upper - lower)
    for camera in cameras:
        if inside_image(camera, project(camera, points)[0]).any() or _rays_hit(camera, lower, upper):
            continue
        raise DataError(f"{where}: camera {camera.name} sees nothing of the bounds {bounds.corners()}; {advice}")


def _rays_hit(camera: Camera, lower: np.ndarray, upper: np.ndarray) -> bool:
    """Whether any of a 17 x 17 raster of the image's rays crosses the box: finds boxes larger than the image."""
    x, y = np.meshgrid(np.linspace(0, camera.width, 17), np.linspace(0, camera.height, 17))
    directions = pixel_directions(camera, np.stack((x, y), axis=-1).reshape(-1, 2))
    directions = np.where(np.abs(directions) < 1e-12, 1e-12, directions)
    a, b = (lower - camera.position) / directions, (upper - camera.position) / directions
    enter, leave = np.minimum(a, b).max(1), np.maximum(a, b).min(1)
    return bool(((leave > 0.0) & (leave >= enter)).any())


def _padded(lower: np.ndarray, upper: np.ndarray) -> Bounds:
    pad = PADDING * (upper - lower)
    low, high = (lower - pad).tolist(), (upper + pad).tolist()
    return Bounds((low[0], low[1], low[2]), (high[0], high[1], high[2]))
