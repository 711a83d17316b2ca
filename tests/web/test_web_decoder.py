"""The decoder in JavaScript finds the same symbols as the package, in files of every version of the format."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest
from javascript import WEB as WEB_FOLDER
from javascript import evaluate, hashes, needs_node, node
from places import DATA, ROOT

import taichi_vvc as tv
from taichi_vvc.bitstream import StreamReader

pytestmark = needs_node

GOLDEN = sorted(DATA.glob("golden_v*.tvvc"))


def expected(path: Path) -> str:
    with tv.open(path) as stream:
        found = stream.hashes()
    return f"symbols sha256 {found.symbols}\npictures sha256 {found.pictures}\n"


@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: path.stem)
def test_golden_files(path: Path) -> None:
    assert hashes(path) == expected(path)


def small_file(seed: int) -> bytes:
    """A file of noise of ``benchmarks/fuzz.py``."""
    sys.path.insert(0, str(ROOT / "benchmarks"))
    try:
        spec = importlib.util.spec_from_file_location("fuzz", ROOT / "benchmarks" / "fuzz.py")
        assert spec is not None and spec.loader is not None
        fuzz = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(fuzz)
        return fuzz.small_file(seed)
    finally:
        sys.path.pop(0)


@pytest.mark.parametrize("seed", range(4))
def test_files_of_noise(seed: int, tmp_path: Path) -> None:
    path = tmp_path / "noise.tvvc"
    path.write_bytes(small_file(seed))
    assert hashes(path) == expected(path)


READ = """
import { openFile } from "WEB/decoder/decoder.js";
import { fileSource } from "WEB/decoder/sources.js";
const file = await openFile(await fileSource(given[0]));
const { header } = file;
const found = { header: { ...header }, frames: [], version: file.version, complete: file.complete };
for (const index of given[1]) {
  const frame = await file.decode(index);
  found.frames.push({
    number: frame.number, key: frame.key, cameras: frame.cameras, group: frame.group.number,
    steps: [...frame.group.steps], mlp: frame.group.mlp.map((values) => [...values]), colours: frame.group.colours,
    occupied: frame.occupancy.reduce((a, b) => a + b, 0),
    sums: frame.symbols.map((grid) => grid.reduce((a, b) => a + b, 0)),
    shapes: frame.symbols.map((grid) => grid.length),
  });
}
tell(found);
"""


@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: path.stem)
def test_what_a_file_states(path: Path) -> None:
    """Frames in any order, with the cameras, steps, MLPs and colour maps of each."""
    with tv.open(path) as stream:
        count = len(stream)
        order = [count - 1, 0, *range(1, count), 0]
        found = evaluate(READ, path, order)
        layout, header = stream.header.layout, found["header"]
        assert found["version"] == int(path.stem.removeprefix("golden_v")) and found["complete"]
        assert header["frameCount"] == count and header["fps"] == float(stream.fps)
        assert header["duration"] == pytest.approx(count / float(stream.fps))
        assert header["background"] == pytest.approx(stream.background)
        assert header["layout"]["occupancy"] == list(layout.occupancy)
        assert header["layout"]["lower"] == list(layout.bounds.lower)
        assert [level["frequency"] for level in header["layout"]["levels"]] == [
            level.frequency_units for level in layout.levels
        ]
        for index, frame in zip(order, found["frames"], strict=True):
            symbols, parameters = stream.symbols(index), stream.parameters(index)
            assert (frame["number"], frame["key"]) == (index, symbols.key)
            assert frame["group"] == stream.info(index).group
            assert frame["occupied"] == int(symbols.occupancy.sum())
            assert frame["sums"] == [int(grid.sum()) for grid in symbols.symbols]
            assert frame["shapes"] == [grid.size for grid in symbols.symbols]
            assert frame["steps"] == list(parameters.steps)
            for own, tensor in zip(frame["mlp"], parameters.mlp, strict=True):
                assert np.array_equal(np.array(own, np.float32), tensor.reshape(-1))
            for own, camera in zip(frame["cameras"], stream.cameras_at(index), strict=True):
                assert own["name"] == camera.name and own["split"] == camera.split
                assert own["rotation"] == pytest.approx(camera.rotation.reshape(-1), abs=1e-12)
                assert own["position"] == pytest.approx(camera.position, abs=1e-12)
                assert [own["fx"], own["cy"]] == [camera.fx, camera.cy]
                assert own["distortion"] == [camera.k1, camera.k2, camera.p1, camera.p2]
            looks = stream.looks_at(index)
            assert [look["gain"] for look in frame["colours"]] == [list(look.gain) for look in looks]
            assert [look["offset"] for look in frame["colours"]] == [list(look.offset) for look in looks]


SOUND = """
import { openFile } from "WEB/decoder/decoder.js";
import { fileSource } from "WEB/decoder/sources.js";
const file = await openFile(await fileSource(given[0]));
const runs = [];
for (let k = 0; k < file.sounds.length; k++) {
  const { number, channels, skip, packets } = await file.readSound(k);
  runs.push({ number, channels, skip, packets: packets.map((packet) => [...packet]) });
}
tell({ complete: file.complete, frames: file.frames.length, runs });
"""


@pytest.mark.parametrize("cut", [0, 7])
def test_sound_is_the_one_of_the_package(cut: int, tmp_path: Path) -> None:
    """By the index, and by a walk that passes over a chunk of another type."""
    path = tmp_path / "a.tvvc"
    path.write_bytes((DATA / "golden_v7.tvvc").read_bytes()[: -cut or None])
    found = evaluate(SOUND, path)
    with StreamReader(path) as reader:
        runs = [reader.read_sound(index) for index in range(len(reader.sounds))]
        assert found["complete"] == reader.complete == (not cut) and found["frames"] == len(reader.frames) == 4
        assert len(runs) == 2 and [
            (run["number"], run["channels"], run["skip"], tuple(map(bytes, run["packets"]))) for run in found["runs"]
        ] == [(run.number, run.channels, run.skip, run.packets) for run in runs]
    with StreamReader(DATA / "golden_v6.tvvc") as reader:
        assert evaluate(SOUND, DATA / "golden_v6.tvvc")["runs"] == []


def test_reused_memory_does_not_change_frames(tmp_path: Path) -> None:
    """Frames that are kept stay as they are while memory of others is used again."""
    code = """
    import { openFile } from "WEB/decoder/decoder.js";
    import { fileSource } from "WEB/decoder/sources.js";
    const file = await openFile(await fileSource(given[0]));
    const mixed = (values) => values.reduce((sum, value, k) => (sum * 31 + value + k) | 0, 7);
    const sum = (frame) => [frame.occupancy, ...frame.symbols].map(mixed);
    const count = file.frames.length;
    const plain = [];
    for (let k = 0; k < count; k++) plain.push(sum(await file.decode(k)));
    const kept = await file.decode(1);
    const seen = [];
    let frame = null;
    for (let round = 0; round < 3; round++) {
      for (let k = 0; k < count; k++) {
        frame = await file.decode(k, { reuse: frame });
        seen.push(sum(frame));
      }
    }
    const { free } = file.decoder.pool;
    tell({ plain, seen, kept: sum(kept), pooled: [...free.values()].reduce((n, list) => n + list.length, 0) });
    """
    found = evaluate(code, DATA / "golden_v4.tvvc")
    assert found["seen"] == 3 * found["plain"]
    assert found["kept"] == found["plain"][1]
    assert found["pooled"] > 0, "memory must be used again"


def test_an_unfinished_file_plays_to_its_last_whole_frame(tmp_path: Path) -> None:
    whole = GOLDEN[3].read_bytes()
    with tv.open(GOLDEN[3]) as stream:
        entries = stream._reader.frames
    cut = tmp_path / "cut.tvvc"
    cut.write_bytes(whole[: entries[-1].offset + 20])
    found = evaluate(READ, cut, [len(entries) - 2])
    assert not found["complete"] and found["header"]["frameCount"] == len(entries) - 1
    assert hashes(cut) == expected(cut)


@pytest.mark.parametrize(
    "change, kind",
    [
        (lambda data: b"", "NotATvvcFile"),
        (lambda data: b"RIFF" + data[4:], "NotATvvcFile"),
        (lambda data: data[:6], "TruncatedStream"),
        (lambda data: data[:100], "TruncatedStream"),
        (lambda data: data[:4] + b"\x63\x00" + data[6:], "UnsupportedVersion"),
        (lambda data: data[:4] + b"\x00\x00" + data[6:], "CorruptStream"),
        (lambda data: data[:60] + bytes([data[60] ^ 1]) + data[61:], "CorruptStream"),
        (
            lambda data: data[: len(data) // 2] + bytes([data[len(data) // 2] ^ 1]) + data[len(data) // 2 + 1 :],
            "CorruptStream",
        ),
    ],
)
def test_errors_have_a_type_and_one_line(change, kind: str, tmp_path: Path) -> None:
    path = tmp_path / "damaged.tvvc"
    path.write_bytes(change(GOLDEN[-1].read_bytes()))
    code = """
    import { openFile, StreamError } from "WEB/decoder/decoder.js";
    import { hashesOf } from "WEB/decoder/hashes.js";
    import { fileSource } from "WEB/decoder/sources.js";
    try {
      await hashesOf(await openFile(await fileSource(given[0])));
      tell(["none", "", false]);
    } catch (error) {
      tell([error.name, error.message, error instanceof StreamError]);
    }
    """
    name, message, is_stream_error = evaluate(code, path)
    assert (name, is_stream_error) == (kind, True)
    assert "expected" in message and "found" in message and "\n" not in message
    done = node(WEB_FOLDER / "bin" / "tvvc-hash.js", path)
    assert done.returncode == 4 and done.stderr.startswith("error: ") and done.stderr.count("\n") == 1


def test_memory_limit() -> None:
    code = """
    import { openFile } from "WEB/decoder/decoder.js";
    import { fileSource } from "WEB/decoder/sources.js";
    const outcomes = [];
    for (const memoryLimit of [1e5, 1e9, 0]) {
      try {
        await (await openFile(await fileSource(given[0]), { memoryLimit })).decode(0);
        outcomes.push("good");
      } catch (error) {
        outcomes.push(error.name);
      }
    }
    tell(outcomes);
    """
    assert evaluate(code, GOLDEN[-1]) == ["MemoryLimitExceeded", "good", "ConfigError"]
