"""The live set: equal to a brute-force computation, and never without a node that a lookup reads."""

from __future__ import annotations

import numpy as np
import pytest
import reference
from backends import down, ints, random_grids, runtime, small_layout, up
from hypothesis import given, settings
from hypothesis import strategies as st
from taichi_vvc.kernels import grids_gpu as kernels
from taichi_vvc.kernels import quantize

from taichi_vvc.coding.live_set import live_nodes
from taichi_vvc.field.grids import flat_values, map_of
from taichi_vvc.fit.parameters import gather_live, make_live, scatter_live, shrink_live
from taichi_vvc.types import FieldLayout, GridLevel

# Tiles longer and shorter than a cell, as long as the bounds, and of lengths that float32 does not hold.
LAYOUTS = [
    small_layout(),
    small_layout(
        occupancy=(5, 7, 3),
        coefficients=(9, 2, 4),
        levels=(GridLevel((6, 3, 2), 2, 1.0), GridLevel((4, 7, 3), 2, 3.0), GridLevel((3, 3, 5), 4, 11.25)),
    ),
    small_layout(occupancy=(8, 8, 8), coefficients=(5, 5, 5), levels=(GridLevel((9, 5, 4), 2, 2.0),)),
    small_layout(occupancy=(6, 6, 6), coefficients=(4, 4, 4), levels=(GridLevel((4, 4, 4), 2, 1.25),)),
]


def random_mask(layout: FieldLayout, share: float, seed: int) -> np.ndarray:
    """(nz, ny, nx) bool with at least one cell set."""
    rng = np.random.default_rng(seed)
    mask = rng.random(layout.occupancy[::-1]) < share
    mask[tuple(rng.integers(0, n) for n in mask.shape)] = True
    return mask


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("share", [0.0, 0.05, 0.5])
def test_live_nodes_equal_the_brute_force_twin(layout: FieldLayout, share: float) -> None:
    mask = random_mask(layout, share, 1)
    live = live_nodes(layout, mask)
    resolutions = [(layout.coefficients, None)] + [(v.resolution, int(v.frequency * 256)) for v in layout.levels]
    for found, (nodes, frequency) in zip(live, resolutions, strict=True):
        axes = [
            reference.live_axis(c, n, frequency, max(layout.occupancy))
            for c, n in zip(layout.occupancy, nodes, strict=True)
        ]
        assert found.dtype == bool and found.shape == nodes[::-1]
        np.testing.assert_array_equal(found, reference.live_grid(mask, axes, nodes))


@pytest.mark.parametrize("layout", LAYOUTS)
def test_everything_or_nothing(layout: FieldLayout) -> None:
    cells = layout.occupancy[::-1]
    assert not any(grid.any() for grid in live_nodes(layout, np.zeros(cells, bool)))
    # A coefficient grid spans the bounds: all its nodes can be seen. A tile may reach beyond them.
    assert live_nodes(layout, np.ones(cells, bool))[0].all()


def test_one_cell_keeps_little_alive() -> None:
    layout = small_layout(occupancy=(8, 8, 8), coefficients=(9, 9, 9), levels=(GridLevel((9, 9, 9), 2, 1.0),))
    mask = np.zeros((8, 8, 8), bool)
    mask[4, 2, 6] = True
    for grid in live_nodes(layout, mask):
        # Nodes lie on the corners of cells; the margin reaches into the neighbours, whose far corners count too.
        assert {tuple(n) for n in np.argwhere(grid)} == {
            (z, y, x) for z in range(3, 7) for y in range(1, 5) for x in range(5, 9)
        }


def touched(layout: FieldLayout, x: np.ndarray) -> tuple[np.ndarray, ...]:
    """Per grid, the nodes (nz, ny, nx) that the lookup at points (n, 3) reads with a weight above 0, by the kernel."""
    grid_map, n, channels = map_of(layout), len(x), layout.channels
    samples = np.concatenate([x, np.zeros((n, 1), np.float32)], axis=1)
    ones, gradient = up(np.ones(n * channels)), up(np.zeros(grid_map.size))
    kernels.lookup_bwd_channels(
        n,
        channels,
        0.0,
        up(samples.reshape(-1)),
        ints(grid_map.ints),
        up(grid_map.floats),
        ones,
        ones,
        ones,
        gradient,
    )
    # Weights are products of three fractions of at least 2^-24, which float32 holds.
    weights = down(gradient, grid_map.size)
    return tuple(
        (weights[grid_map.places(number, np.arange(int(np.prod(shape[:3]))))] > 0).any(axis=1).reshape(shape[:3])
        for number, shape in enumerate(layout.grid_shapes)
    )


@settings(max_examples=60, deadline=None)
@given(
    layout=st.sampled_from(LAYOUTS),
    share=st.sampled_from([0.0, 0.05, 0.3]),
    seed=st.integers(0, 2**16),
    inside=st.lists(
        st.tuples(*[st.one_of(st.sampled_from([0.0, 1e-7, 0.5, 1.0]), st.floats(0, 1))] * 3), min_size=1, max_size=24
    ),
)
def test_every_node_that_a_sample_touches_is_live(
    layout: FieldLayout, share: float, seed: int, inside: list[tuple[float, ...]]
) -> None:
    mask = random_mask(layout, share, seed)
    occupied = np.argwhere(mask)[:, ::-1]
    cell = occupied[np.random.default_rng(seed).integers(0, len(occupied), len(inside))].astype(np.float32)
    # A sample belongs to a cell if its truncated coordinates do: from the lower border to just below the upper one.
    # Nearer to that than a division rounds, the sawtooth may have begun anew, at the far border of the bounds too.
    x = np.minimum(cell + np.array(inside, np.float32), cell + np.float32(1 - 1e-5))
    for live, seen in zip(live_nodes(layout, mask), touched(layout, x), strict=True):
        assert seen.any()
        assert not (seen & ~live).any()


def test_live_symbols_gather_and_scatter() -> None:
    layout = LAYOUTS[0]
    grid_map = map_of(layout)
    live = live_nodes(layout, random_mask(layout, 0.05, 3))
    grids = random_grids(layout, 1)
    reference_symbols = tuple((g * 3).astype(np.int32) for g in random_grids(layout, 2))
    symbols = make_live(runtime(), layout, grid_map, live, grids, reference_symbols)
    counts = [int(m.sum()) * s[3] for m, s in zip(live, layout.grid_shapes, strict=True)]
    assert symbols.count == sum(counts) < sum(g.size for g in grids)
    assert [b - a for a, b in symbols.ranges] == counts
    np.testing.assert_array_equal(down(symbols.parameters, symbols.count), gather_live(grids, live))
    dense = scatter_live(layout, live, symbols.ranges, gather_live(grids, live))
    for scattered, grid, mask in zip(dense, grids, live, strict=True):
        np.testing.assert_array_equal(scattered, grid * mask[..., None])
    for name in ("gradient", "moment1", "moment2"):
        assert not down(getattr(symbols, name), symbols.count).any()

    # Each symbol's place is where its grid's value lies in the flat array.
    values = up(np.zeros(grid_map.size))
    quantize.quantize_fwd(
        0,
        symbols.count,
        quantize.IDENTITY,
        0.5,
        0.0,
        0,
        0,
        symbols.parameters,
        symbols.reference,
        symbols.place,
        symbols.levels,
        values,
    )
    expected = tuple(
        ((g + r) * 0.5 * m[..., None]).astype(np.float32)
        for g, r, m in zip(grids, reference_symbols, live, strict=True)
    )
    np.testing.assert_allclose(down(values, grid_map.size), flat_values(grid_map, layout, expected), atol=1e-6)


def test_shrinking_keeps_the_state_of_what_stays() -> None:
    layout = LAYOUTS[0]
    grid_map = map_of(layout)
    mask = random_mask(layout, 0.2, 4)
    fewer = mask & random_mask(layout, 0.3, 5)
    live, rest = live_nodes(layout, mask), live_nodes(layout, fewer)
    grids = random_grids(layout, 1)
    references = tuple((g * 3).astype(np.int32) for g in random_grids(layout, 2))
    moments = random_grids(layout, 3), random_grids(layout, 4)
    old = make_live(runtime(), layout, grid_map, live, grids, references)
    old.moment1, old.moment2 = (up(gather_live(m, live)) for m in moments)
    new = shrink_live(runtime(), layout, grid_map, old, rest)
    assert 0 < new.count < old.count
    for name, dense in zip(
        ("parameters", "reference", "moment1", "moment2"), (grids, references, *moments), strict=True
    ):
        np.testing.assert_array_equal(down(getattr(new, name), new.count), gather_live(dense, rest))
    places = np.concatenate([grid_map.places(n, np.flatnonzero(m)).reshape(-1) for n, m in enumerate(rest)])
    np.testing.assert_array_equal(down(new.place, new.count), places)
