"""The layout of EasyMocap and EasyVolcap: ``intri.yml``, ``extri.yml``, ``images/<camera>/``, ``masks/<camera>/``.

Poses are world to camera with OpenCV axes: ``R_<camera>`` is a rotation vector and goes before the matrix
``Rot_<camera>``; ``T_<camera>`` is the translation. Intrinsics: ``K_``, distortion ``D_`` or ``dist_`` (k1 k2 p1 p2
k3), optional size ``H_`` and ``W_``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from taichi_vvc.capture.readers.footage import Clip, find_clips
from taichi_vvc.capture.readers.index import CaptureIndex
from taichi_vvc.capture.readers.opencv_yaml import matrix, number, read_filestorage
from taichi_vvc.capture.readers.parse import some
from taichi_vvc.capture.readers.rig import RigCamera, from_world_to_camera, index_rig, mask_clips, pinhole, rodrigues
from taichi_vvc.errors import DataError
from taichi_vvc.types import Bounds

IMAGE_FOLDERS = ("images", "videos")
MASK_FOLDERS = ("masks", "mask", "mask-schp", "schp", "bgmtv2")
UNBOUNDED = 1e4  # world units; EasyVolcap writes a larger box as a placeholder


def read_easyvolcap(file: Path, frames: slice | None = None) -> CaptureIndex:
    """Index the capture whose folder has ``intri.yml`` (``file``) and ``extri.yml``. All cameras are training cameras.

    Raises:
        DataError: all calibrations are missing or one is damaged, or there are no pictures.
    """
    folder, extri_file = file.parent, file.parent / "extri.yml"
    intri, extri = read_filestorage(file), read_filestorage(extri_file)
    names = intri.get("names") or extri.get("names")
    if not isinstance(names, list):
        names = [key[2:] for key in intri if key.startswith("K_")]
    names = list(dict.fromkeys(names))
    if not names:
        raise DataError(f"{file}: expected camera names, found none: no list names and no K_<camera>")
    clips: dict[str, Clip] = next((found for name in IMAGE_FOLDERS if (found := find_clips(folder / name))), {})
    taken = [name for name in names if name in clips]
    if not taken:
        raise DataError(
            f"{folder}: expected pictures of the cameras {some(names)} in images/<camera>/ or videos/<camera>.mp4,"
            f" found {some(list(clips)) or 'none'}"
        )
    messages = []
    lacking = {name: key for name in taken if (key := _lacks(name, intri, extri)) is not None}
    if lacking:
        told = [f"{name} ({key})" for name, key in lacking.items()]
        taken = [name for name in taken if name not in lacking]
        if not taken:
            raise DataError(f"{folder}: expected calibrated cameras, but every one lacks a key: {some(told)}")
        messages.append(f"left out, as their calibration lacks a key: {some(told, 6)}")
    if len(taken) + len(lacking) < len(names):
        messages.append(f"calibrated but without pictures: {some([n for n in names if n not in clips], 6)}")
    if extra := [name for name in clips if name not in names]:
        messages.append(f"not calibrated and left out: {some(extra, 6)}")
    masks = mask_clips(folder, MASK_FOLDERS)
    rig = [_camera(name, intri, extri, file, extri_file, clips[name], masks.get(name)) for name in taken]
    return index_rig(file, "easyvolcap", rig, frames, bounds=_bounds(extri, taken, extri_file), messages=messages)


def _lacks(name: str, intri: dict[str, Any], extri: dict[str, Any]) -> str | None:
    """The first key that is missing from a camera's calibration; None if it is complete."""
    for storage, keys in ((intri, ("K",)), (extri, ("R", "Rot")), (extri, ("T",))):
        if all(f"{key}_{name}" not in storage for key in keys):
            return f"no {keys[0]}_{name}"
    return None


def _camera(
    name: str,
    intri: dict[str, Any],
    extri: dict[str, Any],
    file: Path,
    extri_file: Path,
    clip: Clip,
    masks: Clip | None,
) -> RigCamera:
    k = matrix(intri, f"K_{name}", (3, 3), file)
    translation = matrix(extri, f"T_{name}", (3,), extri_file)
    vector = matrix(extri, f"R_{name}", (3,), extri_file)
    rotation = matrix(extri, f"Rot_{name}", (3, 3), extri_file) if vector is None else rodrigues(vector)
    assert k is not None and translation is not None and rotation is not None
    distortion = matrix(intri, f"D_{name}", (-1,), file)
    if distortion is None:
        distortion = matrix(intri, f"dist_{name}", (-1,), file)
    height, width = number(intri, f"H_{name}", file), number(intri, f"W_{name}", file)
    sized = height is not None and width is not None and height > 0 and width > 0
    turned, position = from_world_to_camera(rotation, translation)
    return RigCamera(
        name,
        turned,
        position,
        clip=clip,
        distortion=() if distortion is None else tuple(distortion.tolist()),
        masks=masks,
        size=(int(width or 0), int(height or 0)) if sized else None,
        **pinhole(k, f"{file}: camera {name}"),
    )


def _bounds(extri: dict[str, Any], names: list[str], file: Path) -> Bounds | None:
    """The box around the ``bounds_`` of all cameras; None unless every camera has one."""
    boxes = [matrix(extri, f"bounds_{name}", (2, 3), file) for name in names]
    known = [box for box in boxes if box is not None and np.abs(box).max() < UNBOUNDED and (box[0] < box[1]).all()]
    if len(known) < len(names):
        return None
    lower, upper = np.min([b[0] for b in known], axis=0).tolist(), np.max([b[1] for b in known], axis=0).tolist()
    return Bounds((lower[0], lower[1], lower[2]), (upper[0], upper[1], upper[2]))
