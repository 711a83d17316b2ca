"""Puts a capture together from calibrated cameras that stand still and the clip that each of them took."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from taichi_vvc.errors import DataError
from taichi_vvc.io.footage import Clip, VideoFile, find_clips, mask_stem
from taichi_vvc.io.images import LabelMask, Source, image_size
from taichi_vvc.io.index import CaptureIndex, ImageEntry, select_frames
from taichi_vvc.io.lens import Undistortion, undistortion
from taichi_vvc.io.parse import ROTATION_TOLERANCE, some
from taichi_vvc.types import Bounds, Camera

K_SLACK = 1e-6  # what rounding may leave where K has 0 and 1
SKEW_PIXELS = 0.05  # pixels at the picture's edge: a skew up to that cannot be seen


@dataclass(frozen=True)
class RigCamera:
    """A camera as a calibration states it, and what it took.

    Attributes:
        name: unique within the rig.
        rotation, position: camera to world, OpenCV axes, world units; see :func:`from_world_to_camera`.
        fx, fy, cx, cy: pixels.
        distortion: k1, k2, p1, p2, k3 as OpenCV orders them; may be shorter.
        clip, masks: its pictures, and their masks in the same order if there are any.
        size: (width, height) that the calibration belongs to, None if it does not say.
        split: ``"train"`` or ``"test"``.
    """

    name: str
    rotation: np.ndarray
    position: np.ndarray
    fx: float
    fy: float
    cx: float
    cy: float
    clip: Clip
    distortion: tuple[float, ...] = ()
    masks: Clip | None = None
    size: tuple[int, int] | None = None
    split: str = "train"


def pinhole(k: np.ndarray, where: str) -> dict[str, Any]:
    """fx, fy, cx, cy as keywords of :class:`RigCamera` from a matrix K of 3x3 (or 9) numbers.

    Raises:
        DataError: K has skew, or is no matrix of a pinhole camera; ``where`` begins the message.
    """
    matrix = np.asarray(k, np.float64).reshape(3, 3)
    (fx, skew, cx), (other, fy, cy), last = matrix
    if not np.isfinite(matrix).all() or abs(other) > K_SLACK or np.abs(last - (0.0, 0.0, 1.0)).max() > K_SLACK:
        found = _numbers(matrix.ravel().tolist())
        raise DataError(f"{where}: expected K to be [[fx, 0, cx], [0, fy, cy], [0, 0, 1]], found {found}")
    # At the upper and the lower edge, the normalised coordinate that the skew multiplies is about cy / fy.
    if abs(skew) * max(1.0, abs(cy)) > SKEW_PIXELS * max(1.0, abs(fy)):
        raise DataError(
            f"{where}: a skew of {skew:g} in K is not supported (pixels are rectangles); undistort the pictures to K"
            " without skew"
        )
    return dict(fx=float(fx), fy=float(fy), cx=float(cx), cy=float(cy))


def from_world_to_camera(rotation: np.ndarray, translation: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(rotation, position) camera to world from ``x_camera = rotation @ x_world + translation``."""
    inverse = np.asarray(rotation, np.float64).reshape(3, 3).T
    return inverse, -inverse @ np.asarray(translation, np.float64).reshape(3)


def index_rig(
    source: Path,
    layout: str,
    rig: Sequence[RigCamera],
    frames: slice | None,
    *,
    fps: Fraction | None = None,
    bounds: Bounds | None = None,
    bounds_hint: Bounds | None = None,
    messages: Sequence[str] = (),
) -> CaptureIndex:
    """The index of a rig: frame i is the i-th picture of every camera. Times are frame numbers.

    Args:
        source: the file that describes the capture, for messages.
        fps: if the layout states it; else that of the videos counts.

    Raises:
        DataError: no cameras, or what they took does not fit together or to the calibration.
    """
    if not rig:
        raise DataError(f"{source}: expected cameras with pictures, found none")
    if all(camera.split != "train" for camera in rig):
        raise DataError(f"{source}: expected at least one training camera, found only test cameras")
    notes = list(messages)
    count = _frame_count(source, rig, notes)
    indices, note = select_frames(count, frames, source)
    cameras = [_camera(camera, camera.clip.pictures[indices[0]], source) for camera in rig]
    masks = [_masks(camera, notes) for camera in rig]
    rows = []
    for i in indices:
        row = []
        for (camera, lens), taken, drawn in zip(cameras, rig, masks, strict=True):
            row.append(ImageEntry(camera, taken.clip.pictures[i], drawn[i] if drawn is not None else None, lens))
        rows.append(tuple(row))
    rates = [camera.clip.fps for camera in rig if camera.clip.fps]
    if fps is None and rates:
        fps = rates[0]
        if max(rates) - min(rates) > 0.01:
            span = f"{float(min(rates)):g} to {float(max(rates)):g}"
            notes.append(f"videos differ in frame rate, {span}: frames are taken by number, not by time")
    return CaptureIndex(
        source=source,
        indices=indices,
        times=tuple(float(i) for i in indices),
        entries=tuple(rows),
        bounds=bounds,
        fps=fps,
        messages=(*notes, *note),
        layout=layout,
        bounds_hint=bounds_hint,
    )


def _frame_count(source: Path, rig: Sequence[RigCamera], notes: list[str]) -> int:
    counts = {camera.name: len(camera.clip.pictures) for camera in rig}
    least, most = min(counts.values()), max(counts.values())
    if least == most:
        if len({camera.clip.stems for camera in rig}) > 1:
            _check_numbers(source, rig)
        return least
    short = [name for name, count in counts.items() if count < most]
    if all(isinstance(camera.clip.pictures, VideoFile) for camera in rig):
        notes.append(f"videos differ in length: the first {least} frames are used, of up to {most} ({some(short)})")
        return least
    raise DataError(
        f"{source}: expected the same number of pictures of every camera, found {most} of most and"
        f" {counts[short[0]]} of camera {short[0]}; add them or remove those frames"
    )


def _check_numbers(source: Path, rig: Sequence[RigCamera]) -> None:
    """File names may differ between cameras, the frame numbers at their ends must not: one would be a frame late."""
    counters = {camera.name: numbers for camera in rig if (numbers := _counter(camera.clip.stems))}
    first = next(iter(counters), "")
    for name, numbers in counters.items():
        for a, b in zip(counters[first], numbers, strict=True):
            if a != b:
                raise DataError(
                    f"{source}: expected the same frame numbers of every camera, found {a} of camera {first} where"
                    f" camera {name} has {b}; add what is missing or remove those frames"
                )


def _counter(stems: Sequence[str]) -> list[int]:
    """The numbers at the ends of file names if they count frames; nothing if they are time stamps or missing."""
    ends = [stem[len(stem.rstrip("0123456789")) :] for stem in stems]
    if len(ends) < 2 or not all(ends):
        return []
    numbers = [int(end) for end in ends]
    rising = all(a < b for a, b in zip(numbers, numbers[1:], strict=False))
    return numbers if rising and numbers[-1] - numbers[0] < 2 * len(numbers) else []


def _camera(taken: RigCamera, picture: Source, source: Path) -> tuple[Camera, Undistortion | None]:
    where = f"{source}: camera {taken.name}"
    size = image_size(picture)
    if taken.size is not None and tuple(taken.size) != size:
        raise DataError(
            f"{where}: expected {taken.size[0]}x{taken.size[1]} pixels as the calibration says, found"
            f" {size[0]}x{size[1]} in {picture}; scale the calibration together with the pictures"
        )
    numbers = [taken.fx, taken.fy, taken.cx, taken.cy, *taken.distortion, *np.ravel(taken.position)]
    if not np.isfinite(numbers).all() or taken.fx <= 0.0 or taken.fy <= 0.0:
        raise DataError(f"{where}: expected finite calibration and positive focal lengths, found {_numbers(numbers)}")
    k1, k2, p1, p2, k3, *more = [*map(float, taken.distortion), *([0.0] * max(0, 5 - len(taken.distortion)))]
    if any(more):
        raise DataError(f"{where}: expected distortion k1 k2 p1 p2 k3, found more coefficients; undistort first")
    camera = Camera(
        taken.name,
        *size,
        fx=float(taken.fx),
        fy=float(taken.fy),
        cx=float(taken.cx),
        cy=float(taken.cy),
        rotation=nearest_rotation(taken.rotation, where),
        position=np.asarray(taken.position, np.float64).reshape(3),
        k1=k1,
        k2=k2,
        p1=p1,
        p2=p2,
        split=taken.split,
    )
    if k3 == 0.0:
        return camera, None
    lens = undistortion(camera, k3, where)
    return lens.camera, lens


def nearest_rotation(matrix: np.ndarray, where: str) -> np.ndarray:
    """The exact rotation (3, 3) nearest to ``matrix``, whose digits are rounded.

    Raises:
        DataError: ``matrix`` is not a rotation to 0.001; ``where`` begins the message.
    """
    matrix = np.asarray(matrix, np.float64)
    if matrix.shape != (3, 3) or not np.isfinite(matrix).all():
        raise DataError(f"{where}: expected a rotation of 3x3 finite numbers, found shape {matrix.shape} or NaN")
    off = float(np.abs(matrix.T @ matrix - np.eye(3)).max())
    if off > ROTATION_TOLERANCE or np.linalg.det(matrix) < 0.0:
        found = "a mirroring" if off <= ROTATION_TOLERANCE else f"R^T R off the identity by {off:.2g}"
        raise DataError(f"{where}: expected a rotation, found {found}; remove scale and mirroring")
    u, _, vt = np.linalg.svd(matrix)
    return u @ vt


def _masks(taken: RigCamera, notes: list[str]) -> Sequence[Source] | None:
    """The masks of a camera, one per picture: by file name, else by order."""
    if taken.masks is None:
        return None
    masks, clip = taken.masks, taken.clip
    if clip.stems and masks.stems and clip.stems != masks.stems:
        # Some programs append to the whole name of the picture: 000000.jpg.png, 000000.mask.png
        for rule in (lambda stem: mask_stem(Path(f"{stem}.png")), lambda stem: stem.split(".")[0]):
            by_stem = {rule(stem): mask for stem, mask in zip(masks.stems, masks.pictures, strict=True)}
            if all(stem in by_stem for stem in clip.stems):
                return [by_stem[stem] for stem in clip.stems]
    if len(masks.pictures) < len(clip.pictures):
        notes.append(
            f"camera {taken.name} has {len(clip.pictures)} pictures but {len(masks.pictures)} masks: its masks are"
            " not used"
        )
        return None
    return masks.pictures


def mask_clips(folder: Path, names: Sequence[str], *, labels: bool = False) -> dict[str, Clip]:
    """The masks of cameras from the first of the folders ``names`` that has any.

    Args:
        labels: the masks are labels, everything but 0 is subject.
    """
    for name in names:
        clips = find_clips(folder / name)
        if clips:
            return {camera: as_labels(clip) for camera, clip in clips.items()} if labels else clips
    return {}


def as_labels(clip: Clip) -> Clip:
    """The same masks, read as labels."""
    return Clip(tuple(LabelMask(p) if isinstance(p, Path) else p for p in clip.pictures), clip.stems, clip.fps)


def _numbers(values: Sequence[float]) -> str:
    return ", ".join(f"{value:g}" for value in values)
