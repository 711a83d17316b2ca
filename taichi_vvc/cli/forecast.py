"""What rendering many pictures will take, said before it begins."""

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

LEAST = 10  # pictures; fewer are done nearly as soon as one is timed
LONG = 10.0  # seconds from which on it is said what would take less
CROWDED = 0.25  # share of the box; a subject with masks or a plain background takes a few percent to a fifth
_SMALL = 16  # pixels of a picture that only loads the kernels


def say_forecast(
    field_of: Callable[[int], Field],
    shown: Sequence[int],
    camera: Camera,
    background: Sequence[float],
    workspace: Workspace,
    kept: int = 1,
) -> None:
    """Say how many pictures will be rendered, and how long that will take, from timing one of them.

    Args:
        field_of: decodes a frame.
        shown: the frame that each picture shows.
        camera: of the first picture; all have its size.
        background: sRGB in [0, 1].
        workspace: what renders.
        kept: how many decoded frames are kept for later pictures.
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
    """How often a frame is decoded that pictures show, with so many ``kept``."""
    different = len(set(shown))
    if different <= kept:
        return different
    return 1 + sum(a != b for a, b in itertools.pairwise(shown))


def forecast(pictures: int, size: tuple[int, int], seconds: float, occupied: float) -> list[str]:
    """Lines for the user: what it will take, and what would take less.

    ``seconds``: all pictures together; ``occupied``: the share of the box's cells that hold something.
    """
    lines = [f"{counted(pictures, 'picture')} of {size[0]}x{size[1]}, about {duration(seconds)}"]
    if occupied > CROWDED and seconds > LONG:
        lines.append(
            f"{100 * occupied:.0f} % of the box is occupied: a file encoded with masks, or with --bounds around the "
            "subject, renders about ten times as fast"
        )
    return lines
