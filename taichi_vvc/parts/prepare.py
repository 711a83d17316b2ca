"""What all parts of an encode share, found once from the whole sequence."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from taichi_vvc.bitstream.settings import settings_text
from taichi_vvc.bitstream.syntax import SequenceHeader
from taichi_vvc.bitstream.writer import check_same_header
from taichi_vvc.capture.sequence import MultiViewSequence
from taichi_vvc.coding.headers import cameras_of_header, layout_of_header
from taichi_vvc.config import EncoderConfig
from taichi_vvc.encoder.colours import looks_for
from taichi_vvc.encoder.poses import posed, with_refined_poses, with_stored_poses
from taichi_vvc.encoder.progress import Listener, Progress
from taichi_vvc.encoder.resume import same_target_lambda
from taichi_vvc.encoder.settle import header_for, settle_background
from taichi_vvc.encoder.trusted_views import check_start, views_of
from taichi_vvc.errors import ConfigError
from taichi_vvc.field.workspace import Workspace
from taichi_vvc.parts.folder import Plan
from taichi_vvc.parts.plan import planned, shows_something
from taichi_vvc.parts.rate import plan_rate
from taichi_vvc.types import Camera


@dataclass(frozen=True)
class Prepared:
    """What coding any part takes besides its frames.

    Attributes:
        plan: the parts, and what they share.
        config: the settings, with a background, and with the lambda that a target begins with.
        cameras: of the first frame, where the encoder moved them; None where it did not.
    """

    plan: Plan
    config: EncoderConfig
    cameras: tuple[Camera, ...] | None

    def applied(self, sequence: MultiViewSequence) -> MultiViewSequence:
        """The sequence with its cameras where they are to be, and as they show colours."""
        if self.cameras is not None:
            sequence = posed(sequence, self.cameras)
        return replace(sequence, looks=self.plan.looks)


def prepare(
    ws: Workspace,
    sequence: MultiViewSequence,
    config: EncoderConfig,
    stored: Plan | None = None,
    place: Path | None = None,
    progress: Callable[[Progress], None] | None = None,
    backend: str | None = None,
) -> Prepared:
    """Settles what all parts share. It depends on the capture and the settings alone.

    Args:
        ws: scratch arrays.
        sequence: the capture.
        config: the settings; they have a ``part_length``.
        stored: the plan that a stopped encode was begun with; None begins one.
        place: where that plan is, for messages.
        progress: called several times a second with :class:`Progress`.
        backend: that codes the parts; None: that of ``ws``.

    Raises:
        ConfigError: ``stored`` is of other settings or another number of frames, or no lambda reaches the target.
        DataError: the capture cannot be used.
    """
    backend = ws.runtime.backend if backend is None else backend
    config = settle_background(config, sequence)
    looks = looks_for(sequence, config) if stored is None else stored.looks
    if looks:
        sequence = replace(sequence, looks=looks)
    before = sequence
    if stored is None:
        sequence = with_refined_poses(ws, sequence, config, Listener(progress))
    elif config.poses != "off":
        sequence = with_stored_poses(sequence, cameras_of_header(stored.header))
    moved = sequence.cameras if sequence is not before else None
    group = config.group_length(sequence.fps)
    has_target = config.bitrate is not None or config.target_psnr is not None
    if stored is not None:
        if has_target:
            config = replace(config, lambda_rate=same_target_lambda(stored.header, config))
        header = _header(backend, sequence, config)
        check_same_header(place or sequence.path, stored.header, header)
        if stored.parts[-1].stop != len(sequence):
            raise ConfigError(
                f"{place}: expected the {stored.parts[-1].stop} frames that the file was started with, "
                f"found {len(sequence)}; use the same ones or start anew"
            )
        return Prepared(replace(stored, header=header), config, moved)
    layout = layout_of_header(header_for(sequence, config))
    check_start(layout, views_of(sequence, layout, 0))
    parts = planned(len(sequence), group, config.part_length, lambda n: shows_something(sequence, layout, n))
    goals: tuple[tuple[float | None, float | None], ...] = ((None, None),) * len(parts)
    if has_target:
        weight, goals = plan_rate(ws, sequence, config, parts, progress)
        config = replace(config, lambda_rate=weight)
    return Prepared(Plan(_header(backend, sequence, config), looks, parts, goals), config, moved)


def _header(backend: str, sequence: MultiViewSequence, config: EncoderConfig) -> SequenceHeader:
    """The header of the whole file. Fits on a GPU differ from run to run, so that it says where the parts are from."""
    header = header_for(sequence, config)
    if backend == "cpu":
        return header
    settings = {**json.loads(header.settings), "parts_from": backend}
    return replace(header, settings=settings_text(settings))
