"""Coding one frame: fit, code, decode again; nothing is written until that is asked for."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from taichi_vvc.bitstream import StreamWriter
from taichi_vvc.bitstream.syntax import FrameData, GroupHeader
from taichi_vvc.capture.sequence import MultiViewSequence
from taichi_vvc.coding.entropy import encode_mask, encode_moved_mask
from taichi_vvc.coding.grid_encoder import encode_grid
from taichi_vvc.coding.headers import pack_colour_maps, pack_group
from taichi_vvc.coding.live_set import live_nodes
from taichi_vvc.coding.motion_contexts import encode_motion
from taichi_vvc.coding.moved_masks import coded_nodes, moved_mask
from taichi_vvc.coding.quantize import quantize_tensors
from taichi_vvc.config import EncoderConfig
from taichi_vvc.decode import decode_symbols
from taichi_vvc.encoder.detail import fitted_focal
from taichi_vvc.encoder.holding import held
from taichi_vvc.encoder.progress import Listener
from taichi_vvc.encoder.quality import Shown, mean_psnr, training_pictures
from taichi_vvc.encoder.trusted_views import no_start
from taichi_vvc.field.grids import Field, field_of_symbols
from taichi_vvc.field.workspace import Workspace
from taichi_vvc.fit.changes import Change
from taichi_vvc.fit.motion_search import find_motion, search_iterations
from taichi_vvc.fit.optimize import FitReport, FitResult, fit_frame, unchanged
from taichi_vvc.fit.prediction import Prediction, Reference
from taichi_vvc.fit.rate import plan_tables
from taichi_vvc.fit.training_rays import make_training_rays
from taichi_vvc.media.colour_maps import corrected
from taichi_vvc.types import FieldLayout, FrameStats, FrameViews, SymbolFrame

# MLPs are fitted on and sent anew with the first key frame after so long, in seconds. They are as many bytes as all
# else in a small key frame, and gain little.
_MLP_SECONDS = 10.0
# Lambda of a key frame that goes on is that of other frames times the length of its group to this power: where nothing
# moves, all frames of the group show what it adds.
_GROUP_POWER = -0.3
# Rays per iteration of a whole scene, in those of the preset: every pixel shows something.
_WHOLE_RAYS = 2


@dataclass(frozen=True)
class Job:
    """What coding a frame takes besides the frame.

    Attributes:
        ws: scratch arrays.
        sequence: the capture.
        config: the settings; of frames that have a lambda of their own all but that.
        layout: of the field, as the decoder will read it.
        listener: who is told how far the encode is.
    """

    ws: Workspace
    sequence: MultiViewSequence
    config: EncoderConfig
    layout: FieldLayout
    listener: Listener


@dataclass(frozen=True)
class FrameTask:
    """A frame that is to be coded.

    Attributes:
        number: within the file.
        views: what it shows.
        mask: (nz, ny, nx) bool, where samples may be taken.
        group: number of the group that it is in.
        prediction: what it is predicted from, and what its fit starts with.
        mlp_age: for how many frames the MLPs of the group before have been the same. A key frame that goes on keeps
            them while they are young.
        lambda_rate: weight of the rate.
        change: what may change since the frame before; None for everything.
        shown: the training views and what the frame before shows of them, if nothing changes; else empty.
        opens: whether the frame opens a group though it is fitted as an inter frame at first: all of its symbols are
            coded.
        held: of a frame that is held to the frame before, that one's views and what it shows of them; else empty.
    """

    number: int
    views: FrameViews
    mask: np.ndarray
    group: int
    prediction: Prediction
    mlp_age: float
    lambda_rate: float
    change: Change | None = None
    shown: tuple[Shown, ...] = ()
    opens: bool = False
    held: tuple[Shown, ...] = ()


@dataclass(frozen=True)
class CodedFrame:
    """What coding one frame gave.

    Attributes:
        task: what was to be coded.
        reference: what the decoder will have.
        field: the same as a field.
        data: the frame's chunk.
        group: the header of the group that it starts; None for an inter frame.
        estimated: bits of the grids, as the fit counted them.
        quality: mean PSNR of the training views, dB.
        pixels: of one training view.
        shown: the training views and what the frame shows of them.
    """

    task: FrameTask
    reference: Reference
    field: Field
    data: FrameData
    group: GroupHeader | None
    estimated: float
    quality: float
    pixels: float
    shown: tuple[Shown, ...] = ()

    @property
    def size(self) -> int:
        """Bytes of all that is coded, framing left out."""
        own = len(self.data.occupancy) + len(self.data.motion) + sum(len(grid) for grid in self.data.grids)
        return own + (0 if self.group is None else len(self.group.mlp))

    def cost(self, weight: float) -> float:
        """Squared error of one view's pixels, summed, plus lambda times the bits: what a fit minimises."""
        return float(3 * self.pixels * 10 ** (-self.quality / 10) + weight * 8 * self.size)

    def append(self, writer: StreamWriter, cameras: bytes) -> dict[str, int]:
        """Writes the frame with what it says of its cameras; returns its bytes by component."""
        written = 0 if self.group is None else writer.add_group(self.group)
        written += writer.add_frame(replace(self.data, cameras=cameras))
        sizes = {"coefficients": len(self.data.grids[0])}
        sizes |= {f"level{n}": len(grid) for n, grid in enumerate(self.data.grids[1:], 1)}
        sizes["mlp"] = 0 if self.group is None else len(self.group.mlp)
        sizes["occupancy"] = len(self.data.occupancy)
        sizes["motion"] = len(self.data.motion)
        sizes["cameras"] = len(cameras) + (0 if self.group is None else len(self.group.colours))
        sizes["overhead"] = written - sum(sizes.values())
        return sizes

    def figures(self, sizes: dict[str, int], judged_psnr: float, seconds: float) -> FrameStats:
        """The frame's figures. ``sizes``: as :meth:`append` returned them; ``judged_psnr``: dB, NaN if not known."""
        return FrameStats(
            index=self.task.number,
            type=self.data.type,
            bytes=sum(sizes.values()),
            components=sizes,
            estimated_bits=self.estimated,
            actual_bits=8.0 * sum(len(grid) for grid in self.data.grids),
            psnr=self.quality,
            seconds=seconds,
            lambda_rate=self.task.lambda_rate,
            judged_psnr=judged_psnr,
        )


def code_frame(job: Job, task: FrameTask) -> CodedFrame:
    """Fits and codes one frame, and decodes it again; nothing is written.

    Raises:
        DataError: the masks leave nothing to start a file with, or no ray crosses the mask.
    """
    fit, prediction = _fit(job, task)
    if task.opens:
        fit, prediction = _opening(job, task, fit, prediction)
        task = replace(task, prediction=prediction)
    data = _coded(job, task, fit, prediction)
    header = None
    if prediction.key:
        # All groups share the maps of the first one.
        colours = b"" if task.group else pack_colour_maps(job.sequence.looks)
        steps = fit.parameters.steps
        header = pack_group(task.group, task.number, steps, fit.mlp_symbols, job.config.mlp_step, colours)
    # The decoder moves the frame before by itself.
    decoded = decode_symbols(job.layout, data, task.prediction.predicted_from)
    assert all((d == r).all() for d, r in zip(decoded.residuals, fit.residuals, strict=True))
    focal = fitted_focal(job.config, job.sequence)
    field = field_of_symbols(job.ws.runtime, job.layout, fit.parameters, decoded, focal=focal)
    views = task.views.views
    shown = task.shown or training_pictures(job.ws, field, job.config.backdrop, views)
    pixels = float(np.mean([v.camera.width * v.camera.height for v in views if v.camera.split == "train"]))
    return CodedFrame(
        task, Reference(decoded, fit.parameters), field, data, header, fit.bits, mean_psnr(shown), pixels, shown
    )


def _opening(job: Job, task: FrameTask, fit: FitResult, prediction: Prediction) -> tuple[FitResult, Prediction]:
    """A key frame in place of an inter frame, of which there are the ``fit`` and its ``prediction``.

    Where most stands still, it shows exactly what the inter frame shows. Else the fit goes on for a while, through the
    rate of a key frame.
    """
    reference = prediction.reference
    assert reference is not None
    live = live_nodes(job.layout, fit.occupancy)
    symbols = tuple(
        np.where(m[..., None], s + r, 0).astype(np.int32)
        for m, s, r in zip(live, reference.frame.symbols, fit.residuals, strict=True)
    )
    if task.change is None and fit.occupancy.any():
        frame = SymbolFrame(symbols, fit.residuals, fit.occupancy, key=False)
        again = Prediction.going_on(Reference(frame, reference.parameters), steady=True)
        return _fit(job, replace(task, mask=fit.occupancy, prediction=again))
    # MLPs are those of the reference, sent anew if they are old: decoded weights lie on the quantiser's steps.
    keep = _keeps_mlp(job, task)
    opening = Prediction.going_on(reference, keep)
    sent = None if keep else quantize_tensors(reference.parameters.mlp, job.config.mlp_step)
    bits = plan_tables(job.ws.runtime, symbols, live, opening.known(len(live)), job.config.rate_model).bits
    return FitResult(symbols, fit.occupancy, reference.parameters, sent, bits), opening


def _keeps_mlp(job: Job, task: FrameTask) -> bool:
    """Whether a key frame that goes on keeps the MLPs of the group before."""
    return task.mlp_age < _MLP_SECONDS * float(job.sequence.fps)


def _coded(job: Job, task: FrameTask, fit: FitResult, prediction: Prediction) -> FrameData:
    """The chunk of a frame that was fitted with a ``prediction``."""
    live = live_nodes(job.layout, fit.occupancy)
    known = prediction.known(len(live))
    grids = [
        encode_grid(r, m, k, model=job.config.rate_model) for r, m, k in zip(fit.residuals, live, known, strict=True)
    ]
    before, motion = prediction.predicted_from, b""
    if before is None:
        mask = encode_mask(fit.occupancy, None)
    else:
        if prediction.motion is not None:
            motion = encode_motion(prediction.motion, coded_nodes(job.layout, before.occupancy), before.motion)
        moved = moved_mask(job.layout, before.occupancy, prediction.motion)
        mask = encode_moved_mask(fit.occupancy, before.occupancy, moved)
    return FrameData(
        task.number,
        task.group,
        "key" if prediction.key else "inter",
        mask,
        tuple(g.payload for g in grids),
        motion,
    )


def _fit(job: Job, task: FrameTask) -> tuple[FitResult, Prediction]:
    """Fits one frame; also returns what it was predicted from, its motion included.

    Raises:
        DataError: see :func:`code_frame`.
    """
    rays = job.config.rays * (_WHOLE_RAYS if job.layout.whole else 1)
    config, prediction = replace(job.config, lambda_rate=task.lambda_rate, rays=rays), task.prediction
    if prediction.reference is None:
        config = replace(config, first_fit=config.first_fit_of(len(job.sequence)))
    if prediction.steady:
        length = config.group_length(job.sequence.fps)
        config = replace(config, lambda_rate=config.lambda_rate * length**_GROUP_POWER)
    if not task.mask.any():
        if prediction.key or prediction.reference is None:
            raise no_start(task.views)
        return unchanged(prediction.reference, task.mask), prediction
    change, mask, among = task.change, task.mask, None
    if change is not None:
        if not change.pixels.size:
            assert prediction.reference is not None
            return unchanged(prediction.reference, change.mask), prediction
        mask, among = change.mask, change.pixels
        config = replace(config, rays=change.rays(config.rays))
    detail = [v.fine for v in task.views.views if v.detail is not None]
    views, fine = ([corrected(v) for v in held(some, task.held)] for some in (task.views.views, detail))
    memory = job.config.picture_memory
    training = make_training_rays(job.ws, job.layout, views, mask, among, memory, task.number, fine)
    if change is not None:
        training = replace(training, cells=change.cells)
    moved = None if prediction.steady or change is not None else prediction.reference
    searched = 0 if moved is None else search_iterations(config)
    done, steps = searched, searched + config.iterations(prediction.key, prediction.reference is None)
    if task.opens and change is None:
        # It is fitted twice: as an inter frame, with a search for motion, and then as a key frame.
        earlier = search_iterations(config) + config.iterations(False)
        done, steps = earlier if prediction.steady else searched, earlier + config.iterations(True)

    def tell_of_search(step: int, error: float) -> None:
        job.listener.step(task.number, (step, steps), error, 0.0, config.lambda_rate)

    def tell(report: FitReport) -> None:
        job.listener.step(task.number, (done + report.step, steps), report.error, report.bits, config.lambda_rate)
        job.listener.look(task.number, report.field, task.views, config.backdrop, finished=False)

    if moved is not None and searched:
        motion = find_motion(job.ws, config, training, moved, task.number, tell_of_search)
        if motion is not None:
            prediction = prediction.moved(job.layout, motion, task.mask)
    if prediction.key and prediction.reference is not None:
        prediction = replace(prediction, keep_mlp=_keeps_mlp(job, task))
    return fit_frame(job.ws, config, training, prediction, task.number, tell), prediction
