"""Contexts of grid symbols: integer functions of what a decoder already knows.

A grid is coded in eight passes, one per parity class of its nodes, so that later passes see decoded neighbours on all
sides; within a pass channel by channel. Every symbol gets an *activity*, a weighted sum of known magnitudes that
estimates its own magnitude, and the activity selects one of :data:`TABLES` frequency tables. Both directions use the
functions of this module, so the order cannot differ. Normative text: ``docs/bitstream.md``, section "Contexts".

For speed the eight classes are kept as separate volumes, each padded by one cell and flattened, so that a neighbour is
a constant shift of a one-dimensional array.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

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


def _neighbourhood(position: int) -> tuple[tuple[int, int, int, int, int], ...]:
    """(kind, class, z shift, y shift, x shift) of the neighbours that earlier passes decoded; kind 0 face, 1 edge,
    2 corner."""
    parity = ORDER[position]
    bits = (parity >> 2 & 1, parity >> 1 & 1, parity & 1)
    found = []
    for dz in (-1, 0, 1):
        for dy in (-1, 0, 1):
            for dx in (-1, 0, 1):
                kind = abs(dz) + abs(dy) + abs(dx) - 1
                if kind < 0:
                    continue
                other = parity ^ (abs(dz) << 2 | abs(dy) << 1 | abs(dx))
                if ORDER.index(other) < position:
                    found.append((kind, other, (bits[0] + dz) >> 1, (bits[1] + dy) >> 1, (bits[2] + dx) >> 1))
    return tuple(found)


_NEIGHBOURS = tuple(_neighbourhood(position) for position in range(8))


def _faces(parity: int) -> tuple[tuple[int, int, int, int], ...]:
    """(class, z shift, y shift, x shift) of the six face neighbours, decoded or not."""
    found = []
    for axis in range(3):
        bit = parity >> (2 - axis) & 1
        for step in (-1, 1):
            shift = [0, 0, 0]
            shift[axis] = (bit + step) >> 1
            found.append((parity ^ (4 >> axis), shift[0], shift[1], shift[2]))
    return tuple(found)


_FACES = tuple(_faces(parity) for parity in range(8))


@dataclass(frozen=True)
class Lattice:
    """Where the live nodes of a grid lie in the eight class volumes.

    Attributes:
        shape: (nz, ny, nx) of the grid.
        padded: (Z, Y, X) of a class volume with its padding.
        places: per class, flat indices of its live nodes within the padded class volume, in C order.
        ranks: per class, the positions of the same nodes among all live nodes of the grid in C order.
    """

    shape: tuple[int, int, int]
    padded: tuple[int, int, int]
    places: tuple[np.ndarray, ...]
    ranks: tuple[np.ndarray, ...]


def lattice(live: np.ndarray) -> Lattice:
    """The lattice of a (nz, ny, nx) bool live set."""
    shape = live.shape
    padded = tuple((n + 1) // 2 + 2 for n in shape)
    rank = np.cumsum(live.reshape(-1)).reshape(shape) - 1
    places, ranks = [], []
    for parity in range(8):
        part = (slice(parity >> 2 & 1, None, 2), slice(parity >> 1 & 1, None, 2), slice(parity & 1, None, 2))
        z, y, x = np.nonzero(live[part])
        places.append(((z + 1) * padded[1] + y + 1) * padded[2] + x + 1)
        ranks.append(rank[part][z, y, x])
    return Lattice(shape, padded, tuple(places), tuple(ranks))


def split(magnitudes: np.ndarray, at: Lattice) -> np.ndarray:
    """(nz, ny, nx, C) -> (8, C, Z*Y*X): the padded class volumes, zero outside the grid."""
    channels = magnitudes.shape[3]
    z, y, x = at.padded
    whole = np.zeros((channels, 2 * z, 2 * y, 2 * x), magnitudes.dtype)
    nz, ny, nx = at.shape
    whole[:, 2 : 2 + nz, 2 : 2 + ny, 2 : 2 + nx] = magnitudes.transpose(3, 0, 1, 2)
    parts = whole.reshape(channels, z, 2, y, 2, x, 2).transpose(2, 4, 6, 0, 1, 3, 5)
    return np.ascontiguousarray(parts).reshape(8, channels, z * y * x)


def capped(values: np.ndarray) -> np.ndarray:
    """The magnitudes of int32 values as contexts see them: uint8, at most :data:`CAP`."""
    return np.minimum(np.abs(values), CAP).astype(np.uint8)


def node_totals(parts: np.ndarray) -> np.ndarray:
    """(..., C, n) capped magnitudes -> (..., 1, n) uint8 sums over the channels, capped."""
    return np.minimum(parts.sum(-2, dtype=np.int32, keepdims=True), TOTAL_CAP).astype(np.uint8)


def _shifted_sum(
    parts: np.ndarray, at: Lattice, neighbours: list[tuple[int, int, int, int]], dtype: type
) -> np.ndarray:
    """Sum over ``neighbours`` (class, shifts) of (8, K, n) volumes -> (K, n). Values in the padding are meaningless."""
    _, y, x = at.padded
    margin = y * x + x + 1
    flat = parts.reshape(8, -1)
    size = flat.shape[1]
    total: np.ndarray = np.zeros(size, dtype)
    inner = total[margin : size - margin]
    for part, dz, dy, dx in neighbours:
        shift = (dz * y + dy) * x + dx
        inner += flat[part, margin + shift : size - margin + shift]
    return total.reshape(parts.shape[1:])


def known_features(
    parts: np.ndarray,
    totals: np.ndarray,
    before: tuple[np.ndarray, np.ndarray] | None,
    at: Lattice,
    position: int,
) -> list[np.ndarray]:
    """The features that one pass knows before its first channel, at the live nodes of its class.

    Args:
        parts: (8, C, n) uint8 capped magnitudes; classes of later passes are not read.
        totals: (8, 1, n) uint8 :func:`node_totals` of ``parts``.
        before: the same two of the previous frame's residual, or None.
        position: index of the pass.
    Returns:
        own faces, edges, corners (C, m); all channels' faces, edges, corners (1, m), scaled to 16 times the mean over
        channels; and with ``before``: own (C, m), own faces (C, m), all channels (1, m), scaled. All int32.
    """
    channels = parts.shape[1]
    parity = ORDER[position]
    places = at.places[parity]
    norm = 65536 // channels
    own, every = [], []
    for kind in range(3):
        near = [n[1:] for n in _NEIGHBOURS[position] if n[0] == kind]
        if near:
            own.append(_shifted_sum(parts, at, near, np.uint8).take(places, axis=1).astype(np.int32))
            total = _shifted_sum(totals, at, near, np.uint16).take(places, axis=1).astype(np.int32)
            every.append((total * norm) >> 12)
        else:
            own.append(np.zeros((1, 1), np.int32))
            every.append(np.zeros((1, 1), np.int32))
    features = own + every
    if before is not None:
        features.append(before[0][parity].take(places, axis=1).astype(np.int32))
        faces = _shifted_sum(before[0], at, list(_FACES[parity]), np.uint8)
        features.append(faces.take(places, axis=1).astype(np.int32))
        features.append((before[1][parity].take(places, axis=1).astype(np.int32) * norm) >> 12)
    return features


def predictions(signed: np.ndarray, at: Lattice, position: int) -> np.ndarray:
    """(C, m) int32 weighted sums of the known neighbours of the same channel, in 1/128 of a symbol.

    ``signed``: (8, C, n) int16 values clipped to +-:data:`CAP`; classes of later passes are not read.
    """
    places = at.places[ORDER[position]]
    total = np.zeros((signed.shape[1], places.size), np.int32)
    for sort, weight in enumerate(SIGN_WEIGHTS[KINDS[position]]):
        near = [n[1:] for n in _NEIGHBOURS[position] if n[0] == sort]
        if weight and near:
            total += np.int32(weight) * _shifted_sum(signed, at, near, np.int16).take(places, axis=1)
    return total


def sign_class(prediction: np.ndarray) -> np.ndarray:
    """The class (uint8) of predictions."""
    return _SIGN_CLASS.take(np.minimum(np.abs(prediction), _LARGEST_PREDICTION))


def prefix_feature(prefix: np.ndarray, channel: int | np.ndarray) -> np.ndarray:
    """16 times the mean magnitude of the earlier channels at the same node, shrunk; ``prefix`` is their int32 sum."""
    return (prefix * (65536 // (channel + 2))) >> 12


def table_of(activity: np.ndarray) -> np.ndarray:
    """The table index (uint8) of activities in 1/2048."""
    return _BINS.take(np.minimum(activity >> 3, _LARGEST_ACTIVITY))


@dataclass(frozen=True)
class Weights:
    """How the features of one kind of pass add up: integers in 1/2048 of a magnitude per unit of the feature.

    Attributes:
        known: one weight per entry of :func:`known_features`.
        prefix: of :func:`prefix_feature`.
        mean: of the channel's stated mean, in 1/256.
    """

    known: tuple[int, ...]
    prefix: int
    mean: int


KINDS = (0, 1, 2, 2, 2, 3, 3, 3)
"""The kind of each pass: passes of a kind have as many decoded neighbours of each sort and share their weights."""

WEIGHT_SETS: tuple[tuple[bool, tuple[Weights, ...]], ...] = (
    (
        False,
        (
            Weights((0, 0, 0, 0, 0, 0), 123, 122),
            Weights((0, 0, 139, 0, 0, 6), 66, 24),
            Weights((443, 104, 0, 5, 1, 0), 29, 4),
            Weights((256, 19, 5, 1, 0, 0), 14, 0),
        ),
    ),
    (
        True,
        (
            Weights((0, 0, 0, 0, 0, 0, 5, 11, 3), 145, 27),
            Weights((0, 0, 118, 0, 0, 4, 8, 4, 0), 109, 3),
            Weights((487, 85, 0, 6, 0, 0, 3, 3, 0), 50, 0),
            Weights((233, 13, 3, 1, 0, 0, 5, 1, 0), 32, 0),
        ),
    ),
    (
        True,
        (
            Weights((0, 0, 0, 0, 0, 0, 243, 117, 17), 28, 38),
            Weights((0, 0, 55, 0, 0, 4, 252, 161, 11), 6, 12),
            Weights((179, 74, 0, 5, 0, 0, 276, 120, 12), 3, 11),
            Weights((133, 35, 22, 0, 0, 0, 207, 85, 10), 11, 7),
        ),
    ),
)
"""The shipped weights: whether they use the previous frame, and one entry per kind of pass."""


SIGN_WEIGHTS = ((0, 0, 0), (0, 0, 16), (32, 8, 0), (20, 4, 0))
"""Per kind of pass, the weights of a face, an edge and a corner neighbour in a prediction, in 1/128."""


def base_activity(features: list[np.ndarray], weights: Weights, means: np.ndarray) -> np.ndarray:
    """(C, m) int32 activity of a pass without its prefix part. ``means``: (C,) values of :data:`MEANS`."""
    activity: np.ndarray = ((means * weights.mean) >> 8).astype(np.int32)[:, None]
    for feature, weight in zip(features, weights.known, strict=True):
        if weight:
            activity = activity + feature * np.int32(weight)
    return activity


DEFAULT_INDICES = (
    np.array(
        [
            (72, 68, 66, 64, 62, 61, 59, 57, 54, 51, 49, 46, 43, 39, 34, 28, 21, 14),
            (21, 21, 21, 21, 21, 21, 21, 21, 21, 21, 21, 21, 21, 20, 20, 19, 18, 16),
            (22, 22, 22, 22, 22, 22, 22, 22, 22, 22, 22, 22, 22, 21, 21, 20, 18, 16),
        ],
        np.int64,
    ).T,
    np.array(
        [
            (75, 67, 65, 62, 59, 57, 54, 52, 48, 46, 43, 39, 35, 31, 27, 21, 15, 8),
            (28, 28, 28, 28, 28, 28, 28, 28, 28, 28, 28, 27, 27, 26, 24, 22, 20, 18),
            (32, 32, 31, 31, 31, 31, 30, 30, 30, 30, 30, 30, 29, 27, 24, 22, 19, 17),
        ],
        np.int64,
    ).T,
)
"""(18, 3) probability indices (zero, first, later) that tables are stated relative to: without and with a previous
residual."""

DEFAULT_SIGNS = np.array((34, 36, 38, 39, 42, 47, 54), np.int64)
"""Probability indices of the predicted sign, for sign classes 1 to 7, that those of a stream are stated relative to."""
