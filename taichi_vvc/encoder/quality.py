"""How good a coded frame is: the PSNR of its decoded field against the capture's views."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

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


@dataclass(frozen=True)
class Shown:
    """A training view and what the decoder shows of it.

    Attributes:
        view: the capture's picture.
        picture: (height, width, 4) float32, the colour over the background, sRGB in [0, 1], and the opacity.
        background: sRGB in [0, 1].
    """

    view: View
    picture: np.ndarray
    background: tuple[float, float, float]

    def error(self) -> np.ndarray:
        """(height, width, 4) float32: by how much colour over the background and opacity are too large.

        Without masks the opacity is left out: what shows the background may as well be empty.
        """
        image = self.view.image
        alpha = image[..., 3:] * np.float32(1 / 255) if self.view.has_alpha else self.picture[..., 3:]
        return self.picture - np.concatenate([composite(image, self.background), alpha], 2)

    def psnr(self) -> float:
        """PSNR of the colours but for unknown pixels, dB."""
        return psnr(composite(self.view.image, self.background), self.picture[..., :3], counted_pixels(self.view))


def training_pictures(
    ws: Workspace, field: Field, background: tuple[float, float, float], views: Sequence[View]
) -> tuple[Shown, ...]:
    """Training views as a frame's field and their cameras show them, all of them unless they have very many pixels."""
    return as_shown(ws, field, background, checked_views(views))


def as_shown(
    ws: Workspace, field: Field, background: tuple[float, float, float], views: Sequence[View]
) -> tuple[Shown, ...]:
    """Some views as a frame's field and their cameras show them."""
    found = []
    for view in views:
        image = render(field, view.camera, background, workspace=ws)
        colour = shown(image.colour, image.opacity, background, view.look)
        found.append(Shown(view, np.dstack([colour, image.opacity]), background))
    return tuple(found)


def checked_views(views: Sequence[View]) -> list[View]:
    """The training views that are rendered after each frame: all of them, unless they have very many pixels."""
    training = [v for v in views if v.camera.split == "train"]
    pixels = sum(v.camera.width * v.camera.height for v in training)
    return training[:: max(1, -(-pixels // _CHECKED_PIXELS))]


def mean_psnr(shown: Sequence[Shown]) -> float:
    """Mean PSNR of training views, dB.

    Views without any error, such as of nothing but background, are left out; infinite where no others are.
    """
    found = finite_mean(s.psnr() for s in shown)
    return math.inf if found is None else found


def counted_pixels(view: View) -> np.ndarray | None:
    """The pixels of a view that its PSNR is taken over, (height, width) bool: known ones with rays; None for all."""
    counted = pixels_with_rays(view.camera)
    if view.unknown is not None:
        counted = ~view.unknown if counted is None else counted & ~view.unknown
    return counted


def view_psnrs(
    ws: Workspace, field: Field, background: tuple[float, float, float], views: Sequence[View]
) -> list[float]:
    """PSNR (dB) of each of the views but for its unknown pixels, rendered as its camera shows it and composited on
    ``background`` (sRGB in [0, 1])."""
    found = []
    for view in views:
        image = render(field, view.camera, background, workspace=ws)
        picture = shown(image.colour, image.opacity, background, view.look)
        found.append(psnr(composite(view.image, background), picture, counted_pixels(view)))
    return found
