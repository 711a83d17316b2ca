"""Reads the cameras' names and the masks of images in a ``transforms.json``, and checks images without times."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from taichi_vvc.capture.readers.parse import as_numbers, kind, short
from taichi_vvc.errors import DataError

# Our own key, then those of exporters of head captures (ShenhanQian/VHAP, vhap/export_as_nerf_dataset.py).
CAMERA_KEYS = ("camera", "camera_id", "camera_index")
TIME_KEYS = ("time", "timestep_index")
MASK_KEYS = ("mask_path", "fg_mask_path")


def name_cameras(records: list[dict[str, Any]], times: list[float], path: Path) -> list[str]:
    """The camera name of every image: ``camera``, else ``camera_id`` or ``camera_index``, else from the file paths.

    Several parts of the path are tried, and the first one counts that names one image per camera and time: the folder
    (``cam00/0003.png``), the file (``frame3/cam00.png``), the file without its last number (``cam00_0003.png``), the
    file without its first number (``0003_cam00.png``), the whole path.

    Raises:
        DataError: some images name their camera and others do not, or paths do not tell cameras apart.
    """
    for key in CAMERA_KEYS:
        stated = [record.get(key) is not None for record in records]
        if all(stated):
            return [camera_name(record, key, path) for record in records]
        if any(stated):
            file = records[stated.index(False)]["file_path"]
            raise DataError(f'{path}: expected "{key}" on every image or on none, found none on {file}')

    files = [_without_suffix(PurePosixPath(record["file_path"].replace("\\", "/"))) for record in records]
    largest = max(Counter(times).values())
    rules: list[Callable[[PurePosixPath], str]] = [
        lambda file: file.parent.name,
        lambda file: file.name,
        lambda file: re.sub(r"[_\-.]*\d+$", "", file.name),
        lambda file: re.sub(r"^\d+[_\-.]*", "", file.name),
        lambda file: file.as_posix(),
    ]
    for rule in rules:
        names = [rule(file) for file in files]
        unique = len(set(zip(names, times, strict=True))) == len(names)
        if unique and len(set(names)) == largest and all(names):
            return names
    raise DataError(f'{path}: cannot tell from the file paths which camera took an image; add "camera" to each image')


def camera_name(record: dict[str, Any], key: str, path: Path) -> str:
    """The camera's name under ``key`` of an image. Raises DataError if it is neither text nor a number."""
    value = record[key]
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        raise DataError(f'{path}: expected "{key}" of {record["file_path"]} to be a name, found {kind(value)}')
    return str(value)


def mask_name(record: dict[str, Any], where: str) -> str | None:
    """The stated path of an image's mask, or None. Raises DataError if it is no text."""
    for key in MASK_KEYS:
        mask = record.get(key)
        if mask is not None and not isinstance(mask, str):
            raise DataError(f'{where}: expected "{key}" to be a path, found {kind(mask)}')
        if mask:
            return mask
    return None


def check_moments(records: list[dict[str, Any]], path: Path) -> None:
    """Checks that images without times can be of one moment: no two of them may have the same pose.

    Images that all state their ``camera`` are not checked: cameras may then share a pose on purpose.

    Raises:
        DataError: two images have the same pose and so must be of different moments; the line says what to add.
    """
    if any(key in record for record in records for key in TIME_KEYS):
        return
    if all(record.get("camera") is not None for record in records):
        return
    first: dict[Any, str] = {}
    repeated = []
    for record in records:
        file = first.setdefault(_pose(record), record["file_path"])
        if file != record["file_path"]:
            repeated.append((file, record["file_path"]))
    if repeated:
        raise DataError(
            f"{path}: {len(repeated)} of {len(records)} images have the pose of another ({' and '.join(repeated[0])})"
            ' but no image has a "time"; add "time" to every image, the same for images of one moment'
            ' (or "camera", if these are different cameras)'
        )


def _pose(record: dict[str, Any]) -> Any:
    stated = record.get("transform_matrix")
    pose = as_numbers(stated)
    return np.round(pose, 9).tobytes() if pose.size else short(stated, 10_000)


def _without_suffix(file: PurePosixPath) -> PurePosixPath:
    """The path without its suffix. Digits after a dot are a frame number and no suffix.

    Blender writes ``cam00.0003`` for the file ``cam00.0003.png``.
    """
    # with_suffix() raises for "." and "/", which have no name.
    return file if not file.name or file.suffix[1:].isdecimal() else file.with_suffix("")
