"""Contexts of grid symbols: integer functions of what a decoder already knows.

A grid is coded in eight passes, one per parity class of its nodes, so that later passes see decoded neighbours on all
sides; within a pass channel by channel. Every symbol gets an *activity*, a weighted sum of known magnitudes that
estimates its own magnitude, and the activity selects one of :data:`TABLES` frequency tables. Both directions use the
functions of this module, so the order cannot differ. Normative text: ``docs/bitstream.md``, section "Contexts".

For speed the eight classes are kept as separate volumes, each padded by one cell and flattened, so that a neighbour is
a constant shift of a one-dimensional array.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from taichi_vvc.coding.context_weights import Weights
from taichi_vvc.coding.zeros import is_blank

ORDER = (0, 7, 3, 5, 6, 1, 2, 4)
"""Parity classes in coding order; bit 2, 1, 0 of a class is the parity of the z, y, x index."""

CAP = 15
"""Magnitudes count up to this in a context."""

TOTAL_CAP = 255
"""The sum of the capped magnitudes of a node's channels counts up to this."""

THRESHOLDS = (1, 2, 3, 5, 8, 13, 21, 34, 55, 89, 144, 233, 377, 610, 987, 1597, 2584)
FIRST_MEAN = 24
"""The mean (index) that the first channel's is stated relative to; of a Laplace model, the scale."""

TABLES = len(THRESHOLDS) + 1
"""Tables per grid: table ``k`` holds the symbols whose activity reaches ``k`` of the thresholds."""

_LARGEST_ACTIVITY = 4095
_BINS = np.searchsorted(np.array(THRESHOLDS), np.arange(_LARGEST_ACTIVITY + 1), side="right").astype(np.uint8)

SIGN_THRESHOLDS = (1, 32, 64, 128, 256, 512, 1024)
SIGN_CLASSES = len(SIGN_THRESHOLDS) + 1
"""Classes of sign contexts: class ``k`` holds the symbols whose prediction's magnitude, in 1/128, reaches ``k`` of the
thresholds. In class 0 nothing is predicted."""

_LARGEST_PREDICTION = 1024
_PREDICTIONS = np.arange(_LARGEST_PREDICTION + 1)
_SIGN_CLASS = np.searchsorted(np.array(SIGN_THRESHOLDS), _PREDICTIONS, side="right").astype(np.uint8)

MEANS = np.array([((65536, 77936, 92682, 110218)[k % 4] << (k // 4)) >> 16 for k in range(61)], np.int64)
"""The mean magnitudes of a channel that a stream can state, in 1/2048."""


Near = tuple[tuple[int, tuple[tuple[int, bool], ...]], ...]
"""Neighbours by class: (class, axes). They are all those in which each of these axes (0 is z) differs by 1 either way;
with True the two lie at shifts 0 and 1 along the axis in the volume of their class, with False at -1 and 0."""


def _near(parity: int, pattern: int) -> tuple[int, tuple[tuple[int, bool], ...]]:
    """The neighbours of a class that differ from it along the axes whose bits (2 is z) are set in ``pattern``."""
    axes = tuple((axis, bool(parity >> (2 - axis) & 1)) for axis in range(3) if pattern >> (2 - axis) & 1)
    return parity ^ pattern, axes


def _neighbourhood(position: int) -> tuple[Near, Near, Near]:
    """The faces, edges and corners that earlier passes decoded."""
    parity = ORDER[position]
    patterns = sorted(parity ^ other for other in ORDER[:position])
    faces, edges, corners = (
        tuple(_near(parity, pattern) for pattern in patterns if pattern.bit_count() == axes) for axes in (1, 2, 3)
    )
    return faces, edges, corners


NEIGHBOURS = tuple(_neighbourhood(position) for position in range(8))
FACES: tuple[Near, ...] = tuple(tuple(_near(parity, pattern) for pattern in (1, 2, 4)) for parity in range(8))
"""The six face neighbours of each class, decoded or not."""


@dataclass(frozen=True)
class Lattice:
    """Where the live nodes of a grid lie in the eight class volumes, which cover the box around these nodes.

    Attributes:
        shape: (nz, ny, nx) of the grid.
        origin: (z, y, x) of the first node of the box, even numbers.
        padded: (Z, Y, X) of a class volume with its padding.
        nodes: flat indices of the live nodes within the grid, in C order.
        places: per class, flat indices of its live nodes within the padded class volume, in C order.
        ranks: per class, the positions of the same nodes in ``nodes``.
    """

    shape: tuple[int, int, int]
    origin: tuple[int, int, int]
    padded: tuple[int, int, int]
    nodes: np.ndarray
    places: tuple[np.ndarray, ...]
    ranks: tuple[np.ndarray, ...]

    @property
    def size(self) -> int:
        """Length of a flattened class volume."""
        return self.padded[0] * self.padded[1] * self.padded[2]


def lattice(live: np.ndarray) -> Lattice:
    """The lattice of a (nz, ny, nx) bool live set."""
    shape = live.shape
    nodes = live.reshape(-1).nonzero()[0]
    where = _coordinates(nodes, shape)
    (z, depth), (y, height), (x, width) = map(_extent, where)
    origin, padded = (z, y, x), (depth, height, width)
    parity, place = _places(where, origin, padded)
    ranks = np.split(parity.argsort(kind="stable"), np.bincount(parity, minlength=8).cumsum()[:-1])
    places = tuple(place[rank] for rank in ranks)
    return Lattice(shape, origin, padded, nodes, places, tuple(ranks))


def _extent(axis: np.ndarray) -> tuple[int, int]:
    """First node of the box along an axis, even, and length of its class volumes with their padding."""
    if not axis.size:
        return 0, 2
    first = int(axis.min()) & ~1
    return first, (int(axis.max()) - first) // 2 + 3


def _coordinates(nodes: np.ndarray, shape: tuple[int, int, int]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """z, y, x of flat node indices."""
    row = nodes // shape[2]
    z = row // shape[1]
    return z, row - z * shape[1], nodes - row * shape[2]


def _places(
    where: tuple[np.ndarray, np.ndarray, np.ndarray], origin: tuple[int, int, int], padded: tuple[int, int, int]
) -> tuple[np.ndarray, np.ndarray]:
    """Class (uint8) and flat index in the padded class volume of nodes at z, y, x."""
    z, y, x = where
    parity = ((z & 1) << 2 | (y & 1) << 1 | (x & 1)).astype(np.uint8)
    first = 1 - origin[0] // 2, 1 - origin[1] // 2, 1 - origin[2] // 2
    return parity, (((z >> 1) + first[0]) * padded[1] + (y >> 1) + first[1]) * padded[2] + (x >> 1) + first[2]


def _nonzero(values: np.ndarray, at: Lattice) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The symbols of a (nz, ny, nx, C) grid that are not 0, with class and with flat index in (C, n) class volumes.

    Those too far from the box to be anyone's neighbour are left out; the padding holds those next to it.
    """
    # Zeros without storage, see ``blank.py``, stay so.
    flat = values[:0].reshape(-1) if is_blank(values) else np.ascontiguousarray(values).reshape(-1)
    # Far faster than nonzero of anything but bool.
    found = (flat != 0).nonzero()[0]
    nodes = found // values.shape[3]
    where = _coordinates(nodes, at.shape)
    inside = np.ones(nodes.size, bool)
    for axis, first, size in zip(where, at.origin, at.padded, strict=True):
        inside &= (axis >= first - 2) & (axis < first + 2 * size - 2)
    parity, place = _places(where, at.origin, at.padded)
    index = place + (found - nodes * values.shape[3]) * at.size
    return flat[found[inside]], parity[inside], index[inside]


def split(values: np.ndarray, at: Lattice) -> np.ndarray:
    """(nz, ny, nx, C) int -> (8, 2, C, n) uint8 padded class volumes of capped magnitudes: of positive symbols and of
    negative ones; zero outside the grid."""
    halves = np.zeros((8, 2, values.shape[3] * at.size), np.uint8)
    found, parity, index = _nonzero(values, at)
    halves[parity, (found < 0).view(np.uint8), index] = capped(found)
    return halves.reshape(8, 2, values.shape[3], at.size)


def split_magnitudes(values: np.ndarray, at: Lattice) -> np.ndarray:
    """(nz, ny, nx, C) int -> (8, C, n) uint8 padded class volumes of capped magnitudes, zero outside the grid."""
    parts = np.zeros((8, values.shape[3] * at.size), np.uint8)
    found, parity, index = _nonzero(values, at)
    parts[parity, index] = capped(found)
    return parts.reshape(8, values.shape[3], at.size)


def means_at(values: np.ndarray, nodes: np.ndarray) -> np.ndarray:
    """(C,) int64 mean magnitude of each channel of a (nz, ny, nx, C) grid over the live nodes, in 1/2048, rounded.

    ``nodes``: their flat indices.
    """
    return capped_at(values, nodes).sum(0, dtype=np.int64) * 2048 // max(nodes.size, 1)


def capped_at(values: np.ndarray, nodes: np.ndarray) -> np.ndarray:
    """(live, C) uint8: capped magnitudes of a (nz, ny, nx, C) grid at the live nodes, given as flat indices."""
    return capped(values.reshape(-1, values.shape[3])[nodes])


def capped(values: np.ndarray) -> np.ndarray:
    """The magnitudes of integers as contexts see them: uint8, at most :data:`CAP`."""
    return np.minimum(np.abs(values), CAP).astype(np.uint8)


def near_sum(parts: np.ndarray, padded: tuple[int, int, int], near: Near) -> np.ndarray:
    """Sum over neighbours of (8, ..., n) volumes -> (..., n), in their dtype. Values in the padding are meaningless.

    Neighbours along an axis come in pairs, so that the eight corners of a class take three additions.
    """
    steps = (padded[1] * padded[2], padded[2], 1)
    flat = parts.reshape(8, -1)
    total = np.zeros(flat.shape[1], parts.dtype)
    for other, axes in near:
        part, first = flat[other], 0
        for axis, upper in axes:
            part = part[: -steps[axis]] + part[steps[axis] :]
            first += 0 if upper else steps[axis]
        total[first : first + part.size] += part
    return total.reshape(parts.shape[1:])


def pass_features(
    halves: np.ndarray,
    totals: np.ndarray,
    before: np.ndarray | None,
    beneath: np.ndarray | None,
    at: Lattice,
    position: int,
    kinds: Sequence[Weights],
) -> tuple[list[np.ndarray | None], np.ndarray]:
    """What one pass knows before its first channel, at the live nodes of its class.

    Args:
        halves: (8, 2, C, n) uint8, see :func:`split`; classes of later passes are not read.
        totals: (8, n) uint16 sums of the magnitudes over the channels, at most :data:`TOTAL_CAP`.
        before: (8, C, n) uint8, :func:`split_magnitudes` of the previous frame's residual, or None.
        beneath: (live, C) uint8 magnitudes of what the symbols will be added to, or None.
        position: index of the pass.
        kinds: the weights that will be used.
    Returns:
        The features: own faces, edges, corners (C, m); all channels' faces, edges, corners (m,), scaled to 16 times
        the mean over channels; with ``before``: own (C, m), own faces (C, m), all channels (m,), scaled; and that of
        ``beneath`` (C, m). None stands for one without a neighbour or a weight.
        The prediction: (C, m) int16 weighted sum of the known neighbours of the same channel, in 1/128 of a symbol.
    """
    channels, parity = halves.shape[2], ORDER[position]
    places, signs = at.places[parity], SIGN_WEIGHTS[KINDS[position]]
    used = [any(weights) for weights in zip(*(kind.known for kind in kinds), strict=True)]
    features: list[np.ndarray | None] = [None] * len(used)
    predicted = np.zeros((channels, places.size), np.int16)

    def scaled(total: np.ndarray) -> np.ndarray:
        return (total.astype(np.int32) * (65536 // channels)) >> 12

    for sort, near in enumerate(NEIGHBOURS[position]):
        if near and (used[sort] or signs[sort]):
            above, below = near_sum(halves, at.padded, near).take(places, axis=2)
            features[sort] = above + below
            if signs[sort]:
                predicted += np.subtract(above, below, dtype=np.int16) * np.int16(signs[sort])
        if near and used[3 + sort]:
            features[3 + sort] = scaled(near_sum(totals, at.padded, near).take(places))
    if before is not None:
        own = before[parity].take(places, axis=1)
        features[6] = own
        if used[7]:
            features[7] = near_sum(before, at.padded, FACES[parity]).take(places, axis=1)
        if used[8]:
            features[8] = scaled(np.minimum(own.sum(0, dtype=np.int32), TOTAL_CAP))
    if beneath is not None and len(used) > 9 and used[9]:
        features[9] = beneath[at.ranks[parity]].T
    return features, predicted


def sign_class(prediction: np.ndarray) -> np.ndarray:
    """The class (uint8) of predictions."""
    return _SIGN_CLASS.take(np.minimum(np.abs(prediction), _LARGEST_PREDICTION))


def prefix_feature(prefix: np.ndarray, channel: int | np.ndarray) -> np.ndarray:
    """16 times the mean magnitude of the earlier channels at the same node, shrunk; ``prefix`` is their int32 sum."""
    return (prefix * (65536 // (channel + 2))) >> 12


def table_of(activity: np.ndarray) -> np.ndarray:
    """The table index (uint8) of activities in 1/2048."""
    return _BINS.take(activity >> 3, mode="clip")


KINDS = (0, 1, 2, 2, 2, 3, 3, 3)
"""The kind of each pass: passes of a kind have as many decoded neighbours of each sort and share their weights."""

SIGN_WEIGHTS = ((0, 0, 0), (0, 0, 16), (32, 8, 0), (20, 4, 0))
"""Per kind of pass, the weights of a face, an edge and a corner neighbour in a prediction, in 1/128."""


def base_activity(features: list[np.ndarray | None], weights: Weights, means: np.ndarray, nodes: int) -> np.ndarray:
    """(C, nodes) int32 activity of a pass without its prefix part. ``means``: (C,) values of :data:`MEANS`."""
    activity = np.empty((means.size, nodes), np.int32)
    activity[:] = ((means * weights.mean) >> 8)[:, None]
    for feature, weight in zip(features, weights.known, strict=True):
        if weight and feature is not None:
            activity += np.multiply(feature, np.int32(weight), dtype=np.int32)
    return activity
