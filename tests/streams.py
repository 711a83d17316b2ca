"""Small .tvvc files and symbol grids for tests."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np

from taichi_vvc.bitstream import (
    CameraRecord,
    FrameData,
    GroupHeader,
    Intrinsics,
    Layout,
    Level,
    SequenceHeader,
    StreamWriter,
    settings_text,
    versions,
)
from taichi_vvc.bitstream.colours import NO_MAP, pack_colours
from taichi_vvc.bitstream.sound import SoundData


def header(**settings: object) -> SequenceHeader:
    """A header with two cameras that share intrinsics; all floats are exact in 32 bits."""
    return SequenceHeader(
        layout=Layout(
            lower=(-1.0, -1.5, 0.0),
            cell=0.25,
            cells=(8, 12, 16),
            coefficients=(4, 6, 8),
            levels=(Level((4, 4, 4), 2, 256), Level((6, 6, 6), 2, 640)),
            projection_hidden=16,
            appearance=7,
            colour_hidden=16,
            view_frequencies=2,
            steps_per_side=64,
            motion_block=3,
        ),
        background=(255, 128, 0),
        fps=Fraction(30000, 1001),
        first_frame=5,
        downscale=2,
        intrinsics=(Intrinsics(64, 48, 60.0, 60.5, 32.0, 24.0, 0.125, 0.0, 0.0, -0.25),),
        cameras=(
            CameraRecord("front", "train", 0, (1.0, 0.0, 0.0, 0.0), (0.0, 0.0, -3.0)),
            CameraRecord("bäck", "test", 0, (0.0, 0.0, 1.0, 0.0), (0.0, 0.0, 3.0)),
        ),
        settings=settings_text({"preset": "fast", **settings}),
        library="test 1",
    )


def newest_header() -> SequenceHeader:
    """The same with what version 5 brought."""
    old = header()
    return replace(old, layout=replace(old.layout, shell=(1, 2, 3), near=0.5))


def newest_group(number: int, first_frame: int) -> GroupHeader:
    """As :func:`group`, the first one with a colour map for the first camera."""
    colours = pack_colours([((16, -8, 4), (0, 2, 0)), NO_MAP], True)
    return replace(group(number, first_frame), colours=b"" if number else colours)


def run(number: int, count: int = 2) -> SoundData:
    """Packets from a number on, each with bytes of its own behind the first, which makes it one of 20 ms in mono."""
    return SoundData(number, 1, 700, tuple(bytes([0xF8, number + k, 7]) for k in range(count)))


def group(number: int, first_frame: int) -> GroupHeader:
    """Three grid steps (coefficients and two levels), two MLP steps."""
    return GroupHeader(number, first_frame, (0.25, 0.5, 0.125), (0.0625, 0.03125), bytes(range(8)))


def sharing_group(number: int, first_frame: int) -> GroupHeader:
    """As :func:`group`, with the MLPs of the group before."""
    return GroupHeader(number, first_frame, (0.25, 0.5, 0.125), (), b"")


def frame(number: int, group: int, key: bool) -> FrameData:
    """A frame whose payloads are recognisable bytes, not entropy-coded ones."""
    parts = tuple(bytes([(16 * number + k) % 256] * (3 + k)) for k in range(3))
    return FrameData(number, group, "key" if key else "inter", b"occ", parts, b"" if key else b"mo")


def write(
    path: Path,
    frames: int = 5,
    per_group: int = 2,
    finish: bool = True,
    sharing: Collection[int] = (),
    newest: bool = False,
    sound: bool = False,
    version: int | None = None,
) -> bytes:
    """Writes a small file and returns its bytes.

    ``sharing``: groups with the MLPs of the group before; ``newest``: with all that is new in version 6;
    ``sound``: of version 7, a run of two packets before each group; ``version``: of the format, else the newest.
    """
    version = versions.FIRST_WITH_SOUND if sound and version is None else version
    with StreamWriter.create(path, newest_header() if newest else header(), version=version) as writer:
        for number in range(frames):
            if number % per_group == 0:
                if sound:
                    writer.add_sound(run(2 * (number // per_group)))
                make = newest_group if newest else group
                make = sharing_group if number // per_group in sharing else make
                writer.add_group(make(number // per_group, number))
            writer.add_frame(frame(number, number // per_group, number % per_group == 0))
        if finish:
            writer.finish()
    return path.read_bytes()


def blob(shape: tuple[int, int, int], shift: float = 0.0) -> np.ndarray:
    """(nz, ny, nx) bool: an upright ellipsoid with an arm, moved by ``shift`` of the half-width along x."""
    z, y, x = np.meshgrid(*((np.arange(n) + 0.5) / n * 2 - 1 for n in shape), indexing="ij")
    body = ((x - shift) / 0.4) ** 2 + (y / 0.3) ** 2 + (z / 0.8) ** 2 < 1
    arm = ((x - shift - 0.4) / 0.4) ** 2 + (y / 0.15) ** 2 + ((z - 0.3 - shift) / 0.15) ** 2 < 1
    return body | arm


def residual(
    shape: tuple[int, int, int, int], seed: int, strength: float = 1.0, previous: bool = True
) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    """(symbols, live, previous): zero-heavy, clustered, smooth in sign, correlated between channels and frames."""
    rng = np.random.default_rng(seed)
    activity = np.exp(1.2 * _smooth(rng, (*shape[:3], 1)) + 0.5 * _smooth(rng, shape)) * strength * 0.3
    sign = _smooth(rng, shape)
    live = blob(shape[:3]) if min(shape[:3]) > 3 else np.ones(shape[:3], bool)
    now = np.rint(activity * (0.7 * sign + rng.laplace(size=shape)) * 0.8).astype(np.int32) * live[..., None]
    before = np.rint(activity * rng.laplace(size=shape)).astype(np.int32) * live[..., None] if previous else None
    return now, live, before


def _smooth(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    noise = rng.standard_normal(shape)
    for axis in range(3):
        for _ in range(2):
            noise = noise + np.roll(noise, 1, axis) + np.roll(noise, -1, axis)
    return noise / noise.std()
