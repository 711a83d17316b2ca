"""PSNR on held-out views against wall time: a key frame fitted by the encoder and by the torch reference.

python benchmarks/convergence.py --capture CAPTURE --downscale 2 --preset fast --json convergence.json

Both fit the same field (grids, perceptrons, occupancy, live symbols) to the same training pixels, with batches of the
same size, the preset's number of steps, the same learning rates and decay. Ours is the encoder's own fit: noise, then
rounding, rate under the coder's tables, pruned cells, frozen perceptrons. Torch marches its rays itself, adds noise and
a rate of one Laplace distribution per channel (measured every 40 steps, from the same step on as ours), never rounds,
and keeps the cells of the first mask, as plain code does. ``--torch-pruned`` gives it from its first step on the cells,
opacity bounds and live symbols that ours ends with. ``--our-steps`` lets ours take fewer steps than torch: its learning
rates fall within these, which is how one would fit where time is short.

They take turns, some steps each, so that both meet the same neighbours; each one's clock runs only while it fits.
Views are rendered by the same renderer from the values that each has reached, between the turns and off the clock.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from fitting import Case, prepare
from measure import begin, capture_of, parser, per_threads, table, threads_of, write
from taichi_vvc.kernels import quantize
from torch_reference import TorchField, batch_of, torch_step

from taichi_vvc import PRESETS
from taichi_vvc.coding.quantize import grid_values
from taichi_vvc.field.grids import Field, flat_values, make_field
from taichi_vvc.field.mlp import flatten
from taichi_vvc.field.render import Workspace, make_rays, render
from taichi_vvc.fit import optimize
from taichi_vvc.fit.parameters import scatter_live
from taichi_vvc.fit.prediction import Prediction
from taichi_vvc.fit.schedule import Schedule
from taichi_vvc.fit.state import NoTables, begin_fit
from taichi_vvc.media.metrics import psnr
from taichi_vvc.types import View

TURN = 20


class Clock:
    """Seconds of one fit, and what it had reached when."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self.steps = 0
        self.reached: list[dict[str, float]] = []

    def note(self, quality: float) -> None:
        """Write down a quality."""
        self.reached.append({"steps": self.steps, "seconds": self.seconds, "psnr": quality})

    def time_to(self, quality: float) -> float | None:
        """Seconds until a quality, interpolated between the measurements before and after; None if never."""
        before: dict[str, float] | None = None
        for point in self.reached:
            if point["psnr"] >= quality:
                if before is None:
                    return point["seconds"]
                share = (quality - before["psnr"]) / (point["psnr"] - before["psnr"])
                return before["seconds"] + share * (point["seconds"] - before["seconds"])
            before = point
        return None


def quality_of(f: Field, views: list[View], background: tuple[float, ...]) -> float:
    """Mean PSNR of the views, rendered over the background."""
    found = []
    for view in views:
        alpha = view.image[..., 3:].astype(np.float32) / 255
        target = view.image[..., :3].astype(np.float32) / 255 * alpha + np.asarray(background, np.float32) * (1 - alpha)
        found.append(psnr(render(f, view.camera, background).colour, target))
    return float(np.mean(found))


def copied(case: Case, grids: tuple[np.ndarray, ...], mlp: np.ndarray) -> Field:
    """A field of its own from dense grid values and flat weights, on the case's occupancy."""
    f = case.state.field
    return make_field(case.runtime, case.layout, flat_values(f.map, case.layout, grids), mlp, f.mask)


def ours_now(case: Case, mode: int) -> Field:
    """What the encoder's fit has reached: rounded as soon as it rounds."""
    s, steps = case.state.symbols, case.state.steps
    values = np.array(case.runtime.download(s.parameters, s.count))
    dense = scatter_live(case.layout, s.live, s.ranges, np.floor(values + 0.5) if mode == quantize.ROUND else values)
    grids = tuple(grid_values(d, step, n) for n, (d, step) in enumerate(zip(dense, steps, strict=True)))
    size = sum(int(np.prod(shape)) for shape in case.layout.mlp_shapes)
    return copied(case, grids, np.array(case.runtime.download(case.state.field.mlp, size)))


def torch_now(case: Case, field: TorchField) -> Field:
    """What torch has reached, without noise."""
    with torch.no_grad():
        grids = tuple(g[0].permute(1, 2, 3, 0).contiguous().cpu().numpy() for g in field.grids(False))
        layers = [field.projection[0], field.projection[2], field.colour[0], field.colour[2]]
        tensors = [t for layer in layers for t in (layer.weight.T.contiguous().cpu().numpy(), layer.bias.cpu().numpy())]
    return copied(case, grids, flatten(tuple(tensors)))


def encoder_steps(case: Case, total: int) -> Iterator[int]:
    """The steps of :func:`taichi_vvc.fit.optimize.fit_frame` on a key frame; yields the quantiser's mode after each."""
    config, state = case.config, case.state
    schedule = Schedule.of(replace(config, key_iterations=total, first_fit=1.0), Prediction.scratch())
    for turn in schedule:
        if turn.prune and optimize._prune(case.ws, state, config, case.training, turn.margin):
            state.tables = NoTables()
        if turn.measure_opacity:
            optimize.measure_opacity(case.ws, state.field)
        if turn.freeze_mlp:
            optimize._freeze_mlp(state, config)
        optimize._quantize(state, turn.mode, case.seed, turn.iteration)
        case.distortion(turn.iteration)
        if turn.rate and (turn.new_tables or isinstance(state.tables, NoTables)):
            case.plan()
        optimize._update(state, schedule, case.training, turn)
        yield turn.mode


def torch_steps(case: Case, field: TorchField, total: int) -> Iterator[int]:
    """As many steps of the torch reference, each on rays of its own draw."""
    optimizer = field.optimizer(case)
    start = [group["lr"] for group in optimizer.param_groups]
    generator = np.random.default_rng(5)
    candidates = np.array(case.runtime.download(case.training.candidates, case.training.count))
    images = np.array(case.runtime.download(case.training.images)).view(np.uint8).reshape(-1, 4)
    device, rays = field.scales.device, case.config.rays
    ws = Workspace(case.runtime)
    make_rays(ws, case.layout, case.training.table, case.training.candidates, case.training.count)
    # All rays are laid out once and before the clock starts, which spares torch the work that ours does at each step.
    every = torch.from_numpy(np.array(case.runtime.download(ws.rays.array, case.training.count * 8)).reshape(-1, 8))
    pictures = torch.from_numpy(images[candidates].astype(np.float32) / 255)
    every, pictures = every.to(device), pictures.to(device)
    empty = batch_of(case, device.type)
    clear = 1 - pictures[:, 3:]
    wanted = torch.cat([pictures[:, :3] * pictures[:, 3:] + empty.background * clear, clear], dim=1)
    yield 0
    weight, field.rate_weight = field.rate_weight, 0.0
    for turn in Schedule.of(replace(case.config, key_iterations=total, first_fit=1.0), Prediction.scratch()):
        if turn.rate and (turn.new_tables or field.rate_weight == 0):
            field.rate_weight = weight
            scales = [torch.floor(q.detach() + 0.5).abs().mean(1).clamp_min(0.05) for q in field.symbols]
            field.scales.copy_(torch.cat(scales))
        drawn = torch.from_numpy(generator.integers(0, len(candidates), rays)).to(device)
        for group, rate in zip(optimizer.param_groups, start, strict=True):
            group["lr"] = rate * turn.learning_rate
        torch_step(field, optimizer, replace(empty, rays=every[drawn], targets=wanted[drawn]))
        if device.type == "cuda":
            torch.cuda.synchronize()
        yield 0


def turn(clock: Clock, steps: Iterator[int], case: Case, count: int) -> int:
    """Take ``count`` steps on the clock; returns the last mode."""
    mode = 0
    start = time.perf_counter()
    for _, mode in zip(range(count), steps, strict=False):  # noqa: B007
        clock.steps += 1
    case.runtime.sync()
    clock.seconds += time.perf_counter() - start
    return mode


def run(options: argparse.Namespace) -> dict[str, Any]:
    """Fit with both and print the table."""
    runtime = begin(options.backend, threads_of(options)[0])
    config = PRESETS[options.preset]
    config = replace(config, rays=options.rays or config.rays, key_iterations=options.steps or config.key_iterations)
    sequence = capture_of(options, slice(0, 1))
    held_out = [v for v in sequence.frame(0).views if v.camera.split != "train"]
    held_out = held_out or list(sequence.frame(0).views)
    total = config.key_iterations
    own = min(options.our_steps or total, total)
    # Compile every kernel off the clock: a few steps, then both start anew.
    warm = prepare(runtime, config, sequence, 4)
    if options.torch_pruned:
        for _ in encoder_steps(warm, total):
            pass
        warm.step()
    case = prepare(runtime, config, sequence, 0)
    source = case
    if options.torch_pruned:
        fresh = begin_fit(runtime, warm.layout, warm.config, warm.state.field.mask, Prediction.scratch())
        fresh.field.opacity = warm.state.field.opacity
        source = replace(warm, state=fresh)
    if not options.torch_pruned:
        case.distortion(0)  # leaves a batch behind, from which torch takes its shapes
    field = TorchField(source)
    mine, theirs = Clock(), Clock()
    ours, reference = encoder_steps(case, own), torch_steps(source, field, total)
    next(reference)
    mode = quantize.NOISE
    while theirs.steps < total:
        pause, before = min(options.every, total - theirs.steps), mine.steps
        while pause:
            if mine.steps < own:
                mode = turn(mine, ours, case, min(TURN, pause, own - mine.steps))
            turn(theirs, reference, case, min(TURN, pause))
            pause -= min(TURN, pause)
        if mine.steps > before:
            mine.note(quality_of(ours_now(case, mode), held_out, case.background))
        theirs.note(quality_of(torch_now(source, field), held_out, case.background))
        print(
            f"ours {mine.steps:5d} steps {mine.seconds:7.2f} s {mine.reached[-1]['psnr']:.2f} dB, "
            f"torch {theirs.steps:5d} steps {theirs.seconds:7.2f} s {theirs.reached[-1]['psnr']:.2f} dB",
            flush=True,
        )
    final = theirs.reached[-1]["psnr"]
    reached, first = mine.time_to(final), theirs.time_to(final)
    assert first is not None
    result = {
        "preset": options.preset,
        "threads": threads_of(options)[0],
        "steps": total,
        "our_steps": own,
        "rays": config.rays,
        "torch_pruned": bool(options.torch_pruned),
        "held_out": len(held_out),
        "ours": mine.reached,
        "torch": theirs.reached,
        "torch_psnr": final,
        "torch_seconds": theirs.seconds,
        "ours_psnr": mine.reached[-1]["psnr"],
        "ours_seconds": mine.seconds,
        "ours_seconds_to_torch_psnr": reached,
        "torch_seconds_to_its_psnr": first,
        "ratio": None if reached is None else theirs.seconds / reached,
        "ratio_first": None if reached is None else first / reached,
        "ratio_of_steps": (theirs.seconds / theirs.steps) / (mine.seconds / mine.steps),
    }
    table(
        ["", "seconds", "PSNR, dB"],
        [["torch", theirs.seconds, final], ["ours", mine.seconds, mine.reached[-1]["psnr"]]],
    )
    if reached is None:
        print(
            f"ours does not reach torch's {final:.2f} dB; its steps take {result['ratio_of_steps']:.2f} times as long"
        )
    else:
        print(
            f"ours reaches torch's final {final:.2f} dB after {reached:.2f} s: ratio {result['ratio']:.2f}, or "
            f"{result['ratio_first']:.2f} against the time after which torch had it for the first time"
        )
    return result


def main() -> None:
    """Read the arguments and measure."""
    options_of = parser(__doc__)
    options_of.add_argument("--preset", default="fast", choices=PRESETS)
    options_of.add_argument("--steps", type=int, help="default the preset's for a key frame")
    options_of.add_argument("--our-steps", type=int, help="of our fit, where it shall take fewer")
    options_of.add_argument("--rays", type=int, help="per step; default the preset's")
    options_of.add_argument("--every", type=int, default=60, help="steps between two measurements of the quality")
    options_of.add_argument("--torch-pruned", action="store_true", help="give torch the cells that ours ends with")
    options = options_of.parse_args()
    write(options, per_threads(options, run))


if __name__ == "__main__":
    main()
