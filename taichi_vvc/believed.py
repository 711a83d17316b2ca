"""A frame's views as far as their masks can be believed, and whether they show anything."""

from __future__ import annotations

import warnings
from dataclasses import replace

from .errors import DataError, MaskIgnored
from .geometry import seen_subject
from .occupancy import first_mask
from .sequence import MultiViewSequence
from .types import FieldLayout, FrameViews, View

# The part of the other masks' hull that an empty mask must leave to be believed.
_LEFT = 0.125


def believed_views(layout: FieldLayout, views: tuple[View, ...]) -> tuple[View, ...]:
    """A frame's views without training views whose mask must be missing.

    Those are the empty masks of cameras that would leave next to nothing of what all other masks have in common. (A
    camera that looks past the subject takes little of it.)
    """
    training = [v for v in views if v.camera.split == "train" and v.has_alpha]
    blank = {v.camera.name for v in training if not seen_subject(v).any()}
    if not blank or len(blank) == len(training):
        return views
    rest = tuple(v for v in views if v.camera.name not in blank)
    left, common = (int(first_mask(layout, some, None).sum()) for some in (views, rest))
    return rest if left < _LEFT * common else views


def views_of(sequence: MultiViewSequence, layout: FieldLayout, number: int, say: bool = False) -> FrameViews:
    """The views of frame ``number`` that can be believed; with ``say``, a :class:`MaskIgnored` names the others."""
    views = sequence.frame(number)
    believed = believed_views(layout, views.views)
    if len(believed) < len(views.views) and say:
        names = sorted({v.camera.name for v in views.views} - {v.camera.name for v in believed})
        message = f"the mask of {', '.join(names)} is empty, those of the other cameras are not: left out"
        warnings.warn(f"frame {views.index}: {message}", MaskIgnored, stacklevel=2)
    return replace(views, views=believed)


def check_start(layout: FieldLayout, views: FrameViews) -> None:
    """Check that a file can start with a frame.

    Raises:
        DataError: its masks leave nothing within the bounds.
    """
    if _shows_nothing(views) or not first_mask(layout, views.views, None).any():
        raise no_start(views)


def no_start(views: FrameViews) -> DataError:
    """What is said of a frame that leaves nothing to start a file with."""
    found = "empty masks" if _shows_nothing(views) else "masks that have no place in common"
    return DataError(
        f"frame {views.index}: expected something inside the bounds, found {found}; check masks, cameras and bounds, "
        "or start at a later frame"
    )


def _shows_nothing(views: FrameViews) -> bool:
    return not any(seen_subject(v).any() for v in views.views if v.camera.split == "train")
