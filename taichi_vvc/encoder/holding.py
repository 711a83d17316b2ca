"""Key frames that are held to the frame before, where the capture stands still.

A key frame is fitted anew, though from the frame before it. Its errors are others then, and where nothing moves people
see the picture change with every group. So still pixels are fitted to what the frame before shows of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from taichi_vvc.encoder.quality import Shown
from taichi_vvc.media.pictures import nearest_bytes
from taichi_vvc.media.stillness import still_pixels
from taichi_vvc.types import View


def held(views: Sequence[View], before: Sequence[Shown]) -> tuple[View, ...]:
    """The views of a key frame, whose still pixels show what the frame ``before`` shows of them.

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
        found.append(replace(view, image=np.where(still[..., None], _pixels(view, s), view.image)))
    return tuple(found)


def _pixels(view: View, before: Shown) -> np.ndarray:
    """(height, width, 4) uint8, straight alpha: what the frame before shows of a view; opaque without masks."""
    shown, opacity = before.picture[..., :3], before.picture[..., 3:]
    if not view.has_alpha:
        return nearest_bytes(255 * np.concatenate([shown, np.ones_like(opacity)], 2))
    # Without what is seen of the background.
    own = shown - (1 - opacity) * np.asarray(before.background, np.float32)
    return nearest_bytes(255 * np.concatenate([own / np.maximum(opacity, 1 / 255), opacity], 2))
