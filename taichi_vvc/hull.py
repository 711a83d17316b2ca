"""The visual hull: where the subject can be, given its silhouettes from calibrated cameras.

Conservative by construction: a cell survives unless some camera sees all of it and sees nothing but background there.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from taichi_vvc.geometry import distort, distortion_limit, has_distortion, seen_subject
from taichi_vvc.types import Bounds, Camera, View

BLOCK = 4  # cells per side of the coarse blocks that are tested first
CHUNK = 1 << 16  # cells per NumPy pass: the temporaries then stay in the cache


def visual_hull(
    views: Sequence[View], bounds: Bounds, cells: tuple[int, int, int], margin_px: float = 1.0
) -> np.ndarray:
    """Cells that may contain something according to every mask that sees them.

    Args:
        views: pictures with alpha; alpha above 0 counts as subject. Views without masks carve nothing.
        bounds: the box that the grid of cells fills, world units.
        cells: (x, y, z) number of cells.
        margin_px: how far a silhouette is grown before carving, pixels.

    Returns:
        (nz, ny, nx) bool. A cell is kept if, in every view, the box around its projection touches the silhouette,
        or leaves the image, or reaches behind the camera.
    """
    kept, _ = carve(views, bounds, cells, margin_px)
    return kept


def carve(
    views: Sequence[View], bounds: Bounds, cells: tuple[int, int, int], margin_px: float = 1.0
) -> tuple[np.ndarray, np.ndarray]:
    """As :func:`visual_hull`, and in how many views the silhouette touches each kept cell.

    Returns:
        kept (nz, ny, nx) bool; touched (nz, ny, nx) int16, 0 where a cell is not kept.
    """
    shape = np.array(cells)
    tables = [_silhouette_table(seen_subject(view)) for view in views]
    cameras = [view.camera for view in views]

    coarse_shape = -(-shape // BLOCK)
    index = np.stack(np.unravel_index(np.arange(coarse_shape.prod()), tuple(coarse_shape)), axis=1)
    step = bounds.size / shape
    index, _ = _carve_cells(cameras, tables, index, bounds, step * BLOCK, margin_px)

    offsets = np.stack(np.unravel_index(np.arange(BLOCK**3), (BLOCK, BLOCK, BLOCK)), axis=1)
    index = (index[:, None, :] * BLOCK + offsets).reshape(-1, 3)
    index = index[(index < shape).all(axis=1)]
    index, count = _carve_cells(cameras, tables, index, bounds, step, margin_px)

    kept = np.zeros(tuple(shape[::-1]), bool)
    touched = np.zeros(kept.shape, np.int16)
    x, y, z = index.T
    kept[z, y, x] = True
    touched[z, y, x] = count
    return kept, touched


def _carve_cells(
    cameras: list[Camera],
    tables: list[np.ndarray],
    index: np.ndarray,
    bounds: Bounds,
    step: np.ndarray,
    margin_px: float,
) -> tuple[np.ndarray, np.ndarray]:
    """The rows of ``index`` (n, 3) (x, y, z) whose cells survive all views, and how many views touch each."""
    survivors, counts = [index[:0]], [np.zeros(0, np.int16)]
    for start in range(0, len(index), CHUNK):
        rows = index[start : start + CHUNK]
        count = np.zeros(len(rows), np.int16)
        for camera, table in zip(cameras, tables, strict=True):
            centres = np.asarray(bounds.lower) + (rows + 0.5) * step
            keep, touched = _test_boxes(camera, table, centres, 0.5 * step, margin_px)
            rows, count = rows[keep], (count + touched)[keep]
        survivors.append(rows)
        counts.append(count)
    return np.concatenate(survivors), np.concatenate(counts)


def _test_boxes(
    camera: Camera, table: np.ndarray, centres: np.ndarray, half: np.ndarray, margin_px: float
) -> tuple[np.ndarray, np.ndarray]:
    """For boxes of half size ``half`` around ``centres`` (n, 3): (may hold something, touches the silhouette)."""
    to_camera = camera.rotation.T
    local = (centres - camera.position) @ camera.rotation
    # A box corner is centre + d with |d_j| <= half_j; its depth and its offset from the centre's ray are linear in d.
    near = local[:, 2] - np.abs(to_camera[2]) @ half
    reaches_behind = near <= 0.0
    with np.errstate(divide="ignore", invalid="ignore"):
        u, v = local[:, 0] / local[:, 2], local[:, 1] / local[:, 2]
        du = np.abs(to_camera[0] - u[:, None] * to_camera[2]) @ half / near
        dv = np.abs(to_camera[1] - v[:, None] * to_camera[2]) @ half / near
        low_u, high_u, low_v, high_v = u - du, u + du, v - dv, v + dv
        if has_distortion(camera):
            limit = distortion_limit(camera)
            far = np.maximum(low_u**2, high_u**2) + np.maximum(low_v**2, high_v**2) >= limit
            corners = [distort(camera, a, b) for a in (low_u, u, high_u) for b in (low_v, v, high_v)]
            low_u, low_v = (np.minimum.reduce([c[k] for c in corners]) for k in (0, 1))
            high_u, high_v = (np.maximum.reduce([c[k] for c in corners]) for k in (0, 1))
        else:
            far = np.zeros(len(u), bool)
        left = camera.fx * low_u + (camera.cx - margin_px)
        right = camera.fx * high_u + (camera.cx + margin_px)
        top = camera.fy * low_v + (camera.cy - margin_px)
        bottom = camera.fy * high_v + (camera.cy + margin_px)
        leaves = (left < 0) | (right > camera.width) | (top < 0) | (bottom > camera.height)
    keep = reaches_behind | far | leaves
    # Where the box reaches behind the camera or out of the lens model, its projection could be anywhere in front.
    in_front = (local[:, 2] > 0.0) & (u * u + v * v < distortion_limit(camera))
    touched = (reaches_behind | far) & in_front & bool(table[-1, -1] > 0)
    ask = np.flatnonzero(~(reaches_behind | far))
    x0, y0 = _clip(left[ask], camera.width), _clip(top[ask], camera.height)
    x1, y1 = _clip(np.ceil(right[ask]), camera.width), _clip(np.ceil(bottom[ask]), camera.height)
    stride = table.shape[1]
    flat = table.ravel()
    y0, y1 = y0 * stride, y1 * stride
    touched[ask] = flat[y1 + x1] - flat[y0 + x1] - flat[y1 + x0] + flat[y0 + x0] > 0
    return keep | touched, touched


def _clip(positions: np.ndarray, size: int) -> np.ndarray:
    return np.clip(positions, 0, size).astype(np.int32)


def _silhouette_table(subject: np.ndarray) -> np.ndarray:
    """(height + 1, width + 1) int32: how many pixels above and left of a corner are of the subject."""
    table = np.zeros((subject.shape[0] + 1, subject.shape[1] + 1), np.int32)
    np.cumsum(np.cumsum(subject, axis=0, dtype=np.int32), axis=1, out=table[1:, 1:])
    return table
