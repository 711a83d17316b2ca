"""Decides once per camera how its masks are to be read, so that all its frames are read in the same way.

``capture/sequence.py`` calls :func:`settle_masks` when a capture is opened. The kinds themselves, soft mattes, labels
or alpha channels, are those of ``media/mattes.py``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import numpy as np

from taichi_vvc.capture.readers.index import ImageEntry
from taichi_vvc.capture.readers.parse import some
from taichi_vvc.errors import DataError
from taichi_vvc.media.images import KnownMask, LabelMask, Source, draw
from taichi_vvc.media.mattes import (
    ALPHA,
    ALPHA_LABELS,
    BRIGHT,
    DEEP,
    LABELS,
    MATTE,
    Evidence,
    decide,
    evidence_of,
    merged,
)

LOOKED_AT = 4  # masks of a camera, spread over the frames, that are read while the kind is not clear
NOISE = 4  # largest value of a matte in a frame that the subject has nearly left
THREADS = 8


@dataclass(frozen=True)
class _Finding:
    """The kind of a camera's masks.

    Attributes:
        kind: one of the kinds of ``media/mattes.py``.
        sure: whether this camera's masks are enough to decide it.
        seen: the evidence in the examined masks; None where there was no mask.
    """

    kind: str
    sure: bool
    seen: Evidence | None


def settle_masks(
    entries: tuple[tuple[ImageEntry, ...], ...],
) -> tuple[tuple[tuple[ImageEntry, ...], ...], list[str]]:
    """The entries of a capture with the kind of every mask settled, and messages about unusual masks.

    A camera whose examined masks are empty, or nearly so, gets the kind that most other cameras have.

    Raises:
        DataError: a mask of the first frame cannot be read.
    """
    cameras = range(len(entries[0]))
    picks = sorted({round(k * (len(entries) - 1) / (LOOKED_AT - 1)) for k in range(LOOKED_AT)})

    def find(camera: int) -> _Finding | None:
        masks = [row[camera].mask for row in entries]
        first = masks[0]
        if first is None or isinstance(first, (LabelMask, KnownMask)):
            return None
        return _finding([masks[i] for i in picks])

    with ThreadPoolExecutor(max_workers=THREADS) as pool:
        found = list(pool.map(find, cameras))
    known = [f for f in found if f is not None]
    if not known:
        return entries, []
    usual = Counter(f.kind for f in known if f.sure).most_common(1)
    kinds = [None if f is None else f.kind if f.sure or not usual else usual[0][0] for f in found]
    settled = tuple(tuple(_with_kind(entry, kind) for entry, kind in zip(row, kinds, strict=True)) for row in entries)
    return settled, _lines([entry.camera.name for entry in entries[0]], found, kinds)


def _finding(masks: Sequence[Source | None]) -> _Finding:
    seen: list[Evidence] = []
    for place, mask in enumerate(masks):
        if mask is None:
            continue
        try:
            seen.append(evidence_of(draw(mask)))
        except DataError:
            # Damage in later frames raises its error when that frame is read.
            if not place:
                raise
            continue
        if seen[-1].clear:
            break
    together = next((e for e in seen if e.clear), None) or merged(seen)
    # Small values are either labels or the faint remains of a matte in a nearly empty picture.
    tiny = not (together.palette or together.alpha or together.above) and together.brightest <= NOISE
    return _Finding(decide(together), not tiny, together)


def _with_kind(entry: ImageEntry, kind: str | None) -> ImageEntry:
    if kind is None or entry.mask is None or isinstance(entry.mask, (LabelMask, KnownMask)):
        return entry
    return replace(entry, mask=KnownMask(entry.mask, kind))


def _lines(names: Sequence[str], found: Sequence[_Finding | None], kinds: Sequence[str | None]) -> list[str]:
    lines = []
    labels: list[str] = []
    alpha: list[str] = []
    dim: list[str] = []
    tiny: list[str] = []
    values = np.zeros(256, bool)
    for name, one, kind in zip(names, found, kinds, strict=True):
        if one is None or one.seen is None:
            continue
        brightest = one.seen.brightest
        if kind in (LABELS, ALPHA_LABELS) and (one.seen.palette or brightest > 1):
            labels.append(name)
            values |= one.seen.shades
        if kind in (ALPHA, ALPHA_LABELS):
            alpha.append(name)
        if kind in (MATTE, DEEP) and 0 < brightest < BRIGHT:
            (dim if one.sure else tiny).append(f"{name} {brightest}")
    whose = "" if len(labels) == len(names) else f" of {some(labels)}"
    if labels:
        numbers = some([str(v) for v in np.flatnonzero(values)])
        lines.append(
            f"the masks{whose} are read as labels (values {numbers}): everything but the background is subject"
        )
    if alpha:
        lines.append(f"the masks{'' if len(alpha) == len(names) else f' of {some(alpha)}'} are read from their alpha")
    if dim:
        lines.append(
            f"expected masks that are white (255) where the subject is, found at most: {some(dim)}; the subject is"
            " coded as that transparent"
        )
    if tiny:
        lines.append(f"masks that look empty beside those of the other cameras, brightest values of 255: {some(tiny)}")
    return lines
