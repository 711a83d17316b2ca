"""Colours of cameras: pictures as a camera shows them, and a camera's pictures in the colours of the scene."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from taichi_vvc.media.pictures import nearest_bytes
from taichi_vvc.types import ColourMap, View

# A value at an end of the scale says nothing of the scene where the scene's colour may lie so far beyond, 8-bit.
_LOST = 4.0


def looks_of(names: Sequence[str], colours: Sequence[ColourMap]) -> dict[str, ColourMap]:
    """The maps that change something, by the names of their cameras. ``colours``: one per name, or none at all."""
    return {name: look for name, look in zip(names, colours, strict=True) if not look.identity} if colours else {}


def with_looks(views: Sequence[View], looks: dict[str, ColourMap]) -> tuple[View, ...]:
    """The views with the maps of their cameras; pictures stay what they are."""
    return tuple(replace(v, look=looks[v.camera.name]) if v.camera.name in looks else v for v in views)


def shown(colour: np.ndarray, opacity: np.ndarray, background: Sequence[float], look: ColourMap | None) -> np.ndarray:
    """A rendered picture as a camera shows it.

    Args:
        colour: (H, W, 3) float, sRGB in [0, 1], rendered on the background.
        opacity: (H, W) float in [0, 1].
        background: 3 values in [0, 1].
        look: how the camera shows colours; None: as they are.

    Returns:
        (H, W, 3) float32 in [0, 1].
    """
    if look is None:
        return colour
    gain, offset = np.asarray(look.gain, np.float32), np.asarray(look.offset, np.float32)
    if look.backdrop:
        return np.asarray(np.clip(colour * gain + offset, 0.0, 1.0), np.float32)
    through = (1.0 - opacity)[..., None] * np.asarray(background, np.float32)
    own = (colour - through) * gain + opacity[..., None] * offset
    return np.asarray(np.clip(own + through, 0.0, 1.0), np.float32)


def corrected(view: View) -> View:
    """A view whose picture has the colours of the scene, in place of those that the camera shows.

    Pixels with a channel at an end of the scale are unknown where the scene's colour may lie beyond what is left of it.
    """
    if view.look is None:
        return view
    gain, offset = (np.asarray(part, np.float32) for part in (view.look.gain, view.look.offset))
    rgb = view.image[..., :3].astype(np.float32)
    scene = (rgb - 255.0 * offset) / gain
    lost = ((rgb >= 254.0) & (scene < 255.0 - _LOST)) | ((rgb <= 1.0) & (scene > _LOST))
    image = np.concatenate((nearest_bytes(scene), view.image[..., 3:]), axis=-1)
    unknown = lost.any(axis=-1) & (view.image[..., 3] > 0)
    if not unknown.any():
        return replace(view, image=image, look=None)
    return replace(view, image=image, unknown=unknown if view.unknown is None else unknown | view.unknown, look=None)
