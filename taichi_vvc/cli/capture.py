"""Options for captures, shared by several commands."""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from taichi_vvc.capture.frame_rates import frame_rate
from taichi_vvc.capture.readers.layouts import LAYOUTS
from taichi_vvc.cli.options import FrameRange
from taichi_vvc.cli.progress import say, warn
from taichi_vvc.types import Camera
from taichi_vvc.words import counted

if TYPE_CHECKING:
    from taichi_vvc.capture.sequence import MultiViewSequence

F = TypeVar("F", bound=Callable[..., Any])


class Box(click.ParamType):
    """The option type ``X0,Y0,Z0,X1,Y1,Z1``: a pair of corners, lower and upper."""

    name = "box"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Parses the option's text; a usage error says what was expected."""
        if not isinstance(value, str):
            return value
        try:
            numbers = [float(item) for item in value.replace(" ", "").split(",")]
        except ValueError:
            numbers = []
        if (
            len(numbers) != 6
            or not all(map(math.isfinite, numbers))
            or not all(map(float.__lt__, numbers, numbers[3:]))
        ):
            self.fail(f"expected X0,Y0,Z0,X1,Y1,Z1, lower then upper corner, found '{value}'", param, ctx)
        from taichi_vvc.types import Bounds

        return Bounds((numbers[0], numbers[1], numbers[2]), (numbers[3], numbers[4], numbers[5]))


class Rate(click.ParamType):
    """The option type of a positive frame rate: a number, or a ratio such as 30000/1001."""

    name = "rate"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Parses the option's text; a usage error says what was expected."""
        rate = frame_rate(value)
        if rate is None:
            found = f"'{value:.60}'" if isinstance(value, str) else type(value).__name__
            self.fail(f"expected frames per second, such as 25 or 30000/1001, found {found}", param, ctx)
        return rate


@dataclass(frozen=True)
class Chosen:
    """The values of the options that select a part of a capture, with which :meth:`open` opens it.

    The fields are arguments of :func:`taichi_vvc.capture.sequence.open_capture`.
    """

    frames: slice | None
    downscale: int
    cameras: str | None
    test_cameras: str | None
    fps: Fraction | None
    layout: str | None
    bounds: Any
    scene: str
    near: float | None

    def open(self, path: Path, strict: bool = True) -> MultiViewSequence:
        """Opens the capture.

        Raises:
            DataError: it cannot be used.
            ConfigError: an option does not fit it.
        """
        from taichi_vvc.capture.sequence import open_capture

        return open_capture(
            path,
            frames=self.frames,
            downscale=self.downscale,
            bounds=self.bounds,
            format=self.layout,
            strict=strict,
            cameras=self.cameras,
            test_cameras=self.test_cameras,
            fps=self.fps,
            scene=self.scene,
            near=self.near,
        )


def format_option(function: F) -> F:
    """Adds ``--format``."""
    return click.option(
        "--format",
        "layout",
        type=click.Choice([layout.name for layout in LAYOUTS]),
        help="Layout of the capture; recognised if not given.",
    )(function)


def capture_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Adds the options that select a part of a capture; the command gets them as ``chosen``, a :class:`Chosen`."""

    @functools.wraps(function)
    def with_choice(*arguments: Any, **options: Any) -> Any:
        chosen = Chosen(**{field.name: options.pop(field.name) for field in dataclasses.fields(Chosen)})
        return function(*arguments, chosen=chosen, **options)

    options = (
        click.option(
            "--frames",
            type=FrameRange(strides=True),
            metavar="A:B:S",
            help="Frames A to B-1, every S-th of them; also A:B, A:, :B, ::S or a single number.",
        ),
        click.option(
            "--downscale", type=click.IntRange(1), default=1, show_default=True, help="Reduce the pictures K times."
        ),
        click.option(
            "--cameras",
            metavar="C,...",
            help="Use these cameras only: names, patterns such as cam0*, positions A:B:S as tvvc inspect lists them; "
            "-C leaves one out.",
        ),
        click.option(
            "--test-cameras",
            metavar="C,...",
            help="Hold out these cameras, in the same form, and no others; none: train on all. Default: as the capture "
            "says.",
        ),
        click.option(
            "--fps",
            type=Rate(),
            metavar="F",
            help="Frames per second of the capture, such as 25 or 30000/1001, in place of what it says.",
        ),
        format_option,
        click.option(
            "--bounds",
            type=Box(),
            metavar="X0,Y0,Z0,X1,Y1,Z1",
            help="Box to code, world units; else the capture's or found.",
        ),
        click.option(
            "--scene",
            type=click.Choice(("auto", "box", "whole")),
            default="auto",
            show_default=True,
            help="What is coded: the inside of the bounds, over a plain background, or all that the pictures show. "
            "auto: the whole scene where there are no masks and the pictures are not plain beside the bounds.",
        ),
        click.option(
            "--near",
            type=click.FloatRange(0.0),
            metavar="D",
            help="Distance from a camera, world units, up to which there is nothing; found for a whole scene.",
        ),
    )
    command: Callable[..., Any] = with_choice
    for option in reversed(options):
        command = option(command)
    return command


def describe_capture(sequence: MultiViewSequence) -> str:
    """A one-line description of an opened capture."""
    held_out = sum(camera.split == "test" for camera in sequence.cameras)
    cameras = counted(len(sequence.cameras) - held_out, "camera") + (f" and {held_out} held out" if held_out else "")
    return (
        f"{sequence.path}: {counted(len(sequence), 'frame')} at {float(sequence.fps):g} fps, {cameras}, "
        f"{_sizes(sequence.cameras)}, bounds {sequence.bounds.ranges()} ({sequence.bounds_source})"
        f"{_scene_text(sequence)}"
    )


def _scene_text(sequence: MultiViewSequence) -> str:
    scene = sequence.scene
    near = f", nothing nearer than {scene.near:.3g} to a camera" if scene.near else ""
    return f", the whole scene is coded ({scene.why}){near}" if scene.whole else near


def say_capture(sequence: MultiViewSequence) -> None:
    """Prints the warnings about a capture that is to be encoded, and its description."""
    from taichi_vvc.capture.sequence import NO_MASKS, NONE_HELD_OUT

    for message in sequence.messages:
        warn(message)
    if not sequence.has_alpha and not sequence.scene.whole:
        warn(NO_MASKS)
    if all(camera.split == "train" for camera in sequence.cameras):
        warn(NONE_HELD_OUT)
    say(describe_capture(sequence))


def _sizes(cameras: Sequence[Camera], limit: int = 3) -> str:
    """The picture sizes as text, from the smallest to the largest; only these two if there are more than ``limit``."""
    found = sorted({(camera.width, camera.height) for camera in cameras}, key=lambda size: (size[0] * size[1], size))
    names = [f"{width}x{height}" for width, height in found]
    return ", ".join(names) if len(names) <= limit else f"{names[0]} to {names[-1]}"
