"""Colour maps of cameras as bytes: by the document, within their limits, damaged, and from group to group."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import independent_reader
import plain_cameras
import pytest
import streams
from hypothesis import given, settings
from hypothesis import strategies as st

from taichi_vvc.bitstream import StreamReader, StreamWriter, versions
from taichi_vvc.bitstream.colours import GAINS, NO_MAP, OFFSETS, pack_colours, parse_colours
from taichi_vvc.errors import ConfigError, CorruptStream

NUMBERS = st.tuples(st.tuples(*[st.integers(*GAINS)] * 3), st.tuples(*[st.integers(*OFFSETS)] * 3))


@settings(max_examples=60, deadline=None)
@given(st.lists(NUMBERS | st.just(NO_MAP), max_size=9), st.booleans())
def test_maps_come_back_and_are_what_the_document_says(maps: list, backdrop: bool) -> None:
    coded = pack_colours(maps, backdrop)
    assert coded, "empty stands for the maps of the group before"
    assert parse_colours(coded, len(maps), "here") == (tuple(maps), backdrop)
    plain = plain_cameras.colour_maps(coded, len(maps))
    assert plain == {"backdrop": backdrop, "numbers": [[*gain, *offset] for gain, offset in maps]}


@pytest.mark.parametrize("place", [0, 1])
def test_numbers_have_limits(place: int) -> None:
    least, most = (GAINS, OFFSETS)[place]
    for value, fits in ((least, True), (most, True), (least - 1, False), (most + 1, False)):
        numbers = tuple((0, value, 1) if k == place else (0, 0, 0) for k in range(2))
        if fits:
            assert parse_colours(pack_colours([numbers], False), 1, "here") == ((numbers,), False)
            continue
        with pytest.raises(ConfigError, match=r"in -.* units.* cannot be stored"):
            pack_colours([numbers], False)
        coded = b"".join(bits_of(1, 0, 1, *run(numbers[0]), *run(numbers[1])))
        with pytest.raises(CorruptStream, match=r"here: expected (gains|offsets) of colours in .* damaged"):
            parse_colours(coded, 1, "here")
        with pytest.raises(independent_reader.Damaged):
            plain_cameras.colour_maps(coded, 1)


def run(values: tuple) -> list[int]:
    return [(12 >> k) & 1 for k in range(5)] + [(v >> k) & 1 for v in values for k in range(12)]


def bits_of(*bits: int) -> list[bytes]:
    padded = [*bits, *[0] * (-len(bits) % 8)]
    return [bytes([sum(bit << k for k, bit in enumerate(padded[i : i + 8]))]) for i in range(0, len(padded), 8)]


@pytest.mark.parametrize(
    "coded, what",
    [
        (bits_of(0, 1, 0), "another first bit"),
        (bits_of(1, 1), None),
        (bits_of(1, 1, 1), "found the end"),
        (bits_of(1, 1, 1, *[0] * 10), "a map that changes colours"),
        (bits_of(1, 1, 0, 1), "expected the end"),
        ([*bits_of(1, 1, 0), b"\0"], "expected the end"),
        (bits_of(1, 1, 1, *[1] * 5), "found the end"),
    ],
)
def test_damage_is_told(coded: list[bytes], what: str | None) -> None:
    payload = b"".join(coded)
    if what is None:
        assert parse_colours(payload, 1, "here") == ((NO_MAP,), True)
        return
    with pytest.raises(CorruptStream, match=f"here: .*{what}"):
        parse_colours(payload, 1, "here")
    with pytest.raises(independent_reader.Damaged):
        plain_cameras.colour_maps(payload, 1)


def written(path: Path, groups: list[bytes]) -> bytes:
    with StreamWriter.create(path, streams.header()) as writer:
        for number, coded in enumerate(groups):
            writer.add_group(replace(streams.group(number, number), colours=coded))
            writer.add_frame(streams.frame(number, number, True))
        writer.finish()
    return path.read_bytes()


def test_groups_have_the_maps_of_the_group_before(tmp_path: Path) -> None:
    first, other = pack_colours([((1, 2, 3), (0, 0, 0))] * 2, True), pack_colours([NO_MAP] * 2, False)
    path = tmp_path / "a.tvvc"
    for coded, expected in (
        ([first, b"", b"", other, b""], [first, first, first, other, other]),
        ([b"", b"", first, b""], [b"", b"", first, first]),
    ):
        data = written(path, coded)
        assert [group["maps"] for group in independent_reader.read_file(data)["groups"]] == expected
        order = list(range(len(coded)))
        for numbers in (order, order[::-1]):
            with StreamReader(path) as reader:
                assert [reader.read_colours(n) for n in numbers] == [expected[n] for n in numbers]
        path.unlink()


def test_damage_before_is_told_and_ends_with_the_next_maps(tmp_path: Path) -> None:
    first, path = pack_colours([((1, 2, 3), (0, 0, 0))] * 2, True), tmp_path / "a.tvvc"
    data = bytearray(written(path, [first, b"", first]))
    with StreamReader(path) as reader:
        data[reader.groups[0].offset + 12] ^= 1
    path.write_bytes(data)
    with StreamReader(path) as reader:
        with pytest.raises(CorruptStream, match=r"group 0 .*; group 1 has its colours of cameras"):
            reader.read_colours(1)
        assert reader.read_group(1).mlp and reader.read_colours(2) == first


def test_a_file_of_a_version_without_maps_takes_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(versions, "WRITTEN", 4)
    with StreamWriter.create(tmp_path / "a.tvvc", streams.header()) as writer, pytest.raises(ValueError, match="maps"):
        writer.add_group(replace(streams.group(0, 0), colours=b"x"))
