"""Checked parsing of the values in ``transforms.json`` and camera paths: numbers, poses, lenses, boxes, frame rates."""

from __future__ import annotations

import json
import math
import re
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from taichi_vvc.capture.frame_rates import frame_rate
from taichi_vvc.errors import DataError
from taichi_vvc.types import Bounds

LENS_MODELS = ("OPENCV", "PINHOLE", "SIMPLE_PINHOLE", "SIMPLE_RADIAL", "RADIAL")
DISTORTION = ("k1", "k2", "p1", "p2")
# Higher orders of distortion, and skew; Metashape has b1 (difference of the focal lengths) and b2 (skew).
UNSUPPORTED = ("k3", "k4", "k5", "k6", "p3", "p4", "b1", "b2", "skew")
ROTATION_TOLERANCE = 1e-3  # files often have only four to eight decimals
CONVENTIONS = ("opengl", "opencv")
LENS_KEYS = (
    *("fl_x", "fl_y", "camera_angle_x", "camera_angle_y", "cx", "cy", "w", "h"),
    *(*DISTORTION, *UNSUPPORTED, "distortion_params", "camera_model", "is_fisheye"),
)
_DECIMAL = re.compile(r"\s*[+-]?(\d{1,40}(\.\d{0,40})?|\.\d{1,40})([eE][+-]?\d{1,4})?\s*", re.ASCII)


def load_json(path: Path) -> dict[str, Any]:
    """The JSON object in ``path``. Raises DataError, with line and column of a syntax error."""
    try:
        document = json.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise DataError(f"{path}: cannot read it: {error.strerror or error}") from None
    except UnicodeDecodeError:
        raise DataError(f"{path}: expected JSON in UTF-8, found other bytes") from None
    except (ValueError, RecursionError, MemoryError) as error:  # int() raises ValueError for thousands of digits
        raise DataError(f"{path}: expected JSON, found an error: {error or type(error).__name__}") from None
    if not isinstance(document, dict):
        raise DataError(f"{path}: expected a JSON object at the top, found {kind(document)}")
    return document


def finite_number(value: Any, expected: str) -> float:
    """``value``, a number or decimal text, as a float.

    Raises:
        DataError: it is no finite number; ``expected`` begins the message.
    """
    found = value
    if isinstance(value, str) and _DECIMAL.fullmatch(value):
        value = float(value)
    try:
        if not isinstance(value, bool) and isinstance(value, (int, float)) and math.isfinite(value):
            return float(value)
    except OverflowError:
        pass
    raise DataError(f"{expected}, found {short(found)}")


def as_numbers(value: Any) -> np.ndarray:
    """``value``, nested lists of numbers, as a float64 array; an empty array if it is anything else."""
    try:
        return np.array(value, np.float64)
    except (TypeError, ValueError, OverflowError, RecursionError, MemoryError):
        return np.zeros(0)


def parse_convention(document: dict[str, Any], path: Path) -> str:
    """The axes of the document's cameras by its key ``camera_convention``: ``"opengl"`` (default) or ``"opencv"``.

    The key belongs to the WAI format (facebookresearch/map-anything, data_processing/README.md), which is otherwise
    that of nerfstudio.

    Raises:
        DataError: it states another convention.
    """
    stated = document.get("camera_convention", "opengl")
    if not isinstance(stated, str) or stated.lower() not in CONVENTIONS:
        raise DataError(f'{path}: expected "camera_convention" to be "opengl" or "opencv", found {short(stated)}')
    return stated.lower()


def parse_pose(matrix: Any, where: str, convention: str = "opengl") -> tuple[np.ndarray, np.ndarray]:
    """(rotation (3, 3), position (3,)) with OpenCV axes from a 4x4 or 3x4 camera-to-world matrix.

    Args:
        convention: the camera axes of the matrix, see :func:`parse_convention`.

    Raises:
        DataError: wrong shape, not finite, or its 3x3 part is not a rotation. ``where`` begins the message.
    """
    pose = as_numbers(matrix)
    if pose.shape not in ((4, 4), (3, 4)):
        found = "none" if matrix is None else f"shape {pose.shape}" if pose.size else kind(matrix)
        raise DataError(f'{where}: expected "transform_matrix" to be 4x4 numbers, found {found}')
    if not np.isfinite(pose).all():
        raise DataError(f'{where}: expected finite numbers in "transform_matrix", found NaN or infinity')
    rotation = pose[:3, :3]
    off = float(np.abs(rotation.T @ rotation - np.eye(3)).max())
    if off > ROTATION_TOLERANCE or np.linalg.det(rotation) < 0.0:
        found = "a mirroring" if off <= ROTATION_TOLERANCE else f"R^T R off the identity by {off:.2g}"
        raise DataError(
            f'{where}: expected a rotation in "transform_matrix", found {found}; remove scale and mirroring'
        )
    u, _, vt = np.linalg.svd(rotation)  # the file's digits are rounded: take the nearest exact rotation
    signs = [1.0, -1.0, -1.0] if convention == "opengl" else [1.0, 1.0, 1.0]
    return (u @ vt) * np.array(signs), pose[:3, 3].copy()


def stated_size(record: dict[str, Any], shared: dict[str, Any], where: str) -> tuple[int | None, int | None]:
    """(width, height), pixels, from ``w`` and ``h``; None where they are not stated.

    Raises:
        DataError: one of them is no positive whole number.
    """
    sides: list[int | None] = []
    for key in "wh":
        value = record.get(key, shared.get(key))
        expected = f'{where}: expected a whole number of pixels for "{key}"'
        number = 0.0 if value is None else finite_number(value, expected)
        if value is not None and (number < 1.0 or number != int(number)):
            raise DataError(f"{expected}, found {short(value)}")
        sides.append(int(number) if value is not None else None)
    return sides[0], sides[1]


def parse_intrinsics(
    record: dict[str, Any], shared: dict[str, Any], size: tuple[int, int], where: str
) -> dict[str, Any]:
    """Focal lengths, principal point and distortion as keywords of :class:`Camera`.

    An image's own values (``record``) take precedence over the capture's shared ones.

    Raises:
        DataError: there is no focal length, a value is no finite number, or the lens model is not supported.
    """

    def get(key: str) -> float | None:
        value = record.get(key, shared.get(key))
        if value is None:
            return None
        return finite_number(value, f'{where}: expected a finite number for "{key}"')

    model = record.get("camera_model", shared.get("camera_model", "OPENCV"))
    fisheye = record.get("is_fisheye", shared.get("is_fisheye", False))
    if model not in LENS_MODELS or fisheye:
        found = "is_fisheye" if fisheye else f"camera_model {short(model)}"
        raise DataError(f"{where}: expected a lens model of {', '.join(LENS_MODELS)}, found {found}; undistort first")
    for key in UNSUPPORTED:
        if get(key):
            raise DataError(f"{where}: {key} = {get(key):g} is not supported (k1 k2 p1 p2 are); undistort first")
    listed = record.get("distortion_params", shared.get("distortion_params"))
    if listed and not any(key in source for key in DISTORTION for source in (record, shared)):
        if not isinstance(listed, list) or any(listed):
            raise DataError(
                f"{where}: distortion_params {short(listed)} is not supported: write k1 k2 p1 p2, each by its name"
            )
    width, height = size
    fx, fy = get("fl_x"), get("fl_y")
    for key, side in (("camera_angle_x", width), ("camera_angle_y", height)):
        angle = get(key)
        if angle is not None and not 0.0 < angle < math.pi:
            raise DataError(f'{where}: expected "{key}" between 0 and pi radians, found {angle:g}')
        focal = None if angle is None else 0.5 * side / math.tan(0.5 * angle)
        if key == "camera_angle_x":
            fx = focal if fx is None and fy is None else fx
        else:
            fy = focal if fy is None else fy
    fx, fy = fx if fx is not None else fy, fy if fy is not None else fx
    if fx is None or fy is None:
        raise DataError(f'{where}: no focal length: looked for "fl_x", "fl_y", "camera_angle_x", "camera_angle_y"')
    if fx <= 0.0 or fy <= 0.0:
        raise DataError(f"{where}: expected positive focal lengths, found fl_x {fx:g}, fl_y {fy:g}")
    cx, cy = get("cx"), get("cy")
    lens = {key: get(key) or 0.0 for key in DISTORTION}
    return dict(fx=fx, fy=fy, cx=width / 2 if cx is None else cx, cy=height / 2 if cy is None else cy, **lens)


def parse_bounds(document: dict[str, Any], path: Path) -> Bounds | None:
    """The document's ``aabb``, world units, or None. Raises DataError if it is no box."""
    if document.get("aabb") is None:
        return None
    box = as_numbers(document["aabb"])
    if box.shape != (2, 3) or not np.isfinite(box).all() or not (box[0] < box[1]).all():
        raise DataError(
            f'{path}: expected "aabb" to be [[x, y, z], [x, y, z]], lower then upper corner,'
            f" found {short(document['aabb'])}"
        )
    return Bounds(tuple(box[0].tolist()), tuple(box[1].tolist()))


def parse_fps(document: dict[str, Any], path: Path) -> Fraction | None:
    """The document's ``fps`` as an exact fraction, or None. Raises DataError if it is no frame rate."""
    stated = document.get("fps")
    if stated is None:
        return None
    fps = frame_rate(stated)
    if fps is None:
        raise DataError(
            f'{path}: expected "fps" to be a positive number or a ratio like "30000/1001", found {short(stated)}'
        )
    return fps


def short(value: Any, limit: int = 60) -> str:
    """``value`` as one line of text of limited length, for messages."""
    try:
        text = repr(value)
    except (ValueError, RecursionError):  # an integer of thousands of digits, or deeply nested lists
        text = f"a value of type {type(value).__name__} that is too long to be shown"
    return text if len(text) <= limit else text[: limit - 4] + " ..."


def is_there(file: Path) -> bool:
    """Whether the file exists; False for names that no file can have (too long, or with a zero byte)."""
    try:
        return file.is_file()
    except (OSError, ValueError):
        return False


def some(names: list[str], limit: int = 3) -> str:
    """The first ``limit`` names as text, and the number of the others; very long names are shortened."""
    shown = [name if len(name) <= 80 else f"{name[:76]} ..." for name in names[:limit]]
    return ", ".join(shown) + (f" and {len(names) - limit} more" if len(names) > limit else "")


def kind(value: Any) -> str:
    """The type of a JSON value, in words."""
    names = {dict: "an object", list: "a list", str: "text", type(None): "nothing"}
    return "an empty list" if value == [] else names.get(type(value)) or short(value)
