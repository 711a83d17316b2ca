"""The encoder on tiny captures: closed loop, correct figures, resuming, captures without masks."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import captures
import independent_reader
import numpy as np
import plain_file
import pytest
from backends import runtime
from tiny import TWO_LEVELS

import taichi_vvc as tv
from taichi_vvc.bitstream import StreamReader
from taichi_vvc.coding.entropy import decode_integers
from taichi_vvc.coding.headers import layout_of_header
from taichi_vvc.encoder import frame
from taichi_vvc.encoder.settle import settle_background
from taichi_vvc.errors import ConfigError, CorruptStream, DataError
from taichi_vvc.measure.evaluate import evaluate

# Frequency 2 repeats a level: the sawtooth takes part.
TINY = tv.EncoderConfig(**{**TWO_LEVELS, "level_frequencies": (1.0, 2.0), "keyint": 2})


@pytest.fixture(scope="module")
def capture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return captures.write_capture(tmp_path_factory.mktemp("capture"), cameras=6, frames=3, size=32)


@pytest.fixture(scope="module")
def encoded(capture: Path, tmp_path_factory: pytest.TempPathFactory):
    runtime()
    path = tmp_path_factory.mktemp("encoded") / "a.tvvc"
    reports = []
    statistics = list(tv.encode(tv.open_capture(capture), TINY, path, progress=reports.append))
    return path, statistics, reports


def test_statistics_account_for_every_byte(encoded) -> None:
    path, statistics, _ = encoded
    assert [s.type for s in statistics] == ["key", "inter", "key"]
    with tv.open(path) as stream:
        assert [s.bytes for s in statistics] == [stream.info(i).bytes for i in range(3)]
    for s in statistics:
        assert s.bytes == sum(s.components.values())
        assert s.type == "key" or not s.components["mlp"]
    # The second key frame comes so soon after the first that MLPs of its own would not pay.
    assert statistics[0].components["mlp"] > 0 and not statistics[2].components["mlp"]


def test_estimated_bits_are_the_actual_ones(encoded) -> None:
    # The coder ends each of the three grids with up to two 32-bit words that no symbol needed.
    for s in encoded[1]:
        assert abs(s.estimated_bits - s.actual_bits) <= 0.02 * s.actual_bits + 3 * 64


def test_reported_psnr_is_that_of_the_file(encoded, capture: Path) -> None:
    path, statistics, _ = encoded
    result = evaluate(path, capture, split="train", backend="auto")
    for s, found in zip(statistics, result["per_frame"], strict=True):
        assert abs(s.psnr - found["psnr"]) < 0.01


def test_the_fit_improves_the_picture(encoded) -> None:
    _, statistics, reports = encoded
    first = [r for r in reports if r.frame == 0]
    assert first[-1].psnr > first[0].psnr + 2
    assert first[-1].step == first[-1].steps == TINY.key_iterations
    assert statistics[0].psnr > 16


def test_resuming_gives_the_file_that_an_unbroken_encode_gives(encoded, capture: Path, tmp_path: Path) -> None:
    whole, _statistics, _ = encoded
    path = tmp_path / "b.tvvc"
    some = tv.encode(tv.open_capture(capture), TINY, path)
    next(some)
    some.close()
    with path.open("ab") as file:
        file.write(b"FRAM\x00\x01half a chunk")
    rest = list(tv.encode(tv.open_capture(capture), TINY, path, resume=True))
    assert [s.index for s in rest] == [1, 2]
    with tv.open(path) as stream, tv.open(whole) as other:
        assert stream.complete and len(stream) == 3
        if runtime().host_arrays:
            # On the CPU a fit is reproducible, so even the bytes agree; a GPU adds up gradients in any order.
            assert stream.symbol_hash() == other.symbol_hash()
            assert path.read_bytes() == whole.read_bytes()


@pytest.fixture(scope="module")
def intra(capture: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three groups of one frame; they share MLPs."""
    runtime()
    path = tmp_path_factory.mktemp("intra") / "a.tvvc"
    list(tv.encode(tv.open_capture(capture), dataclasses.replace(TINY, keyint=1), path))
    return path


def test_groups_that_share_mlps(intra: Path) -> None:
    with StreamReader(intra) as reader:
        assert [bool(reader.read_group(group).mlp) for group in range(3)] == [True, False, False]
    with tv.open(intra) as stream, tv.open(intra) as other:
        # Straight into the last group, before anything else of the file was read.
        last = stream.parameters(2)
        layout, found = stream.header.layout, [last, other.parameters(0)]
        # Each key frame is coded by itself: its symbols are its residuals.
        frame = stream.symbols(2)
        assert frame.key and all((s == r).all() for s, r in zip(frame.symbols, frame.residuals, strict=True))
        # It goes on from the frame before it, and keeps the steps.
        assert last.steps == found[1].steps
    documented = plain_file.mlps_of_groups(
        independent_reader.read_file(intra.read_bytes())["groups"], list(layout.mlp_shapes)
    )
    for parameters, group in zip(found, (2, 0), strict=True):
        for a, b in zip(parameters.mlp, documented[group], strict=True):
            np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("done", [1, 2])
def test_resuming_in_the_midst_of_shared_mlps(intra: Path, capture: Path, tmp_path: Path, done: int) -> None:
    path, config = tmp_path / "b.tvvc", dataclasses.replace(TINY, keyint=1)
    some = tv.encode(tv.open_capture(capture), config, path)
    for _ in range(done):
        next(some)
    some.close()
    list(tv.encode(tv.open_capture(capture), config, path, resume=True))
    with StreamReader(path) as reader:
        assert [reader.owner_of_mlp(group).number for group in range(3)] == [0, 0, 0]
    if runtime().host_arrays:
        assert path.read_bytes() == intra.read_bytes()


def test_damaged_mlps_are_named_by_the_groups_that_share_them(intra: Path, tmp_path: Path) -> None:
    data, path = bytearray(intra.read_bytes()), tmp_path / "damaged.tvvc"
    with StreamReader(intra) as reader:
        data[reader.groups[0].offset + 40] ^= 1
    path.write_bytes(data)
    with tv.open(path) as stream:
        assert len(stream.symbols(2).symbols) == 3
        with pytest.raises(CorruptStream, match=r"group 0 .*group 2 shares its MLPs"):
            stream[2]


def test_mlps_are_sent_anew_after_a_while(capture: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(frame, "_MLP_SECONDS", 0.0)
    path, config = tmp_path / "own.tvvc", dataclasses.replace(TINY, keyint=1)
    list(tv.encode(tv.open_capture(capture, frames=slice(0, 2)), config, path))
    with StreamReader(path) as reader:
        first, second = (decode_integers(reader.read_group(n).mlp, reader_shapes(reader)) for n in range(2))
    change = np.concatenate([(a - b).ravel() for a, b in zip(first, second, strict=True)])
    # They go on from those of the group before, which random ones would be nowhere near.
    assert change.any() and np.abs(change).mean() < 0.5 * np.abs(np.concatenate([a.ravel() for a in first])).mean()


def reader_shapes(reader: StreamReader) -> tuple[tuple[int, ...], ...]:
    return layout_of_header(reader.header).mlp_shapes


def test_resuming_with_other_settings_is_refused(encoded, capture: Path) -> None:
    other = dataclasses.replace(TINY, lambda_rate=1e-2)
    before = encoded[0].read_bytes()
    with pytest.raises(ConfigError, match="lambda_rate"):
        list(tv.encode(tv.open_capture(capture), other, encoded[0], resume=True))
    assert encoded[0].read_bytes() == before


def test_an_existing_file_is_not_replaced_unasked(encoded, capture: Path) -> None:
    with pytest.raises(ConfigError, match="overwrite"):
        list(tv.encode(tv.open_capture(capture), TINY, encoded[0]))


def test_a_larger_lambda_takes_fewer_bytes(encoded, capture: Path, tmp_path: Path) -> None:
    dear = dataclasses.replace(TINY, lambda_rate=TINY.lambda_rate * 30)
    sequence = tv.open_capture(capture, frames=slice(0, 1))
    (statistics,) = tv.encode(sequence, dear, tmp_path / "dear.tvvc")
    assert statistics.estimated_bits < 0.7 * encoded[1][0].estimated_bits


@pytest.mark.parametrize("change", [{"rate_model": "laplace"}, {"joint": False}, {"lambda_residual": 1e-3}])
def test_other_rate_settings(change: dict, capture: Path, tmp_path: Path) -> None:
    config = dataclasses.replace(TINY, **change)
    statistics = list(tv.encode(tv.open_capture(capture, frames=slice(0, 2)), config, tmp_path / "c.tvvc"))
    assert all(s.psnr > 14 for s in statistics)
    with tv.open(tmp_path / "c.tvvc") as stream:
        assert len(stream.symbol_hash()) == 64


def test_a_capture_without_masks(tmp_path: Path) -> None:
    folder = captures.write_capture(tmp_path / "plain", cameras=6, frames=2, size=32, masks=None)
    sequence = tv.open_capture(folder)
    config = settle_background(TINY, sequence)
    assert config.background == pytest.approx((64, 76, 89), abs=2)
    statistics = list(tv.encode(sequence, TINY, tmp_path / "d.tvvc"))
    assert statistics[0].psnr > 16
    with tv.open(tmp_path / "d.tvvc") as stream:
        np.testing.assert_allclose(stream.background, np.array(config.background) / 255)
        # What turned out empty is no longer sampled.
        assert stream.symbols(0).occupancy.mean() < 0.8


def test_a_capture_with_nothing_inside_the_bounds(capture: Path, tmp_path: Path) -> None:
    empty = tv.open_capture(capture, bounds=None)
    far = dataclasses.replace(
        empty,
        bounds=dataclasses.replace(empty.bounds, lower=(50.0, 50.0, 50.0), upper=(51.0, 51.0, 51.0)),
    )
    with pytest.raises(DataError):
        list(tv.encode(far, TINY, tmp_path / "e.tvvc"))


def test_an_empty_stage_in_between(tmp_path: Path) -> None:
    folder = captures.write_capture(tmp_path / "gone", cameras=6, frames=4, size=32)
    gone = captures.Emptied(tv.open_capture(folder), lambda i, view: i in (1, 2))
    statistics = list(tv.encode(gone, TINY, tmp_path / "f.tvvc"))
    assert [s.type for s in statistics] == ["key", "inter", "inter", "key"]
    assert statistics[1].psnr > 90 or np.isinf(statistics[1].psnr)
    with tv.open(tmp_path / "f.tvvc") as stream:
        assert stream.complete and [stream.info(i).group for i in range(4)] == [0, 0, 0, 1]
        assert not stream.symbols(2).occupancy.any()
        picture = tv.render(stream[2], stream.cameras[0])
        assert picture.opacity.max() == 0 and picture.colour.min() == 1


def test_a_cut_starts_a_group(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usual, red = captures.spheres, np.array([0.9, 0.2, 0.2])
    elsewhere = [(np.array([-0.6, -0.6, -0.7]), 0.25, red)]
    monkeypatch.setattr(captures, "spheres", lambda time: usual(time) if time < 2 else elsewhere)
    folder = captures.write_capture(tmp_path / "cut", cameras=6, frames=4, size=32)
    config = dataclasses.replace(TINY, keyint=10)
    statistics = list(tv.encode(tv.open_capture(folder), config, tmp_path / "g.tvvc"))
    assert [s.type for s in statistics] == ["key", "inter", "key", "inter"]
    with StreamReader(tmp_path / "g.tvvc") as reader:
        assert reader.read_group(1).mlp
    config = dataclasses.replace(config, scenecut=False)
    statistics = list(tv.encode(tv.open_capture(folder), config, tmp_path / "h.tvvc"))
    assert [s.type for s in statistics] == ["key", "inter", "inter", "inter"]
