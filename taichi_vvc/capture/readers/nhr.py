"""The layout of NHR and ReRF: ``CamPose.inf``, ``Intrinsic.inf`` and pictures per frame, or videos per camera.

A line of ``CamPose.inf`` has 12 numbers: the **third, first and second** column of the rotation, then the position;
camera to world with OpenCV axes. ``Intrinsic.inf`` has the 3x3 matrices, each after a line with its number. Line i
belongs to the pictures with number i; some numbers may be missing.

ReRF's ``bbox.json`` is in a normalised frame: the mean camera centre at the origin, the largest absolute coordinate of
any camera 2. It is brought back to the world of ``CamPose.inf`` here.
"""

from __future__ import annotations

import re
from collections import defaultdict
from pathlib import Path

import numpy as np

from taichi_vvc.capture.readers.footage import Clip, images_in, is_video, natural, video_clip
from taichi_vvc.capture.readers.index import CaptureIndex
from taichi_vvc.capture.readers.parse import as_numbers, load_json, short, some
from taichi_vvc.capture.readers.rig import RigCamera, index_rig, pinhole
from taichi_vvc.errors import DataError
from taichi_vvc.types import Bounds

IMAGE_FOLDERS = ("img", "image", "images")
NORMALISED_REACH = 2.0  # largest absolute coordinate of a camera in the frame of bbox.json


def read_nhr(file: Path, frames: slice | None = None) -> CaptureIndex:
    """Index the capture whose folder has ``CamPose.inf`` (``file``) and ``Intrinsic.inf``. All are training cameras.

    Pictures: ``img/<t>/img_%04d.jpg`` with ``img/<t>/mask/`` (NHR), ``image/<t>/img_%04d.png`` with ``mask/<t>/``
    (ReRF, unpacked), or ``image/%03d.mp4`` with ``mask/%03d.mp4`` (ReRF).

    Raises:
        DataError: a calibration is missing or damaged, or does not match the pictures.
    """
    folder = file.parent
    poses = _poses(file)
    lenses = _lenses(folder / "Intrinsic.inf", len(poses))
    clips, masks = _videos(folder)
    if not clips:
        clips, masks = _pictures(folder)
    if not clips:
        raise DataError(f"{folder}: expected img/<frame>/img_<camera>.jpg or image/<camera>.mp4, found neither of them")
    beyond = [number for number in clips if number >= len(poses)]
    if beyond:
        raise DataError(f"{file}: expected a line for each camera, found {len(poses)} lines and a camera {beyond[0]}")
    rig = []
    for number in sorted(clips):
        z, x, y, position = poses[number].reshape(4, 3)
        k = lenses[number]
        rig.append(
            RigCamera(
                f"{number:03d}",
                np.stack((x, y, z), axis=1),
                position,
                clip=clips[number],
                masks=masks.get(number),
                **pinhole(k, f"{folder / 'Intrinsic.inf'}: camera {number:03d}"),
            )
        )
    left_out = [f"{number:03d}" for number in range(len(poses)) if number not in clips]
    messages = [f"calibrated but without pictures: {some(left_out, 6)}"] if left_out else []
    return index_rig(file, "nhr", rig, frames, bounds=_bounds(folder / "bbox.json", poses[:, 9:]), messages=messages)


def _text(file: Path) -> list[str]:
    try:
        return file.read_text(encoding="utf-8-sig").splitlines()
    except OSError as error:
        raise DataError(f"{file}: expected a calibration, cannot read it: {error.strerror or error}") from None
    except UnicodeDecodeError:
        raise DataError(f"{file}: expected numbers as text, found other bytes") from None


def _numbers(file: Path, lines: list[str]) -> list[list[float]]:
    try:
        return [[float(item) for item in line.split()] for line in lines]
    except ValueError as error:
        raise DataError(f"{file}: expected numbers: {error}") from None


def _poses(file: Path) -> np.ndarray:
    """(N, 12) float64."""
    if file.name != "CamPose.inf" or not file.is_file():
        raise DataError(f"{file}: expected camera poses there, found no such file")
    rows = _numbers(file, [line for line in _text(file) if line.strip()])
    wrong = [number for number, row in enumerate(rows) if len(row) != 12]
    if wrong or not rows:
        found = f"{len(rows[wrong[0]])} in line {wrong[0] + 1}" if wrong else "no line"
        raise DataError(f"{file}: expected 12 numbers in each line, found {found}")
    return np.array(rows)


def _lenses(file: Path, count: int) -> np.ndarray:
    """(N, 3, 3) float64."""
    lines = [line for line in _text(file) if len(line.split()) > 1]  # a single number is that of the camera
    rows = _numbers(file, lines)
    if len(rows) != 3 * count or any(len(row) != 3 for row in rows):
        raise DataError(
            f"{file}: expected {count} matrices of 3 lines of 3 numbers, found {len(rows)} lines of numbers"
        )
    return np.array(rows).reshape(count, 3, 3)


def _videos(folder: Path) -> tuple[dict[int, Clip], dict[int, Clip]]:
    found = []
    for name in ("image", "mask"):
        files = sorted((folder / name).iterdir()) if (folder / name).is_dir() else []
        videos = [file for file in files if is_video(file) and file.stem.isdecimal()]
        found.append({int(file.stem): video_clip(file) for file in videos})
    return found[0], found[1]


def _pictures(folder: Path) -> tuple[dict[int, Clip], dict[int, Clip]]:
    for name in IMAGE_FOLDERS:
        times = [item for item in _folders(folder / name) if item.name.isdecimal()]
        if times:
            times.sort(key=lambda item: natural(item.name))
            inside = [item / "mask" for item in times]
            beside = [folder / "mask" / item.name for item in times]
            clips = _by_camera(times, folder)
            masks = next((m for m in (_by_camera(inside, None), _by_camera(beside, None)) if m), {})
            return clips, masks
    return {}, {}


def _folders(folder: Path) -> list[Path]:
    return [item for item in folder.iterdir() if item.is_dir()] if folder.is_dir() else []


def _by_camera(times: list[Path], strict: Path | None) -> dict[int, Clip]:
    """The clip of camera n: picture number n of every folder.

    Cameras that lack a picture are left out. If ``strict`` is given, the file that error messages name, they are an
    error.
    """
    taken: dict[int, list[Path]] = defaultdict(list)
    for time in times:
        for file in images_in(time):
            if end := re.search(r"(\d+)$", file.stem):
                taken[int(end[1])].append(file)
    for number, files in list(taken.items()):
        if len(files) != len(times):
            if strict is not None:
                raise DataError(
                    f"{strict}: expected {len(times)} pictures of every camera, one per frame folder, found"
                    f" {len(files)} of camera {number}; add them or remove those frames"
                )
            del taken[number]
    return {number: Clip(tuple(files)) for number, files in taken.items()}


def _bounds(file: Path, positions: np.ndarray) -> Bounds | None:
    if not file.is_file():
        return None
    document = load_json(file)
    box = as_numbers([document.get("xyz_min"), document.get("xyz_max")])
    if box.shape != (2, 3) or not np.isfinite(box).all() or not (box[0] < box[1]).all():
        raise DataError(f'{file}: expected "xyz_min" below "xyz_max", 3 numbers each, found {short(document)}')
    centre = positions.mean(axis=0)
    reach = float(np.abs(positions - centre).max())
    lower, upper = (box * (reach / NORMALISED_REACH) + centre).tolist()
    return Bounds((lower[0], lower[1], lower[2]), (upper[0], upper[1], upper[2]))
