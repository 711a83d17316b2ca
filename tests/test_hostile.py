"""Files with valid checksums and content that no encoder writes: they are refused or shown, without a traceback."""

from __future__ import annotations

import json
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import streams
from commands import expect_error
from places import DATA

import taichi_vvc as tv
from taichi_vvc.bitstream import StreamReader, StreamWriter, chunks, reader, settings_text, syntax, versions
from taichi_vvc.bitstream.sound import SoundData
from taichi_vvc.cli import run
from taichi_vvc.cli.info import describe
from taichi_vvc.cli.options import usual_rate
from taichi_vvc.cli.shots import timeline
from taichi_vvc.cli.text import printable
from taichi_vvc.coding.headers import layout_of_header, pack_group
from taichi_vvc.errors import ConfigError, CorruptStream

GOLDEN = DATA / "golden_v3.tvvc"


def golden_header() -> syntax.SequenceHeader:
    with StreamReader(GOLDEN) as opened:
        return opened.header


def plain(header: syntax.SequenceHeader) -> bytes:
    """A header without anyone looking at whether it makes sense."""
    out = bytearray()
    for key, element in syntax.HEADER.fields:
        unchecked = replace(element, check=lambda _: "") if key == "layout" else element
        unchecked.write(out, getattr(header, key), key)
    return bytes(out)


def written(path: Path, header: syntax.SequenceHeader, frames: int = 0) -> Path:
    """A complete file of this header, with the first frames of the golden file."""
    with StreamReader(GOLDEN) as source, StreamWriter.create(path, header) as writer:
        for number in range(frames):
            if number == 0:
                writer.add_group(source.read_group(0))
            writer.add_frame(source.read_frame(number))
        writer.finish()
    return path


@pytest.mark.parametrize(("cells", "least"), [((48, 8, 8), 16), ((8, 49, 8), 17), ((3, 3, 3), 1)])
def test_steps_of_more_than_three_cells_are_refused(cells: tuple[int, int, int], least: int) -> None:
    def with_steps(steps: int) -> syntax.SequenceHeader:
        header = streams.header()
        return replace(header, layout=replace(header.layout, cells=cells, steps_per_side=steps))

    good = with_steps(least)
    assert syntax.HEADER.parse(plain(good), "h") == good
    if least > 1:
        with pytest.raises(CorruptStream, match=f"at least {least} steps for {max(cells)} cells, found {least - 1}"):
            syntax.HEADER.parse(plain(with_steps(least - 1)), "h")
        with pytest.raises(ConfigError, match="at least"):
            versions.pack_header(with_steps(least - 1))


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ('{"a":NaN}', "finite"),
        ('{"a":[1,{"b":-Infinity}]}', "finite"),
        ('{"a":1e999}', "finite"),
        ('{"a":"\\ud800"}', "whole characters"),
        ('{"\\udfff":1}', "whole characters"),
        ('{"a":' + "[" * 16 + "]" * 16 + "}", "at most 16 levels"),
        ('{"a":' + "9" * 5000 + "}", "JSON"),
        ("[" * 30000, "JSON"),
        ("[]", "object"),
    ],
)
def test_settings_that_cannot_be_written_as_json_are_refused(settings: str, problem: str) -> None:
    data = plain(replace(streams.header(), settings=settings))
    with pytest.raises(CorruptStream, match=problem):
        syntax.HEADER.parse(data, "h")


@pytest.mark.parametrize("settings", ['{"a":"\\ud83d\\ude00"}', '{"a":' + "[" * 14 + "]" * 14 + "}", '{"a":1e308}'])
def test_odd_but_valid_settings_are_taken(settings: str) -> None:
    header = replace(streams.header(), settings=settings)
    assert syntax.HEADER.parse(plain(header), "h") == header


HOSTILE = "\x1b[31mred\x07\r\n\u202eleft \x9b1A [/bold] caf\u00e9"


def test_no_text_of_a_file_reaches_the_terminal_as_it_is(tmp_path: Path, capfd) -> None:
    golden = golden_header()
    cameras = (replace(golden.cameras[0], name=HOSTILE), *golden.cameras[1:])
    settings = settings_text({HOSTILE: HOSTILE, "a": [HOSTILE]})
    header = replace(golden, cameras=cameras, settings=settings, library=HOSTILE)
    path = written(tmp_path / "a.tvvc", header, 2)
    assert run(["info", str(path)]) == 0
    assert run(["decode", str(path), "-o", str(tmp_path / "d"), "--cameras", "none of them"]) == 2
    assert run(["info", str(path), "--json"]) == 0
    out, err = capfd.readouterr()
    text, _, rest = out.partition("{")
    assert all(c.isprintable() or c == "\n" for c in text + err)
    assert "\\x1b[31mred" in text and "caf\u00e9" in text and "\\x1b[31mred" in err
    assert json.loads("{" + rest)["cameras"][0]["name"] == HOSTILE
    assert printable(HOSTILE) == "\\x1b[31mred\\x07\\r\\n\\u202eleft \\x9b1A [/bold] caf\u00e9"


def test_info_on_a_terminal_of_few_characters(tmp_path: Path, python) -> None:
    header = replace(streams.header(), library="\u65e5\u672c")
    with StreamWriter.create(tmp_path / "a.tvvc", header) as writer:
        writer.finish()
    from conftest import child_environment

    narrow = child_environment(PYTHONIOENCODING="ascii")
    for option in ([], ["--json"]):
        done = python("-m", "taichi_vvc", "info", tmp_path / "a.tvvc", *option, env=narrow)
        assert done.returncode == 0, done.stderr
        assert "\\u65e5\\u672c" in done.stdout
    assert json.loads(done.stdout)["library"] == "\u65e5\u672c"


def test_files_without_frames_or_cameras_are_refused_in_one_line(tmp_path: Path, capfd) -> None:
    golden = golden_header()
    empty = written(tmp_path / "empty.tvvc", golden)
    alone = written(tmp_path / "alone.tvvc", replace(golden, cameras=(), intrinsics=()), 1)
    cpu = ["--backend", "cpu"]
    for path, reason in ((empty, "at least one frame"), (alone, "cameras")):
        orbit = ["render", path, "-o", tmp_path / "r", "--path", "orbit", "--size", "8x8", *cpu]
        expect_error(capfd, orbit, 4 if path == empty else 3, reason)
        for render in ("browser", "server"):
            expect_error(capfd, ["view", path, "--render", render, "--no-open", *cpu], 4, reason)
        expect_error(capfd, ["web", path, "-o", tmp_path / "page.html", "--poster", "none"], 4, reason)
        decode = ["decode", path, "-o", tmp_path / "d", *cpu]
        expect_error(capfd, decode, 4 if path == empty else 2, reason)
    with tv.open(empty) as stream, pytest.raises(IndexError):
        stream.seek(0.0)
    assert run(["info", str(empty)]) == run(["info", str(alone)]) == 0
    # Without cameras of its own a file is rendered from those of a path.
    pose = {"transform_matrix": np.eye(4).tolist(), "fl_x": 8.0, "w": 8, "h": 8}
    (tmp_path / "path.json").write_text(json.dumps({"cameras": [pose]}))
    own = ["--path", str(tmp_path / "path.json"), "--fps", "1", *cpu]
    assert run(["render", str(alone), "-o", str(tmp_path / "r"), *own]) == 0
    assert any(found.suffix == ".png" for found in (tmp_path / "r").iterdir())


def test_seeking_takes_any_time(tmp_path: Path) -> None:
    with tv.open(GOLDEN) as stream:
        assert [stream.seek(t) for t in (-1e300, 0.0, float("inf"), 1e308)] == [0, 0, 3, 3]
        for index in range(4):
            assert stream.seek(float((index + Fraction(1, 2)) / stream.fps)) == index
        with pytest.raises(ConfigError):
            stream.seek(float("nan"))


@pytest.mark.parametrize("fps", [Fraction(2**32 - 1), Fraction(1, 2**32 - 1), Fraction(2**32 - 1, 2**32 - 2)])
def test_frame_rates_that_no_video_has(fps: Fraction, tmp_path: Path, capfd) -> None:
    path = written(tmp_path / "a.tvvc", replace(golden_header(), fps=fps), 2)
    cpu = ["--backend", "cpu"]
    with tv.open(path) as stream:
        camera = stream.cameras[0].name
    assert run(["info", str(path), "--json"]) == 0
    assert run(["decode", str(path), "-o", str(tmp_path / "a.mp4"), "--cameras", camera, *cpu]) == 0
    assert 0 < usual_rate(fps) <= 1000 and max(usual_rate(fps).as_integer_ratio()) < 2**31
    if fps < 1:
        # 24 pictures per second of frames that last for 136 years.
        arguments = ["render", path, "-o", tmp_path / "b.mp4", "--path", "orbit", "--fps", "24", *cpu]
        expect_error(capfd, arguments, 2, "lower --fps")
    elif fps > 1000:
        assert len(timeline(range(2), fps, usual_rate(fps))) <= 4001


@pytest.mark.parametrize("fps", [24, 25, 30, 60, 120, Fraction(30000, 1001), Fraction(24000, 1001), Fraction(1, 2)])
def test_usual_frame_rates_stay_what_they_are(fps: Fraction | int) -> None:
    assert usual_rate(Fraction(fps)) == fps


@pytest.mark.parametrize(
    ("packets", "skip"),
    [
        # Packets that begin as they should and hold nothing of the kind, none that is heard, and far too much.
        ((b"\xf8" + bytes(range(200)), b"\xfb\x01", b"\x78\xff\x00", b"\xf8" + b"\xff" * 1275), 0),
        ((b"\xfb\x01", b"\x0b\x01" + b"\x00" * 999, b"\xf8", b"\xfc\xff\xfe") * 9, 65536),
        ((b"\xf8" + b"\xaa" * 16383,) * 40, 312),
        ((b"\xf8\xff\xfe",) * 65536, 3840),
    ],
)
def test_sound_that_is_no_sound(packets: tuple[bytes, ...], skip: int, tmp_path: Path, capfd) -> None:
    path, out = tmp_path / "a.tvvc", tmp_path / "a.mp4"
    with StreamReader(GOLDEN) as source, StreamWriter.create(path, golden_header(), version=7) as writer:
        writer.add_sound(SoundData(0, 1, skip, packets))
        writer.add_group(source.read_group(0))
        writer.add_frame(source.read_frame(0))
        writer.add_frame(source.read_frame(1))
        writer.finish()
    camera = golden_header().cameras[0].name
    for target in (out, out.with_suffix(".mov")):
        status = run(["decode", str(path), "-o", str(target), "--cameras", camera, "--backend", "cpu"])
        said = capfd.readouterr().err
        assert status == 0 or (status in (3, 4) and sum(line.startswith("error: ") for line in said.splitlines()) == 1)
        assert "Traceback" not in said and (status == 0) == target.is_file()
    assert run(["info", str(path)]) == run(["info", str(path), "--json"]) == 0
    assert run(["cut", str(path), "-o", str(tmp_path / "b.tvvc"), "--frames", "0:1"]) == 0
    assert run(["join", str(path), str(tmp_path / "b.tvvc"), "-o", str(tmp_path / "c.tvvc")]) == 0
    with StreamReader(tmp_path / "c.tvvc") as reader:
        assert len(reader.frames) == 3 and reader.size < 3 * path.stat().st_size


def test_work_grows_with_the_groups_and_not_with_their_square(tmp_path: Path, monkeypatch) -> None:
    """Groups that share MLPs: each chunk is read a few times at most, and MLPs are decoded once."""
    count = 120
    header = golden_header()
    shapes = layout_of_header(header).mlp_shapes
    group, other = (
        pack_group(0, 0, (1.0, 1.0, 1.0), tuple(np.full(s, value, np.int32) for s in shapes), 0.5) for value in (1, 2)
    )
    with StreamReader(GOLDEN) as source, StreamWriter.create(tmp_path / "a.tvvc", header) as writer:
        frame = source.read_frame(0)
        for number in range(count):
            own = number in (0, count // 2)
            writer.add_group(
                replace(other if number else group, number=number, first_frame=number)
                if own
                else syntax.GroupHeader(number, number, (1.0, 1.0, 1.0), (), b"")
            )
            writer.add_frame(replace(frame, number=number, group=number))
        writer.finish()
    reads = []
    read_payload = chunks.read_payload
    monkeypatch.setattr(reader.chunks, "read_payload", lambda *a: reads.append(1) or read_payload(*a))
    decoded = []
    from taichi_vvc.coding import headers

    real = headers.decode_integers
    monkeypatch.setattr(headers, "decode_integers", lambda *a: decoded.append(1) or real(*a))
    with tv.open(tmp_path / "a.tvvc") as stream:
        reads.clear()
        for index in range(count):
            assert stream.parameters(index).mlp[0].flat[0] == (0.5 if index < count // 2 else 1.0)
        assert len(reads) <= 4 * count and len(decoded) == 2
        reads.clear()
        # Backwards, and from a fresh look at the end.
        for index in reversed(range(count)):
            stream.parameters(index)
        assert len(reads) <= 4 * count
    with StreamReader(tmp_path / "a.tvvc") as opened:
        passes = []

        class Counted(tuple):
            def __iter__(self):
                passes.append(1)
                return super().__iter__()

        opened.frames = Counted(opened.frames)
        assert [gop["frames"] for gop in describe(opened)["gops"]] == [1] * count
        assert len(passes) <= 3
        assert opened.owner_of_mlp(count - 1).number == count // 2
        assert opened.owner_of_mlp(count // 2 - 1).number == 0


def test_a_long_group_is_walked_once(tmp_path: Path) -> None:
    count = 60
    header = golden_header()
    with StreamReader(GOLDEN) as source, StreamWriter.create(tmp_path / "a.tvvc", header) as writer:
        writer.add_group(source.read_group(0))
        key = source.read_frame(0)
        writer.add_frame(key)
        for number in range(1, count):
            empty = replace(key, number=number, type="inter", occupancy=b"", grids=(b"\x02",) * 3)
            writer.add_frame(empty)
        writer.finish()
    looked = []

    class Counted(tuple):
        def __getitem__(self, index):
            looked.append(index)
            return super().__getitem__(index)

    with tv.open(tmp_path / "a.tvvc") as stream:
        stream._reader.frames = Counted(stream._reader.frames)
        for index in range(count):
            stream.symbols(index)
        assert len(looked) <= 6 * count
