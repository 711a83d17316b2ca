"""``tvvc render``: a free camera while time runs."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import click
import numpy as np

from taichi_vvc.cli.decode import warn_if_incomplete
from taichi_vvc.cli.options import (
    CameraPath,
    FiniteRange,
    PixelSize,
    backend_option,
    common_options,
    frames_option,
    overwrite_option,
    select_frames,
    start_backend,
)
from taichi_vvc.cli.progress import ProgressLine, say_result
from taichi_vvc.types import Bounds, Camera
from taichi_vvc.words import counted

SHORTEST_PATH = 4.0  # seconds that orbit and spiral take at least; a short file plays in a loop meanwhile
DEFAULT_SIDE = 512  # pixels of the longer side
KEPT_FIELDS = 8  # decoded frames kept in memory
FASTEST = 1000.0  # frames per second


@click.command(epilog="Example:  tvvc render out.tvvc -o orbit.mp4 --path orbit --size 640x480")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("-o", "--output", type=click.Path(path_type=Path), required=True, metavar="OUT.mp4|DIR|-")
@click.option(
    "--path",
    "path",
    type=CameraPath(),
    required=True,
    metavar="P",
    help="orbit, spiral, or a file of camera poses (.json).",
)
@click.option("--size", type=PixelSize(), help="Size of the pictures; default: the shape of the first camera.")
@click.option("--fps", type=FiniteRange(0, FASTEST, min_open=True), help="Pictures per second; default: the file's.")
@click.option("--depth", is_flag=True, help="Depth instead of colour: 16-bit PNG, or grey shades in a video.")
@frames_option
@backend_option
@overwrite_option
@common_options
def command(
    file: Path,
    output: Path,
    path: str,
    size: tuple[int, int] | None,
    fps: float | None,
    depth: bool,
    frames: slice | None,
    backend: str,
    overwrite: bool,
) -> None:
    """Render FILE from a camera that moves while time runs.

    The path is travelled once: in the duration of the frames, or in four seconds if that is longer, with the frames
    repeated as often as needed. A picture shows the frame whose time has come, whatever --fps is.

    A video of odd width or height gets its last column or row twice, since the codec needs even sizes. With -o - a
    video goes to stdout, as Matroska, for other programs.
    """
    render_path(file, output, path, size, fps, depth, frames, backend, overwrite)


def render_path(
    file: Path,
    output: Path,
    path: str,
    size: tuple[int, int] | None = None,
    fps: float | None = None,
    depth: bool = False,
    frames: slice | None = None,
    backend: str = "auto",
    overwrite: bool = False,
) -> None:
    """What the command does, for other commands; the parameters are its options."""
    from taichi_vvc.cli.forecast import say_forecast
    from taichi_vvc.cli.output import check_output, is_video, open_sink
    from taichi_vvc.decode import open as open_stream
    from taichi_vvc.io.paths import camera_path
    from taichi_vvc.io.video import depth_unit, video_size, write_depth_png
    from taichi_vvc.render import Workspace, render, render_rgb8

    with open_stream(file) as stream:
        chosen = select_frames(frames, len(stream), str(file)) if len(stream) else range(0)
        check_output(output, [path], overwrite, file)
        damage = warn_if_incomplete(stream, file)
        rate = stream.fps if fps is None else Fraction(fps).limit_denominator(1001)
        width, height = size or _default_size(stream.cameras[0].width, stream.cameras[0].height)
        shown = timeline(chosen, stream.fps, rate)
        bounds = stream.header.layout.bounds
        cameras = camera_path(path, stream.cameras, bounds, len(shown), (width, height))
        near, far = depth_range(cameras, bounds)
        workspace = Workspace(start_backend(backend))
        # A short file is looped; what is decoded once need not be decoded again for that.
        field_of = functools.lru_cache(maxsize=KEPT_FIELDS)(stream.__getitem__)
        say_forecast(field_of, shown, cameras[0], stream.background, workspace, KEPT_FIELDS)
        as_video = is_video(output)
        line = ProgressLine(len(shown), "render", keep_lines=False)
        with open_sink(output, [path], rate, flat=True) as sink, line:
            for number, (frame, camera) in enumerate(zip(shown, cameras, strict=True)):
                seen = field_of(frame), camera, stream.background
                if not depth:
                    sink.write(path, number, render_rgb8(*seen, workspace=workspace))
                elif as_video:
                    sink.write(path, number, depth_as_grey(render(*seen, workspace=workspace).depth, near, far))
                else:
                    distances = render(*seen, workspace=workspace).depth
                    write_depth_png(output / f"{number:04d}.png", distances, depth_unit(far))
                line.update(number + 1, f"picture {number + 1}/{len(shown)}")
    across, down = video_size(width, height) if as_video else (width, height)
    padded = "" if (across, down) == (width, height) else f" ({width}x{height} and an edge: videos have even sizes)"
    say_result(
        f"{output}: {counted(len(shown), 'picture')} of {across}x{down}{padded} at {float(rate):g} per second",
        output=str(output),
        pictures=len(shown),
        width=across,
        height=down,
        fps=float(rate),
    )
    if damage is not None:
        raise damage


def timeline(frames: range, fps: Fraction, rate: Fraction) -> list[int]:
    """The frame that each picture shows: ``frames`` at ``fps``, looped for the path's duration, sampled at ``rate``."""
    duration = Fraction(len(frames)) / fps
    loops = max(1, math.ceil(SHORTEST_PATH / duration))
    pictures = max(1, round(duration * loops * rate))
    return [frames[int(number / rate * fps) % len(frames)] for number in range(pictures)]


def depth_as_grey(depth: np.ndarray, near: float, far: float) -> np.ndarray:
    """(H, W, 3) in [0, 1]: white at ``near``, dark grey at ``far``, black where nothing was hit."""
    grey = np.where(depth > 0.0, 1.0 - 0.8 * np.clip((depth - near) / (far - near), 0.0, 1.0), 0.0)
    return np.repeat(grey[..., None], 3, axis=2).astype(np.float32)


def depth_range(cameras: Sequence[Camera], bounds: Bounds) -> tuple[float, float]:
    """The smallest and largest distance from any of the cameras to a point of the bounds, world units."""
    lower, upper = np.asarray(bounds.lower), np.asarray(bounds.upper)
    positions = np.stack([camera.position for camera in cameras])
    nearest = np.maximum(np.maximum(lower - positions, positions - upper), 0.0)
    farthest = np.maximum(np.abs(positions - lower), np.abs(positions - upper))
    return float(np.linalg.norm(nearest, axis=1).min()), float(np.linalg.norm(farthest, axis=1).max())


def _default_size(width: int, height: int) -> tuple[int, int]:
    scale = DEFAULT_SIDE / max(width, height)
    return max(1, round(width * scale)), max(1, round(height * scale))
