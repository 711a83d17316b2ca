"""Coding one frame: fit, code, decode again; nothing is written until that is asked for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from taichi_vvc.bitstream import StreamWriter
from taichi_vvc.bitstream.syntax import FrameData, GroupHeader, SequenceHeader
from taichi_vvc.capture.sequence import MultiViewSequence
from taichi_vvc.coding.displacements import encode_motion
from taichi_vvc.coding.entropy import encode_grid, encode_mask, known_grids
from taichi_vvc.coding.headers import pack_group
from taichi_vvc.coding.live_set import live_nodes
from taichi_vvc.coding.motion import live_motion, moved_symbols
from taichi_vvc.config import EncoderConfig
from taichi_vvc.decode import decode_symbols, previous_residuals
from taichi_vvc.encoder.progress import Glimpse, Progress
from taichi_vvc.encoder.quality import training_psnr
from taichi_vvc.encoder.rate_control import Controller
from taichi_vvc.encoder.trusted_views import no_start
from taichi_vvc.field.grids import Field, field_of_symbols
from taichi_vvc.field.render import Workspace
from taichi_vvc.fit.motion_search import find_motion, search_iterations
from taichi_vvc.fit.optimize import FitResult, Reference, Start, fit_frame, unchanged
from taichi_vvc.fit.training_rays import make_problem
from taichi_vvc.types import FieldLayout, FrameViews

# MLPs are sent anew with the first key frame after so many frames, times lambda by the training rays per view; at the
# latest after a second.
_MLP_FRAMES = 2.5e7


@dataclass(frozen=True)
class CodedFrame:
    """What coding one frame gave.

    Attributes:
        reference: what the decoder will have.
        field: the same as a field.
        data: the frame's chunk.
        group: the header of the group that it starts; None for an inter frame.
        estimated: bits of the grids, as the fit counted them.
        quality: mean PSNR of the training views, dB.
        pixels: of one training view.
    """

    reference: Reference
    field: Field
    data: FrameData
    group: GroupHeader | None
    estimated: float
    quality: float
    pixels: float

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
        sizes["cameras"] = len(cameras)
        sizes["overhead"] = written - sum(sizes.values())
        return sizes


@dataclass(frozen=True)
class Job:
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


def _fit(
    job: Job,
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


def code_frame(
    job: Job,
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
