"""Time and peak memory along each axis of an encode, each point in a process of its own.

python benchmarks/scaling.py --axes grid,rays,size,cameras,threads,frames,paper --json scaling.json

grid, rays, size (downscale), cameras, threads: one optimisation step. frames: an encode of so many frames, a few steps
each. paper: an encode of one key and one inter frame with grids of the paper's sizes and 4096 rays, a few steps each.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from fitting import paper_config, prepare
from measure import begin, best, capture_of, in_child, parser, peak_memory, table, threads_of, write

from taichi_vvc import PRESETS, encode

AXES = ("grid", "rays", "size", "cameras", "threads", "frames", "paper")


def step_point(options: argparse.Namespace) -> dict[str, Any]:
    """One optimisation step: the preset with its nodes per axis times ``--scale`` and with ``--rays``."""
    runtime = begin(options.backend, threads_of(options)[0])
    preset = PRESETS[options.preset]
    config = replace(
        preset,
        rays=options.rays,
        coefficients=max(4, round(preset.coefficients * options.scale)),
        level_nodes=tuple(max(4, round(n * options.scale)) for n in preset.level_nodes),
        nodes_per_pixel=0.0,
    )
    sequence = capture_of(options, slice(0, 1))
    before = peak_memory()
    case = prepare(runtime, config, sequence, options.warm, options.only_cameras)
    return {
        "cameras": len(case.training.views),
        "pixels": case.training.table.pixels,
        "grid_values": case.state.field.map.size,
        "symbols": case.state.symbols.count,
        "samples": case.samples,
        "step_ms": 1000 * best(case.step, options.repeats, runtime),
        "tables_ms": 1000 * best(case.plan, 1, runtime) / 40,
        "before_mib": before,
        "peak_mib": peak_memory(),
    }


def encode_point(options: argparse.Namespace) -> dict[str, Any]:
    """A whole encode with few steps per frame."""
    begin(options.backend, threads_of(options)[0])
    config = paper_config(options.rays) if options.axis == "paper" else PRESETS[options.preset]
    config = replace(config, key_iterations=options.warm, inter_iterations=options.warm)
    sequence = capture_of(options, slice(0, options.only_frames))
    before = peak_memory()
    stats, peaks, start = [], [], time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        for frame in encode(sequence, config, Path(folder) / "scaling.tvvc"):
            stats.append(frame)
            peaks.append(peak_memory())
    seconds = time.perf_counter() - start
    return {
        "frames": len(stats),
        "cameras": len(sequence.cameras),
        "pixels": None,
        "grid_values": None,
        "symbols": None,
        "samples": None,
        "step_ms": 1000 * seconds / (len(stats) * options.warm),
        "tables_ms": None,
        "before_mib": before,
        "peak_mib": max(peaks),
        "peak_mib_after_frame": peaks,
        "seconds_per_frame": seconds / len(stats),
    }


def points(options: argparse.Namespace) -> list[tuple[str, Any, list[str]]]:
    """Axis, value and arguments of each point."""
    rays, threads = PRESETS[options.preset].rays, str(options.threads)
    found: list[tuple[str, Any, list[str]]] = []

    def add(axis: str, values: str, *arguments: str, rays: int | None = rays) -> None:
        for value in values.split(",") if axis in options.axes.split(",") else ():
            filled = [part.format(value) for part in arguments]
            if "--rays" not in filled:
                filled += ["--rays", str(rays)]
            found.append(
                (axis, float(value), ["--axis", axis, *(() if "--scale" in filled else ("--scale", "1")), *filled])
            )

    add("grid", options.grids, "--scale", "{}", "--threads", threads)
    add("rays", options.batches, "--rays", "{}", "--threads", threads)
    add("size", options.sizes, "--downscale", "{}", "--threads", threads)
    add("cameras", options.counts, "--only-cameras", "{}", "--threads", threads)
    add("threads", ",".join(str(n) for n in range(1, (os.cpu_count() or 1) + 1)), "--threads", "{}")
    add("frames", options.lengths, "--only-frames", "{}", "--threads", threads)
    add("paper", "2", "--only-frames", "{}", "--threads", threads, rays=4096)
    return found


def main() -> None:
    """Read the arguments, measure each point in a child process, print the table."""
    options_of = parser(__doc__)
    options_of.add_argument("--axes", default="grid,rays", help=",".join(AXES))
    options_of.add_argument("--preset", default="fast", choices=PRESETS)
    options_of.add_argument("--grids", default="0.5,1,1.5,2", help="factors of the nodes per axis")
    options_of.add_argument("--batches", default="512,1536,4096", help="rays per step")
    options_of.add_argument("--sizes", default="1,2,4", help="downscale factors of the pictures")
    options_of.add_argument("--counts", default="2,4,8", help="training cameras, as far as there are so many")
    options_of.add_argument("--lengths", default="1,2,4", help="frames, as far as there are so many")
    options_of.add_argument("--warm", type=int, default=40, help="steps before a step is timed, or per encoded frame")
    options_of.add_argument("--repeats", type=int, default=8)
    for name, kind in {"axis": str, "scale": float, "rays": int, "only-cameras": int, "only-frames": int}.items():
        options_of.add_argument(f"--{name}", type=kind, help=argparse.SUPPRESS)
    options = options_of.parse_args()
    if options.axis:
        point = encode_point if options.axis in ("frames", "paper") else step_point
        write(options, [point(options)])
        return
    rows = []
    for axis, value, arguments in points(options):
        (row,) = in_child([*sys.argv[1:], *arguments])
        rows.append({"axis": axis, "value": value, **row})
        print(f"{axis} {value:g}: {row['step_ms']:.1f} ms per step, {row['peak_mib']:.0f} MiB", flush=True)
    keys = ["axis", "value", "grid_values", "symbols", "samples", "step_ms", "tables_ms", "peak_mib"]
    table(keys, [["-" if row[key] is None else row[key] for key in keys] for row in rows])
    write(options, rows)


if __name__ == "__main__":
    main()
