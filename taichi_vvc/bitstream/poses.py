"""The coding of cameras that move or zoom: the ``cameras`` payload of a frame, in integers.

Normative text: ``docs/bitstream.md``, section 4.1. A camera is fifteen numbers: rotation (4), position (3), focal
lengths and principal point (4), distortion (4). A payload holds the cameras that change, as differences from a
prediction by the frames before. The numbers of a run have as many bits each as the largest of them needs.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from taichi_vvc.bitstream.bits import WIDTH, BitReader, BitWriter, fits, width_of
from taichi_vvc.bitstream.syntax import LENS_BITS, MAX_CAMERA_NUMBER, POSITION_BIAS, SequenceHeader
from taichi_vvc.errors import ConfigError, CorruptStream

_RUNS = {"pose": (4, 3), "lens": (4, 4)}


@dataclass(frozen=True)
class CameraState:
    """One camera at one frame.

    Attributes:
        pose: rotation quaternion (w, x, y, z) camera to world, not normalised, in units of ``2^-rotation_bits``; then
            the position in units of ``2^(64 - position_bits)`` world units.
        lens: fx, fy, cx, cy in 128ths of a pixel, then k1, k2, p1, p2 in units of 2^-20.
        moved, zoomed: whether pose or lens have changed since the key frame. Where they have not, the header's
            floating-point values hold.
    """

    pose: tuple[int, ...]
    lens: tuple[int, ...]
    moved: bool = False
    zoomed: bool = False


@dataclass(frozen=True)
class CameraTrack:
    """All cameras at a frame (``now``) and at the frame before it (``before``); the same on a key frame."""

    now: tuple[CameraState, ...]
    before: tuple[CameraState, ...]


def units(header: SequenceHeader) -> tuple[float, ...]:
    """The value of one unit of each of the fifteen numbers, powers of two: pose (7), then lens (8)."""
    rotation = math.ldexp(1.0, -header.rotation_bits)
    position = math.ldexp(1.0, POSITION_BIAS - header.position_bits)
    lens = [math.ldexp(1.0, -bits) for bits in LENS_BITS]
    return (*(rotation,) * 4, *(position,) * 3, *lens)


def rounded(values: Sequence[float], own: Sequence[float]) -> tuple[int, ...]:
    """Values as integers in the units ``own``, rounded; the division is exact, since units are powers of two."""
    return tuple(math.floor(value / unit + 0.5) for value, unit in zip(values, own, strict=True))


def header_states(header: SequenceHeader) -> tuple[CameraState, ...]:
    """The header's cameras in integers, from which a key frame's differences start."""
    of_pose, of_lens = units(header)[:7], units(header)[7:]
    states = []
    for camera in header.cameras:
        i = header.intrinsics[camera.intrinsics]
        lens = (i.fx, i.fy, i.cx, i.cy, i.k1, i.k2, i.p1, i.p2)
        states.append(CameraState(rounded((*camera.rotation, *camera.position), of_pose), rounded(lens, of_lens)))
    return tuple(states)


def parse_cameras(payload: bytes, start: CameraTrack, key: bool, rotation_bits: int, place: str) -> CameraTrack:
    """Decodes the cameras of a frame.

    Args:
        payload: the ``cameras`` payload of its chunk; empty where no camera changes.
        start: the cameras of the frame before; for a key frame the header's, as both ``now`` and ``before``.
        key: whether it is a key frame.
        rotation_bits: the header's field of this name.
        place: begins error messages.

    Raises:
        CorruptStream: the payload is damaged, or a number leaves its range.
    """
    if not payload:
        return CameraTrack(start.now, start.now)
    bits = BitReader(payload, place)
    found = []
    for camera, before in zip(start.now, start.before, strict=True):
        if bits.take(1):
            base = _expected(camera.pose, before.pose) if bits.take(1) else camera.pose
            camera = replace(camera, pose=_plus(base, _runs(bits, "pose")), moved=True)
            length = sum(part * part for part in camera.pose[:4])
            if not 1 << 2 * rotation_bits <= 4 * length <= 16 << 2 * rotation_bits:
                raise CorruptStream(
                    f"{place}: expected the rotation of a camera, found one of no length or a large one"
                )
        if bits.take(1):
            camera = replace(camera, lens=_plus(camera.lens, _runs(bits, "lens")), zoomed=True)
            if min(camera.lens[:2]) < 1:
                raise CorruptStream(f"{place}: expected a positive focal length, found another")
        if max(map(abs, (*camera.pose, *camera.lens))) > MAX_CAMERA_NUMBER:
            raise CorruptStream(f"{place}: expected numbers of cameras up to 2^52, found larger ones")
        found.append(camera)
    bits.finish()
    return CameraTrack(tuple(found), tuple(found) if key else start.now)


def pack_cameras(wanted: Sequence[CameraState], start: CameraTrack, names: Sequence[str], tolerance: int = 1) -> bytes:
    """The inverse of :func:`parse_cameras`: the payload that changes ``start`` into the ``wanted`` poses and lenses.

    A camera stays as it is where no number differs by more than ``tolerance`` units: one unit is rounding. A pose is
    predicted by the last pose or by extrapolation of the last two, whichever takes fewer bits.

    Raises:
        ConfigError: a camera moves too far from one frame to the next; the message has its name from ``names``.
    """
    out = BitWriter()
    for camera, now, before, name in zip(wanted, start.now, start.before, names, strict=True):
        pose, guessed = _minus(camera.pose, now.pose), _minus(camera.pose, _expected(now.pose, before.pose))
        lens = _minus(camera.lens, now.lens)
        if max(map(abs, (*camera.pose, *camera.lens))) > MAX_CAMERA_NUMBER:
            raise ConfigError(f"camera {name}: expected a pose and a lens that can be stored, found larger numbers")
        moves = max(map(abs, pose)) > tolerance
        out.put(moves, 1)
        if moves:
            extrapolated = _cost(guessed, "pose") < _cost(pose, "pose")
            out.put(extrapolated, 1)
            _put(out, guessed if extrapolated else pose, "pose", name)
        zooms = max(map(abs, lens)) > tolerance
        out.put(zooms, 1)
        if zooms:
            _put(out, lens, "lens", name)
    return out.payload()


def _expected(now: tuple[int, ...], before: tuple[int, ...]) -> tuple[int, ...]:
    """A pose extrapolated from the last two: it moves on by the same difference."""
    return tuple(2 * a - b for a, b in zip(now, before, strict=True))


def _plus(a: Sequence[int], b: Sequence[int]) -> tuple[int, ...]:
    return tuple(x + y for x, y in zip(a, b, strict=True))


def _minus(a: Sequence[int], b: Sequence[int]) -> tuple[int, ...]:
    return tuple(x - y for x, y in zip(a, b, strict=True))


def _split(values: Sequence[int], kind: str) -> list[Sequence[int]]:
    first, _ = _RUNS[kind]
    return [values[:first], values[first:]]


def _cost(values: Sequence[int], kind: str) -> int:
    return sum(WIDTH + len(run) * width_of(run) for run in _split(values, kind))


def _put(out: BitWriter, values: Sequence[int], kind: str, name: str) -> None:
    for run in _split(values, kind):
        if not fits(run):
            raise ConfigError(
                f"camera {name}: expected a camera that stays near the capture, found one that jumps too far in a frame"
                " to be stored; leave that frame or camera out"
            )
        out.run(run)


def _runs(bits: BitReader, kind: str) -> list[int]:
    return [value for count in _RUNS[kind] for value in bits.run(count)]
