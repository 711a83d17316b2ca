"""Fits the weight sets of the entropy coder and their default tables to the symbols of encodes.

python benchmarks/context_weights.py PATH ... --presets ultrafast,fast --lambdas 1.25e-4,5e-4,2e-3,8e-3 > sets.txt

A PATH is a .tvvc file, or a capture, which is encoded first: once per preset and lambda (without a PATH: the packaged
capture). The table compares the code lengths of all grids, side information included, with the shipped sets and with
those that were fitted; ``--check`` names files and captures that are only measured. At last come the fitted sets as
``taichi_vvc/coding/context_weights.py`` states them. Sets that files use may not change: new ones are added behind
them, and need a new version of the bitstream.

The fit, per set: (1) features, magnitudes and signs of the symbols are taken from the grids as a decoder knows them;
(2) weights and tables are fitted together, by Adam on the code length, where tables are interpolated linearly between
the middles of their intervals of activity (logarithmic), so that the activity has a gradient; (3) weights are rounded;
(4) for each entry of the default tables, all indices are tried, and the one stays with which all grids take the fewest
bits, those for stating another index included. Where several sets serve the same grids, each grid belongs to the one
that codes it in fewer bits, and both are fitted again.
"""

from __future__ import annotations

import argparse
import dataclasses
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from measure import begin, parser, table, write

from taichi_vvc import PRESETS, encode
from taichi_vvc.capture.packaged import capture_path
from taichi_vvc.capture.sequence import open_capture
from taichi_vvc.coding import choose_tables, context_weights, contexts, tables
from taichi_vvc.coding.context_weights import Weights, WeightSet
from taichi_vvc.coding.grid_encoder import encode_grid
from taichi_vvc.coding.known import Known, known_grids, known_parts
from taichi_vvc.coding.live_set import live_nodes
from taichi_vvc.coding.passes import Nonzero, advance, walk
from taichi_vvc.coding.prediction import decode_moved, decode_prediction
from taichi_vvc.decode import open as open_stream
from taichi_vvc.decode import previous_residuals

KNOWN = 10  # features besides the prefix and the mean, which come last
_START = np.array([96, 48, 48, 4, 4, 4, 96, 48, 4, 48, 64, 48], np.float64)  # in the order of the features
_NEAR, _BEFORE = [0, 1, 2, 3, 4, 5, 10], [6, 7, 8]  # what is known of the same frame, and of the one before
_SHIFT = 3  # of an activity before it meets the thresholds
_OCTAVE = np.log(2.0) / 4  # log odds per probability index
_EDGES = np.log2(1.0 + np.array([0, *contexts.THRESHOLDS, 4095]))
_MIDDLES = (_EDGES[1:] + _EDGES[:-1]) / 2
_STATING = tables.PRECISION - np.log2(tables.SPARSE_TABLE)  # bits of a stated difference's magnitude


@dataclass(frozen=True)
class Grid:
    """One coded grid: (nz, ny, nx, C) int32 residual, (nz, ny, nx) bool live set, and what the decoder knows."""

    residual: np.ndarray
    live: np.ndarray
    known: Known

    @property
    def kind(self) -> tuple[bool, bool]:
        """Whether there is a previous residual, and a reference: what a weight set is for."""
        return self.known.previous is not None, self.known.reference is not None


@dataclass(frozen=True)
class Symbols:
    """Live symbols with their features.

    Attributes:
        features: (n, 12) int32: F1 .. F10 of ``docs/bitstream.md``, prefix, mean.
        kind: (n,) int8, the kind of pass.
        magnitude: (n,) int8, 16 for an escape.
        signs: (8, 2) counts of signs that were predicted wrongly and rightly, per sign class.
    """

    features: np.ndarray
    kind: np.ndarray
    magnitude: np.ndarray
    signs: np.ndarray


def grids_of(file: Path) -> Iterator[Grid]:
    """The grids of a file that hold any symbol but 0."""
    with open_stream(file) as stream:
        layout, frame = stream.header.layout, None
        for number in range(len(stream)):
            data = stream._reader.read_frame(number)
            before = None if data.type == "key" else frame
            frame = stream.symbols(number)
            live = live_nodes(layout, frame.occupancy)
            predicted = decode_prediction(layout, data, before, live, decode_moved(layout, data, before))[1]
            known = known_grids(len(live), previous_residuals(before), predicted)
            for parts in zip(frame.residuals, live, known, strict=True):
                if parts[0].any():
                    yield Grid(*parts)


def encoded(paths: Sequence[Path], options: argparse.Namespace, folder: Path) -> Iterator[Path]:
    """Files: those among the paths, and encodes of the captures among them."""
    for place, path in enumerate(paths):
        if path.is_file():
            yield path
            continue
        start, stop = map(int, options.frames.split(":"))
        for preset in options.presets.split(","):
            for weight in options.lambdas.split(","):
                file = folder / f"{place}-{preset}-{weight}.tvvc"
                config = dataclasses.replace(PRESETS[preset], lambda_rate=float(weight))
                capture = open_capture(path, frames=slice(start, stop), downscale=options.downscale)
                for _ in encode(capture, config, file):
                    pass
                yield file


def symbols_of(grid: Grid, stated: bool) -> Symbols:
    """All live symbols of a grid, as the encoder's tables see them; ``stated``: the means are in the stream."""
    at, channels = contexts.lattice(grid.live), grid.residual.shape[3]
    values = np.clip(grid.residual.reshape(-1, channels)[at.nodes], -16, 16)
    magnitudes = np.minimum(np.abs(values), contexts.CAP)
    if stated or grid.known.previous is None:
        means = contexts.MEANS[choose_tables.mean_indices(magnitudes.mean(0) * 2048)]
    else:
        means = contexts.means_at(grid.known.previous, at.nodes)
    signs = np.zeros(contexts.SIGN_CLASSES * 2, np.int64)
    found: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
    everything = dataclasses.replace(context_weights.SETS[0], kinds=(Weights((1,) * KNOWN, 1, 1),) * 4)
    steps = walk(at, channels, known_parts(grid.known, at), [(everything, means)])
    part = next(steps, None)
    while part is not None:
        here, capped = values[part.ranks].T, magnitudes[part.ranks].T.astype(np.int32)
        columns = np.zeros((KNOWN + 2, *here.shape), np.int32)
        for column, feature in zip(columns, part.features, strict=False):
            if feature is not None:
                column[:] = feature
        earlier = np.cumsum(capped, 0, dtype=np.int32) - capped
        columns[-2] = contexts.prefix_feature(earlier, np.arange(channels, dtype=np.int32)[:, None])
        columns[-1] = means[:, None]
        kind = np.full(here.size, contexts.KINDS[contexts.ORDER.index(part.parity)], np.int8)
        found.append((columns.reshape(KNOWN + 2, -1).T, kind, np.abs(here).reshape(-1).astype(np.int8)))
        nonzero = here != 0
        right = (here < 0)[nonzero] == part.flipped[nonzero]
        signs += np.bincount(part.classes[nonzero] * 2 + right, minlength=signs.size)
        part = advance(steps, Nonzero(*nonzero.nonzero(), here[nonzero]))
    return Symbols(*map(np.concatenate, zip(*found, strict=True)), signs.reshape(-1, 2))


def histogram(symbols: Symbols, weights: np.ndarray) -> np.ndarray:
    """(18, 17) counts of magnitudes per table with (4, 12) integer weights."""
    mine = weights[symbols.kind]
    activity = np.einsum("ij,ij->i", symbols.features[:, :-1], mine[:, :-1])
    activity += (symbols.features[:, -1] * mine[:, -1]) >> 8
    keys = contexts.table_of(activity).astype(np.int64) * tables.ALPHABET + symbols.magnitude
    return np.bincount(keys, minlength=contexts.TABLES * tables.ALPHABET).reshape(-1, tables.ALPHABET)


def sample(symbols: Symbols, count: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Positions of at most ``count`` symbols, half of them nonzero if there are so many, and what each stands for."""
    chosen, stands = [], []
    for where in (np.flatnonzero(symbols.magnitude), np.flatnonzero(symbols.magnitude == 0)):
        some = rng.choice(where, min(count // 2, where.size), replace=False)
        chosen.append(some)
        stands.append(np.full(some.size, where.size / max(some.size, 1), np.float32))
    return np.concatenate(chosen), np.concatenate(stands)


def smooth_fit(
    rows: tuple[np.ndarray, ...], start: np.ndarray, steps: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Weights (4, 12) and tables (18, 3), both real, that take the fewest bits for (features, kind, magnitude, count).

    Weights are fitted as logarithms, so that they stay positive.
    """
    features, kind, magnitude, count = rows
    hits, misses = tables.decisions(np.eye(tables.ALPHABET, dtype=np.int64))
    hits, misses = hits[magnitude], misses[magnitude]
    places = np.linspace(0, 1, contexts.TABLES)[:, None]
    parameters = [np.log(np.maximum(start, 0.25)), (1 - places) * [[72, 25, 27]] + places * [[18, 20, 20]]]
    rates, moments = (0.04, 0.4), [[np.zeros_like(p), np.zeros_like(p)] for p in parameters]
    for step in range(steps):
        batch = rng.integers(0, len(kind), min(32768, len(kind)))
        f, k = features[batch], kind[batch]
        logs, levels = parameters
        weights = np.exp(logs)
        weights[:, -1] /= 256
        activity = np.einsum("ij,ij->i", f, weights[k]) / (1 << _SHIFT)
        x = np.log2(1 + activity)
        low = np.clip(np.searchsorted(_MIDDLES, x) - 1, 0, contexts.TABLES - 2)
        width = _MIDDLES[low + 1] - _MIDDLES[low]
        part = np.clip((x - _MIDDLES[low]) / width, 0, 1)
        level = levels[low] * (1 - part)[:, None] + levels[low + 1] * part[:, None]
        p = 1 / (1 + np.exp((tables.EVEN - level) * _OCTAVE))
        slope = (misses[batch] * p - hits[batch] * (1 - p)) * _OCTAVE * count[batch, None] / count[batch].sum()
        d_levels = np.zeros_like(levels)
        for column in range(3):
            d_levels[:, column] += np.bincount(low, slope[:, column] * (1 - part), contexts.TABLES)
            d_levels[:, column] += np.bincount(low + 1, slope[:, column] * part, contexts.TABLES)
        inside = (part > 0) & (part < 1)
        d_activity = (slope * (levels[low + 1] - levels[low])).sum(1) / width * inside / ((1 + activity) * np.log(2))
        d_logs = np.stack([d_activity[k == n] @ f[k == n] for n in range(4)]) / (1 << _SHIFT) * weights
        rise, fall = min(1, (step + 1) / 50), 1 - 0.95 * step / steps
        for p, gradient, rate, pair in zip(parameters, (d_logs, d_levels), rates, moments, strict=True):
            pair[0] += 0.1 * (gradient - pair[0])
            pair[1] += 0.01 * (gradient**2 - pair[1])
            mean, square = pair[0] / (1 - 0.9 ** (step + 1)), pair[1] / (1 - 0.99 ** (step + 1))
            p -= rate * rise * fall * mean / (np.sqrt(square) + 1e-12)
    return np.exp(parameters[0]), parameters[1]


def code_lengths(hits: np.ndarray, misses: np.ndarray, fitted: np.ndarray) -> np.ndarray:
    """(..., 96) bits of counted decisions, by the default index: with that index, or the best one where that pays."""
    stated = hits * tables.HIT_BITS[fitted] + misses * tables.MISS_BITS[fitted]
    default = np.arange(tables.LEVELS)
    away = _STATING[np.minimum(np.abs(fitted[..., None] - default), 16)]
    with_default = hits[..., None] * tables.HIT_BITS + misses[..., None] * tables.MISS_BITS
    return np.minimum(with_default + _STATING[0], stated[..., None] + away + 1)


def defaults(counts: Sequence[tuple[np.ndarray, np.ndarray]], levels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The best default indices, (18, 3) and (7,), for counts of each grid; ``levels`` decide where there are none."""
    near = 1e-3 * (np.arange(tables.LEVELS) - levels[..., None]) ** 2
    bits, sign_bits = near, 1e-3 * (np.arange(tables.LEVELS) - np.linspace(34, 40, 7)[:, None]) ** 2
    for magnitudes, signs in counts:
        hits, misses = tables.decisions(magnitudes)
        bits = bits + code_lengths(hits, misses, tables.best_index(hits, misses))
        wrong, right = signs[1:].T
        sign_bits = sign_bits + code_lengths(right, wrong, tables.best_index(right, wrong))
    return tables.nonincreasing(bits.argmin(-1)), sign_bits.argmin(-1)


def bits_with(histograms: np.ndarray, indices: np.ndarray) -> float:
    """Bits of the magnitudes of one grid with default ``indices``, tables stated where that pays."""
    hits, misses = tables.decisions(histograms)
    bits = code_lengths(hits, misses, tables.best_index(hits, misses))
    return float(np.take_along_axis(bits, indices[..., None], -1).sum())


def rows_of(weights: WeightSet) -> np.ndarray:
    """A set's weights as (4, 12) int64."""
    rows = [(*kind.known, *(0,) * (KNOWN - len(kind.known)), kind.prefix, kind.mean) for kind in weights.kinds]
    return np.array(rows, np.int64)


def fit_set(grids: Sequence[Grid], shape: WeightSet, start: np.ndarray, options: argparse.Namespace) -> WeightSet:
    """A set of the same shape as ``shape`` for these grids; (4, 12) weights to start from."""
    rng = np.random.default_rng(options.seed)
    rows: list[list[np.ndarray]] = [[], [], [], []]
    for grid in grids:
        symbols = symbols_of(grid, shape.stated)
        chosen, stands = sample(symbols, options.samples, rng)
        parts = (symbols.features[chosen].astype(np.float32), symbols.kind[chosen], symbols.magnitude[chosen], stands)
        for column, part in zip(rows, parts, strict=True):
            column.append(part)
    stacked = tuple(map(np.concatenate, rows))
    length = len(shape.kinds[0].known)
    allowed = np.array([[n < length or n >= KNOWN for n in range(KNOWN + 2)]] * 4)
    if not shape.previous:
        allowed[:, _BEFORE] = False
    for kind in range(4):
        allowed[kind] &= stacked[0][stacked[1] == kind].any(0)
    stacked[0][~allowed[stacked[1]]] = 0
    real, levels = smooth_fit(stacked, start, options.steps, rng)
    weights = np.where(allowed, np.rint(real), 0).astype(np.int64)
    counts = []
    for grid in grids:
        symbols = symbols_of(grid, shape.stated)
        counts.append((histogram(symbols, weights), symbols.signs))
    indices, signs = defaults(counts, levels)
    kinds = tuple(Weights(tuple(row[:length].tolist()), int(row[-2]), int(row[-1])) for row in weights)
    zero, first, later = (tuple(column.tolist()) for column in indices.T)
    return dataclasses.replace(shape, kinds=kinds, zero=zero, first=first, later=later, signs=tuple(signs.tolist()))


def fit_sets(grids: Sequence[Grid], shapes: Sequence[WeightSet], options: argparse.Namespace) -> list[WeightSet]:
    """Sets for grids of one kind: one, or several that share the grids out among themselves."""
    starts = [np.tile(_START, (4, 1)) for _ in shapes]
    # Two sets: one trusts the frame before, the other one what this frame has shown so far.
    for start, trusted in zip(starts, (_BEFORE, _NEAR) if len(shapes) > 1 else (), strict=False):
        start[:, trusted] *= 4
    made, weights = list(shapes), [np.rint(start).astype(np.int64) for start in starts]
    for round_ in range(options.rounds if len(shapes) > 1 else 1):
        bits = np.zeros((len(grids), len(shapes)))
        for g, grid in enumerate(grids if len(shapes) > 1 else ()):
            symbols = symbols_of(grid, shapes[0].stated)
            for s, one in enumerate(weights):
                counts = histogram(symbols, one)
                own = tables.best_index(*tables.decisions(counts)) if round_ == 0 else made[s].indices
                bits[g, s] = bits_with(counts, own)
        for s, shape in enumerate(shapes):
            mine = [grid for grid, whose in zip(grids, bits.argmin(1), strict=True) if whose == s]
            # A set that no grid wants stays as it is shipped.
            made[s] = fit_set(mine, shape, starts[s], options) if mine else shape
        weights = [rows_of(one) for one in made]
    return made


def measured(grids: Sequence[Grid], sets: tuple[WeightSet, ...]) -> float:
    """Bits that the encoder takes for all these grids, each with the best of ``sets``."""
    shipped = context_weights.SETS
    context_weights.SETS = sets
    try:
        return sum(encode_grid(grid.residual, grid.live, grid.known).bits for grid in grids)
    finally:
        context_weights.SETS = shipped


def comparison(grids: Sequence[Grid], sets: tuple[WeightSet, ...], of: str) -> list[dict[str, Any]]:
    """A row for the grids that each kind of sets serves."""
    rows = []
    for kind, numbers in served().items():
        mine = [grid for grid in grids if grid.kind == kind]
        if not mine:
            continue
        shipped, fitted = measured(mine, context_weights.SETS), measured(mine, sets)
        rows.append(
            {
                "of": of,
                "sets": ", ".join(map(str, numbers)),
                "grids": len(mine),
                "symbols": sum(int(grid.live.sum()) * grid.residual.shape[3] for grid in mine),
                "nonzero": sum(int(np.count_nonzero(grid.residual)) for grid in mine),
                "shipped_bits": shipped,
                "fitted_bits": fitted,
                "change_percent": 100 * (fitted / shipped - 1),
            }
        )
    return rows


def served() -> dict[tuple[bool, bool], list[int]]:
    """The numbers of the sets that an encoder writes, by the kind of grid that they are for."""
    found: dict[tuple[bool, bool], list[int]] = {}
    for number in range(context_weights.FIRST_WRITTEN, len(context_weights.SETS)):
        shape = context_weights.SETS[number]
        found.setdefault((shape.previous, shape.reference), []).append(number)
    return found


def fragment(sets: Sequence[WeightSet]) -> str:
    """The sets as the module states them."""
    lines = []
    for one in sets:
        lines += ["    WeightSet("]
        lines += [f"        {value}," for value in (one.previous, one.reference, one.stated)]
        lines += ["        ("]
        lines += [f"            Weights({kind.known}, {kind.prefix}, {kind.mean})," for kind in one.kinds]
        lines += ["        ),"]
        lines += [f"        {values}," for values in (one.zero, one.first, one.later, one.signs)]
        lines += ["    ),"]
    return "\n".join(lines)


def run(options: argparse.Namespace) -> list[dict[str, Any]]:
    """Fit, measure and print."""
    begin(options.backend, int(options.threads))
    with tempfile.TemporaryDirectory() as folder:
        parts = []
        for paths in (options.paths or [capture_path()], options.check):
            (place := Path(folder, str(len(parts)))).mkdir()
            parts.append([grid for file in encoded(paths, options, place) for grid in grids_of(file)])
    grids, kept_back = parts
    sets = list(context_weights.SETS)
    for kind, numbers in served().items():
        mine = [grid for grid in grids if grid.kind == kind]
        if mine:
            found = fit_sets(mine, [sets[number] for number in numbers], options)
            for number, one in zip(numbers, found, strict=True):
                sets[number] = one
    rows = comparison(grids, tuple(sets), "fitted") + comparison(kept_back, tuple(sets), "kept back")
    table(list(rows[0]), [list(row.values()) for row in rows])
    print(fragment(sets[context_weights.FIRST_WRITTEN :]))
    return rows


def main() -> None:
    """Read the arguments, fit and measure."""
    options_of = parser(__doc__, capture=False)
    options_of.add_argument(
        "paths", type=Path, nargs="*", help="captures and .tvvc files; default the packaged capture"
    )
    options_of.add_argument("--check", type=Path, nargs="+", default=[], help="the same, measured but not fitted to")
    options_of.add_argument("--presets", default="ultrafast", help="for the encodes of captures")
    options_of.add_argument("--lambdas", default="1.25e-4,5e-4,2e-3,8e-3")
    options_of.add_argument("--frames", default="0:8", help="A:B")
    options_of.add_argument("--downscale", type=int, default=1)
    options_of.add_argument(
        "--samples", type=int, default=20000, help="symbols of a grid that the weights are fitted to"
    )
    options_of.add_argument("--steps", type=int, default=1500, help="of gradient descent, per set")
    options_of.add_argument("--rounds", type=int, default=3, help="of sharing grids out, where two sets serve them")
    options_of.add_argument("--seed", type=int, default=0)
    options = options_of.parse_args()
    write(options, run(options))


if __name__ == "__main__":
    main()
