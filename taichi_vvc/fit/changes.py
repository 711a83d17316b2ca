"""Where in space a frame differs from the one before: from pixels that have changed to cells and symbols.

In a scene that mostly stands still only what is there is fitted; everything else stays as it is, to the symbol.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from taichi_vvc.field.grids import Field, occupancy_numbers
from taichi_vvc.field.render import DEPTH_LIMIT, CameraTable, camera_table, make_rays, march_through, measure_opacity
from taichi_vvc.field.workspace import Workspace
from taichi_vvc.fit.occupancy import first_mask, marked_cells
from taichi_vvc.fit.training_rays import crossing_pixels
from taichi_vvc.geometry.projection import dilate
from taichi_vvc.kernels import march
from taichi_vvc.types import FieldLayout, View

# Views that must show a change in a cell: so many, this part of those that see it, and more than would by chance, which
# is to happen in such a part of the cells.
_VIEWS, _AGREE, _CHANCE = 2, 0.5, 1e-3
# What is fitted as a whole: a frame in which more than this part of the occupied cells may change.
_MOST = 0.5
# A symbol has a say in cells that are so far away; their rays are drawn, too.
_REACH = 2
# Rays per pixel that changes, as a multiple of those per pixel of a frame that is fitted as a whole; and per iteration.
_DENSER, _FEWEST = 2.0, 128
# Every so many pixels along both axes tell which cells a view sees.
_SPARSE = 2


@dataclass(frozen=True)
class Change:
    """What may change in a frame.

    Attributes:
        cells: (nz, ny, nx) bool, where symbols and occupancy may; empty if nothing does.
        mask: (nz, ny, nx) bool, where samples may be taken: what was occupied, and within the cells what may be.
        pixels: int32 indices of the training views' pixels, camera after camera, whose rays these symbols touch.
        part: of all pixels that show anything.
    """

    cells: np.ndarray
    mask: np.ndarray
    pixels: np.ndarray
    part: float

    def rays(self, whole: int) -> int:
        """Rays per iteration, where a fit of the whole frame has so many: twice as many for the part that changes."""
        return min(whole, max(round(_DENSER * self.part * whole), min(whole, _FEWEST)))

    def among(self, first: int, shape: tuple[int, int]) -> np.ndarray:
        """Which pixels of the picture of this ``shape`` that begins at index ``first`` are in ``pixels``."""
        low, high = np.searchsorted(self.pixels, (first, first + shape[0] * shape[1]))
        found = np.zeros(shape[0] * shape[1], bool)
        found[self.pixels[low:high] - first] = True
        return found.reshape(shape)


def find_change(
    ws: Workspace, f: Field, views: Sequence[View], errors: dict[str, np.ndarray], allowed: float, mask: np.ndarray
) -> Change | None:
    """Where a frame may differ from the field before it.

    A cell may change where half of the views that see it, at least two, and more than would by chance, show a change
    there; and so may its neighbours. What is seen once these cells are gone is asked the same.

    Args:
        ws: scratch arrays.
        f: the field of the decoded frame before.
        views: of the frame.
        errors: per camera (height, width), the squared error that has come up in pixels that have changed, 0 in others.
        allowed: sum of errors that cells need not explain.
        mask: (nz, ny, nx) bool, where samples may be taken.

    Returns:
        None if so much may change, or so much remains unexplained, that the frame is better fitted as a whole.
    """
    layout, before = f.layout, f.mask
    nothing = Change(np.zeros_like(before), before, np.zeros(0, np.int32), 0.0)
    changed = {name: energy > 0 for name, energy in errors.items()}
    if not any(pixels.any() for pixels in changed.values()):
        return nothing
    training = [v for v in views if v.camera.split == "train"]
    # Without masks something may have come into any cell; it need not be near what was occupied.
    fitted = mask if any(v.has_alpha for v in training) else first_mask(layout, tuple(training), None)
    free = fitted | before
    if not f.measured:
        measure_opacity(ws, f)
        f.measured = True
    sight = _Sight(ws, layout, camera_table(ws.runtime, layout, [v.camera for v in training]))
    sight.sees(free, f.runtime.download(f.opacity, mask.size))
    cells = _agreed(sight, training, changed)
    energy = np.concatenate([errors.get(v.camera.name, np.zeros(v.image.shape[:2])).reshape(-1) for v in training])
    if not cells.any():
        return nothing if energy.sum() <= allowed else None
    sight.sees(free & ~cells, f.runtime.download(f.opacity, mask.size))
    cells = dilate(cells | _agreed(sight, training, changed)) & free
    if (cells & before).sum() > _MOST * before.sum():
        return None
    touched, now = cells, np.where(cells, fitted, before)
    for _ in range(_REACH):
        touched = dilate(touched)
    sight.sees(now | cells, np.where(cells.reshape(-1), 0, f.runtime.download(f.opacity, mask.size)))
    energy[sight.meeting(np.flatnonzero(energy).astype(np.int32), cells)] = 0
    if energy.sum() > allowed:
        return None
    shown = crossing_pixels(ws, layout, sight.table, now)
    pixels = sight.meeting(shown, touched)
    return Change(cells, now, pixels, pixels.size / max(1, shown.size))


def _agreed(sight: _Sight, views: Sequence[View], changed: dict[str, np.ndarray]) -> np.ndarray:
    """(nz, ny, nx) bool: the cells that have changed, as most of the views say that see them."""
    showing = seeing = np.zeros(sight.shape, np.intp)
    first = 0
    for view in views:
        height, width = view.image.shape[:2]
        if view.camera.name in changed:
            pixels = first + np.arange(height * width, dtype=np.int32).reshape(height, width)
            there = sight.cells(pixels[changed[view.camera.name]])
            some = sight.cells(pixels[_SPARSE // 2 :: _SPARSE, _SPARSE // 2 :: _SPARSE].reshape(-1))
            showing, seeing = showing + there, seeing + (there | some)
        first += height * width
    shown = sum(int(pixels.sum()) for pixels in changed.values()) / sum(pixels.size for pixels in changed.values())
    return np.asarray(showing >= _enough(len(changed), shown)[seeing])


def _enough(views: int, part: float) -> np.ndarray:
    """(views + 1,): how many must show a change in a cell that 0, 1, ... views see, where a ``part`` of pixels does."""
    needed = np.full(views + 1, views + 1)
    for seeing in range(views + 1):
        tail = 0.0
        for showing in range(seeing, 0, -1):
            tail += math.comb(seeing, showing) * part**showing * (1 - part) ** (seeing - showing)
            if tail > _CHANCE or showing < max(_VIEWS, _AGREE * seeing):
                break
            needed[seeing] = showing
    return needed


class _Sight:
    """What cameras see of the cells: their rays, and where those end."""

    def __init__(self, ws: Workspace, layout: FieldLayout, table: CameraTable) -> None:
        self._ws, self._layout, self.table = ws, layout, table

    def sees(self, mask: np.ndarray, opacity: np.ndarray) -> None:
        """Look at the cells of ``mask`` (nz, ny, nx) from now on, rays ending by their ``opacity``, (cells,)."""
        runtime = self._ws.runtime
        self.shape = mask.shape
        numbers = occupancy_numbers(mask)
        self._where = runtime.upload(numbers), runtime.upload(opacity.astype(np.float32))

    def cells(self, pixels: np.ndarray) -> np.ndarray:
        """Those that rays of ``pixels`` get to, (nz, ny, nx) bool."""
        return marked_cells(self._ws, self._layout, self.table, pixels, *self._where)

    def meeting(self, pixels: np.ndarray, cells: np.ndarray, chunk: int = 1 << 18) -> np.ndarray:
        """Those of ``pixels`` whose rays get to any of the ``cells``."""
        ws, runtime = self._ws, self._ws.runtime
        nx, ny, nz = self._layout.occupancy
        among, found = runtime.upload(cells.astype(np.int32)), [np.zeros(0, np.int32)]
        for start in range(0, pixels.size, chunk):
            part = pixels[start : start + chunk]
            make_rays(ws, self._layout, self.table, runtime.upload(part), part.size)
            met, where = ws.counts.get(part.size), (*self._where, nx, ny, nz, self._layout.march_step, DEPTH_LIMIT)
            if self._layout.whole:
                outputs = met, ws.distances.get(1), among
                march_through(
                    self._layout, (part.size, ws.rays.array), self._where, DEPTH_LIMIT, 1, march.AMONG, outputs
                )
            else:
                march.meet_cells(part.size, ws.rays.array, *where, among, met)
            found.append(part[runtime.download(met, part.size) > 0])
        return np.concatenate(found)
