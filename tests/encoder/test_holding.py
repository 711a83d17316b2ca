"""What a key frame that goes on is fitted to: its pictures, but the frame before where nothing moves."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from captures import ring_cameras

from taichi_vvc.encoder.holding import held
from taichi_vvc.encoder.quality import Shown
from taichi_vvc.types import View

SIDE = 24
BACKGROUND = (1.0, 0.5, 0.0)


def view(grey: int, alpha: int = 255) -> View:
    image = np.full((SIDE, SIDE, 4), grey, np.uint8)
    image[..., 3] = alpha
    # One transparent pixel makes it a picture with masks.
    image[0, 0, 3] = 0 if alpha < 255 else 255
    return View(ring_cameras(1, SIDE)[0], image)


def shown(seen: View, colour: float, opacity: float) -> Shown:
    """A picture of one colour with an opacity, on the background."""
    picture = np.empty((SIDE, SIDE, 4), np.float32)
    picture[..., :3] = colour * opacity + (1 - opacity) * np.asarray(BACKGROUND)
    picture[..., 3] = opacity
    return Shown(seen, picture, BACKGROUND)


def test_still_pixels_are_held_and_others_not() -> None:
    before, now = view(100), view(102)
    now.image[:, SIDE // 2 :, :3] = 200
    (found,) = held([now], [shown(before, 140 / 255, 1.0)])
    assert (found.image[:, : SIDE // 2 - 1, :3] == 140).all()
    assert (found.image[:, SIDE // 2 :] == now.image[:, SIDE // 2 :]).all()
    assert (found.image[..., 3] == 255).all() and found.camera is now.camera


def test_they_have_the_opacity_and_the_colour_of_the_frame_before_without_its_background() -> None:
    before, now = view(100, 200), view(100, 200)
    (found,) = held([now], [shown(before, 60 / 255, 0.6)])
    assert found.image[4:, 4:].reshape(-1, 4)[0].tolist() == pytest.approx([60, 60, 60, 153], abs=1)
    assert (found.image[0, 0] == now.image[0, 0]).all(), "transparent pixels show no subject"


def test_cameras_that_moved_or_are_new_are_fitted_to_their_pictures() -> None:
    before, now = view(100), view(100)
    moved = replace(now, camera=replace(now.camera, fx=1.1 * now.camera.fx))
    assert held([moved], [shown(before, 0.9, 1.0)])[0] is moved
    other = replace(now, camera=replace(now.camera, name="other"))
    assert held([other], [shown(before, 0.9, 1.0)])[0] is other
    assert held([now], [])[0] is now
