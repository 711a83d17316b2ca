"""Frames per second of the renderer, by picture size and preset, on fields that were really fitted.

python benchmarks/render.py --presets fast,medium --large --json render.json

With ``--fitted`` the first frame is encoded as a user would, to the end, and decoded; else it is fitted for a few
steps, which leaves more of space occupied and the densities softer.
"""

from __future__ import annotations

import argparse
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from fitting import prepare
from measure import begin, best, capture_of, parser, per_threads, table, threads_of, write

import taichi_vvc
from taichi_vvc import PRESETS
from taichi_vvc.capture.sequence import MultiViewSequence
from taichi_vvc.field.grids import Field
from taichi_vvc.field.render import Workspace, measure_opacity, render
from taichi_vvc.runtime import Runtime
from taichi_vvc.types import Camera

SIZES = ((256, 256), (1280, 720), (1920, 1080))


def resized(camera: Camera, width: int, height: int) -> Camera:
    """The camera with another picture, which shows what its shorter side showed before."""
    scale = min(width, height) / min(camera.width, camera.height)
    return replace(
        camera,
        width=width,
        height=height,
        fx=camera.fx * scale,
        fy=camera.fy * scale,
        cx=width / 2 + (camera.cx - camera.width / 2) * scale,
        cy=height / 2 + (camera.cy - camera.height / 2) * scale,
    )


def field_of(runtime: Runtime, preset: str, sequence: MultiViewSequence, options: argparse.Namespace) -> Field:
    """The first frame's field: encoded and decoded, or fitted for some steps."""
    config = PRESETS[preset]
    if not options.fitted:
        return prepare(runtime, replace(config, rays=min(1024, config.rays)), sequence, options.warm).state.field
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "field.tvvc"
        for _ in taichi_vvc.encode(sequence, config, path):
            pass
        with taichi_vvc.open(path) as stream:
            return stream[0]


def run(options: argparse.Namespace) -> dict[str, Any]:
    """Measure all presets and sizes at one thread count."""
    threads = threads_of(options)[0]
    runtime = begin(options.backend, threads)
    sequence = capture_of(options, slice(0, 1))
    sizes = [tuple(map(int, s.split("x"))) for s in options.sizes.split(",")] if options.sizes else SIZES[:2]
    sizes = [*sizes, SIZES[2]] if options.large and not options.sizes else sizes
    rows = []
    for preset in options.presets.split(","):
        field, ws = field_of(runtime, preset, sequence, options), Workspace(runtime)
        measure_opacity(ws, field)
        field.measured = True
        for width, height in sizes:
            camera = resized(sequence.cameras[0], width, height)

            def picture(camera: Camera = camera, ws: Workspace = ws, field: Field = field):
                return render(field, camera, workspace=ws)

            opacity = picture().opacity
            seconds = best(picture, options.repeats, runtime)
            rows.append(
                {
                    "preset": preset,
                    "width": width,
                    "height": height,
                    "threads": threads,
                    "ms": 1000 * seconds,
                    "fps": 1 / seconds,
                    "covered": float(np.mean(opacity > 0.5)),
                    "steps_per_side": field.layout.steps_per_side,
                }
            )
    table(
        ["preset", "size", "threads", "ms", "frames/s", "covered"],
        [[r["preset"], f"{r['width']}x{r['height']}", threads, r["ms"], r["fps"], r["covered"]] for r in rows],
    )
    return {"threads": threads, "rows": rows}


def main() -> None:
    """Read the arguments and measure."""
    options_of = parser(__doc__)
    options_of.add_argument("--presets", default="ultrafast,fast,medium")
    options_of.add_argument("--sizes", help="WxH,WxH instead of 256x256 and 1280x720")
    options_of.add_argument("--large", action="store_true", help="1920x1080, too")
    options_of.add_argument("--fitted", action="store_true", help="encode the frame to the end and decode it")
    options_of.add_argument("--warm", type=int, default=200, help="steps that each field is fitted")
    options_of.add_argument("--repeats", type=int, default=5)
    options = options_of.parse_args()
    write(options, per_threads(options, run))


if __name__ == "__main__":
    main()
