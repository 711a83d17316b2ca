"""How good a coded frame is: the PSNR of its decoded field against the capture's views."""

from __future__ import annotations

import math
from collections.abc import Sequence

from taichi_vvc.field.grids import Field
from taichi_vvc.field.render import render
from taichi_vvc.field.workspace import Workspace
from taichi_vvc.geometry.projection import pixels_with_rays
from taichi_vvc.media.colour_maps import shown
from taichi_vvc.media.metrics import finite_mean, psnr
from taichi_vvc.media.pictures import composite
from taichi_vvc.types import View

# Pixels of training views that are rendered after each frame to know its PSNR.
_CHECKED_PIXELS = 4_000_000


def judged_psnr(ws: Workspace, field: Field, background: tuple[float, float, float], views: Sequence[View]) -> float:
    """Mean PSNR of a frame as ``tvvc eval`` measures it: over held-out views if there are any, else over all; dB.

    Pictures that agree exactly are left out; NaN if all do.
    """
    held_out = [v for v in views if v.camera.split == "test"]
    found = finite_mean(view_psnrs(ws, field, background, held_out or views))
    return math.nan if found is None else found


def training_psnr(ws: Workspace, field: Field, background: tuple[float, float, float], views: Sequence[View]) -> float:
    """Mean PSNR of a frame over training views, all of them unless they have very many pixels, dB.

    Views without any error, such as of nothing but background, are left out; infinite where no others are.
    """
    training = [v for v in views if v.camera.split == "train"]
    pixels = sum(v.camera.width * v.camera.height for v in training)
    found = finite_mean(view_psnrs(ws, field, background, training[:: max(1, -(-pixels // _CHECKED_PIXELS))]))
    return math.inf if found is None else found


def view_psnrs(
    ws: Workspace, field: Field, background: tuple[float, float, float], views: Sequence[View]
) -> list[float]:
    """PSNR (dB) of each of the views but for its unknown pixels, rendered as its camera shows it and composited on
    ``background`` (sRGB in [0, 1])."""
    found = []
    for view in views:
        image = render(field, view.camera, background, workspace=ws)
        picture = shown(image.colour, image.opacity, background, view.look)
        counted = pixels_with_rays(view.camera)
        if view.unknown is not None:
            counted = ~view.unknown if counted is None else counted & ~view.unknown
        found.append(psnr(composite(view.image, background), picture, counted))
    return found
