"""Estimates how long ``tvvc render`` will take, and prints that before rendering begins."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Sequence

from taichi_vvc.cli.progress import say
from taichi_vvc.field.grids import Field
from taichi_vvc.field.render import render_rgb8
from taichi_vvc.field.workspace import Workspace
from taichi_vvc.types import Camera
from taichi_vvc.words import counted, duration

LEAST = 10  # smallest number of pictures for an estimate; fewer take hardly longer than the measurement
LONG = 10.0  # seconds of rendering from which on advice to shorten it is printed
CROWDED = 0.25  # occupied share of the box that counts as large; masks or a plain background give up to a fifth
_SMALL = 16  # side of the picture that is rendered first to load the kernels, pixels


def say_forecast(
    field_of: Callable[[int], Field],
    shown: Sequence[int],
    camera: Camera,
    background: Sequence[float],
    workspace: Workspace,
    kept: int = 1,
) -> None:
    """Prints the number of pictures to render and the expected time, measured by rendering one of them.

    Args:
        field_of: decodes a frame.
        shown: the frame that each picture shows.
        camera: the camera of the first picture; all pictures have its size.
        background: sRGB in [0, 1].
        workspace: the device arrays for rendering.
        kept: number of decoded frames that are cached.
    """
    if len(shown) < LEAST:
        return
    began = time.perf_counter()
    field = field_of(shown[0])
    decoding = time.perf_counter() - began
    render_rgb8(field, camera.resized(_SMALL, _SMALL), background, workspace=workspace)
    began = time.perf_counter()
    render_rgb8(field, camera, background, workspace=workspace)
    rendering = time.perf_counter() - began
    seconds = len(shown) * rendering + decodes(shown, kept) * decoding
    for line in forecast(len(shown), (camera.width, camera.height), seconds, float(field.mask.mean())):
        say(line)


def decodes(shown: Sequence[int], kept: int) -> int:
    """The number of times a frame is decoded for pictures that show the frames ``shown``, with ``kept`` in a cache."""
    different = len(set(shown))
    if different <= kept:
        return different
    return 1 + sum(a != b for a, b in itertools.pairwise(shown))


def forecast(pictures: int, size: tuple[int, int], seconds: float, occupied: float) -> list[str]:
    """Lines for the user: the expected time, and advice if it is long.

    Args:
        pictures: number of pictures.
        size: (width, height) of each, pixels.
        seconds: expected time for all of them.
        occupied: share of occupied cells in the box.
    """
    lines = [f"{counted(pictures, 'picture')} of {size[0]}x{size[1]}, about {duration(seconds)}"]
    if occupied > CROWDED and seconds > LONG:
        lines.append(
            f"{100 * occupied:.0f} % of the box is occupied: a file encoded with masks, or with --bounds around the "
            "subject, renders about ten times as fast"
        )
    return lines
