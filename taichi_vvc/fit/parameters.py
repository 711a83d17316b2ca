"""The live symbols of a frame as flat vectors on the device: what the fit optimises."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from taichi_vvc.field.grids import GridMap
from taichi_vvc.field.mlp import vectors
from taichi_vvc.kernels import update
from taichi_vvc.runtime import Runtime
from taichi_vvc.types import FieldLayout

# Symbols per block: enough to hide the cost of a loop's turn, few enough for all threads of a GPU.
_BLOCK = {True: 64, False: 32}
# Sums per grid that a GPU makes of its blocks' gradients of the step.
_PARTS = 256


@dataclass
class Blocks:
    """How the symbols of each grid are shared out among the turns of a kernel's loop.

    Attributes:
        length: symbols per block, at most.
        scattered: whether a block's symbols lie far apart.
        firsts: per grid its first block, and behind the last grid their number.
        rows: per grid 16 floats for the kernels, on the host.
        table, d_step: the rows on the device; each block's part of the gradient of its grid's step.
        sums: room for sums of these on a GPU.
    """

    length: int
    scattered: bool
    firsts: tuple[int, ...]
    rows: np.ndarray
    table: Any
    d_step: Any
    sums: Any

    @staticmethod
    def of(runtime: Runtime, ranges: Sequence[tuple[int, int]]) -> Blocks:
        """Blocks of consecutive ranges of symbols."""
        length = _BLOCK[runtime.host_arrays]
        # On the CPU blocks lie between multiples of sixteen, which kernels take at once.
        start = 16 if runtime.host_arrays else 1
        counts = [-(-(b - a // start * start) // length) if b > a else 0 for a, b in ranges]
        firsts = [0, *np.cumsum(counts).tolist()]
        rows = np.zeros((len(ranges), update.ROW), np.float32)
        whole = [(first, a, b, n) for first, (a, b), n in zip(firsts, ranges, counts, strict=False)]
        rows[:, :8:2], rows[:, 1:8:2] = np.divmod(np.array(whole), update.SPLIT)
        table = runtime.zeros(rows.size)
        d_step, sums = runtime.zeros(firsts[-1]), runtime.zeros(0 if runtime.host_arrays else len(ranges) * _PARTS)
        return Blocks(length, not runtime.host_arrays, tuple(firsts), rows, table, d_step, sums)

    def launch(self, runtime: Runtime, **columns: Any) -> tuple[int, int, int, int, Any]:
        """The kernels' first arguments; columns by name: step, offset, rate, magnitude (numbers per grid)."""
        for name, values in columns.items():
            self.rows[:, _COLUMNS[name]] = values
        runtime.store(self.table, self.rows)
        return self.firsts[-1], self.length, int(self.scattered), len(self.rows), self.table

    def step_gradients(self, runtime: Runtime) -> np.ndarray:
        """Gradient of each grid's step, float64."""
        if not runtime.host_arrays:
            update.sum_blocks(len(self.rows), _PARTS, self.table, self.d_step, self.sums)
            return runtime.download(self.sums).reshape(len(self.rows), _PARTS).sum(axis=1, dtype=np.float64)
        parts = self.d_step
        return np.array([parts[a:b].sum(dtype=np.float64) for a, b in zip(self.firsts, self.firsts[1:], strict=False)])


_COLUMNS = {"step": 8, "offset": 9, "rate": 10, "magnitude": 11}


@dataclass
class LiveSymbols:
    """Parameters of a fit, in symbol units, grid by grid, live nodes in C order, channels last.

    Attributes:
        live: per grid, (nz, ny, nx) bool.
        ranges: per grid, first and last + 1 position in the vectors.
        parameters: real-valued residuals; gradient (of the rate), moment1, moment2: same length.
        levels: reference and quantised residual, as the values were last made from them.
        reference: reference symbols as float32.
        place: index into the flat grid values.
        blocks: rows of grids and blocks for ``kernels/update.py``.
        fours: on the CPU, ``place`` in values of four for every four symbols; None where some four lie apart.
    """

    live: tuple[np.ndarray, ...]
    ranges: tuple[tuple[int, int], ...]
    parameters: Any
    gradient: Any
    moment1: Any
    moment2: Any
    levels: Any
    reference: Any
    place: Any
    blocks: Blocks
    fours: Any = None

    @property
    def count(self) -> int:
        """Number of live symbols."""
        return self.ranges[-1][1]


def gather_live(grids: tuple[np.ndarray, ...], live: tuple[np.ndarray, ...]) -> np.ndarray:
    """Values of dense grids (nz, ny, nx, channels) at their live nodes, as one vector in the order of the symbols."""
    return np.concatenate([g[m].reshape(-1) for g, m in zip(grids, live, strict=True)])


def scatter_live(
    layout: FieldLayout, live: tuple[np.ndarray, ...], ranges: tuple[tuple[int, int], ...], values: np.ndarray
) -> tuple[np.ndarray, ...]:
    """Inverse of :func:`gather_live`: dense grids of the vector's type, 0 where not live."""
    grids = []
    for shape, mask, (a, b) in zip(layout.grid_shapes, live, ranges, strict=True):
        grid = np.zeros(shape, values.dtype)
        grid[mask] = values[a:b].reshape(-1, shape[3])
        grids.append(grid)
    return tuple(grids)


def make_live(
    runtime: Runtime,
    layout: FieldLayout,
    grid_map: GridMap,
    live: tuple[np.ndarray, ...],
    parameters: tuple[np.ndarray, ...],
    reference: tuple[np.ndarray, ...],
) -> LiveSymbols:
    """Gather dense grids into the vectors of a fit; the moments of Adam are zero."""
    count = sum(int(np.count_nonzero(m)) * shape[3] for m, shape in zip(live, layout.grid_shapes, strict=True))

    def vector(grids: tuple[np.ndarray, ...]) -> Any:
        return runtime.upload(gather_live(grids, live).astype(np.float32))

    moments = runtime.zeros(count), runtime.zeros(count)
    return _arranged(runtime, grid_map, live, vector(parameters), *moments, vector(reference))


def _arranged(
    runtime: Runtime,
    grid_map: GridMap,
    live: tuple[np.ndarray, ...],
    parameters: Any,
    moment1: Any,
    moment2: Any,
    reference: Any,
) -> LiveSymbols:
    """The vectors of a fit with all that follows from where they lie."""
    places = [grid_map.places(number, np.flatnonzero(mask)).reshape(-1) for number, mask in enumerate(live)]
    ends = np.cumsum([place.size for place in places]).tolist()
    ranges = tuple(zip([0, *ends[:-1]], ends, strict=True))
    place = np.concatenate(places).astype(np.int32)
    return LiveSymbols(
        live,
        ranges,
        parameters,
        runtime.zeros(ends[-1]),
        moment1,
        moment2,
        runtime.zeros(ends[-1]),
        reference,
        runtime.upload(place),
        Blocks.of(runtime, ranges),
        _fours(place, ranges) if runtime.host_arrays else None,
    )


def _fours(place: np.ndarray, ranges: Sequence[tuple[int, int]]) -> np.ndarray | None:
    """See :attr:`LiveSymbols.fours`."""
    if any(end % 4 for _, end in ranges):
        return None
    rows = place.reshape(-1, 4)
    if (rows[:, 0] % 4).any() or (rows != rows[:, :1] + np.arange(4)).any():
        return None
    return (rows[:, 0] // 4).astype(np.int32)


def shrink_live(
    runtime: Runtime, layout: FieldLayout, grid_map: GridMap, old: LiveSymbols, live: tuple[np.ndarray, ...]
) -> LiveSymbols:
    """Keep the fit's state on fewer live nodes: ``live`` within ``old.live``."""
    kept = []
    for shape, before, now, (first, _) in zip(layout.grid_shapes, old.live, live, old.ranges, strict=True):
        nodes = np.flatnonzero(now[before])
        kept.append((first + nodes[:, None] * shape[3] + np.arange(shape[3])).reshape(-1))
    index = np.concatenate(kept).astype(np.int32)
    where = runtime.upload(index)

    def taken(vector: Any) -> Any:
        result = runtime.empty(index.size)
        update.gather(index.size, where, vector, result)
        return result

    vectors = map(taken, (old.parameters, old.moment1, old.moment2, old.reference))
    return _arranged(runtime, grid_map, live, *vectors)


def quantize_on_cpu(where: tuple[Any, ...], s: LiveSymbols, values: np.ndarray) -> None:
    """``update.quantize_symbols_lanes``; ``where``: its first arguments."""
    place = s.place if s.fours is None else s.fours
    lanes = map(vectors, (s.parameters, s.reference, s.levels))
    fours = _in_fours(s.levels), _in_fours(values)
    given = s.parameters, s.reference, place, s.levels, values
    update.quantize_symbols_lanes(*where, int(s.fours is not None), *given, *lanes, *fours)


def update_on_cpu(numbers: tuple[Any, ...], s: LiveSymbols, gradient: np.ndarray, rows: Any, slopes: Any) -> None:
    """``update.update_symbols_lanes``; ``numbers``: its first arguments; ``gradient``: of the flat grid values."""
    place = s.place if s.fours is None else s.fours
    symbols = s.moment1, s.moment2, s.parameters, s.gradient
    fours = (_in_fours(array) for array in (gradient, s.levels, s.gradient))
    given = place, gradient, s.levels, rows, slopes, *symbols
    update.update_symbols_lanes(
        *numbers, int(s.fours is not None), *given, *map(vectors, symbols), *fours, s.blocks.d_step
    )


def _in_fours(array: np.ndarray) -> np.ndarray:
    return array[: array.size // 4 * 4].reshape(-1, 4)
