"""ActorsHQ's layout, that of HumanRF: ``calibration.csv``, ``rgbs/<camera>/``, ``masks/<camera>/``, ``../aabbs.csv``.

Source: synthesiaresearch/humanrf, actorshq/dataset/camera_data.py, aabb_data.py and volumetric_dataset.py. A row of
``calibration.csv`` has name, w, h, the rotation vector rx ry rz and the translation tx ty tz, **camera to world** with
OpenCV axes (right, down, forward), and fx fy px py in units of the width (fx, px) and height (fy, py). ``aabbs.csv``
has a box for each frame number. Pictures are ``rgbs/Cam001/Cam001_rgb000000.jpg``, masks
``masks/Cam001/Cam001_mask000000.png``.
"""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path

import numpy as np

from taichi_vvc.capture.readers.footage import folder_clip
from taichi_vvc.capture.readers.index import CaptureIndex
from taichi_vvc.capture.readers.parse import finite_number, short, some
from taichi_vvc.capture.readers.rig import RigCamera, frame_numbers, index_rig, rodrigues
from taichi_vvc.errors import DataError
from taichi_vvc.types import Bounds

NUMBERS = ("w", "h", "rx", "ry", "rz", "tx", "ty", "tz", "fx", "fy", "px", "py")
LENS = ("k1", "k2", "k3", "k4", "k5", "k6")
CORNERS = ("aabb_min_x", "aabb_min_y", "aabb_min_z", "aabb_max_x", "aabb_max_y", "aabb_max_z")


def read_actorshq(file: Path, frames: slice | None = None) -> CaptureIndex:
    """Index the capture whose calibration is ``file``. All cameras are training cameras.

    The bounds enclose the boxes that ``aabbs.csv`` has for the selected frames, if it has a box for each of them.

    Raises:
        DataError: the calibration is damaged, or its cameras do not match the pictures.
    """
    if file.is_dir():
        raise DataError(f"{file}: found calibration.csv in several folders of it; name the folder to use")
    rows = _table(file, ("name", *NUMBERS))
    names = [row["name"] for row in rows]
    for name in names:
        if not name or name.startswith(".") or set(name) & set("/\\") or names.count(name) > 1:
            raise DataError(f"{file}: expected each camera once, with a folder's name, found {short(name)}")
    clips = {name: folder_clip(file.parent / "rgbs" / name) for name in names}
    messages = []
    left = [name for name in names if clips[name] is None]
    if len(left) == len(names):
        raise DataError(f"{file}: expected pictures of its cameras in rgbs/{names[0]}/ and so on, found none")
    if left:
        messages.append(f"calibrated but without pictures: {some(left, 6)}")
    rig = []
    for row in rows:
        clip = clips[row["name"]]
        if clip is None:
            continue
        where = f"{file}: camera {row['name']}"
        n = {key: finite_number(row[key], f'{where}: expected a number for "{key}"') for key in NUMBERS}
        for key in LENS:
            if finite_number(row.get(key) or 0, f'{where}: expected a number for "{key}"') != 0.0:
                raise DataError(
                    f"{where}: expected a lens without distortion, found {key} = {row[key]}; undistort first"
                )
        rig.append(
            RigCamera(
                row["name"],
                rodrigues(np.array([n["rx"], n["ry"], n["rz"]])),
                np.array([n["tx"], n["ty"], n["tz"]]),
                fx=n["fx"] * n["w"],
                fy=n["fy"] * n["h"],
                cx=n["px"] * n["w"],
                cy=n["py"] * n["h"],
                clip=clip,
                masks=folder_clip(file.parent / "masks" / row["name"]),
                size=(round(n["w"]), round(n["h"])),
            )
        )
    index = index_rig(file, "actorshq", rig, frames, messages=messages)
    # The frame numbers in the names of the selected pictures: frames that a camera lacks are not among them.
    numbers = frame_numbers([Path(row[0].image.name).stem for row in index.entries])
    boxes = next((f for f in (file.parent.parent / "aabbs.csv", file.parent / "aabbs.csv") if f.is_file()), None)
    if boxes is None:
        return index
    bounds = _bounds(boxes, numbers)
    note = () if bounds else (f"{boxes.name} has not a box for each of the selected frames: it is not used",)
    return replace(index, bounds=bounds, messages=(*index.messages, *note))


def _bounds(source: Path, numbers: list[int]) -> Bounds | None:
    """The box around the boxes of all these frames; None unless every frame has a box."""
    boxes: dict[int, np.ndarray] = {}
    for row in _table(source, ("frame_number", *CORNERS)):
        number = finite_number(row["frame_number"], f'{source}: expected a number for "frame_number"')
        where = f"{source}: expected a box for frame {number:g}"
        boxes[int(number)] = np.array([finite_number(row[key], where) for key in CORNERS]).reshape(2, 3)
        if not (boxes[int(number)][0] < boxes[int(number)][1]).all():
            raise DataError(f"{where}, lower then upper corner, found {[row[key] for key in CORNERS]}")
    if not numbers or not all(number in boxes for number in numbers):
        return None
    lower = np.min([boxes[number][0] for number in numbers], axis=0).tolist()
    upper = np.max([boxes[number][1] for number in numbers], axis=0).tolist()
    return Bounds((lower[0], lower[1], lower[2]), (upper[0], upper[1], upper[2]))


def _table(file: Path, columns: tuple[str, ...]) -> list[dict[str, str]]:
    """The rows of a CSV file with a header line. Raises DataError if one of the ``columns`` is missing."""
    try:
        with file.open(encoding="utf-8-sig", newline="") as stream:
            lines = [[cell.strip() for cell in row] for row in csv.reader(stream, skipinitialspace=True)]
    except OSError as error:
        raise DataError(f"{file}: cannot read it: {error.strerror or error}") from None
    except UnicodeDecodeError:
        raise DataError(f"{file}: expected a table in UTF-8, found other bytes") from None
    except csv.Error as error:
        raise DataError(f"{file}: expected a table of comma-separated values: {error}") from None
    lines = [line for line in lines if any(line)]
    header = lines[0] if lines else []
    if missing := [column for column in columns if column not in header]:
        raise DataError(f"{file}: expected columns {', '.join(columns)}, found none of the name {some(missing)}")
    for number, line in enumerate(lines[1:], 2):
        if len(line) != len(header):
            raise DataError(f"{file}: expected {len(header)} values in row {number}, found {len(line)}")
    if len(lines) < 2:
        raise DataError(f"{file}: expected a row for each camera or frame, found none")
    return [dict(zip(header, line, strict=True)) for line in lines[1:]]
