"""What a capture may hold so that a file can hold it: asked when the capture is opened, not when the file is written.

The limits are those of ``docs/bitstream.md``, by way of its syntax tables. A few are narrower here: numbers beyond them
belong to no camera and no scene, and arithmetic with them ends in infinities.
"""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction

import numpy as np

from taichi_vvc.bitstream import syntax
from taichi_vvc.bitstream.elements import Ratio
from taichi_vvc.errors import ConfigError, DataError
from taichi_vvc.headers import camera_record, intrinsics_of
from taichi_vvc.types import Bounds, Camera

FARTHEST = 1e12  # world units: a coordinate of bounds and cameras
SHORTEST_SIDE = syntax.MAX_NODES * 1e-12  # world units: the longest side of bounds, in cells of at least 1e-12
FOCAL = (1e-6, 1e9)  # pixels
FARTHEST_CENTRE = 1e9  # pixels: a coordinate of a principal point
STRONGEST = 1e6  # a coefficient of distortion
NAME_BYTES = 255


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


def bounds_problem(bounds: Bounds) -> str:
    """Why a file cannot hold these bounds, in words; nothing if it can."""
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
