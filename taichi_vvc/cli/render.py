"""``tvvc render``: renders a moving camera or one of the stored cameras over time, or a still."""

from __future__ import annotations

import contextlib
import functools
import os
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import numpy as np

from taichi_vvc.bitstream import Sound
from taichi_vvc.cli.decode import warn_if_incomplete
from taichi_vvc.cli.options import (
    FASTEST,
    SLOWEST,
    CameraPath,
    Colour,
    FiniteRange,
    PixelSize,
    backend_option,
    check_output_file,
    common_options,
    frames_option,
    memory_option,
    overwrite_option,
    select_frames,
    start_backend,
    usual_rate,
)
from taichi_vvc.cli.output import Output, OutputName, check_output, open_sink
from taichi_vvc.cli.progress import ProgressLine, say_result
from taichi_vvc.cli.shots import LONGEST, TRANSPARENT, Look, depth_range, shots_of, write_poses
from taichi_vvc.cli.sound import clip_sound
from taichi_vvc.words import counted

if TYPE_CHECKING:
    from taichi_vvc.field.render import Image

KEPT_FIELDS = 8  # decoded frames that are kept in memory
CAMERAS = "cameras.json"


class Background(Colour):
    """The option type of a colour or ``transparent``."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Parses the option's text; a usage error says what was expected."""
        return value if value == TRANSPARENT else super().convert(value, param, ctx)


@click.command(epilog="Example:  tvvc render out.tvvc -o orbit.mp4 --path orbit --duration 4 --size 640x480")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("-o", "--output", type=OutputName(), required=True, metavar="OUT.mp4|OUT.png|DIR|-")
@click.option(
    "--path", "path", type=CameraPath(), metavar="P", help="orbit, spiral, or a file of camera poses (.json)."
)
@click.option("--camera", metavar="NAME", help="A camera of the capture instead of a path.")
@click.option("--size", type=PixelSize(), help="Size of the pictures; default: the shape of the first camera.")
@click.option("--fps", type=FiniteRange(SLOWEST, FASTEST), help="Pictures per second; default: the file's.")
@click.option(
    "--duration",
    type=FiniteRange(0, LONGEST, min_open=True),
    metavar="SECONDS",
    help="How long the clip takes, with the frames repeated as often as needed; default: once through the frames.",
)
@click.option("--frame", type=click.IntRange(0), metavar="N", help="This frame only: a still, or a frozen scene.")
@frames_option
@click.option(
    "--background",
    type=Background(),
    metavar="COLOUR",
    help="R,G,B, #rrggbb, white, black or transparent (PNG, .mov, .webm); default: the file's.",
)
@click.option("--depth", is_flag=True, help="Depth instead of colour: 16-bit PNG, or grey shades in a video.")
@click.option("--depth-output", type=OutputName(), metavar="OUT.mp4|OUT.png|DIR", help="Depth beside colour, there.")
@click.option("--codec", type=click.Choice(("h264", "h265", "vp9", "prores")), help="Of a video; default by its name.")
@click.option(
    "--crf", type=click.IntRange(0, 63), help="Quality of a video: the codec's constant rate factor, 0 is best."
)
@backend_option
@memory_option
@overwrite_option
@common_options
def command(
    file: Path,
    output: Output,
    path: str | None,
    camera: str | None,
    frame: int | None,
    frames: slice | None,
    backend: str,
    memory_limit: int | None,
    overwrite: bool,
    **look: Any,
) -> None:
    """Render FILE from a camera that moves while time runs (--path), or from one of the capture's (--camera).

    The path is travelled once, in the duration of the frames or in that of --duration. A picture shows the frame whose
    time has come, whatever --fps is. With neither --path nor --camera it is an orbit.

    A name ending in .png or .jpg is a still: one frame (--frame, else the first), seen from where a path has got to by
    then. Any name without a suffix, or ending in a slash, is a folder of PNG pictures. The cameras are written beside
    the pictures, in the form that --path takes: DIR/cameras.json, or OUT.cameras.json.

    A video of odd width or height gets its last column or row twice, since the codec needs even sizes. With -o - a
    video goes to stdout, as Matroska, for other programs. A file's sound goes into its videos, except those of depth
    and of a single frame.
    """
    if path is not None and camera is not None:
        raise click.UsageError("--path and --camera contradict each other; give one of them")
    if frame is not None:
        if frames is not None:
            raise click.UsageError("--frame and --frames contradict each other; give one of them")
        frames = slice(frame, frame + 1)
    render_path(file, output, path or "orbit", camera, Look(**look), frames, backend, overwrite, memory_limit)


def render_path(
    file: Path,
    output: Output,
    path: str,
    camera: str | None = None,
    look: Look = Look(),  # noqa: B008 - frozen
    frames: slice | None = None,
    backend: str = "auto",
    overwrite: bool = False,
    memory_limit: int | None = None,
) -> None:
    """Does the work of the command, also for other commands; the parameters are the command's options."""
    from taichi_vvc.cli.forecast import say_forecast
    from taichi_vvc.decode import open as open_stream
    from taichi_vvc.field.render import render, render_rgb8
    from taichi_vvc.field.workspace import Workspace
    from taichi_vvc.media.video import video_size

    _check_look(output, look)
    poses = output.beside(CAMERAS)
    if poses is not None and os.path.realpath(poses) == os.path.realpath(path):
        raise click.UsageError(f"--path {path}: the cameras of the pictures would be written there; rename one of them")
    with open_stream(file, memory_limit) as stream:
        chosen = select_frames(frames, len(stream), str(file)) if len(stream) else range(0)
        if output.kind == "still" and frames is not None and len(chosen) > 1:
            raise click.UsageError(f"{output} is a still, of one frame; found {len(chosen)}: choose one with --frame N")
        _check_outputs(output, look.depth_output, poses, overwrite, file)
        damage = warn_if_incomplete(stream, file)
        rate = usual_rate(stream.fps) if look.fps is None else Fraction(look.fps).limit_denominator(1001)
        shots = shots_of(stream, path, camera, chosen, rate, look, output.kind == "still")
        near, far = depth_range([shot.camera for shot in shots], stream.header.layout.bounds)
        workspace = Workspace(start_backend(backend))
        # A clip may loop over a short file: its decoded frames are cached.
        field_of = functools.lru_cache(maxsize=KEPT_FIELDS)(stream.__getitem__)
        clear = look.background == TRANSPARENT
        behind = _background(look.background, stream.background)
        say_forecast(field_of, [shot.frame for shot in shots], shots[0].camera, behind, workspace, KEPT_FIELDS)
        line = ProgressLine(len(shots), "render", keep_lines=False)
        sound = None if look.depth else clip_sound(file, output, chosen, stream.fps, rate, len(shots))
        sinks = _Sinks(output, look, rate, near, far, sound)
        with sinks, line:
            for number, shot in enumerate(shots):
                if camera is not None:
                    # Raises for a damaged frame, for which the shot has the camera of the first frame only.
                    stream.cameras_at(shot.frame)
                seen = field_of(shot.frame), shot.camera, behind
                if clear or look.depth or look.depth_output is not None:
                    sinks.write(number, render(*seen, workspace=workspace))
                else:
                    sinks.write_colour(number, render_rgb8(*seen, workspace=workspace))
                line.update(number + 1, f"picture {number + 1}/{len(shots)}")
        if poses is not None:
            write_poses(poses, shots)
    width, height = shots[0].camera.width, shots[0].camera.height
    across, down = video_size(width, height) if output.is_video else (width, height)
    padded = "" if (across, down) == (width, height) else f" ({width}x{height} and an edge: videos have even sizes)"
    pace = "" if output.kind == "still" else f" at {float(rate):g} per second"
    say_result(
        f"{output}: {counted(len(shots), 'picture')} of {across}x{down}{padded}{pace}",
        output=str(output),
        depth_output=None if look.depth_output is None else str(look.depth_output),
        cameras=None if poses is None else str(poses),
        pictures=len(shots),
        width=across,
        height=down,
        fps=float(rate),
    )
    if damage is not None:
        raise damage


def _check_look(output: Output, look: Look) -> None:
    """Checks that the options do not contradict each other, before any work is done. Raises click.UsageError."""
    from taichi_vvc.media.video import checked_crf, video_codec

    clear = look.background == TRANSPARENT
    if look.depth and (look.background is not None or look.depth_output is not None):
        raise click.UsageError("--depth writes depth instead of colour; leave out --background or --depth-output")
    if output.is_video:
        suffix = ".mkv" if output.kind == "stdout" else output.path.suffix.lower()
        checked_crf(video_codec(suffix, look.codec, clear), look.crf)
    elif look.codec is not None or look.crf is not None:
        raise click.UsageError(f"--codec and --crf are for videos; {output} is a {output.kind}")
    if output.kind == "still" and (look.fps is not None or look.duration is not None):
        raise click.UsageError(
            f"--fps and --duration are for clips; {output} is a still: choose its frame with --frame"
        )
    if output.kind == "still" and output.path.suffix.lower() != ".png" and (clear or look.depth):
        raise click.UsageError(f"{output}: JPEG holds neither transparency nor depth; write .png")
    beside = look.depth_output
    if beside is None:
        return
    if beside.kind == "stdout" or os.path.realpath(beside.path) == os.path.realpath(output.path):
        raise click.UsageError("--depth-output is a file or folder of its own")
    if (beside.kind == "still") != (output.kind == "still"):
        raise click.UsageError(f"--depth-output {beside} and {output}: expected a still of both, or of neither")
    if beside.kind == "still" and beside.path.suffix.lower() != ".png":
        raise click.UsageError(f"{beside}: JPEG does not hold depth; write .png")


def _check_outputs(output: Output, beside: Output | None, poses: Path | None, overwrite: bool, file: Path) -> None:
    check_output(output, ["picture"], overwrite, file)
    if beside is not None:
        check_output(beside, ["depth"], overwrite, file)
    if poses is not None and output.kind != "folder":
        check_output_file(poses, overwrite, file)


class _Sinks:
    """The outputs of colour and depth; a context manager."""

    def __init__(
        self, output: Output, look: Look, rate: Fraction, near: float, far: float, sound: Sound | None = None
    ) -> None:
        self._look, self._near, self._far = look, near, far
        self._output = output
        clear = look.background == TRANSPARENT
        beside = look.depth_output
        self._colour = open_sink(output, ["picture"], rate, True, look.crf, look.codec, clear, sound)
        self._depth = None if beside is None else open_sink(beside, ["depth"], rate, flat=True)

    def __enter__(self) -> _Sinks:
        with contextlib.ExitStack() as stack:
            self._open = stack.enter_context(self._colour)
            self._open_depth = None if self._depth is None else stack.enter_context(self._depth)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *error: Any) -> None:
        self._stack.__exit__(*error)

    def write_colour(self, number: int, picture: np.ndarray) -> None:
        """Writes the colour of one picture, (height, width, 3 or 4)."""
        self._open.write("picture", number, picture)

    def write(self, number: int, image: Image) -> None:
        """Writes one rendered image: colour, depth, or both."""
        if self._look.depth:
            self._write_depth(self._output, self._open, "picture", number, image.depth)
        else:
            clear = self._look.background == TRANSPARENT
            self.write_colour(number, cut_out(image) if clear else image.colour)
        if self._look.depth_output is not None:
            self._write_depth(self._look.depth_output, self._open_depth, "depth", number, image.depth)

    def _write_depth(self, output: Output, sink: Any, name: str, number: int, depth: np.ndarray) -> None:
        from taichi_vvc.media.video import depth_unit, write_depth_png

        if output.is_video:
            sink.write(name, number, depth_as_grey(depth, self._near, self._far))
        else:
            file = output.path / f"{number:04d}.png" if output.kind == "folder" else output.path
            write_depth_png(file, depth, depth_unit(self._far))


def cut_out(image: Image) -> np.ndarray:
    """(H, W, 4) float32 in [0, 1] with straight alpha, from an image that was rendered on black."""
    opacity = image.opacity[..., None]
    colour = image.colour / np.maximum(opacity, 1e-6)
    return np.concatenate((np.clip(colour, 0.0, 1.0) * (opacity > 0.0), opacity), axis=2).astype(np.float32)


def depth_as_grey(depth: np.ndarray, near: float, far: float) -> np.ndarray:
    """Depth (H, W) as (H, W, 3) in [0, 1]: white at ``near``, dark grey at ``far``, black where no surface is."""
    grey = np.where(depth > 0.0, 1.0 - 0.8 * np.clip((depth - near) / (far - near), 0.0, 1.0), 0.0)
    return np.repeat(grey[..., None], 3, axis=2).astype(np.float32)


def _background(asked: tuple[int, int, int] | str | None, own: tuple[float, ...]) -> tuple[float, ...]:
    """The background to render on, sRGB in [0, 1]; black for a transparent one."""
    if asked is None:
        return own
    return (0.0, 0.0, 0.0) if isinstance(asked, str) else tuple(c / 255 for c in asked)
