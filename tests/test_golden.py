"""Files made once, one of each format version: they must decode to the same integers and pictures, anywhere."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import independent_reader
import numpy as np
import pytest
from backends import runtime

import taichi_vvc as tv
from taichi_vvc.bitstream import StreamWriter
from taichi_vvc.decode import Stream, decode_symbols
from taichi_vvc.errors import ConfigError, CorruptStream, StreamError
from taichi_vvc.metrics import psnr

DATA = Path(__file__).parent / "data"
GOLDEN = DATA / "golden_v2.tvvc"


@dataclasses.dataclass(frozen=True)
class Golden:
    """A file, the hash of its symbols, its frames' types, and per frame the mean colour of camera 3's quadrants."""

    file: Path
    hash: str
    types: str
    quadrants: tuple


FILES = (
    Golden(
        DATA / "golden_v1.tvvc",
        "8a16a91779b19c525c1b5bc8f505b772cbb8fdf45d8f16bad80efcc1009d5183",
        "key inter key",
        (
            ((0.9430, 0.9777), (0.9201, 0.9257)),
            ((0.9426, 0.9759), (0.9188, 0.9263)),
            ((0.9430, 0.9714), (0.9203, 0.9249)),
        ),
    ),
    # With motion in both of its inter frames.
    Golden(
        GOLDEN,
        "7be2b1dae844f835f903e855273dc4185361dc217e10ab866ed73ff97cd60aaa",
        "key inter inter",
        (
            ((0.9427, 0.9772), (0.9196, 0.9249)),
            ((0.9425, 0.9749), (0.9189, 0.9250)),
            ((0.9418, 0.9716), (0.9176, 0.9231)),
        ),
    ),
)


@pytest.fixture
def stream():
    with tv.open(GOLDEN) as opened:
        yield opened


@pytest.mark.parametrize("golden", FILES, ids=lambda g: g.file.stem)
def test_golden_symbols(golden: Golden) -> None:
    with tv.open(golden.file) as stream:
        assert stream.complete and len(stream) == 3
        assert " ".join(stream.info(i).type for i in range(3)) == golden.types
        assert stream.symbol_hash() == golden.hash


@pytest.mark.parametrize("golden", FILES, ids=lambda g: g.file.stem)
def test_golden_pictures(golden: Golden) -> None:
    runtime()
    with tv.open(golden.file) as stream:
        for index, field in enumerate(stream.frames()):
            colour = tv.render(field, stream.cameras[3], stream.background).colour
            means = colour.reshape(2, 32, 2, 32, 3).mean((1, 3, 4))
            np.testing.assert_allclose(means, golden.quadrants[index], atol=1e-3)


@pytest.mark.parametrize("golden", FILES, ids=lambda g: g.file.stem)
def test_golden_container_by_the_document_alone(golden: Golden) -> None:
    found = independent_reader.read_file(golden.file.read_bytes())
    assert [len(frame["grids"]) for frame in found["frames"]] == [3, 3, 3]
    assert [len(frame["motion"]) > 0 for frame in found["frames"]] == [
        False,
        golden.file == GOLDEN,
        golden.file == GOLDEN,
    ]
    with tv.open(golden.file) as stream:
        assert sum(stream.info(i).bytes for i in range(3)) < golden.file.stat().st_size


def test_files_of_an_older_version_are_not_resumed(tmp_path: Path) -> None:
    with tv.open(FILES[0].file) as stream:
        header = stream.header.record
    old = tmp_path / "old.tvvc"
    old.write_bytes(FILES[0].file.read_bytes())
    with pytest.raises(ConfigError, match="format version 3 to go on with, found 1"):
        StreamWriter.resume(old, header)
    assert old.read_bytes() == FILES[0].file.read_bytes()


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
