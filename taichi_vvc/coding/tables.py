"""Parametric frequency tables in integer arithmetic.

A table is chosen by a few small integers that are in the stream, and is computed from them with integers only, so that
every machine gets the same one. The formulas are normative: ``docs/bitstream.md``, section "Tables".
"""

from __future__ import annotations

import numpy as np

PRECISION = 24
TOTAL = 1 << PRECISION
"""All frequencies of a table sum to this."""

LARGEST = 15
"""Magnitudes up to this have a symbol of their own; one escape symbol stands for all larger ones."""

ALPHABET = LARGEST + 2
"""Symbols of a magnitude table: 0 .. 15, and 16 for the escape."""

LARGEST_MAGNITUDE = 1 << 20
"""No symbol of a stream is larger."""

LEVELS = 96
"""Number of probability indices."""

EVEN = 32
"""The probability index that means one half."""

_QUARTER_OCTAVES = (65536, 77936, 92682, 110218)  # round(2^16 * 2^(k/4))


def probability(index: int) -> int:
    """The probability with odds 2^((index - 32) / 4), as an integer out of 2^24. ``index`` in 0..95."""
    odds = _QUARTER_OCTAVES[index % 4] << (index // 4)
    return (odds << PRECISION) // (odds + (65536 << 8))


PROBABILITIES = np.array([probability(index) for index in range(LEVELS)], np.int64)
PROBABILITIES.setflags(write=False)

HIT_BITS = PRECISION - np.log2(PROBABILITIES)
MISS_BITS = PRECISION - np.log2(TOTAL - PROBABILITIES)
"""Bits of an event and of its opposite at each index; for encoders only."""


def magnitude_tables(zero: np.ndarray, first: np.ndarray, later: np.ndarray) -> np.ndarray:
    """(n, 17) int64 frequencies from three (n,) int64 probabilities out of 2^24.

    They are: of zero; of magnitude 1 unless zero; of each later magnitude unless smaller.
    """
    frequencies = np.ones((zero.size, ALPHABET), np.int64)
    mass = np.full(zero.size, TOTAL - ALPHABET, np.int64)
    for magnitude in range(LARGEST + 1):
        part = (mass * (zero, first, later)[min(magnitude, 2)]) >> PRECISION
        frequencies[:, magnitude] += part
        mass = mass - part
    frequencies[:, ALPHABET - 1] += mass
    return frequencies


def context_tables(indices: np.ndarray) -> np.ndarray:
    """(n, 17) magnitude frequencies from (n, 3) probability indices in 0..95: zero, first, later."""
    zero, first, later = PROBABILITIES[indices.T]
    return magnitude_tables(zero, first, later)


def laplace_tables(scales: np.ndarray) -> np.ndarray:
    """(n, 17) magnitude frequencies of Laplace distributions integrated over unit intervals.

    ``scales`` (n,) in 0..95: the probability of a nonzero, exp(-1/(2b)), is ``1 - probability(scale)``.
    """
    zero = PROBABILITIES[scales]
    nonzero = TOTAL - zero
    stop = TOTAL - ((nonzero * nonzero) >> PRECISION)
    return magnitude_tables(zero, stop, stop)


def binary_table(index: int) -> np.ndarray:
    """(2,) int64 frequencies of an event's absence and presence."""
    present = int(PROBABILITIES[index])
    return np.array([TOTAL - present, present], np.int64)


SIDE_TABLE, SPARSE_TABLE = context_tables(np.array([[32, 33, 30], [44, 24, 26]]))
"""The tables of the magnitudes of small signed integers in headers, and of such as are mostly zero."""


def nearest_index(p: np.ndarray) -> np.ndarray:
    """The index whose probability is nearest to ``p`` (float, 0..1) in log odds. For encoders only."""
    p = np.clip(p, 1e-9, 1 - 1e-9)
    return np.clip(np.rint(EVEN + 4 * np.log2(p / (1 - p))), 0, LEVELS - 1).astype(np.int64)


def best_index(hits: np.ndarray, misses: np.ndarray) -> np.ndarray:
    """The index of largest likelihood for counts of an event and of its opposite. For encoders only."""
    return nearest_index((hits + 0.4) / (hits + misses + 0.8))


def decisions(histograms: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(n, 3) hits and misses of the three decisions of :func:`context_tables` in (n, 17) magnitude counts."""
    h = histograms.astype(np.float64)
    nonzero = h[:, 1:].sum(1)
    large = nonzero - h[:, 1]
    passed = h @ np.maximum(np.arange(ALPHABET) - 2, 0)
    hits = np.stack([h[:, 0], h[:, 1], large - h[:, -1]], 1)
    misses = np.stack([nonzero, large, passed], 1)
    return hits, misses


def nonincreasing(indices: np.ndarray) -> np.ndarray:
    """(n, 3) indices raised where a larger magnitude would be likelier than a smaller one. For encoders only.

    A fit that is driven by such a table settles on the larger symbols and thereby confirms it.
    """
    zero, first, later = indices.T
    p = PROBABILITIES[later] / TOTAL
    first = np.maximum(first, np.ceil(EVEN + 4 * np.log2(p)).astype(np.int64))
    p = PROBABILITIES[first] / TOTAL / 2
    zero = np.maximum(zero, np.ceil(EVEN + 4 * np.log2(p)).astype(np.int64))
    return np.stack([zero, first, later], 1)
