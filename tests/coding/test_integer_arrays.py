"""Integer arrays of any distribution: round trips, sizes, pinned bytes, damage."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from taichi_vvc.coding import entropy, integer_arrays
from taichi_vvc.errors import CorruptStream


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 30).flatmap(lambda n: arrays.arrays(np.int32, n, elements=wide())), max_size=5))
def test_any_integers_round_trip(values) -> None:
    payload = entropy.encode_integers(values)
    found = entropy.decode_integers(payload, [array.shape for array in values])
    assert len(found) == len(values)
    for a, b in zip(found, values, strict=True):
        assert a.dtype == np.int32
        np.testing.assert_array_equal(a, b)


def wide():
    return st.integers(-9, 9) | st.integers(-(1 << 20), 1 << 20)


def test_weights_cost_little_more_than_their_entropy() -> None:
    rng = np.random.default_rng(0)
    shapes = [(12, 64), (64,), (64, 16), (16,), (30, 64), (64,), (64, 3), (3,)]
    values = [np.rint(rng.normal(0, 20, shape)).astype(np.int32) for shape in shapes]
    entropy_bytes = sum(v.size for v in values) * np.log2(20 * np.sqrt(2 * np.pi * np.e)) / 8
    assert len(entropy.encode_integers(values)) < 1.02 * entropy_bytes


def test_buckets_cover_all_magnitudes() -> None:
    magnitudes = np.concatenate([np.arange(5000), [(1 << 20) - 1, 1 << 20]])
    buckets = integer_arrays.bucket_of(magnitudes)
    assert buckets.max() < integer_arrays.BUCKETS
    for magnitude, bucket in zip(magnitudes.tolist(), buckets.tolist(), strict=True):
        base, bits = integer_arrays.bucket_base(bucket)
        assert base <= magnitude < base + (1 << bits)


def test_pinned_integers_decode() -> None:
    found = entropy.decode_integers(bytes.fromhex(PINNED_INTEGERS), [(36,), (2, 2)])
    assert found[0].tolist() == list(range(-6, 30))
    assert found[1].tolist() == [[0, 1], [-1, 300]]


PINNED_INTEGERS = "d975737f6765f9405f2ce7b3bff640be0fab712f0f47624b57decb6000b82b78f81f010026d9dba872f5c885"


def test_damaged_integers_never_surprise() -> None:
    values = [np.arange(-60, 60, dtype=np.int32)]
    payload = entropy.encode_integers(values)
    for position in range(len(payload)):
        mutated = bytearray(payload)
        mutated[position] ^= 0xFF
        try:
            assert np.abs(entropy.decode_integers(bytes(mutated), [(120,)])[0]).max() <= 1 << 20
        except CorruptStream:
            pass
    with pytest.raises(ValueError, match="larger"):
        entropy.encode_integers([np.array([1 << 21], np.int32)])
