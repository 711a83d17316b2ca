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

from taichi_vvc.coding import context_weights, contexts, integer_arrays, occupancy_masks, small_integers, tables
from taichi_vvc.coding.choose_tables import (
    MODELS,
    NOTHING,
    Known,
    RatePlan,
    channel_means,
    check,
    choose,
    known_grids,
    known_parts,
    plan_rate,
    usable,
    write_choice,
)
from taichi_vvc.coding.zeros import blank
from taichi_vvc.errors import CorruptStream

__all__ = [
    "NOTHING",
    "NOTHING_CODED",
    "EncodedGrid",
    "Known",
    "RatePlan",
    "decode_grid",
    "decode_integers",
    "decode_mask",
    "encode_grid",
    "encode_integers",
    "encode_mask",
    "known_grids",
    "plan_rate",
]


_WORD = np.dtype("<u4")
_CONTEXT, _LAPLACE = MODELS["context"], MODELS["laplace"]
_ZERO = 2
NOTHING_CODED = bytes([_ZERO])
"""The payload of a grid whose symbols are all zero."""

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


@dataclass(frozen=True)
class EncodedGrid:
    """One coded grid: its bytes and their ideal length in bits, side information included."""

    payload: bytes
    bits: float


def encode_grid(residual: np.ndarray, live: np.ndarray, known: Known = NOTHING, model: str = "context") -> EncodedGrid:
    """Codes the live symbols of one grid.

    Args:
        residual: (nz, ny, nx, C) int32, zero outside ``live``, magnitudes up to 2^20.
        live: (nz, ny, nx) bool, the nodes that are sent.
        known: what the decoder has of this grid.
        model: ``"context"``, or ``"laplace"`` for one Laplace distribution per channel, the paper's own model
            (arXiv 2402.01380, section 3.3).
    Raises:
        ValueError: shapes disagree, or a symbol is too large or nonzero outside the live set.
    """
    check(residual, live, known, model)
    if max(int(residual.max(initial=0)), -int(residual.min(initial=0))) > tables.LARGEST_MAGNITUDE:
        raise ValueError(f"expected symbols up to {tables.LARGEST_MAGNITUDE}, found larger ones; use a larger step")
    nonzero = np.count_nonzero(residual != 0)
    if not nonzero:
        return EncodedGrid(NOTHING_CODED, 8.0)
    at = contexts.lattice(live)
    magnitudes = np.abs(residual.reshape(-1, residual.shape[3])[at.nodes].reshape(-1))
    if np.count_nonzero(magnitudes) != nonzero:
        raise ValueError("expected zeros outside the live set, found other symbols")
    choice = choose(residual, at, known, model)
    writer = RangeWriter()
    shift = write_choice(writer, choice, magnitudes, model)
    magnitude, right = Coding.of(choice.frequencies), Coding.of(_sign_tables(choice.signs))
    for part in choice.passes:
        for channel, values in enumerate(part.values):
            writer.groups(np.abs(values), part.tables[channel], magnitude)
            where = (values != 0).nonzero()[0]
            agree = (values[where] < 0) == part.flipped[channel, where]
            writer.groups(agree, part.classes[channel, where], right)
    small_integers.write_escapes(writer, magnitudes, shift)
    return EncodedGrid(bytes([MODELS[model] | choice.weights << 4]) + writer.payload(), writer.bits + 8)


def _sign_tables(indices: np.ndarray) -> np.ndarray:
    """(8, 2) frequencies of a wrong and a right prediction of the sign, per class."""
    return np.stack([tables.binary_table(index) for index in (tables.EVEN, *indices.tolist())])


def decode_grid(
    payload: bytes, shape: tuple[int, int, int, int], live: np.ndarray, known: Known = NOTHING
) -> np.ndarray:
    """The inverse of :func:`encode_grid`: (nz, ny, nx, C) int32, zero outside ``live``; not to be changed.

    Raises:
        CorruptStream: the payload is not one that :func:`encode_grid` makes for this shape and live set.
    """
    if not payload:
        raise CorruptStream("expected an entropy-coded grid, found no bytes")
    model, chosen = payload[0] & 15, payload[0] >> 4
    if payload == NOTHING_CODED:
        return blank(shape)
    weights = context_weights.SETS[chosen] if model == _CONTEXT and chosen < len(context_weights.SETS) else None
    if payload[0] != _LAPLACE and (weights is None or not usable(weights, known)):
        raise CorruptStream(f"expected an entropy model of this grid and format, found {payload[0]:#04x}")
    at, channels = contexts.lattice(live), shape[3]
    if not at.nodes.size or not channels:
        raise CorruptStream("expected no symbols in a grid without live nodes, found some; the file is damaged")
    reader = RangeReader(payload[1:])
    shift = int(small_integers.read_indices(reader, np.zeros(1, np.int64), 16, "an Exp-Golomb order")[0])
    stated = channels if weights is None or weights.stated else 0
    statistics = contexts.FIRST_MEAN + np.cumsum(small_integers.read_side(reader, stated), dtype=np.int64)
    limit = tables.LEVELS if model == _LAPLACE else contexts.MEANS.size
    if statistics.min(initial=0) < 0 or statistics.max(initial=0) >= limit:
        raise CorruptStream(f"expected channel statistics in 0..{limit - 1}, found others; the file is damaged")
    if weights is None:
        clipped = _decode_laplace(reader, at.nodes.size, statistics)
    else:
        indices = _read_indices(reader, weights.indices)
        signs = _read_indices(reader, np.array(weights.signs))
        models = exact_models(tables.context_tables(indices))
        right = exact_models(_sign_tables(signs))
        means = channel_means(weights, statistics, known, at)
        clipped = _decode_contexts(reader, at, known_parts(known, at), weights.kinds, means, models, right)
    magnitudes = small_integers.read_escapes(reader, np.abs(clipped).reshape(-1), shift)
    values = magnitudes.reshape(clipped.shape)
    symbols = np.zeros(shape, np.int32)
    symbols.reshape(-1, channels)[at.nodes] = np.negative(values, out=values, where=clipped < 0)
    reader.finish()
    return symbols


def _read_indices(reader: RangeReader, default: np.ndarray) -> np.ndarray:
    """Probability indices stated as differences to ``default``."""
    return small_integers.read_indices(reader, default, tables.LEVELS, "probability indices", tables.SPARSE_TABLE)


def _decode_laplace(reader: RangeReader, nodes: int, scales: np.ndarray) -> np.ndarray:
    """(nodes, C) int32 values, escapes as +-16."""
    clipped = np.empty((nodes, scales.size), np.int32)
    for channel, frequencies in enumerate(tables.laplace_tables(scales)):
        values = reader.symbols(nodes, frequencies)
        where = np.flatnonzero(values)
        values[where] *= 2 * reader.symbols(where.size, tables.binary_table(tables.EVEN)) - 1
        clipped[:, channel] = values
    return clipped


def _decode_contexts(
    reader: RangeReader,
    at: contexts.Lattice,
    parts: tuple[np.ndarray | None, np.ndarray | None],
    weights: Sequence[context_weights.Weights],
    means: np.ndarray,
    models: Sequence[Any],
    right: Sequence[Any],
) -> np.ndarray:
    """(live, C) int8 values, escapes as +-16; the same passes as the encoder's, channel by channel.

    Few symbols are not 0, so what follows from one is worked out for those alone.
    """
    channels = means.size
    halves = np.zeros((8, 2, channels, at.size), np.uint8)
    totals = np.zeros((8, at.size), np.uint16)
    clipped = np.zeros((at.nodes.size, channels), np.int8)
    for position, parity in enumerate(contexts.ORDER):
        places, ranks = at.places[parity], at.ranks[parity]
        if not places.size:
            continue
        kind = weights[contexts.KINDS[position]]
        features, predicted = contexts.pass_features(halves, totals, *parts, at, position, (kind,))
        activity = contexts.base_activity(features, kind, means, places.size)
        classes, flipped = contexts.sign_class(predicted).reshape(-1), (predicted < 0).reshape(-1)
        prefix = np.zeros(places.size, np.int32)
        found: list[tuple[np.ndarray, np.ndarray]] = []
        for channel in range(channels):
            row = activity[channel]
            if found:
                row += contexts.prefix_feature(prefix, channel) * np.int32(kind.prefix)
            groups = contexts.table_of(row)
            order = groups.argsort(kind="stable")
            coded = reader.decode(np.bincount(groups).tolist(), models)
            nonzero = (coded != 0).nonzero()[0]
            if not nonzero.size:
                continue
            where = order.take(nonzero)
            by_node = where.argsort()
            where, magnitudes = where.take(by_node), coded.take(nonzero.take(by_node))
            prefix[where] += np.minimum(magnitudes, contexts.CAP)
            where += channel * places.size
            groups = classes.take(where)
            agree = np.empty(where.size, bool)
            agree[groups.argsort(kind="stable")] = reader.decode(np.bincount(groups).tolist(), right)
            found.append((where, np.where(agree == flipped.take(where), -magnitudes, magnitudes)))
        if found:
            where, values = map(np.concatenate, zip(*found, strict=True))
            row, node = np.divmod(where, places.size)
            clipped[ranks[node], row] = values
            halves[parity, (values < 0).view(np.uint8), row, places[node]] = contexts.capped(values)
            totals[parity, places] = np.minimum(prefix, contexts.TOTAL_CAP)
    return clipped


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
