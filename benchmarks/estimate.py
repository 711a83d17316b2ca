"""How far `tvvc inspect`'s estimates are off: presets encoded on one core, each in a process of its own.

python benchmarks/estimate.py --presets ultrafast,fast --frames 2 --json estimate.json

Prints processor time (kernels from the cache), peak memory and size, each beside its estimate, and what was counted:
the constants in taichi_vvc/measure/estimate.py were fitted to such rows (least squares of the relative errors,
nonnegative).
"""

from __future__ import annotations

import os

# Before NumPy is imported: waiting threads would count as processor time.
os.environ.update(OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1")

import argparse
import dataclasses
import tempfile
import time
from pathlib import Path
from typing import Any

from measure import begin, capture_of, parser, peak_memory, per_preset, table, write

import taichi_vvc as tv
from taichi_vvc.measure.estimate import estimate, work_of


def encode(options: argparse.Namespace) -> dict[str, Any]:
    """One preset: what was estimated, what was measured, what was counted."""
    # One core, and the reference machine's speed, as the processor time is compared with the model itself.
    sequence = capture_of(options, slice(0, options.frames))
    config = tv.PRESETS[options.preset]
    if options.iterations:
        inter = max(1, options.iterations * config.inter_iterations // config.key_iterations)
        config = dataclasses.replace(config, key_iterations=options.iterations, inter_iterations=inter)
    (guess,) = estimate(sequence, {options.preset: config}, speed=1.0, cores=1)
    work = work_of(config, sequence.bounds, sequence.frame(len(sequence) // 2).views, sequence.scene)
    begin(options.backend, 1)
    before = time.process_time()
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "a.tvvc"
        frames = list(tv.encode(sequence, config, file))
        size = file.stat().st_size
    return {
        "preset": options.preset,
        "iterations": [config.key_iterations, config.inter_iterations],
        "seconds": time.process_time() - before,
        "estimated_s": guess.seconds,
        "memory_mb": peak_memory() * 2**20 / 1e6,
        "estimated_mb": guess.memory / 1e6,
        "bytes": size,
        "estimated_bytes": guess.size,
        "frame_bytes": [frame.bytes for frame in frames],
        "work": dataclasses.asdict(work),
    }


def main() -> None:
    """Read the arguments, encode each preset in a child process, print the table."""
    options_of = parser(__doc__)
    options_of.add_argument("--presets", default="ultrafast,fast")
    options_of.add_argument("--frames", type=int, default=2)
    options_of.add_argument(
        "--iterations", type=int, help="of key frames, instead of the preset's; others in proportion"
    )
    options_of.add_argument("--preset", help=argparse.SUPPRESS)
    options = options_of.parse_args()
    if options.preset:
        write(options, [encode(options)])
        return
    rows = per_preset(options)
    keys = ["preset", "seconds", "estimated_s", "memory_mb", "estimated_mb", "bytes", "estimated_bytes"]
    table(keys, [[row[key] for key in keys] for row in rows])
    write(options, rows)


if __name__ == "__main__":
    main()
