"""Damaged files: every failure is a StreamError, and altered content is never returned."""

from __future__ import annotations

import itertools
import tracemalloc
from pathlib import Path

import pytest
import streams

from taichi_vvc.bitstream import StreamReader
from taichi_vvc.errors import StreamError


def read_all(path: Path) -> tuple[bool, list]:
    """Whether the file is complete, and everything in it."""
    with StreamReader(path) as reader:
        groups = [reader.read_group(group.number) for group in reader.groups]
        return reader.complete, [reader.header, groups, [reader.read_frame(f.number) for f in reader.frames]]


@pytest.fixture
def good(tmp_path: Path) -> tuple[Path, bytes, list]:
    path = tmp_path / "small.tvvc"
    data = streams.write(path)
    return path, data, read_all(path)[1]


def is_beginning(found: list, whole: list) -> bool:
    """Whether what was read is the start of the good file's contents."""
    header, groups, frames = found
    return header == whole[0] and groups == whole[1][: len(groups)] and frames == whole[2][: len(frames)]


def check(path: Path, data: bytes, whole: list) -> str:
    """Reads mutated data: "refused", "whole" or "shorter"; never altered content, never another exception."""
    path.write_bytes(data)
    try:
        complete, found = read_all(path)
    except StreamError as error:
        assert "\n" not in str(error)
        return "refused"
    assert is_beginning(found, whole)
    if complete:
        assert found == whole
        return "whole"
    return "shorter"


def test_truncation_at_every_byte(good) -> None:
    path, data, whole = good
    with StreamReader(path) as reader:
        start = reader.header_bytes
        ends = [frame.offset + frame.size for frame in reader.frames]
    for cut in range(len(data)):
        outcome = check(path, data[:cut], whole)
        assert outcome == ("refused" if cut < start else "shorter")
        if cut >= start:
            assert len(read_all(path)[1][2]) == sum(end <= cut for end in ends)


def test_every_bit_flipped(good) -> None:
    path, data, whole = good
    with StreamReader(path) as reader:
        index = reader.frames[-1].offset + reader.frames[-1].size
    outcomes = set()
    for position in range(len(data)):
        for bit in range(8):
            mutated = bytearray(data)
            mutated[position] ^= 1 << bit
            outcome = check(path, bytes(mutated), whole)
            # The index only repeats what a walk over the chunks finds.
            assert outcome == ("shorter" if position >= index else "refused"), (position, bit)
            outcomes.add(outcome)
    assert outcomes == {"refused", "shorter"}


def pieces(path: Path, data: bytes) -> list[bytes]:
    """Preamble with header, then each chunk."""
    with StreamReader(path) as reader:
        bounds = sorted({reader.header_bytes, *(e.offset for e in (*reader.groups, *reader.frames))})
        bounds.append(reader.frames[-1].offset + reader.frames[-1].size)
    edges = [0, *bounds, len(data)]
    return [data[a:b] for a, b in itertools.pairwise(edges)]


@pytest.mark.parametrize("with_index", [True, False])
def test_swapped_repeated_and_missing_chunks(good, with_index: bool) -> None:
    path, data, whole = good
    parts = pieces(path, data)
    if not with_index:
        parts = parts[:-1]
    count = len(parts)
    for first in range(1, count):
        for second in range(1, count):
            mutated = list(parts)
            if first != second:
                mutated[first], mutated[second] = mutated[second], mutated[first]
                assert check(path, b"".join(mutated), whole) != "whole"
        repeated = parts[: first + 1] + parts[first:]
        assert check(path, b"".join(repeated), whole) != "whole"
        assert check(path, b"".join(parts[:first] + parts[first + 1 :]), whole) != "whole"


def test_chunks_of_another_file_are_refused(good, tmp_path: Path) -> None:
    """Two files with the same header but other frames: their chunks cannot be exchanged."""
    path, data, whole = good
    parts = pieces(path, data)
    other_path = tmp_path / "other.tvvc"
    other = streams.write(other_path, frames=5, per_group=5)
    others = pieces(other_path, other)
    for k in range(1, min(len(parts), len(others))):
        if others[k - 1] != parts[k - 1]:
            mutated = parts[:k] + [others[k]] + parts[k + 1 :]
            assert check(path, b"".join(mutated), whole) != "whole"


def test_hostile_lengths_allocate_nothing(good) -> None:
    path, data, whole = good
    with StreamReader(path) as reader:
        offsets = [8, *(entry.offset for entry in (*reader.groups, *reader.frames))]
    for offset in offsets:
        mutated = bytearray(data)
        mutated[offset + 4 : offset + 8] = b"\xf0\xff\xff\x7f"
        tracemalloc.start()
        try:
            assert check(path, bytes(mutated), whole) != "whole"
            assert tracemalloc.get_traced_memory()[1] < 4 << 20
        finally:
            tracemalloc.stop()


def test_bytes_behind_the_end(good) -> None:
    path, data, whole = good
    for tail in (b"\0", b"\0" * 100, data[-40:]):
        assert check(path, data + tail, whole) == "shorter"
