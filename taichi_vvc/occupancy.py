"""Where samples are taken: the first guess of a frame, and what is left of it once the field has formed."""

from __future__ import annotations

import numpy as np

from taichi_vvc.kernels import march

from .fields import Field, dilate, occupy
from .hull import visual_hull
from .problem import FrameProblem
from .render import Workspace, make_rays, measure_opacity
from .types import FieldLayout, SymbolFrame, View

# Cells whose optical depth per edge stays below this at all corners are empty.
_EMPTY = 0.1
# A cell is hidden if every training ray has passed this optical depth before it gets there.
_HIDDEN = 5.0
# A scene has changed where less than this part of what was occupied may still be.
_STILL_THERE = 0.25


def scene_changed(before: np.ndarray, mask: np.ndarray) -> bool:
    """Whether a frame whose :func:`first_mask` is ``mask`` has too little in common with the occupancy ``before`` it to
    be predicted from it: a cut, or a jump. Captures without masks never say so."""
    return bool((before & mask).sum() < _STILL_THERE * before.sum())


def first_mask(layout: FieldLayout, views: tuple[View, ...], before: SymbolFrame | None) -> np.ndarray:
    """Where samples may lie before a frame is fitted, (nz, ny, nx) bool.

    The visual hull where the capture has masks; else everything on a key frame, and on an inter frame what was
    occupied before, grown by two cells for motion.
    """
    nx, ny, nz = layout.occupancy
    training = [v for v in views if v.camera.split == "train"]
    if any(int(v.image[..., 3].min(initial=255)) < 255 for v in training):
        return visual_hull(training, layout.bounds, layout.occupancy)
    if before is None:
        return np.ones((nz, ny, nx), bool)
    return dilate(dilate(before.occupancy))


def watch_solid(ws: Workspace, f: Field, mask: np.ndarray) -> np.ndarray:
    """Take samples only in those cells of ``mask`` that are not empty now (in all of them where all are).

    Measures the field's opacity bounds on the way. Returns these cells, (nz, ny, nx) bool.
    """
    f.mask = mask
    solid = mask & (measure_opacity(ws, f) > _EMPTY)
    occupy(f, solid if solid.any() else mask)
    return f.mask


def kept_cells(ws: Workspace, f: Field, problem: FrameProblem, margin: bool = True, chunk: int = 1 << 16) -> np.ndarray:
    """The occupied cells worth keeping, (nz, ny, nx) bool: neither empty nor hidden.

    Their neighbours are kept too with ``margin``: for a field that is still on the move. Measures the field's opacity
    bounds on the way.
    """
    solid = measure_opacity(ws, f) > _EMPTY
    f.measured = True
    nx, ny, nz = f.layout.occupancy
    visited = f.runtime.zeros(f.mask.size, np.int32)
    candidates = f.runtime.download(problem.candidates, problem.count)
    step = f.layout.march_step
    for start in range(0, problem.count, chunk):
        part = candidates[start : start + chunk]
        make_rays(ws, f.layout, problem.table, f.runtime.upload(part), part.size)
        march.mark_visited(part.size, ws.arrays["rays"], f.occupancy, f.opacity, nx, ny, nz, step, _HIDDEN, visited)
    seen = f.runtime.download(visited, f.mask.size).reshape(f.mask.shape) != 0
    kept = solid & seen
    return f.mask & (dilate(kept) if margin else kept)
