"""Reader for captures in the ``transforms.json`` convention of nerfstudio and instant-ngp (see docs/capture.md).

``transform_matrix`` is camera to world with OpenGL axes (+x right, +y up, looking along -z); negating its second and
third columns gives the OpenCV axes of :class:`taichi_vvc.types.Camera`.
"""

from __future__ import annotations

import json
import math
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from taichi_vvc.errors import DataError
from taichi_vvc.io.images import image_size
from taichi_vvc.io.index import CaptureIndex, ImageEntry, select_frames
from taichi_vvc.io.naming import camera_splits, name_cameras
from taichi_vvc.types import Bounds, Camera

LENS_MODELS = ("OPENCV", "PINHOLE", "SIMPLE_PINHOLE", "SIMPLE_RADIAL", "RADIAL")
ROTATION_TOLERANCE = 1e-3  # files often carry four to eight decimals


def read_transforms(path: Path, frames: slice | None = None) -> CaptureIndex:
    """Index the capture that the JSON file ``path`` describes; only headers of the selected images are read.

    Raises:
        DataError: the file or an image it names cannot be used; the line says which, what was found and expected.
    """
    document = load_json(path)
    records = document.get("frames")
    if not isinstance(records, list) or not records:
        raise DataError(f'{path}: expected "frames" to list at least one image, found {_kind(records)}')
    for number, record in enumerate(records):
        if not isinstance(record, dict) or not isinstance(record.get("file_path"), str):
            raise DataError(f'{path}: frames[{number}] has no "file_path"; every image needs one')
    times = _times(records, path)
    names = name_cameras(records, times, path)
    splits = camera_splits(document, records, names, path)

    distinct = sorted(set(times))
    by_time: dict[float, dict[str, dict[str, Any]]] = {time: {} for time in distinct}
    for record, time, name in zip(records, times, names, strict=True):
        if name in by_time[time]:
            first = by_time[time][name]["file_path"]
            raise DataError(
                f"{path}: camera {name} has two images at time {time:g} ({first} and {record['file_path']});"
                ' give each image its own "camera" or "time"'
            )
        by_time[time][name] = record
    order = list(dict.fromkeys(names))
    for time in distinct:
        if len(by_time[time]) != len(order):
            missing = [name for name in order if name not in by_time[time]]
            raise DataError(
                f"{path}: expected {len(order)} images at every time, found {len(by_time[time])} at time {time:g}"
                f" (no image of camera {_some(missing)}); add them or remove that time or camera"
            )

    indices, messages = select_frames(len(distinct), frames, path)
    chosen = [distinct[i] for i in indices]
    entries = _entries(document, path, [by_time[time] for time in chosen], order, splits)
    return CaptureIndex(
        source=path,
        indices=indices,
        times=tuple(chosen),
        entries=entries,
        bounds=_bounds(document, path),
        fps=_fps(document, path),
        messages=messages,
    )


def load_json(path: Path) -> dict[str, Any]:
    """The JSON object in ``path``. Raises DataError naming line and column when it is broken."""
    try:
        document = json.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise DataError(f"{path}: cannot read it: {error.strerror or error}") from None
    except UnicodeDecodeError:
        raise DataError(f"{path}: expected JSON in UTF-8, found other bytes") from None
    except (json.JSONDecodeError, RecursionError) as error:
        raise DataError(f"{path}: expected JSON, found an error: {error}") from None
    if not isinstance(document, dict):
        raise DataError(f"{path}: expected a JSON object at the top, found {_kind(document)}")
    return document


def finite_number(value: Any, expected: str) -> float:
    """``value`` as a float. Raises DataError, beginning with ``expected``, if it is no finite number."""
    try:
        if not isinstance(value, bool) and isinstance(value, (int, float)) and math.isfinite(value):
            return float(value)
    except OverflowError:
        pass
    raise DataError(f"{expected}, found {short(value)}")


def parse_pose(matrix: Any, where: str) -> tuple[np.ndarray, np.ndarray]:
    """(rotation (3, 3), position (3,)) with OpenCV axes from a 4x4 or 3x4 OpenGL camera-to-world matrix.

    Raises:
        DataError: wrong shape, not finite, or its 3x3 part is not a rotation. ``where`` begins the message.
    """
    try:
        pose = np.array(matrix, np.float64)
    except (TypeError, ValueError):
        pose = np.zeros(0)
    if pose.shape not in ((4, 4), (3, 4)):
        found = "none" if matrix is None else f"shape {pose.shape}" if pose.size else _kind(matrix)
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
    u, _, vt = np.linalg.svd(rotation)  # the nearest exact rotation: the file's digits are rounded
    return (u @ vt) * np.array([1.0, -1.0, -1.0]), pose[:3, 3].copy()


def parse_intrinsics(record: dict[str, Any], shared: dict[str, Any], size: tuple[int, int], where: str) -> dict:
    """Focal lengths, principal point and distortion as keywords of :class:`Camera`, from an image's own values first
    and the capture's shared ones second.

    Raises:
        DataError: no focal length, a value that is no finite number, or a lens model that is not supported.
    """

    def get(key: str) -> float | None:
        value = record.get(key, shared.get(key))
        if value is None:
            return None
        return finite_number(value, f'{where}: expected a finite number for "{key}"')

    model = record.get("camera_model", shared.get("camera_model", "OPENCV"))
    fisheye = record.get("is_fisheye", shared.get("is_fisheye", False))
    if model not in LENS_MODELS or fisheye:
        found = "is_fisheye" if fisheye else f"camera_model {model!r}"
        raise DataError(f"{where}: expected a lens model of {', '.join(LENS_MODELS)}, found {found}; undistort first")
    for key in ("k3", "k4", "k5", "k6"):
        if get(key):
            raise DataError(f"{where}: {key} = {get(key):g} is not supported (k1 k2 p1 p2 are); undistort first")
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
    lens = {key: get(key) or 0.0 for key in ("k1", "k2", "p1", "p2")}
    return dict(fx=fx, fy=fy, cx=width / 2 if cx is None else cx, cy=height / 2 if cy is None else cy, **lens)


def _entries(
    document: dict[str, Any],
    path: Path,
    chosen: list[dict[str, dict[str, Any]]],
    order: list[str],
    splits: dict[str, str],
) -> tuple[tuple[ImageEntry, ...], ...]:
    """The selected images with their cameras, after checking that the files are there and have the stated size."""
    files = [[_locate(path, pictures[name]["file_path"]) for name in order] for pictures in chosen]
    missing = [file for row in files for file in row if not file.is_file()]
    if missing:
        total = len(chosen) * len(order)
        raise DataError(f"{path}: {len(missing)} of {total} images are missing, the first is {missing[0]}")
    cache: dict[str, tuple[Any, Camera]] = {}  # poses mostly repeat over time: parse a camera again only if it moved
    sizes: dict[str, tuple[int, int]] = {}
    rows = []
    for pictures, row_files in zip(chosen, files, strict=True):
        row = []
        for name, image in zip(order, row_files, strict=True):
            record = pictures[name]
            where = f"{path}: {record['file_path']} (camera {name})"
            size = image_size(image)
            _check_size(record, document, size, sizes.setdefault(name, size), where)
            mask = record.get("mask_path")
            if mask is not None and not isinstance(mask, str):
                raise DataError(f'{where}: expected "mask_path" to be a path, found {_kind(mask)}')
            mask_file = _locate(path, mask) if mask else None
            if mask_file is not None and not mask_file.is_file():
                raise DataError(f"{where}: its mask {mask_file} is missing")
            key = {k: v for k, v in record.items() if k not in ("file_path", "mask_path", "time")}
            if name not in cache or cache[name][0] != key:
                rotation, position = parse_pose(record.get("transform_matrix"), where)
                lens = parse_intrinsics(record, document, size, where)
                cache[name] = key, Camera(name, *size, rotation=rotation, position=position, split=splits[name], **lens)
            row.append(ImageEntry(cache[name][1], image, mask_file))
        rows.append(tuple(row))
    return tuple(rows)


def _check_size(record: dict, shared: dict, size: tuple[int, int], first: tuple[int, int], where: str) -> None:
    stated = (record.get("w", shared.get("w")), record.get("h", shared.get("h")))
    for key, value, found in zip("wh", stated, size, strict=True):
        if value is not None and value != found:
            raise DataError(
                f'{where}: expected {stated[0]}x{stated[1]} pixels as "w" and "h" say, found {size[0]}x{size[1]}'
                f'; scale fl_x fl_y cx cy w h together with the images ("{key}" differs)'
            )
    if size != first:
        raise DataError(
            f"{where}: found {size[0]}x{size[1]} pixels, but {first[0]}x{first[1]} in the camera's first image;"
            " a camera keeps its size over time"
        )


def _locate(path: Path, name: str) -> Path:
    """The file that ``name`` means, relative to the JSON file; Blender leaves out the suffix ``.png``."""
    file = path.parent / name
    if not file.is_file():
        for other in (path.parent / name.replace("\\", "/"), path.parent / f"{name}.png"):
            if other.is_file():
                return other
    return file


def _times(records: list[dict[str, Any]], path: Path) -> list[float]:
    """The time of each image; all 0 when no image has one."""
    stated = ["time" in record for record in records]
    if not any(stated):
        return [0.0] * len(records)
    if not all(stated):
        number = stated.index(False)
        raise DataError(
            f'{path}: expected "time" on every image or on none, found none on {records[number]["file_path"]}'
            f" ({stated.count(False)} of {len(records)} lack it)"
        )
    return [
        finite_number(record["time"], f'{path}: expected a finite number for "time" of {record["file_path"]}')
        for record in records
    ]


def _bounds(document: dict[str, Any], path: Path) -> Bounds | None:
    if document.get("aabb") is None:
        return None
    try:
        box = np.array(document["aabb"], np.float64)
    except (TypeError, ValueError):
        box = np.zeros(0)
    if box.shape != (2, 3) or not np.isfinite(box).all() or not (box[0] < box[1]).all():
        raise DataError(
            f'{path}: expected "aabb" to be [[x, y, z], [x, y, z]], lower then upper corner,'
            f" found {short(document['aabb'])}"
        )
    return Bounds(tuple(box[0].tolist()), tuple(box[1].tolist()))


def _fps(document: dict[str, Any], path: Path) -> Fraction | None:
    stated = document.get("fps")
    if stated is None:
        return None
    try:
        if isinstance(stated, bool):
            raise ValueError
        # Decimal text keeps 29.97 what it is; "30000/1001" is exact anyway.
        fps = Fraction(stated if isinstance(stated, str) else repr(stated)).limit_denominator(100_000)
    except (ValueError, TypeError, ZeroDivisionError, OverflowError):
        fps = Fraction(0)
    if not 0 < fps <= 10_000:
        raise DataError(
            f'{path}: expected "fps" to be a positive number or a ratio like "30000/1001", found {stated!r}'
        )
    return fps


def short(value: Any, limit: int = 60) -> str:
    """``value`` as text of one line that fits into a message."""
    text = repr(value)
    return text if len(text) <= limit else text[: limit - 4] + " ..."


def _some(names: list[str], limit: int = 3) -> str:
    return ", ".join(names[:limit]) + (f" and {len(names) - limit} more" if len(names) > limit else "")


def _kind(value: Any) -> str:
    names = {dict: "an object", list: "an empty list" if value == [] else "a list", str: "text", type(None): "nothing"}
    return names.get(type(value), repr(value))
