"""``tvvc join`` and ``tvvc cut``: symbols and pictures stay what they were, and errors are one line."""

from __future__ import annotations

import json
from pathlib import Path

import independent_reader
import numpy as np
import pytest
import streams
from places import ROOT

import taichi_vvc as tv
from taichi_vvc.bitstream.numbering import has_pieces
from taichi_vvc.cli import run
from taichi_vvc.coding.live_set import live_nodes
from taichi_vvc.errors import ConfigError, CorruptStream, DataError, NotATvvcFile
from taichi_vvc.measure.evaluate import coded_part

GOLDEN = {version: ROOT / "tests" / "data" / f"golden_v{version}.tvvc" for version in range(1, 9)}


def same_symbols(ours: Path, theirs: Path, start: int, count: int, only_live: bool = False) -> None:
    """Compares ``count`` frames, number 0 of ``ours`` with number ``start`` of ``theirs``."""
    with tv.open(ours) as a, tv.open(theirs) as b:
        assert len(a) == count
        for number in range(count):
            one, other = a.symbols(number), b.symbols(start + number)
            assert (one.occupancy == other.occupancy).all()
            live = live_nodes(a.header.layout, one.occupancy)
            for k, (x, y) in enumerate(zip(one.symbols, other.symbols, strict=True)):
                assert np.array_equal(x[live[k]] if only_live else x, y[live[k]] if only_live else y)
            mine, theirs_too = a.parameters(number), b.parameters(start + number)
            assert mine.steps == theirs_too.steps
            assert all((x == y).all() for x, y in zip(mine.mlp, theirs_too.mlp, strict=True))
            for camera, before in zip(a.cameras_at(number), b.cameras_at(start + number), strict=True):
                # A camera that is back in the header's place takes its pose from there, rounded less.
                assert camera.position == pytest.approx(before.position, abs=2.0**-10)
                assert camera.rotation == pytest.approx(before.rotation, abs=2.0**-14)
            assert [look.gain for look in a.looks_at(number)] == [look.gain for look in b.looks_at(start + number)]


@pytest.mark.parametrize("version", GOLDEN)
def test_a_file_joined_to_itself_has_its_frames_twice(tmp_path: Path, version: int) -> None:
    out = tmp_path / "out.tvvc"
    written = tv.join([GOLDEN[version]] * 2, out)
    with tv.open(GOLDEN[version]) as stream:
        count = len(stream)
        hashes = stream.hashes()
    assert (written.frames, written.version, written.bytes) == (2 * count, version, out.stat().st_size)
    again = tmp_path / "again.tvvc"
    for start in (0, count):
        assert tv.cut(out, slice(start, start + count), again, overwrite=True).recoded == 0
        with tv.open(again) as stream:
            assert stream.hashes() == hashes and stream.complete
    independent_reader.read_file(out.read_bytes())


@pytest.mark.parametrize("version", GOLDEN)
def test_an_exact_cut_has_the_symbols_that_pictures_depend_on(tmp_path: Path, version: int) -> None:
    """Also after frames that are coded again: with motion, shared MLPs, cameras that move, a shell and colours."""
    source = GOLDEN[version]
    with tv.open(source) as stream:
        count, types = len(stream), [stream.info(number).type for number in range(len(stream))]
    start = next(number for number, kind in enumerate(types) if kind == "inter")
    out = tmp_path / "out.tvvc"
    written = tv.cut(source, slice(start, None), out, exact=True)
    group_end = next((n for n in range(start, count) if types[n] == "key"), count)
    assert (written.recoded, written.frames) == (group_end - start, count - start)
    assert written.version == version
    same_symbols(out, source, start, count - start, only_live=True)
    independent_reader.read_file(out.read_bytes())
    with tv.open(out) as piece, tv.open(source) as whole:
        assert piece.first_frame == whole.first_frame + start * whole.frame_step
        assert piece.info(0).type == "key"
        camera = whole.cameras_at(count - 1)[0]
        shown = [tv.render_rgb8(f, camera, whole.background) for f in (piece[count - start - 1], whole[count - 1])]
        assert (shown[0] == shown[1]).all()


def test_a_piece_may_end_within_a_group(tmp_path: Path) -> None:
    out = tmp_path / "out.tvvc"
    tv.cut(GOLDEN[6], slice(0, 2), out)
    same_symbols(out, GOLDEN[6], 0, 2)


def test_a_piece_begins_at_a_key_frame_or_the_error_says_where(tmp_path: Path) -> None:
    path, out = tmp_path / "small.tvvc", tmp_path / "out.tvvc"
    streams.write(path, frames=7, per_group=3)
    line = (
        "begin at a key frame, found 4; the nearest are 3 and 6; begin there, or use --exact, which codes frames 4 to 5"
    )
    with pytest.raises(ConfigError, match=line):
        tv.cut(path, slice(4, 6), out)
    with pytest.raises(ConfigError, match=r"found 1; the nearest are 0 and 3"):
        tv.cut(path, slice(1, 2), out)
    for frames, found in ((slice(7, 9), "7:9"), (slice(5, 5), "5:5")):
        with pytest.raises(ConfigError, match=f"expected some of its 7 frames, found none in {found}"):
            tv.cut(path, frames, out)
    with pytest.raises(ConfigError, match="without a step"):
        tv.cut(path, slice(0, 6, 2), out)
    assert not out.exists()


def test_outputs_are_neither_inputs_nor_replaced_unasked(tmp_path: Path) -> None:
    path, out = tmp_path / "small.tvvc", tmp_path / "out.tvvc"
    before = streams.write(path)
    for call in (
        lambda target, **more: tv.join([path], target, **more),
        lambda t, **more: tv.cut(path, slice(0, 2), t, **more),
    ):
        with pytest.raises(ConfigError, match="other than the files that are read"):
            call(path, overwrite=True)
        out.write_bytes(b"precious")
        with pytest.raises(ConfigError, match="expected no such file, found one"):
            call(out)
        assert out.read_bytes() == b"precious"
        call(out, overwrite=True)
        with tv.open(out) as stream:
            assert stream.complete
    assert path.read_bytes() == before


def test_files_that_cannot_be_joined(tmp_path: Path) -> None:
    good, other, empty, cut_off = (tmp_path / f"{name}.tvvc" for name in ("good", "other", "empty", "cut"))
    data = streams.write(good)
    streams.write(other, newest=True)
    streams.write(empty, frames=0)
    out = tmp_path / "out.tvvc"
    (tmp_path / "text.tvvc").write_bytes(b"no such thing")
    with pytest.raises(NotATvvcFile):
        tv.join([good, tmp_path / "text.tvvc"], out)
    with pytest.raises(ConfigError, match=r"other\.tvvc: expected a file like .*good\.tvvc, found other shell"):
        tv.join([good, other], out)
    with pytest.raises(tv.errors.StreamError, match="at least one whole frame"):
        tv.join([good, empty], out)
    with pytest.raises(ConfigError, match="at least one file"):
        tv.join([], out)
    with pytest.raises(ConfigError, match="can be written"):
        tv.join([good], tmp_path / "nowhere" / "out.tvvc")
    assert not out.exists()
    with pytest.raises(CorruptStream, match="checksum"):
        damaged = bytearray(data)
        damaged[len(data) // 2] ^= 255
        other.write_bytes(damaged)
        tv.join([good, other], out)
    cut_off.write_bytes(data[:-30])
    written = tv.join([cut_off, good], out, overwrite=True)
    with tv.open(cut_off) as stream:
        assert written.frames == len(stream) + 5 > 5
    assert "no valid index" in written.notes[0]


def test_the_commands(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path, out, piece = tmp_path / "small.tvvc", tmp_path / "out.tvvc", tmp_path / "piece.tvvc"
    streams.write(path, frames=6, per_group=3)
    assert run(["join", str(path), str(path), "-o", str(out), "--progress", "json"]) == 0
    lines = [json.loads(line) for line in capfd.readouterr().err.splitlines()]
    assert any("frames of the capture do not follow each other" in line.get("text", "") for line in lines)
    assert (lines[-1]["frames"], lines[-1]["groups"], lines[-1]["version"]) == (12, 4, 8)
    assert run(["info", str(out)]) == 0
    assert "several pieces, joined" in capfd.readouterr().out
    with tv.open(out) as stream, pytest.raises(DataError, match="joined from pieces"):
        coded_part(stream, tmp_path)
    assert run(["cut", str(out), "--frames", "6:9", "-o", str(piece)]) == 0
    with tv.open(piece) as stream:
        assert stream.first_frame == 5 and not has_pieces(stream.header.record)
    assert run(["cut", str(out), "--frames", "2:9", "-o", str(piece), "-y"]) == 2
    assert "the nearest are 0 and 3" in capfd.readouterr().err
    for command in (["join", str(path)], ["cut", str(path), "--frames", "0:3"]):
        assert run([*command, "-o", "-"]) == 2
        assert "cannot go to stdout" in capfd.readouterr().err
