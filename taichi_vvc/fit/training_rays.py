"""What one frame's fit is measured against: the training pictures on the device and the pixels worth a ray."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from taichi_vvc.errors import DataError
from taichi_vvc.field.render import DEPTH_LIMIT, CameraTable, camera_table, make_rays, march_through
from taichi_vvc.field.workspace import Workspace
from taichi_vvc.kernels import march
from taichi_vvc.types import DETAIL, Camera, FieldLayout, View

# Bytes of a pixel, and of one whose ray crosses the mask, where all are uploaded; and of one that is drawn from these.
_FULL, _SAMPLED = 4, 12


@dataclass(frozen=True)
class TrainingRays:
    """Training data of one frame.

    Attributes:
        layout: of the field that is fitted.
        mask: (nz, ny, nx) bool, where samples may be taken before anything is fitted.
        views: the training views.
        table: their cameras on the device.
        candidates: indices of the pixels whose rays meet the mask, but for those that are unknown. Where memory is
            short, a sample of these.
        finest: the cameras of the pixels that rays are drawn from: those of the views' detail, where that is known.
        images: all of these pixels, RGBA packed into int32 (straight alpha), camera after camera, row-major. With
            ``places`` the ``drawn`` ones only, in their order.
        drawn: indices of those that are drawn from: the candidates, or all of their detail.
        rays_per_view: their number divided by that of the views: the unit of the rate.
        has_alpha: whether any pixel is transparent.
        cells: (nz, ny, nx) bool, where symbols and occupancy may change; None: everywhere. Candidates are those pixels
            for which that matters.
        places: 0, 1, 2 and so on, one for each of ``drawn``; None where ``images`` are all pixels.
    """

    layout: FieldLayout
    mask: np.ndarray
    views: tuple[View, ...]
    table: CameraTable
    candidates: np.ndarray
    finest: CameraTable
    images: Any
    drawn: Any
    count: int
    rays_per_view: float
    has_alpha: bool
    cells: np.ndarray | None = None
    places: Any | None = None


def make_training_rays(
    ws: Workspace,
    layout: FieldLayout,
    views: Sequence[View],
    mask: np.ndarray,
    among: np.ndarray | None = None,
    memory: int | None = None,
    number: int = 0,
    fine: Sequence[View] | None = None,
) -> TrainingRays:
    """Upload the training views and find the pixels whose rays cross the occupancy ``mask`` (nz, ny, nx).

    Rays are drawn from the pixels of the ``fine`` views, the detail of the training ``views`` in their order (by
    default as they have it, see :attr:`View.fine`); where there are none from the pixels of the views themselves.

    Pixels take 4 bytes each, and 4 more where their rays cross the mask. Where that is more than ``memory``, only such
    pixels are uploaded, which take 12 bytes, and of these a sample if there are too many: one from each of as many
    equal parts as fit, drawn from the frame's ``number`` alone.

    Raises:
        DataError: no ray of any view crosses it.
    """
    runtime = ws.runtime
    views = tuple(v for v in views if v.camera.split == "train")
    if not views:
        raise DataError("expected at least one training view, found none; mark cameras with split = train")
    fine = [v.fine for v in views if v.detail is not None] if fine is None else fine
    table = camera_table(runtime, layout, [v.camera for v in views])
    candidates = crossing_pixels(ws, layout, table, mask, among)
    if any(v.unknown is not None for v in views):
        candidates = candidates[_known(views)[candidates]]
    rays, each = candidates.size, DETAIL**2 if fine else 1
    scarce = memory is not None and _FULL * each * (table.pixels + rays) > memory
    if scarce and memory is not None:
        candidates = sampled(candidates, max(1, memory // (_SAMPLED * each)), number)
    candidates = in_patches(candidates, [v.camera for v in views])
    drawn, finest, shown = candidates, table, views
    if fine:
        finest, shown = camera_table(runtime, layout, [v.camera for v in fine]), tuple(fine)
        drawn = _of_detail(candidates, views)
        if any(v.unknown is not None for v in fine):
            drawn = drawn[_known(fine)[drawn]]
    if not drawn.size:
        raise DataError("expected rays that cross the occupied part of the bounds, found none; check masks and bounds")
    return TrainingRays(
        layout,
        mask,
        views,
        table,
        candidates,
        finest,
        runtime.upload(_packed(shown, drawn if scarce else None)),
        runtime.upload(drawn),
        drawn.size,
        rays / len(views),
        any(v.has_alpha for v in views),
        places=runtime.upload(np.arange(drawn.size, dtype=np.int32)) if scarce else None,
    )


def _known(views: Sequence[View]) -> np.ndarray:
    """(pixels,) bool: which pixels of the views are not unknown, camera after camera."""
    known = [np.ones(v.image.shape[:2], bool) if v.unknown is None else ~v.unknown for v in views]
    return np.concatenate([pixels.reshape(-1) for pixels in known])


def _of_detail(pixels: np.ndarray, views: Sequence[View]) -> np.ndarray:
    """Indices (int32) of the detail of the ``pixels`` of the views; that of one pixel comes together."""
    first = np.cumsum([0] + [v.camera.width * v.camera.height for v in views])
    camera = np.searchsorted(first, pixels, side="right") - 1
    width = np.array([v.camera.width for v in views])[camera]
    y, x = np.divmod(pixels - first[camera], width)
    corner = DETAIL**2 * first[camera] + DETAIL * (y * DETAIL * width + x)
    down, right = np.divmod(np.arange(DETAIL**2), DETAIL)
    return np.asarray(corner[:, None] + down * (DETAIL * width)[:, None] + right, np.int32).reshape(-1)


def sampled(pixels: np.ndarray, count: int, seed: int) -> np.ndarray:
    """At most ``count`` of the ``pixels``, in their order: one from each of as many equal parts of them."""
    if pixels.size <= count:
        return pixels
    edges = np.arange(count + 1, dtype=np.int64) * pixels.size // count
    drawn = edges[:-1] + (np.random.default_rng(seed).random(count) * np.diff(edges)).astype(np.int64)
    return pixels[drawn]


def _packed(views: Sequence[View], chosen: np.ndarray | None) -> np.ndarray:
    """Pixels as int32: all of them, or the ``chosen``, which are ordered by their view."""
    parts = [np.ascontiguousarray(v.image).view("<i4").reshape(-1) for v in views]
    if chosen is None:
        return np.concatenate(parts).astype(np.int32, copy=False)
    packed, first, start = np.empty(chosen.size, np.int32), 0, 0
    for part in parts:
        stop = int(np.count_nonzero(chosen < first + part.size))
        packed[start:stop] = part[chosen[start:stop] - first]
        first, start = first + part.size, stop
    return packed


def crossing_pixels(
    ws: Workspace,
    layout: FieldLayout,
    table: CameraTable,
    mask: np.ndarray,
    among: np.ndarray | None = None,
    chunk: int = 1 << 18,
) -> np.ndarray:
    """Indices (int32) of the pixels whose rays take a sample in the ``mask``, of all pixels or of those ``among``."""
    runtime = ws.runtime
    nx, ny, nz = layout.occupancy
    where = runtime.upload(mask.astype(np.int32)), runtime.zeros(mask.size), nx, ny, nz, layout.march_step, DEPTH_LIMIT
    found, total = [np.zeros(0, np.int32)], table.pixels if among is None else among.size
    for start in range(0, total, chunk):
        stop = min(start + chunk, total)
        pixels = np.arange(start, stop, dtype=np.int32) if among is None else among[start:stop]
        make_rays(ws, layout, table, runtime.upload(pixels), pixels.size)
        counts = ws.counts.get(pixels.size)
        # Each ray ends at its first sample.
        if layout.whole:
            found_by = (pixels.size, ws.rays.array), where[:2], DEPTH_LIMIT, 1, march.NOTHING
            march_through(layout, *found_by, (counts, ws.distances.get(1), counts))
        else:
            march.count_samples(pixels.size, ws.rays.array, *where, 0, 0, 0, 1, True, counts)
        found.append(pixels[runtime.download(counts, pixels.size) > 0])
    return np.concatenate(found)


def in_patches(pixels: np.ndarray, cameras: Sequence[Camera]) -> np.ndarray:
    """Pixel indices ordered anew: camera after camera, within each along a Morton curve, so that neighbours in the
    result are neighbours in a picture."""
    first = np.cumsum([0] + [c.width * c.height for c in cameras])
    camera = np.searchsorted(first, pixels, side="right") - 1
    y, x = np.divmod(pixels - first[camera], np.array([c.width for c in cameras])[camera])
    key = camera
    for bit in range(15, -1, -1):
        key = key << 2 | (y >> bit & 1) << 1 | x >> bit & 1
    return pixels[np.argsort(key)]
