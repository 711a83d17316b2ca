"""Key frames that are held to the frame before, where the capture stands still.

A key frame is fitted anew, though from the frame before it. Its errors are others then, and where nothing moves people
see the picture change with every group. So still pixels are fitted mostly to what the frame before shows of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from taichi_vvc.encoder.quality import Shown
from taichi_vvc.media.pictures import nearest_bytes
from taichi_vvc.media.stillness import still_pixels
from taichi_vvc.types import View

# The part of what the frame before shows, in the colour that a still pixel is fitted to.
_HELD = 0.9


def held(views: Sequence[View], before: Sequence[Shown]) -> tuple[View, ...]:
    """The views of a key frame, with still pixels mixed with what the frame ``before`` shows of them.

    Views of cameras that have moved, or that are not among ``before``, stay as they are.
    """
    by_name = {s.view.camera.name: s for s in before}
    found = []
    for view in views:
        s = by_name.get(view.camera.name)
        if s is None or not s.view.camera.same_as(view.camera):
            found.append(view)
            continue
        still, _ = still_pixels(s.view.image, view.image, s.background)
        found.append(replace(view, image=np.where(still[..., None], _mixed(view, s), view.image)))
    return tuple(found)


def _mixed(view: View, before: Shown) -> np.ndarray:
    """(height, width, 4) uint8, straight alpha: a view mixed with what the frame before shows."""
    image = view.image.astype(np.float32) * np.float32(1 / 255)
    colour, alpha = image[..., :3], image[..., 3:]
    shown, opacity = before.picture[..., :3], before.picture[..., 3:]
    if not view.has_alpha:
        return nearest_bytes(255 * np.concatenate([colour + _HELD * (shown - colour), alpha], 2))
    # Mixed as they are put on a background: times the opacity, and without what is seen of the background.
    own = shown - (1 - opacity) * np.asarray(before.background, np.float32)
    both = alpha + _HELD * (opacity - alpha)
    colour = colour * alpha + _HELD * (own - colour * alpha)
    return nearest_bytes(255 * np.concatenate([colour / np.maximum(both, 1 / 255), both], 2))
