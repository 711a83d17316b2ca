"""How far the masks of a frame agree, and which of their pixels the other cameras contradict.

A strict hull lets each camera delete what its mask lacks. Where much of the other masks is then left without anything
behind it, some masks are wrong, and the question is which. The hull is then carved again with some dissent allowed;
of what it has more, only cells count that explain what several masks show and the strict hull does not. The views that
speak against such cells are blamed, the one with the most first, until the masks are explained. What a blamed mask
calls background there is unknown: it carves nothing, and nothing is fitted to it.

All this is decided frame by frame, on reduced masks and few cells.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from taichi_vvc.capture.hull import allowed_dissent, coverage, dissents, vote
from taichi_vvc.geometry.projection import dilate, project, rays_hit, with_rays
from taichi_vvc.media.metrics import grown
from taichi_vvc.types import Bounds, View

CELLS = 48  # along the longest side of the bounds
PIXELS = 192  # masks are reduced to about that many along their longer side
SHOWN = 128  # alpha (8 bits) from which a pixel shows the subject
DISPUTED = 0.004  # share of all masks' insides that a hull must leave unexplained before any mask is doubted
REGAINED = 0.98  # part of what the most lenient hull explains again that is enough
SUPPORT = 0.25  # part of the views of a cell whose masks must want it
NAMED = 0.02  # share of its part of the subject that a mask must lack for its camera to be named
AROUND = 4  # cells around needed ones that belong to them where nobody else disputes them
GROWN = 2  # pixels of reduced masks that unknown regions are grown by


@dataclass(frozen=True)
class Agreement:
    """What the masks of a frame say of each other, in the order of the views given.

    Attributes:
        explained: (n,) the share of each mask, without its edge and within the bounds, behind which the hull of all has
            something; NaN where there is no mask or it is empty.
        lacking: (n,) the share of what a view should show of the subject, by the masks of the others, that its mask
            lacks.
        unknown: per view the pixels (height, width) bool that its mask calls background and others contradict, or None.
    """

    explained: np.ndarray
    lacking: np.ndarray
    unknown: tuple[np.ndarray | None, ...]

    @property
    def named(self) -> list[int]:
        """The views whose masks lack enough to be named, the worst first."""
        order = np.argsort(-self.lacking, kind="stable")
        return [int(k) for k in order if self.lacking[k] >= NAMED]


@dataclass(frozen=True)
class _Reduced:
    """A reduced mask. ``view``: transparent where no pixel shows anything; ``inside``: where all pixels do; ``wanted``:
    the inside that is not explained yet. (h, w) bool each."""

    view: View
    factor: int
    inside: np.ndarray
    wanted: np.ndarray


def agreement(views: Sequence[View], bounds: Bounds) -> Agreement:
    """Compares the masks of some views of one frame. Views without masks, or with empty ones, take no part."""
    chosen = [k for k, v in enumerate(views) if v.has_alpha and v.image[..., 3].any()]
    explained, lacking = np.full(len(views), np.nan), np.zeros(len(views))
    unknown: list[np.ndarray | None] = [None] * len(views)
    if len(chosen) > 1:
        cells = np.maximum(1, np.ceil(CELLS * bounds.size / bounds.largest_side - 1e-6)).astype(int)
        step = bounds.size / cells
        shape = int(cells[0]), int(cells[1]), int(cells[2])
        masks = [_reduced(views[k]) for k in chosen]
        kept = vote([m.view for m in masks], bounds, shape).kept
        centres = _centres(bounds, step, _surface(kept))
        masks = [_explain(m, centres, step, bounds) for m in masks]
        explained[chosen] = [1.0 - m.wanted.sum() / max(1, m.inside.sum()) for m in masks]
        for place, (region, share) in _contradicted(masks, bounds, shape, kept).items():
            view, mask = views[chosen[place]], masks[place]
            height, width = view.image.shape[:2]
            full = region.repeat(mask.factor, 0).repeat(mask.factor, 1)[:height, :width] & (view.image[..., 3] < SHOWN)
            unknown[chosen[place]] = full
            lacking[chosen[place]] = share
    return Agreement(explained, lacking, tuple(unknown))


def settled(views: Sequence[View], bounds: Bounds) -> tuple[tuple[View, ...], Agreement]:
    """The views with the pixels that the masks of the others contradict marked as unknown."""
    found = agreement(views, bounds)
    marked = zip(views, found.unknown, strict=True)
    return tuple(v if region is None else replace(v, unknown=region) for v, region in marked), found


def _reduced(view: View) -> _Reduced:
    height, width = view.image.shape[:2]
    factor = max(1, -(-max(height, width) // PIXELS))
    rows, columns = -(-height // factor), -(-width // factor)
    # What the last row and column have beyond the picture carves nothing and wants nothing.
    alpha = np.zeros((rows * factor, columns * factor), np.uint8)
    alpha[:height, :width] = np.where(with_rays(view.camera, np.ones((height, width), bool)), view.image[..., 3], 0)
    inside = _pooled(np.minimum, alpha, factor) >= SHOWN
    alpha[height:] = alpha[:, width:] = 255
    image = np.zeros((rows, columns, 4), np.uint8)
    image[..., 3] = (_pooled(np.maximum, alpha, factor) > 0) * np.uint8(255)
    camera = view.camera
    scaled = {key: getattr(camera, key) / factor for key in ("fx", "fy", "cx", "cy")}
    small = View(replace(camera, width=columns, height=rows, **scaled), image)
    return _Reduced(small, factor, inside, inside)


def _pooled(pick: np.ufunc, values: np.ndarray, factor: int) -> np.ndarray:
    """Squares of ``factor`` pixels as one: the smallest or largest value of each."""
    values = pick.reduce([values[k::factor] for k in range(factor)])
    return pick.reduce([values[:, k::factor] for k in range(factor)])


def _explain(mask: _Reduced, centres: np.ndarray, step: np.ndarray, bounds: Bounds) -> _Reduced:
    """The mask with only what cells do not explain as ``wanted``; what lies outside the bounds is no longer inside."""
    wanted = mask.inside & ~coverage(mask.view.camera, centres, step)
    rows, columns = np.nonzero(wanted)
    outside = ~rays_hit(mask.view.camera, np.stack((columns, rows), 1) + 0.5, bounds)
    inside = mask.inside.copy()
    inside[rows[outside], columns[outside]] = False
    return replace(mask, inside=inside, wanted=wanted & inside)


def _contradicted(
    masks: list[_Reduced], bounds: Bounds, shape: tuple[int, int, int], strict: np.ndarray
) -> dict[int, tuple[np.ndarray, float]]:
    """Of the masks to blame, which of their pixels are unknown, (h, w) bool, and the share of the subject they lack."""
    most = int(allowed_dissent(len(masks), len(masks)))
    enough = DISPUTED * sum(int(m.inside.sum()) for m in masks)
    if not most or sum(int(m.wanted.sum()) for m in masks) <= enough:
        return {}
    lenient = vote([m.view for m in masks], bounds, shape, allowed=most)
    step = bounds.size / np.array(shape)
    more = lenient.kept & ~strict
    against, seen, centres = lenient.against[more], lenient.seen[more], _centres(bounds, step, more)
    supported = _supporters(masks, centres) >= np.maximum(2, SUPPORT * seen)

    def regained(cells: np.ndarray) -> int:
        return sum(int((m.wanted & coverage(m.view.camera, centres[cells], step)).sum()) for m in masks)

    whole = regained(supported)
    if whole <= enough:
        return {}
    allowed, enough_allowed = 1, most
    while allowed < enough_allowed:
        middle = (allowed + enough_allowed) // 2
        if regained(supported & (against <= allowed_dissent(seen, middle))) >= REGAINED * whole:
            enough_allowed = middle
        else:
            allowed = middle + 1
    needed = supported & (against <= allowed_dissent(seen, allowed))
    disputes = np.stack([dissents(m.view, centres, step) for m in masks])
    left, blamed = disputes & needed, []
    while regained(needed & ~left.any(0)) < REGAINED * REGAINED * whole:
        # Who disputes a cell with many others is to blame for less of it.
        share = left / np.maximum(1, left.sum(0))
        blamed.append(int(share.sum(1).argmax()))
        left[blamed[-1]] = False
    # What only these dispute around what is needed belongs to it: the edges of what they lack, and what hides behind.
    free = np.zeros(shape[::-1], bool)
    free[more] = ~np.delete(disputes, blamed, 0).any(0)
    around = np.zeros(shape[::-1], bool)
    around[more] = needed
    for _ in range(AROUND):
        around = free & dilate(around)
    found = {}
    for number in blamed:
        camera, shown = masks[number].view.camera, masks[number].view.image[..., 3] > 0
        lacks, region = (coverage(camera, centres[c & disputes[number]], step) & ~shown for c in (needed, around[more]))
        if region.any():
            found[number] = grown(region, GROWN) & ~shown, float(lacks.sum() / (lacks.sum() + shown.sum()))
    return found


def _supporters(masks: list[_Reduced], centres: np.ndarray) -> np.ndarray:
    """(n,) in how many views the cells at ``centres`` (n, 3) lie where a mask wants something."""
    count = np.zeros(len(centres), int)
    for mask in masks:
        pixels, _ = project(mask.view.camera, centres)
        height, width = mask.inside.shape
        x, y = np.floor(np.nan_to_num(pixels, nan=-1.0, posinf=-1.0, neginf=-1.0)).astype(int).T
        seen = (x >= 0) & (x < width) & (y >= 0) & (y < height)
        count[seen] += grown(mask.wanted, 1)[y[seen], x[seen]]
    return count


def _surface(kept: np.ndarray) -> np.ndarray:
    """The cells with a neighbour, across a face, that is not kept: a solid and its surface cover the same pixels."""
    padded = np.pad(kept, 1)
    inner = padded[1:-1, 1:-1, 1:-1].copy()
    for axis in range(3):
        for end in (slice(None, -2), slice(2, None)):
            place = [slice(1, -1)] * 3
            place[axis] = end
            inner &= padded[tuple(place)]
    return kept & ~inner


def _centres(bounds: Bounds, step: np.ndarray, cells: np.ndarray) -> np.ndarray:
    """(n, 3) the centres of the ``cells`` (nz, ny, nx) bool, world units."""
    return np.asarray(bounds.lower) + (np.argwhere(cells)[:, ::-1] + 0.5) * step
