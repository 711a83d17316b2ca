"""Everything that is wanted of a GPU in one run, with nothing from the network: the packaged capture is enough.

python benchmarks/gpu.py --backend cuda --json gpu.json        (or vulkan, metal; on the CPU with small numbers: --tiny)

Prints, and writes as JSON:
- steps per second at the paper's grid sizes and 4096 rays, by stage, and against the floor of that step; launches of a
  step, and what it moves between host and device;
- frames per second at 1920x1080, and against the floor;
- seconds of a key and of an inter frame, and PSNR of each, with the preset's steps;
- the card's measured rates: bytes copied per second, and multiply-adds per second in the same kernels' arithmetic.

The floor is the longer of two times: that of the bytes which must move at the measured copy bandwidth, and that of the
operations at the measured rate. Bytes: per symbol what quantiser and Adam read and write, and per sample both lookups
with their adjoint, once each, as if every grid node came from memory. Operations: those of the perceptrons.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from card import rates
from fitting import Case, by_stage, paper_config, prepare, traffic_of
from measure import begin, best, capture_of, parser, peak_memory, per_threads, table, threads_of, write
from render import resized

from taichi_vvc import PRESETS, encode
from taichi_vvc.mlp import perceptrons
from taichi_vvc.render import Workspace, measure_opacity, render
from taichi_vvc.runtime import Runtime


def floor_of(case: Case, measured: dict[str, float], adjoint: bool) -> dict[str, float]:
    """Seconds that a step (or, without the adjoint, its rendering) takes at the least."""
    projection, colour = perceptrons(case.layout)
    samples = case.samples
    coloured = int((case.runtime.download(case.ws.arrays["weights"], samples) > 1e-3).sum())
    channels = case.layout.channels
    # Eight corners of two grids, four bytes each; the adjoint reads and writes them, and the two factors.
    moved = samples * channels * 4 * (2 * 8 + 3)
    # Quantiser: parameter, reference and place read, level and value written. Update: place, level, table and gradient
    # read, gradient cleared, parameter and both moments read and written.
    symbols = case.state.symbols.count
    if adjoint:
        moved += samples * channels * 4 * (2 * 8 * 2 + 3) + symbols * 4 * (5 + 5 + 6)
    operations = 2 * samples * projection.hidden * (projection.inputs + projection.outputs)
    operations += 2 * coloured * colour.hidden * (colour.inputs + colour.outputs)
    operations *= 3 if adjoint else 1
    by_bytes, by_operations = moved / measured["bytes_per_s"], operations / measured["operations_per_s"]
    return {
        "bytes": moved,
        "operations": operations,
        "bytes_s": by_bytes,
        "operations_s": by_operations,
        "floor_s": max(by_bytes, by_operations),
    }


def steps(runtime: Runtime, options: argparse.Namespace, measured: dict[str, float]) -> dict[str, Any]:
    """A step at the paper's grid sizes."""
    config = replace(paper_config(options.rays), steps_per_side=192)
    if options.tiny:
        config = replace(config, coefficients=8, level_nodes=(6, 8, 10, 12, 14, 16), occupancy_cells=16)
    case = prepare(runtime, config, capture_of(options, slice(0, 1)), options.warm)
    seconds = best(lambda: [case.step() for _ in range(10)], options.repeats, runtime) / 10
    floor = floor_of(case, measured, True)
    return {
        "rays": config.rays,
        "samples": case.samples,
        "grid_values": case.state.field.map.size,
        "symbols": case.state.symbols.count,
        "step_ms": 1000 * seconds,
        "steps_per_s": 1 / seconds,
        "tables_ms": 1000 * best(case.plan, 1, runtime) / 40,
        "stages_ms": by_stage(case, options.repeats),
        "times_floor": seconds / floor["floor_s"],
        **floor,
        **({} if runtime.host_arrays else traffic_of(case)),
    }


def frames(runtime: Runtime, options: argparse.Namespace, measured: dict[str, float]) -> list[dict[str, Any]]:
    """Pictures per second of a fitted field, by the rays that are rendered together."""
    sequence = capture_of(options, slice(0, 1))
    preset = PRESETS[options.preset]
    case = prepare(runtime, replace(preset, rays=min(1024, preset.rays)), sequence, options.warm)
    width, height = (int(n) for n in options.size.split("x"))
    camera = resized(sequence.cameras[0], width, height)
    field, rows = case.state.field, []
    measure_opacity(Workspace(runtime), field)
    field.measured = True
    for chunk in (8192, 65536, width * height):
        ws = Workspace(runtime)

        def picture(ws: Workspace = ws, chunk: int = chunk) -> Any:
            return render(field, camera, case.background, workspace=ws, chunk=chunk)

        picture()
        seconds = best(picture, options.repeats, runtime)
        row = {"width": width, "height": height, "chunk": chunk, "ms": 1000 * seconds, "frames_per_s": 1 / seconds}
        if chunk == width * height:
            last = replace(case, ws=ws, config=replace(case.config, rays=chunk))
            floor = floor_of(last, measured, False)
            row |= {"times_floor": seconds / floor["floor_s"], **floor}
        rows.append(row)
    return rows


def encoded(options: argparse.Namespace) -> list[dict[str, Any]]:
    """Seconds per frame of an encode."""
    config = PRESETS[options.preset]
    if options.tiny:
        config = replace(config, key_iterations=8, inter_iterations=4)
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for frame in encode(capture_of(options, slice(0, 2)), config, Path(folder) / "gpu.tvvc"):
            steps = config.key_iterations if frame.type == "key" else config.inter_iterations
            rows.append(
                {"type": frame.type, "steps": steps, "seconds": frame.seconds, "bytes": frame.bytes, "psnr": frame.psnr}
            )
    return rows


def run(options: argparse.Namespace) -> dict[str, Any]:
    """Measure all and print it."""
    began = time.perf_counter()
    runtime = begin(options.backend, threads_of(options)[0])
    measured = rates(runtime, 1 << (16 if options.tiny else 26), options.repeats)
    print(f"copy {measured['bytes_per_s'] / 1e9:.1f} GB/s, arithmetic {measured['operations_per_s'] / 1e9:.1f} GFLOP/s")
    step = steps(runtime, options, measured)
    print(f"{step['symbols']} live symbols of {step['grid_values']}, {step['rays']} rays, {step['samples']} samples:")
    table(["stage", "ms"], list(step["stages_ms"].items()))
    print(f"{step['steps_per_s']:.1f} steps/s: {step['times_floor']:.1f} x floor of {1000 * step['floor_s']:.3f} ms")
    if "launches" in step:
        moved = step["bytes_to_device"] + step["bytes_to_host"]
        print(f"{step['launches']:.1f} launches and {moved / 1000:.1f} kB between host and device per step")
    pictures = frames(runtime, options, measured)
    table(
        ["size", "rays at once", "ms", "frames/s", "times the floor"],
        [
            [f"{r['width']}x{r['height']}", r["chunk"], r["ms"], r["frames_per_s"], r.get("times_floor", "-")]
            for r in pictures
        ],
    )
    fits = encoded(options)
    table(list(fits[0]), [list(row.values()) for row in fits])
    return {
        "rates": measured,
        "step": step,
        "frames": pictures,
        "encode": fits,
        "peak_mib": peak_memory(),
        "seconds": time.perf_counter() - began,
    }


def main() -> None:
    """Read the arguments and measure."""
    options_of = parser(__doc__)
    options_of.set_defaults(backend="auto")
    options_of.add_argument(
        "--preset", default="fast", choices=PRESETS, help="of the field that is drawn, and the encode"
    )
    options_of.add_argument("--rays", type=int, default=4096, help="per step")
    options_of.add_argument("--size", default="1920x1080", help="of the pictures")
    options_of.add_argument("--warm", type=int, default=200, help="steps before anything is timed")
    options_of.add_argument("--repeats", type=int, default=10)
    options_of.add_argument("--tiny", action="store_true", help="small grids and short fits, to try the script")
    options = options_of.parse_args()
    write(options, per_threads(options, run))


if __name__ == "__main__":
    main()
