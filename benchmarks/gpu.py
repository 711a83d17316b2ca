"""Everything that is wanted of a GPU in one run, with nothing from the network: the packaged capture is enough.

python benchmarks/gpu.py --backend cuda --json gpu.json        (or vulkan, metal; on the CPU with small numbers: --tiny)

Prints, and writes as JSON:
- steps per second at the paper's grid sizes and 4096 rays, by stage, and against the floor of that step; launches of a
  step, and what it moves between host and device;
- frames per second at 1920x1080, and against the floor;
- the perceptrons by our kernels, and by torch's matrix products where torch is installed for the card;
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
from taichi_vvc.config import layout_of
from taichi_vvc.field.mlp import Perceptron, mlp_backward, mlp_forward, perceptrons
from taichi_vvc.field.render import Workspace, measure_opacity, render, render_parts, render_rgb8
from taichi_vvc.runtime import Runtime
from taichi_vvc.types import Bounds, Camera


def floor_of(case: Case, measured: dict[str, float], adjoint: bool) -> dict[str, float]:
    """Seconds that a step (or, without the adjoint, its rendering) takes at the least."""
    projection, colour = perceptrons(case.layout)
    samples = case.samples
    coloured = int((case.runtime.download(case.ws.weights.array, samples) > 1e-3).sum())
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
    ws = Workspace(runtime)
    floor = picture_floor(replace(case, ws=ws), measured, camera)
    for name, draw in (("floats, depth, opacity", render), ("bytes", render_rgb8)):
        for chunk in (8192, 65536, None):

            def picture(draw: Any = draw, chunk: int | None = chunk) -> Any:
                return draw(field, camera, case.background, workspace=ws, chunk=chunk)

            picture()
            seconds = best(picture, options.repeats, runtime)
            size = {"picture": name, "width": width, "height": height, "chunk": chunk or "default"}
            times = {"ms": 1000 * seconds, "frames_per_s": 1 / seconds, "times_floor": seconds / floor["floor_s"]}
            rows.append({**size, **times, **floor})
    return rows


def picture_floor(case: Case, measured: dict[str, float], camera: Camera) -> dict[str, float]:
    """The floor of a picture: the sums of its parts', each of which :func:`floor_of` knows."""
    total: dict[str, float] = {}
    done = 0
    for pixels in render_parts(case.ws, case.state.field, camera, case.background):
        case.config = replace(case.config, rays=pixels - done)
        done = pixels
        for key, value in floor_of(case, measured, False).items():
            total[key] = total.get(key, 0.0) + value
    return total


def products(runtime: Runtime, options: argparse.Namespace) -> list[dict[str, Any]]:
    """Both perceptrons of the paper's field, forward and adjoint: our kernels for a GPU, and torch's products (cuBLAS).

    Torch is asked for the same numbers: activations kept, gradients of inputs and weights. Without torch, or where it
    does not know the device, ours alone.
    """
    try:
        import torch
    except ImportError:
        torch = None
    names = {"cpu": "cpu", "cuda": "cuda", "metal": "mps"}
    there = torch is not None and runtime.backend in names
    if there and runtime.backend == "cuda":
        there = torch.cuda.is_available()
    rows = []
    layout = layout_of(paper_config(), Bounds((0, 0, 0), (1, 1, 1)), [])
    for name, p in zip(("projection", "colour"), perceptrons(layout), strict=True):
        count = 1 << (10 if options.tiny else 16)
        seconds = kernel_products(runtime, count, p, options.repeats)
        row = {"perceptron": name, "rows": count, "kernels_ms": 1000 * seconds}
        if there:
            row["torch_ms"] = 1000 * torch_products(torch, names[runtime.backend], count, p, options.repeats)
        rows.append(row)
    return rows


def kernel_products(runtime: Runtime, count: int, p: Perceptron, repeats: int) -> float:
    """Seconds of :func:`mlp_forward` and :func:`mlp_backward`."""
    sizes = [p.end, *(count * n for n in (p.inputs, p.hidden, p.outputs, p.outputs, p.inputs, p.hidden)), p.end]
    weights, x, hidden, y, d_y, d_x, scratch, gradient = (runtime.zeros(size) for size in sizes)

    def ours() -> None:
        mlp_forward(count, p, weights, x, hidden, y)
        mlp_backward(count, p, weights, x, hidden, d_y, d_x, gradient, scratch)

    ours()
    return best(ours, repeats, runtime)


def torch_products(torch: Any, device: str, count: int, p: Perceptron, repeats: int) -> float:
    """Seconds that torch takes for what :func:`mlp_forward` and :func:`mlp_backward` do."""
    shapes = (p.inputs, p.hidden), (p.hidden,), (p.hidden, p.outputs), (p.outputs,)
    w1, b1, w2, b2 = (torch.rand(*shape, device=device) for shape in shapes)
    x, d_y = torch.rand(count, p.inputs, device=device), torch.rand(count, p.outputs, device=device)

    def theirs() -> None:
        with torch.no_grad():
            hidden = torch.addmm(b1, x, w1).relu_()
            torch.addmm(b2, hidden, w2)
            d_hidden = (d_y @ w2.T) * (hidden > 0)
            _ = d_hidden @ w1.T, hidden.T @ d_y, d_y.sum(0), x.T @ d_hidden, d_hidden.sum(0)
        if device == "cuda":
            torch.cuda.synchronize()
        elif device == "mps":
            torch.mps.synchronize()

    theirs()
    return best(theirs, repeats)


def encoded(options: argparse.Namespace) -> list[dict[str, Any]]:
    """Seconds per frame of an encode."""
    config = PRESETS[options.preset]
    if options.tiny:
        config = replace(config, key_iterations=8, inter_iterations=4)
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for frame in encode(capture_of(options, slice(0, 2)), config, Path(folder) / "gpu.tvvc"):
            steps = config.iterations(frame.type == "key", frame.index == 0)
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
        ["picture", "size", "rays at once", "ms", "frames/s", "times the floor"],
        [
            [r["picture"], f"{r['width']}x{r['height']}", r["chunk"], r["ms"], r["frames_per_s"], r["times_floor"]]
            for r in pictures
        ],
    )
    networks = products(runtime, options)
    table(
        ["perceptron", "rows", "kernels, ms", "torch, ms"],
        [[r["perceptron"], r["rows"], r["kernels_ms"], r.get("torch_ms", "-")] for r in networks],
    )
    fits = encoded(options)
    table(list(fits[0]), [list(row.values()) for row in fits])
    return {
        "rates": measured,
        "step": step,
        "frames": pictures,
        "perceptrons": networks,
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
