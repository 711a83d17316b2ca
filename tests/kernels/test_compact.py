"""The compactness of rays against its definition: its gradient by central differences."""

from __future__ import annotations

import itertools

import numpy as np
import reference
from backends import down, gradient_of, ints, up
from taichi_vvc.kernels import compact

STARTS = [0, 0, 5, 6, 12]  # of four rays, the first without samples
STEP, SCALE, AWAY, HALF = 1 / 24, 0.7, 0.4, 3.0


def weights_of(raw: np.ndarray) -> tuple[np.ndarray, float]:
    weights, passed = [], 1.0
    for h in raw:
        weights.append(passed * (1 - np.exp(-reference.density(h) * STEP)))
        passed -= weights[-1]
    return np.array(weights), passed


def spread(raw: np.ndarray, distances: np.ndarray) -> float:
    """SCALE times the sum over rays and pairs of samples."""
    total = 0.0
    for first, last in itertools.pairwise(STARTS):
        w, m = weights_of(raw[first:last])[0], distances[first:last] / (distances[first:last] + HALF)
        total += float((w[:, None] * w * np.abs(m[:, None] - m)).sum() + AWAY * (w * (1 - m)).sum())
    return SCALE * total


def test_the_gradient_is_that_of_the_pairs() -> None:
    rng = np.random.default_rng(2)
    raw, distances = rng.uniform(1, 5, 12), rng.uniform(0.5, 2, 12)
    for first, last in itertools.pairwise(STARTS):
        distances[first:last] = np.cumsum(distances[first:last])
    parts = [weights_of(raw[a:b]) for a, b in itertools.pairwise(STARTS)]
    weights, passed = np.concatenate([w for w, _ in parts]), [p for _, p in parts]
    rows = np.zeros((12, 3), np.float32)
    rows[:, 0] = raw
    samples = np.zeros((12, 4), np.float32)
    samples[:, 3] = distances
    before = rng.standard_normal((12, 3)).astype(np.float32)
    slopes = up(before.reshape(-1))
    given = ints(STARTS), up(rows.reshape(-1)), up(samples.reshape(-1)), 3, STEP, SCALE, AWAY, HALF
    compact.compact_bwd(4, *given, up(weights), up(passed), slopes)
    found = down(slopes, 12, 3) - before
    expected = gradient_of(lambda r: spread(r, distances), raw, 1e-4)
    assert np.abs(expected).max() > 0.01
    np.testing.assert_allclose(found[:, 0], expected, atol=2e-5)
    assert (found[:, 1:] == 0).all()
