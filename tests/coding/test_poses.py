"""The coding of moving cameras: arbitrary paths, agreement with the document's reader, and refused values."""

from __future__ import annotations

import math
from dataclasses import replace
from fractions import Fraction

import independent_reader
import numpy as np
import plain_cameras
import pytest
import streams
from captures import BOUNDS, look_at, ring_cameras
from hypothesis import given, settings
from hypothesis import strategies as st
from moving import cameras_at, farthest_apart
from tiny import ONE_LEVEL

import taichi_vvc as tv
from taichi_vvc.bitstream import StreamReader, StreamWriter, syntax, versions
from taichi_vvc.bitstream.poses import CameraTrack, header_states, parse_cameras
from taichi_vvc.bitstream.syntax import SequenceHeader
from taichi_vvc.coding.headers import cameras_of_header, header_of
from taichi_vvc.coding.moving_cameras import CameraCoder, CameraReader, cameras_of_states
from taichi_vvc.config import layout_of
from taichi_vvc.errors import ConfigError, CorruptStream
from taichi_vvc.types import Bounds, Camera

CONFIG = tv.EncoderConfig(**{**ONE_LEVEL, "background": (0, 0, 0)})


def header_for(cameras: list[Camera], bounds: Bounds = BOUNDS) -> SequenceHeader:
    header = header_of(layout_of(CONFIG, bounds, cameras), tuple(cameras), CONFIG, Fraction(25), 0, 1)
    return versions.parse_header(versions.pack_header(header))


def coded(header: SequenceHeader, rows: list[list[Camera]], keys: set[int]) -> tuple[list[bytes], list[CameraTrack]]:
    """What frames say of their cameras, and what becomes of it."""
    coder, states = CameraCoder(header), header_states(header)
    key = track = CameraTrack(states, states)
    payloads, tracks = [], []
    for number, row in enumerate(rows):
        payloads.append(coder.code(row, number in keys))
        track = parse_cameras(
            payloads[-1], key if number in keys else track, number in keys, header.rotation_bits, "test"
        )
        tracks.append(track)
    return payloads, tracks


@settings(max_examples=60, deadline=None)
@given(
    st.integers(0, 2**32 - 1),
    st.sampled_from([1e-3, 0.05, 1.0]),
    st.integers(16, 4000),
    st.integers(-4, 4),
    st.sampled_from([0.0, 1e3]),
)
def test_any_path_is_kept_within_a_part_of_a_pixel(
    seed: int, stride: float, size: int, power: int, offset: float
) -> None:
    rng, scale = np.random.default_rng(seed), 10.0**power
    shift = offset * scale * np.array([1.0, -0.7, 0.3])
    lower, upper = (tuple((scale * np.array(c) + shift).tolist()) for c in (BOUNDS.lower, BOUNDS.upper))
    first = ring_cameras(3, size, 0)[seed % 3]
    path, position = [], first.position
    for _ in range(6):
        roll = float(rng.normal()) * stride
        c, s = math.cos(roll), math.sin(roll)
        rotation = look_at(position, 0.1 * rng.normal(size=3)) @ np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]])
        path.append(replace(first, rotation=rotation, position=scale * position + shift))
        step = position + rng.normal(size=3) * stride
        position = step / np.linalg.norm(step) * np.linalg.norm(first.position)
    header = header_for(path[:1], Bounds(lower, upper))
    _, tracks = coded(header, [[camera] for camera in path], {0, 4})
    for camera, track in zip(path, tracks, strict=True):
        (stored,) = cameras_of_states(cameras_of_header(header), header, track.now)
        apart = [replace(c, position=(c.position - shift) / scale) for c in (stored, camera)]
        assert farthest_apart(*apart) < 0.06


def test_still_cameras_far_from_the_origin_are_put_right() -> None:
    """32-bit floats of the header are a sixteenth of a metre apart there, or several pixels."""
    shift = np.array([500_000.0, 4_649_776.0, 100.0])
    cameras = [replace(camera, position=camera.position + shift) for camera in ring_cameras(4, 500)]
    corners = [tuple((np.array(c) + shift).tolist()) for c in (BOUNDS.lower, BOUNDS.upper)]
    header = header_for(cameras, Bounds(*corners))
    payloads, tracks = coded(header, [cameras] * 3, {0})
    assert payloads[0] and payloads[1:] == [b"", b""]
    still = cameras_of_header(header)
    assert max(np.abs(a.position - b.position).max() for a, b in zip(still, cameras, strict=True)) > 0.05
    for stored, camera in zip(cameras_of_states(still, header, tracks[2].now), cameras, strict=True):
        assert np.abs(stored.position - camera.position).max() < 1e-4


@pytest.mark.parametrize("size", [48, 640])
def test_the_document_reads_the_same_numbers(size: int) -> None:
    rows = [cameras_at(frame, size) for frame in range(9)]
    header = header_for(rows[0])
    payloads, tracks = coded(header, rows, {0, 5})
    found = {
        "version": 4,
        "header": independent_reader.read_header(versions.pack_header(header, 4), 4),
        "frames": [{"type": "key" if i in (0, 5) else "inter", "cameras": data} for i, data in enumerate(payloads)],
    }
    for states, track in zip(plain_cameras.camera_numbers(found), tracks, strict=True):
        for state, ours in zip(states, track.now, strict=True):
            assert state == {"numbers": [*ours.pose, *ours.lens], "pose": ours.moved, "lens": ours.zoomed}
    # Four of the six change.
    assert max(map(len, payloads)) < 4 * 16


def test_smooth_movement_is_expected() -> None:
    smooth = [[replace(c, position=c.position + frame * 0.01) for c in ring_cameras(30, 640)] for frame in range(8)]
    payloads, _ = coded(header_for(smooth[0]), smooth, {0})
    sizes = [len(payload) for payload in payloads]
    # The first step is news, later ones are not; rotations stay.
    assert sizes[0] == 0 and max(sizes[2:]) < 4 * 30 < 5 * 30 < sizes[1]


def one(header: SequenceHeader) -> CameraTrack:
    states = header_states(header)[:1]
    return CameraTrack(states, states)


def bits(*numbers: tuple[int, int]) -> bytes:
    """(value, width) one behind the other."""
    text = "".join(f"{value & (1 << width) - 1:0{width}b}"[::-1] for value, width in numbers if width)
    text += "0" * (-len(text) % 8)
    return bytes(int(text[k : k + 8][::-1], 2) for k in range(0, len(text), 8))


def run_of(values: list[int], width: int) -> list[tuple[int, int]]:
    return [(width, 5), *((value, width) for value in values)]


STAYS, MOVES, EXPECTED = (0, 1), (1, 1), (0, 1)


def test_bits_are_read_as_documented() -> None:
    header = streams.header()
    track = one(header)
    payload = bits(MOVES, EXPECTED, *run_of([1, -2, 0, 1], 2), *run_of([0, 0, 0], 0), STAYS)
    found = parse_cameras(payload, track, False, header.rotation_bits, "test").now[0]
    assert [a - b for a, b in zip(found.pose, track.now[0].pose, strict=True)] == [1, -2, 0, 1, 0, 0, 0]
    assert found.moved and not found.zoomed and found.lens == track.now[0].lens


@pytest.mark.parametrize(
    ("payload", "message"),
    [
        (bits(MOVES, EXPECTED, *run_of([1, 0, 0], 2)), "found the end"),
        (bits(MOVES, EXPECTED, *run_of([1, 0, 0, 0], 2), *run_of([0] * 3, 0), STAYS) + b"\0", "expected the end"),
        (bits(STAYS, STAYS, (1, 1)), "expected the end"),
        (b"\0\0", "expected the end"),
        (bits(MOVES, EXPECTED, *run_of([-(1 << 17), 0, 0, 0], 18), *run_of([0] * 3, 0), STAYS), "rotation"),
        (bits(MOVES, EXPECTED, *run_of([1 << 20, 0, 0, 0], 22), *run_of([0] * 3, 0), STAYS), "rotation"),
        (bits(STAYS, (1, 1), *run_of([-60 * 128, 0, 0, 0], 14), *run_of([0] * 4, 0)), "positive focal"),
    ],
)
def test_damaged_cameras_are_refused(payload: bytes, message: str) -> None:
    header = streams.header()
    with pytest.raises(CorruptStream, match=message):
        parse_cameras(payload, one(header), False, header.rotation_bits, "test")
    with pytest.raises(independent_reader.Damaged):
        states = [{"numbers": [*s.pose, *s.lens], "pose": False, "lens": False} for s in one(header).now]
        plain_cameras.one_frame(payload, states, states, header.rotation_bits)


@pytest.mark.parametrize("sign", [1, -1])
def test_numbers_that_run_away_are_refused(sign: int) -> None:
    """Extrapolation doubles, so that a few frames would reach any number."""
    header, track = streams.header(), one(streams.header())
    payload = bits(MOVES, (1, 1), *run_of([0] * 4, 0), *run_of([sign * (1 << 29), 0, 0], 31), STAYS)
    with pytest.raises(CorruptStream, match=r"up to 2\^52"):
        for _ in range(1 << 13):
            track = parse_cameras(payload, track, False, header.rotation_bits, "test")
    assert max(map(abs, track.now[0].pose)) <= syntax.MAX_CAMERA_NUMBER


def test_a_camera_that_jumps_out_of_sight_is_told() -> None:
    camera = ring_cameras(1, 64, 0)[0]
    far = replace(camera, position=camera.position + [1e7, 0, 0])
    with pytest.raises(ConfigError, match=r"camera cam00: .*jumps too far"):
        coded(header_for([camera]), [[camera], [far]], {0})


@pytest.mark.parametrize(
    "change",
    [
        {"position_bits": 129},
        {"rotation_bits": 31},
        {"rotation_bits": 0},
        {"position_bits": 64 + 51},
        {"intrinsics": (replace(streams.header().intrinsics[0], cx=1e14),)},
        {"intrinsics": (replace(streams.header().intrinsics[0], k1=-1e10),)},
    ],
)
def test_headers_whose_cameras_have_no_numbers_are_refused(change: dict) -> None:
    with pytest.raises(ConfigError):
        versions.pack_header(replace(streams.header(), **change))


def test_damage_is_told_where_it_is_and_ends_with_its_group(tmp_path) -> None:
    path = tmp_path / "a.tvvc"
    with StreamWriter.create(path, streams.header()) as writer:
        for number in range(6):
            if number % 3 == 0:
                writer.add_group(streams.group(number // 3, number))
            frame = streams.frame(number, number // 3, number % 3 == 0)
            writer.add_frame(replace(frame, cameras=b"\xff" if number == 1 else b""))
        writer.finish()
    with StreamReader(path) as reader:
        cameras = CameraReader(reader)
        assert cameras.cameras(0) is cameras.still
        for index in (1, 2):
            with pytest.raises(CorruptStream, match="frame 1: expected more about its cameras"):
                cameras.cameras(index)
        assert cameras.cameras(4) is cameras.still
