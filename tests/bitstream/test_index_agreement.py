"""Files made by hand with valid checksums whose parts contradict each other: reading them raises an error."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import pytest
import streams

import taichi_vvc as tv
from taichi_vvc.bitstream import FrameData, GroupHeader, StreamReader, StreamWriter, chunks, syntax, versions
from taichi_vvc.errors import ConfigError, CorruptStream

Part = FrameData | GroupHeader | bytes


def parts(count: int = 4, per_group: int = 2) -> list[FrameData | GroupHeader]:
    """Groups and frames in the order of a file."""
    found: list[FrameData | GroupHeader] = []
    for number in range(count):
        group, within = divmod(number, per_group)
        if not within:
            found.append(streams.group(group, number))
        found.append(streams.frame(number, group, not within))
    return found


def made(
    path: Path,
    content: Sequence[FrameData | GroupHeader],
    said: Sequence[FrameData | GroupHeader] | None = None,
    frames: int | None = None,
    first: int = 0,
    sizes: Sequence[int] = (),
    unchecked: bool = False,
    holds: str = "",
    fps: Fraction | None = None,
) -> Path:
    """A file with an index, or without one.

    Args:
        content: its chunks.
        said: what the index says of them, in their sizes; None: there is no index.
        frames: how many frames the index says there are.
        first: added to the offset of the first chunk that the index states.
        sizes: added to the sizes that it states.
        unchecked: write what the writer would refuse.
        holds: what the index says that groups hold.
        fps: frames per second that the index states; None: those of the header.
    """
    table = {GroupHeader: (chunks.GROUP, versions.GROUPS[6]), FrameData: (chunks.FRAME, versions.FRAMES[6])}
    path.unlink(missing_ok=True)
    StreamWriter.create(path, streams.header()).close()
    data = path.read_bytes()
    start, entries = len(data), []
    for number, part in enumerate(content):
        kind, structure = table[type(part)]
        if unchecked:
            structure = dataclasses.replace(structure, check=lambda value: "")
        chunk = chunks.seal(kind, structure.pack(part), data[-4:])
        data += chunk
        if said is not None:
            of = said[number]
            name = of.type if isinstance(of, FrameData) else holds or "group with MLPs"
            more = sizes[number] if number < len(sizes) else 0
            entries.append(syntax.IndexEntry(name, of.number, len(chunk) + more))
    if said is not None:
        count = sum(isinstance(part, FrameData) for part in content) if frames is None else frames
        body = syntax.INDEX.pack(syntax.Index(start + first, tuple(entries), count, fps or streams.header().fps))
        length = (len(body) + 4 + chunks.FRAMING).to_bytes(4, "little")
        data += chunks.seal(chunks.INDEX, body + length, data[-4:])
    path.write_bytes(data)
    return path


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "made.tvvc"


def test_what_is_made_by_hand_is_what_is_written(path: Path) -> None:
    written = streams.write(path, frames=4)
    assert made(path, parts(), parts()).read_bytes() == written
    assert written.startswith(made(path, parts()).read_bytes())


def altered(number: int, /, **changes: object) -> list:
    """The parts, one of them with other values."""
    found: list = parts()
    found[number] = dataclasses.replace(found[number], **changes)
    return found


# Of the parts above, 4 is frame 2, the key frame of group 1, and 5 is frame 3.
@pytest.mark.parametrize(
    "number, changes, what",
    [
        (5, {"number": 2}, "expected frame 3, found frame 2"),
        (5, {"number": 1}, "expected frame 3, found frame 1"),
        (5, {"group": 0}, "expected frame 3"),
        (5, {"group": 2}, "expected frame 3"),
        (5, {"type": "key", "motion": b""}, "expected frame 3"),
        (4, {"type": "inter"}, "expected frame 2"),
        (4, {"group": 0}, "expected frame 2"),
        (5, {"grids": (b"a", b"b")}, "frame 3: expected 3 grids, found 2"),
        (5, {"grids": (b"a", b"b", b"c", b"d")}, "frame 3: expected 3 grids, found 4"),
    ],
)
def test_a_frame_is_the_one_that_the_index_says(path: Path, number: int, changes: dict, what: str) -> None:
    with StreamReader(made(path, altered(number, **changes), parts())) as reader:
        assert reader.complete and len(reader.frames) == 4
        index = number - 2
        with pytest.raises(CorruptStream, match=what):
            reader.read_frame(index)
        with pytest.raises(CorruptStream, match=what):
            reader.scan()
        assert reader.read_frame(5 - index) == streams.frame(5 - index, 1, index == 3)


@pytest.mark.parametrize(
    "number, changes, what",
    [
        (3, {"number": 0}, "expected group 1, found group 0"),
        (3, {"number": 2}, "expected group 1, found group 2"),
        (3, {"first_frame": 1}, "expected group 1"),
        (3, {"first_frame": 3}, "expected group 1"),
        (3, {"grid_steps": (0.25, 0.5)}, "group 1: expected 3 steps, found 2"),
        (3, {"grid_steps": (0.25, 0.5, 0.5, 0.5)}, "group 1: expected 3 steps, found 4"),
        (0, {"mlp": b"", "mlp_steps": ()}, "group 0: expected MLPs, found none"),
    ],
)
def test_a_group_is_the_one_that_the_index_says(path: Path, number: int, changes: dict, what: str) -> None:
    with StreamReader(made(path, altered(number, **changes), parts())) as reader:
        assert reader.complete
        with pytest.raises(CorruptStream, match=what):
            reader.read_group(number // 3)
        with pytest.raises(CorruptStream, match=what):
            reader.scan()


@pytest.mark.parametrize(
    "changes",
    [
        {"frames": 3},
        {"frames": 5},
        {"frames": 0},
        {"first": 1},
        {"first": -1},
        {"sizes": [1, -1]},
        {"sizes": [0, 0, 0, 0, 0, 1]},
        {"sizes": [0, 0, 0, 0, 0, -1]},
        {"said": [parts()[0], parts()[2], parts()[1], *parts()[3:]]},
        {"said": [parts()[1], parts()[0], *parts()[2:]]},
        {"said": altered(0, number=1)},
        {"said": altered(3, number=0)},
        {"said": altered(2, type="key")},
        {"said": altered(1, type="inter")},
        {"said": altered(5, number=4)},
        {"fps": Fraction(30)},
        {"holds": "key"},
    ],
    ids=" ".join,
)
def test_an_index_that_is_wrong_is_no_index(path: Path, changes: dict) -> None:
    """The chunks themselves then say what there is; a wrong size of a chunk in the middle is told when it is read."""
    with StreamReader(made(path, parts(), **{"said": parts(), **changes})) as reader:
        if changes == {"sizes": [1, -1]}:
            with pytest.raises(CorruptStream):
                reader.read_group(0)
            with pytest.raises(CorruptStream):
                reader.read_frame(0)
            assert reader.read_frame(1) == streams.frame(1, 0, False)
            return
        assert not reader.complete
        assert [frame.number for frame in reader.frames] == [0, 1, 2, 3]
        assert [group.first_frame for group in reader.groups] == [0, 2]
        assert reader.read_frame(3) == streams.frame(3, 1, False)


@pytest.mark.parametrize(
    "holds, what",
    [
        ("group", "expected no MLPs by the index, found some"),
        ("group with colours", "expected no MLPs by the index, found some"),
        ("group with both", "expected colours by the index, found none"),
    ],
)
def test_a_group_holds_what_the_index_says(path: Path, holds: str, what: str) -> None:
    with StreamReader(made(path, parts(), parts(), holds=holds)) as reader:
        assert reader.complete
        with pytest.raises(CorruptStream, match=f"group 0: {what}"):
            reader.read_group(0)


@pytest.mark.parametrize(
    "content, there",
    [
        (altered(5, number=4), 3),
        (altered(5, type="key", motion=b""), 3),
        (altered(4, type="inter"), 2),
        (altered(3, number=2), 2),
        (altered(0, number=1), 0),
        ([*parts()[:3], streams.group(1, 2), streams.group(2, 2), *parts()[4:]], 2),
        (parts()[1:], 0),
    ],
)
def test_without_an_index_the_file_ends_where_order_does(path: Path, content: list, there: int) -> None:
    with StreamReader(made(path, content)) as reader:
        assert not reader.complete and len(reader.frames) == there
    with pytest.raises(CorruptStream, match="the file is damaged"):
        StreamWriter.resume(path, streams.header())


def test_a_key_frame_has_no_motion(path: Path) -> None:
    content = altered(4, motion=b"mo")
    with StreamReader(made(path, content, content, unchecked=True)) as reader:
        with pytest.raises(CorruptStream, match="expected no motion on a key frame, found 2 bytes"):
            reader.read_frame(2)
    with StreamWriter.create(path.parent / "b.tvvc", streams.header()) as writer:
        writer.add_group(streams.group(0, 0))
        with pytest.raises(ConfigError, match="expected no motion on a key frame"):
            writer.add_frame(dataclasses.replace(streams.frame(0, 0, True), motion=b"mo"))


@pytest.mark.parametrize("sharing", [{"mlp": b""}, {"mlp_steps": ()}])
def test_mlps_have_steps(path: Path, sharing: dict) -> None:
    with StreamReader(made(path, altered(3, **sharing), parts(), unchecked=True)) as reader:
        with pytest.raises(CorruptStream, match="MLPs and their steps or neither"):
            reader.read_group(1)


def test_the_writer_keeps_the_order_too(path: Path) -> None:
    with StreamWriter.create(path, streams.header()) as writer:
        with pytest.raises(ValueError, match="expected group 0, found group 1"):
            writer.add_group(streams.group(1, 0))
        with pytest.raises(ValueError, match="expected first frame 0, found 1"):
            writer.add_group(streams.group(0, 1))
        writer.add_group(streams.group(0, 0))
        for group in (1, 2):
            with pytest.raises(ValueError, match=f"expected a frame of group 0, found group {group}"):
                writer.add_frame(streams.frame(0, group, True))
        writer.add_frame(streams.frame(0, 0, True))
        with pytest.raises(ValueError, match="expected inter frame 1, found key frame 1"):
            writer.add_frame(streams.frame(1, 0, True))
        assert path.stat().st_size == writer._order.end


# -- times -----------------------------------------------------------------------------------------------------------

RATES = [Fraction(25), Fraction(30), Fraction(24), Fraction(60), Fraction(30000, 1001), Fraction(1, 3), Fraction(120)]


@pytest.mark.parametrize("fps", RATES, ids=str)
def test_a_time_is_that_of_the_frame_that_is_shown(tmp_path: Path, fps: Fraction, monkeypatch) -> None:
    """A frame is shown from its own time, which may be off by a rounding, until the next one's."""
    path = tmp_path / "a.tvvc"
    with StreamWriter.create(path, dataclasses.replace(streams.header(), fps=fps)) as writer:
        writer.add_group(streams.group(0, 0))
        writer.add_frame(streams.frame(0, 0, True))
        writer.finish()
    with tv.open(path) as stream:
        assert stream.seek(0.0) == stream.seek(-1.0) == stream.seek(1e9) == 0
        # As if the file were long.
        stream._reader.frames *= 500
        for number in range(500):
            assert stream.seek(number / fps) == number
            assert stream.seek(float(number / fps)) == number
            assert stream.seek(float((number + 0.4) / fps)) == number
            assert stream.seek(float((number + 0.999) / fps)) == number
        assert stream.seek(-3.0) == 0 and stream.seek(1e9) == stream.seek(float("inf")) == 499
