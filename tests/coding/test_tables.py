"""Frequency tables, the range coder below them, and small integers: exactness and agreement with the document."""

from __future__ import annotations

import constriction
import independent_reader
import numpy as np
import plain_decoder
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from taichi_vvc.coding import entropy, small_integers, tables


def test_probabilities_follow_the_formula() -> None:
    assert [tables.probability(k) for k in (0, 32, 33, 95)] == [65280, 1 << 23, 9113618, 16776911]
    assert np.all(np.diff(tables.PROBABILITIES) > 0)
    for index in range(tables.LEVELS):
        odds = 2 ** ((index - 32) / 4)
        assert tables.PROBABILITIES[index] / tables.TOTAL == pytest.approx(odds / (1 + odds), rel=3e-5)


@settings(max_examples=200, deadline=None)
@given(arrays.arrays(np.int64, (5, 3), elements=st.integers(0, tables.LEVELS - 1)))
def test_tables_are_exact(indices) -> None:
    frequencies = tables.context_tables(indices)
    assert frequencies.shape == (5, 17)
    assert frequencies.min() >= 1
    assert np.all(frequencies.sum(1) == tables.TOTAL)
    assert np.all(tables.laplace_tables(indices[:, 0]).sum(1) == tables.TOTAL)


@settings(max_examples=30, deadline=None)
@given(arrays.arrays(np.int64, 3, elements=st.integers(0, tables.LEVELS - 1)))
def test_the_coder_gets_exactly_these_frequencies(indices) -> None:
    """The boundaries of every symbol's interval, probed by decoding words that point at them.

    With the full initial range the decoder's quantile is the top 24 bits of the first word pair.
    """
    frequencies = tables.context_tables(indices[None])[0]
    model = entropy.exact_model(frequencies)
    edges = np.concatenate([[0], np.cumsum(frequencies)])
    scale = (2**64 - 1) >> 24
    for symbol in range(17):
        for quantile in (int(edges[symbol]), int(edges[symbol + 1]) - 1):
            point = quantile * scale
            words = np.array([point >> 32, point & 0xFFFFFFFF], np.uint32)
            decoder = constriction.stream.queue.RangeDecoder(words)
            assert decoder.decode(model, 1)[0] == symbol


@pytest.mark.parametrize("size", [2, 21, 32, 33, 2048])
def test_alphabets_of_any_size_are_exact(size: int) -> None:
    """Small and large alphabets take different ways through the coder library."""
    frequencies = np.random.default_rng(size).integers(1, 3, size)
    frequencies[size // 2] += tables.TOTAL - frequencies.sum()
    values = np.random.default_rng(1).integers(0, size, 500)
    writer = entropy.RangeWriter()
    writer.symbols(values, frequencies)
    decoder = independent_reader.RangeDecoder(writer.payload())
    assert [decoder.symbol(frequencies.tolist()) for _ in values] == values.tolist()
    assert entropy.RangeReader(writer.payload()).symbols(500, frequencies).tolist() == values.tolist()


def test_tables_that_do_not_add_up_are_refused() -> None:
    with pytest.raises(AssertionError):
        entropy.exact_model(np.array([1, 2, 3]))
    with pytest.raises(AssertionError):
        entropy.exact_model(np.array([0, tables.TOTAL]))


def test_lengths_never_fall_as_magnitudes_grow() -> None:
    """Counts of a fit that sits on +-2 must not make +-2 cheaper than +-1."""
    counts = np.array([[100, 1, 900] + [0] * 14, [1, 5, 10, 100] + [50] * 13])
    fitted = tables.nonincreasing(tables.best_index(*tables.decisions(counts)))
    frequencies = tables.context_tables(fitted)
    assert np.all(np.diff(frequencies[:, 1:-1], axis=1) <= 2)
    assert np.all(frequencies[:, 0] * 2 + 2 >= frequencies[:, 1])


def test_the_documented_range_decoder_agrees() -> None:
    rng = np.random.default_rng(0)
    frequencies = tables.context_tables(np.array([[50, 30, 25]]))[0]
    values = rng.choice(17, 3000, p=frequencies / tables.TOTAL).astype(np.int32)
    writer = entropy.RangeWriter()
    writer.symbols(values, frequencies)
    writer.raw(np.arange(500), 13)
    decoder = independent_reader.RangeDecoder(writer.payload())
    assert [decoder.symbol(frequencies.tolist()) for _ in values] == values.tolist()
    assert plain_decoder.raw(decoder, 500, 13) == list(range(500))


def test_small_integers_and_escapes_round_trip() -> None:
    values = np.array([0, -1, 15, -16, 17, 96, -95, 1 << 20, -(1 << 20), 0])
    writer = entropy.RangeWriter()
    small_integers.write_side(writer, values)
    reader = entropy.RangeReader(writer.payload())
    assert small_integers.read_side(reader, values.size).tolist() == values.tolist()
    reader.finish()
    assert plain_decoder.side(independent_reader.RangeDecoder(writer.payload()), values.size) == values.tolist()
