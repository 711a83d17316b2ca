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
"""Magnitudes up to this have a symbol of their own; one escape symbol on either side stands for all larger ones."""

ALPHABET = 2 * LARGEST + 3
"""Coded alphabet: symbol ``k`` stands for the value ``k - LARGEST - 1``; the first and the last are the escapes."""

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


def nearest_index(p: np.ndarray) -> np.ndarray:
    """The index whose probability is nearest to ``p`` (float, 0..1) in log odds. For encoders only."""
    p = np.clip(p, 1e-9, 1 - 1e-9)
    return np.clip(np.rint(EVEN + 4 * np.log2(p / (1 - p))), 0, LEVELS - 1).astype(np.int64)


def _tables(zero: np.ndarray, positive: np.ndarray, first: np.ndarray, later: np.ndarray) -> np.ndarray:
    """(n, 33) int64 frequencies from four (n,) int64 probabilities out of 2^24.

    They are: of zero; of a positive sign unless zero; of magnitude 1 unless zero; of each later magnitude unless
    smaller.
    """
    spare = TOTAL - ALPHABET
    frequencies = np.ones((zero.size, ALPHABET), np.int64)
    centre = LARGEST + 1
    at_zero = (spare * zero) >> PRECISION
    frequencies[:, centre] += at_zero
    rest = spare - at_zero
    upper = (rest * positive) >> PRECISION
    for side, mass in ((1, upper), (-1, rest - upper)):
        for magnitude in range(1, LARGEST + 1):
            part = (mass * (first if magnitude == 1 else later)) >> PRECISION
            frequencies[:, centre + side * magnitude] += part
            mass = mass - part
        frequencies[:, centre + side * (LARGEST + 1)] += mass
    return frequencies


def context_tables(indices: np.ndarray) -> np.ndarray:
    """(n, 33) int64 frequencies from (n, 3) probability indices in 0..95: zero, first, later."""
    zero, first, later = PROBABILITIES[indices.T]
    return _tables(zero, np.full_like(zero, PROBABILITIES[EVEN]), first, later)


def laplace_tables(scales: np.ndarray) -> np.ndarray:
    """(n, 33) int64 frequencies of Laplace distributions integrated over unit intervals.

    ``scales`` (n,) in 0..95: the probability of a nonzero, exp(-1/(2b)), is ``1 - probability(scale)``.
    """
    zero = PROBABILITIES[scales]
    nonzero = TOTAL - zero
    stop = TOTAL - ((nonzero * nonzero) >> PRECISION)
    return _tables(zero, np.full_like(zero, PROBABILITIES[EVEN]), stop, stop)


SIDE_TABLE = context_tables(np.array([[32, 33, 30]]))[0]
"""The table of small signed integers in headers."""


def code_lengths(tables: np.ndarray) -> np.ndarray:
    """Bits per symbol of (n, 33) integer tables, as float32."""
    return (PRECISION - np.log2(tables)).astype(np.float32)


def fit_context_indices(histograms: np.ndarray) -> np.ndarray:
    """(n, 3) probability indices (zero, first, later) of largest likelihood for (n, 33) symbol counts.

    The encoder's side of :func:`context_tables`; half a count of each outcome keeps empty contexts near one half.
    """
    h = histograms.astype(np.float64)
    centre = LARGEST + 1
    folded = h[:, centre:] + h[:, centre::-1]
    zeros = h[:, centre]
    folded[:, 0] = 0
    nonzero = folded.sum(1)
    ones = folded[:, 1]
    large = nonzero - ones
    distance = np.maximum(np.arange(centre + 1) - 2, 0)
    passed = folded @ distance
    stopped = large - folded[:, -1]

    def index(hit: np.ndarray, miss: np.ndarray) -> np.ndarray:
        return nearest_index((hit + 0.4) / (hit + miss + 0.8))

    # Lengths must not fall as magnitudes grow: a fit that is driven by them would settle on the larger symbols.
    later = index(stopped, passed)
    p = PROBABILITIES[later] / TOTAL
    first = np.maximum(index(ones, large), nearest_index(p / (1 + p)) + 1)
    p = PROBABILITIES[first] / TOTAL / 2
    zero = np.maximum(index(zeros, nonzero), nearest_index(p / (1 + p)) + 1)
    return np.stack([zero, first, later], 1)
