"""What to send for a grid: contexts, tables and the code lengths that follow. Encoder only, no coder needed.

:mod:`.entropy` writes what is chosen here; the fit asks :func:`plan_rate` what its symbols would cost.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from taichi_vvc.coding import context_weights, contexts, small_integers, tables
from taichi_vvc.coding.small_integers import ESCAPE
from taichi_vvc.errors import ConfigError

MODELS = {"context": 0, "laplace": 1}
"""Entropy models and their number in the stream."""


SLOPE = 0.25
"""Bits that the fit counts per unit of a magnitude beyond the tables."""


@dataclass(frozen=True)
class RatePlan:
    """The code lengths that the coder would use for given symbols, contexts taken as fixed.

    Attributes:
        table: (live nodes, channels) uint16, the table of each live symbol in C order.
        lengths: (tables, 31) float32, bits of the residual value ``k - 15``.
        slope: bits per unit of magnitude beyond 15.
        bits: code length of the symbols themselves, side information included.
    """

    table: np.ndarray
    lengths: np.ndarray
    slope: float
    bits: float


@dataclass(frozen=True)
class Pass:
    """The symbols of one pass, all (channels, nodes), in coding order.

    Attributes:
        parity: the class of the nodes, or -1 for all live nodes.
        values: int8, clipped to +-16.
        tables: uint8, the magnitude table of each.
        classes: uint8, the sign class of each.
        flipped: bool, True where a negative sign is predicted.
    """

    parity: int
    values: np.ndarray
    tables: np.ndarray
    classes: np.ndarray
    flipped: np.ndarray


@dataclass(frozen=True)
class Choice:
    """All that the encoder chose for a grid.

    Attributes:
        weights: which of the shipped weight sets.
        passes: the symbols with their contexts.
        statistics: (C,) index of each channel's mean magnitude, where the weight set wants it stated, else empty; of a
            Laplace model, of its scale.
        indices: (18, 3) probability indices of the magnitude tables; empty for a Laplace model.
        signs: (7,) probability indices of the predicted sign; empty for a Laplace model.
        frequencies: (n, 17) magnitude tables.
    """

    weights: int
    passes: list[Pass]
    statistics: np.ndarray
    indices: np.ndarray
    signs: np.ndarray
    frequencies: np.ndarray


@dataclass(frozen=True)
class Known:
    """What a decoder has of a grid before its symbols, each (nz, ny, nx, C) int32 or None.

    Attributes:
        previous: the previous frame's residual; None on a key frame and on the frame after it.
        reference: the symbols that the residual will be added to; None on a key frame.
    """

    previous: np.ndarray | None = None
    reference: np.ndarray | None = None


NOTHING = Known()
"""Of a key frame's grid, or of symbols that belong to no frame."""


def known_grids(
    count: int, previous: tuple[np.ndarray, ...] | None, reference: tuple[np.ndarray, ...] | None
) -> list[Known]:
    """What is known of each of a frame's ``count`` grids, of the whole frame's previous residual and reference."""
    return [
        Known(None if previous is None else previous[n], None if reference is None else reference[n])
        for n in range(count)
    ]


def check(residual: np.ndarray, live: np.ndarray, known: Known, model: str) -> None:
    """Raises ValueError where arrays do not fit together, ConfigError for an unknown model."""
    if model not in MODELS:
        raise ConfigError(f"expected an entropy model of {sorted(MODELS)}, found {model!r}")
    if residual.ndim != 4 or residual.shape[:3] != live.shape or live.dtype != bool:
        raise ValueError(f"expected (nz, ny, nx, C) symbols and a bool live set, found {residual.shape}, {live.shape}")
    for name, grid in (("previous residual", known.previous), ("reference", known.reference)):
        if grid is not None and grid.shape != residual.shape:
            raise ValueError(f"expected a {name} of shape {residual.shape}, found {grid.shape}")
    if known.previous is not None and known.reference is None:
        raise ValueError("expected a reference beside the previous residual, found none")


def mean_indices(mean: np.ndarray) -> np.ndarray:
    """(C,) indices into ``contexts.MEANS`` for the (C,) mean capped magnitude of each channel, in 1/2048."""
    return np.clip(np.rint(4 * np.log2(np.maximum(mean, 1))), 0, contexts.MEANS.size - 1).astype(np.int64)


def known_parts(known: Known, at: contexts.Lattice) -> tuple[np.ndarray | None, np.ndarray | None]:
    """What :func:`contexts.pass_features` needs of the previous residual and of the reference."""
    return (
        None if known.previous is None else contexts.split_magnitudes(known.previous, at),
        None if known.reference is None else contexts.capped_at(known.reference, at.nodes),
    )


def _context_passes(
    residual: np.ndarray, at: contexts.Lattice, known: Known, statistics: np.ndarray
) -> list[tuple[int, list[Pass]]]:
    """All symbols with their contexts, as an encoder knows them, whole passes at once: for each weight set to try."""
    channels = residual.shape[3]
    values = np.clip(residual.reshape(-1, channels)[at.nodes], -ESCAPE, ESCAPE).astype(np.int8)
    capped = contexts.capped(values)
    halves = contexts.split(residual, at)
    sums = np.minimum(capped.sum(1, dtype=np.int32), contexts.TOTAL_CAP)
    totals = np.zeros((8, at.size), np.uint16)
    parts = known_parts(known, at)
    channel = np.arange(channels, dtype=np.int32)[:, None]
    sets = [(chosen, context_weights.SETS[chosen]) for chosen in weight_sets(known)]
    means = [channel_means(weights, statistics, known, at) for _, weights in sets]
    found: list[tuple[int, list[Pass]]] = [(chosen, []) for chosen, _ in sets]
    for position, parity in enumerate(contexts.ORDER):
        places, ranks = at.places[parity], at.ranks[parity]
        if not places.size:
            continue
        kinds = [weights.kinds[contexts.KINDS[position]] for _, weights in sets]
        features, predicted = contexts.pass_features(halves, totals, *parts, at, position, kinds)
        totals[parity, places] = sums[ranks]
        magnitudes = capped[ranks].T.astype(np.int32)
        prefix = contexts.prefix_feature(np.cumsum(magnitudes, 0, dtype=np.int32) - magnitudes, channel)
        here = np.ascontiguousarray(values[ranks].T)
        classes, flipped = contexts.sign_class(predicted), predicted < 0
        for kind, mean, (_, passes) in zip(kinds, means, found, strict=True):
            activity = contexts.base_activity(features, kind, mean, places.size)
            activity += prefix * np.int32(kind.prefix)
            passes.append(Pass(parity, here, contexts.table_of(activity), classes, flipped))
    return found


def _histograms(passes: list[Pass]) -> tuple[np.ndarray, np.ndarray]:
    """(18, 17) magnitude counts per table and (8, 2) counts of wrong and right signs per class."""
    magnitudes = np.zeros(contexts.TABLES * tables.ALPHABET, np.int64)
    signs = np.zeros(contexts.SIGN_CLASSES * 2, np.int64)
    for part in passes:
        keys = part.tables.astype(np.int16) * tables.ALPHABET + np.abs(part.values)
        magnitudes += np.bincount(keys.reshape(-1), minlength=magnitudes.size)
        where = (part.values.reshape(-1) != 0).nonzero()[0]
        right = (part.values.reshape(-1)[where] < 0) == part.flipped.reshape(-1)[where]
        signs += np.bincount(part.classes.reshape(-1)[where] * 2 + right, minlength=signs.size)
    return magnitudes.reshape(-1, tables.ALPHABET), signs.reshape(-1, 2)


_SIDE_BITS = tables.PRECISION - np.log2(tables.SPARSE_TABLE)


def _worth(default: np.ndarray, fitted: np.ndarray, hits: np.ndarray, misses: np.ndarray) -> np.ndarray:
    """The fitted indices where they save more than it costs to state them, else the default ones."""

    def bits(indices: np.ndarray) -> np.ndarray:
        return hits * tables.HIT_BITS[indices] + misses * tables.MISS_BITS[indices]

    cost = _SIDE_BITS[np.minimum(np.abs(fitted - default), ESCAPE)] + 1 - _SIDE_BITS[0]
    return np.where(bits(default) - bits(fitted) > cost, fitted, default)


def table_indices(magnitudes: np.ndarray, weights: context_weights.WeightSet) -> np.ndarray:
    """(18, 3) probability indices for (18, 17) magnitude counts per table."""
    hits, misses = tables.decisions(magnitudes)
    return tables.nonincreasing(_worth(weights.indices, tables.best_index(hits, misses), hits, misses))


def magnitude_bits(
    magnitudes: np.ndarray, indices: np.ndarray, frequencies: np.ndarray, weights: context_weights.WeightSet
) -> float:
    """Code length of counted magnitudes with the tables of :func:`table_indices`, and of stating these."""
    side_bits = _SIDE_BITS[np.minimum(np.abs(indices - weights.indices), ESCAPE)].sum()
    return float(side_bits + (magnitudes * (tables.PRECISION - np.log2(frequencies))).sum())


def _sign_indices(signs: np.ndarray, weights: context_weights.WeightSet) -> np.ndarray:
    """(7,) probability indices for the counts of signs of :func:`_histograms`."""
    wrong, right = signs[1:].T
    return _worth(np.array(weights.signs), tables.best_index(right, wrong), right, wrong)


def _laplace_scales(values: np.ndarray) -> np.ndarray:
    """(C,) best scale per channel for (live, C) values, by trying all."""
    clipped = np.minimum(np.abs(values), ESCAPE)
    channels = values.shape[1]
    keys = clipped + np.arange(channels) * tables.ALPHABET
    counts = np.bincount(keys.reshape(-1), minlength=channels * tables.ALPHABET).reshape(channels, -1)
    lengths = tables.PRECISION - np.log2(tables.laplace_tables(np.arange(tables.LEVELS)))
    return np.argmin(counts @ lengths.T, 1)


def weight_sets(known: Known) -> list[int]:
    """The weight sets to try for a grid."""
    has = known.previous is not None, known.reference is not None
    written = range(context_weights.FIRST_WRITTEN, len(context_weights.SETS))
    return [k for k in written if (context_weights.SETS[k].previous, context_weights.SETS[k].reference) == has]


def usable(weights: context_weights.WeightSet, known: Known) -> bool:
    """Whether a stream may name this set for a grid."""
    has_reference = known.reference is not None
    return weights.previous == (known.previous is not None) and (has_reference or not weights.reference)


def channel_means(
    weights: context_weights.WeightSet, statistics: np.ndarray, known: Known, at: contexts.Lattice
) -> np.ndarray:
    """(C,) int64 mean magnitude of each channel, 1/2048: as the ``statistics`` state it, or the previous residual's."""
    if weights.stated:
        return contexts.MEANS[statistics]
    assert known.previous is not None
    return contexts.means_at(known.previous, at.nodes)


def choose(residual: np.ndarray, at: contexts.Lattice, known: Known, model: str) -> Choice:
    """What to send for a grid whose arrays :func:`check` accepted and which has live nodes."""
    values = residual.reshape(-1, residual.shape[3])[at.nodes]
    empty = np.zeros(0, np.int64)
    if model == "laplace":
        scales = _laplace_scales(values)
        whole = np.clip(values, -ESCAPE, ESCAPE).astype(np.int8).T
        rank = np.broadcast_to(np.arange(len(whole), dtype=np.uint8)[:, None], whole.shape)
        none = np.broadcast_to(np.uint8(0), whole.shape)
        passes = [Pass(-1, whole, rank, none, none.view(bool))]
        return Choice(0, passes, scales, empty.reshape(0, 3), empty, tables.laplace_tables(scales))
    statistics = mean_indices(np.minimum(np.abs(values), contexts.CAP).mean(0) * 2048)
    found = []
    for chosen, passes in _context_passes(residual, at, known, statistics):
        magnitudes, signs = _histograms(passes)
        weights = context_weights.SETS[chosen]
        indices, right = table_indices(magnitudes, weights), _sign_indices(signs, weights)
        frequencies = tables.context_tables(indices)
        bits = magnitude_bits(magnitudes, indices, frequencies, weights)
        stated = statistics if weights.stated else empty
        found.append((bits, Choice(chosen, passes, stated, indices, right, frequencies)))
    return min(found, key=lambda pair: pair[0])[1]


def write_choice(writer: small_integers.Writer, choice: Choice, magnitudes: np.ndarray, model: str) -> int:
    """Writes the side information of a grid and returns the Exp-Golomb order of its escapes."""
    shift = small_integers.best_escape_shift(magnitudes[magnitudes >= ESCAPE].astype(np.int64) - ESCAPE)
    small_integers.write_side(writer, np.array([shift]))
    small_integers.write_side(writer, np.diff(choice.statistics, prepend=contexts.FIRST_MEAN))
    if model == "context":
        weights = context_weights.SETS[choice.weights]
        small_integers.write_side(writer, (choice.indices - weights.indices).reshape(-1), tables.SPARSE_TABLE)
        small_integers.write_side(writer, choice.signs - np.array(weights.signs), tables.SPARSE_TABLE)
    return shift


def _bits(choice: Choice, values: np.ndarray, symbols: np.ndarray, model: str) -> float:
    """Code length of a grid; ``symbols`` are the bits of the values without their escapes."""
    if not values.any():
        return 8.0
    counter = small_integers.BitCounter()
    magnitudes = np.abs(values.reshape(-1))
    small_integers.write_escapes(counter, magnitudes, write_choice(counter, choice, magnitudes, model))
    return 8.0 + counter.bits + float(symbols.sum(dtype=np.float64))


def _lengths(choice: Choice) -> np.ndarray:
    """(tables * 15, 33) float32 bits: each magnitude table with each sign class, first unflipped 0 .. 7, then flipped
    1 .. 7."""
    magnitude = tables.PRECISION - np.log2(choice.frequencies)
    wrong = np.concatenate([[1.0], tables.MISS_BITS[choice.signs]])
    right = np.concatenate([[1.0], tables.HIT_BITS[choice.signs]])
    positive = np.concatenate([right, wrong[1:]])
    negative = np.concatenate([wrong, right[1:]])
    lengths = np.empty((len(magnitude), positive.size, 2 * ESCAPE + 1))
    lengths[:, :, ESCAPE] = magnitude[:, :1]
    lengths[:, :, ESCAPE + 1 :] = magnitude[:, None, 1:] + positive[:, None]
    lengths[:, :, :ESCAPE] = magnitude[:, None, :0:-1] + negative[:, None]
    return lengths.reshape(-1, 2 * ESCAPE + 1).astype(np.float32)


def plan_rate(residual: np.ndarray, live: np.ndarray, known: Known = NOTHING, model: str = "context") -> RatePlan:
    """The code lengths that :func:`taichi_vvc.coding.entropy.encode_grid` would use; arguments as there.

    The fit takes the tables and contexts as constants between calls.
    """
    check(residual, live, known, model)
    nodes, channels = int(np.count_nonzero(live)), residual.shape[3]
    if not nodes or not channels:
        lengths = np.zeros((1, 2 * tables.LARGEST + 1), np.float32)
        return RatePlan(np.zeros((nodes, channels), np.uint16), lengths, 0.0, 8.0)
    at = contexts.lattice(live)
    choice = choose(residual, at, known, model)
    lengths = _lengths(choice)
    stride = len(lengths) // len(choice.frequencies)
    table = np.empty((nodes, channels), np.uint16)
    for part in choice.passes:
        sign = part.classes + np.uint8(contexts.SIGN_CLASSES - 1) * part.flipped
        joint = (part.tables * np.uint16(stride) + sign).T
        if part.parity < 0:
            table[:] = joint
        else:
            table[at.ranks[part.parity]] = joint
    values = residual.reshape(-1, channels)[at.nodes]
    symbols = lengths[table, np.clip(values, -ESCAPE, ESCAPE) + ESCAPE]
    return RatePlan(table, lengths[:, 1:-1], SLOPE, _bits(choice, values, symbols, model))
