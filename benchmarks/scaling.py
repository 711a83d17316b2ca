"""Time per step and peak memory against grid size and rays per step, each point in a process of its own.

python benchmarks/scaling.py --json scaling.json
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

from fitting import prepare
from measure import begin, best, capture_of, parser, peak_memory, table, threads_of, write

from taichi_vvc import PRESETS

GRIDS, RAYS = (0.5, 1.0, 1.5, 2.0), (512, 1536, 4096)


def point(options: argparse.Namespace) -> dict[str, Any]:
    """One point: the preset with its grids' nodes per axis times ``--scale`` and with ``--rays``."""
    threads = threads_of(options)[0]
    runtime = begin(options.backend, threads)
    preset = PRESETS[options.preset]
    config = replace(
        preset,
        rays=options.rays,
        coefficients=max(4, round(preset.coefficients * options.scale)),
        level_nodes=tuple(max(4, round(n * options.scale)) for n in preset.level_nodes),
    )
    sequence = capture_of(options, slice(0, 1))
    before = peak_memory()
    case = prepare(runtime, config, sequence, options.warm)
    return {
        "scale": options.scale,
        "rays": options.rays,
        "threads": threads,
        "grid_values": case.state.field.map.size,
        "symbols": case.state.symbols.count,
        "samples": case.samples,
        "step_ms": 1000 * best(case.step, options.repeats, runtime),
        "tables_ms": 1000 * best(case.plan, 1, runtime) / 40,
        "before_mib": before,
        "peak_mib": peak_memory(),
    }


def main() -> None:
    """Read the arguments, measure each point in a child process, print the table."""
    options_of = parser(__doc__)
    options_of.add_argument("--preset", default="fast", choices=PRESETS)
    options_of.add_argument("--grids", default=",".join(map(str, GRIDS)), help="factors of the nodes per axis")
    options_of.add_argument("--batches", default=",".join(map(str, RAYS)), help="rays per step")
    options_of.add_argument("--warm", type=int, default=40)
    options_of.add_argument("--repeats", type=int, default=8)
    options_of.add_argument("--scale", type=float, help=argparse.SUPPRESS)
    options_of.add_argument("--rays", type=int, help=argparse.SUPPRESS)
    options = options_of.parse_args()
    if options.scale:
        write(options, [point(options)])
        return
    rays = PRESETS[options.preset].rays
    points = [(scale, rays) for scale in map(float, options.grids.split(","))]
    points += [(1.0, n) for n in map(int, options.batches.split(",")) if (1.0, n) not in points]
    rows = []
    for scale, count in points:
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "point.json"
            arguments = [*sys.argv[1:], "--scale", str(scale), "--rays", str(count), "--json", str(file)]
            subprocess.run([sys.executable, sys.argv[0], *arguments], check=True)
            rows += json.loads(file.read_text(encoding="utf-8"))["results"]
    keys = ["scale", "rays", "grid_values", "symbols", "samples", "step_ms", "tables_ms", "peak_mib"]
    table(keys, [[row[key] for key in keys] for row in rows])
    write(options, rows)


if __name__ == "__main__":
    main()
