"""Files made once, one of each format version: they must decode to the same integers and pictures, anywhere."""

from __future__ import annotations

import dataclasses
import hashlib
from pathlib import Path

import independent_reader
import numpy as np
import pytest
from backends import runtime
from places import DATA
from sounds import click_time

import taichi_vvc as tv
from taichi_vvc.bitstream import StreamReader, StreamWriter
from taichi_vvc.decode import Stream, decode_symbols
from taichi_vvc.errors import ConfigError, CorruptStream, StreamError
from taichi_vvc.media.metrics import psnr
from taichi_vvc.media.ogg import ogg_of

GOLDEN = DATA / "golden_v4.tvvc"


@dataclasses.dataclass(frozen=True)
class Golden:
    """A file, the hashes of its symbols and pictures, its frames' types, and per frame the mean colour of camera 3's
    quadrants.

    Those before version 4 are of the demo capture, halved; the settings are in the files.
    """

    file: Path
    hash: str
    pictures: str
    types: str
    quadrants: tuple
    still: tuple[int, ...] = ()  # inter frames without motion

    @property
    def version(self) -> int:
        """The format version."""
        return int(self.file.stem.removeprefix("golden_v"))


FILES = (
    Golden(
        DATA / "golden_v1.tvvc",
        "8a16a91779b19c525c1b5bc8f505b772cbb8fdf45d8f16bad80efcc1009d5183",
        "d9e7a4d06017ace1aad35d037f7a2f0dd5737244425a813e5379b955066fefe8",
        "key inter key",
        (
            ((0.9430, 0.9777), (0.9201, 0.9257)),
            ((0.9426, 0.9759), (0.9188, 0.9263)),
            ((0.9430, 0.9714), (0.9203, 0.9249)),
        ),
    ),
    # With motion in both of its inter frames.
    Golden(
        DATA / "golden_v2.tvvc",
        "7be2b1dae844f835f903e855273dc4185361dc217e10ab866ed73ff97cd60aaa",
        "bc89de6887162dfa5120fb8796a11b164635730fbca406817a0926f9d1d48890",
        "key inter inter",
        (
            ((0.9427, 0.9772), (0.9196, 0.9249)),
            ((0.9425, 0.9749), (0.9189, 0.9250)),
            ((0.9418, 0.9716), (0.9176, 0.9231)),
        ),
    ),
    # All four frames of the demo capture on the CPU, by the preset "ultrafast" with
    #     coefficients=12, level_nodes=(12, 20), level_channels=(4, 2), level_frequencies=(1.0, 2.0),
    #     occupancy_cells=32, nodes_per_pixel=0.0, projection_hidden=16, colour_hidden=16, view_frequencies=1,
    #     key_iterations=200, inter_iterations=80, lambda_rate=1e-3, keyint=3.
    Golden(
        DATA / "golden_v3.tvvc",
        "cb0d3ec58bc65050c5a289189a009742b2e84571bfa77c36594b572aff78d784",
        "0127549a2729350ef3443c95d6f6034560dd3cc5987d406c0030ea87f66eb4ef",
        "key inter inter key",
        (
            ((0.9425, 0.9771), (0.9214, 0.9256)),
            ((0.9411, 0.9750), (0.9198, 0.9265)),
            ((0.9439, 0.9723), (0.9192, 0.9253)),
            ((0.9489, 0.9676), (0.9180, 0.9214)),
        ),
    ),
    # Five frames of moving.write_moving (six cameras, three of which move and one of which zooms), as above.
    Golden(
        GOLDEN,
        "9a8c1695641c36b2d7e2bcc51e83a995f8e8f7b431710ece22ea3593359acd6a",
        "80c6401014352a18480e11ef3cb28f7d21a56148a9a3354e7eb0d8fee72ba045",
        "key inter inter key inter",
        (
            ((0.8845, 0.9308), (0.9119, 0.9129)),
            ((0.8661, 0.9178), (0.8945, 0.9114)),
            ((0.8454, 0.9023), (0.8738, 0.9107)),
            ((0.8234, 0.8850), (0.8481, 0.9101)),
            ((0.7978, 0.8659), (0.8206, 0.9098)),
        ),
    ),
    # Four frames of halls.write_hall(cameras=9, width=64, height=64, test_cameras=1, time=lambda n: 2.5 * n), a whole
    # scene, with planted colours (cam01 1.25; cam06 1.2, 1.0, 0.85), by the preset "ultrafast" with
    #     coefficients=8, level_nodes=(14,), level_channels=(4,), level_frequencies=(1.0,), occupancy_cells=12,
    #     nodes_per_pixel=0.0, projection_hidden=16, colour_hidden=16, view_frequencies=1, steps_per_side=48, rays=512,
    #     key_iterations=300, inter_iterations=120, lambda_rate=1e-3, keyint=3, colours="on".
    # Its second inter frame is fitted in a part of the cells.
    Golden(
        DATA / "golden_v5.tvvc",
        "9de382f25250e87909c84f767f7467c919d9bd030dc60a2fe9a22062c82d3ea0",
        "92cff32122fae0fa1c28f0d48e10e72f8d3d331671bfc4363d6d25cb9b444f6b",
        "key inter inter key",
        (
            ((0.4760, 0.4124), (0.4958, 0.3631)),
            ((0.4855, 0.4080), (0.4917, 0.3559)),
            ((0.4869, 0.4061), (0.4888, 0.3557)),
            ((0.4861, 0.4068), (0.4906, 0.3525)),
        ),
        still=(2,),
    ),
    # As the file of version 3, with keyint=2 and the later settings of the preset, without reduction.
    Golden(
        DATA / "golden_v6.tvvc",
        "6e33c43b5d54c6e79bede1952edb1e8eb1fb09b13103f367a5e2cdc3cefeaaf1",
        "78e5b649dd58b3ff39462aa02519663caa5c4288ea4a15f6f5c0f9009eb7fae7",
        "key inter key inter",
        (
            ((0.9426, 0.9782), (0.9226, 0.9282)),
            ((0.9427, 0.9759), (0.9222, 0.9282)),
            ((0.9443, 0.9730), (0.9203, 0.9277)),
            ((0.9479, 0.9688), (0.9214, 0.9269)),
        ),
    ),
)
# The same with sound, a tone on the left and a click at 0.08 s on the right, and a chunk of another type.
FILES += (dataclasses.replace(FILES[5], file=DATA / "golden_v7.tvvc"),)
FILES += (
    # As the file of version 3, with the later settings of the preset, without reduction.
    Golden(
        DATA / "golden_v8.tvvc",
        "82b1a98cef71875b4477205be55d9bfd00c6d3f436ba16b10bcce780acb05c93",
        "a2786bc9cc69e491c47d916cf4998b6ea8c59b8b98f753cccb20dd95482908cc",
        "key inter inter key",
        (
            ((0.9426, 0.9786), (0.9225, 0.9282)),
            ((0.9428, 0.9761), (0.9219, 0.9285)),
            ((0.9436, 0.9729), (0.9202, 0.9288)),
            ((0.9484, 0.9687), (0.9225, 0.9268)),
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
        assert stream.complete
        assert " ".join(stream.info(i).type for i in range(len(stream))) == golden.types
        assert stream.symbol_hash() == golden.hash


@pytest.mark.parametrize("golden", FILES, ids=lambda g: g.file.stem)
def test_golden_pictures(golden: Golden) -> None:
    runtime()
    with tv.open(golden.file) as stream:
        for index, (field, quadrants) in enumerate(zip(stream.frames(), golden.quadrants, strict=True)):
            colour = tv.render(field, stream.cameras_at(index)[3], stream.background).colour
            half = colour.shape[0] // 2
            means = colour.reshape(2, half, 2, half, 3).mean((1, 3, 4))
            np.testing.assert_allclose(means, quadrants, atol=1e-3)


@pytest.mark.parametrize("golden", FILES, ids=lambda g: g.file.stem)
def test_golden_container_by_the_document_alone(golden: Golden) -> None:
    found = independent_reader.read_file(golden.file.read_bytes())
    assert found["version"] == golden.version
    assert " ".join(frame["type"] for frame in found["frames"]) == golden.types
    for number, frame in enumerate(found["frames"]):
        assert len(frame["grids"]) == 3
        moves = frame["type"] == "inter" and golden.version > 1 and number not in golden.still
        assert bool(frame["motion"]) == moves
    with tv.open(golden.file) as stream:
        assert sum(stream.info(i).bytes for i in range(len(stream))) < golden.file.stat().st_size


def test_the_golden_file_of_version_3_has_what_its_version_brought() -> None:
    found = independent_reader.read_file(FILES[2].file.read_bytes())
    # Weight set 3 on key frames, 4 right after them, then 5 and 6.
    models = [[grid[0] for grid in frame["grids"]] for frame in found["frames"]]
    assert models == [[0x30] * 3, [0x40] * 3, [0x50, 0x50, 0x60], [0x30] * 3]
    assert [frame["motion"][:1] for frame in found["frames"]] == [b"", b"\x03", b"\x04", b""]
    assert [(bool(group["mlp"]), group["owner"]) for group in found["groups"]] == [(True, 0), (False, 0)]


def test_the_golden_file_of_version_8_has_what_its_version_brought() -> None:
    found = independent_reader.read_file(FILES[7].file.read_bytes())
    assert [frame["motion"][:1] for frame in found["frames"]] == [b"", b"\x05", b"\x06", b""]
    assert [len(frame["occupancy"]) % 4 for frame in found["frames"]] == [0, 1, 1, 0]
    assert [camera["name"] for camera in found["header"]["cameras"]][:2] == ["cam00", "cam02"]


def test_the_index_of_version_6_tells_what_groups_hold() -> None:
    found = independent_reader.read_file(FILES[5].file.read_bytes())
    assert [(bool(group["mlp"]), group["owner"]) for group in found["groups"]] == [(True, 0), (False, 0)]
    with tv.open(FILES[5].file) as stream:
        assert [(group.mlp, group.colours) for group in stream._reader.groups] == [(True, False), (False, False)]
    found = independent_reader.read_file(FILES[6].file.read_bytes())
    assert found["others"] == [(b"note", b"passed over")]
    for older in FILES[:5]:
        with tv.open(older.file) as stream:
            assert {(group.mlp, group.colours) for group in stream._reader.groups} == {(None, None)}


@pytest.mark.parametrize("golden", FILES[:7], ids=lambda g: g.file.stem)
def test_files_of_an_older_version_are_not_resumed(golden: Golden, tmp_path: Path) -> None:
    with tv.open(golden.file) as stream:
        header = stream.header.record
    old = tmp_path / "old.tvvc"
    old.write_bytes(golden.file.read_bytes())
    with pytest.raises(ConfigError, match=f"format version 8 or later to go on with, found {golden.version}"):
        StreamWriter.resume(old, header)
    assert old.read_bytes() == golden.file.read_bytes()


def test_the_sound_of_version_7() -> None:
    found = independent_reader.read_file(FILES[6].file.read_bytes())["sound"]
    with StreamReader(FILES[6].file) as reader:
        sound = reader.sound()
        assert sound is not None and (found["channels"], found["skip"]) == (sound.channels, sound.skip) == (2, 4152)
        assert tuple(found["packets"]) == sound.packets and found["runs"] == [run.number for run in reader.sounds]
        assert hashlib.sha256(b"".join(sound.packets)).hexdigest().startswith("eb98b60632e4d4fb")
        assert [(frame.number, frame.offset) for frame in reader.frames if frame.offset > reader.sounds[1].offset] == [
            (frame.number, frame.offset) for frame in reader.frames[2:]
        ]
    played = ogg_of(sound)
    assert abs(click_time(played, channel=1) - 0.08) < 0.001


def test_any_order_of_access_gives_the_same_frames(stream: Stream) -> None:
    in_order = [stream.symbols(i) for i in range(5)]
    for index in (2, 1, 3, 0, 4, 1, 2, 2, 3, 0):
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
    good = [stream.symbols(i).symbols for i in range(5)]
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


def test_sums_out_of_range_are_refused() -> None:
    with tv.open(FILES[2].file) as stream:
        data, reference = stream._reader.read_frame(1), stream.symbols(0)
        for sign in (1, -1):
            grids = tuple(np.full_like(grid, sign * (2**24 - 1)) for grid in reference.symbols)
            with pytest.raises(CorruptStream, match="below 2\\^24"):
                decode_symbols(stream.header.layout, data, dataclasses.replace(reference, symbols=grids))
