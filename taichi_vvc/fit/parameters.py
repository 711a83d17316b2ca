"""The live symbols of a frame as flat vectors on the device: what the fit optimises."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from taichi_vvc.field.grids import GridMap
from taichi_vvc.field.mlp import fours, vectors
from taichi_vvc.kernels import update
from taichi_vvc.kernels.columns import SymbolGrid
from taichi_vvc.runtime import Runtime
from taichi_vvc.types import FieldLayout

# Sums per grid that a GPU makes of its blocks' gradients of the step.
_PARTS = 256


@dataclass
class Blocks:
    """How the symbols of each grid are shared out among the turns of a kernel's loop.

    Attributes:
        firsts: per grid its first block, and behind the last grid their number.
        rows: per grid the floats for the kernels (:class:`SymbolGrid` of ``kernels/columns.py``), on the host.
        table, d_step: the rows on the device; each block's part of the gradient of its grid's step.
        sums: room for sums of these on a GPU.
    """

    firsts: tuple[int, ...]
    rows: np.ndarray
    table: Any
    d_step: Any
    sums: Any

    @staticmethod
    def of(runtime: Runtime, ranges: Sequence[tuple[int, int]]) -> Blocks:
        """Blocks of consecutive ranges of symbols."""
        # On the CPU blocks lie between multiples of sixteen, which kernels take at once.
        length, start = (update.CPU_BLOCK, 16) if runtime.host_arrays else (update.GPU_BLOCK, 1)
        counts = [-(-(b - a // start * start) // length) if b > a else 0 for a, b in ranges]
        firsts = [0, *np.cumsum(counts).tolist()]
        rows = np.zeros((len(ranges), SymbolGrid.ROW), np.float32)
        begins, ends = zip(*ranges, strict=True)
        whole = {
            SymbolGrid.FIRST_BLOCK: firsts[:-1],
            SymbolGrid.FIRST_SYMBOL: begins,
            SymbolGrid.END_SYMBOL: ends,
            SymbolGrid.BLOCKS: counts,
        }
        for column, numbers in whole.items():
            rows[:, column], rows[:, column + 1] = np.divmod(numbers, SymbolGrid.SPLIT)
        table = runtime.zeros(rows.size)
        d_step, sums = runtime.zeros(firsts[-1]), runtime.zeros(0 if runtime.host_arrays else len(ranges) * _PARTS)
        return Blocks(tuple(firsts), rows, table, d_step, sums)

    def launch(self, runtime: Runtime, columns: Mapping[int, Any]) -> tuple[int, int, Any]:
        """The kernels' first arguments: blocks, grids and their table, once ``columns`` (a number, or one per grid) are
        in it."""
        for column, values in columns.items():
            self.rows[:, column] = values
        runtime.store(self.table, self.rows)
        return self.firsts[-1], len(self.rows), self.table

    def step_gradients(self, runtime: Runtime) -> np.ndarray:
        """Gradient of each grid's step, float64."""
        if not runtime.host_arrays:
            update.sum_blocks(len(self.rows), _PARTS, self.table, self.d_step, self.sums)
            return runtime.download(self.sums).reshape(len(self.rows), _PARTS).sum(axis=1, dtype=np.float64)
        parts = self.d_step
        return np.array([parts[a:b].sum(dtype=np.float64) for a, b in zip(self.firsts, self.firsts[1:], strict=False)])


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
        _places_of_fours(place, ranges) if runtime.host_arrays else None,
    )


def _places_of_fours(place: np.ndarray, ranges: Sequence[tuple[int, int]]) -> np.ndarray | None:
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


def quantize_symbols(
    runtime: Runtime, s: LiveSymbols, values: Any, columns: Mapping[int, Any], mode: int, seed: int, iteration: int
) -> None:
    """Write the field's flat ``values`` and the levels of the symbols.

    Args:
        columns: of :class:`SymbolGrid`, STEP and OFFSET, one of each per grid.
        mode: IDENTITY, NOISE or ROUND of ``kernels/quantize.py``; the noise depends on ``seed`` and ``iteration``.
    """
    where = s.blocks.launch(runtime, columns)
    draw = mode, seed, iteration
    if not runtime.host_arrays:
        update.quantize_symbols(*where, *draw, s.parameters, s.reference, s.place, s.levels, values)
        return
    given = s.parameters, s.reference, s.levels
    update.quantize_lanes(*where, *draw, *given, *map(vectors, given))
    if s.fours is None:
        update.values_of_levels(*where, s.place, s.levels, values)
    else:
        update.values_of_fours(*where, s.fours, fours(s.levels), fours(values))


def update_symbols(
    runtime: Runtime, s: LiveSymbols, gradient: Any, columns: Mapping[int, Any], rows: Any, slopes: Any
) -> None:
    """One step of Adam on all symbols; each block's part of the steps' gradient is left in ``s.blocks``.

    Args:
        gradient: of the field's flat values, set to 0 where it is used.
        columns: of :class:`SymbolGrid`, STEP and all behind OFFSET, a number or one per grid.
        rows, slopes: of the rate, see ``update_symbols`` of ``kernels/update.py``; for a RATE of GIVEN the slopes are
            ``s.gradient``.
    """
    where, d_step = s.blocks.launch(runtime, columns), s.blocks.d_step
    symbols = s.moment1, s.moment2, s.parameters
    if not runtime.host_arrays:
        update.update_symbols(*where, s.place, gradient, s.levels, rows, slopes, *symbols, d_step)
        return
    rate = rows, slopes, s.parameters, s.gradient
    if s.fours is None:
        update.gradient_of_symbols(*where, s.place, gradient, s.levels, *rate, d_step)
    else:
        of_fours = fours(gradient), fours(s.levels)
        update.gradient_of_fours(*where, s.fours, *of_fours, *rate, fours(s.gradient), d_step)
    arrays = *symbols, s.gradient
    update.adam_lanes(*where, *arrays, *map(vectors, arrays))
