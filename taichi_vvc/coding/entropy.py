"""Entropy coding: integer symbols to bytes and back. The only module that imports constriction.

No floating-point number influences decoding: frequency tables come from integers in the stream (:mod:`.tables`), and
integer functions of symbols already decoded choose among them (:mod:`.contexts`). Format: ``docs/bitstream.md``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import constriction
import numpy as np

from taichi_vvc.coding import integer_arrays, occupancy_masks, tables
from taichi_vvc.errors import CorruptStream

_WORD = np.dtype("<u4")
_RAW_BITS = 11
_LARGEST_LAZY = 32


def exact_models(frequencies: np.ndarray) -> list[Any]:
    """constriction's models with exactly these (n, symbols) integer frequencies: at least 1, the sum of a row 2^24.

    ``perfect=False`` gives every symbol 1 and scales the rest by 2^24 - n over the sum of what it is given; with the
    frequencies less 1 that factor is exactly 1, and all cumulative sums are integers that float64 represents. ``lazy``
    chooses between two ways of computing the same sums: symbol by symbol as it searches, which is two to three times
    faster where the first few symbols are the likely ones, or all in advance.
    """
    if not frequencies.size:
        return []
    if frequencies.min() < 1 or np.any(frequencies.sum(1) != tables.TOTAL):
        raise AssertionError("a frequency table must be positive and sum to 2^24")
    lazy = frequencies.shape[1] <= _LARGEST_LAZY
    categorical = constriction.stream.model.Categorical
    return [categorical(row, lazy=lazy, perfect=False) for row in (frequencies - 1).astype(np.float64)]


def exact_model(frequencies: np.ndarray) -> Any:
    """The model of one row, see :func:`exact_models`."""
    return exact_models(frequencies[None])[0]


@dataclass(frozen=True)
class Coding:
    """Tables ready for use: a model of each, and (n, symbols) ``lengths`` in bits."""

    models: list[Any]
    lengths: np.ndarray

    @classmethod
    def of(cls, frequencies: np.ndarray) -> Coding:
        """That of (n, symbols) frequencies."""
        return cls(exact_models(frequencies), tables.PRECISION - np.log2(frequencies))


class RangeWriter:
    """Collects symbols into a range-coded byte string and counts their ideal code length in ``bits``."""

    def __init__(self) -> None:
        self._coder = constriction.stream.queue.RangeEncoder()
        self.bits = 0.0

    def symbols(self, values: np.ndarray, frequencies: np.ndarray) -> None:
        """Codes int32 ``values`` in ``[0, len(frequencies))``."""
        if values.size:
            self._coder.encode(np.ascontiguousarray(values, np.int32), exact_model(frequencies))
            counts = np.bincount(values, minlength=frequencies.size)
            self.bits += float(counts @ (tables.PRECISION - np.log2(frequencies)))

    def groups(self, values: np.ndarray, groups: np.ndarray, coding: Coding) -> None:
        """Codes values of several groups, those of each group in turn with its table."""
        ordered, start = values[groups.argsort(kind="stable")].astype(np.int32), 0
        for group, count in enumerate(np.bincount(groups).tolist()):
            if count:
                self._coder.encode(ordered[start : start + count], coding.models[group])
                start += count
        symbols = coding.lengths.shape[1]
        counts = np.bincount(groups.astype(np.intp) * symbols + values, minlength=coding.lengths.size)
        self.bits += float(counts @ coding.lengths.reshape(-1))

    def raw(self, values: np.ndarray, count: int) -> None:
        """Codes values in ``[0, 2^count)`` as ``count`` raw bits each, the low ones first."""
        while count > 0:
            part = min(count, _RAW_BITS)
            self.symbols(values & ((1 << part) - 1), np.full(1 << part, tables.TOTAL >> part, np.int64))
            values, count = values >> part, count - part

    def payload(self) -> bytes:
        """The bytes of all that was coded."""
        return self._coder.get_compressed().astype(_WORD).tobytes()


class RangeReader:
    """The inverse of :class:`RangeWriter`. Raises :class:`CorruptStream` where the bytes cannot be decoded."""

    def __init__(self, payload: bytes) -> None:
        if len(payload) % 4:
            raise CorruptStream(f"expected whole 32-bit words of entropy-coded data, found {len(payload)} bytes")
        words = np.frombuffer(payload, _WORD).astype(np.uint32)
        self._coder = constriction.stream.queue.RangeDecoder(words)

    def decode(self, counts: Sequence[int], models: Sequence[Any]) -> np.ndarray:
        """As many int32 symbols of each model as ``counts`` says (at least one in all), in one array."""
        decode = self._coder.decode
        try:
            return np.concatenate([decode(models[group], count) for group, count in enumerate(counts) if count])
        except (AssertionError, ValueError, KeyError) as error:
            raise CorruptStream("entropy-coded data do not decode; the file is damaged") from error

    def symbols(self, count: int, frequencies: np.ndarray) -> np.ndarray:
        """``count`` int32 symbols."""
        return self.groups([count], frequencies[None])

    def groups(self, counts: Sequence[int], frequencies: np.ndarray) -> np.ndarray:
        """int32 symbols: as many of each row of (n, symbols) ``frequencies`` as ``counts`` says."""
        return self.decode(counts, exact_models(frequencies)) if any(counts) else np.zeros(0, np.int32)

    def raw(self, count: int, bits: int) -> np.ndarray:
        """``count`` values of ``bits`` raw bits, int64."""
        values, shift = np.zeros(count, np.int64), 0
        while bits > 0:
            part = min(bits, _RAW_BITS)
            values |= self.symbols(count, np.full(1 << part, tables.TOTAL >> part, np.int64)).astype(np.int64) << shift
            shift, bits = shift + part, bits - part
        return values

    def finish(self) -> None:
        """Checks that nothing is left over."""
        if not self._coder.maybe_exhausted():
            raise CorruptStream("expected the end of entropy-coded data, found more; the file is damaged")


def encode_mask(mask: np.ndarray, previous: np.ndarray | None) -> bytes:
    """Codes a (nz, ny, nx) bool mask; ``previous`` is the mask of the frame before, or None.

    No bytes at all mean: equal to ``previous``, or empty if there is none.
    """
    if not (mask ^ previous if previous is not None else mask).any():
        return b""
    writer = RangeWriter()
    occupancy_masks.write(writer, mask, previous)
    return writer.payload()


def decode_mask(payload: bytes, shape: tuple[int, int, int], previous: np.ndarray | None) -> np.ndarray:
    """The inverse of :func:`encode_mask`: (nz, ny, nx) bool. Raises :class:`CorruptStream`."""
    if not payload:
        return np.zeros(shape, bool) if previous is None else previous.copy()
    reader = RangeReader(payload)
    mask = occupancy_masks.read(reader, shape, previous)
    reader.finish()
    return mask


def encode_moved_mask(mask: np.ndarray, before: np.ndarray, moved: np.ndarray) -> bytes:
    """Codes a (nz, ny, nx) bool mask, since version 8 of the format, by the weight set that takes fewer bytes.

    Args:
        mask: what is coded; no bytes at all mean that it is ``before``, the mask of the frame before.
        moved: the mask before where the scene has moved to, see :mod:`taichi_vvc.coding.moved_masks`.
    """
    if not (mask ^ before).any():
        return b""
    payloads = []
    for number in range(len(occupancy_masks.MOVED)):
        writer = RangeWriter()
        occupancy_masks.write(writer, mask, moved, number)
        payloads.append(bytes([number]) + writer.payload())
    return min(payloads, key=len)


def is_moved(payload: bytes) -> bool:
    """Whether a coded mask is one of :func:`encode_moved_mask`: a byte more than whole words."""
    return len(payload) % 4 == 1


def decode_moved_mask(payload: bytes, moved: np.ndarray) -> np.ndarray:
    """The inverse of :func:`encode_moved_mask`, of a ``payload`` that is not empty. Raises :class:`CorruptStream`."""
    if payload[0] >= len(occupancy_masks.MOVED):
        last = len(occupancy_masks.MOVED) - 1
        raise CorruptStream(f"expected a mask's weight set in 0..{last}, found {payload[0]}; the file is damaged")
    reader = RangeReader(payload[1:])
    nz, ny, nx = moved.shape
    mask = occupancy_masks.read(reader, (nz, ny, nx), moved, payload[0])
    reader.finish()
    return mask


def encode_integers(arrays: Sequence[np.ndarray]) -> bytes:
    """Codes int32 arrays of any shape with magnitudes up to 2^20, each with a table of its own or the one before it."""
    writer = RangeWriter()
    for array in arrays:
        if np.abs(array.astype(np.int64)).max(initial=0) > tables.LARGEST_MAGNITUDE:
            raise ValueError(
                f"expected integers up to {tables.LARGEST_MAGNITUDE}, found larger ones; use a larger step"
            )
    integer_arrays.write(writer, arrays)
    return writer.payload()


def decode_integers(payload: bytes, shapes: Sequence[tuple[int, ...]]) -> list[np.ndarray]:
    """The inverse of :func:`encode_integers`: int32 arrays of these shapes. Raises :class:`CorruptStream`."""
    reader = RangeReader(payload)
    arrays = integer_arrays.read(reader, shapes)
    reader.finish()
    return arrays
