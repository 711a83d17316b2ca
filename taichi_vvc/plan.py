"""What to send for a grid: contexts, tables and the code lengths that follow. Encoder only, no coder needed.

:mod:`.entropy` writes what is chosen here; the fit asks :func:`plan_rate` what its symbols would cost.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from . import contexts, tables
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
    """

    table: np.ndarray
    lengths: np.ndarray
    slope: float


@dataclass(frozen=True)
class Pass:
    """The symbols of one pass in coding order: (channels, nodes) values and tables."""

    parity: int
    values: np.ndarray
    tables: np.ndarray


def check(residual: np.ndarray, live: np.ndarray, previous: np.ndarray | None, model: str) -> None:
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


def _context_passes(
    residual: np.ndarray, at: contexts.Lattice, previous: np.ndarray | None, chosen: int, means: np.ndarray
) -> list[Pass]:
    """All symbols with their contexts, as an encoder knows them: whole passes at once."""
    channels = residual.shape[3]
    clipped = np.clip(residual, -ESCAPE, ESCAPE).astype(np.int8)
    values = contexts.split(clipped, at)
    parts = np.minimum(np.abs(values), contexts.CAP).astype(np.uint8)
    totals = contexts.node_totals(parts)
    before = before_parts(previous, at)
    weights = contexts.WEIGHT_SETS[chosen][1]
    channel = np.arange(channels, dtype=np.int32)[:, None]
    passes = []
    for position, parity in enumerate(contexts.ORDER):
        places = at.places[parity]
        if not places.size:
            continue
        kind = weights[contexts.KINDS[position]]
        features = contexts.known_features(parts, totals, before, at, position)
        magnitudes = parts[parity].take(places, axis=1).astype(np.int32)
        prefix = np.cumsum(magnitudes, 0, dtype=np.int32) - magnitudes
        activity = contexts.base_activity(features, kind, contexts.MEANS[means])
        activity = activity + contexts.prefix_feature(prefix, channel) * np.int32(kind.prefix)
        passes.append(Pass(parity, values[parity].take(places, axis=1), contexts.table_of(activity)))
    return passes


def before_parts(previous: np.ndarray | None, at: contexts.Lattice) -> tuple[np.ndarray, np.ndarray] | None:
    if previous is None:
        return None
    parts = contexts.split(contexts.capped(previous), at)
    return parts, contexts.node_totals(parts)


def _histograms(passes: list[Pass], count: int) -> np.ndarray:
    """(count, 33) symbol counts per table."""
    keys = [(p.tables.astype(np.int32) * tables.ALPHABET + (p.values + np.int32(ESCAPE))).reshape(-1) for p in passes]
    joined = np.concatenate(keys) if keys else np.zeros(0, np.int32)
    return np.bincount(joined, minlength=count * tables.ALPHABET).reshape(count, tables.ALPHABET)


def _choose_indices(histograms: np.ndarray) -> np.ndarray:
    """(n, 3) probability indices: the fitted ones where they save more than it costs to state them."""
    default = contexts.DEFAULT_INDICES
    fitted = tables.fit_context_indices(histograms)
    lengths = tables.PRECISION - np.log2(tables.context_tables(np.concatenate([default, fitted])))
    count = len(default)
    saved = (histograms * (lengths[:count] - lengths[count:])).sum(1)
    side = tables.PRECISION - np.log2(tables.SIDE_TABLE)
    centre = side[ESCAPE]
    cost = (side[np.clip(fitted - default, -ESCAPE, ESCAPE) + ESCAPE] - centre).sum(1)
    return np.where((saved > cost)[:, None], fitted, default)


def _laplace_scales(values: np.ndarray) -> np.ndarray:
    """(C,) best scale per channel for (live, C) values, by trying all."""
    clipped = np.clip(values, -ESCAPE, ESCAPE) + ESCAPE
    channels = values.shape[1]
    keys = clipped + np.arange(channels) * tables.ALPHABET
    counts = np.bincount(keys.reshape(-1), minlength=channels * tables.ALPHABET).reshape(channels, -1)
    lengths = tables.PRECISION - np.log2(tables.laplace_tables(np.arange(tables.LEVELS)))
    return np.argmin(counts @ lengths.T, 1)


def weight_set(previous: np.ndarray | None) -> int:
    return 0 if previous is None else 1


def choose(
    residual: np.ndarray, at: contexts.Lattice, live: np.ndarray, previous: np.ndarray | None, model: str
) -> tuple[list[Pass], np.ndarray, np.ndarray, np.ndarray]:
    """What to send: the passes, two integer vectors of side information, and the (n, 33) tables."""
    values = residual[live]
    if model == "laplace":
        scales = _laplace_scales(values)
        channels = residual.shape[3]
        rank = np.arange(channels, dtype=np.uint8 if channels < 256 else np.uint16)
        whole = np.clip(values, -ESCAPE, ESCAPE).T
        passes = [Pass(-1, whole, np.broadcast_to(rank[:, None], whole.shape))]
        return passes, scales, np.zeros((0, 3), np.int64), tables.laplace_tables(scales)
    means = _mean_indices(values)
    passes = _context_passes(residual, at, previous, weight_set(previous), means)
    indices = _choose_indices(_histograms(passes, contexts.TABLES))
    return passes, means, indices, tables.context_tables(indices)


def plan_rate(residual: np.ndarray, live: np.ndarray, previous: np.ndarray | None, model: str = "context") -> RatePlan:
    """The code lengths that :func:`encode_grid` would use for these symbols; arguments as there.

    The fit takes the tables and contexts as constants between calls.
    """
    check(residual, live, previous, model)
    at = contexts.lattice(live)
    nodes, channels = int(np.count_nonzero(live)), residual.shape[3]
    if not nodes:
        return RatePlan(np.zeros((0, channels), np.uint16), np.zeros((1, 2 * tables.LARGEST + 1), np.float32), 0.0)
    passes, _, _, frequencies = choose(residual, at, live, previous, model)
    table = np.empty((nodes, channels), np.uint16)
    for part in passes:
        if part.parity < 0:
            table[:] = part.tables.T
        else:
            table[at.ranks[part.parity]] = part.tables.T
    return RatePlan(table, tables.code_lengths(frequencies)[:, 1:-1], 0.25)
