"""MLPs that groups share."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import independent_reader
import pytest
import streams

from taichi_vvc.bitstream import StreamReader, syntax, versions
from taichi_vvc.errors import CorruptStream


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "small.tvvc"


def test_groups_may_share_mlps(path: Path) -> None:
    data = streams.write(path, frames=8, sharing=(1, 2))
    assert [group["owner"] for group in independent_reader.read_file(data)["groups"]] == [0, 0, 0, 3]
    for finish in (True, False):
        path.unlink()
        streams.write(path, frames=8, finish=finish, sharing=(1, 2))
        with StreamReader(path) as reader:
            assert reader.complete == finish
            assert reader.read_group(2) == streams.sharing_group(2, 4)
            assert [reader.owner_of_mlp(group).number for group in range(4)] == [0, 0, 0, 3]
            assert [reader.read_whole_group(group) for group in range(4)] == [streams.group(n, 2 * n) for n in range(4)]
            assert [reader.components(frame)["mlp"] for frame in (0, 2, 4, 6)] == [8, 0, 0, 8]
            reader.scan()


@pytest.mark.parametrize("version, damaged", [(4, 0), (4, 1), (6, 0)])
def test_damaged_mlps_end_with_the_next_group_that_has_its_own(
    path: Path, version: int, damaged: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In versions before 6 the index does not tell that the chunk in between has none."""
    monkeypatch.setattr(versions, "WRITTEN", version)
    data = bytearray(streams.write(path, frames=8, sharing=(1, 2)))
    with StreamReader(path) as reader:
        data[reader.groups[damaged].offset + 12] ^= 1
    path.write_bytes(data)
    with StreamReader(path) as reader:
        message = f"group {damaged} at byte [0-9]+: expected checksum .* damaged; group 2 shares its MLPs$"
        with pytest.raises(CorruptStream, match=message):
            reader.read_whole_group(2)
        assert reader.read_whole_group(3) == streams.group(3, 6)


def test_the_first_group_has_mlps(path: Path) -> None:
    data = streams.write(path, sharing=(0, 1))
    with StreamReader(path) as reader:
        for number in (0, 1):
            with pytest.raises(CorruptStream, match="group 0: expected MLPs, found none"):
                reader.read_whole_group(number)
    with pytest.raises(independent_reader.Damaged):
        independent_reader.read_file(data)


def test_older_versions_have_mlps_in_every_group(path: Path) -> None:
    streams.write(path, sharing=(1,))
    with StreamReader(path) as reader:
        reader.version = 2
        assert reader.read_whole_group(0) == streams.group(0, 0)
        with pytest.raises(CorruptStream, match="group 1: expected MLPs, found none"):
            reader.read_whole_group(1)


def test_mlps_and_their_steps_come_together() -> None:
    unchecked = replace(syntax.GROUP, check=lambda group: "")
    for change in ({"mlp": b""}, {"mlp_steps": ()}):
        with pytest.raises(CorruptStream, match="MLPs and their steps or neither"):
            syntax.GROUP.parse(unchecked.pack(replace(streams.group(1, 2), **change)), "group 1")
