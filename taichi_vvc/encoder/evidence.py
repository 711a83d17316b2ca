"""What has changed since it was last fitted, pixel by pixel: the decoded frame before against the frame to come.

A pixel that has always been shown wrongly is no change, and what changes too little to be noticed from one frame to the
next is noticed once it has added up. So the error with which the decoded frame shows the new pictures is compared with
the error that was left when the pixel was last fitted. All of it follows from the file and the capture.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from taichi_vvc.encoder.quality import Shown, counted_pixels
from taichi_vvc.field.grids import Field
from taichi_vvc.field.workspace import Workspace
from taichi_vvc.fit.changes import Change, find_change
from taichi_vvc.types import View

# A pixel has changed where its error has by so many times what it has in the median pixel ...
_NOISE = 20.0
# ... or, where that is next to nothing or where most pixels change, by these parts of the mean squared error.
_LEAST, _MOST = 0.05, 1.0


@dataclass
class Evidence:
    """The errors of the pixels of training views, each as it was when the pixel was last fitted.

    Attributes:
        field: the last frame as it is decoded.
        shown: its training views and what the decoder shows of them.
        errors: per view (height, width, 4) float32, the difference of colours (sRGB in [0, 1]) and opacity.
    """

    field: Field | None = None
    shown: tuple[Shown, ...] = ()
    errors: list[np.ndarray] = dataclasses.field(default_factory=list)

    def observe(self, field: Field, shown: Sequence[Shown], views: Sequence[View], change: Change | None) -> None:
        """Takes note of a frame that was written.

        Args:
            field: as it is decoded.
            shown: its training views and what the decoder shows of them.
            views: all of its views.
            change: what could change in it; None for everything.
        """
        found = [s.error() for s in shown]
        if change is not None:
            fitted = dict(pixels_of(views, change))
            found = [
                np.where(fitted[s.view.camera.name][..., None], new, old)
                for s, new, old in zip(shown, found, self.errors, strict=True)
            ]
        self.field, self.shown, self.errors = field, tuple(shown), found

    def change(self, ws: Workspace, views: Sequence[View], mask: np.ndarray) -> Change | None:
        """Where the next frame may differ from the last one; None for everywhere.

        Args:
            ws: scratch arrays.
            views: of the next frame.
            mask: (nz, ny, nx) bool, where samples may be taken in it.
        """
        if self.field is None or not self.field.mask.any() or not mask.any():
            return None
        changed = self.changed(views)
        return None if changed is None else find_change(ws, self.field, views, *changed, mask)

    def shown_in(self, views: Sequence[View]) -> tuple[Shown, ...]:
        """The next frame's views and what the last frame shows of them; its cameras are the same."""
        by_name = {v.camera.name: v for v in views}
        return tuple(dataclasses.replace(s, view=by_name[s.view.camera.name]) for s in self.shown)

    def changed(self, views: Sequence[View]) -> tuple[dict[str, np.ndarray], float] | None:
        """Which pixels of the next frame's ``views`` have changed.

        Returns:
            Per camera of :attr:`shown` (height, width) float32, the squared error that has come up in those that have,
            0 in the others; and up to which sum such errors do not matter. None where that cannot be told: nothing is
            known yet, or the cameras are others.
        """
        by_name = {v.camera.name: v for v in views}
        now = [by_name.get(s.view.camera.name) for s in self.shown]
        if not now or any(
            v is None or not v.camera.same_as(s.view.camera) for v, s in zip(now, self.shown, strict=True)
        ):
            return None
        found, grown, counted, squares = [], [], [], []
        for s, view, before in zip(self.shown, now, self.errors, strict=True):
            assert view is not None
            there = Shown(view, s.picture, s.background)
            change = there.error() - before
            for known in (counted_pixels(view), counted_pixels(s.view)):
                if known is not None:
                    change[~known] = 0
            found.append((smoothed(change) ** 2).sum(-1))
            grown.append((change * (change + 2 * before)).sum(-1))
            # Where there is nothing and was nothing, no error is left and none is to be expected.
            counts = (s.picture[..., 3] > 0) | (view.image[..., 3] > 0)
            # A drift that all of a picture has in common is no noise.
            drift = np.median(change[counts], 0) if counts.any() else np.zeros(4, np.float32)
            counted.append((smoothed(change - drift) ** 2).sum(-1)[counts])
            squares.append((before[counts] ** 2).sum(-1))
        usual = float(np.concatenate(squares).mean()) if sum(map(len, squares)) else 0.0
        noise = float(np.median(np.concatenate(counted))) if sum(map(len, counted)) else 0.0
        allowed = _LEAST * usual * sum(map(len, squares))
        limit = min(max(_NOISE * noise, _LEAST * usual), _MOST * usual)
        # Noise alone makes errors no larger in the mean.
        if sum(float(more[energy <= limit].sum()) for more, energy in zip(grown, found, strict=True)) > allowed:
            limit = _LEAST * usual
        errors = [np.where(energy > limit, energy, 0) for energy in found]
        names = [s.view.camera.name for s in self.shown]
        return dict(zip(names, errors, strict=True)), allowed


def pixels_of(views: Sequence[View], change: Change) -> Iterator[tuple[str, np.ndarray]]:
    """Of each training view its camera's name and the pixels that the change touches, (height, width) bool."""
    first = 0
    for view in views:
        if view.camera.split == "train":
            height, width = view.image.shape[:2]
            yield view.camera.name, change.among(first, (height, width))
            first += height * width


def smoothed(picture: np.ndarray) -> np.ndarray:
    """(height, width, channels): the mean of three by three pixels, the outermost ones repeated."""
    for axis in (0, 1):
        rows = np.moveaxis(picture, axis, 0)
        padded = np.concatenate([rows[:1], rows, rows[-1:]])
        picture = np.moveaxis((padded[:-2] + padded[1:-1] + padded[2:]) * np.float32(1 / 3), 0, axis)
    return picture
