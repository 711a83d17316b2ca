"""The coding of displacements in contexts of how much their neighbours differ."""

from __future__ import annotations

import numpy as np
import plain_motion
import pytest

from taichi_vvc.coding import displacements, tables
from taichi_vvc.coding.motion_contexts import (
    SPATIAL,
    TEMPORAL,
    THRESHOLDS,
    decode_motion,
    encode_motion,
)
from taichi_vvc.coding.moved_masks import filled
from taichi_vvc.errors import CorruptStream

SHAPE = (9, 7, 10)


def field(seed: int, noise: float = 0.6) -> tuple[np.ndarray, np.ndarray]:
    """A smooth field of displacements with some noise, and the nodes that are coded."""
    rng = np.random.default_rng(seed)
    z, y, x = np.indices(SHAPE) / 4.0
    smooth = np.stack([6 * np.sin(x + y), 4 * np.cos(z), 3 * y], 3)
    coded = (x - 1) ** 2 + (y - 0.8) ** 2 + (z - 1) ** 2 < 1.2
    return np.rint(smooth + rng.normal(0, noise, smooth.shape)).astype(np.int32), coded


@pytest.mark.parametrize("noise", [0.0, 0.6, 40.0, 900.0])
def test_both_ways_of_prediction(noise: float) -> None:
    now, coded = field(1, noise)
    before, _ = field(2, noise)
    for reference in (None, before, now - 1):
        payload = encode_motion(now, coded, reference)
        assert payload[0] == (SPATIAL if reference is None or (reference is before and noise > 1) else payload[0])
        found = decode_motion(payload, coded, reference)
        np.testing.assert_array_equal(found[coded], now[coded])
        assert not found[~coded].any()
        np.testing.assert_array_equal(plain_motion.decode_contexts(payload, coded, reference), filled(found, coded))
    assert encode_motion(now, coded, now - 1)[0] == TEMPORAL


def test_contexts_cost_less() -> None:
    before, coded = field(3, 0.0)
    now = before.copy()
    now[..., 4:, :] += np.random.default_rng(4).integers(-2, 3, now[..., 4:, :].shape).astype(np.int32)
    old = displacements.encode_motion(np.where(coded[..., None], now, 0), coded, before)
    assert len(encode_motion(now, coded, before)) < 0.9 * len(old)


def test_nothing_moves() -> None:
    _, coded = field(1)
    assert encode_motion(np.zeros((*SHAPE, 3), np.int32), coded, None) == b""
    assert encode_motion(np.ones((*SHAPE, 3), np.int32), np.zeros(SHAPE, bool), None) == b""


def test_bytes_are_pinned() -> None:
    now, coded = field(5)
    before, _ = field(6)
    assert [encode_motion(now, coded, b).hex()[:32] for b in (None, before)] == PINNED
    assert THRESHOLDS == tuple(sorted(THRESHOLDS)) and tables.EVEN == 32


PINNED = ["05509c74ff070ecd9ebfb9a5a8a76d97", "05509c74ff070ecd9ebfb9a5a8a76d97"]


def test_damaged_payloads_are_refused() -> None:
    now, coded = field(7)
    payload = encode_motion(now, coded, None)
    with pytest.raises(CorruptStream, match="which has none"):
        decode_motion(bytes([TEMPORAL]) + payload[1:], coded, None)
    for damaged in (payload[:-4], payload[:-1], payload + bytes(8)):
        with pytest.raises(CorruptStream):
            decode_motion(damaged, coded, None)
    rng = np.random.default_rng(8)
    for _ in range(40):
        mutated = bytearray(payload)
        mutated[int(rng.integers(1, len(payload)))] ^= 1 << int(rng.integers(8))
        try:
            decode_motion(bytes(mutated), coded, None)
        except CorruptStream:
            continue
