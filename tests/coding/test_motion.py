"""Motion: the integer arithmetic against the document, the kernels against both, and a capture that really moves."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import captures
import numpy as np
import plain_motion
import pytest
from backends import down, runtime, up
from tiny import TWO_LEVELS

import taichi_vvc as tv
from taichi_vvc.coding import motion, motion_contexts
from taichi_vvc.coding.live_set import live_nodes
from taichi_vvc.coding.moved_masks import coded_nodes
from taichi_vvc.decode import decode_symbols
from taichi_vvc.errors import ConfigError, CorruptStream
from taichi_vvc.field.grids import field_of_symbols
from taichi_vvc.fit.motion_search import Mover
from taichi_vvc.fit.prediction import Reference
from taichi_vvc.media.metrics import psnr
from taichi_vvc.types import Bounds, FieldLayout, GridLevel, GroupParameters, SymbolFrame

# Unequal sides, blocks that do not divide them, a level beyond the bounds and one that repeats.
LAYOUT = FieldLayout(
    bounds=Bounds((0.0, 0.0, 0.0), (1.0, 0.9, 0.7)),
    coefficients=(6, 5, 4),
    levels=(GridLevel((7, 6, 5), 2, 1.0), GridLevel((5, 5, 5), 6, 0.75), GridLevel((6, 6, 6), 2, 2.0)),
    occupancy=(10, 9, 7),
    projection_hidden=8,
    appearance=3,
    colour_hidden=8,
    view_frequencies=1,
    steps_per_side=24,
    motion_block=2,
)
# Four channels everywhere, which the CPU has kernels of its own for.
FOURS = dataclasses.replace(LAYOUT, levels=tuple(dataclasses.replace(level, channels=4) for level in LAYOUT.levels))
LAYOUTS = pytest.mark.parametrize("layout", [LAYOUT, FOURS], ids=["mixed", "fours"])
FREQUENCIES = (None, 256, 192)


def scene(seed: int = 0, largest: int = 9, layout: FieldLayout = LAYOUT):
    """Symbols of all grids, live nodes of a part of the bounds, and displacements at live lattice nodes."""
    rng = np.random.default_rng(seed)
    symbols = tuple(rng.integers(-largest, largest + 1, s).astype(np.int32) for s in layout.grid_shapes)
    mask = np.zeros(layout.occupancy[::-1], bool)
    mask[1:3, 1:3, 1:4] = True
    live = live_nodes(layout, mask)
    known = motion.live_motion(layout, live)
    moved = rng.integers(-9, 10, motion.lattice_shape(layout)) * known[..., None]
    return symbols, mask, live, known, moved.astype(np.int32)


def test_live_lattice_nodes_are_the_documents() -> None:
    _, _, live, known, _ = scene()
    grids = [(LAYOUT.coefficients, None, live[0])]
    grids += [(level.resolution, f, m) for level, f, m in zip(LAYOUT.levels, FREQUENCIES[1:], live[1:], strict=False)]
    documented = plain_motion.live_motion(LAYOUT.occupancy, LAYOUT.motion_block, grids)
    assert {(int(x), int(y), int(z)) for z, y, x in np.argwhere(known)} == documented
    assert known.any() and not known.all()


@pytest.mark.parametrize("largest, farther", [(9, 1), (9, 400), (127, 1), (128, 1), (2**23, 1)])
def test_moved_symbols_are_the_documents(largest: int, farther: int) -> None:
    symbols, _, live, _, moved = scene(largest=largest)
    if largest > 9:
        # Where the largest alternate in sign, sums are at their largest too.
        signs = [1 - 2 * (sum(np.indices(s.shape[:3])) & 1) for s in symbols]
        symbols = tuple(
            (np.where(s > 0, largest, s) * sign[..., None]).astype(np.int32)
            for s, sign in zip(symbols, signs, strict=True)
        )
    moved = np.clip(farther * moved, -motion.LARGEST, motion.LARGEST)
    result = motion.moved_symbols(LAYOUT, symbols, moved, live)
    assert motion.moved_grids(LAYOUT) == (0, 1, 2)
    for grid, frequency in enumerate(FREQUENCIES):
        expected = plain_motion.moved(
            LAYOUT.occupancy, LAYOUT.motion_block, frequency, symbols[grid], moved, live[grid]
        )
        np.testing.assert_array_equal(result[grid], expected)
        assert (result[grid] != symbols[grid]).any()
    assert result[3] is symbols[3]


def test_without_displacements_nothing_changes() -> None:
    symbols, _, live, _, moved = scene()
    result = motion.moved_symbols(LAYOUT, symbols, 0 * moved, live)
    assert all(a is b for a, b in zip(result, symbols, strict=True))


def test_whole_nodes_are_moved_exactly() -> None:
    """Two cells are one node of a grid whose nodes stand two cells apart."""
    layout = dataclasses.replace(LAYOUT, occupancy=(8, 8, 8), coefficients=(5, 5, 5))
    rng = np.random.default_rng(3)
    symbols = tuple(rng.integers(-99, 100, s).astype(np.int32) for s in layout.grid_shapes)
    live = live_nodes(layout, np.ones((8, 8, 8), bool))
    shift = np.zeros(motion.lattice_shape(layout), np.int32)
    shift[..., 0], shift[..., 2] = 2 * motion.UNITS, -2 * motion.UNITS
    result = motion.moved_symbols(layout, symbols, shift, live)[0]
    np.testing.assert_array_equal(result[1:, :, :-1], symbols[0][:-1, :, 1:])


def parameters(layout: FieldLayout, rng: np.random.Generator) -> GroupParameters:
    mlp = tuple(rng.normal(size=s).astype(np.float32) for s in layout.mlp_shapes)
    return GroupParameters((0.25, 0.5, 0.125, 0.5), mlp)


def mover(moved: np.ndarray, symbols, mask, live, layout: FieldLayout = LAYOUT):
    """A mover of the symbols, and the values that it makes of them."""
    frame = SymbolFrame(symbols, symbols, mask, True)
    reference = Reference(frame, parameters(layout, np.random.default_rng(5)))
    field = field_of_symbols(runtime(), layout, reference.parameters, frame)
    made = Mover.of(field, reference, live)
    made.move(moved / motion.UNITS)
    return made, field, reference.parameters.steps


@LAYOUTS
def test_the_kernel_moves_as_the_decoder_does(layout: FieldLayout) -> None:
    symbols, mask, live, _, moved = scene(layout=layout)
    moved //= 2
    _, field, steps = mover(moved, symbols, mask, live, layout)
    values = down(field.values)
    expected = motion.moved_symbols(layout, symbols, moved, live)
    for grid in motion.moved_grids(layout):
        found = values[field.map.places(grid, np.flatnonzero(live[grid]))]
        found = (found - (grid == 0)) / steps[grid]
        difference = np.abs(found - expected[grid][live[grid]])
        # Rounding to integers, and origins rounded to 32nds of a node where neighbours differ by up to 18.
        assert difference.max() < 2.0 and difference.mean() < 0.5


@LAYOUTS
def test_the_gradient_of_the_displacements(layout: FieldLayout) -> None:
    symbols, mask, live, known, moved = scene(largest=3, layout=layout)
    rng = np.random.default_rng(7)
    # Smooth symbols, so that differences do not straddle the kinks between nodes.
    symbols = tuple(
        np.rint(200 * np.sin(sum(np.indices(s.shape)) / 3.0 + c)).astype(np.int32) for c, s in enumerate(symbols)
    )
    at = moved / motion.UNITS / 8 + 0.03
    made, field, _ = mover(motion.UNITS * at, symbols, mask, live, layout)
    weights = np.zeros(field.map.size, np.float32)
    for grid in motion.moved_grids(layout):
        places = field.map.places(grid, np.flatnonzero(live[grid]))
        weights[places] = rng.normal(size=places.shape)
    slope = made.gradient(up(weights))
    direction = rng.normal(size=at.shape) * known[..., None]

    def loss(displacements: np.ndarray) -> float:
        made.move(displacements)
        return float(down(field.values).astype(np.float64) @ weights)

    found = (slope * direction).sum()
    assert found == pytest.approx((loss(at + 0.004 * direction) - loss(at - 0.004 * direction)) / 0.008, rel=0.05)
    assert not slope[~known].any()


@LAYOUTS
def test_some_entries_are_moved_alone(layout: FieldLayout) -> None:
    symbols, mask, live, _, moved = scene(layout=layout)
    made, field, _ = mover(moved, symbols, mask, live, layout)
    whole = down(field.values).copy()
    fewer = mask.copy()
    fewer[2] = False
    some = live_nodes(layout, fewer)
    made.move(0 * moved)
    still = down(field.values).copy()
    made.move(moved / motion.UNITS, made.entries_of(some))
    values = down(field.values)
    for grid in motion.moved_grids(layout):
        for nodes, expected in ((some[grid], whole), (live[grid] & ~some[grid], still)):
            places = field.map.places(grid, np.flatnonzero(nodes))
            np.testing.assert_array_equal(values[places], expected[places])
    assert (still != whole).any()


@pytest.fixture(scope="module")
def walking(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A capture in which everything moves."""
    return captures.write_capture(tmp_path_factory.mktemp("walking"), cameras=8, frames=3, size=48)


MOVING = tv.EncoderConfig(**{**TWO_LEVELS, "motion_blocks": 4, "key_iterations": 200, "inter_iterations": 60})


def test_motion_brings_the_reference_to_the_frame(walking: Path, tmp_path: Path) -> None:
    """Frame 1 without its residuals: much closer to the pictures with its motion than without."""
    sequence = tv.open_capture(walking)
    path = tmp_path / "a.tvvc"
    statistics = list(tv.encode(sequence, MOVING, path))
    assert statistics[0].components["motion"] == 0 and statistics[1].components["motion"] > 0
    views = [v for v in sequence.frame(1).views if v.camera.split == "train"]
    found = []
    with tv.open(path) as stream:
        layout, frame, before = stream.header.layout, stream.symbols(1), stream.symbols(0)
        moved = motion.moved_symbols(layout, before.symbols, frame.motion, live_nodes(layout, frame.occupancy))
        for symbols in (before.symbols, moved):
            shown = dataclasses.replace(frame, symbols=symbols)
            field = field_of_symbols(runtime(), layout, stream.parameters(1), shown)
            found.append(np.mean([psnr(tv.render(field, v.camera).colour, over_white(v)) for v in views]))
    assert found[1] > found[0] + 1.0


def over_white(view) -> np.ndarray:
    image = view.image.astype(np.float32) / 255
    return image[..., :3] * image[..., 3:] + 1 - image[..., 3:]


def test_without_motion_nothing_is_sent(walking: Path, tmp_path: Path) -> None:
    runtime()
    path = tmp_path / "a.tvvc"
    config = dataclasses.replace(MOVING, motion_blocks=0)
    statistics = list(tv.encode(tv.open_capture(walking, frames=slice(0, 2)), config, path))
    assert statistics[1].components["motion"] == 0
    with tv.open(path) as stream:
        assert stream.symbols(1).motion is None and stream.header.layout.motion_block == 0


def test_resuming_repeats_the_bytes(walking: Path, tmp_path: Path) -> None:
    """The search for motion begins with that of the frame before, which a resumed encode has from the file."""
    runtime()
    sequence = tv.open_capture(walking)
    whole, parts = tmp_path / "whole.tvvc", tmp_path / "parts.tvvc"
    list(tv.encode(sequence, MOVING, whole))
    for number, _ in enumerate(tv.encode(sequence, MOVING, parts)):
        if number == 1:
            break
    list(tv.encode(sequence, MOVING, parts, resume=True))
    assert whole.read_bytes() == parts.read_bytes()


def coded(walking: Path, tmp_path: Path):
    path = tmp_path / "a.tvvc"
    list(tv.encode(tv.open_capture(walking, frames=slice(0, 2)), MOVING, path))
    with tv.open(path) as stream:
        return stream.header.layout, stream._reader.read_frame(1), stream.symbols(0)


def test_damaged_motion_is_refused(walking: Path, tmp_path: Path) -> None:
    runtime()
    layout, data, reference = coded(walking, tmp_path)
    frame = decode_symbols(layout, data, reference)
    assert frame.motion is not None
    coded_there = coded_nodes(layout, reference.occupancy)
    large = np.zeros(frame.motion.shape, np.int32)
    large[coded_there] = motion.LARGEST + 1
    for payload in (motion_contexts.encode_motion(large, coded_there, None),):
        with pytest.raises(CorruptStream, match="displacements up to 4096"):
            decode_symbols(layout, dataclasses.replace(data, motion=payload), reference)
    assert data.motion[0] == motion_contexts.SPATIAL
    temporal = bytes([motion_contexts.TEMPORAL]) + data.motion[1:]
    with pytest.raises(CorruptStream, match="the frame before, which has none"):
        decode_symbols(layout, dataclasses.replace(data, motion=temporal), reference)
    with pytest.raises(CorruptStream, match="expected no motion"):
        decode_symbols(dataclasses.replace(layout, motion_block=0), data, reference)
    with pytest.raises(CorruptStream):
        decode_symbols(layout, dataclasses.replace(data, motion=data.motion[:-1]), reference)


def test_blocks_out_of_range_are_refused() -> None:
    with pytest.raises(ConfigError, match="motion_blocks"):
        tv.EncoderConfig(motion_blocks=-1)
