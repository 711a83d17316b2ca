"""Going on with a file: after cuts, with damage, and with other settings."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import independent_reader
import pytest
import streams

from taichi_vvc.bitstream import StreamReader, StreamWriter
from taichi_vvc.errors import ConfigError, CorruptStream


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "small.tvvc"


def test_resume_goes_on_after_a_cut_at_every_byte(path: Path) -> None:
    whole = streams.write(path, frames=4)
    with StreamReader(path) as reader:
        start = reader.header_bytes
        ends = [frame.offset + frame.size for frame in reader.frames]
    for cut in range(start, len(whole) + 1):
        path.write_bytes(whole[:cut])
        writer, there = StreamWriter.resume(path, streams.header())
        assert there == sum(end <= cut for end in ends)
        with writer:
            assert path.read_bytes() == whole[:cut]
            for number in range(there, 4):
                if number % 2 == 0:
                    writer.add_group(streams.group(number // 2, number))
                writer.add_frame(streams.frame(number, number // 2, number % 2 == 0))
            writer.finish()
        assert path.read_bytes() == whole, cut


@pytest.mark.parametrize("version", [8])
def test_an_encode_goes_on_with_a_file_of_its_version(path: Path, version: int) -> None:
    header, coded = streams.header(), streams.newest_group(0, 0).colours
    with StreamWriter.create(path, header, version=version) as writer:
        writer.add_group(replace(streams.group(0, 0), colours=coded))
        writer.add_frame(streams.frame(0, 0, True))
        writer.finish()
    begun = path.read_bytes()
    with pytest.raises(ConfigError, match=r"expected a file with.* colours of cameras, found another one"):
        StreamWriter.resume(path, header, not coded)
    writer, _ = StreamWriter.resume(path, header, bool(coded))
    with writer:
        writer.add_frame(streams.frame(1, 0, False))
        writer.finish()
    data = path.read_bytes()
    assert data[4] == version and data.startswith(begun[: begun.index(b"INDX")])
    with StreamReader(path) as reader:
        assert reader.complete and len(reader.frames) == 2 and reader.read_colours(0) == coded
        assert [(group.mlp, group.colours) for group in reader.groups] == [(True, True)]
    assert independent_reader.read_file(data)["version"] == version


def test_resume_refuses_other_settings(path: Path) -> None:
    data = streams.write(path, finish=False)
    with pytest.raises(ConfigError, match="found other seed;"):
        StreamWriter.resume(path, streams.header(seed=3))
    with pytest.raises(ConfigError, match=r"fps \(25, the file has 29.97\), first_frame"):
        StreamWriter.resume(path, replace(streams.header(), fps=Fraction(25), first_frame=6))
    assert path.read_bytes() == data


def test_resume_keeps_a_file_that_is_damaged_in_the_middle(path: Path) -> None:
    data = bytearray(streams.write(path))
    with StreamReader(path) as reader:
        data[reader.frames[1].offset + 15] ^= 4
    path.write_bytes(data)
    with pytest.raises(CorruptStream):
        StreamWriter.resume(path, streams.header())
    assert path.read_bytes() == data


def test_a_damaged_last_frame_is_dropped_on_resume(path: Path) -> None:
    data = bytearray(streams.write(path, finish=False))
    data[-5] ^= 1
    path.write_bytes(data)
    writer, there = StreamWriter.resume(path, streams.header())
    writer.close()
    assert there == 4
