"""The container: round trips, exact bytes, and an independent reader that follows the document."""

from __future__ import annotations

import json
import re
import struct
import zlib
from dataclasses import asdict, replace
from fractions import Fraction
from pathlib import Path

import independent_reader
import pytest
import streams
from hypothesis import given, settings
from hypothesis import strategies as st
from places import ROOT

from taichi_vvc.bitstream import CameraRecord, StreamReader, StreamWriter, chunks, rigs, settings_text, syntax, versions
from taichi_vvc.bitstream.colours import NO_MAP, parse_colours
from taichi_vvc.bitstream.elements import Blob, Count, Cursor, Float, Ratio, Several, Text
from taichi_vvc.errors import ConfigError, CorruptStream, NotATvvcFile, StreamError, TruncatedStream, UnsupportedVersion

DOCUMENT = ROOT / "docs" / "bitstream.md"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "small.tvvc"


def test_what_is_written_is_read(path: Path) -> None:
    streams.write(path)
    with StreamReader(path) as reader:
        assert reader.complete
        assert reader.header == streams.header()
        assert [(f.number, f.type, f.group) for f in reader.frames] == [
            (0, "key", 0),
            (1, "inter", 0),
            (2, "key", 1),
            (3, "inter", 1),
            (4, "key", 2),
        ]
        for number in (4, 0, 3, 1, 2):
            assert reader.read_frame(number) == streams.frame(number, number // 2, number % 2 == 0)
        assert reader.read_group(1) == streams.group(1, 2)
        reader.scan()


def test_components_add_up_to_the_file(path: Path) -> None:
    size = len(streams.write(path))
    with StreamReader(path) as reader:
        parts = [reader.components(number) for number in range(5)]
        grids = {"coefficients": 3, "level1": 4, "level2": 5}
        assert parts[0] == {**grids, "occupancy": 3, "motion": 0, "cameras": 0, "mlp": 8, "overhead": 58}
        assert parts[1]["mlp"] == 0 and parts[1]["motion"] == 2
        index = size - reader.frames[-1].offset - reader.frames[-1].size
        assert reader.header_bytes + sum(sum(part.values()) for part in parts) + index == size


def test_add_frame_returns_what_it_adds(path: Path) -> None:
    with StreamWriter.create(path, streams.header()) as writer:
        before = path.stat().st_size
        size = writer.add_group(streams.group(0, 0)) + writer.add_frame(streams.frame(0, 0, True))
        assert path.stat().st_size == before + size


def test_equal_content_gives_equal_bytes(tmp_path: Path) -> None:
    assert streams.write(tmp_path / "a.tvvc") == streams.write(tmp_path / "b.tvvc")


def test_an_existing_file_is_left_alone(path: Path) -> None:
    path.write_bytes(b"precious")
    with pytest.raises(ConfigError, match="found one"):
        StreamWriter.create(path, streams.header())
    assert path.read_bytes() == b"precious"


def test_the_independent_reader_agrees(path: Path) -> None:
    found = independent_reader.read_file(streams.write(path))
    expected = asdict(streams.header())
    layout = expected.pop("layout")
    assert found["header"]["levels"][1] == {"resolution": [6, 6, 6], "channels": 2, "frequency": 2.5}
    for name in ("cell", "appearance", "view_frequencies", "steps_per_side", "motion_block"):
        assert found["header"][name] == layout[name]
    assert found["header"]["fps"] == (30000, 1001)
    assert found["header"]["cameras"][1]["name"] == "bäck"
    assert found["header"]["settings"] == {"preset": "fast"}
    for number, frame in enumerate(found["frames"]):
        assert frame == {**asdict(streams.frame(number, number // 2, number % 2 == 0)), "grids": frame["grids"]}
        assert tuple(frame["grids"]) == streams.frame(number, number // 2, True).grids
    assert [group["number"] for group in found["groups"]] == [0, 1, 2]
    assert found["groups"][2]["grid_steps"] == [0.25, 0.5, 0.125]
    assert found["index"]["frames"] == 5
    assert [entry[0] for entry in found["index"]["entries"]] == ["group", "key", "inter"] * 2 + ["group", "key"]


def documented_example() -> bytes:
    """The file of the worked example in the document."""
    text = DOCUMENT.read_text(encoding="utf-8")
    block = text.split("<!-- example begins -->")[1].split("<!-- example ends -->")[0]
    lines = re.findall(r"^[0-9a-f]{4}  ((?:[0-9a-f]{2} ?)+)", block, re.MULTILINE)
    return bytes.fromhex("".join(lines))


def test_the_documented_example_is_current(path: Path) -> None:
    written = streams.write(path, frames=2, newest=True)
    documented = documented_example()
    if versions.pack_header(streams.newest_header()) == independent_reader.chunks(documented)[0][2]:
        assert documented == written
    (path.parent / "documented.tvvc").write_bytes(documented)
    with StreamReader(path.parent / "documented.tvvc") as reader:
        assert reader.complete and reader.header == streams.newest_header()
        assert reader.read_frame(1) == streams.frame(1, 0, False)
        assert reader.read_group(0) == streams.newest_group(0, 0)
    assert independent_reader.read_file(documented) == independent_reader.read_file(written)


def test_header_bytes_are_pinned() -> None:
    packed = versions.HEADERS[4].pack(streams.header())
    assert packed.hex() == (
        "000000000000f0bf000000000000f8bf0000000000000000000000000000d03f080c1004060802040404028002060606"
        "028005100710024003ff01800100b0ea01e90705020140300000704200007242000000420000c0410000003e00000000"
        "00000000000080be020566726f6e7400000000803f0000000000000000000000000000000000000000000040c00562c3"
        "a4636b010000000000000000000000803f00000000000000000000000000004040114c117b22707265736574223a2266"
        "617374227d06746573742031"
    )


def test_bytes_of_version_5_are_pinned() -> None:
    old, new = streams.header(), streams.newest_header()
    layout = versions.HEADERS[4].pack(old).index(bytes([2, 64, 3])) + 3
    packed = versions.HEADERS[5].pack(new)
    assert versions.HEADERS[6].pack(new) == packed
    # Behind motion_block: the shell, near as f32.
    assert packed[layout : layout + 7].hex() == "0102030000003f"
    assert packed[:layout] + packed[layout + 7 :] == versions.HEADERS[4].pack(old)
    group = streams.newest_group(0, 0)
    coded = bytes.fromhex("37104e0c0800")
    assert versions.GROUPS[5].pack(group) == versions.GROUPS[4].pack(group) + bytes([len(coded)]) + coded
    assert versions.GROUPS[6].pack(group) == versions.GROUPS[4].pack(group) + coded
    assert parse_colours(coded, 2, "here") == ((((16, -8, 4), (0, 2, 0)), NO_MAP), True)


@pytest.mark.parametrize("near, shell, colours", [(0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1)])
def test_new_files_are_of_version_8(path: Path, near: int, shell: int, colours: int) -> None:
    header = streams.header()
    header = replace(header, layout=replace(header.layout, near=0.25 * near, shell=(shell,) * 3))
    coded = streams.newest_group(0, 0).colours if colours else b""
    with StreamWriter.create(path, header) as writer:
        writer.add_group(replace(streams.group(0, 0), colours=coded))
        writer.add_frame(streams.frame(0, 0, True))
    data = path.read_bytes()
    assert data[4] == independent_reader.read_file(data)["version"] == versions.WRITTEN == 8
    with pytest.raises(ConfigError, match=r"expected a file with.* colours of cameras, found another one"):
        StreamWriter.resume(path, header, not colours)
    with StreamReader(path) as reader:
        assert (reader.version, reader.header, reader.read_colours(0)) == (8, header, coded)
    writer, there = StreamWriter.resume(path, header, bool(colours))
    with writer:
        assert there == 1
        writer.add_group(streams.sharing_group(1, 1))
        writer.add_frame(streams.frame(1, 1, True))
        writer.finish()
    with StreamReader(path) as reader:
        assert reader.complete and [reader.read_colours(group) for group in (1, 0)] == [coded] * 2
        assert reader.components(0)["cameras"] == len(coded)
        assert [(group.mlp, group.colours) for group in reader.groups] == [(True, bool(colours)), (False, False)]
    assert independent_reader.read_file(path.read_bytes())["index"]["frames"] == 2


def test_the_index_leads_to_mlps_and_colours(path: Path) -> None:
    """Chunks of groups in between that hold neither are not read: they may be damaged."""
    with StreamWriter.create(path, streams.header()) as writer:
        for number in range(5):
            make = streams.newest_group if number in (0, 1) else streams.sharing_group
            writer.add_group(make(number, number))
            writer.add_frame(streams.frame(number, number, True))
        writer.finish()
    with StreamReader(path) as reader:
        holds = [(group.mlp, group.colours) for group in reader.groups]
        assert holds == [(True, True), (True, False), *3 * [(False, False)]]
        between = [reader.groups[number] for number in (2, 3)]
    data = bytearray(path.read_bytes())
    for group in between:
        data[group.offset + 20] ^= 1
    path.write_bytes(data)
    with StreamReader(path) as reader:
        for group in between:
            with pytest.raises(CorruptStream, match="checksum"):
                reader.read_group(group.number)
        assert reader.owner_of_mlp(4).number == 1
        assert reader.read_whole_group(4).mlp == streams.group(1, 1).mlp
        assert reader.read_colours(4) == streams.newest_group(0, 0).colours


def test_frame_and_group_bytes_are_pinned() -> None:
    assert (
        syntax.FRAME.pack(streams.frame(1, 0, False)).hex() == "010001036f6363026d6f0303101010041111111105" + "12" * 5
    )
    assert (
        versions.GROUPS[4].pack(streams.group(3, 200)).hex()
        == "03c801030000803e0000003f0000003e020000803d0000003d080001020304050607"
    )


# Not the smallest floats: Taichi's kernels leave a process in which these are read as 0.
NUMBERS = st.floats(allow_nan=False, allow_infinity=False, allow_subnormal=False)


@settings(max_examples=60, deadline=None)
@given(
    st.tuples(*[st.floats(-1e6, 1e6)] * 3),
    st.floats(1e-6, 1e6),
    st.lists(
        st.tuples(st.text(min_size=1, max_size=20), st.sampled_from(["train", "test"])),
        max_size=8,
        unique_by=lambda c: c[0],
    ),
    st.fractions(Fraction(1, 1000), 1000, max_denominator=100_000),
    st.dictionaries(st.text(max_size=8), st.integers() | NUMBERS | st.text()),
)
def test_headers_round_trip(lower, cell, cameras, fps, chosen) -> None:
    names = [(name, split) for name, split in cameras if name.isprintable()]
    records = tuple(CameraRecord(name, split, 0, (0.0, 1.0, 0.0, 0.0), (1.0, 2.0, 3.0)) for name, split in names)
    base = streams.header()
    header = replace(
        base,
        layout=replace(base.layout, lower=lower, cell=cell),
        cameras=records,
        fps=fps,
        settings=settings_text(chosen),
    )
    for version in (4, 7, 8):
        assert versions.parse_header(versions.pack_header(header, version), version) == header
    assert json.loads(header.settings) == chosen


@pytest.mark.parametrize(
    "change",
    [
        {"fps": Fraction(1 << 33)},
        {"background": (0, 0, 256)},
        {"background": (0, 0)},
        {"downscale": 0},
        {"settings": "[]"},
        {"settings": "{"},
        {"library": "x" * 256},
        {"intrinsics": ()},
        {"cameras": (streams.header().cameras[0],) * 2},
        {"cameras": (replace(streams.header().cameras[0], rotation=(1.0, 1.0, 0.0, 0.0)),)},
        {"cameras": (replace(streams.header().cameras[0], name="x" * 256),)},
        {"cameras": (replace(streams.header().cameras[0], position=(0.0, float("nan"), 0.0)),)},
        {"layout": replace(streams.header().layout, coefficients=(1025, 4, 4))},
        {"layout": replace(streams.header().layout, levels=())},
        {"layout": replace(streams.header().layout, coefficients=(1024, 1024, 1024))},
        {"layout": replace(streams.header().layout, cell=0.0)},
    ],
)
def test_headers_out_of_range_are_refused(change: dict) -> None:
    with pytest.raises(ConfigError):
        versions.pack_header(replace(streams.header(), **change))


def test_an_inflated_header_is_limited() -> None:
    with pytest.raises(CorruptStream, match="at most"):
        versions.parse_header(zlib.compress(bytes(1 << 24), 9), 7)
    deflate = zlib.compressobj(9, zlib.DEFLATED, -15)
    fields = deflate.compress(bytes(1 << 24)) + deflate.flush()
    with pytest.raises(CorruptStream, match="at most"):
        versions.parse_header(rigs.PACKED.pack(rigs.PackedHeader(fields, b"")))
    with pytest.raises(CorruptStream, match="at most"):
        plain = rigs.PACKED.parse(versions.pack_header(streams.header()), "here")
        versions.parse_header(rigs.PACKED.pack(replace(plain, fields=plain.fields + b"x")))
    with pytest.raises(CorruptStream):
        versions.parse_header(versions.pack_header(streams.header()) + b"x")
    with pytest.raises(CorruptStream):
        versions.parse_header(versions.pack_header(streams.header())[:-1])


@pytest.mark.parametrize(
    ("element", "data"),
    [
        (Count(10), b"\x0b"),
        (Count(10, 5), b"\x04"),
        (Count(300), b"\x85\x00"),
        (Count(1 << 62), b"\xff" * 10 + b"\x01"),
        (Count(10), b"\x80"),
        (Float("f"), struct.pack("<f", float("nan"))),
        (Float("d"), struct.pack("<d", float("inf"))),
        (Float("f", 0, 1), struct.pack("<f", 2.0)),
        (Ratio(), b"\x02\x04"),
        (Ratio(), b"\x01\x00"),
        (Blob(), b"\xff\xff\xff\x7fabc"),
        (Text(255), b"\x01\xff"),
        (Several(Count(1), 1 << 24), b"\xff\xff\xff\x07\x00"),
    ],
)
def test_elements_out_of_range_are_refused(element, data: bytes) -> None:
    with pytest.raises(CorruptStream):
        element.read(Cursor(data, "test"), "value")


def test_numbers_are_written_as_documented() -> None:
    out = bytearray()
    for value in (0, 127, 128, 300):
        Count(1 << 20).write(out, value, "value")
    assert out.hex() == "007f8001ac02"
    with pytest.raises(ConfigError):
        Count(10).write(out, 11, "value")


def test_other_files_are_told_apart(path: Path) -> None:
    data = streams.write(path)
    for content, error in (
        (b"", NotATvvcFile),
        (b"RIFF" + data[4:], NotATvvcFile),
        (b"TV", TruncatedStream),
        (data[:6], TruncatedStream),
        (data[:20], TruncatedStream),
        (data[:4] + bytes([chunks.FORMAT_VERSION + 1, 0]) + data[6:], UnsupportedVersion),
        (data[:4] + b"\x02\x00\x01" + data[7:], UnsupportedVersion),
        (data[:4] + b"\x00\x00" + data[6:], CorruptStream),
    ):
        path.write_bytes(content)
        with pytest.raises(error) as caught:
            StreamReader(path)
        assert "\n" not in str(caught.value)
    with pytest.raises(StreamError):
        StreamReader(path.parent / "missing.tvvc")


def test_a_file_without_index_is_scanned(path: Path) -> None:
    whole = streams.write(path)
    with StreamReader(path) as reader:
        frames = reader.frames
    path.unlink()
    cut = streams.write(path, finish=False)
    assert whole.startswith(cut)
    with StreamReader(path) as reader:
        assert not reader.complete
        assert reader.frames == frames
        assert reader.read_frame(3) == streams.frame(3, 1, False)


def test_damage_in_the_middle_is_found_where_it_is_read(path: Path) -> None:
    data = bytearray(streams.write(path))
    with StreamReader(path) as reader:
        offset = reader.frames[2].offset
    data[offset + 20] ^= 1
    path.write_bytes(data)
    with StreamReader(path) as reader:
        assert reader.complete and len(reader.frames) == 5
        assert reader.read_frame(1) == streams.frame(1, 0, False)
        with pytest.raises(CorruptStream, match=f"frame 2 at byte {offset}"):
            reader.read_frame(2)
        with pytest.raises(CorruptStream):
            reader.scan()
        assert reader.read_frame(3) == streams.frame(3, 1, False)


def test_chunks_out_of_order_are_refused_by_the_writer(path: Path) -> None:
    with StreamWriter.create(path, streams.header()) as writer:
        with pytest.raises(ValueError, match="expected a group"):
            writer.add_frame(streams.frame(0, 0, True))
        writer.add_group(streams.group(0, 0))
        with pytest.raises(ValueError, match="expected a frame of group 0"):
            writer.add_group(streams.group(1, 0))
        with pytest.raises(ValueError, match="expected key frame 0"):
            writer.add_frame(streams.frame(0, 0, False))
        writer.add_frame(streams.frame(0, 0, True))
        with pytest.raises(ValueError, match="expected inter frame 1"):
            writer.add_frame(streams.frame(2, 0, False))
