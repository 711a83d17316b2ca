"""How the colours of cameras differ, found in their pictures alone: gains per camera and channel.

Random points within the bounds are projected into all pictures of a frame. Where a point lies on a surface, the cameras
that see it show the same colour, but for the gains. So, with gains that start at 1:

1. Take each point's median logarithmic colour over the cameras that see it, gains taken off.
2. Keep the tenth of the points at which cameras agree best. Those lie on surfaces, or where it makes no difference.
3. Add to each camera's logarithmic gains its median difference to the points' medians, over the points at which that
   is moderate: elsewhere it sees something else.
4. Subtract the median over the cameras: the common look is that of the median camera. Go on at 1.

It is what lies on surfaces that is compared: a camera that looks at a dark wall is no darker for it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from taichi_vvc.geometry.projection import project
from taichi_vvc.types import Bounds, View

POINTS = 10_000  # per frame
SEEN = 4  # cameras that must see a point
AGREEING = 0.1  # share of the points that are taken to lie on surfaces
ALIKE = 0.6  # difference of logarithmic colours that a gain may explain
ROUNDS = 12
SETTLED = 0.003  # change of a logarithmic gain that ends the search
WITHIN = (8, 250)  # 8-bit values of a channel that are not near an end of the scale
CAMERAS = 5  # of fewer, nobody can tell which one is different
EVIDENCE = 50  # points of a camera for its gains to be believed
NAMED = 0.15  # logarithmic gain from which a camera is different
TINTED = 0.12  # difference of two channels' logarithmic gains, likewise
SUBJECT = 5 / 3  # factor of both where masks leave a subject only, which may be lit from one side


@dataclass(frozen=True)
class ColourAgreement:
    """How the colours of some cameras differ.

    Attributes:
        names: of the cameras.
        gains: (n, 3) what each camera shows of a colour of the median camera; 1 where too little is known.
        points: (n,) what each camera's gains are found from.
    """

    names: tuple[str, ...]
    gains: np.ndarray
    points: np.ndarray

    def outliers(self, masks: bool = False) -> list[str]:
        """Names of the cameras whose exposure or white balance is clearly not that of the others, the worst first.

        ``masks``: whether only a subject was compared.
        """
        if len(self.names) < CAMERAS:
            return []
        logs = np.log(self.gains)
        exposure, tint = np.abs(logs.mean(1)) / NAMED, np.ptp(logs, axis=1) / TINTED
        off = np.maximum(exposure, tint)
        least = SUBJECT if masks else 1.0
        return [self.names[k] for k in np.argsort(-off, kind="stable") if off[k] >= least]


def colour_agreement(rows: Sequence[Sequence[View]], bounds: Bounds) -> ColourAgreement:
    """Compares the colours of cameras.

    Args:
        rows: the views of some frames, which may be reduced; the same cameras in the same order. Only opaque pixels
            count.
        bounds: where the scene is, world units.
    """
    names = tuple(view.camera.name for view in rows[0])
    logs = np.concatenate([_seen_colours(views, bounds, seed) for seed, views in enumerate(rows)])
    gains, points = np.zeros((len(names), 3), np.float32), np.zeros(len(names), int)
    for _ in range(ROUNDS if len(logs) else 0):
        apart = logs - gains
        apart -= _medians(apart)[:, None]
        spread = _medians(np.abs(apart)).max(axis=-1)
        own = apart[spread <= np.quantile(spread, AGREEING)].swapaxes(0, 1)
        # A camera may see something else there than the others do.
        own = np.where((np.abs(own) < ALIKE).all(axis=-1, keepdims=True), own, np.nan)
        points = np.isfinite(own[..., 0]).sum(axis=1)
        move = np.where((points >= EVIDENCE)[:, None], _medians(own), -gains)
        gains = gains + move
        known = gains[points >= EVIDENCE]
        gains -= np.median(known, axis=0) if len(known) else 0.0
        if np.abs(move).max() < SETTLED:
            break
    gains[points < EVIDENCE] = 0.0
    return ColourAgreement(names, np.exp(gains.astype(np.float64)), points)


def _seen_colours(views: Sequence[View], bounds: Bounds, seed: int) -> np.ndarray:
    """(points, cameras, 3) logarithms of the colours that cameras show at random points, NaN where they show none.

    Points that too few of them see are left out.
    """
    lower, size = np.asarray(bounds.lower, np.float64), bounds.size
    points = lower + size * np.random.default_rng(seed).random((POINTS, 3))
    found = np.full((POINTS, len(views), 3), np.nan, np.float32)
    for k, view in enumerate(views):
        pixels, depth = project(view.camera, points)
        inside = np.isfinite(pixels).all(-1) & (depth > 0.0)
        inside &= (pixels >= 0.0).all(-1) & (pixels < (view.camera.width, view.camera.height)).all(-1)
        which = np.flatnonzero(inside)
        columns, rows = pixels[which].astype(int).T
        values = view.image[rows, columns]
        plain = (values[:, 3] > WITHIN[1]) & (values[:, :3].min(-1) >= WITHIN[0]) & (values[:, :3].max(-1) <= WITHIN[1])
        found[which[plain], k] = np.log(values[plain, :3].astype(np.float32))
    return found[np.isfinite(found[..., 0]).sum(axis=1) >= min(SEEN, len(views))]


def _medians(values: np.ndarray) -> np.ndarray:
    """Medians along axis 1 of (n, k, 3) without NaN; NaN where there is nothing else. Faster than NumPy's own."""
    ordered = np.sort(values, axis=1)  # NaN comes last
    count = np.isfinite(values).sum(axis=1)
    low, high = np.maximum(0, (count - 1) // 2), np.minimum(count // 2, values.shape[1] - 1)
    low, high = (np.take_along_axis(ordered, place[:, None], axis=1)[:, 0] for place in (low, high))
    return np.asarray(0.5 * (low + high))
