"""Small signed integers of headers, and the escapes of large symbols: what surrounds the main tables.

Normative text: ``docs/bitstream.md``, sections "Side integers" and "Escapes".
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from taichi_vvc.coding import tables
from taichi_vvc.errors import CorruptStream

ESCAPE = tables.LARGEST + 1
"""Magnitude at which a symbol is escaped."""

_CLASSES = 21
_CLASS_TABLE = np.array([1 << (23 - k) for k in range(_CLASSES - 1)] + [1 << (24 - _CLASSES + 1)], np.int64)


class Writer(Protocol):
    """What this module needs of :class:`taichi_vvc.coding.entropy.RangeWriter`."""

    bits: float

    def symbols(self, values: np.ndarray, frequencies: np.ndarray) -> None: ...

    def raw(self, values: np.ndarray, count: int) -> None: ...


class BitCounter:
    """A :class:`Writer` that only counts."""

    def __init__(self) -> None:
        self.bits = 0.0

    def symbols(self, values: np.ndarray, frequencies: np.ndarray) -> None:
        """Counts integers in ``[0, len(frequencies))``."""
        counts = np.bincount(values, minlength=frequencies.size)
        self.bits += float(counts @ (tables.PRECISION - np.log2(frequencies)))

    def raw(self, values: np.ndarray, count: int) -> None:
        """Counts ``count`` bits per value."""
        self.bits += values.size * count


class Reader(Protocol):
    """What this module needs of :class:`taichi_vvc.coding.entropy.RangeReader`."""

    def symbols(self, count: int, frequencies: np.ndarray) -> np.ndarray: ...

    def groups(self, counts: Sequence[int], frequencies: np.ndarray) -> np.ndarray: ...

    def raw(self, count: int, bits: int) -> np.ndarray: ...


def best_escape_shift(excess: np.ndarray) -> int:
    """The Exp-Golomb order with the fewest bits for nonnegative ``excess``."""
    if not excess.size:
        return 0
    costs = []
    for shift in range(16):
        _, bits = np.frexp((excess + (1 << shift)).astype(np.float64))
        costs.append(int((2 * (bits - 1) - shift).sum()))
    return int(np.argmin(costs))


def write_escapes(writer: Writer, magnitudes: np.ndarray, shift: int) -> None:
    """The magnitudes beyond the alphabet, in the order of ``magnitudes``; ``shift`` is the Exp-Golomb order."""
    excess = magnitudes[magnitudes >= ESCAPE].astype(np.int64) - ESCAPE
    if not excess.size:
        return
    shifted = excess + (1 << shift)
    lengths = np.frexp(shifted.astype(np.float64))[1].astype(np.int64) - 1
    writer.symbols(lengths - shift, _CLASS_TABLE)
    for length in np.unique(lengths):
        chosen = shifted[lengths == length]
        writer.raw(chosen - (1 << int(length)), int(length))


def read_escapes(reader: Reader, magnitudes: np.ndarray, shift: int) -> np.ndarray:
    """``magnitudes`` with its escapes (16) replaced by those that follow in the stream."""
    where = np.nonzero(magnitudes >= ESCAPE)[0]
    if not where.size:
        return magnitudes
    lengths = reader.symbols(where.size, _CLASS_TABLE).astype(np.int64) + shift
    excess = np.zeros(where.size, np.int64)
    for length in np.unique(lengths):
        chosen = lengths == length
        excess[chosen] = reader.raw(int(chosen.sum()), int(length)) + (1 << int(length)) - (1 << shift)
    if excess.max() > tables.LARGEST_MAGNITUDE - ESCAPE:
        largest = int(excess.max()) + ESCAPE
        raise CorruptStream(f"expected symbols up to {tables.LARGEST_MAGNITUDE}, found {largest}; the file is damaged")
    values = magnitudes.astype(np.int32)
    values[where] += excess.astype(np.int32)
    return values


def write_side(writer: Writer, values: np.ndarray, frequencies: np.ndarray = tables.SIDE_TABLE) -> None:
    """Small signed integers of a header: magnitudes by a fixed table, escapes of order 0, signs as raw bits."""
    magnitudes = np.abs(values)
    writer.symbols(np.minimum(magnitudes, ESCAPE), frequencies)
    write_escapes(writer, magnitudes, 0)
    writer.raw((values[values != 0] < 0).astype(np.int64), 1)


def read_side(reader: Reader, count: int, frequencies: np.ndarray = tables.SIDE_TABLE) -> np.ndarray:
    """The inverse of :func:`write_side`: (count,) int64."""
    values = read_escapes(reader, reader.symbols(count, frequencies), 0).astype(np.int64)
    nonzero = values != 0
    values[nonzero] *= 1 - 2 * reader.raw(int(nonzero.sum()), 1)
    return values


def read_indices(
    reader: Reader, expected: np.ndarray, limit: int, what: str, frequencies: np.ndarray = tables.SIDE_TABLE
) -> np.ndarray:
    """Integers in ``[0, limit)`` stated as differences to ``expected``."""
    values = expected + read_side(reader, expected.size, frequencies).reshape(expected.shape)
    if values.min(initial=0) < 0 or values.max(initial=0) >= limit:
        raise CorruptStream(f"expected {what} in 0..{limit - 1}, found {int(values.min())}..{int(values.max())}")
    return values
