"""Custom contexts: exact round trips, fewer bytes, and no access to symbols that are not decoded yet."""

from __future__ import annotations

import numpy as np
import pytest
import streams
from hypothesis import given, settings
from hypothesis import strategies as st

from taichi_vvc.coding.custom import decode_with_contexts, encode_with_contexts
from taichi_vvc.errors import ConfigError, CorruptStream


def checkerboard(shape: tuple[int, ...]) -> list[np.ndarray]:
    """Two passes: nodes of even and of odd parity."""
    parity = np.indices(shape).sum(axis=0) % 2
    return [np.flatnonzero(parity == k) for k in (0, 1)]


def neighbours(passes: list[np.ndarray], contexts: int):
    """The sum of the magnitudes before and after along every axis, at most ``contexts - 1``."""

    def context(known: np.ndarray, number: int) -> np.ndarray:
        padded = np.pad(np.abs(known), 1)
        total = sum(np.roll(padded, step, axis) for axis in range(known.ndim) for step in (-1, 1))
        inner = total[(slice(1, -1),) * known.ndim]
        return np.minimum(inner.reshape(-1)[passes[number]], contexts - 1)

    return context


def one(passes: list[np.ndarray]):
    return lambda known, number: np.zeros(passes[number].size, np.int64)


@given(st.lists(st.integers(1, 7), min_size=1, max_size=4), st.integers(1, 9), st.integers(0, 2**32 - 1))
@settings(max_examples=40, deadline=None)
def test_what_was_coded_is_decoded(shape: list[int], contexts: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    symbols = np.rint(rng.laplace(size=shape) * rng.choice([0.2, 2.0, 40.0, 1e5])).astype(np.int32)
    symbols = np.clip(symbols, -(1 << 20), 1 << 20)
    passes = checkerboard(symbols.shape)
    context = neighbours(passes, contexts)
    payload = encode_with_contexts(symbols, passes, context, contexts)
    decoded = decode_with_contexts(payload, symbols.shape, passes, context, contexts)
    assert decoded.dtype == np.int32
    np.testing.assert_array_equal(decoded, symbols)


def test_a_context_that_tells_something_saves_bytes() -> None:
    symbols, _, _ = streams.residual((24, 20, 16, 2), 3)
    passes = checkerboard(symbols.shape)
    plain = len(encode_with_contexts(symbols, passes, one(passes), 1))
    aware = len(encode_with_contexts(symbols, passes, neighbours(passes, 8), 8))
    assert aware < 0.9 * plain


def test_tables_reach_the_entropy_of_independent_symbols() -> None:
    symbols = np.rint(np.random.default_rng(0).laplace(size=40_000) * 0.7).astype(np.int32)
    passes = [np.arange(symbols.size)]
    counts = np.unique(symbols, return_counts=True)[1]
    entropy = -(counts * np.log2(counts / symbols.size)).sum() / 8
    assert entropy - 8 < len(encode_with_contexts(symbols, passes, one(passes), 1)) < 1.01 * entropy + 16


def test_only_the_passes_are_coded() -> None:
    symbols = np.zeros((6, 6), np.int32)
    symbols[2:4] = 5
    passes = [np.arange(12, 24)]
    payload = encode_with_contexts(symbols, passes, one(passes), 1)
    np.testing.assert_array_equal(decode_with_contexts(payload, (6, 6), passes, one(passes), 1), symbols)
    with pytest.raises(ConfigError, match="every nonzero symbol in some pass"):
        encode_with_contexts(symbols + 1, passes, one(passes), 1)
    assert encode_with_contexts(np.zeros((0, 3), np.int32), [], one([]), 0) == encode_with_contexts(
        np.zeros(5, np.int32), [], one([]), 0
    )


def test_the_function_sees_what_the_decoder_knows_and_cannot_change_it() -> None:
    symbols = np.arange(1, 9, dtype=np.int32)
    passes = [np.array([1, 3]), np.array([0, 2, 4, 5, 6, 7])]
    seen = []

    def look(known: np.ndarray, number: int) -> np.ndarray:
        seen.append(known.copy())
        with pytest.raises(ValueError, match="read-only"):
            known[0] = 1
        return np.zeros(passes[number].size, np.int64)

    payload = encode_with_contexts(symbols, passes, look, 1)
    np.testing.assert_array_equal(decode_with_contexts(payload, (8,), passes, look, 1), symbols)
    for first, second in (seen[:2], seen[2:]):
        assert not first.any()
        np.testing.assert_array_equal(second, [0, 2, 0, 4, 0, 0, 0, 0])


@pytest.mark.parametrize(
    ("answer", "found"),
    [
        (lambda n: np.zeros(n + 1, np.int64), "shape"),
        (np.zeros, "float64"),
        (lambda n: np.full(n, 3), "found 3..3"),
        (lambda n: np.full(n, -1), "found -1..-1"),
    ],
)
def test_wrong_contexts_are_refused(answer, found: str) -> None:
    with pytest.raises(ConfigError, match=found):
        encode_with_contexts(np.ones(4, np.int32), [np.arange(4)], lambda known, number: answer(4), 3)


@pytest.mark.parametrize(
    ("symbols", "passes", "found"),
    [
        (np.array([1 << 21]), [np.arange(1)], "larger ones"),
        (np.ones(3, np.int32), [np.array([0, 1]), np.array([1, 2])], "twice"),
        (np.ones(3, np.int32), [np.array([0, 1, 3])], "found 0..3"),
    ],
)
def test_wrong_symbols_and_passes_are_refused(symbols: np.ndarray, passes: list[np.ndarray], found: str) -> None:
    with pytest.raises(ConfigError, match=found):
        encode_with_contexts(symbols, passes, one(passes), 1)


def test_damaged_bytes_are_refused_or_decode_to_something_else() -> None:
    symbols = np.rint(np.random.default_rng(1).laplace(size=600) * 3).astype(np.int32)
    passes = checkerboard(symbols.shape)
    context = neighbours(passes, 4)
    payload = encode_with_contexts(symbols, passes, context, 4)
    refused = 0
    for cut in range(0, len(payload), 3):
        try:
            decoded = decode_with_contexts(payload[:cut], symbols.shape, passes, context, 4)
            assert not np.array_equal(decoded, symbols)
        except CorruptStream:
            refused += 1
    assert refused > 0
