"""What is settled before the first frame: the background, the header, and the lambda that meets a target."""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from taichi_vvc.bitstream import StreamWriter
from taichi_vvc.bitstream.syntax import SequenceHeader
from taichi_vvc.capture.sequence import MultiViewSequence
from taichi_vvc.coding.headers import header_of, layout_of_header
from taichi_vvc.coding.moving_cameras import CameraCoder
from taichi_vvc.config import EncoderConfig, layout_of
from taichi_vvc.encoder.first_lambda import find_start
from taichi_vvc.encoder.frame import Job
from taichi_vvc.encoder.frames import encode_frames
from taichi_vvc.encoder.groups import Groups
from taichi_vvc.encoder.progress import Listener, Progress
from taichi_vvc.encoder.rate_control import FixedLambda, Outcome
from taichi_vvc.encoder.resume import Position, written_outcomes
from taichi_vvc.encoder.targets import file_target, probed_frames
from taichi_vvc.field.workspace import Workspace
from taichi_vvc.media.pictures import edge_colour


def settle_background(config: EncoderConfig, sequence: MultiViewSequence) -> EncoderConfig:
    """``config`` with a background: its own, white for captures with alpha, else the pictures' median edge colour."""
    if config.background is not None:
        return config
    if sequence.has_alpha:
        return replace(config, background=(255, 255, 255))
    return replace(config, background=edge_colour(sequence.frame(0, split="train").views))


def header_for(sequence: MultiViewSequence, config: EncoderConfig) -> SequenceHeader:
    """The header of the file that a capture is encoded into, its background being settled."""
    training = [c for c in sequence.cameras if c.split == "train"]
    return header_of(
        layout_of(config, sequence.bounds, training, sequence.scene.whole, sequence.scene.near),
        sequence.cameras,
        config,
        sequence.fps,
        sequence.first_index,
        sequence.downscale,
        sequence.frame_step,
    )


def probed_start(
    ws: Workspace,
    sequence: MultiViewSequence,
    config: EncoderConfig,
    progress: Callable[[Progress], None] | None,
    sound: int = 0,
) -> float:
    """Lambda of the first frame, found by encoding the first frames into files that are thrown away.

    ``sound``: bytes of the file that its sound takes.

    Raises:
        ConfigError: no lambda reaches the target of ``config``.
    """
    target = file_target(config, len(sequence), sequence.fps, header_for(sequence, config), sound)
    assert target is not None
    count = probed_frames(target)
    probes = itertools.count(1)

    def probe(weight: float) -> list[Outcome]:
        return probed(ws, sequence, replace(config, lambda_rate=weight), count, Listener(progress, probe=next(probes)))

    return find_start(target, config.lambda_rate, probe)


def probed(
    ws: Workspace, sequence: MultiViewSequence, config: EncoderConfig, count: int, listener: Listener
) -> list[Outcome]:
    """What the first ``count`` frames of a sequence turn out to be, encoded into a file that is thrown away."""
    header = header_for(sequence, config)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "probe.tvvc"
        with StreamWriter.create(path, header) as writer:
            job = Job(ws, sequence, config, layout_of_header(header), listener)
            groups = Groups(job, FixedLambda(config.lambda_rate), Position())
            for _ in encode_frames(groups, writer, CameraCoder(header), count):
                pass
        return written_outcomes(ws, sequence, config, path, count)
