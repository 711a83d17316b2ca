"""One optimisation step by stage, beside a straightforward torch implementation of the same model, batch and samples.

python benchmarks/step.py --preset fast --threads 1,2 --json step.json
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from fitting import Case, by_stage, prepare
from measure import begin, best, capture_of, parser, per_threads, table, threads_of, write
from taichi_vvc.kernels import quantize, rate
from torch_reference import TorchField, batch_of, torch_step

from taichi_vvc import PRESETS
from taichi_vvc.field.render import measure_opacity
from taichi_vvc.fit.optimize import _quantize

_BATCH = 10**6


def losses(case: Case, field: TorchField) -> tuple[float, float]:
    """Loss of the last batch, ours and torch's: distortion and Laplace rate, without noise."""
    _quantize(case.state, quantize.IDENTITY, case.seed, _BATCH)
    case.distortion(_BATCH)
    runtime, s = case.runtime, case.state.symbols
    rays = case.config.rays
    errors = runtime.download(case.ws.errors.array, rays)
    batch = batch_of(case, field.scales.device.type)
    channel = np.concatenate([np.tile(np.arange(len(q)) + at, q.shape[1]) for q, at in _channels(field)])
    scales = runtime.upload(field.scales.cpu().numpy())
    values, bits = runtime.download(s.parameters, s.count), 0.0
    # In parts, since the kernel's sum is in single precision.
    for a in range(0, s.count, 2048):
        part = values[a : a + 2048]
        tables = runtime.upload(channel[a : a + 2048].astype(np.int32))
        bits += rate.laplace_rate_fwd(part.size, runtime.upload(part.copy()), tables, scales)
    with torch.no_grad():
        error = field.error(batch, noise=False)
        theirs = float(error + field.rate_weight * field.bits())
    return float(errors.mean()) + field.rate_weight * bits, theirs


def _channels(field: TorchField) -> list[tuple[torch.Tensor, int]]:
    result, at = [], 0
    for q in field.symbols:
        result.append((q, at))
        at += len(q)
    return result


def run(options: argparse.Namespace) -> dict[str, Any]:
    """Measure at one thread count and print the table."""
    threads = threads_of(options)[0]
    runtime = begin(options.backend, threads)
    config = PRESETS[options.preset]
    if options.rays:
        config = replace(config, rays=options.rays)
    case = prepare(runtime, config, capture_of(options, slice(0, 1)), options.warm)
    field = TorchField(case)
    ours_loss, torch_loss = losses(case, field)
    batch, optimizer = batch_of(case, field.scales.device.type), field.optimizer(case)
    samples = case.samples
    coloured = int((case.runtime.download(case.ws.weights.array, samples) > 1e-3).sum())
    stages = by_stage(case, options.repeats)
    tables = best(case.plan, max(1, options.repeats // 5), runtime) / 40
    opacity = best(lambda: measure_opacity(case.ws, case.state.field), max(1, options.repeats // 5), runtime) / 100
    ours: list[float] = []
    theirs: list[float] = []
    given: list[float] = []

    def reference(march: bool) -> None:
        torch_step(field, optimizer, batch, march)
        if field.scales.is_cuda:
            torch.cuda.synchronize()

    reference(True)
    # In turns, so that all meet the same neighbours.
    for _ in range(options.repeats):
        ours.append(best(lambda: case.step(_BATCH), 2, runtime))
        theirs.append(best(lambda: reference(True), 2))
        given.append(best(lambda: reference(False), 2))
    step, torch_time = min(ours), min(theirs)
    result = {
        "preset": options.preset,
        "threads": threads,
        "rays": config.rays,
        "samples": samples,
        "coloured": coloured,
        "symbols": case.state.symbols.count,
        "grid_values": case.state.field.map.size,
        "stages_ms": stages,
        "step_ms": 1000 * step,
        "tables_ms": 1000 * tables,
        "opacity_ms": 1000 * opacity,
        "rays_per_s": config.rays / step,
        "samples_per_s": samples / step,
        "torch_ms": 1000 * torch_time,
        "torch_given_samples_ms": 1000 * min(given),
        "torch_samples": len(field.marched(batch).samples),
        "ratio": torch_time / step,
        "ratio_median": float(np.median(np.array(theirs) / np.array(ours))),
        "ratio_given_samples": min(given) / step,
        "ratio_with_tables": torch_time / (step + tables + opacity),
        "loss": ours_loss,
        "torch_loss": torch_loss,
        "loss_difference": abs(ours_loss - torch_loss) / abs(torch_loss),
    }
    print(
        f"{options.preset}, {options.backend}, {threads} threads: {config.rays} rays, {samples} samples, "
        f"{coloured} of them coloured, {result['symbols']} live symbols of {result['grid_values']}"
    )
    total = sum(stages.values())
    table(["stage", "ms", "%"], [[name, ms, 100 * ms / total] for name, ms in stages.items()])
    print(f"step {1000 * step:.2f} ms ({config.rays / step / 1e3:.0f} krays/s, {samples / step / 1e6:.2f} Msamples/s)")
    print(f"besides, per step: code tables every 40 steps {1000 * tables:.2f} ms, opacity {1000 * opacity:.2f} ms")
    print(
        f"torch {1000 * torch_time:.2f} ms ({result['torch_samples']} samples), given the samples "
        f"{1000 * min(given):.2f} ms; loss {ours_loss:.6f}, torch {torch_loss:.6f}"
    )
    print(
        f"ratio torch / ours {result['ratio']:.2f} (median {result['ratio_median']:.2f}), given the samples "
        f"{result['ratio_given_samples']:.2f}, with code tables {result['ratio_with_tables']:.2f}\n",
        flush=True,
    )
    return result


def main() -> None:
    """Read the arguments and measure."""
    options_of = parser(__doc__)
    options_of.add_argument("--preset", default="fast", choices=PRESETS)
    options_of.add_argument("--rays", type=int, help="per step; default the preset's")
    options_of.add_argument("--warm", type=int, default=120, help="steps before anything is measured")
    options_of.add_argument("--repeats", type=int, default=15)
    options = options_of.parse_args()
    write(options, per_threads(options, run))


if __name__ == "__main__":
    main()
