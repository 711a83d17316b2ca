"""Whether the detail that pictures lose where they are reduced is worth fitting."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import numpy as np

from taichi_vvc.capture.sequence import MultiViewSequence
from taichi_vvc.config import EncoderConfig
from taichi_vvc.field.grids import detail_focal
from taichi_vvc.types import DETAIL, View

# The mean square, sRGB in [0, 1], by which pixels differ from the detail that they are reduced from, in captures whose
# detail pays. Soft pictures have a third of it inside a subject, and what is left there is noise.
_SHARP = 1.5e-3


def settle_detail(config: EncoderConfig, sequence: MultiViewSequence) -> tuple[EncoderConfig, MultiViewSequence]:
    """``config`` with "on" or "off" for its ``detail``, and the capture with or without the detail of its pictures.

    "auto" is on where pictures are reduced, a subject is coded and not a whole scene, whose grids are too coarse for
    more, and the subject is sharp in the first frame.
    """
    if config.detail != "off" and sequence.downscale > 1:
        detailed, use = replace(sequence, detailed=True), config.detail == "on"
        if not use and not sequence.scene.whole:
            use = sharpness(detailed.frame(0, "train").views) > _SHARP
        if use:
            return replace(config, detail="on"), detailed
    return replace(config, detail="off"), sequence


def fitted_focal(config: EncoderConfig, sequence: MultiViewSequence) -> float:
    """:attr:`taichi_vvc.field.grids.Field.focal` of what is fitted, the ``detail`` of ``config`` being settled."""
    return detail_focal(sequence.cameras) if config.detail == "on" else 0.0


def sharpness(views: Iterable[View]) -> float:
    """The mean square by which opaque pixels differ from the detail that they are reduced from, sRGB in [0, 1].

    Outlines are left out: those of masks are as sharp in soft pictures. 0 where no pixel is opaque.
    """
    squares, pixels = 0.0, 0
    for view in views:
        if view.detail is None:
            continue
        height, width = view.image.shape[:2]
        parts = view.detail.reshape(height, DETAIL, width, DETAIL, 4).swapaxes(1, 2).reshape(height, width, -1, 4)
        inside = parts[(parts[..., 3] == 255).all(-1)][..., :3].astype(np.float32) / 255
        squares += float(((inside - inside.mean(1, keepdims=True)) ** 2).mean((1, 2)).sum())
        pixels += len(inside)
    return squares / max(1, pixels)
