"""What each preset costs and brings: processor time against quality and bytes.

python benchmarks/presets.py --presets ultrafast,fast,medium --seeds 0,1 --plot presets.png --json presets.json

Each preset encodes in a process of its own at its lambda; processor time counts all cores and no neighbours, kernels
come from the cache. PSNR is of the held-out views, or of the training views where there are none. "Charged" is the
PSNR after paying for the bytes at the presets' lambda, which is what an encode maximises:
-10 log10(mse + lambda bits / (3 pixels of a view)). Figures are means over the seeds: those of held-out views differ by
several tenths of a dB from seed to seed.
"""

from __future__ import annotations

import argparse
import math
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from statistics import mean
from typing import Any

from measure import begin, capture_of, parser, per_preset, table, threads_of, write

import taichi_vvc as tv
from taichi_vvc.measure.evaluate import evaluate

_TEXT = ("preset", "views")


def encode(options: argparse.Namespace) -> dict[str, Any]:
    """One preset: time, bytes, quality, as means over the seeds."""
    rows = [encode_once(options, int(seed)) for seed in options.seeds.split(",")]
    return {key: mean(row[key] for row in rows) if key not in _TEXT else rows[0][key] for key in rows[0]}


def encode_once(options: argparse.Namespace, seed: int) -> dict[str, Any]:
    """The same with one seed."""
    sequence = capture_of(options, slice(0, options.frames))
    config = replace(tv.PRESETS[options.preset], seed=seed)
    begin(options.backend, threads_of(options)[0])
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "a.tvvc"
        before = time.process_time()
        frames = list(tv.encode(sequence, config, file))
        seconds = time.process_time() - before
        held_out = any(camera.split == "test" for camera in sequence.cameras)
        result = evaluate(file, sequence.path, split="test" if held_out else "train", backend=options.backend)
        size = file.stat().st_size
    pixels = sum(c.width * c.height for c in sequence.cameras) / len(sequence.cameras)
    charge = config.lambda_rate * 8 * size / len(frames) / (3 * pixels)
    return {
        "preset": options.preset,
        "seconds": seconds,
        "seconds_per_frame": seconds / len(frames),
        "kb_per_frame": size / len(frames) / 1000,
        "psnr": result["psnr"],
        "charged": -10 * math.log10(10 ** (-result["psnr"] / 10) + charge),
        "views": "held out" if held_out else "training",
    }


def plot(rows: list[dict[str, Any]], path: Path) -> None:
    """Processor time against the charged PSNR, one point per preset."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.4, 4.0), layout="constrained")
    axes = figure.subplots()
    axes.plot([row["seconds_per_frame"] for row in rows], [row["charged"] for row in rows], "o-", color="#3b6ea8")
    for row in rows:
        text = f"{row['preset']}: {row['psnr']:.2f} dB, {row['kb_per_frame']:.1f} kB"
        axes.annotate(text, (row["seconds_per_frame"], row["charged"]), (6, -12), textcoords="offset points", size=8)
    axes.set(xscale="log", xlabel="processor seconds per frame", ylabel="PSNR, bytes charged (dB)")
    axes.margins(x=0.25, y=0.15)
    axes.grid(alpha=0.3)
    figure.savefig(path, dpi=110)


def main() -> None:
    """Read the arguments, encode with each preset in a child process, print the table."""
    options_of = parser(__doc__)
    options_of.add_argument("--presets", default="ultrafast,fast,medium")
    options_of.add_argument("--frames", type=int, default=3)
    options_of.add_argument("--seeds", default="0", help="A,B,...: means over encodes with these seeds")
    options_of.add_argument("--plot", type=Path, help="write a plot to this file (needs matplotlib)")
    options_of.add_argument("--preset", help=argparse.SUPPRESS)
    options = options_of.parse_args()
    if options.preset:
        write(options, [encode(options)])
        return
    rows = per_preset(options)
    keys = ["preset", "seconds", "seconds_per_frame", "kb_per_frame", "psnr", "charged", "views"]
    table(keys, [[row[key] for key in keys] for row in rows])
    write(options, rows)
    if options.plot:
        plot(rows, options.plot)


if __name__ == "__main__":
    main()
