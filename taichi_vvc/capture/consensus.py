"""Cleans the masks of one frame by what the other views say: a visual hull in which views may be overruled.

For each view, the hull of all *other* training views is carved, in which of six views that see a cell one may call it
background, of twelve two, and so on (:func:`taichi_vvc.capture.hull.allowed_dissent`). What a view shows outside of
that hull is a speck that it alone has, and is removed. Where a view is unsure, or its mask has a hole, and the others
show the subject there, the subject is filled in.

All is decided on reduced masks and a coarse grid of cells.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from taichi_vvc.capture.foreground import BACKGROUND, SUBJECT, UNSURE, opencv, speck, without_specks
from taichi_vvc.capture.hull import BLOCK, allowed_dissent, ballots, coverage, silhouette_table
from taichi_vvc.geometry.projection import inside_image, project, rays_hit
from taichi_vvc.media.pictures import grown
from taichi_vvc.types import Bounds, Camera, View

CELLS = 72  # along the longest side of the bounds
PIXELS = 288  # masks are reduced to about that many along their longer side
WITNESSES = 2  # other views that must see all of a cell to say anything about it
KEEP = 0.25  # share of the other views that see a cell in which the subject must show, to keep what a view shows of it
CLAIM = 0.5  # the same, to fill in what a view is unsure about
SHADE = 0.3  # by how much the share of views that are unsure may exceed it at another place on the ray: a shadow there
CLAIMANTS = 3  # views that must show it at the least for that; a third of all must see the place
WHOLE = 0.8  # the same among the views that are sure; and of all, to fill a hole where a view sees the background
CONSISTENT = 0.6  # share of all masks' pixels that the hull must explain; below, the views are not believed
ROUNDS = 1


@dataclass(frozen=True)
class Consensus:
    """The cleaned masks of a frame.

    Attributes:
        masks: (height, width) bool of each camera.
        explained: the share of the subject's pixels in all training views that the other views explain; NaN if there
            are none.
        agreed: whether that was enough to clean the masks; if not, they are the ones of each camera alone, as they are
            where fewer than three training views can be asked.
    """

    masks: tuple[np.ndarray, ...]
    explained: float
    agreed: bool


@dataclass(frozen=True)
class _Small:
    """The labels of one camera, reduced: (h, w) uint8 each, and the camera that belongs to them."""

    camera: Camera
    labels: np.ndarray


def consensus(cameras: Sequence[Camera], labels: Sequence[np.ndarray], bounds: Bounds) -> Consensus:
    """The masks of one frame.

    Args:
        cameras: all cameras. Held-out ones are cleaned by the others and have no say themselves.
        labels: of each camera, (height, width) uint8 as :func:`taichi_vvc.capture.foreground.changed` returns them.
        bounds: the box in which the subject is, world units.
    """
    alone = tuple(label == SUBJECT for label in labels)
    voters = [k for k, camera in enumerate(cameras) if camera.split == "train"]
    small = first = [_reduced(camera, label) for camera, label in zip(cameras, labels, strict=True)]
    total = sum(int((small[k].labels == SUBJECT).sum()) for k in voters)
    if len(voters) < 3 or not total:
        return Consensus(alone, float("nan"), True)
    explained = 1.0
    for number in range(ROUNDS):
        kept, claimed = _opinions(small, first, voters, bounds)
        if not number:
            left = sum(int(((small[k].labels == SUBJECT) & kept[k]).sum()) for k in voters)
            explained = left / total
            if explained < CONSISTENT:
                return Consensus(alone, explained, False)
        small = [_settled(one, keep, claim) for one, keep, claim in zip(first, kept, claimed, strict=True)]
    masks = [_at_full_size(*parts) for parts in zip(labels, kept, claimed, strict=True)]
    return Consensus(tuple(masks), explained, True)


def _reduced(camera: Camera, labels: np.ndarray) -> _Small:
    """Labels reduced to about :data:`PIXELS`: the subject where most of a pixel is, else unsure where any is not
    background."""
    cv2 = opencv()
    height, width = labels.shape
    factor = max(1.0, max(height, width) / PIXELS)
    size = max(1, round(width / factor)), max(1, round(height / factor))
    shares = [cv2.resize((labels >= k).astype(np.float32), size, interpolation=cv2.INTER_AREA) for k in (1, 2)]
    small = np.where(shares[0] > 0.0, np.uint8(UNSURE), np.uint8(BACKGROUND))
    small[shares[1] >= 0.5] = SUBJECT
    return _Small(camera.resized(*size), small)


def _settled(one: _Small, kept: np.ndarray, claimed: np.ndarray) -> _Small:
    labels = one.labels.copy()
    labels[~kept] = BACKGROUND
    labels[claimed] = SUBJECT
    return replace(one, labels=labels)


def _opinions(
    small: Sequence[_Small], first: Sequence[_Small], voters: Sequence[int], bounds: Bounds
) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """For each camera the pixels (h, w) bool that the others let it keep, and those that they fill in.

    The votes are taken from ``small``, and the masks to be cleaned are ``first``.
    """
    centres, step, votes = _votes(small, voters, bounds)
    totals = votes.sum(1, dtype=np.int16)
    place = {camera: row for row, camera in enumerate(voters)}
    kept, claimed = [], []
    for number, one in enumerate(first):
        row = place.get(number)
        against, seen, touched, filled, doubted = totals if row is None else totals - votes[:, row]
        standing = against <= allowed_dissent(seen, len(voters))
        silent = seen < WITNESSES
        keep = standing & (silent | (touched >= np.maximum(1, KEEP * seen)))
        asked = np.flatnonzero(standing & (seen >= max(CLAIMANTS, len(voters) // 3)))
        certain = (filled >= CLAIMANTS) & (filled >= WHOLE * (seen - doubted))
        subject = _most(one, centres[asked], np.where(certain, filled, 0)[asked] / seen[asked])
        shadow = _most(one, centres[asked], doubted[asked] / seen[asked])
        whole = (against == 0) & (filled >= np.maximum(CLAIMANTS, WHOLE * seen))
        kept.append(_within(one, bounds) & coverage(one.camera, centres[keep], step))
        # Cells as points, so that nothing beside the subject is filled in with it.
        claims = (subject >= np.maximum(CLAIM, shadow - SHADE)) & (one.labels == UNSURE)
        holes = coverage(one.camera, centres[whole], 0.0 * step) & _holes(one.labels)
        claimed.append((claims | holes) & kept[-1])
    return kept, claimed


def _within(one: _Small, bounds: Bounds) -> np.ndarray:
    """(h, w) bool: the pixels that are not background and whose rays meet the bounds; what is outside is not coded."""
    rows, columns = np.nonzero(_holes(one.labels) | (one.labels > BACKGROUND))
    within = np.zeros(one.labels.shape, bool)
    within[rows, columns] = rays_hit(one.camera, np.stack((columns, rows), 1) + 0.5, bounds)
    return within


def _most(one: _Small, centres: np.ndarray, shares: np.ndarray) -> np.ndarray:
    """(h, w) the largest of the ``shares`` (n,) of the cells at ``centres`` (n, 3) that show within a pixel; else 0."""
    cv2 = opencv()
    pixels, _ = project(one.camera, centres)
    inside = inside_image(one.camera, pixels)
    columns, rows = np.minimum(pixels[inside].astype(int), np.array(one.labels.shape[::-1]) - 1).T
    found = np.zeros(one.labels.shape, np.float32)
    np.maximum.at(found, (rows, columns), shares[inside].astype(np.float32))
    return np.asarray(cv2.dilate(found, np.ones((3, 3), np.uint8)))


def _holes(labels: np.ndarray) -> np.ndarray:
    """(h, w) bool: the pixels that are not subject and surrounded by it."""
    cv2 = opencv()
    outside = np.pad(labels != SUBJECT, 1, constant_values=True).astype(np.uint8)
    _, parts = cv2.connectedComponents(outside, connectivity=4)
    return np.asarray((parts > 0) & (parts != parts[0, 0]))[1:-1, 1:-1]


def _votes(small: Sequence[_Small], voters: Sequence[int], bounds: Bounds) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The cells that any view may keep, and the vote of each voter about them.

    Returns:
        centres (n, 3), world units; step (3,), the size of a cell; and (5, voters, n) bool: whether a view sees nothing
        but background in a cell, whether it sees all of the cell, whether the subject shows anywhere in it, whether it
        shows at its centre, and whether the view is unsure there.
    """
    cells = np.maximum(1, np.ceil(CELLS * bounds.size / bounds.largest_side - 1e-6)).astype(int)
    step = bounds.size / cells
    most = int(allowed_dissent(len(voters), len(voters))) + 1  # one more, which is overruled for its own mask only
    tables = [tuple(silhouette_table(_view(small[k], least)) for least in (SUBJECT, UNSURE)) for k in voters]
    blocks = -(-cells // BLOCK)
    index = np.stack(np.unravel_index(np.arange(blocks.prod()), tuple(blocks)), axis=1)
    against = np.zeros(len(index), np.int16)
    for k, (_, possible) in zip(voters, tables, strict=True):
        centres = np.asarray(bounds.lower) + (index + 0.5) * step * BLOCK
        touched, seen = ballots(small[k].camera, possible, centres, step * BLOCK)
        against += seen & ~touched
        index, against = index[against <= most], against[against <= most]
    offsets = np.stack(np.unravel_index(np.arange(BLOCK**3), (BLOCK, BLOCK, BLOCK)), axis=1)
    index = (index[:, None, :] * BLOCK + offsets).reshape(-1, 3)
    centres = np.asarray(bounds.lower) + (index[(index < cells).all(axis=1)] + 0.5) * step
    votes = np.zeros((5, len(voters), len(centres)), bool)
    for row, (k, (_, possible)) in enumerate(zip(voters, tables, strict=True)):
        touched, seen = ballots(small[k].camera, possible, centres, step)
        votes[0, row], votes[1, row] = seen & ~touched, seen
    left = votes[0].sum(0) <= most
    centres, votes = centres[left], votes[:, :, left]
    for row, (k, (sure, _)) in enumerate(zip(voters, tables, strict=True)):
        votes[2, row] = ballots(small[k].camera, sure, centres, step)[0]
        pixels, _ = project(small[k].camera, centres)
        inside = inside_image(small[k].camera, pixels)
        columns, rows = np.minimum(pixels[inside].astype(int), np.array(small[k].labels.shape[::-1]) - 1).T
        at_centre = small[k].labels[rows, columns]
        votes[3, row, inside], votes[4, row, inside] = at_centre == SUBJECT, at_centre == UNSURE
    return centres, step, votes


def _view(one: _Small, least: int) -> View:
    image = np.zeros((*one.labels.shape, 4), np.uint8)
    image[..., 3] = (one.labels >= least) * np.uint8(255)
    return View(one.camera, image)


def _at_full_size(labels: np.ndarray, kept: np.ndarray, claimed: np.ndarray) -> np.ndarray:
    """(height, width) bool: the cleaned mask, from the labels and what was decided on reduced ones."""
    cv2 = opencv()
    size = labels.shape[1], labels.shape[0]
    keep, claim = (
        cv2.resize(part.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST) > 0
        for part in (grown(kept, 1), grown(claimed, 1))
    )
    doubtful = (labels == UNSURE) | _holes(labels)
    mask = ((labels == SUBJECT) & keep) | (claim & doubtful)
    return without_specks(mask, speck(mask.shape)) > 0
