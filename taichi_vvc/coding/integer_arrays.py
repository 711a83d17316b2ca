"""Tables for arrays of integers of any shape of distribution (the MLP's quantised weights).

Magnitudes fall into buckets, two per octave; a table gives the buckets' frequencies, and the place within the bucket
and the sign are raw bits. Normative text: ``docs/bitstream.md``, section "Integer arrays".
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from taichi_vvc.coding import tables
from taichi_vvc.coding.small_integers import ESCAPE, Reader, Writer, read_indices, read_side, write_side
from taichi_vvc.errors import CorruptStream

BUCKETS = 41
"""Buckets of magnitudes up to 2^20."""

FIRST_INDEX = 24
"""The probability index that the first one of a table is stated relative to."""


def bucket_of(magnitudes: np.ndarray) -> np.ndarray:
    """Bucket of int64 magnitudes: 0 and 1 have their own, later octaves are cut in half."""
    octave = np.maximum(np.frexp(np.maximum(magnitudes, 1).astype(np.float64))[1].astype(np.int64) - 1, 0)
    upper = magnitudes >> np.maximum(octave - 1, 0) & 1
    return np.where(magnitudes < 2, magnitudes, 2 * octave + upper)


def bucket_base(bucket: int) -> tuple[int, int]:
    """(smallest magnitude, number of raw bits) of a bucket."""
    if bucket < 2:
        return bucket, 0
    return (2 + bucket % 2) << (bucket // 2 - 1), bucket // 2 - 1


def bucket_table(indices: np.ndarray) -> np.ndarray:
    """(n + 1,) int64 frequencies from n probability indices: of each bucket unless smaller; the last has the rest."""
    spare = tables.TOTAL - (len(indices) + 1)
    frequencies = np.ones(len(indices) + 1, np.int64)
    for bucket, index in enumerate(indices):
        part = spare * int(tables.PROBABILITIES[index]) >> tables.PRECISION
        frequencies[bucket] += part
        spare -= part
    frequencies[-1] += spare
    return frequencies


def fit_bucket_indices(counts: np.ndarray) -> np.ndarray:
    """The indices of largest likelihood for the counts of buckets 0 .. last."""
    later = counts[::-1].cumsum()[::-1][1:].astype(np.float64)
    hit = counts[:-1]
    return tables.nearest_index((hit + 0.4) / (hit + later + 0.8))


def write(writer: Writer, arrays: Sequence[np.ndarray]) -> None:
    """Codes integer arrays of any shape, each with a table of its own or with the one before it."""
    current = np.zeros(0, np.int64)
    for array in arrays:
        values = array.reshape(-1).astype(np.int64)
        magnitudes = np.abs(values)
        buckets = bucket_of(magnitudes)
        counts = np.bincount(buckets, minlength=1)
        fitted = fit_bucket_indices(counts)
        again = not _is_cheaper(fitted, current, counts)
        write_side(writer, np.array([int(again)]))
        if not again:
            current = fitted
            write_side(writer, np.array([current.size]))
            write_side(writer, np.diff(current, prepend=FIRST_INDEX))
        if not current.size:
            continue
        writer.symbols(buckets.astype(np.int32), bucket_table(current))
        for bucket in np.unique(buckets).tolist():
            base, raw = bucket_base(bucket)
            writer.raw(magnitudes[buckets == bucket] - base, raw)
        writer.raw((values[values != 0] < 0).astype(np.int64), 1)


def _is_cheaper(fitted: np.ndarray, current: np.ndarray, counts: np.ndarray) -> bool:
    """Whether stating the ``fitted`` table costs fewer bits than coding with the ``current`` one."""
    if counts.size > current.size + 1:
        return True
    steps = np.minimum(np.abs(np.diff(fitted, prepend=FIRST_INDEX)), ESCAPE)
    cost = (tables.PRECISION + 1 - np.log2(tables.SIDE_TABLE))[steps].sum()
    old = counts @ np.log2(bucket_table(current)[: counts.size])
    new = counts @ np.log2(bucket_table(fitted))
    return bool(new - old > cost + 6)


def read(reader: Reader, shapes: Sequence[tuple[int, ...]]) -> list[np.ndarray]:
    """The inverse of :func:`write`: int32 arrays of these shapes. Raises :class:`CorruptStream`."""
    current = np.zeros(0, np.int64)
    arrays = []
    for shape in shapes:
        size = int(np.prod(shape, dtype=np.int64))
        again = int(read_indices(reader, np.zeros(1, np.int64), 2, "a flag")[0])
        if not again:
            count = int(read_indices(reader, np.zeros(1, np.int64), BUCKETS, "a number of buckets")[0])
            current = FIRST_INDEX + np.cumsum(read_side(reader, count), dtype=np.int64)
            if current.min(initial=0) < 0 or current.max(initial=0) >= tables.LEVELS:
                raise CorruptStream(f"expected probability indices in 0..{tables.LEVELS - 1}, found others")
        values = np.zeros(size, np.int64)
        if current.size:
            buckets = reader.symbols(size, bucket_table(current))
            for bucket in np.unique(buckets).tolist():
                base, raw = bucket_base(bucket)
                chosen = buckets == bucket
                values[chosen] = base + reader.raw(int(chosen.sum()), raw)
            nonzero = values != 0
            values[nonzero] *= 1 - 2 * reader.raw(int(nonzero.sum()), 1)
        if np.abs(values).max(initial=0) > tables.LARGEST_MAGNITUDE:
            raise CorruptStream(f"expected integers up to {tables.LARGEST_MAGNITUDE}, found larger ones")
        arrays.append(values.astype(np.int32).reshape(shape))
    return arrays
