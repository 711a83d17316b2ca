"""What the pixels of a mask mean: soft brightness, labels, or an alpha channel. Decided by evidence of several files.

A matte is bright where the subject is. Segmenters also write labels: a palette, small numbers, a few plain colours.
There everything but the background is subject, however dark it looks. Cut-outs have the subject in their alpha channel.
One file may not tell (a matte of an almost empty picture has small numbers too): kinds are decided for a camera.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

LOSSY_MARGIN = 16  # of 255: lossy coding leaves values that far from black and white where a mask is flat
MATTE, DEEP, LABELS, ALPHA, ALPHA_LABELS = "matte", "deep", "labels", "alpha", "alpha labels"
SMALL = 64  # labels are at most that, or
FEW = 4  # there are at most so many values, the background's among them
BRIGHT = 192  # from which on a value shows subject and no label
COLOURS = 64  # labels have no more colours
TINT = 16  # difference of channels from which a pixel has a colour
SAMPLED = 200_000  # pixels whose colours are counted


@dataclass(frozen=True)
class Drawn:
    """A mask's pixels.

    Attributes:
        rgba: (height, width, 4) uint8; numbers of more than 8 bits as they are if none is above 255.
        marked: (height, width) bool, what is not background by the index into a palette; None without a coloured one.
        deep: (height, width) uint8, the upper 8 of 16 bits; None where there are no more than 8 bits.
        above: whether any number is above 255.
        lossy: whether values near 0 and 255 may be noise of the coding.
    """

    rgba: np.ndarray
    marked: np.ndarray | None = None
    deep: np.ndarray | None = None
    above: bool = False
    lossy: bool = False


@dataclass(frozen=True)
class Evidence:
    """What one or several masks of a camera show.

    Attributes:
        alpha: whether any pixel is transparent.
        shades: (256,) bool, which values there are: of alpha where it counts, else of the largest channel.
        palette, coloured: whether there is a coloured palette, or a pixel with a colour.
        colours: how many colours there are at least.
        black: whether there is black.
        above, lossy: see :class:`Drawn`.
    """

    alpha: bool
    shades: np.ndarray
    palette: bool
    coloured: bool
    colours: int
    black: bool
    above: bool
    lossy: bool

    @property
    def brightest(self) -> int:
        """The largest value."""
        return int(np.flatnonzero(self.shades).max(initial=0))

    @property
    def clear(self) -> bool:
        """Whether these are mattes beyond doubt."""
        if self.alpha or self.coloured or self.palette:
            return False
        return self.brightest >= (BRIGHT if self.lossy or self.above else 255)


def drawn_of_palette(index: np.ndarray, rgba: np.ndarray) -> Drawn:
    """A mask with a palette: labels unless its colours are shades of grey.

    Black is the background where it occurs, else the first colour of the palette.
    """
    used = np.bincount(index.reshape(-1), minlength=256)[:256] > 0
    places = np.zeros(256, np.int64)
    places[index.reshape(-1)] = np.arange(index.size)
    colours = rgba.reshape(-1, 4)[places[used], :3].astype(int)
    black = (colours == 0).all(1)
    plain = (np.ptp(colours, axis=1) == 0).all()
    if plain and not (used.sum() > 1 and black.all()):
        return Drawn(rgba)
    named = black.any() and not black.all()
    return Drawn(rgba, rgba[..., :3].max(2) > 0 if named else np.asarray(index != 0))


def evidence_of(drawn: Drawn) -> Evidence:
    """What one mask shows."""
    alpha, rgb = drawn.rgba[..., 3], drawn.rgba[..., :3]
    low, high = rgb.min(2), rgb.max(2)
    transparent = bool(alpha.min(initial=255) < 255)
    shades = np.bincount((alpha if transparent else high).reshape(-1), minlength=256) > 0
    coloured = bool((high - low).max(initial=0) > TINT)
    colours = int(shades.sum())
    if coloured:
        stride = max(1, high.size // SAMPLED)
        some = rgb.reshape(-1, 3)[::stride].astype(np.int64) @ (1 << 16, 1 << 8, 1)
        colours = len(np.unique(some))
    palette = drawn.marked is not None
    return Evidence(transparent, shades, palette, coloured, colours, bool(shades[0]), drawn.above, drawn.lossy)


def merged(found: Sequence[Evidence]) -> Evidence:
    """What several masks of one camera show together; those without alpha count only where none has any."""
    alpha = any(e.alpha for e in found)
    counted = [e for e in found if e.alpha] if alpha else found
    return Evidence(
        alpha,
        np.any([e.shades for e in counted], axis=0),
        any(e.palette for e in found),
        any(e.coloured for e in found),
        max(e.colours for e in found),
        any(e.black for e in found),
        any(e.above for e in found),
        any(e.lossy for e in found),
    )


def decide(e: Evidence) -> str:
    """The kind of masks: ``MATTE``, ``DEEP`` (16 bits), ``LABELS``, ``ALPHA`` or ``ALPHA_LABELS``."""
    if e.above:
        return DEEP
    shades, brightest = int(e.shades.sum()), e.brightest
    if e.lossy:
        # Nothing survives lossy coding as a label but two values that are next to each other.
        low = brightest == 1
    else:
        low = 0 < brightest < BRIGHT and (brightest <= SMALL or shades <= FEW)
    if e.alpha:
        return ALPHA_LABELS if low else ALPHA
    if e.palette or (e.coloured and not e.lossy and e.black and e.colours <= COLOURS):
        return LABELS
    return LABELS if low else MATTE


def weight_of(drawn: Drawn, kind: str) -> np.ndarray:
    """(height, width) uint8: how much of each pixel is subject, the mask being of a :func:`decide` d kind."""
    if kind in (ALPHA, ALPHA_LABELS):
        values = drawn.rgba[..., 3]
    elif kind == DEEP and drawn.deep is not None:
        values = drawn.deep
    else:
        values = drawn.rgba[..., :3].max(axis=2)
    if kind in (LABELS, ALPHA_LABELS):
        inside = drawn.marked if kind == LABELS and drawn.marked is not None else values > 0
        return inside.astype(np.uint8) * np.uint8(255)
    if drawn.lossy:
        stretched = (values.astype(np.float32) - LOSSY_MARGIN) * (255.0 / (255 - 2 * LOSSY_MARGIN))
        values = np.rint(np.clip(stretched, 0.0, 255.0)).astype(np.uint8)
    return values
