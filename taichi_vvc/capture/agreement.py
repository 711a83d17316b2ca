"""Finds the masks of a frame that lack a part of the subject, by comparison with the masks of the other cameras.

The strict visual hull keeps a cell only if no mask calls it background. A mask that lacks a part of the subject
therefore deletes that part, and pixels of the other masks are left without a kept cell on their rays: they are
unexplained. Where that happens to many pixels, the method is:

1. Carve a lenient hull, in which a few views may call a cell background.
2. Of the cells that only the lenient hull keeps, take those that explain such pixels in several views.
3. Blame the views that call these cells background, the one with most of them first, until the pixels are explained.
4. Mark the pixels of a blamed view that show such cells as unknown. Unknown pixels carve nothing and no ray is drawn
   there.

Each frame is decided by itself, on reduced masks and a coarse grid of cells. The encoder calls :func:`settled`;
``tvvc inspect`` reports :func:`agreement`.
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
DISPUTED = 0.004  # share of all masks' inner pixels that the strict hull must leave unexplained to doubt any mask
REGAINED = 0.98  # share of what the most lenient hull explains that counts as all of it
SUPPORT = 0.25  # share of the views that see a cell in which it must show up on an unexplained pixel
NAMED = 0.02  # share of the subject's pixels in a view that its mask must lack for the camera to be named
AROUND = 4  # cells by which the regained part grows where only blamed views call the cells background
GROWN = 2  # pixels of a reduced mask by which its unknown region is grown


@dataclass(frozen=True)
class Agreement:
    """How the masks of a frame agree, in the order of the views given.

    Attributes:
        explained: (n,) the share of each mask's inner pixels, within the bounds, whose rays meet a cell of the strict
            hull; NaN for a view without a mask or with an empty one.
        lacking: (n,) of the pixels where a view shows the subject according to the other masks, the share that its own
            mask calls background.
        unknown: per view the pixels (height, width) bool that its mask calls background and the other masks
            contradict; None for none.
    """

    explained: np.ndarray
    lacking: np.ndarray
    unknown: tuple[np.ndarray | None, ...]

    @property
    def named(self) -> list[int]:
        """Indices of the views whose masks lack a share of at least :data:`NAMED`, the worst first."""
        order = np.argsort(-self.lacking, kind="stable")
        return [int(k) for k in order if self.lacking[k] >= NAMED]


@dataclass(frozen=True)
class _Reduced:
    """A mask reduced by ``factor`` (pixels of the picture per pixel here).

    Attributes:
        view: the reduced view; its alpha is 0 where none of the picture's pixels shows the subject.
        inside: (h, w) bool, where all of the picture's pixels show the subject.
        wanted: (h, w) bool, the pixels of ``inside`` that are not explained by a cell yet.
    """

    view: View
    factor: int
    inside: np.ndarray
    wanted: np.ndarray


def agreement(views: Sequence[View], bounds: Bounds) -> Agreement:
    """Compares the masks of one frame's views within the ``bounds``.

    Views without a mask, or with an empty one, take no part.
    """
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
    """The views, with the pixels that the other masks contradict marked as unknown; and the comparison itself."""
    found = agreement(views, bounds)
    marked = zip(views, found.unknown, strict=True)
    return tuple(v if region is None else replace(v, unknown=region) for v, region in marked), found


def _reduced(view: View) -> _Reduced:
    height, width = view.image.shape[:2]
    factor = max(1, -(-max(height, width) // PIXELS))
    rows, columns = -(-height // factor), -(-width // factor)
    # The last row and column may reach beyond the picture: that part carves nothing and needs no explanation.
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
    """The smallest or largest value (``pick``) of each square of ``factor`` x ``factor`` pixels."""
    values = pick.reduce([values[k::factor] for k in range(factor)])
    return pick.reduce([values[:, k::factor] for k in range(factor)])


def _explain(mask: _Reduced, centres: np.ndarray, step: np.ndarray, bounds: Bounds) -> _Reduced:
    """The mask with ``wanted`` set to the inner pixels that the cells do not cover.

    Pixels whose rays miss the bounds are removed from ``inside``.
    """
    wanted = mask.inside & ~coverage(mask.view.camera, centres, step)
    rows, columns = np.nonzero(wanted)
    outside = ~rays_hit(mask.view.camera, np.stack((columns, rows), 1) + 0.5, bounds)
    inside = mask.inside.copy()
    inside[rows[outside], columns[outside]] = False
    return replace(mask, inside=inside, wanted=wanted & inside)


def _contradicted(
    masks: list[_Reduced], bounds: Bounds, shape: tuple[int, int, int], strict: np.ndarray
) -> dict[int, tuple[np.ndarray, float]]:
    """For each mask to blame, by its index: its unknown pixels (h, w) bool, and the share of the subject it lacks.

    ``strict``: (nz, ny, nx) bool, the strict hull.
    """
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
        # Views that call the same cell background share the blame for it.
        share = left / np.maximum(1, left.sum(0))
        blamed.append(int(share.sum(1).argmax()))
        left[blamed[-1]] = False
    # The regained part grows into neighbouring cells that only blamed views call background. These are the edges of
    # the missing part and the cells hidden behind it, which no unexplained pixel shows.
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
    """(n,) in how many views each of the cells at ``centres`` (n, 3) projects to an unexplained pixel."""
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
