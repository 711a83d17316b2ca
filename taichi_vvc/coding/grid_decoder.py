"""From bytes to the symbols of a grid."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import Any

import numpy as np

from taichi_vvc.coding import context_weights, contexts, small_integers, tables
from taichi_vvc.coding.entropy import RangeReader, exact_models
from taichi_vvc.coding.known import MODELS, NOTHING, NOTHING_CODED, Known, channel_means, known_parts, usable
from taichi_vvc.coding.passes import GridPass, Nonzero, advance, walk
from taichi_vvc.coding.zeros import blank
from taichi_vvc.errors import CorruptStream

Steps = Generator[GridPass, Nonzero, None]

_CONTEXT, _LAPLACE = MODELS["context"], MODELS["laplace"]
_NO_SYMBOLS = Nonzero(np.zeros(0, np.intp), np.zeros(0, np.intp), np.zeros(0, np.int32))


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
        right = exact_models(tables.sign_tables(signs))
        means = channel_means(weights, statistics, known, at)
        steps = walk(at, channels, known_parts(known, at), [(weights, means)])
        clipped = _decode_contexts(reader, at, steps, channels, models, right)
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
    reader: RangeReader, at: contexts.Lattice, steps: Steps, channels: int, models: Sequence[Any], right: Sequence[Any]
) -> np.ndarray:
    """(live, C) int8 values, escapes as +-16.

    Args:
        steps: the walk over the passes, see :func:`taichi_vvc.coding.passes.walk`.
        channels: of the grid.
        models: of the magnitudes, by table.
        right: of whether the prediction of a sign is right, by sign class.
    """
    clipped = np.zeros((at.nodes.size, channels), np.int8)
    part = next(steps, None)
    while part is not None:
        found = _decode_pass(reader, part, models, right)
        clipped[part.ranks[found.node], found.channel] = found.value
        part = advance(steps, found)
    return clipped


def _decode_pass(reader: RangeReader, part: GridPass, models: Sequence[Any], right: Sequence[Any]) -> Nonzero:
    """The symbols of a pass, channel by channel.

    Few symbols are not 0, so what follows from one is worked out for those alone.
    """
    activity, weight, nodes = part.activity(), np.int32(part.weights[0].prefix), part.ranks.size
    classes, flipped = part.classes.reshape(-1), part.flipped.reshape(-1)
    prefix = np.zeros(nodes, np.int32)
    found: list[tuple[np.ndarray, np.ndarray]] = []
    for channel, row in enumerate(activity):
        if found:
            row += contexts.prefix_feature(prefix, channel) * weight
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
        where += channel * nodes
        groups = classes.take(where)
        agree = np.empty(where.size, bool)
        agree[groups.argsort(kind="stable")] = reader.decode(np.bincount(groups).tolist(), right)
        found.append((where, np.where(agree == flipped.take(where), -magnitudes, magnitudes)))
    if not found:
        return _NO_SYMBOLS
    where, values = map(np.concatenate, zip(*found, strict=True))
    return Nonzero(*np.divmod(where, nodes), values)
