"""How steady pictures are: by how much they change where the capture stands still.

A picture may be as near to the capture in every frame and still flicker, which PSNR does not tell: errors that change
from frame to frame are seen, those that stay are not. Key frames are told apart, since a group that begins with other
errors than the last one ended with looks like pumping.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from taichi_vvc.geometry.projection import pixels_with_rays
from taichi_vvc.media.pictures import to_bytes
from taichi_vvc.media.stillness import still_pixels
from taichi_vvc.types import View


@dataclass(frozen=True)
class StillChange:
    """By how much still pixels change from the frame before, summed over pixels, in grey levels of 255.

    Attributes:
        shown: of the decoded pictures, mean over the channels.
        capture: of the capture's.
        pixels: their number.
    """

    shown: float = 0.0
    capture: float = 0.0
    pixels: int = 0

    def __add__(self, other: StillChange) -> StillChange:
        return StillChange(self.shown + other.shown, self.capture + other.capture, self.pixels + other.pixels)

    def values(self) -> dict[str, float | None]:
        """``flicker`` and ``flicker_capture``, the means per pixel; None where no pixel stands still."""
        if not self.pixels:
            return {"flicker": None, "flicker_capture": None}
        return {"flicker": self.shown / self.pixels, "flicker_capture": self.capture / self.pixels}


class Flicker:
    """Compares each picture with that of the same camera in the frame before."""

    def __init__(self, background: Sequence[float]) -> None:
        """``background``: what pictures are composited on, sRGB in [0, 1]."""
        self._background = tuple(background)
        self._before: dict[str, tuple[View, np.ndarray]] = {}

    def observe(self, view: View, picture: np.ndarray) -> StillChange:
        """The change of the still pixels of a camera.

        Still pixels are those of :func:`taichi_vvc.media.stillness.still_pixels` which the lens has a ray for. Cameras
        that move have none.

        Args:
            view: the capture's picture.
            picture: (height, width, 3), what the file shows, sRGB in [0, 1].
        """
        name, shown = view.camera.name, to_bytes(picture)
        before = self._before.get(name)
        self._before[name] = view, shown
        if before is None or not before[0].camera.same_as(view.camera):
            return StillChange()
        still, own = still_pixels(before[0].image, view.image, self._background)
        rays = pixels_with_rays(view.camera)
        if rays is not None:
            still &= rays
        theirs = np.abs(shown.astype(np.float32) - before[1].astype(np.float32)).mean(2)
        return StillChange(float(theirs[still].sum()), float(own[still].sum()), int(still.sum()))
