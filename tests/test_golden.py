"""A file of format version 1, made once: it must decode to the same integers and the same picture, anywhere."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import independent_reader
import numpy as np
import pytest
from backends import runtime

import taichi_vvc as tv
from taichi_vvc.decode import Stream, decode_symbols
from taichi_vvc.errors import CorruptStream, StreamError
from taichi_vvc.metrics import psnr

GOLDEN = Path(__file__).parent / "data" / "golden_v1.tvvc"
HASH = "8a16a91779b19c525c1b5bc8f505b772cbb8fdf45d8f16bad80efcc1009d5183"

# Mean colour of the four quadrants of camera 3, per frame.
QUADRANTS = (
    ((0.9430, 0.9777), (0.9201, 0.9257)),
    ((0.9426, 0.9759), (0.9188, 0.9263)),
    ((0.9430, 0.9714), (0.9203, 0.9249)),
)


@pytest.fixture
def stream():
    with tv.open(GOLDEN) as opened:
        yield opened


def test_golden_symbols(stream: Stream) -> None:
    assert stream.complete and len(stream) == 3
    assert [stream.info(i).type for i in range(3)] == ["key", "inter", "key"]
    assert stream.symbol_hash() == HASH


def test_golden_pictures(stream: Stream) -> None:
    runtime()
    for index, field in enumerate(stream.frames()):
        colour = tv.render(field, stream.cameras[3], stream.background).colour
        means = colour.reshape(2, 32, 2, 32, 3).mean((1, 3, 4))
        np.testing.assert_allclose(means, QUADRANTS[index], atol=1e-3)


def test_golden_container_by_the_document_alone(stream: Stream) -> None:
    found = independent_reader.read_file(GOLDEN.read_bytes())
    assert len(found["frames"]) == 3
    assert [len(frame["grids"]) for frame in found["frames"]] == [3, 3, 3]
    assert sum(stream.info(i).bytes for i in range(3)) < GOLDEN.stat().st_size


def test_any_order_of_access_gives_the_same_frames(stream: Stream) -> None:
    in_order = [stream.symbols(i) for i in range(3)]
    for index in (2, 1, 0, 1, 2, 2, 0):
        with tv.open(GOLDEN) as fresh:
            for other in (stream, fresh):
                frame = other.symbols(index)
                for a, b in zip(frame.symbols, in_order[index].symbols, strict=True):
                    np.testing.assert_array_equal(a, b)


def test_rendering_does_not_depend_on_the_chunk(stream: Stream) -> None:
    runtime()
    field, camera = stream[1], dataclasses.replace(stream.cameras[0])
    whole = tv.render(field, camera, chunk=1 << 14).colour
    parts = tv.render(field, camera, chunk=777).colour
    assert psnr(parts, whole) > 80


def test_every_cut_plays_whole_frames_or_fails_cleanly(tmp_path: Path, stream: Stream) -> None:
    data = GOLDEN.read_bytes()
    good = [stream.symbols(i).symbols for i in range(3)]
    for cut in range(0, len(data), 97):
        path = tmp_path / "cut.tvvc"
        path.write_bytes(data[:cut])
        try:
            opened = tv.open(path)
        except StreamError:
            continue
        with opened:
            assert not opened.complete
            for index in range(len(opened)):
                for a, b in zip(opened.symbols(index).symbols, good[index], strict=True):
                    np.testing.assert_array_equal(a, b)


def test_sums_out_of_range_are_refused(stream: Stream) -> None:
    data, reference = stream._reader.read_frame(1), stream.symbols(0)
    for sign in (1, -1):
        grids = tuple(np.full_like(grid, sign * (2**24 - 1)) for grid in reference.symbols)
        with pytest.raises(CorruptStream, match="below 2\\^24"):
            decode_symbols(stream.header.layout, data, dataclasses.replace(reference, symbols=grids))
