"""The layout of ZJU-MoCap and LightStage: ``annots.npy`` with cameras and file names, pictures in folders per camera.

``annots["cams"]`` has lists ``K``, ``R``, ``T``, ``D`` with one item per camera. Poses are world to camera with OpenCV
axes and **T in millimetres**; here the world is in metres. ``annots["ims"]`` has the file names of all cameras for each
frame. Without it, the folders beside the file are the cameras, in natural order.
"""

from __future__ import annotations

from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from taichi_vvc.capture.readers.footage import Clip, folder_clip, natural
from taichi_vvc.capture.readers.index import CaptureIndex
from taichi_vvc.capture.readers.parse import as_numbers, is_there, kind, short, some
from taichi_vvc.capture.readers.rig import RigCamera, from_world_to_camera, index_rig, pinhole
from taichi_vvc.capture.readers.safepickle import load_npy_object
from taichi_vvc.errors import DataError
from taichi_vvc.media.images import LabelMask, Source

METRES = 1e-3  # metres per unit of T
MASK_FOLDERS = ("mask", "mask_cihp", "masks")


def read_zju_mocap(file: Path, frames: slice | None = None) -> CaptureIndex:
    """Index the capture whose ``annots.npy`` is ``file``. All cameras are training cameras.

    The file is a pickle; it is read without running code (see :mod:`taichi_vvc.capture.readers.safepickle`). Masks are
    labels, of body parts or 0 and 1: everything but 0 is subject.

    Raises:
        DataError: the file is damaged or lacks an entry, or pictures are missing.
    """
    annotations = load_npy_object(file)
    cams = annotations.get("cams") if isinstance(annotations, dict) else None
    rows = annotations.get("ims") if isinstance(annotations, dict) else None
    if not isinstance(cams, dict):
        raise DataError(f'{file}: expected a dictionary with "cams" and "ims", found none')
    count = _lengths(cams, file)
    if rows is None:
        paths, messages = _folders(file, count)
    elif isinstance(rows, list) and rows:
        paths, messages = [_paths(row, count, file) for row in rows], []
    else:
        raise DataError(f'{file}: expected "ims" to list the pictures of each frame, found {kind(rows)}')
    present = [c for c in range(count) if is_there(file.parent / paths[0][c])]
    if not present:
        raise DataError(
            f"{file}: expected the picture {paths[0][0]} beside it, found no such file, nor any other camera's"
        )
    names = _names([paths[0][c] for c in range(count)])
    if len(present) < count:
        left = [names[c] for c in range(count) if c not in present]
        messages.append(f"annotated but without pictures: {some(left, 6)}")
    rig = []
    for c in present:
        where = f"{file}: camera {names[c]}"
        k, r, t = (_numbers(cams[key][c], shape, where, key) for key, shape in (("K", 9), ("R", 9), ("T", 3)))
        rotation, position = from_world_to_camera(r, t * METRES)
        rig.append(
            RigCamera(
                names[c],
                rotation,
                position,
                clip=Clip(tuple(file.parent / row[c] for row in paths)),
                distortion=tuple(_numbers(cams["D"][c], 5, where, "D")) if "D" in cams else (),
                masks=_masks(file.parent, [row[c] for row in paths]),
                **pinhole(k, where),
            )
        )
    index = index_rig(file, "zju-mocap", rig, frames, messages=messages)
    missing = [e.image for row in index.entries for e in row if isinstance(e.image, Path) and not is_there(e.image)]
    if missing:
        total = len(index.entries) * len(rig)
        raise DataError(f"{file}: {len(missing)} of {total} images are missing, the first is {missing[0]}")
    return index


def _lengths(cams: dict[str, Any], file: Path) -> int:
    keys = ("K", "R", "T", "D") if "D" in cams else ("K", "R", "T")
    lengths = {key: len(cams[key]) if _is_list(cams.get(key)) else 0 for key in keys}
    if len(set(lengths.values())) != 1 or not lengths["K"]:
        raise DataError(f'{file}: expected "cams" to have K, R, T of every camera, found {lengths}')
    return lengths["K"]


def _is_list(value: Any) -> bool:
    return isinstance(value, list) or (isinstance(value, np.ndarray) and value.ndim > 0)


def _folders(file: Path, count: int) -> tuple[list[list[str]], list[str]]:
    """The pictures of each frame from the folders beside the file, in the form of ``ims``; and messages."""
    clips: dict[str, Clip] = {}
    for parent in (file.parent, file.parent / "images"):
        folders = (
            [item for item in parent.iterdir() if item.is_dir() and item.name[0] != "."] if parent.is_dir() else []
        )
        folders.sort(key=lambda item: natural(item.name))
        clips = clips or {item.name: clip for item in folders if (clip := folder_clip(item)) is not None}
    names = list(clips)
    if len(clips) != count:
        raise DataError(
            f'{file}: it has no "ims" that names pictures; expected {count} folders of pictures beside it, one per'
            f' camera of "cams" in their order, found {len(clips)}: {some(names) or "none"}'
        )
    lengths = {name: len(clip.pictures) for name, clip in clips.items()}
    if len(set(lengths.values())) > 1:
        told = ", ".join(f"{length} in {name}" for name, length in list(lengths.items())[:4])
        raise DataError(f"{file}: expected the same number of pictures of every camera, found {told}")
    columns = [[Path(str(p)).relative_to(file.parent).as_posix() for p in clip.pictures] for clip in clips.values()]
    told = f"the folders {names[0]} to {names[-1]} were taken for its cameras, in this order"
    return [list(row) for row in zip(*columns, strict=True)], [f'no "ims" in {file.name}: {told}']


def _paths(row: Any, count: int, file: Path) -> list[str]:
    paths: Any = row.get("ims") if isinstance(row, dict) else None
    paths = [str(path) for path in paths] if _is_list(paths) else []
    if len(paths) != count:
        raise DataError(f'{file}: expected a file name for each of {count} cameras in "ims", found {len(paths)}')
    paths = [path.replace("\\", "/") for path in paths]
    for path in map(PurePosixPath, paths):
        if path.is_absolute() or ".." in path.parts or not path.name:
            raise DataError(f'{file}: expected file names below its folder in "ims", found {short(str(path))}')
    return paths


def _names(paths: list[str]) -> list[str]:
    """The cameras' names: those of the pictures' folders if these are distinct, else numbers."""
    folders = [PurePosixPath(path).parent.name for path in paths]
    return folders if all(folders) and len(set(folders)) == len(folders) else [f"{c:02d}" for c in range(len(paths))]


def _numbers(value: Any, count: int, where: str, key: str) -> np.ndarray:
    numbers = as_numbers(value).ravel()
    if numbers.size != count and not (key == "D" and 0 < numbers.size < count):
        raise DataError(f"{where}: expected {key} to be {count} numbers, found {numbers.size}")
    return numbers


def _masks(folder: Path, paths: list[str]) -> Clip | None:
    """The masks of one camera, from the first mask folder that has them: PNG files in the same tree as the pictures."""
    for name in MASK_FOLDERS:
        masks: list[Source] = []
        for path in paths:
            # Some scenes keep pictures in images/ and masks in masks/ in place of it.
            below = PurePosixPath(path)
            parts = [below.with_suffix(".png")]
            if below.parts[0] == "images":
                parts.append(PurePosixPath(*below.parts[1:]).with_suffix(".png"))
            found = next((folder / name / part for part in parts if is_there(folder / name / part)), None)
            if found is None:
                break
            masks.append(LabelMask(found))
        if len(masks) == len(paths):
            return Clip(tuple(masks))
    return None
