"""The list of pictures that ``tvvc render`` makes: the frame, camera and time of each."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

import click
import numpy as np

from taichi_vvc.cli.output import Output
from taichi_vvc.errors import CorruptStream
from taichi_vvc.types import Bounds, Camera
from taichi_vvc.words import counted

if TYPE_CHECKING:
    from taichi_vvc.decode import Stream

DEFAULT_SIDE = 512  # pixels of the longer side of a free camera's pictures
MOST_PICTURES = 1 << 20
LONGEST = 86_400.0  # longest duration of a clip, seconds
TRANSPARENT = "transparent"


@dataclass(frozen=True)
class Shot:
    """One picture of a clip: the number of its ``frame`` in the file, its ``camera``, and its ``time`` in seconds."""

    frame: int
    camera: Camera
    time: float


@dataclass(frozen=True)
class Look:
    """The content and format of rendered pictures.

    Attributes:
        size: (width, height) of the pictures; None means the camera's own.
        fps: pictures per second; None means the file's frame rate.
        duration: duration of the clip, seconds; None means that of the frames.
        depth: whether to render depth instead of colour.
        depth_output: a second output for depth, or None.
        background: sRGB 8-bit, ``"transparent"``, or None for the file's.
        codec, crf: parameters of videos, see :func:`taichi_vvc.media.video.video_codec`.
    """

    size: tuple[int, int] | None = None
    fps: float | None = None
    duration: float | None = None
    depth: bool = False
    depth_output: Output | None = None
    background: tuple[int, int, int] | str | None = None
    codec: str | None = None
    crf: int | None = None


def shots_of(
    stream: Stream, path: str, camera: str | None, frames: range, rate: Fraction, look: Look, still: bool
) -> list[Shot]:
    """The pictures of a clip of the ``frames`` with ``rate`` pictures per second; a single picture for a ``still``.

    Raises:
        click.UsageError: the file has no such camera, or there are too many pictures.
        ConfigError, DataError: the path cannot be used.
    """
    from taichi_vvc.capture.camera_paths import camera_path

    bounds = stream.header.layout.bounds
    if still:
        number, shown = frames[0], [frames[0]]
        times = [float(number / stream.fps)]
    else:
        shown = timeline(frames, stream.fps, rate, look.duration)
        times = [float(number / rate) for number in range(len(shown))]
    if camera is None:
        size = look.size or _default_size(stream.cameras)
        # A still gets the camera that a path over all frames has at its frame.
        count, first = (len(stream), frames[0]) if still else (len(shown), 0)
        cameras = camera_path(path, stream.cameras, bounds, count, size)[first : first + len(shown)]
    else:
        names = [c.name for c in stream.cameras]
        if camera not in names:
            raise click.UsageError(f"--camera: no camera '{camera}'; the file has {', '.join(names) or 'none'}")
        place = names.index(camera)
        cameras = [framed(_cameras_at(stream, frame)[place], look.size) for frame in shown]
    return [Shot(*shot) for shot in zip(shown, cameras, times, strict=True)]


def _cameras_at(stream: Stream, frame: int) -> tuple[Camera, ...]:
    """The cameras of a frame; for a damaged frame those of the first frame. Its picture is never rendered."""
    try:
        return stream.cameras_at(frame)
    except CorruptStream:
        return stream.cameras


def timeline(frames: range, fps: Fraction, rate: Fraction, duration: float | None = None) -> list[int]:
    """The frame number of each picture: ``frames`` at ``fps``, looped for ``duration`` seconds, sampled at ``rate``.

    Raises:
        click.UsageError: there would be more than :data:`MOST_PICTURES`.
    """
    seconds = Fraction(len(frames)) / fps if duration is None else Fraction(duration)
    pictures = max(1, round(seconds * rate))
    if pictures > MOST_PICTURES:
        raise click.UsageError(
            f"{counted(len(frames), 'frame')} at {float(fps):g} per second are {pictures} pictures at {float(rate):g} "
            f"per second; expected at most {MOST_PICTURES}: choose a lower --fps, fewer --frames or less --duration"
        )
    return [frames[int(number / rate * fps) % len(frames)] for number in range(pictures)]


def framed(camera: Camera, size: tuple[int, int] | None) -> Camera:
    """A camera with another picture size and the same vertical field of view; pixels stay square, the centre stays."""
    if size is None:
        return camera
    width, height = size
    scaled = camera.resized(max(1, round(camera.width * height / camera.height)), height)
    scale = height / camera.height
    shift = 0.5 * (width - camera.width * scale)
    return replace(
        scaled,
        width=width,
        fx=camera.fx * scale,
        fy=camera.fy * scale,
        cx=camera.cx * scale + shift,
        cy=camera.cy * scale,
    )


def depth_range(cameras: Sequence[Camera], bounds: Bounds) -> tuple[float, float]:
    """The smallest and largest distance from any of the cameras to a point of the bounds, world units."""
    lower, upper = np.asarray(bounds.lower), np.asarray(bounds.upper)
    positions = np.stack([camera.position for camera in cameras])
    nearest = np.maximum(np.maximum(lower - positions, positions - upper), 0.0)
    farthest = np.maximum(np.abs(positions - lower), np.abs(positions - upper))
    return float(np.linalg.norm(nearest, axis=1).min()), float(np.linalg.norm(farthest, axis=1).max())


def write_poses(path: Path, shots: Sequence[Shot]) -> None:
    """Writes the cameras of pictures, with the time and frame of each, in the format that ``--path`` reads.

    Raises:
        DataError: the file cannot be written.
    """
    from taichi_vvc.capture.camera_paths import path_document
    from taichi_vvc.media.video import write_text

    document = path_document([shot.camera for shot in shots])
    for row, shot in zip(document["cameras"], shots, strict=True):
        row.update(time=shot.time, frame=shot.frame)
    write_text(path, json.dumps(document, indent=1))


def _default_size(cameras: Sequence[Camera]) -> tuple[int, int]:
    width, height = (cameras[0].width, cameras[0].height) if cameras else (DEFAULT_SIDE, DEFAULT_SIDE)
    scale = DEFAULT_SIDE / max(width, height)
    return max(1, round(width * scale)), max(1, round(height * scale))
