"""The coder's choice of tables for symbols that stay on a device.

Does what :func:`taichi_vvc.coding.choose_tables.plan_rate` does, with the same contexts, counts and tables, but for
signs, which the fit takes as even anyway. Only counts cross to the host, where the tables are chosen, and the tables
back: at the paper's grid sizes the host would need half a second each time.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from taichi_vvc.coding import choose_tables, context_weights, contexts, tables
from taichi_vvc.coding.known import Known
from taichi_vvc.fit.parameters import LiveSymbols
from taichi_vvc.fit.rate import RateTables, derivatives
from taichi_vvc.kernels import contexts as kernels
from taichi_vvc.kernels.columns import ContextKind, ContextSettings
from taichi_vvc.runtime import Runtime
from taichi_vvc.types import FieldLayout

_MASKS = [
    sum(1 << pattern for pattern in range(1, 8) if contexts.ORDER.index(p ^ pattern) < contexts.ORDER.index(p))
    for p in range(8)
]
_KINDS = [contexts.KINDS[contexts.ORDER.index(p)] for p in range(8)]
# Bits of a symbol's number in ``found`` that hold its table, for each weight set to try.
_SHIFT = 5


class _Counters:
    """Counters that kernels add to, each in several copies."""

    def __init__(self, runtime: Runtime, count: int) -> None:
        self.runtime, self.count = runtime, count
        self.copies = runtime.zeros(count * kernels.COPIES, np.int32)
        self.sums = runtime.zeros(count, np.int32)

    def read(self) -> np.ndarray:
        """What was counted, on the host; the counters start again from zero."""
        kernels.sum_copies(self.count, self.copies, self.sums)
        return np.array(self.runtime.download(self.sums, self.count))


class DevicePlanner:
    """Chooses tables for one fit's symbols, again and again; ``known``: what a decoder has of each grid."""

    def __init__(self, runtime: Runtime, layout: FieldLayout, known: Sequence[Known]) -> None:
        self.runtime, self.layout, self.known = runtime, layout, known
        shapes = layout.grid_shapes
        nodes = [int(np.prod([n + 2 for n in shape[:3]])) for shape in shapes]
        self.starts = [0, *np.cumsum(nodes).tolist()]
        self.bases = [0, *np.cumsum([n * shape[3] for n, shape in zip(nodes, shapes, strict=True)]).tolist()]
        self.sets = [choose_tables.weight_sets(grid) for grid in known]
        # Counters: of each grid's channels, and of each table of each grid and set.
        self.channels = [0, *np.cumsum([shape[3] for shape in shapes]).tolist()]
        self.slots = [0, *np.cumsum([len(sets) * contexts.TABLES for sets in self.sets]).tolist()]
        self.sums = _Counters(runtime, self.channels[-1])
        self.counts = _Counters(runtime, self.slots[-1] * tables.ALPHABET)
        self.width = ContextSettings.MEANS + max(shape[3] for shape in shapes)
        self.settings = runtime.zeros(sum(map(len, self.sets)) * self.width, np.int32)
        self.before, self.before_totals = self._before()
        self.live: tuple[np.ndarray, ...] | None = None

    def _before(self) -> tuple[object, object]:
        """Volumes of the previous residual's magnitudes; of length 1 without one."""
        if any(grid.previous is None for grid in self.known):
            return self.runtime.zeros(1, np.int32), self.runtime.zeros(1, np.int32)
        parts, totals = [], []
        for grid in self.known:
            assert grid.previous is not None
            border = [(1, 1)] * 3
            part = np.pad(contexts.capped(grid.previous), [*border, (0, 0)]).astype(np.int32)
            parts.append(part.reshape(-1))
            totals.append(np.minimum(part.sum(3), contexts.TOTAL_CAP).astype(np.int32).reshape(-1))
        return self.runtime.upload(np.concatenate(parts)), self.runtime.upload(np.concatenate(totals))

    def _settle(self, s: LiveSymbols) -> None:
        """Make room for a live set."""
        if s.live is self.live:
            return
        runtime, self.live = self.runtime, s.live
        where = [np.pad(mask, 1).reshape(-1).nonzero()[0].astype(np.int32) for mask in s.live]
        self.nodes = [0, *np.cumsum([w.size for w in where]).tolist()]
        self.symbols = [begin for begin, _ in s.ranges]
        self.where = runtime.upload(np.concatenate(where))
        self.magnitudes = runtime.zeros(self.bases[-1], np.int32)
        self.totals = runtime.zeros(self.starts[-1], np.int32)
        self.found = runtime.zeros(s.count, np.int32)
        self.rows = runtime.zeros(s.count, np.int32)
        self.means = [
            None if grid.previous is None else contexts.means_at(grid.previous, np.flatnonzero(mask))
            for mask, grid in zip(s.live, self.known, strict=True)
        ]

    def plan(self, s: LiveSymbols) -> RateTables:
        """Tables for the symbols as they would be rounded now. ``bits`` leaves out what escapes take."""
        self._settle(s)
        grids = [g for g, (a, b) in enumerate(s.ranges) if b > a]
        for g in grids:
            begin, end = s.ranges[g]
            first, last = self.nodes[g : g + 2]
            channels, base = self.layout.grid_shapes[g][3], self.bases[g]
            numbers = first, begin, base, self.channels[g]
            parameters = s.parameters, self.where, self.magnitudes, self.sums.copies
            kernels.store_magnitudes(end - begin, channels, *numbers, *parameters)
            volumes = self.where, self.magnitudes, self.totals
            kernels.sum_channels(last - first, channels, first, base, self.starts[g], *volumes)
        self._write_settings(self.sums.read())
        for g in grids:
            for n in range(len(self.sets[g])):
                self._count(s, g, n)
        return self._chosen(s, grids, self.counts.read().reshape(-1, tables.ALPHABET))

    def _write_settings(self, sums: np.ndarray) -> None:
        """What the kernel of the contexts needs of each grid and weight set; ``sums``: of the capped magnitudes."""
        assert self.live is not None
        rows = []
        for g, sets in enumerate(self.sets):
            nodes = max(self.nodes[g + 1] - self.nodes[g], 1)
            stated = contexts.MEANS[
                choose_tables.mean_indices(sums[self.channels[g] : self.channels[g + 1]] / nodes * 2048)
            ]
            for n, chosen in enumerate(sets):
                weights = context_weights.SETS[chosen]
                row = self._placed(g, n)
                for kind, w in enumerate(weights.kinds):
                    at = ContextSettings.KINDS + kind * ContextKind.ROW
                    row[at : at + len(w.known)] = w.known
                    row[at + ContextKind.PREFIX], row[at + ContextKind.MEAN] = w.prefix, w.mean
                row[ContextSettings.MASKS : ContextSettings.MASKS + 8] = _MASKS
                row[ContextSettings.KIND_OF : ContextSettings.KIND_OF + 8] = _KINDS
                means = stated if weights.stated else self.means[g]
                assert means is not None
                row[ContextSettings.MEANS : ContextSettings.MEANS + means.size] = means
                rows.append(row)
        self.runtime.store(self.settings, np.concatenate(rows))

    def _placed(self, g: int, n: int) -> np.ndarray:
        """A row of settings of a grid's ``n``-th weight set, with where its arrays lie and no weights."""
        row = np.zeros(self.width, np.int32)
        shape, known = self.layout.grid_shapes[g], self.known[g]
        row[ContextSettings.CHANNELS], row[ContextSettings.FIRST_NODE] = shape[3], self.nodes[g]
        row[ContextSettings.FIRST_SYMBOL] = self.symbols[g]
        row[ContextSettings.BASE], row[ContextSettings.START] = self.bases[g], self.starts[g]
        row[ContextSettings.WIDTH], row[ContextSettings.AREA] = shape[2] + 2, (shape[1] + 2) * (shape[2] + 2)
        row[ContextSettings.SHIFT], row[ContextSettings.SLOT] = n * _SHIFT, self.slots[g] + n * contexts.TABLES
        row[ContextSettings.HAS_BEFORE] = known.previous is not None
        row[ContextSettings.HAS_BENEATH] = known.reference is not None
        return row

    def _count(self, s: LiveSymbols, g: int, n: int) -> None:
        """The tables of a grid's symbols by its ``n``-th weight set, and how often each magnitude meets each."""
        begin, end = s.ranges[g]
        row = (self.slots[g] // contexts.TABLES + n) * self.width
        volumes = self.settings, self.where, self.magnitudes, self.totals, self.before, self.before_totals
        kernels.choose_tables(end - begin, row, *volumes, s.reference, self.found, self.counts.copies)

    def _chosen(self, s: LiveSymbols, grids: list[int], counts: np.ndarray) -> RateTables:
        """The best set of each grid, its tables on the device, and where each symbol finds its own."""
        lengths, bits, first = [], 0.0, 0
        for g in grids:
            tried = []
            for n, chosen in enumerate(self.sets[g]):
                at = self.slots[g] + n * contexts.TABLES
                magnitudes = counts[at : at + contexts.TABLES]
                weights = context_weights.SETS[chosen]
                indices = choose_tables.table_indices(magnitudes, weights)
                frequencies = tables.context_tables(indices)
                cost = choose_tables.magnitude_bits(magnitudes, indices, frequencies, weights)
                tried.append((cost, n, magnitudes, frequencies))
            cost, n, drawn, frequencies = min(tried, key=lambda t: t[0])
            magnitude = tables.PRECISION - np.log2(frequencies[:, : tables.LARGEST + 1])
            signed = magnitude[:, 1:] + 1
            lengths.append(np.concatenate([signed[:, ::-1], magnitude[:, :1], signed], axis=1))
            bits += cost + float(drawn[:, 1:].sum())
            a, b = s.ranges[g]
            stride = 2 * tables.LARGEST + 2
            kernels.rows_of_tables(b - a, a, n * _SHIFT, first, stride, self.found, self.rows)
            first += contexts.TABLES
        flat = np.concatenate(lengths).astype(np.float32)
        slopes = self.runtime.upload(derivatives(flat, choose_tables.SLOPE))
        return RateTables("context", None, None, tables.LARGEST, choose_tables.SLOPE, bits, self.rows, slopes)
