"""The layout of LLFF, ``poses_bounds.npy``, with one video per camera: Neural 3D Video (DyNeRF), Meet Room.

The array has (N, 17) numbers. A row is a 3x5 matrix, row by row, of [rotation | position | height, width, focal
length], then the nearest and the farthest depth. The pose is camera to world; the columns of the rotation are the
camera's down, right and backwards axes. Rows are in the order of the sorted file names. The principal point is the
image centre.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from taichi_vvc.capture.readers.footage import as_calibrated
from taichi_vvc.capture.readers.index import CaptureIndex
from taichi_vvc.capture.readers.npy import load_numbers
from taichi_vvc.capture.readers.rig import RigCamera, index_rig
from taichi_vvc.capture.readers.scenes import scene_clips, scene_masks, unused_masks
from taichi_vvc.errors import DataError
from taichi_vvc.media.images import image_size
from taichi_vvc.types import Bounds

STATIC_HOLDOUT = 8  # of a static scene every eighth picture is held out, as in LLFF's own evaluation


def read_llff(file: Path, frames: slice | None = None) -> CaptureIndex:
    """Index the scene that ``poses_bounds.npy`` describes.

    The first camera is held out, in a static scene every eighth picture, as in the data sets' papers. Focal lengths are
    scaled where the pictures are a reduced copy of those that ``H W f`` belong to.

    Raises:
        DataError: the array is not (N, 17), or there is not one camera per row.
    """
    rows = _load(file)
    scene = file.parent
    clips = scene_clips(scene)
    names = sorted(clips)
    if len(names) != len(rows):
        raise DataError(
            f"{file}: expected one row per camera, found {len(rows)} rows and {len(names)} cameras"
            f" ({', '.join(names[:3])} ...); rows are in the order of the sorted names"
        )
    masks = scene_masks(scene)
    single = all(len(clip.pictures) == 1 for clip in clips.values())
    rig = []
    for number, (name, row) in enumerate(zip(names, rows, strict=True)):
        matrix = row[:15].reshape(3, 5)
        down, right, back = matrix[:, 0], matrix[:, 1], matrix[:, 2]
        height, width, focal = matrix[:, 4]
        clip = as_calibrated(clips[name], (width, height))
        size = image_size(clip.pictures[0])
        if abs(size[0] * height - size[1] * width) > 0.01 * size[1] * width:
            raise DataError(
                f"{file}: camera {name}: expected pictures in the proportions of {width:g}x{height:g}, found"
                f" {size[0]}x{size[1]}; is the order of rows that of the sorted file names?"
            )
        held_out = number % STATIC_HOLDOUT == 0 if single else number == 0
        rig.append(
            RigCamera(
                name,
                np.stack((right, down, -back), axis=1),
                matrix[:, 3],
                fx=focal * size[0] / width,
                fy=focal * size[1] / height,
                cx=0.5 * size[0],
                cy=0.5 * size[1],
                clip=clip,
                masks=masks.get(name),
                split="test" if held_out and len(names) > 1 else "train",
            )
        )
    messages = unused_masks(masks, names)
    return index_rig(file, "llff", rig, frames, bounds_hint=_hint(rig, rows), messages=messages)


def _load(file: Path) -> np.ndarray:
    rows = load_numbers(file)
    if rows.ndim != 2 or rows.shape[1] != 17 or not len(rows) or not np.isfinite(rows).all():
        raise DataError(f"{file}: expected (N, 17) finite numbers, found shape {rows.shape} or NaN")
    return rows


def _hint(rig: list[RigCamera], rows: np.ndarray) -> Bounds | None:
    """The box around the view frusta of all cameras, narrowed to the central half, from the nearest to the far depth.

    Forward-facing cameras give no other information about depth. The far depth is the median over the cameras, since
    the stated ones come from structure from motion and have outliers.
    """
    near, far = float(rows[:, 15].min()), float(np.median(rows[:, 16]))
    if not 0.0 < near < far:
        return None
    corners = []
    for camera in rig:
        u, v = 0.5 * camera.cx / camera.fx, 0.5 * camera.cy / camera.fy
        for depth in (near, far):
            local = np.array([[x * depth, y * depth, depth] for x in (-u, u) for y in (-v, v)])
            corners.append(camera.position + local @ camera.rotation.T)
    points = np.concatenate(corners)
    lower, upper = points.min(0).tolist(), points.max(0).tolist()
    return Bounds((lower[0], lower[1], lower[2]), (upper[0], upper[1], upper[2]))
