"""Where samples are taken: the first guess of a frame, and what is left of it once the field has formed."""

from __future__ import annotations

from typing import Any

import numpy as np

from taichi_vvc.capture.agreement import SHOWN
from taichi_vvc.capture.hull import visual_hull
from taichi_vvc.capture.seen import VIEWS, believed_cells, possible_cells
from taichi_vvc.field.grids import Field, occupy
from taichi_vvc.field.render import (
    CameraTable,
    camera_table,
    make_rays,
    march_through,
    measure_opacity,
    most_samples,
)
from taichi_vvc.field.workspace import Workspace
from taichi_vvc.fit.training_rays import TrainingRays, crossing_pixels
from taichi_vvc.geometry.projection import dilate
from taichi_vvc.kernels import march
from taichi_vvc.media.pictures import differs
from taichi_vvc.types import FieldLayout, SymbolFrame, View

Colour = tuple[float, float, float]
"""sRGB in [0, 1]."""

# Cells whose optical depth per edge stays below this at all corners are empty.
_EMPTY = 0.1
# A cell is hidden if every training ray has passed this optical depth before it gets there.
_HIDDEN = 5.0
# A scene has changed where less than this part of what was occupied may still be.
_STILL_THERE = 0.25
# The part of the pixels that must have been missed before cells are kept for them, where there are no masks.
_MISSED = 0.002


def scene_changed(before: np.ndarray, mask: np.ndarray) -> bool:
    """Whether a frame whose :func:`first_mask` is ``mask`` has too little in common with the occupancy ``before`` it to
    be predicted from it: a cut, or a jump. Captures without masks never say so."""
    return bool((before & mask).sum() < _STILL_THERE * before.sum())


def first_mask(layout: FieldLayout, views: tuple[View, ...], before: SymbolFrame | None) -> np.ndarray:
    """Where samples may lie before a frame is fitted, (nz, ny, nx) bool.

    The visual hull where the capture has masks, of few cameras without what hardly any sees; else everything on a key
    frame, and on an inter frame what was occupied before, grown by two cells for motion. In a whole scene, and where
    samples begin at a distance, only cells that several training cameras see.
    """
    training = [v for v in views if v.camera.split == "train"]
    if before is None or any(v.has_alpha for v in training):
        return believed_cells(layout, training)
    mask = dilate(dilate(before.occupancy))
    if layout.whole or layout.near:
        mask &= possible_cells(layout, [v.camera for v in training])
    return mask


def watch_solid(ws: Workspace, f: Field, mask: np.ndarray) -> np.ndarray:
    """Take samples only in those cells of ``mask`` that are not empty now (in all of them where all are).

    Measures the field's opacity bounds on the way. Returns these cells, (nz, ny, nx) bool.
    """
    f.mask = mask
    solid = mask & (measure_opacity(ws, f) > _EMPTY)
    occupy(f, solid if solid.any() else mask)
    return f.mask


def kept_cells(ws: Workspace, f: Field, training: TrainingRays, margin: bool = True) -> np.ndarray:
    """The occupied cells worth keeping, (nz, ny, nx) bool: neither empty nor hidden.

    Their neighbours are kept too with ``margin``: for a field that is still on the move. Measures the field's opacity
    bounds on the way.
    """
    solid = measure_opacity(ws, f) > _EMPTY
    f.measured = True
    kept = solid & _visited(ws, f, training.table, training.candidates)
    return f.mask & (dilate(kept) if margin else kept)


def missed_cells(ws: Workspace, f: Field, training: TrainingRays, kept: np.ndarray, background: Colour) -> np.ndarray:
    """The occupied cells outside ``kept`` that may hold what pixels show that would then be left to the background.

    A fit may drop what it has not found yet, where the background (sRGB in [0, 1]) looks a little like it, or what it
    shows as a haze, and nothing would ever form there again. Such cells lie on a ray of a pixel that is not transparent
    (without masks: that differs from the background) and meets nothing that is kept, and no view sees through them to
    the background. (nz, ny, nx) bool.
    """
    seen = training.views, training.table, training.candidates
    missed, hull = _missed_pixels(ws, f.layout, *seen, kept, background)
    return f.mask & ~kept & hull & _visited(ws, f, training.table, missed)


def entered_cells(
    ws: Workspace, layout: FieldLayout, views: tuple[View, ...], mask: np.ndarray, background: Colour
) -> np.ndarray:
    """As :func:`missed_cells`, before a fit: cells outside ``mask`` that pixels say something has come into."""
    training = tuple(v for v in views if v.camera.split == "train")
    table = camera_table(ws.runtime, layout, [v.camera for v in training])
    everywhere = np.ones_like(mask)
    candidates = crossing_pixels(ws, layout, table, everywhere)
    missed, hull = _missed_pixels(ws, layout, training, table, candidates, mask, background)
    if not missed.size:
        return np.zeros_like(mask)
    clear = ws.runtime.zeros(mask.size)
    seen = marked_cells(ws, layout, table, missed, ws.runtime.upload(everywhere.astype(np.int32)), clear)
    return ~mask & hull & seen


def _missed_pixels(
    ws: Workspace,
    layout: FieldLayout,
    views: tuple[View, ...],
    table: CameraTable,
    candidates: np.ndarray,
    kept: np.ndarray,
    background: Colour,
) -> tuple[np.ndarray, np.ndarray]:
    """Those of the ``candidates`` that show something and meet nothing ``kept`` (without masks none if they are few),
    and the cells through which no view sees the background. In a whole scene every pixel shows something, and the cells
    are those that rays of several such views get to."""
    masked = any(v.has_alpha for v in views)
    if layout.whole:
        away = np.ones(table.pixels, bool)
    else:
        shown = (v.image[..., 3] >= SHOWN if masked else differs(v.image, background) for v in views)
        away = np.concatenate([pixels.reshape(-1) for pixels in shown])
    covered = np.zeros(away.size, bool)
    # What is kept lies within what the candidates' rays meet.
    covered[crossing_pixels(ws, layout, table, kept, candidates)] = True
    missed = candidates[away[candidates] & ~covered[candidates]]
    if missed.size < (1 if masked else _MISSED * candidates.size):
        return missed[:0], np.zeros_like(kept)
    if layout.whole:
        return missed, _crossed(ws, layout, views, table, missed)
    covered[missed] = True
    silhouettes, first = [], 0
    for view in views:
        height, width = view.image.shape[:2]
        alpha = covered[first : first + height * width].reshape(height, width, 1) * np.uint8(255)
        image = np.concatenate([view.image[..., :3], alpha], 2)
        silhouettes.append(View(view.camera, image, view.unknown))
        first += height * width
    return missed, visual_hull(silhouettes, layout.bounds, layout.occupancy)


def _crossed(
    ws: Workspace, layout: FieldLayout, views: tuple[View, ...], table: CameraTable, pixels: np.ndarray
) -> np.ndarray:
    """The cells that rays of the ``pixels`` of several views get to, (nz, ny, nx) bool."""
    first = np.cumsum([0] + [v.camera.width * v.camera.height for v in views])
    owner = np.searchsorted(first, pixels, side="right") - 1
    nx, ny, nz = layout.occupancy
    everywhere, clear = ws.runtime.upload(np.ones(nx * ny * nz, np.int32)), ws.runtime.zeros(nx * ny * nz)
    seen = np.zeros((nz, ny, nx), np.int16)
    for number in np.unique(owner):
        seen += marked_cells(ws, layout, table, pixels[owner == number], everywhere, clear)
    return np.asarray(seen >= min(VIEWS, len(views)))


def _visited(ws: Workspace, f: Field, table: CameraTable, pixels: np.ndarray) -> np.ndarray:
    """Cells that rays of ``pixels`` get to, by the field's opacity bounds, (nz, ny, nx) bool."""
    return marked_cells(ws, f.layout, table, pixels, f.occupancy, f.opacity)


def marked_cells(
    ws: Workspace,
    layout: FieldLayout,
    table: CameraTable,
    pixels: np.ndarray,
    occupancy: Any,
    opacity: Any,
    chunk: int = 1 << 16,
) -> np.ndarray:
    """Cells that rays of ``pixels`` (int32 indices) get to, (nz, ny, nx) bool.

    ``occupancy`` and ``opacity`` on the device are as those of a :class:`~taichi_vvc.field.grids.Field`.
    """
    nx, ny, nz = layout.occupancy
    visited = ws.runtime.zeros(nx * ny * nz, np.int32)
    where = occupancy, opacity, nx, ny, nz, layout.march_step, _HIDDEN, visited
    for start in range(0, pixels.size, chunk):
        part = pixels[start : start + chunk]
        make_rays(ws, layout, table, ws.runtime.upload(part), part.size)
        if layout.whole:
            counts, rays = ws.counts.get(part.size), (part.size, ws.rays.array)
            found = counts, ws.distances.get(1), visited
            march_through(layout, rays, where[:2], _HIDDEN, most_samples(layout), march.CELLS, found)
        else:
            march.mark_visited(part.size, ws.rays.array, *where)
    return ws.runtime.download(visited, nx * ny * nz).reshape(nz, ny, nx) != 0
