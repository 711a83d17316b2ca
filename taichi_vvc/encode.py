"""The encoder: capture in, one file out, frame by frame, each predicted from what the decoder will have.

Per frame: (1) read the views; (2) find where samples may lie; (3) fit through the quantiser and the rate model;
(4) entropy-code the integers; (5) append the chunk; (6) decode it again: the *decoded* symbols are the next reference.
"""

from __future__ import annotations

import itertools
import math
import os
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from taichi_vvc.bitstream import StreamWriter
from taichi_vvc.bitstream.syntax import FrameData, SequenceHeader
from taichi_vvc.capture.sequence import MultiViewSequence
from taichi_vvc.coding.displacements import encode_motion
from taichi_vvc.coding.entropy import encode_grid, encode_mask, known_grids
from taichi_vvc.coding.headers import header_of, layout_of_header, pack_group
from taichi_vvc.coding.live_set import live_nodes
from taichi_vvc.coding.motion import live_motion, moved_symbols
from taichi_vvc.coding.moving_cameras import CameraCoder
from taichi_vvc.config import EncoderConfig, layout_of
from taichi_vvc.decode import decode_symbols, previous_residuals
from taichi_vvc.encoder.first_lambda import find_start
from taichi_vvc.encoder.frame import CodedFrame, GroupWatch
from taichi_vvc.encoder.progress import Glimpse, Progress
from taichi_vvc.encoder.rate_control import Controller, Outcome, restored
from taichi_vvc.encoder.resume import Position, position_behind
from taichi_vvc.encoder.targets import (
    file_target,
    judged_psnr,
    outcome_of,
    probed_frames,
    stored_start,
    training_psnr,
    written_outcomes,
    written_qualities,
)
from taichi_vvc.encoder.trusted_views import check_start, no_start, views_of
from taichi_vvc.errors import ConfigError, DataError, TargetMissed
from taichi_vvc.field.grids import Field, field_of_symbols
from taichi_vvc.field.workspace import Workspace
from taichi_vvc.fit.motion_search import find_motion, search_iterations
from taichi_vvc.fit.occupancy import entered_cells, first_mask, scene_changed
from taichi_vvc.fit.optimize import FitResult, Reference, Start, fit_frame, unchanged
from taichi_vvc.fit.training_rays import make_problem
from taichi_vvc.media.metrics import edge_colour
from taichi_vvc.runtime import start
from taichi_vvc.types import FieldLayout, FrameStats, FrameViews

# MLPs are sent anew with the first key frame after so many frames, times lambda by the training rays per view; at the
# latest after a second.
_MLP_FRAMES = 2.5e7


def encode(
    sequence: MultiViewSequence,
    config: EncoderConfig,
    path: str | os.PathLike[str],
    *,
    resume: bool = False,
    overwrite: bool = False,
    progress: Callable[[Progress], None] | None = None,
    preview: Callable[[Glimpse], None] | None = None,
) -> Iterator[FrameStats]:
    """Encode a capture into a file, yielding the figures of each frame once it is safely written.

    The file is playable after every frame; abandoning the iterator (or Ctrl-C, or a crash) loses only the frame at
    hand. The running backend is used, or the automatic one.

    Settings with a ``bitrate`` or a ``target_psnr`` are met by a lambda per frame. The first one is found by encoding
    the first frames several times, and takes the place of ``lambda_rate`` in the file's settings; the others follow
    from the frames in the file. A finished file that misses its target is told of by a :class:`TargetMissed` warning.

    Args:
        sequence: the capture, see :func:`taichi_vvc.open_capture`.
        config: settings, usually one of ``PRESETS``.
        path: the file.
        resume: go on behind the last whole frame of an existing file.
        overwrite: replace an existing file, which stays what it is until the first frame is whole.
        progress: called several times a second with :class:`Progress`.
        preview: called as often with a :class:`Glimpse` of the fit, and with one of each finished frame.

    Raises:
        ConfigError: the file exists, another process is writing it, ``resume`` finds other settings or more frames in
            it, or no lambda reaches the target.
        DataError: the capture cannot be used.
        BackendError: no backend starts.
    """
    path = Path(path)
    if not len(sequence):
        raise DataError(f"{sequence.path}: expected at least one frame, found none; check --frames")
    if path.exists() and not (resume or overwrite):
        raise ConfigError(f"{path}: expected no such file, found one; overwrite it or resume")
    config = settle_background(config, sequence)
    ws = Workspace(start())
    going_on = resume and path.exists()
    steered = config.bitrate is not None or config.target_psnr is not None
    if steered:
        begin = stored_start(path, config) if going_on else _probed_start(ws, sequence, config, progress)
        config = replace(config, lambda_rate=begin)
    header = _header(sequence, config)
    layout = layout_of_header(header)
    if going_on:
        writer, done = StreamWriter.resume(path, header)
    else:
        # Before anything is replaced.
        check_start(layout, views_of(sequence, layout, 0))
        writer, done = StreamWriter.create(path, header, overwrite), 0
    with writer:
        if done > len(sequence):
            raise ConfigError(
                f"{path}: expected a file of at most the {len(sequence)} frames that are asked for, found {done}; "
                "it is whole as it is: ask for more frames, or for another file"
            )
        target = file_target(config, len(sequence), sequence.fps, header)
        control = None
        if target is not None:
            control = restored(target, config.lambda_rate, written_outcomes(ws, sequence, config, path, done))
        job = _Job(ws, sequence, config, header, layout, writer, path, control, progress, preview)
        yield from _encode_frames(job, position_behind(path, done), len(sequence))
        writer.finish()
    message = None if control is None else control.missed(path.stat().st_size)
    if message:
        warnings.warn(f"{path}: {message}", TargetMissed, stacklevel=2)


@dataclass(frozen=True)
class _Job:
    """What encoding a frame takes besides the frame. The ``layout`` is as the decoder will read it."""

    ws: Workspace
    sequence: MultiViewSequence
    config: EncoderConfig
    header: SequenceHeader
    layout: FieldLayout
    writer: StreamWriter
    path: Path
    control: Controller | None = None
    progress: Callable[[Progress], None] | None = None
    preview: Callable[[Glimpse], None] | None = None
    probe: int = 0


def _header(sequence: MultiViewSequence, config: EncoderConfig) -> SequenceHeader:
    training = [c for c in sequence.cameras if c.split == "train"]
    return header_of(
        layout_of(config, sequence.bounds, training),
        sequence.cameras,
        config,
        sequence.fps,
        sequence.first_index,
        sequence.downscale,
        sequence.frame_step,
    )


def _encode_frames(job: _Job, position: Position, stop: int) -> Iterator[FrameStats]:
    """Encodes the frames from ``position`` to ``stop - 1`` and appends them."""
    ws, layout, control = job.ws, job.layout, job.control
    reference, group, first_of_group = position.reference, position.group, position.first_of_group
    first_with_mlp = position.first_with_mlp
    group_length = job.config.group_length(job.sequence.fps)
    background = job.config.backdrop
    watch, told = GroupWatch(), set[str]()
    cameras = CameraCoder(job.header, position.cameras)
    for quality in written_qualities(ws, job.sequence, background, job.path, position):
        watch.observe(quality)
    for number in range(position.number, stop):
        began = time.monotonic()
        views = views_of(job.sequence, layout, number, told if job.probe == 0 else None)
        mask = first_mask(layout, views.views, None if reference is None else reference.frame)
        if reference is not None and not any(v.has_alpha for v in views.views):
            mask |= entered_cells(ws, layout, views.views, mask, background)
        due = number - first_of_group >= group_length
        before = None
        # An empty stage has nothing to start a group with: the group before goes on until somebody enters.
        cut = reference is not None and scene_changed(reference.frame.occupancy, mask)
        if reference is not None and mask.any() and (due or (cut and job.config.scenecut)):
            if reference.frame.occupancy.any() and not cut:
                before = reference
            mask = first_mask(layout, views.views, None)
            reference, group, first_of_group = None, group + 1, number
        weight = job.config.lambda_rate if control is None else control.weight(reference is None)
        config, age = replace(job.config, lambda_rate=weight), number - first_with_mlp
        coded = _coded(job, config, views, mask, reference, number, group, before, age)
        if reference is not None and mask.any() and job.config.scenecut and watch.lost(coded.quality):
            # Something may have come up that the group cannot show: that is for a key frame, if it pays.
            whole = first_mask(layout, views.views, None)
            key_weight = weight if control is None else control.weight(True)
            settings = replace(job.config, lambda_rate=key_weight)
            again = _coded(job, settings, views, whole, None, number, group + 1, reference, math.inf)
            if again.cost(weight) < coded.cost(weight):
                coded, weight, group, first_of_group = again, key_weight, group + 1, number
        reference, field = coded.reference, coded.field
        if coded.group is not None:
            watch = GroupWatch()
            if coded.group.mlp:
                first_with_mlp = number
        # An empty stage is no measure for others.
        if reference.frame.occupancy.any():
            watch.observe(coded.quality)
        sizes = coded.append(job.writer, cameras.code(job.sequence.cameras_at(number), reference.frame.key))
        judged = math.nan if job.config.target_psnr is None else judged_psnr(ws, field, background, views.views)
        if control is not None:
            control.observe(weight, outcome_of(number, reference.frame, sizes, judged))
        if job.preview is not None:
            job.preview(Glimpse(number, field, views, background, True))
        yield FrameStats(
            index=number,
            type="key" if reference.frame.key else "inter",
            bytes=sum(sizes.values()),
            components=sizes,
            estimated_bits=coded.estimated,
            actual_bits=8.0 * sum(len(grid) for grid in coded.data.grids),
            psnr=coded.quality,
            seconds=time.monotonic() - began,
            lambda_rate=weight,
            judged_psnr=judged,
        )


def _probed_start(
    ws: Workspace,
    sequence: MultiViewSequence,
    config: EncoderConfig,
    progress: Callable[[Progress], None] | None,
) -> float:
    """Lambda of the first frame, found by encoding the first frames into files that are thrown away."""
    target = file_target(config, len(sequence), sequence.fps, _header(sequence, config))
    assert target is not None
    count = probed_frames(target)
    probes = itertools.count(1)

    def probe(weight: float) -> list[Outcome]:
        settings = replace(config, lambda_rate=weight)
        header = _header(sequence, settings)
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "probe.tvvc"
            with StreamWriter.create(path, header) as writer:
                layout = layout_of_header(header)
                job = _Job(ws, sequence, settings, header, layout, writer, path, None, progress, None, next(probes))
                for _ in _encode_frames(job, Position(), count):
                    pass
            return written_outcomes(ws, sequence, settings, path, count)

    return find_start(target, config.lambda_rate, probe)


def settle_background(config: EncoderConfig, sequence: MultiViewSequence) -> EncoderConfig:
    """``config`` with a background: its own, white for captures with alpha, else the pictures' median edge colour."""
    if config.background is not None:
        return config
    if sequence.has_alpha:
        return replace(config, background=(255, 255, 255))
    return replace(config, background=edge_colour(sequence.frame(0, split="train").views))


def _fit(
    job: _Job,
    config: EncoderConfig,
    views: FrameViews,
    mask: np.ndarray,
    reference: Reference | None,
    number: int,
    before: Reference | None,
    age: float,
) -> FitResult:
    """Fits one frame with the lambda of ``config``.

    ``before``: what a key frame's fit may begin with. ``age``: for how many frames the MLPs have been the same.
    """
    if not mask.any():
        if reference is None:
            raise no_start(views)
        return unchanged(reference, mask)
    problem = make_problem(job.ws, job.layout, views.views, mask)

    going_on = reference or before
    searched = 0 if going_on is None else search_iterations(config)
    fitted = config.key_iterations if reference is None else config.inter_iterations

    def report(step: int, steps: int, error: float, bits: float) -> None:
        if job.progress is not None:
            running = -10 * float(np.log10(max(error, 1e-10)))
            at = searched + step, searched + steps
            job.progress(Progress(number, *at, running, bits, config.lambda_rate, job.probe))

    def report_search(step: int, error: float) -> None:
        report(step - searched, fitted, error, 0.0)

    def look(field: Field) -> None:
        if job.preview is not None:
            job.preview(Glimpse(number, field, views, config.backdrop, False))

    previous = previous_residuals(None if reference is None else reference.frame)
    motion = None
    if going_on is not None and searched:
        motion = find_motion(job.ws, job.layout, config, problem, mask, going_on, number, report_search)
        going_on = going_on if motion is None else _moved(job.layout, going_on, motion, mask)
    begin = None
    if reference is not None:
        reference = going_on
    elif going_on is not None:
        lasting = min(float(job.sequence.fps), _MLP_FRAMES * config.lambda_rate / problem.rays_per_view)
        begin, motion = Start(going_on, age < lasting), None
    fit = fit_frame(job.ws, job.layout, config, problem, mask, reference, previous, number, report, look, begin)
    return replace(fit, motion=motion)


def _moved(layout: FieldLayout, reference: Reference, motion: np.ndarray, mask: np.ndarray) -> Reference:
    """The reference with symbols moved to where the scene has gone."""
    symbols = moved_symbols(layout, reference.frame.symbols, motion, live_nodes(layout, mask))
    return Reference(replace(reference.frame, symbols=symbols), reference.parameters)


def _coded(
    job: _Job,
    config: EncoderConfig,
    views: FrameViews,
    mask: np.ndarray,
    reference: Reference | None,
    number: int,
    group: int,
    before: Reference | None,
    age: float,
) -> CodedFrame:
    """Fits and codes one frame, and decodes it again; nothing is written. Arguments as of :func:`_fit`."""
    layout = job.layout
    fit = _fit(job, config, views, mask, reference, number, before, age)
    earlier = None if reference is None else reference.frame
    live = live_nodes(layout, fit.occupancy)
    grounds = known_grids(len(live), previous_residuals(earlier), fit.predicted)
    grids = [
        encode_grid(r, m, k, model=config.rate_model) for r, m, k in zip(fit.residuals, live, grounds, strict=True)
    ]
    header = None
    if earlier is None:
        header = pack_group(group, number, fit.parameters.steps, fit.mlp_symbols, config.mlp_step)
    motion = b""
    if fit.motion is not None:
        assert earlier is not None
        known = live_motion(layout, live)
        motion = encode_motion(np.where(known[..., None], fit.motion, 0), known, earlier.motion)
    data = FrameData(
        number,
        group,
        "key" if earlier is None else "inter",
        encode_mask(fit.occupancy, None if earlier is None else earlier.occupancy),
        tuple(g.payload for g in grids),
        motion,
    )
    decoded = decode_symbols(layout, data, earlier)
    assert all((d == r).all() for d, r in zip(decoded.residuals, fit.residuals, strict=True))
    field = field_of_symbols(job.ws.runtime, layout, fit.parameters, decoded)
    quality = training_psnr(job.ws, field, config.backdrop, views.views)
    pixels = float(np.mean([v.camera.width * v.camera.height for v in views.views if v.camera.split == "train"]))
    return CodedFrame(Reference(decoded, fit.parameters), field, data, header, fit.bits, quality, pixels)
