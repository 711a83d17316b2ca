"""The encoder: capture in, one file out, frame by frame, each predicted from what the decoder will have.

Per frame: (1) read the views; (2) find where samples may lie; (3) fit through the quantiser and the rate model;
(4) entropy-code the integers; (5) append the chunk; (6) decode it again: the *decoded* symbols are the next reference.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from .bitstream.container import StreamWriter
from .bitstream.syntax import FrameData
from .config import EncoderConfig, layout_of
from .decode import decode_symbols, previous_residuals
from .decode import open as open_stream
from .entropy import encode_grid, encode_mask
from .errors import ConfigError, DataError
from .fields import Field, field_of_symbols
from .headers import header_of, layout_of_header, pack_group
from .live import live_nodes
from .metrics import composite, psnr
from .occupancy import first_mask
from .optimize import FitResult, Reference, fit_frame, unchanged
from .problem import make_problem
from .render import Workspace, render
from .runtime import start
from .sequence import MultiViewSequence
from .types import FieldLayout, FrameStats, FrameViews, View

# Pixels of training views that are rendered after each frame to report its PSNR.
_CHECKED_PIXELS = 4_000_000


@dataclass(frozen=True)
class Progress:
    """How far a fit is: ``frame`` of the file, ``step`` of ``steps``, running ``psnr`` (dB), estimated ``bits``."""

    frame: int
    step: int
    steps: int
    psnr: float
    bits: float


@dataclass(frozen=True)
class Glimpse:
    """What an encode lets others look at: the ``field`` of a frame, and the ``views`` that it is fitted to.

    Attributes:
        number: of the frame within the file.
        background: sRGB in [0, 1].
        finished: True for the decoded frame as it is in the file, False for a fit under way. The field of a fit is
            the fit's own: it may be rendered through a copy with other opacity bounds, and is not to be changed.
    """

    number: int
    field: Field
    views: FrameViews
    background: tuple[float, float, float]
    finished: bool


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

    Args:
        sequence: the capture, see :func:`taichi_vvc.open_capture`.
        config: settings, usually one of ``PRESETS``.
        path: the file.
        resume: go on behind the last whole frame of an existing file.
        overwrite: replace an existing file.
        progress: called several times a second with :class:`Progress`.
        preview: called as often with a :class:`Glimpse` of the fit, and with one of each finished frame.

    Raises:
        ConfigError: the file exists, or ``resume`` finds other settings in it.
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
    header = header_of(
        layout_of(config, sequence.bounds, [c for c in sequence.cameras if c.split == "train"]),
        sequence.cameras,
        config,
        sequence.fps,
        sequence.first_index,
        sequence.downscale,
    )
    # The layout as the decoder will read it, so that not even its rounding differs.
    layout = layout_of_header(header)
    reference: Reference | None = None
    group = first_of_group = 0
    if resume and path.exists():
        writer, done = StreamWriter.resume(path, header)
        if done:
            with open_stream(path) as stream:
                reference = Reference(stream.symbols(done - 1), stream.parameters(done - 1))
                group = stream.info(done - 1).group
                first_of_group = max(i for i in range(done) if stream.info(i).type == "key")
    else:
        path.unlink(missing_ok=True)
        writer, done = StreamWriter.create(path, header), 0
    group_length = config.group_length(sequence.fps)
    with writer:
        for number in range(done, len(sequence)):
            began = time.monotonic()
            views = sequence.frame(number)
            mask = first_mask(layout, views.views, None if reference is None else reference.frame)
            # An empty stage has nothing to start a group with: the group before goes on until somebody enters.
            if reference is not None and number - first_of_group >= group_length and mask.any():
                mask = first_mask(layout, views.views, None)
                reference, group, first_of_group = None, group + 1, number
            fit = _fit(ws, layout, config, views, mask, reference, number, progress, preview)
            reference, sizes, estimated, actual = _write(writer, layout, config, fit, reference, number, group)
            field = field_of_symbols(ws.runtime, layout, reference.parameters, reference.frame)
            background = _background(config)
            quality = _training_psnr(ws, field, background, views.views)
            if preview is not None:
                preview(Glimpse(number, field, views, background, True))
            yield FrameStats(
                index=number,
                type="key" if reference.frame.key else "inter",
                bytes=sum(sizes.values()),
                components=sizes,
                estimated_bits=estimated,
                actual_bits=actual,
                psnr=quality,
                seconds=time.monotonic() - began,
            )
        writer.finish()


def settle_background(config: EncoderConfig, sequence: MultiViewSequence) -> EncoderConfig:
    """``config`` with a background: its own, white for captures with alpha, else the pictures' median edge colour."""
    if config.background is not None:
        return config
    if sequence.has_alpha:
        return replace(config, background=(255, 255, 255))
    edges = []
    for view in sequence.frame(0, split="train").views:
        rgb = view.image[..., :3]
        edges += [rgb[0], rgb[-1], rgb[:, 0], rgb[:, -1]]
    red, green, blue = (int(c) for c in np.median(np.concatenate(edges), axis=0))
    return replace(config, background=(red, green, blue))


def _fit(
    ws: Workspace,
    layout: FieldLayout,
    config: EncoderConfig,
    views: FrameViews,
    mask: np.ndarray,
    reference: Reference | None,
    number: int,
    progress: Callable[[Progress], None] | None,
    preview: Callable[[Glimpse], None] | None,
) -> FitResult:
    if not mask.any():
        if reference is None:
            raise DataError(
                f"frame {number}: expected something inside the bounds, found empty masks; check masks and bounds, "
                "or start at a later frame"
            )
        return unchanged(reference, mask)
    problem = make_problem(ws, layout, views.views, mask)

    def report(step: int, steps: int, error: float, bits: float) -> None:
        if progress is not None:
            progress(Progress(number, step, steps, -10 * float(np.log10(max(error, 1e-10))), bits))

    def look(field: Field) -> None:
        if preview is not None:
            preview(Glimpse(number, field, views, _background(config), False))

    previous = previous_residuals(None if reference is None else reference.frame)
    return fit_frame(ws, layout, config, problem, mask, reference, previous, number, report, look)


def _write(
    writer: StreamWriter,
    layout: FieldLayout,
    config: EncoderConfig,
    fit: FitResult,
    reference: Reference | None,
    number: int,
    group: int,
) -> tuple[Reference, dict[str, int], float, float]:
    """Code and append one frame; returns what the decoder now has, bytes by component, estimated and actual bits."""
    before = None if reference is None else reference.frame
    previous = previous_residuals(before)
    live = live_nodes(layout, fit.occupancy)
    grids = [
        encode_grid(r, m, None if previous is None else previous[n], model=config.rate_model)
        for n, (r, m) in enumerate(zip(fit.residuals, live, strict=True))
    ]
    sizes = {"coefficients": len(grids[0].payload)}
    sizes |= {f"level{n}": len(g.payload) for n, g in enumerate(grids[1:], 1)}
    written = 0
    sizes["mlp"] = 0
    if before is None:
        assert fit.mlp_symbols is not None
        group_header = pack_group(group, number, fit.parameters.steps, fit.mlp_symbols, config.mlp_step)
        written += writer.add_group(group_header)
        sizes["mlp"] = len(group_header.mlp)
    data = FrameData(
        number,
        group,
        "key" if before is None else "inter",
        encode_mask(fit.occupancy, None if before is None else before.occupancy),
        tuple(g.payload for g in grids),
    )
    written += writer.add_frame(data)
    sizes["occupancy"] = len(data.occupancy)
    sizes["overhead"] = written - sum(sizes.values())
    decoded = decode_symbols(layout, data, before)
    assert all((d == r).all() for d, r in zip(decoded.residuals, fit.residuals, strict=True))
    actual = 8.0 * sum(len(g.payload) for g in grids)
    return Reference(decoded, fit.parameters), sizes, fit.bits, actual


def _background(config: EncoderConfig) -> tuple[float, float, float]:
    assert config.background is not None
    red, green, blue = (c / 255 for c in config.background)
    return red, green, blue


def _training_psnr(
    ws: Workspace, field: Field, background: tuple[float, float, float], views: tuple[View, ...]
) -> float:
    """Mean PSNR of the decoded frame over training views, all of them unless they have very many pixels."""
    training = [v for v in views if v.camera.split == "train"]
    pixels = sum(v.camera.width * v.camera.height for v in training)
    values = [
        psnr(render(field, v.camera, background, workspace=ws).colour, composite(v.image, background))
        for v in training[:: max(1, -(-pixels // _CHECKED_PIXELS))]
    ]
    return float(np.mean(values))
