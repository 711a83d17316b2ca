"""Rate control and files: what an encode's target is, where it starts, and what the frames of a file turned out to be.

:mod:`taichi_vvc.encoder.rate_control` has the control itself, which knows neither files nor captures.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path

from taichi_vvc.bitstream import StreamReader
from taichi_vvc.bitstream.chunks import FRAMING, PREAMBLE, FrameEntry, GroupEntry, pack_index
from taichi_vvc.bitstream.syntax import SequenceHeader
from taichi_vvc.bitstream.versions import pack_header
from taichi_vvc.capture.sequence import MultiViewSequence
from taichi_vvc.config import EncoderConfig
from taichi_vvc.decode import Stream
from taichi_vvc.encoder.rate_control import SHORT_GROUP, Outcome, Target, target_of
from taichi_vvc.encoder.resume import Position
from taichi_vvc.encoder.trusted_views import views_of
from taichi_vvc.field.grids import Field
from taichi_vvc.field.render import render
from taichi_vvc.field.workspace import Workspace
from taichi_vvc.geometry.projection import pixels_with_rays
from taichi_vvc.media.metrics import composite, finite_mean, psnr
from taichi_vvc.types import SymbolFrame, View

# Frames that are coded to find the first lambda: a key frame and what follows it. Quality sinks within a group.
_PROBED_RATE, _PROBED_PSNR = 2, 3
# Pixels of training views that are rendered after each frame to know its PSNR.
_CHECKED_PIXELS = 4_000_000


def file_target(config: EncoderConfig, frames: int, fps: Fraction, header: SequenceHeader) -> Target | None:
    """The target of a file of so many frames, its header and index being paid for; None without one."""
    start = len(PREAMBLE) + FRAMING + len(pack_header(header))
    group = config.group_length(fps)
    entries: list[GroupEntry | FrameEntry] = []
    for number in range(frames):
        if number % group == 0:
            entries.append(GroupEntry(number // group, number, 0, 2000))
        entries.append(FrameEntry(number, "inter" if number % group else "key", number // group, 0, 5000))
    return target_of(config, frames, fps, start + FRAMING + len(pack_index(start, entries, frames)))


def probed_frames(target: Target) -> int:
    """How many of the first frames tell what lambda to begin with.

    Of short groups the first and the key frame behind it: there are many such, and they differ from the first frame.
    """
    if target.group <= SHORT_GROUP:
        return min(target.frames, target.group + 1)
    return min(target.frames, _PROBED_PSNR if target.bytes is None else _PROBED_RATE)


def stored_start(path: Path, config: EncoderConfig) -> float:
    """The lambda that a file with this target was begun with; that of ``config`` if it has another target."""
    with StreamReader(path) as reader:
        stored = json.loads(reader.header.settings)
    same = (stored.get("bitrate"), stored.get("target_psnr")) == (config.bitrate, config.target_psnr)
    found = stored.get("lambda_rate")
    return float(found) if same and isinstance(found, (int, float)) else config.lambda_rate


def outcome_of(number: int, frame: SymbolFrame, sizes: dict[str, int], quality: float) -> Outcome:
    """Frame ``number`` for rate control. ``sizes``: bytes by component; ``quality``: see :func:`judged_psnr`."""
    coded = sum(size for name, size in sizes.items() if name == "coefficients" or name.startswith("level"))
    return Outcome(frame.key, coded, sum(sizes.values()) - coded, quality, not frame.occupancy.any(), number == 0)


def written_outcomes(
    ws: Workspace, sequence: MultiViewSequence, config: EncoderConfig, path: Path, done: int
) -> list[Outcome]:
    """The outcomes of the first ``done`` frames of a file, as they were when they were written."""
    outcomes: list[Outcome] = []
    if not done:
        return outcomes
    with Stream(path) as stream, StreamReader(path) as reader:
        for number in range(done):
            quality = math.nan
            if config.target_psnr is not None:
                field = stream[number]
                views = views_of(sequence, field.layout, number).views
                quality = judged_psnr(ws, field, stream.background, views)
            outcomes.append(outcome_of(number, stream.symbols(number), reader.components(number), quality))
    return outcomes


def judged_psnr(ws: Workspace, field: Field, background: tuple[float, float, float], views: Sequence[View]) -> float:
    """Mean PSNR of a frame as ``tvvc eval`` measures it: over held-out views if there are any, else over all; dB.

    Pictures that agree exactly are left out; NaN if all do.
    """
    held_out = [v for v in views if v.camera.split == "test"]
    found = finite_mean(view_psnrs(ws, field, background, held_out or views))
    return math.nan if found is None else found


def training_psnr(ws: Workspace, field: Field, background: tuple[float, float, float], views: Sequence[View]) -> float:
    """Mean PSNR of a frame over training views, all of them unless they have very many pixels, dB.

    Views without any error, such as of nothing but background, are left out; infinite where no others are.
    """
    training = [v for v in views if v.camera.split == "train"]
    pixels = sum(v.camera.width * v.camera.height for v in training)
    found = finite_mean(view_psnrs(ws, field, background, training[:: max(1, -(-pixels // _CHECKED_PIXELS))]))
    return math.inf if found is None else found


def written_qualities(
    ws: Workspace,
    sequence: MultiViewSequence,
    background: tuple[float, float, float],
    path: Path,
    position: Position,
) -> Iterator[float]:
    """:func:`training_psnr` of the frames in a file that belong to the group at its end, as when they were written; of
    those in which there is anything."""
    if position.reference is None:
        return
    with Stream(path) as stream:
        for number in range(position.first_of_group, position.number):
            if stream.symbols(number).occupancy.any():
                field = stream[number]
                yield training_psnr(ws, field, background, views_of(sequence, field.layout, number).views)


def view_psnrs(
    ws: Workspace, field: Field, background: tuple[float, float, float], views: Sequence[View]
) -> list[float]:
    """PSNR (dB) of each of the views but for its unknown pixels, rendered and composited on ``background`` (sRGB in
    [0, 1])."""
    found = []
    for view in views:
        picture = render(field, view.camera, background, workspace=ws).colour
        counted = pixels_with_rays(view.camera)
        if view.unknown is not None:
            counted = ~view.unknown if counted is None else counted & ~view.unknown
        found.append(psnr(composite(view.image, background), picture, counted))
    return found
