"""Memory of the decoder: the estimates are upper bounds, and the limit refuses a file before any allocation."""

from __future__ import annotations

import tracemalloc
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import streams
from backends import runtime
from commands import expect_error
from places import DATA

import taichi_vvc as tv
from taichi_vvc.bitstream import FrameData, Level, StreamReader, StreamWriter
from taichi_vvc.cli import run
from taichi_vvc.cli.options import MemorySize
from taichi_vvc.coding import displacements, memory, motion
from taichi_vvc.coding import zeros as blank
from taichi_vvc.coding.displacements import encode_motion
from taichi_vvc.coding.entropy import decode_integers, encode_grid, encode_mask, known_grids
from taichi_vvc.coding.headers import pack_group
from taichi_vvc.coding.live_set import live_nodes
from taichi_vvc.coding.memory import Budget
from taichi_vvc.coding.motion import lattice_shape, live_motion
from taichi_vvc.config import PRESETS, layout_of
from taichi_vvc.decode import decode_symbols
from taichi_vvc.errors import ConfigError, MemoryLimitExceeded
from taichi_vvc.play.playback import Playback, pack, unpack
from taichi_vvc.types import Bounds, FieldLayout, GridLevel, SymbolFrame

GOLDEN = DATA / "golden_v3.tvvc"
MEGABYTE = 1 << 20


def layout(nodes: int, cells: int, channels: int, block: int = 0) -> FieldLayout:
    levels = GridLevel((nodes,) * 3, channels, 1.0), GridLevel((nodes // 2,) * 3, 1, 4.0)
    return FieldLayout(
        Bounds((0.0,) * 3, (1.0,) * 3), (nodes,) * 3, levels, (cells,) * 3, steps_per_side=cells, motion_block=block
    )


def coded(shape: FieldLayout, seed: int, density: float, reference: SymbolFrame | None, large: int = 3) -> FrameData:
    """A frame of noise, with motion where the layout has any and there is a reference."""
    rng = np.random.default_rng(seed)
    nx, ny, nz = shape.occupancy
    before = None if reference is None else reference.occupancy
    mask = rng.random((nz, ny, nx)) < density
    live = live_nodes(shape, mask)
    moved, displaced = b"", None
    if reference is not None and shape.motion_block:
        known = live_motion(shape, live)
        displaced = rng.integers(-9, 10, lattice_shape(shape)).astype(np.int32) * known[..., None]
        moved = encode_motion(displaced, known, reference.motion)
    predicted = None
    if reference is not None:
        predicted = reference.symbols
        if displaced is not None:
            predicted = motion.moved_symbols(shape, predicted, displaced, live)
    previous = None if reference is None or reference.key else reference.residuals
    grids = []
    for grid, known in zip(shape.grid_shapes, known_grids(len(live), previous, predicted), strict=True):
        here = live[len(grids)]
        symbols = rng.integers(-large, large + 1, grid).astype(np.int32) * here[..., None]
        grids.append(encode_grid(symbols, here, known).payload)
    kind = "key" if reference is None else "inter"
    return FrameData(seed, 0, kind, encode_mask(mask, before), tuple(grids), moved)


@pytest.mark.parametrize(
    ("nodes", "cells", "channels", "block", "density", "large"),
    [(40, 16, 4, 0, 0.9, 3), (24, 40, 1, 0, 0.02, 3), (24, 24, 17, 8, 0.5, 300), (16, 40, 2, 1, 0.6, 3)],
)
def test_no_frame_takes_more_than_its_estimate(nodes, cells, channels, block, density, large) -> None:
    shape = layout(nodes, cells, channels, block)
    asked: list[float] = []

    class Watching(Budget):
        def check(self, need: float, what: str) -> None:
            asked.append(need)

    reference = None
    for number in range(3):
        data = coded(shape, number, density, reference, large)
        asked.clear()
        tracemalloc.start()
        before = tracemalloc.get_traced_memory()[0]
        frame = decode_symbols(shape, data, reference, Watching(1, "x"))
        peak = tracemalloc.get_traced_memory()[1] - before
        tracemalloc.stop()
        # What is worked on in parts of a fixed size is allowed for, too: little of it may hide an estimate too small.
        spare = 16 * MEGABYTE
        assert peak + memory.held_by(reference) <= max(asked) - spare / 2, (number, peak, max(asked))
        for limit in sorted(asked)[:-1:3]:
            with pytest.raises(MemoryLimitExceeded):
                decode_symbols(shape, data, reference, Budget(int(limit), "x"))
        again = decode_symbols(shape, data, reference, Budget(int(max(asked)) + 1, "x"))
        assert all((a == b).all() for a, b in zip(again.symbols, frame.symbols, strict=True))
        reference = frame


def written(path: Path, changes: dict, frames: list[FrameData]) -> Path:
    header = streams.header()
    header = replace(header, layout=replace(header.layout, **changes))
    shapes = (sum(level.channels for level in header.layout.levels), 16), (16,), (16, 8), (8,), (22, 16), (16,)
    steps = (0.5,) * (1 + len(header.layout.levels))
    group = pack_group(0, 0, steps, tuple(np.zeros(s, np.int32) for s in (*shapes, (16, 3), (3,))), 0.5)
    with StreamWriter.create(path, header) as writer:
        writer.add_group(group)
        for frame in frames:
            writer.add_frame(frame)
        writer.finish()
    return path


def zeros(number: int, grids: int, occupancy: bytes = b"") -> FrameData:
    return FrameData(number, 0, "inter" if number else "key", occupancy, (b"\x02",) * grids)


def test_a_level_of_all_zeros_takes_next_to_nothing(tmp_path: Path, capfd) -> None:
    """Half a gigabyte a frame as dense integers."""
    big = {"levels": (Level((512, 512, 511), 1, 256),), "coefficients": (2, 2, 2), "cells": (8, 8, 8)}
    path = written(tmp_path / "a.tvvc", big, [zeros(number, 2) for number in range(3)])
    tracemalloc.start()
    try:
        with tv.open(path, memory_limit=64 * MEGABYTE) as stream:
            for number in range(3):
                frame = stream.symbols(number)
                packed = pack(frame)
                assert packed.size < 1000
                kept = unpack(packed, stream.header.layout)
                assert all(blank.is_blank(g) for g in (*frame.symbols, *frame.residuals, *kept.symbols))
            with Playback(path, memory_limit=64 * MEGABYTE) as playback:
                assert playback.get(2, timeout=60) is not None
        assert tracemalloc.get_traced_memory()[1] < 32 * MEGABYTE
    finally:
        tracemalloc.stop()
    draw = ["render", path, "-o", tmp_path / "a", "--path", "orbit", "--size", "4x4", "--fps", "0.25"]
    expect_error(capfd, [*draw, "--memory-limit", "256M", "--backend", "cpu"], 4, "--memory-limit", "of memory")
    with (
        tv.open(path, memory_limit=256 * MEGABYTE) as stream,
        pytest.raises(MemoryLimitExceeded, match="a frame on the device"),
    ):
        _ = stream[0]


def test_such_a_file_is_drawn_where_the_memory_is_there(tmp_path: Path) -> None:
    few = {"levels": (Level((32, 32, 31), 1, 256),), "coefficients": (2, 2, 2), "cells": (8, 8, 8)}
    path = written(tmp_path / "a.tvvc", few, [zeros(0, 2, encode_mask(np.ones((8, 8, 8), bool), None)), zeros(1, 2)])
    with tv.open(path) as stream:
        runtime()
        picture = tv.render(stream[1], stream.cameras[0].resized(8, 6), stream.background)
        assert picture.colour.shape == (6, 8, 3) and np.isfinite(picture.colour).all()


def test_fine_motion_in_a_large_mask_is_refused_before_it_is_decoded(tmp_path: Path, capfd, monkeypatch) -> None:
    large = {"levels": (Level((8, 8, 8), 1, 256),), "coefficients": (8, 8, 8), "cells": (500, 500, 500)}
    mask = np.zeros((500, 500, 500), bool)
    mask[0, 0, 0] = True
    moving = replace(zeros(1, 2), motion=b"\x03\x00\x00\x00\x00")
    frames = [zeros(0, 2, encode_mask(mask, None)), moving]
    path = written(tmp_path / "a.tvvc", large | {"motion_block": 1, "steps_per_side": 500}, frames)
    monkeypatch.setattr(displacements, "decode_integers", lambda *_: pytest.fail("it was decoded"))
    with tv.open(path, memory_limit=4 << 30) as stream:
        with pytest.raises(MemoryLimitExceeded, match=r"frame 1 takes up to \d+(\.\d)? GiB .* --memory-limit"):
            stream.symbols(1)
    expect_error(capfd, ["decode", path, "--verify", "--memory-limit", "100M"], 4, "frame 0 takes up to", "100 MiB")
    with StreamReader(path) as reader:
        assert len(reader.frames) == 2


def test_pictures_and_long_rays_are_drawn_within_the_limit(capfd, tmp_path: Path) -> None:
    """The limit makes parts smaller, and refuses what cannot be made small: the picture."""
    with tv.open(GOLDEN) as stream:
        expected = tv.render(stream[1], stream.cameras[3], stream.background).colour
    with tv.open(GOLDEN, memory_limit=96 * MEGABYTE) as stream:
        field, camera = stream[1], stream.cameras[3]
        np.testing.assert_allclose(tv.render(field, camera, stream.background).colour, expected, atol=1e-4)
        with pytest.raises(MemoryLimitExceeded, match="drawing 67108864 pixels"):
            tv.render(field, camera.resized(8192, 8192))
    draw = ["render", GOLDEN, "-o", tmp_path / "a", "--path", "orbit", "--size", "8192x8192", "--fps", "1"]
    expect_error(capfd, [*draw, "--memory-limit", "96M", "--backend", "cpu"], 4, "--memory-limit")


def test_networks_count(tmp_path: Path) -> None:
    with tv.open(GOLDEN, memory_limit=1 * MEGABYTE) as stream, pytest.raises(MemoryLimitExceeded, match="group 0"):
        stream.parameters(0)
    shapes = [(64, 1024), (1024,), (1024, 1025), (1025,)]
    payload = pack_group(0, 0, (1.0,), tuple(np.ones(s, np.int32) for s in shapes), 0.5).mlp
    tracemalloc.start()
    decode_integers(payload, shapes)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak <= 64 * sum(int(np.prod(s)) for s in shapes)


@pytest.mark.parametrize("preset", PRESETS)
def test_what_presets_write_is_decoded_in_a_quarter_of_a_small_machine(preset: str) -> None:
    """Everything occupied, on 4 GiB with their default of half of it; real scenes take a tenth."""
    shape = layout_of(PRESETS[preset], Bounds((0.0,) * 3, (1.0,) * 3))
    live = [np.ones(s[:3], bool) for s in shape.grid_shapes]
    held = 6 * sum(4 * int(np.prod(s)) for s in shape.grid_shapes)
    needs = [memory.mask_need(shape, True), memory.live_need(shape), memory.motion_need(lattice_shape(shape))]
    needs += [memory.grid_need(nodes, s[3], None, True) for nodes, s in zip(live, shape.grid_shapes, strict=True)]
    needs += [memory.moved_need(lattice_shape(shape), s, False) for s in shape.grid_shapes]
    assert held + max(needs) < 2 << 30
    assert memory.field_need(shape, sum(int(np.prod(s)) for s in shape.grid_shapes), False) < 1 << 30


@pytest.mark.parametrize(
    ("text", "size"),
    [("100", 100), ("1k", 1024), ("1.5M", 3 << 19), ("4G", 4 << 30), ("2TiB", 2 << 40), ("8GB", 8 << 30)],
)
def test_sizes_on_the_command_line(text: str, size: int) -> None:
    assert MemorySize().convert(text, None, None) == size


@pytest.mark.parametrize("text", ["0", "-1", "", "many", "1e3", "4 X", "nan", "1" * 400])
def test_other_sizes_are_refused(text: str, capfd) -> None:
    expect_error(capfd, ["decode", GOLDEN, "--verify", f"--memory-limit={text}"], 2, "memory-limit")


def test_the_limit_is_positive_and_has_a_default() -> None:
    for limit in (0, -5):
        with pytest.raises(ConfigError):
            tv.open(GOLDEN, memory_limit=limit)
    with tv.open(GOLDEN) as stream:
        assert stream.memory_limit == memory.machine_memory() // 2 > 1 << 28
    assert run(["decode", str(GOLDEN), "--verify", "--memory-limit", "96M"]) == 0


def test_control_groups_count(tmp_path: Path) -> None:
    member, root = tmp_path / "cgroup", tmp_path / "sys"
    (root / "a" / "b").mkdir(parents=True)
    (root / "memory" / "c").mkdir(parents=True)
    member.write_text("3:cpu,memory:/c\n0::/a/b\n")
    (root / "a" / "memory.max").write_text("3000000\n")
    (root / "a" / "b" / "memory.max").write_text("max\n")
    (root / "memory" / "c" / "memory.limit_in_bytes").write_text("2000000\n")
    assert sorted(memory._group_limits(root, member)) == [2000000, 3000000]
    assert memory._group_limits(root, tmp_path / "missing") == []
