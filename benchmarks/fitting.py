"""One optimisation step of the encoder, set up so that it can be timed whole and by stage."""

from __future__ import annotations

import importlib
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

from taichi_vvc.kernels import adam, geometry, grids_cpu, grids_gpu, launch, mlp_cpu, quantize, shade, update
from taichi_vvc.kernels._taichi import ti

from taichi_vvc.capture.sequence import MultiViewSequence
from taichi_vvc.coding.known import NOTHING
from taichi_vvc.config import PRESETS, EncoderConfig, layout_of
from taichi_vvc.encoder.settle import settle_background
from taichi_vvc.field import shading
from taichi_vvc.field.render import Workspace, measure_opacity
from taichi_vvc.fit import colour_error, optimize
from taichi_vvc.fit.occupancy import first_mask
from taichi_vvc.fit.prediction import Prediction
from taichi_vvc.fit.rate_on_device import DevicePlanner
from taichi_vvc.fit.schedule import Schedule
from taichi_vvc.fit.state import FitState, FittedMlp, NoTables, begin_fit
from taichi_vvc.fit.training_rays import TrainingRays, make_training_rays
from taichi_vvc.runtime import Runtime
from taichi_vvc.types import FieldLayout

STAGES: dict[str, list[tuple[Any, str]]] = {
    "rays, targets": [
        (geometry, name) for name in ("draw_pixels", "rays_of_pixels", "targets_of_pixels", "encode_directions")
    ],
    "march": [(colour_error, "trace")],
    "grids forward": [(grids_cpu, "lookup_fwd"), (grids_cpu, "lookup_fwd_fours"), (grids_gpu, "lookup_fwd_channels")],
    "grids backward": [
        (grids_cpu, "lookup_bwd_tasks"),
        (grids_gpu, "lookup_bwd_channels"),
        (grids_cpu, "lookup_bwd_fours"),
    ],
    "MLPs forward": [(shading, "mlp_forward"), (shading, "lanes_forward"), (mlp_cpu, "colours_fwd")],
    "MLPs backward": [(shading, "mlp_backward"), (shading, "lanes_backward")],
    "compositing": [
        *((shade, name) for name in ("weights_fwd", "composite_loss")),
        *((shade, f"colour_{part}_{way}") for part in ("inputs", "outputs") for way in ("fwd", "bwd")),
        (shading, "_select"),
    ],
    "moving samples": [
        *((mlp_cpu, name) for name in ("colours_bwd_outputs", "colours_bwd_inputs", "gather_blocks")),
        (shading, "_with_gradient"),
    ],
    "quantiser": [
        (update, name) for name in ("quantize_symbols", "quantize_lanes", "values_of_levels", "values_of_fours")
    ],
    "adjoint of symbols, rate, Adam": [
        (update, "update_symbols"),
        (update, "gradient_of_symbols"),
        (update, "gradient_of_fours"),
        (update, "adam_lanes"),
        (adam, "adam_step"),
    ],
}


@dataclass
class Case:
    """A key frame's fit under way; ``iteration`` numbers the batches."""

    ws: Workspace
    layout: FieldLayout
    config: EncoderConfig
    training: TrainingRays
    state: FitState
    schedule: Schedule
    background: tuple[float, ...]
    seed: int = 1
    iteration: int = 0
    planner: DevicePlanner | None = None

    @property
    def runtime(self) -> Runtime:
        """Where it runs."""
        return self.ws.runtime

    def step(self, batch: int | None = None, mode: int = quantize.NOISE) -> None:
        """One step as :func:`taichi_vvc.fit.optimize.fit_frame` takes it; ``batch`` repeats a certain batch of rays."""
        self.iteration += 1
        number = self.iteration if batch is None else batch
        optimize._quantize(self.state, mode, self.seed, number)
        self.distortion(number)
        turn = replace(self.schedule.turn(0), iteration=self.iteration, learning_rate=1.0)
        optimize._update(self.state, self.schedule, self.training, turn)

    def distortion(self, batch: int) -> float | None:
        """Render one batch and go back through it; mean squared error where it was read."""
        mlp = self.state.mlp
        gradients = self.state.gradient, mlp.gradient if isinstance(mlp, FittedMlp) else None
        parts = self.ws, self.state.field, self.config, self.training, *gradients, self.seed, batch
        return colour_error.distortion_step(*parts)

    def plan(self) -> None:
        """Let the coder choose its tables."""
        known = [NOTHING] * len(self.state.steps)
        if self.planner is None:
            self.planner = optimize.planner_for(self.runtime, self.layout, self.config, known)
        optimize._plan(self.state, self.config, known, self.planner)

    @property
    def samples(self) -> int:
        """Samples of the last batch."""
        return int(self.runtime.download(self.ws.starts.array)[self.config.rays])


def paper_config(rays: int = 4096) -> EncoderConfig:
    """Grids of the paper's sizes (5.3 million symbols; Dictionary Fields, arXiv 2302.01226), all else as ``medium``."""
    return replace(
        PRESETS["medium"],
        coefficients=32,
        level_nodes=(25, 39, 54, 69, 84, 99),
        level_channels=(4, 4, 4, 2, 2, 2),
        level_frequencies=(2.0, 3.2, 4.4, 5.6, 6.8, 8.0),
        nodes_per_pixel=0.0,
        rays=rays,
    )


def prepare(
    runtime: Runtime, config: EncoderConfig, sequence: MultiViewSequence, warm: int, cameras: int | None = None
) -> Case:
    """The fit of the first frame after ``warm`` steps, with cells pruned as an encode does along its way.

    ``cameras``: take the pictures of so many of the training cameras only.
    """
    config = settle_background(config, sequence)
    assert config.background is not None
    layout = layout_of(config, sequence.bounds, [c for c in sequence.cameras if c.split == "train"])
    views = sequence.frame(0)
    mask = first_mask(layout, views.views, None)
    ws = Workspace(runtime)
    training = [v for v in views.views if v.camera.split == "train"]
    training = make_training_rays(ws, layout, training[:cameras], mask)
    scratch = Prediction.scratch()
    state, schedule = begin_fit(runtime, layout, config, mask, scratch), Schedule.of(config, scratch)
    case = Case(ws, layout, config, training, state, schedule, tuple(c / 255 for c in config.background))
    # A field of a few steps has not formed: pruning would leave hardly a sample of it.
    prune_at = {int(warm * x) for x in (0.3, 0.6, 0.9)} if warm >= 30 else set()
    for iteration in range(warm):
        if iteration in prune_at and optimize._prune(ws, state, config, training):
            state.tables = NoTables()
        if isinstance(state.tables, NoTables) and iteration > warm // 4:
            case.plan()
        case.step()
    measure_opacity(ws, state.field)
    case.plan()
    return case


@contextmanager
def stage_clock(runtime: Runtime) -> Iterator[dict[str, float]]:
    """Within this context the seconds spent in each stage add up in the dictionary."""
    seconds: dict[str, float] = defaultdict(float)
    originals = []

    def timed(stage: str, function: Any) -> Any:
        def run(*arguments: Any, **named: Any) -> Any:
            runtime.sync()
            start = time.perf_counter()
            result = function(*arguments, **named)
            runtime.sync()
            seconds[stage] += time.perf_counter() - start
            return result

        return run

    for stage, parts in STAGES.items():
        for module, name in parts:
            originals.append((module, name, getattr(module, name)))
            setattr(module, name, timed(stage, getattr(module, name)))
    try:
        yield seconds
    finally:
        for module, name, function in originals:
            setattr(module, name, function)


def by_stage(case: Case, repeats: int) -> dict[str, float]:
    """Milliseconds of each stage in the quickest of ``repeats`` steps, and ``other``: what lies between them."""
    rows = []
    for _ in range(repeats):
        with stage_clock(case.runtime) as seconds:
            start = time.perf_counter()
            case.step()
            total = time.perf_counter() - start
        row = {stage: 1000 * seconds[stage] for stage in STAGES}
        rows.append(row | {"other": 1000 * total - sum(row.values())})
    return min(rows, key=lambda row: sum(row.values()))


def traffic_of(case: Case, steps: int = 10) -> dict[str, float]:
    """What a step asks of a device with a memory of its own: launches, and bytes that cross to it and back.

    Launches are counted where Taichi makes them, and where quick ones are filled in.
    """
    kernels = importlib.import_module(f"{ti.__name__}.lang.kernel_impl").Kernel
    found = {"launches": 0.0, "bytes_to_device": 0.0, "bytes_to_host": 0.0}
    slow, quick = kernels.launch_kernel, launch._Quick._fill
    upload, store, download = Runtime.upload, Runtime.store, Runtime.download

    def counted(name: str, amount: Any, function: Any) -> Any:
        def run(*arguments: Any, **named: Any) -> Any:
            found[name] += amount(*arguments) / steps
            return function(*arguments, **named)

        return run

    kernels.launch_kernel = counted("launches", lambda *_: 1, slow)
    launch._Quick._fill = counted("launches", lambda *_: 1, quick)
    Runtime.upload = counted("bytes_to_device", lambda _, array: array.nbytes, upload)  # type: ignore[method-assign]
    Runtime.store = counted("bytes_to_device", lambda _, target, array: array.nbytes, store)  # type: ignore[method-assign]
    Runtime.download = counted(
        "bytes_to_host", lambda _, array, count=None: 4 * (array.shape[0] if count is None else count), download
    )  # type: ignore[method-assign]
    try:
        for _ in range(steps):
            case.step()
    finally:
        kernels.launch_kernel, launch._Quick._fill = slow, quick
        Runtime.upload, Runtime.store, Runtime.download = upload, store, download  # type: ignore[method-assign]
    return found
