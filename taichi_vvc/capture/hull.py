"""The visual hull: the cells in which the subject can be, given its silhouettes from calibrated cameras.

The hull is conservative: a cell is carved only if a camera sees all of it and only background there. Where masks
contradict each other, several cameras may have to agree before a cell is carved: see :func:`vote` and
``capture/agreement.py``. The fit takes its first occupancy mask from here, and ``capture/bounds.py`` the bounds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from taichi_vvc.geometry.projection import distort, distortion_limit, has_distortion, inside_image, project, with_rays
from taichi_vvc.types import Bounds, Camera, View

BLOCK = 4  # cells per side of the coarse blocks that are tested first
CHUNK = 1 << 16  # cells per NumPy pass: the temporaries then stay in the cache
VIEWS_PER_DISSENT = 6  # views that must see all of a cell for each view that may be overruled there


@dataclass(frozen=True)
class Votes:
    """The result of carving; each array is (nz, ny, nx).

    Attributes:
        kept: bool, the cells that were not carved.
        touched: int16, in how many views the silhouette touches a cell; 0 where it is not kept.
        against: int16, how many views see all of a cell and nothing but background there; 0 where it is not kept.
        seen: int16, how many views see all of a cell; 0 where it is not kept.
    """

    kept: np.ndarray
    touched: np.ndarray
    against: np.ndarray
    seen: np.ndarray


def visual_hull(
    views: Sequence[View], bounds: Bounds, cells: tuple[int, int, int], margin_px: float = 1.0
) -> np.ndarray:
    """The cells that may contain something according to every mask that sees them.

    Args:
        views: pictures with alpha; alpha above 0 counts as subject, as do unknown pixels. Views without masks carve
            nothing.
        bounds: the box that the grid of cells fills, world units.
        cells: (x, y, z) number of cells.
        margin_px: number of pixels by which silhouettes are grown before carving.

    Returns:
        (nz, ny, nx) bool. A cell is kept if, in every view, the rectangle around its projection touches the silhouette,
        leaves the image, or belongs to a cell that reaches behind the camera.
    """
    kept, _ = carve(views, bounds, cells, margin_px)
    return kept


def carve(
    views: Sequence[View], bounds: Bounds, cells: tuple[int, int, int], margin_px: float = 1.0
) -> tuple[np.ndarray, np.ndarray]:
    """As :func:`visual_hull`, with the number of views in which the silhouette touches each kept cell.

    Returns:
        kept (nz, ny, nx) bool; touched (nz, ny, nx) int16, 0 where a cell is not kept.
    """
    votes = vote(views, bounds, cells, margin_px)
    return votes.kept, votes.touched


def vote(
    views: Sequence[View], bounds: Bounds, cells: tuple[int, int, int], margin_px: float = 1.0, allowed: int = 0
) -> Votes:
    """As :func:`visual_hull`, but up to :func:`allowed_dissent` views may see only background in a kept cell."""
    shape = np.array(cells)
    tables = [silhouette_table(view) for view in views]
    cameras = [view.camera for view in views]
    # Fewer views may see all of a block than see all of one of its cells. So a block gets the largest allowance.
    most = int(allowed_dissent(len(views), allowed))

    coarse_shape = -(-shape // BLOCK)
    index = np.stack(np.unravel_index(np.arange(coarse_shape.prod()), tuple(coarse_shape)), axis=1)
    step = bounds.size / shape
    index, _ = _carve_cells(cameras, tables, index, bounds, step * BLOCK, margin_px, most)

    offsets = np.stack(np.unravel_index(np.arange(BLOCK**3), (BLOCK, BLOCK, BLOCK)), axis=1)
    index = (index[:, None, :] * BLOCK + offsets).reshape(-1, 3)
    index = index[(index < shape).all(axis=1)]
    index, counts = _carve_cells(cameras, tables, index, bounds, step, margin_px, most)
    if most:
        lasting = counts[1] <= allowed_dissent(counts[2], allowed)
        index, counts = index[lasting], counts[:, lasting]

    kept = np.zeros(tuple(shape[::-1]), bool)
    x, y, z = index.T
    kept[z, y, x] = True
    touched, against, seen = (np.zeros(kept.shape, np.int16) for _ in counts)
    for volume, count in zip((touched, against, seen), counts, strict=True):
        volume[z, y, x] = count
    return Votes(kept, touched, against, seen)


def allowed_dissent(seen: np.ndarray | int, allowed: int) -> np.ndarray:
    """The number of views that may be overruled about a cell of which ``seen`` views see all; at most ``allowed``."""
    return np.minimum(np.asarray(seen) // VIEWS_PER_DISSENT, allowed)


def dissents(view: View, centres: np.ndarray, step: np.ndarray, margin_px: float = 1.0) -> np.ndarray:
    """(n,) bool: the cells of which a view sees all, and only background there.

    ``centres`` (n, 3), ``step`` (3,): centres and size of the cells, world units.
    """
    touched, seen = ballots(view.camera, silhouette_table(view), centres, step, margin_px)
    return seen & ~touched


def ballots(
    camera: Camera, table: np.ndarray, centres: np.ndarray, step: np.ndarray, margin_px: float = 1.0
) -> tuple[np.ndarray, np.ndarray]:
    """Two (n,) bool: whether the silhouette of ``table`` touches each cell, and whether the camera sees all of it.

    ``table``: see :func:`silhouette_table`; ``centres`` and ``step``: as in :func:`dissents`.
    """
    _, touched, seen = _test_boxes(camera, table, centres, 0.5 * step, margin_px)
    return touched, seen


def coverage(camera: Camera, centres: np.ndarray, step: np.ndarray) -> np.ndarray:
    """(height, width) bool: the pixels in which cells of size ``step`` (3,) around ``centres`` (n, 3), world, may show.

    Each cell covers a square around its projection; cells whose centre is outside the image cover nothing.
    """
    pixels, depth = project(camera, centres)
    seen = inside_image(camera, pixels)
    reach = 0.5 * max(camera.fx, camera.fy) * float(step.max()) / depth[seen] + 1.0
    size = np.array((camera.width, camera.height))
    low = np.clip(np.floor(pixels[seen] - reach[:, None]).astype(int), 0, size)
    high = np.clip(np.ceil(pixels[seen] + reach[:, None]).astype(int), 0, size)
    # Paint all squares by adding +-1 at their corners and integrating once (a summed-area table in reverse).
    stride = camera.width + 1
    ends = [low[:, 1] * stride + low[:, 0], high[:, 1] * stride + high[:, 0]]
    others = [low[:, 1] * stride + high[:, 0], high[:, 1] * stride + low[:, 0]]
    corners = [np.bincount(np.concatenate(e), minlength=stride * (camera.height + 1)) for e in (ends, others)]
    paint = (corners[0] - corners[1]).reshape(camera.height + 1, stride)
    return paint.cumsum(0).cumsum(1)[:-1, :-1] > 0


def _carve_cells(
    cameras: list[Camera],
    tables: list[np.ndarray],
    index: np.ndarray,
    bounds: Bounds,
    step: np.ndarray,
    margin_px: float,
    allowed: int,
) -> tuple[np.ndarray, np.ndarray]:
    """Carves the cells of ``index`` (n, 3) (x, y, z).

    Returns the kept rows, and (3, kept) the number of views that touch each cell, see only background there, and see
    all of it.
    """
    survivors, counts = [index[:0]], [np.zeros((3, 0), np.int16)]
    for start in range(0, len(index), CHUNK):
        rows = index[start : start + CHUNK]
        count = np.zeros((3, len(rows)), np.int16)
        for camera, table in zip(cameras, tables, strict=True):
            centres = np.asarray(bounds.lower) + (rows + 0.5) * step
            keep, touched, seen = _test_boxes(camera, table, centres, 0.5 * step, margin_px)
            count += np.stack((touched, ~keep, seen))
            if allowed:
                keep = count[1] <= allowed
            rows, count = rows[keep], count[:, keep]
        survivors.append(rows)
        counts.append(count)
    return np.concatenate(survivors), np.concatenate(counts, axis=1)


def _test_boxes(
    camera: Camera, table: np.ndarray, centres: np.ndarray, half: np.ndarray, margin_px: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """For boxes of half size ``half`` (3,) around ``centres`` (n, 3), three (n,) bool arrays.

    They say whether a box may hold something, whether it touches the silhouette, and whether the camera sees all of it.
    """
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
    unseen = reaches_behind | far | leaves
    # Where the box reaches behind the camera or out of the lens model, its projection is unbounded.
    in_front = (local[:, 2] > 0.0) & (u * u + v * v < distortion_limit(camera))
    touched = (reaches_behind | far) & in_front & bool(table[-1, -1] > 0)
    ask = np.flatnonzero(~(reaches_behind | far))
    x0, y0 = _clip(left[ask], camera.width), _clip(top[ask], camera.height)
    x1, y1 = _clip(np.ceil(right[ask]), camera.width), _clip(np.ceil(bottom[ask]), camera.height)
    stride = table.shape[1]
    flat = table.ravel()
    y0, y1 = y0 * stride, y1 * stride
    touched[ask] = flat[y1 + x1] - flat[y0 + x1] - flat[y1 + x0] + flat[y0 + x0] > 0
    return unseen | touched, touched, ~unseen


def _clip(positions: np.ndarray, size: int) -> np.ndarray:
    return np.clip(positions, 0, size).astype(np.int32)


def silhouette_table(view: View) -> np.ndarray:
    """(height + 1, width + 1) int32 summed-area table of the silhouette: pixels above and to the left of a corner."""
    subject = with_rays(view.camera, view.silhouette)
    table = np.zeros((subject.shape[0] + 1, subject.shape[1] + 1), np.int32)
    np.cumsum(np.cumsum(subject, axis=0, dtype=np.int32), axis=1, out=table[1:, 1:])
    return table
