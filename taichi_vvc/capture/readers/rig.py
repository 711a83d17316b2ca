"""Builds the index of a capture from calibrated, still cameras with a clip each; most readers call this."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from taichi_vvc.capture.readers.footage import Clip, VideoFile, as_calibrated, find_clips, mask_stem
from taichi_vvc.capture.readers.frame_times import Moments, disagreement, match, mates, time_stamps
from taichi_vvc.capture.readers.index import CaptureIndex, ImageEntry, select_frames
from taichi_vvc.capture.readers.lens import Undistortion, undistortion
from taichi_vvc.capture.readers.parse import ROTATION_TOLERANCE, some
from taichi_vvc.capture.storable import STRONGEST
from taichi_vvc.errors import DataError
from taichi_vvc.media.images import LabelMask, Source, image_size
from taichi_vvc.types import Bounds, Camera

K_SLACK = 1e-6  # tolerance for the entries of K that must be 0 or 1
SKEW_PIXELS = 0.05  # displacement by skew at the picture's edge, pixels, that is ignored


@dataclass(frozen=True)
class RigCamera:
    """A calibrated camera and its pictures.

    Attributes:
        name: unique within the rig.
        rotation, position: camera to world, OpenCV axes, world units; see :func:`from_world_to_camera`.
        fx, fy, cx, cy: pixels.
        distortion: k1, k2, p1, p2, k3 as OpenCV orders them; may be shorter.
        clip, masks: its pictures, and its masks or None.
        size: (width, height), pixels, that the calibration belongs to; None if it does not say.
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


def pinhole(k: np.ndarray, where: str, name: str = "K") -> dict[str, Any]:
    """fx, fy, cx, cy as keywords of :class:`RigCamera` from a matrix K of 3x3 (or 9) numbers, called ``name``.

    Raises:
        DataError: K has skew, or is not the matrix of a pinhole camera; ``where`` begins the message.
    """
    matrix = np.asarray(k, np.float64).reshape(3, 3)
    (fx, skew, cx), (other, fy, cy), last = matrix
    if not np.isfinite(matrix).all() or abs(other) > K_SLACK or np.abs(last - (0.0, 0.0, 1.0)).max() > K_SLACK:
        found = _numbers(matrix.ravel().tolist())
        raise DataError(f"{where}: expected {name} to be [[fx, 0, cx], [0, fy, cy], [0, 0, 1]], found {found}")
    # Skew is multiplied by the normalised y coordinate, which is about cy / fy at the upper and lower edge.
    if abs(skew) * max(1.0, abs(cy)) > SKEW_PIXELS * max(1.0, abs(fy)):
        raise DataError(
            f"{where}: a skew of {skew:g} in {name} is not supported (pixels are rectangles); undistort the pictures"
            " to a matrix without it"
        )
    return dict(fx=float(fx), fy=float(fy), cx=float(cx), cy=float(cy))


def from_world_to_camera(rotation: np.ndarray, translation: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(rotation, position) camera to world from ``x_camera = rotation @ x_world + translation``."""
    inverse = np.asarray(rotation, np.float64).reshape(3, 3).T
    return inverse, -inverse @ np.asarray(translation, np.float64).reshape(3)


def rodrigues(vector: np.ndarray) -> np.ndarray:
    """The rotation matrix (3, 3) of a rotation vector (3,): axis times angle in radians (Rodrigues' formula)."""
    angle = float(np.linalg.norm(vector))
    if angle < 1e-12:
        return np.eye(3)
    x, y, z = vector / angle
    cross = np.array([[0.0, -z, y], [z, 0.0, -x], [-y, x, 0.0]])
    return np.eye(3) + np.sin(angle) * cross + (1.0 - np.cos(angle)) * (cross @ cross)


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
    """Builds the index of a rig's selected ``frames``. Other arguments become fields of :class:`CaptureIndex`.

    Frame i is the i-th moment that all cameras have filmed, by the times that videos or file names state. Without
    times it is the i-th picture of every camera. The index states frame numbers as times. If ``fps`` is None, the
    frame rate is that of the videos.

    Raises:
        DataError: there are no cameras, or their pictures do not match each other or the calibration.
    """
    if not rig:
        raise DataError(f"{source}: expected cameras with pictures, found none")
    if all(camera.split != "train" for camera in rig):
        raise DataError(f"{source}: expected at least one training camera, found only test cameras")
    notes = list(messages)
    _check_poses(source, rig, notes)
    rig = [_turned(camera) for camera in rig]
    notes += _about_turns(rig)
    moments = _moments(rig)
    if moments is None:
        count = _frame_count(source, rig, notes)
        numbers = np.repeat(np.arange(count)[:, None], len(rig), axis=1)
    else:
        numbers = moments.frames
        notes += [*moments.notes, *_about_lengths(rig, numbers)]
    indices, note = select_frames(len(numbers), frames, source)
    first = numbers[indices[0]].tolist()
    cameras = [_camera(camera, camera.clip.pictures[n], source) for camera, n in zip(rig, first, strict=True)]
    masks = [_masks(camera, notes) for camera in rig]
    rows = []
    for i in indices:
        row = []
        for (camera, lens), taken, drawn, n in zip(cameras, rig, masks, numbers[i].tolist(), strict=True):
            row.append(ImageEntry(camera, taken.clip.pictures[n], drawn[n] if drawn is not None else None, lens))
        rows.append(tuple(row))
    rates = [camera.clip.fps for camera in rig if camera.clip.fps]
    if fps is None and rates:
        fps = rates[0]
        # Missing frames make the mean rate of a video too small.
        if moments is not None and (numbers != np.arange(len(numbers))[:, None]).any():
            fps = _nearest_rate(rates, moments)
    if moments is None:
        notes += _about_times(rig, rates)
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


def _check_poses(source: Path, rig: Sequence[RigCamera], notes: list[str]) -> None:
    """Notes cameras that share a pose. Raises DataError if all do: only intrinsics have been calibrated then."""
    poses = [np.concatenate((np.ravel(camera.rotation), np.ravel(camera.position))) + 0.0 for camera in rig]
    by_pose: dict[bytes, list[str]] = {}
    for camera, pose in zip(rig, poses, strict=True):
        by_pose.setdefault(pose.tobytes(), []).append(camera.name)
    if len(by_pose) == 1 < len(rig):
        raise DataError(f"{source}: expected a pose for each camera, found the same of all {len(rig)}; calibrate poses")
    for names in by_pose.values():
        if len(names) > 1:
            notes.append(f"cameras of the same pose: {some(names, 6)}")


def _turned(camera: RigCamera) -> RigCamera:
    """The camera with its videos turned to match its calibration."""
    clip = as_calibrated(camera.clip, camera.size or (camera.cx, camera.cy))
    if camera.masks is None:
        return replace(camera, clip=clip)
    return replace(camera, clip=clip, masks=as_calibrated(camera.masks, image_size(clip.pictures[0])))


def _about_turns(rig: Sequence[RigCamera]) -> list[str]:
    """Messages about videos with a rotation flag: which are turned by it, and which are used as stored."""
    found: dict[tuple[str, bool], list[str]] = {}
    for camera in rig:
        video = camera.clip.pictures
        if isinstance(video, VideoFile) and video.flag:
            found.setdefault((str(video.flag), video.turned), []).append(camera.name)
    notes = []
    for (flag, turned), names in found.items():
        done = (
            "pictures are turned by it, as players, ffmpeg and OpenCV do; remove it if the calibration is of the pixels"
            " as stored"
            if turned
            else "pictures are taken as stored, since the calibration is of that size"
        )
        notes.append(f"rotation flag of {flag} in the videos of camera {some(names)}: {done}")
    return notes


def _moments(rig: Sequence[RigCamera]) -> Moments | None:
    """The frames matched by time; None where cameras do not state times, or their times do not match."""
    names, clips = [camera.name for camera in rig], [camera.clip for camera in rig]
    if all(isinstance(clip.pictures, VideoFile) for clip in clips):
        times = [clip.pictures.times for clip in clips if isinstance(clip.pictures, VideoFile)]
        return None if any(t is None for t in times) else match(names, [t for t in times if t is not None])
    if any(_counter(clip.stems) for clip in clips):
        return None
    stamps = [s for clip in clips if (s := time_stamps(clip.stems)) is not None]
    return match(names, stamps, "") if len(stamps) == len(clips) else None


def _about_times(rig: Sequence[RigCamera], rates: Sequence[Fraction]) -> list[str]:
    """A message if frames are matched by number although the videos' times or rates disagree with that."""
    if rates and max(rates) - min(rates) > 0.01:
        span = f"{float(min(rates)):g} to {float(max(rates)):g}"
        return [f"videos differ in frame rate, {span}: frames are taken by number, not by time"]
    videos = [(c.name, c.clip.pictures.times) for c in rig if isinstance(c.clip.pictures, VideoFile)]
    known = [(name, times) for name, times in videos if times is not None]
    found = disagreement([name for name, _ in known], [times for _, times in known]) if known else None
    return [] if found is None else [f"the times of videos do not fit together, {found}: frames are taken by number"]


def _about_lengths(rig: Sequence[RigCamera], numbers: np.ndarray) -> list[str]:
    """A message if some cameras have more frames after the last moment that all have filmed."""
    lengths = [len(camera.clip.pictures) for camera in rig]
    more = [n - 1 - int(last) for n, last in zip(lengths, numbers[-1], strict=True)]
    if not any(more):
        return []
    short = [camera.name for camera, after in zip(rig, more, strict=True) if not after]
    kind = "videos" if all(isinstance(camera.clip.pictures, VideoFile) for camera in rig) else "cameras"
    return [
        f"{kind} differ in length: the first {len(numbers)} frames are used, of up to {max(lengths)} ({some(short)})"
    ]


def _nearest_rate(rates: Sequence[Fraction], moments: Moments) -> Fraction:
    """The stated rate nearest to the rate of the matched times if it is within 0.2 %, else that rate as a fraction."""
    best = min(rates, key=lambda rate: abs(float(rate) - moments.rate))
    close = abs(float(best) - moments.rate) < 2e-3 * moments.rate
    return best if close else Fraction(moments.rate).limit_denominator(1001)


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
    """Raises DataError if the frame numbers in file names differ, so that a camera would be off by a frame."""
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
    """The numbers at the ends of file names if they count frames; none if they are time stamps or missing."""
    numbers = frame_numbers(stems)
    if len(numbers) < 2:
        return []
    rising = all(a < b for a, b in itertools.pairwise(numbers))
    return numbers if rising and numbers[-1] - numbers[0] < 2 * len(numbers) else []


def frame_numbers(stems: Sequence[str]) -> list[int]:
    """The numbers at the ends of file names; none unless every name has one."""
    ends = [stem[len(stem.rstrip("0123456789")) :] for stem in stems]
    return [int(end) for end in ends] if all(ends) else []


def _camera(taken: RigCamera, picture: Source, source: Path) -> tuple[Camera, Undistortion | None]:
    where = f"{source}: camera {taken.name}"
    size = image_size(picture)
    if taken.size is not None and tuple(taken.size) != size:
        video = taken.clip.pictures
        flag = f" (turned by its rotation flag of {video.flag})" if isinstance(video, VideoFile) and video.flag else ""
        raise DataError(
            f"{where}: expected {taken.size[0]}x{taken.size[1]} pixels as the calibration says, found"
            f" {size[0]}x{size[1]} in {picture}{flag}; scale the calibration together with the pictures"
        )
    numbers = [taken.fx, taken.fy, taken.cx, taken.cy, *taken.distortion, *np.ravel(taken.position)]
    if not np.isfinite(numbers).all() or taken.fx <= 0.0 or taken.fy <= 0.0:
        raise DataError(f"{where}: expected finite calibration and positive focal lengths, found {_numbers(numbers)}")
    worst = max(map(abs, taken.distortion), default=0.0)
    if worst > STRONGEST:
        raise DataError(f"{where}: expected coefficients of distortion up to {STRONGEST:g}, found {worst:g}")
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
    """The exact rotation (3, 3) nearest to a ``matrix`` with rounded digits.

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
    """The masks of a camera, one per picture: matched by file name, by number or (videos) by time, else in order."""
    if taken.masks is None:
        return None
    masks, clip = taken.masks, taken.clip
    if clip.stems and masks.stems and clip.stems != masks.stems:
        # Some programs append to the picture's whole name: 000000.jpg.png, 000000.mask.png
        for rule in (lambda stem: mask_stem(Path(f"{stem}.png")), lambda stem: stem.split(".")[0]):
            by_stem = {rule(stem): mask for stem, mask in zip(masks.stems, masks.pictures, strict=True)}
            if all(stem in by_stem for stem in clip.stems):
                return [by_stem[stem] for stem in clip.stems]
        # Names that differ but have the same number: Cam001_rgb000015.jpg and Cam001_mask000015.png.
        by_number = dict(zip(frame_numbers(masks.stems), masks.pictures, strict=False))
        wanted = frame_numbers(clip.stems)
        if len(by_number) == len(masks.pictures) and wanted and all(number in by_number for number in wanted):
            return [by_number[number] for number in wanted]
    if isinstance(clip.pictures, VideoFile) and isinstance(masks.pictures, VideoFile):
        times, drawn = clip.pictures.times, masks.pictures.times
        if len(masks.pictures) != len(clip.pictures) and times is not None and drawn is not None:
            # Some tools repeat dropped frames, so that the mask video has a frame for every moment.
            chosen = mates(times, drawn)
            if chosen is not None:
                return [masks.pictures[number] for number in chosen.tolist()]
    if len(masks.pictures) < len(clip.pictures):
        notes.append(
            f"camera {taken.name} has {len(clip.pictures)} pictures but {len(masks.pictures)} masks: its masks are"
            " not used"
        )
        return None
    if len(masks.pictures) > len(clip.pictures):
        notes.append(
            f"camera {taken.name} has {len(clip.pictures)} pictures but {len(masks.pictures)} masks: these are taken in"
            " their order"
        )
    return masks.pictures


def mask_clips(folder: Path, names: Sequence[str], *, labels: bool = False) -> dict[str, Clip]:
    """The masks of cameras from the first of the folders ``names`` that has any.

    Args:
        labels: whether the masks are labels, of which everything but 0 is subject.
    """
    for name in names:
        clips = find_clips(folder / name)
        if clips:
            return {camera: as_labels(clip) for camera, clip in clips.items()} if labels else clips
    return {}


def as_labels(clip: Clip) -> Clip:
    """The clip of masks, to be read as labels: everything but 0 is subject."""
    return Clip(tuple(LabelMask(p) if isinstance(p, Path) else p for p in clip.pictures), clip.stems, clip.fps)


def _numbers(values: Sequence[float]) -> str:
    return ", ".join(f"{value:g}" for value in values)
