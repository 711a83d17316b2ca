"""Calibrations in TOML as written by aniposelib, Pose2Sim and FreeMoCap, with a video or a folder per camera.

Sources: lambdaloop/aniposelib, aniposelib/cameras.py (``Camera.get_dict``, ``CameraGroup.dump``): a table per camera
with ``name``, ``size`` (width, height), ``matrix``, ``distortions`` (OpenCV's k1 k2 p1 p2 k3), ``rotation`` (a rotation
vector) and ``translation``, world to camera with OpenCV axes; ``fisheye = true`` for such lenses; a table ``metadata``.
perfanalytics/pose2sim, Pose2Sim/calibration.py (``toml_write``) and common.py (``computeP``): the same with four
distortions, ``fisheye = false`` and metres. Both project with OpenCV, whose pixel coordinates are 0 in the centre of
the first pixel (a centred principal point of 1088 pixels is 543.5 in their files): here it is 0.5.
"""

from __future__ import annotations

import os.path
import re
from pathlib import Path
from typing import Any

import numpy as np

from taichi_vvc.capture.readers.footage import Clip, find_clips
from taichi_vvc.capture.readers.index import CaptureIndex
from taichi_vvc.capture.readers.parse import as_numbers, short, some
from taichi_vvc.capture.readers.rig import RigCamera, from_world_to_camera, index_rig, pinhole, rodrigues
from taichi_vvc.capture.readers.scenes import scene_clips, scene_masks
from taichi_vvc.capture.readers.toml import Table, read_toml
from taichi_vvc.errors import DataError

FOLDERS = ("videos-raw", "videos", "synchronized_videos")  # anipose, Pose2Sim, FreeMoCap
NEEDED = ("matrix", "rotation", "translation")
PIXEL_CENTRE = 0.5


def read_anipose(file: Path, frames: slice | None = None) -> CaptureIndex:
    """Index the capture that the TOML calibration ``file`` belongs to. All cameras are training cameras.

    Pictures lie beside the file, or beside its folder if that is called calibration. There is one video or folder per
    camera, matched by name, see :func:`match_names`.

    Raises:
        DataError: the calibration is damaged or of fisheye lenses, or its cameras do not match the pictures.
    """
    if file.is_dir():
        raise DataError(f"{file}: found several calibrations in TOML; name the one to use")
    tables = [table for table in read_toml(file) if "matrix" in table.entries or "rotation" in table.entries]
    if not tables:
        raise DataError(f"{file}: expected tables of cameras with {', '.join(NEEDED)}, found none")
    messages = []
    lacking = [(table, key) for table in tables for key in NEEDED if key not in table.entries]
    if lacking:
        told = list({table.name: f"{table.name} (no {key})" for table, key in reversed(lacking)}.values())
        tables = [table for table in tables if all(key in table.entries for key in NEEDED)]
        if not tables:
            raise DataError(f"{file}: expected calibrated cameras, but every one lacks a key: {some(told[::-1])}")
        messages.append(f"left out, as their calibration lacks a key: {some(told[::-1], 6)}")
    scene, clips, matched, how = _pictures(file, _labels(tables))
    if how:
        messages.append(f"matched by what tells names apart: {some([f'{a} to {b}' for a, b in matched.items()])}")
    if left := [name for name in _labels(tables) if name not in matched]:
        messages.append(f"calibrated but without pictures: {some(left, 6)}")
    if extra := [name for name in clips if name not in matched.values()]:
        messages.append(f"not calibrated and left out: {some(extra, 6)}")
    masks = scene_masks(scene)
    rig = []
    for name, table in zip(_labels(tables), tables, strict=True):
        if name in matched:
            drawn = masks.get(matched[name], masks.get(name))
            rig.append(_camera(name, table, clips[matched[name]], drawn, f"{file}: camera {name}"))
    return index_rig(file, "anipose", rig, frames, messages=messages)


def _pictures(file: Path, cameras: dict[str, str]) -> tuple[Path, dict[str, Clip], dict[str, str], bool]:
    """The folder of the pictures, the clips in it, and the match of cameras to these, see :func:`match_names`."""
    # A calibration folder may hold videos of the calibration board, so the folder above it is searched first.
    places = [file.parent.parent, file.parent] if "calib" in file.parent.name.lower() else [file.parent]
    clips: dict[str, Clip] = {}
    for place in places:
        found = next((found for name in FOLDERS if (found := find_clips(place / name))), {})
        try:
            clips = found or scene_clips(place)
        except DataError:
            if place == places[-1] and not clips:
                raise
            continue
        matched, how = match_names(cameras, list(clips))
        if matched:
            return place, clips, matched, how
    raise DataError(
        f"{file}: expected pictures or videos named like its cameras {some(list(cameras))}, found {some(list(clips))}"
    )


def match_names(cameras: dict[str, str], clips: list[str]) -> tuple[dict[str, str], bool]:
    """Matches cameras to clips by name.

    Args:
        cameras: each camera's name, and its second name (of its table).
        clips: names of the clips.

    Returns:
        The clip of each camera, and whether the match is not by equal names. Equal names count first. Else common
        beginnings and ends are removed from both lists of names, and all cameras are matched to all clips by the rest
        (``int_cam01_img`` and ``trial-cam1``). Else nothing is matched.
    """
    by_name = {name: name for name in cameras if name in clips}
    by_second = {name: second for name, second in cameras.items() if second in clips}
    best = by_name if len(by_name) >= len(by_second) else by_second
    if best:
        return best, False
    ends = dict(zip(_cores(clips), clips, strict=True))
    for names in (list(cameras), list(cameras.values())):
        cores = _cores(names)
        if len(ends) == len(clips) and len(set(cores)) == len(cores) and set(cores) == set(ends):
            return {name: ends[core] for name, core in zip(cameras, cores, strict=True)}, True
    return {}, False


def _cores(names: list[str]) -> list[str]:
    """Names in lower case without their common beginning and end. Numbers stay whole but lose leading zeros."""
    names = [name.lower() for name in names]
    if len(names) < 2:
        return names
    # Character by character, as RUF071 warns, is what is wanted of names.
    begin = re.sub(r"\d+$", "", os.path.commonprefix(names))  # noqa: RUF071
    names = [name[len(begin) :] for name in names]
    end = re.sub(r"^\d+", "", os.path.commonprefix([name[::-1] for name in names])[::-1])  # noqa: RUF071
    names = [name[: len(name) - len(end)] for name in names]
    return [name.lstrip("0") or "0" if name.isdecimal() else name for name in names]


def _labels(tables: list[Table]) -> dict[str, str]:
    """The cameras' names, and the names of their tables."""
    stated = [table.get("name") for table in tables]
    names = [table.name if name is None else str(name) for name, table in zip(stated, tables, strict=True)]
    if len(set(names)) < len(names) or not all(names):
        names = [table.name for table in tables]
    if len(set(names)) < len(names):
        raise DataError(f"{tables[0].where}: expected a table for each camera, found two of the same name")
    return dict(zip(names, [table.name for table in tables], strict=True))


def _camera(name: str, table: Table, clip: Clip, masks: Clip | None, where: str) -> RigCamera:
    if table.get("fisheye"):
        raise DataError(f"{where}: fisheye lenses are not supported, found fisheye = true; undistort first")
    k = _numbers(table.get("matrix"), (3, 3), where, "matrix")
    lens = pinhole(k, where, '"matrix"')
    stated = table.get("distortions")
    distortion = np.zeros(0) if stated is None else _numbers(stated, (-1,), where, "distortions")
    size = table.get("size")
    sides = None if size is None else _numbers(size, (2,), where, "size")
    rotation, position = from_world_to_camera(
        rodrigues(_numbers(table.get("rotation"), (3,), where, "rotation")),
        _numbers(table.get("translation"), (3,), where, "translation"),
    )
    return RigCamera(
        name,
        rotation,
        position,
        fx=lens["fx"],
        fy=lens["fy"],
        cx=lens["cx"] + PIXEL_CENTRE,
        cy=lens["cy"] + PIXEL_CENTRE,
        clip=clip,
        distortion=tuple(distortion.tolist()),
        masks=masks,
        size=None if sides is None else (round(sides[0]), round(sides[1])),
    )


def _numbers(value: Any, shape: tuple[int, ...], where: str, key: str) -> np.ndarray:
    """A list of numbers as an array of ``shape`` (-1 for any length); column vectors count as vectors."""
    numbers = as_numbers(value) if isinstance(value, list) else np.zeros(0)
    if len(shape) == 1 and numbers.ndim == 2 and 1 in numbers.shape:
        numbers = numbers.ravel()
    fits = numbers.ndim == len(shape) and (shape == (-1,) or numbers.shape == shape)
    if not fits or not np.isfinite(numbers).all():
        sides = "any number of" if shape == (-1,) else "x".join(map(str, shape))
        raise DataError(f'{where}: expected "{key}" to be {sides} finite numbers, found {short(value)}')
    return numbers
