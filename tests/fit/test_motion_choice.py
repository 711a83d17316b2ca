"""The decision whether a frame's motion is sent, by its savings and cost; and motion at the ends of its range."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import backends
import numpy as np
import plain_motion
import pytest
from backends import runtime
from tiny import ONE_LEVEL

from taichi_vvc.coding import motion
from taichi_vvc.coding.live_set import live_nodes
from taichi_vvc.config import EncoderConfig
from taichi_vvc.field.render import Workspace
from taichi_vvc.fit import motion_search
from taichi_vvc.fit.motion_search import find_motion, search_iterations
from taichi_vvc.fit.prediction import Reference
from taichi_vvc.fit.training_rays import make_training_rays
from taichi_vvc.types import FieldLayout, GroupParameters, SymbolFrame, View

LAYOUT = backends.small_layout(motion_block=2)
CONFIG = EncoderConfig(**{**ONE_LEVEL, "motion_blocks": 4, "background": (255, 255, 255), "inter_iterations": 60})
ITERATIONS = 10
# Of the batches that decide: mean squared error per channel with motion and without.
MOVED, STILL = 0.010, 0.012


def reference(stated: np.ndarray | None = None) -> Reference:
    """A decoded frame; ``stated``: its own motion."""
    rng = np.random.default_rng(0)
    symbols = tuple(rng.integers(-3, 4, shape).astype(np.int32) for shape in LAYOUT.grid_shapes)
    mask = np.ones(LAYOUT.occupancy[::-1], bool)
    frame = SymbolFrame(symbols, symbols, mask, False, stated)
    return Reference(frame, GroupParameters((0.25, 0.5, 0.125), backends.random_mlp(LAYOUT, 0)))


def training(ws: Workspace) -> Any:
    centre = (np.asarray(LAYOUT.bounds.lower) + np.asarray(LAYOUT.bounds.upper)) / 2
    cameras = [backends.look_at(centre + 5 * np.array(d), centre, (16, 16), 40.0) for d in ((1, 0, 0), (0, 0.2, 1))]
    views = [View(camera, np.full((16, 16, 4), 255, np.uint8)) for camera in cameras]
    return make_training_rays(ws, LAYOUT, views, np.ones(LAYOUT.occupancy[::-1], bool))


Search = Callable[..., np.ndarray | None]


@pytest.fixture
def search(monkeypatch: pytest.MonkeyPatch) -> Search:
    """A search that finds some motion, which takes ``size`` bytes and makes the error ``MOVED`` instead of ``STILL``;
    a byte costs as much as the given share of what that saves."""

    def find(size: int, share: float, moved: float = MOVED, still: float = STILL) -> np.ndarray | None:
        ws = Workspace(runtime())
        given = training(ws)
        rate = share * 3 * (STILL - MOVED) * given.rays_per_view / 8
        checked: list[int] = []

        def step(ws, field, config, training, gradient, mlp_gradient, seed, iteration) -> float:
            if iteration < 10 * ITERATIONS:
                gradient.fill(1e-3)
                return 1.0
            checked.append(iteration)
            return moved if len(checked) <= 4 else still

        monkeypatch.setattr(motion_search, "distortion_step", step)
        monkeypatch.setattr(motion_search, "encode_motion", lambda m, known, before: bytes(size if m.any() else 0))
        assert search_iterations(CONFIG) == ITERATIONS
        config = dataclasses.replace(CONFIG, lambda_rate=rate)
        found = find_motion(ws, config, given, reference())
        assert len(checked) == 8 and checked[:4] == checked[4:], "both are checked with the same rays"
        return found

    return find


@pytest.mark.parametrize("bytes_of_break_even, sent", [(0.9, True), (1.1, False)])
def test_motion_is_sent_where_it_saves_more_than_its_bytes(
    search: Search, bytes_of_break_even: float, sent: bool
) -> None:
    """The error of a ray is that of its three channels, a bit costs lambda by the rays of a view."""
    found = search(round(1000 * bytes_of_break_even), 1e-3)
    assert (found is not None) == sent
    if found is not None:
        assert found.dtype == np.int32 and found.any() and np.abs(found).max() <= motion.LARGEST


def test_motion_that_helps_nothing_is_not_sent(search: Search) -> None:
    assert search(0, 1e-9, moved=STILL, still=MOVED) is None
    assert search(1, 1e-9, moved=STILL, still=STILL) is None


def test_displacements_are_only_sought_at_nodes_that_are_coded(search: Search) -> None:
    found = search(1, 1e-9)
    assert found is not None
    mask = np.ones(LAYOUT.occupancy[::-1], bool)
    known = motion.live_motion(LAYOUT, live_nodes(LAYOUT, mask))
    assert not found[~known].any()


def sought(
    monkeypatch: pytest.MonkeyPatch, weight: float, stated: np.ndarray | None = None, noise: float = 1e-3
) -> np.ndarray | None:
    """What a search finds whose pictures pull at random, with a gradient of size ``noise``; displacements cost
    ``weight`` per bit."""
    ws = Workspace(runtime())
    given, checked = training(ws), []

    def step(ws, field, config, training, gradient, mlp_gradient, seed, iteration) -> float:
        if iteration < 400:
            drawn = np.random.default_rng(8).normal(size=field.map.size) * noise
            runtime().store(gradient, drawn.astype(np.float32))
            return 1.0
        checked.append(iteration)
        return MOVED if len(checked) <= 4 else STILL

    monkeypatch.setattr(motion_search, "distortion_step", step)
    monkeypatch.setattr(motion_search, "encode_motion", lambda motion, known, before: b"")
    config = dataclasses.replace(CONFIG, lambda_rate=weight * given.rays_per_view, inter_iterations=6 * 40)
    monkeypatch.setattr(motion_search, "_SMOOTH", 0.0)
    return find_motion(ws, config, given, reference(stated))


def roughness(motion: np.ndarray) -> float:
    return float(sum(np.abs(np.diff(motion, axis=axis)).sum() for axis in range(3)))


def test_dear_displacements_change_as_their_neighbours_do(monkeypatch: pytest.MonkeyPatch) -> None:
    free, dear = (sought(monkeypatch, weight) for weight in (0.0, 1.0))
    assert free is not None
    assert roughness(np.zeros_like(free) if dear is None else dear) < 0.3 * roughness(free)


def test_what_moves_on_as_before_costs_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only the change since the frame before takes bytes: rough displacements may stay what they are."""
    known = motion.live_motion(LAYOUT, live_nodes(LAYOUT, np.ones(LAYOUT.occupancy[::-1], bool)))
    stated = np.random.default_rng(9).integers(-9, 10, motion.lattice_shape(LAYOUT)) * known[..., None]
    found = sought(monkeypatch, 1.0, stated.astype(np.int32), noise=0.0)
    np.testing.assert_array_equal(found, stated)


def test_displacements_end_where_their_range_does(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(motion_search, "_RATE", 1e4)
    found = sought(monkeypatch, 0.0)
    assert found is not None and found.max() == motion.LARGEST and found.min() == -motion.LARGEST


# -- the ends of ranges ----------------------------------------------------------------------------------------------


def cube(layout: FieldLayout, symbols: tuple[np.ndarray, ...]) -> tuple[tuple[np.ndarray, ...], np.ndarray]:
    """Live nodes and random displacements, everywhere."""
    live = live_nodes(layout, np.ones(layout.occupancy[::-1], bool))
    moved = np.random.default_rng(5).integers(-9, 10, motion.lattice_shape(layout)).astype(np.int32)
    return live, moved


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("largest", [127, 128, 300, 511, 512, 1500, 5000, 40000, (1 << 24) - 1])
def test_symbols_of_one_sign_are_moved_exactly(sign: int, largest: int) -> None:
    """Whether 16 bits suffice follows from the largest magnitude, whichever sign has it."""
    rng = np.random.default_rng(largest)
    symbols = []
    for shape in LAYOUT.grid_shapes:
        # Neighbours differ by as much as they can; of the other sign there are only small ones.
        high = sum(np.indices(shape[:3])) % 2 == 0
        symbols.append((sign * np.where(high[..., None], largest, rng.integers(-5, 6, shape))).astype(np.int32))
    live, moved = cube(LAYOUT, tuple(symbols))
    result = motion.moved_symbols(LAYOUT, tuple(symbols), moved, live)
    grid = 0
    expected = plain_motion.moved(LAYOUT.occupancy, LAYOUT.motion_block, None, symbols[grid], moved, live[grid])
    np.testing.assert_array_equal(result[grid], expected)
    assert np.abs(result[grid]).max() > 0.8 * largest
    assert result[1].dtype == np.int32


@pytest.mark.parametrize("sign", [1, -1])
def test_the_largest_displacements_are_interpolated_exactly(sign: int) -> None:
    """Between nodes of 4096 and of 0, on the lattice's far side too; beyond the grid its border is taken."""
    rng = np.random.default_rng(6)
    symbols = tuple(rng.integers(-99, 100, shape).astype(np.int32) for shape in LAYOUT.grid_shapes)
    live, _ = cube(LAYOUT, symbols)
    chosen = rng.random(motion.lattice_shape(LAYOUT)) < 0.5
    for magnitude in (motion.LARGEST, motion.LARGEST - 1, 31):
        moved = np.where(chosen, sign * magnitude, 0).astype(np.int32)
        result = motion.moved_symbols(LAYOUT, symbols, moved, live)
        expected = plain_motion.moved(LAYOUT.occupancy, LAYOUT.motion_block, None, symbols[0], moved, live[0])
        np.testing.assert_array_equal(result[0], expected)
