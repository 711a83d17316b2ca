"""Checks that a file can hold a capture's cameras, bounds and frame rate.

The checks run when the capture is opened, so that an unusable capture is refused before any fit. The limits are those
of ``docs/bitstream.md``, taken from the syntax tables. A few are narrower here: larger numbers belong to no real
camera, and arithmetic with them overflows.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from fractions import Fraction

import numpy as np

from taichi_vvc.bitstream import syntax
from taichi_vvc.bitstream.elements import Ratio
from taichi_vvc.coding.headers import camera_record, intrinsics_of, pose_bits, quaternion_of
from taichi_vvc.errors import ConfigError, DataError
from taichi_vvc.types import Bounds, Camera

FARTHEST = 1e12  # world units: a coordinate of bounds and cameras
SHORTEST_SIDE = syntax.MAX_NODES * 1e-12  # world units: the longest side of bounds, in cells of at least 1e-12
FOCAL = (1e-6, 1e9)  # pixels
FARTHEST_CENTRE = 1e9  # pixels: a coordinate of a principal point
STRONGEST = 1e6  # a coefficient of distortion
NAME_BYTES = 255
# In units of the file: half of the largest number of a run, which leaves room for the rounding of the header's cameras.
FARTHEST_MOVE = 1 << 29


def check_cameras(cameras: Iterable[Camera], where: str) -> None:
    """Checks that a file can hold these cameras.

    Raises:
        DataError: it cannot; the line names the camera, and ``where`` begins it.
    """
    names = set()
    for camera in cameras:
        names.add(camera.name)
        problem = _problem(camera)
        if problem:
            raise DataError(f"{where}: camera {_shown(camera.name)}: {problem}")
    if len(names) > syntax.MAX_CAMERAS:
        raise DataError(f"{where}: expected at most {syntax.MAX_CAMERAS} cameras, found {len(names)}")


def _problem(camera: Camera) -> str:
    size = len(camera.name.encode("utf-8", "surrogatepass"))
    if size > NAME_BYTES:
        return f"expected a name of at most {NAME_BYTES} bytes, found {size}"
    if not all(FOCAL[0] <= focal <= FOCAL[1] for focal in (camera.fx, camera.fy)):
        return f"expected focal lengths of {FOCAL[0]:g} to {FOCAL[1]:g} pixels, found {camera.fx:g} and {camera.fy:g}"
    centre, lens = (camera.cx, camera.cy), (camera.k1, camera.k2, camera.p1, camera.p2)
    for values, limit, what in (
        (camera.position, FARTHEST, "a position of coordinates"),
        (centre, FARTHEST_CENTRE, "a principal point of coordinates"),
        (lens, STRONGEST, "coefficients of distortion"),
    ):
        worst = max(map(abs, values))
        if not worst <= limit:
            return f"expected {what} up to {limit:g}, found {worst:g}"
    try:
        syntax.INTRINSICS.pack(intrinsics_of(camera))
        syntax.CAMERA.pack(camera_record(camera, 0))
    except ConfigError as error:
        return str(error)
    return ""


def check_moves(frames: Iterable[Sequence[Camera]], bounds: Bounds, where: str) -> None:
    """Checks that a file can hold how cameras move and zoom, since the first frame and from frame to frame.

    Args:
        frames: the cameras of each frame, which :func:`check_cameras` has accepted.
        bounds: the bounds of the file, on which the unit of positions depends.
        where: begins the error line.

    Raises:
        DataError: it cannot; the line names the camera.
    """
    units: np.ndarray | None = None
    first: list[np.ndarray] = []
    before: list[tuple[Camera, np.ndarray]] = []
    for number, cameras in enumerate(frames):
        if units is None:
            rotation_bits, position_bits = pose_bits(cameras, bounds)
            bits = (*(rotation_bits,) * 4, *(position_bits - syntax.POSITION_BIAS,) * 3, *syntax.LENS_BITS)
            units = np.array([math.ldexp(1.0, -count) for count in bits])
            before = [(camera, _numbers(camera) / units) for camera in cameras]
            first = [numbers for _, numbers in before]
            continue
        for place, camera in enumerate(cameras):
            last, there = before[place]
            if camera.same_as(last):
                continue
            here = _numbers(camera) / units
            # q and -q are the same rotation: the one nearer to the last quaternion is stored.
            signs = [
                np.where(np.arange(15) < 4, np.sign(here[:4] @ other[:4]) or 1.0, 1.0)
                for other in (first[place], there)
            ]
            far = max(
                np.abs(sign * here - other).max() for sign, other in zip(signs, (first[place], there), strict=True)
            )
            if far > FARTHEST_MOVE or np.abs(here).max() > syntax.MAX_CAMERA_NUMBER or here[7:9].min() < 1.0:
                raise DataError(
                    f"{where}: camera {_shown(camera.name)}: expected a camera that stays near the capture, found one"
                    f" that jumps too far (or zooms too much) at frame {number} of those selected to be stored; leave"
                    " that frame or camera out"
                )
            before[place] = camera, here


def _numbers(camera: Camera) -> np.ndarray:
    """(15,) rotation, position, focal lengths, principal point and distortion, in the order of the bitstream."""
    lens = (camera.fx, camera.fy, camera.cx, camera.cy, camera.k1, camera.k2, camera.p1, camera.p2)
    return np.array([*quaternion_of(camera.rotation), *camera.position, *lens], np.float64)


def bounds_problem(bounds: Bounds) -> str:
    """The reason why a file cannot hold these bounds, or ""."""
    corners = np.array([bounds.lower, bounds.upper], np.float64)
    if not np.isfinite(corners).all() or not (corners[0] < corners[1]).all():
        return f"expected bounds with lower < upper in x, y and z, found {bounds.lower} and {bounds.upper}"
    if np.abs(corners).max() > FARTHEST:
        return f"expected bounds of coordinates up to {FARTHEST:g}, found {np.abs(corners).max():g}; scale the world"
    if bounds.largest_side < SHORTEST_SIDE:
        return (
            f"expected bounds whose longest side is at least {SHORTEST_SIDE:g}, found {bounds.largest_side:g}; scale"
            " the world"
        )
    return ""


def check_rate(fps: Fraction, where: str) -> None:
    """Checks that a file can hold this frame rate. Raises DataError if not; ``where`` begins the line."""
    try:
        Ratio().write(bytearray(), fps, "frames per second")
    except ConfigError as error:
        raise DataError(f"{where}: {error}") from None


def _shown(name: str) -> str:
    return name if len(name) <= 60 else f"{name[:56]} ..."
