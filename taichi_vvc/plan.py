"""What to send for a grid: contexts, tables and the code lengths that follow. Encoder only, no coder needed.

:mod:`.entropy` writes what is chosen here; the fit asks :func:`plan_rate` what its symbols would cost.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from . import contexts, side, tables
from .errors import ConfigError
from .side import ESCAPE

MODELS = {"context": 0, "laplace": 1}
"""Entropy models and their number in the stream."""


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
        statistics: (C,) index of each channel's mean magnitude; of a Laplace model, of its scale.
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


def check(residual: np.ndarray, live: np.ndarray, previous: np.ndarray | None, model: str) -> None:
    """Raises ValueError where arrays do not fit together, ConfigError for an unknown model."""
    if model not in MODELS:
        raise ConfigError(f"expected an entropy model of {sorted(MODELS)}, found {model!r}")
    if residual.ndim != 4 or residual.shape[:3] != live.shape or live.dtype != bool:
        raise ValueError(f"expected (nz, ny, nx, C) symbols and a bool live set, found {residual.shape}, {live.shape}")
    if previous is not None and previous.shape != residual.shape:
        raise ValueError(f"expected a previous residual of shape {residual.shape}, found {previous.shape}")


def _mean_indices(values: np.ndarray) -> np.ndarray:
    """(C,) indices into ``contexts.MEANS`` for (live, C) values."""
    mean = np.minimum(np.abs(values), contexts.CAP).mean(0) * 2048
    return np.clip(np.rint(4 * np.log2(np.maximum(mean, 1))), 0, contexts.MEANS.size - 1).astype(np.int64)


def before_parts(previous: np.ndarray | None, at: contexts.Lattice) -> np.ndarray | None:
    """What :func:`contexts.pass_features` needs of the previous frame."""
    return None if previous is None else contexts.split_magnitudes(previous, at)


def _context_passes(
    residual: np.ndarray, at: contexts.Lattice, previous: np.ndarray | None, means: np.ndarray
) -> list[tuple[int, list[Pass]]]:
    """All symbols with their contexts, as an encoder knows them, whole passes at once: for each usable weight set."""
    channels = residual.shape[3]
    values = np.clip(residual.reshape(-1, channels)[at.nodes], -ESCAPE, ESCAPE).astype(np.int8)
    capped = contexts.capped(values)
    halves = contexts.split(residual, at)
    sums = np.minimum(capped.sum(1, dtype=np.int32), contexts.TOTAL_CAP)
    totals = np.zeros((8, at.size), np.uint16)
    before = before_parts(previous, at)
    channel = np.arange(channels, dtype=np.int32)[:, None]
    found: list[tuple[int, list[Pass]]] = [(chosen, []) for chosen in weight_sets(previous)]
    for position, parity in enumerate(contexts.ORDER):
        places, ranks = at.places[parity], at.ranks[parity]
        if not places.size:
            continue
        kinds = [contexts.WEIGHT_SETS[chosen][1][contexts.KINDS[position]] for chosen, _ in found]
        features, predicted = contexts.pass_features(halves, totals, before, at, position, kinds)
        totals[parity, places] = sums[ranks]
        magnitudes = capped[ranks].T.astype(np.int32)
        prefix = contexts.prefix_feature(np.cumsum(magnitudes, 0, dtype=np.int32) - magnitudes, channel)
        here = np.ascontiguousarray(values[ranks].T)
        classes, flipped = contexts.sign_class(predicted), predicted < 0
        for kind, (_, passes) in zip(kinds, found, strict=True):
            activity = contexts.base_activity(features, kind, contexts.MEANS[means], places.size)
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


def _choose_indices(magnitudes: np.ndarray, signs: np.ndarray, default: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(18, 3) and (7,) probability indices for the counts of :func:`_histograms`."""
    hits, misses = tables.decisions(magnitudes)
    indices = _worth(default, tables.best_index(hits, misses), hits, misses)
    wrong, right = signs[1:].T
    fitted = tables.best_index(right, wrong)
    return tables.nonincreasing(indices), _worth(contexts.DEFAULT_SIGNS, fitted, right, wrong)


def _laplace_scales(values: np.ndarray) -> np.ndarray:
    """(C,) best scale per channel for (live, C) values, by trying all."""
    clipped = np.minimum(np.abs(values), ESCAPE)
    channels = values.shape[1]
    keys = clipped + np.arange(channels) * tables.ALPHABET
    counts = np.bincount(keys.reshape(-1), minlength=channels * tables.ALPHABET).reshape(channels, -1)
    lengths = tables.PRECISION - np.log2(tables.laplace_tables(np.arange(tables.LEVELS)))
    return np.argmin(counts @ lengths.T, 1)


def default_indices(previous: np.ndarray | None) -> np.ndarray:
    """The entry of ``contexts.DEFAULT_INDICES`` that holds."""
    return contexts.DEFAULT_INDICES[previous is not None]


def weight_sets(previous: np.ndarray | None) -> list[int]:
    """The weight sets that a grid may use."""
    return [k for k, (needs, _) in enumerate(contexts.WEIGHT_SETS) if needs == (previous is not None)]


def choose(
    residual: np.ndarray, at: contexts.Lattice, live: np.ndarray, previous: np.ndarray | None, model: str
) -> Choice:
    """What to send for a grid whose arrays :func:`check` accepted and which has live nodes."""
    values = residual.reshape(-1, residual.shape[3])[at.nodes]
    if model == "laplace":
        scales = _laplace_scales(values)
        whole = np.clip(values, -ESCAPE, ESCAPE).astype(np.int8).T
        rank = np.broadcast_to(np.arange(len(whole), dtype=np.uint8)[:, None], whole.shape)
        none = np.broadcast_to(np.uint8(0), whole.shape)
        passes = [Pass(-1, whole, rank, none, none.view(bool))]
        empty = np.zeros(0, np.int64)
        return Choice(0, passes, scales, empty.reshape(0, 3), empty, tables.laplace_tables(scales))
    means = _mean_indices(values)
    found = []
    for chosen, passes in _context_passes(residual, at, previous, means):
        magnitudes, signs = _histograms(passes)
        indices, right = _choose_indices(magnitudes, signs, default_indices(previous))
        frequencies = tables.context_tables(indices)
        bits = -(magnitudes * np.log2(frequencies)).sum()
        found.append((bits, Choice(chosen, passes, means, indices, right, frequencies)))
    return min(found, key=lambda pair: pair[0])[1]


def write_choice(
    writer: side.Writer, choice: Choice, magnitudes: np.ndarray, previous: np.ndarray | None, model: str
) -> int:
    """Writes the side information of a grid and returns the Exp-Golomb order of its escapes."""
    shift = side.best_escape_shift(magnitudes[magnitudes >= ESCAPE].astype(np.int64) - ESCAPE)
    side.write_side(writer, np.array([shift]))
    side.write_side(writer, np.diff(choice.statistics, prepend=contexts.FIRST_MEAN))
    if model == "context":
        side.write_side(writer, (choice.indices - default_indices(previous)).reshape(-1), tables.SPARSE_TABLE)
        side.write_side(writer, choice.signs - contexts.DEFAULT_SIGNS, tables.SPARSE_TABLE)
    return shift


def _bits(choice: Choice, values: np.ndarray, symbols: np.ndarray, previous: np.ndarray | None, model: str) -> float:
    """Code length of a grid; ``symbols`` are the bits of the values without their escapes."""
    if not values.any():
        return 8.0
    counter = side.BitCounter()
    magnitudes = np.abs(values.reshape(-1))
    side.write_escapes(counter, magnitudes, write_choice(counter, choice, magnitudes, previous, model))
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


def plan_rate(residual: np.ndarray, live: np.ndarray, previous: np.ndarray | None, model: str = "context") -> RatePlan:
    """The code lengths that :func:`taichi_vvc.entropy.encode_grid` would use for these symbols; arguments as there.

    The fit takes the tables and contexts as constants between calls.
    """
    check(residual, live, previous, model)
    nodes, channels = int(np.count_nonzero(live)), residual.shape[3]
    if not nodes or not channels:
        lengths = np.zeros((1, 2 * tables.LARGEST + 1), np.float32)
        return RatePlan(np.zeros((nodes, channels), np.uint16), lengths, 0.0, 8.0)
    at = contexts.lattice(live)
    choice = choose(residual, at, live, previous, model)
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
    return RatePlan(table, lengths[:, 1:-1], 0.25, _bits(choice, values, symbols, previous, model))
