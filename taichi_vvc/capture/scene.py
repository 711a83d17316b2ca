"""Whether a capture shows a subject in front of a plain background, or a whole scene; and where samples may begin."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from taichi_vvc.errors import ConfigError
from taichi_vvc.geometry.projection import rays_hit, with_rays
from taichi_vvc.media.pictures import differs, edge_colour
from taichi_vvc.types import Bounds, Camera, View

BOX, WHOLE, AUTO = "box", "whole", "auto"

SHOWN = 0.1
"""Share of the pixels whose rays miss the bounds that may differ from the background of a capture without masks. Above
it, what lies behind the bounds is part of the scene."""

NEAR = 0.3
"""Where samples of a whole scene begin, in distances of the median camera from the centre of the bounds."""

ALLOWED = 0.1
"""Share of the cameras that may stand nearer to the bounds than samples begin."""


FARTHEST = 1e12
"""World units up to which samples may begin."""


@dataclass(frozen=True)
class Scene:
    """What of a capture is coded.

    Attributes:
        kind: ``"box"``: what is inside the bounds, over a plain background. ``"whole"``: what is outside, too.
        near: distance from a camera at which samples begin, world units; 0: at the camera.
        why: the reason for the kind, one clause.
    """

    kind: str = BOX
    near: float = 0.0
    why: str = ""

    @property
    def whole(self) -> bool:
        """Whether what lies outside the bounds is coded."""
        return self.kind == WHOLE


def near_distance(cameras: Sequence[Camera], bounds: Bounds) -> float:
    """A distance at which samples may begin for all cameras, world units: nearer there is only what one camera sees."""
    lower, upper = np.asarray(bounds.lower), np.asarray(bounds.upper)
    places = np.stack([camera.position for camera in cameras])
    away = float(np.median(np.linalg.norm(places - 0.5 * (lower + upper), axis=1)))
    gaps = np.linalg.norm(np.maximum(np.maximum(lower - places, places - upper), 0.0), axis=1)
    # Where more cameras stand inside than may be passed over, the bounds say nothing of what is near.
    inside = float(np.mean(gaps == 0.0)) > ALLOWED
    return NEAR * away if inside else min(NEAR * away, float(np.quantile(gaps, ALLOWED)))


def scene_of(asked: str, near: float | None, bounds: Bounds, views: Sequence[View]) -> Scene:
    """What of a capture is to be coded.

    Args:
        asked: ``"box"``: what is inside the bounds, over a plain background. ``"whole"``: what is outside, too.
            ``"auto"``: whole where there are no masks and the pictures are not plain beside the bounds, or cameras
            stand inside them.
        near: distance at which samples begin, world units; None: found for a whole scene, 0 for a box.
        bounds: the box.
        views: the training views of one frame.

    Raises:
        ConfigError: there is no such kind, ``near`` is out of range, or a whole scene is asked for and there are masks.
    """
    if asked not in (AUTO, BOX, WHOLE):
        raise ConfigError(f"expected scene {AUTO}, {BOX} or {WHOLE}, found {asked!r:.60}")
    if near is not None and not 0.0 <= near < FARTHEST:
        raise ConfigError(f"expected a near distance of 0 or more world units, found {near}")
    if not views:
        return Scene()
    masks = any(view.has_alpha for view in views)
    if asked == WHOLE and masks:
        raise ConfigError(
            "expected pictures without masks for a whole scene, found some with: use --scene box, or leave masks out"
        )
    kind, why = (asked, "as asked") if asked != AUTO else _guess(bounds, views)
    if near is None:
        near = near_distance([view.camera for view in views], bounds) if kind == WHOLE else 0.0
    return Scene(kind, near, why)


def _guess(bounds: Bounds, views: Sequence[View]) -> tuple[str, str]:
    if any(view.has_alpha for view in views):
        return BOX, "there are masks"
    inside = [v.camera.name for v in views if bounds.contains(v.camera.position)]
    if inside:
        return WHOLE, f"{len(inside)} of {len(views)} cameras stand inside the bounds, and there are no masks"
    pixels = shown = 0
    for view in views:
        rows, columns = np.nonzero(with_rays(view.camera, np.ones(view.image.shape[:2], bool)))
        missing = ~rays_hit(view.camera, np.stack((columns + 0.5, rows + 0.5), axis=-1), bounds)
        # Its own: exposures differ.
        background = [c / 255 for c in edge_colour([view])]
        pixels += int(missing.sum())
        shown += int(differs(view.image, background)[rows[missing], columns[missing]].sum())
    share = shown / max(1, pixels)
    if share > SHOWN:
        return WHOLE, f"{100 * share:.0f} % of the pixels beside the bounds are not plain, and there are no masks"
    return BOX, "the pictures are plain beside the bounds"
