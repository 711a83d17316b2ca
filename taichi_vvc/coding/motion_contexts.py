"""The coding of displacements since version 8: differences to predictions, in contexts of how much neighbours differ.

Lattice nodes are taken in the order of an occupancy mask's cells, and predicted from the neighbours that are known by
then, as in :mod:`taichi_vvc.coding.displacements`. How far those neighbours are from the prediction says how large the
difference will be; which way the prediction was rounded says something of its sign. Normative text:
``docs/bitstream.md``, "Displacements in contexts".
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass

import numpy as np

from taichi_vvc.coding import tables
from taichi_vvc.coding.displacements import CHUNK, WEIGHTS, Lattice
from taichi_vvc.coding.entropy import RangeReader, RangeWriter
from taichi_vvc.coding.passes import advance
from taichi_vvc.coding.small_integers import ESCAPE, Reader, Writer, read_escapes, write_escapes
from taichi_vvc.errors import CorruptStream

SPATIAL, TEMPORAL = 5, 6
"""The first byte of a payload: displacements are predicted themselves, or their differences to the frame before."""

FIRST_BYTES = (bytes([SPATIAL]), bytes([TEMPORAL]))

THRESHOLDS = (1, 2, 3, 5, 8, 13, 21, 34, 55, 89, 144, 233)
"""Of what neighbours differ from the prediction, in sixteenths of a unit, between bins."""

OFFSETS = {4: 1, 2: 0, 1: 0}
"""What is added to the bin by the spacing of a pass."""

BINS = 15
"""The last one is for nodes without known neighbours."""

ZERO = (44, 42, 41, 38, 35, 32, 28, 24, 20, 19, 18, 18, 18, 18, 36)
FIRST = (40, 40, 42, 41, 42, 41, 38, 34, 29, 24, 22, 22, 22, 22, 32)
LATER = (35, 34, 33, 33, 34, 35, 35, 34, 32, 28, 26, 26, 26, 26, 34)
"""Probability indices per bin: of 0 to begin with, of magnitude 1 unless 0, of each later one unless smaller."""

STRENGTH = 16
"""How many numbers what is known of zeros to begin with counts for."""

SIGN = 37
"""Probability index of the sign that rounding says."""

ESCAPE_ORDER = 3


@dataclass(frozen=True)
class Pass:
    """One pass over the coded lattice nodes.

    Attributes:
        rows: (n,) positions of its nodes among all coded ones, in C order.
        predicted: (n, 3) int64, their predictions.
        bins: (3 n,) uint8, bin of each number: x, y, z of the first node, and so on.
        signs: (3 n,) int8, the sign that rounding says of it, 0 for none.
        frequencies: (BINS, 17) of magnitudes.
    """

    rows: np.ndarray
    predicted: np.ndarray
    bins: np.ndarray
    signs: np.ndarray
    frequencies: np.ndarray


_PROBABILITY = tables.PROBABILITIES
_FIRST, _LATER = (_PROBABILITY[np.array(indices)] for indices in (FIRST, LATER))
_UNIT = 64  # what a number adds to a count
_ZEROS = _PROBABILITY[np.array(ZERO)] * (STRENGTH * _UNIT) >> tables.PRECISION
_COUNTS = np.stack([STRENGTH * _UNIT - _ZEROS, _ZEROS])
SIGN_TABLE = tables.binary_table(SIGN)


def walk(coded: np.ndarray) -> Generator[Pass, np.ndarray | None, None]:
    """Yields each pass that has nodes, and is sent the (n, 3) differences to its predictions. Both directions use it.

    Predictions are means, so that 22 passes of differences up to 2^20 keep values below 2^25.

    Args:
        coded: (mz, my, mx) bool, the lattice nodes that are coded.
    """
    lattice, seen = Lattice(coded), _COUNTS.copy()
    for spacing, rows in lattice.passes:
        parts = [_expected(lattice, rows[first : first + CHUNK], spacing) for first in range(0, rows.size, CHUNK)]
        predicted, bins, signs = (np.concatenate(part) for part in zip(*parts, strict=True))
        zero = (seen[1] << tables.PRECISION) // (seen[0] + seen[1])
        frequencies = tables.magnitude_tables(zero, _FIRST, _LATER)
        found = yield Pass(rows, predicted, bins.reshape(-1), signs.reshape(-1), frequencies)
        assert found is not None
        size = np.bincount(bins.reshape(-1), minlength=BINS)
        zeros = np.bincount(bins[found == 0], minlength=BINS)
        seen[1] += _UNIT * zeros
        seen[0] += _UNIT * (size - zeros)
        lattice.learn(rows, predicted + found)


def _expected(lattice: Lattice, rows: np.ndarray, spacing: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Predictions, bins and signs of some nodes, (n, 3) each."""
    shape = (rows.size, 3)
    if not spacing:
        return np.zeros(shape, np.int64), np.full(shape, BINS - 1, np.uint8), np.zeros(shape, np.int8)
    near = lattice.near(rows, spacing)
    weight = WEIGHTS[:, None] * near[:, :, 3:]
    total, sums = weight.sum(1), (weight * near[:, :, :3]).sum(1)
    whole = np.maximum(total, 1)
    predicted = (2 * sums + total) // (2 * whole)
    apart = 16 * (weight * np.abs(near[:, :, :3] - predicted[:, None])).sum(1) // whole
    bins = np.searchsorted(THRESHOLDS, apart, "right") + OFFSETS[spacing]
    bins = np.where(total > 0, np.minimum(bins, BINS - 2), BINS - 1).astype(np.uint8)
    return predicted, bins, np.sign(sums - predicted * total).astype(np.int8)


def encode_motion(motion: np.ndarray, coded: np.ndarray, before: np.ndarray | None) -> bytes:
    """Codes displacements, the way that takes fewer bytes; none at all where nothing moves.

    Args:
        motion: (mz, my, mx, 3) int32; values outside ``coded`` do not count.
        coded: (mz, my, mx) bool, the lattice nodes that are coded.
        before: the displacements of the frame before, None if it has none.
    """
    values = motion[coded].astype(np.int64)
    if not values.any():
        return b""
    payloads = [_encoded(SPATIAL, values, coded)]
    if before is not None:
        payloads.append(_encoded(TEMPORAL, values - before[coded], coded))
    return min(payloads, key=len)


def _encoded(mode: int, values: np.ndarray, coded: np.ndarray) -> bytes:
    writer = RangeWriter()
    steps = walk(coded)
    part = advance(steps, None)
    while part is not None:
        found = values[part.rows] - part.predicted
        _write(writer, part, found.reshape(-1))
        part = advance(steps, found)
    return bytes([mode]) + writer.payload()


def _write(writer: Writer, part: Pass, values: np.ndarray) -> None:
    """Codes the differences of a pass: magnitudes by their bins, then escapes, then signs."""
    magnitudes = np.abs(values)
    symbols = np.minimum(magnitudes, ESCAPE).astype(np.int32)
    for number in np.unique(part.bins).tolist():
        writer.symbols(symbols[part.bins == number], part.frequencies[number])
    write_escapes(writer, magnitudes, ESCAPE_ORDER)
    present, signs = values != 0, part.signs
    said = present & (signs != 0)
    writer.symbols((np.sign(values[said]) == signs[said]).astype(np.int32), SIGN_TABLE)
    writer.raw((values[present & (signs == 0)] < 0).astype(np.int64), 1)


def decode_motion(payload: bytes, coded: np.ndarray, before: np.ndarray | None) -> np.ndarray:
    """The inverse of :func:`encode_motion`: (mz, my, mx, 3) int64, zero outside ``coded``.

    Raises:
        CorruptStream: the payload does not decode, or needs displacements before where there are none.
    """
    if payload[0] == TEMPORAL and before is None:
        raise CorruptStream("expected displacements without reference to the frame before, which has none")
    reader = RangeReader(payload[1:])
    values = np.zeros((int(np.count_nonzero(coded)), 3), np.int64)
    steps = walk(coded)
    part = advance(steps, None)
    while part is not None:
        found = _read(reader, part).reshape(-1, 3)
        values[part.rows] = part.predicted + found
        part = advance(steps, found)
    reader.finish()
    if payload[0] == TEMPORAL and before is not None:
        values += before[coded]
    motion = np.zeros((*coded.shape, 3), np.int64)
    motion[coded] = values
    return motion


def _read(reader: Reader, part: Pass) -> np.ndarray:
    """The inverse of :func:`_write`."""
    order = part.bins.argsort(kind="stable")
    used, counts = np.unique(part.bins, return_counts=True)
    magnitudes = np.empty(order.size, np.int32)
    magnitudes[order] = reader.groups(counts.tolist(), part.frequencies[used])
    values = read_escapes(reader, magnitudes, ESCAPE_ORDER).astype(np.int64)
    present, signs = values != 0, part.signs
    said, plain = present & (signs != 0), present & (signs == 0)
    values[said] *= signs[said] * (2 * reader.symbols(int(said.sum()), SIGN_TABLE).astype(np.int64) - 1)
    values[plain] *= 1 - 2 * reader.raw(int(plain.sum()), 1)
    return values
