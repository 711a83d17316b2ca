"""Tables chosen on the device, against those of the coder."""

from __future__ import annotations

import numpy as np
import pytest
from backends import down, runtime, small_layout
from taichi_vvc.kernels import contexts as kernels

from taichi_vvc.coding import choose_tables, contexts, tables
from taichi_vvc.coding.choose_tables import Known, plan_rate
from taichi_vvc.field.grids import map_of
from taichi_vvc.fit.parameters import LiveSymbols, make_live, shrink_live
from taichi_vvc.fit.rate import _even, derivatives
from taichi_vvc.fit.rate_on_device import DevicePlanner
from taichi_vvc.types import FieldLayout, GridLevel

STRIDE = 2 * tables.LARGEST + 2


def layout_of(channels: int) -> FieldLayout:
    """Grids with odd and even numbers of nodes, of which one has many channels."""
    levels = (GridLevel((9, 8, 7), channels, 1.0), GridLevel((5, 6, 11), 4, 2.0))
    return small_layout(coefficients=(6, 7, 9), levels=levels)


def drawn(shapes: tuple[tuple[int, ...], ...], seed: int, spread: float) -> tuple[np.ndarray, ...]:
    """Symbols mostly zero, a few large, clustered."""
    rng = np.random.default_rng(seed)
    grids = []
    for shape in shapes:
        loud = rng.random(shape[:3])[..., None] ** 4
        grids.append(np.rint(rng.standard_t(2, shape) * loud * spread).clip(-40, 40).astype(np.int32))
    return tuple(grids)


def symbols_of(layout: FieldLayout, grids: tuple[np.ndarray, ...], reference: tuple[np.ndarray, ...]) -> LiveSymbols:
    """Live symbols, most of the nodes, which round to the grids."""
    rng = np.random.default_rng(1)
    live = tuple(rng.random(shape[:3]) < 0.8 for shape in layout.grid_shapes)
    off = tuple((g + rng.uniform(-0.49, 0.49, g.shape)).astype(np.float32) for g in grids)
    return make_live(runtime(), layout, map_of(layout), live, off, reference)


def assert_same(planner: DevicePlanner, s: LiveSymbols, grids: tuple[np.ndarray, ...], known: list[Known]) -> None:
    """The planner finds the coder's tables for every symbol of the grids."""
    found = planner.plan(s)
    rows, slopes = down(found.rows, s.count), down(found.slopes)
    bits = 0.0
    for g, (grid, live, (a, b)) in enumerate(zip(grids, s.live, s.ranges, strict=True)):
        residual = np.where(live[..., None], grid, 0)
        wanted = plan_rate(residual, live, known[g])
        lengths = _even(wanted.lengths)
        # The coder's tables come once with each class of signs, which are alike once signs are even.
        classes = len(lengths) // contexts.TABLES
        assert (rows[a:b] // STRIDE - g * contexts.TABLES == wanted.table.reshape(-1) // classes).all()
        first = g * contexts.TABLES * STRIDE
        mine = slopes[first : first + contexts.TABLES * STRIDE].reshape(-1, STRIDE)
        np.testing.assert_allclose(mine, derivatives(lengths[::classes], choose_tables.SLOPE), atol=1e-4)
        values = np.minimum(np.abs(residual[live]), tables.LARGEST).reshape(-1)
        inside = np.abs(residual[live].reshape(-1)) <= tables.LARGEST
        bits += lengths[wanted.table.reshape(-1)[inside], values[inside] + tables.LARGEST].sum()
    # Side information comes on top, and escapes.
    assert bits <= found.bits <= bits + 3000


@pytest.mark.parametrize("channels", [2, 4, 18])
@pytest.mark.parametrize("sort", ["key", "second", "third"])
def test_the_device_finds_the_coders_tables(channels: int, sort: str) -> None:
    layout = layout_of(channels)
    shapes = layout.grid_shapes
    grids, before, under = (drawn(shapes, seed, spread) for seed, spread in ((0, 3.0), (1, 2.0), (2, 9.0)))
    known = [Known() for _ in shapes]
    if sort != "key":
        known = [Known(b if sort == "third" else None, u) for b, u in zip(before, under, strict=True)]
    zeros = tuple(np.zeros_like(u) for u in under)
    s = symbols_of(layout, grids, zeros if sort == "key" else under)
    planner = DevicePlanner(runtime(), layout, known)
    assert_same(planner, s, grids, known)
    # Again, with counters and volumes that have been used, and again with fewer live nodes.
    assert_same(planner, s, grids, known)
    fewer = tuple(live & (np.random.default_rng(3).random(live.shape) < 0.7) for live in s.live)
    assert_same(planner, shrink_live(runtime(), layout, map_of(layout), s, fewer), grids, known)


def test_a_grid_without_live_nodes_and_one_of_zeros() -> None:
    layout = layout_of(4)
    grids = drawn(layout.grid_shapes, 5, 2.0)
    grids = (grids[0], np.zeros_like(grids[1]), grids[2])
    s = symbols_of(layout, grids, grids)
    known = [Known() for _ in grids]
    assert_same(DevicePlanner(runtime(), layout, known), s, grids, known)
    none = (s.live[0], s.live[1], np.zeros_like(s.live[2]))
    few = shrink_live(runtime(), layout, map_of(layout), s, none)
    assert down(DevicePlanner(runtime(), layout, known).plan(few).rows, few.count).max() < 2 * contexts.TABLES * STRIDE


def test_the_kernels_numbers_are_the_coders() -> None:
    assert kernels.THRESHOLDS == contexts.THRESHOLDS
    assert (kernels.CAP, kernels.TOTAL_CAP) == (contexts.CAP, contexts.TOTAL_CAP)
    assert kernels.ESCAPE == tables.LARGEST + 1
