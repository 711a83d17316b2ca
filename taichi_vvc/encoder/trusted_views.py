"""A frame's views as far as their masks can be trusted, and whether they show anything."""

from __future__ import annotations

import warnings
from dataclasses import replace

import numpy as np

from taichi_vvc.capture.agreement import Agreement, settled
from taichi_vvc.capture.sequence import MultiViewSequence
from taichi_vvc.errors import DataError, MaskIgnored, MasksDisagree
from taichi_vvc.fit.occupancy import first_mask
from taichi_vvc.geometry.projection import seen_subject
from taichi_vvc.types import FieldLayout, FrameViews, View

# The part of the other masks' hull that an empty mask must leave to be trusted.
_LEFT = 0.125
# The share of each mask that the others must explain for nothing to be said.
_EXPLAINED = 0.95
# So many cameras are named in one line.
_NAMED = 6
# Stands for all cameras among the names of those that were told of.
_EVERYBODY = ""


def trusted_views(layout: FieldLayout, views: tuple[View, ...]) -> tuple[View, ...]:
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


def views_of(
    sequence: MultiViewSequence,
    layout: FieldLayout,
    number: int,
    told: set[str] | None = None,
    read: FrameViews | None = None,
) -> FrameViews:
    """The views of frame ``number`` that can be trusted, and their unknown pixels.

    ``read``: all views of that frame, where they have been read.

    With ``told``, the names of cameras that were named before, warnings name the others: :class:`MaskIgnored` those
    that are left out, :class:`MasksDisagree` those whose masks others contradict. Nothing but this depends on it.
    """
    views = sequence.frame(number) if read is None else read
    trusted = trusted_views(layout, views.views)
    training = [v for v in trusted if v.camera.split == "train"]
    marked, found = settled(training, layout.bounds)
    if told is not None:
        if len(trusted) < len(views.views):
            names = sorted({v.camera.name for v in views.views} - {v.camera.name for v in trusted})
            message = f"the mask of {', '.join(names)} is empty, those of the other cameras are not: left out"
            warnings.warn(f"frame {views.index}: {message}", MaskIgnored, stacklevel=2)
        if message := _disagreement(training, found, told):
            warnings.warn(f"frame {views.index}: {message}", MasksDisagree, stacklevel=2)
    known = iter(marked)
    return replace(views, views=tuple(next(known) if v.camera.split == "train" else v for v in trusted))


def _disagreement(views: list[View], found: Agreement, told: set[str]) -> str:
    """What is to be said of the masks of ``views`` that was not yet; nothing where they agree."""
    new = [k for k in found.named if views[k].camera.name not in told]
    told.update(views[k].camera.name for k in new)
    if new:
        shown = ", ".join(f"{views[k].camera.name} {100 * found.lacking[k]:.0f} %" for k in new[:_NAMED])
        more = f" and {len(new) - _NAMED} more" if len(new) > _NAMED else ""
        return (
            f"masks lack what those of the other cameras show of the subject ({shown}{more}): there these cameras are"
            " left out of the fit; check their masks"
        )
    # Of few cameras nobody can tell which one is wrong.
    if found.named or _EVERYBODY in told or not np.nanmin(found.explained, initial=1.0) < _EXPLAINED:
        return ""
    told.add(_EVERYBODY)
    worst = int(np.nanargmin(found.explained))
    share = 100 * (1 - found.explained[worst])
    return (
        f"the masks disagree: {share:.0f} % of what that of {views[worst].camera.name} shows is background to other"
        " cameras and is not coded; check masks and calibration"
    )


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
