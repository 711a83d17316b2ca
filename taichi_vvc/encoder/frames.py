"""The loop over frames: each is fitted, coded, decoded again and appended to a file.

A whole file and a part of one run the same loop.
"""

from __future__ import annotations

import math
import time
from collections.abc import Generator, Iterator
from pathlib import Path

from taichi_vvc.bitstream import StreamWriter
from taichi_vvc.bitstream.sound_runs import SoundWriter
from taichi_vvc.bitstream.syntax import SequenceHeader
from taichi_vvc.capture.ahead import ReadAhead
from taichi_vvc.coding.moving_cameras import CameraCoder
from taichi_vvc.encoder.frame import Job, code_frame
from taichi_vvc.encoder.groups import Groups, cheaper
from taichi_vvc.encoder.quality import judged_psnr
from taichi_vvc.encoder.rate_control import Controller, FixedLambda, Target, restored
from taichi_vvc.encoder.resume import cameras_behind, position_behind, written_outcomes
from taichi_vvc.encoder.targets import outcome_of
from taichi_vvc.encoder.trusted_views import views_of
from taichi_vvc.types import FrameStats


def go_on(
    job: Job,
    target: Target | None,
    writer: StreamWriter,
    path: Path,
    header: SequenceHeader,
    done: int,
    told: set[str] | None = None,
    heard: SoundWriter | None = None,
) -> Generator[FrameStats, None, Controller | FixedLambda]:
    """Encodes the frames of a sequence behind the first ``done`` ones, which are in the file, and finishes it.

    Args:
        job: what coding a frame takes; its lambda is the one to begin with.
        target: of the file; None: all frames have the lambda of ``job``.
        writer: of the file.
        path: of the file.
        header: of the file.
        done: how many frames it has.
        told: names of cameras whose masks were told of; those that are told of now are added.
        heard: what writes the sound of the file.

    Returns:
        what chose the lambda of the frames.
    """
    control: Controller | FixedLambda = FixedLambda(job.config.lambda_rate)
    if target is not None:
        outcomes = written_outcomes(job.ws, job.sequence, job.config, path, done)
        control = restored(target, job.config.lambda_rate, outcomes)
    groups, cameras = Groups(job, control, position_behind(path, done)), CameraCoder(header, cameras_behind(path, done))
    groups.restore(path)
    yield from encode_frames(groups, writer, cameras, len(job.sequence), told, heard)
    writer.finish()
    return control


def encode_frames(
    groups: Groups,
    writer: StreamWriter,
    cameras: CameraCoder,
    stop: int,
    told: set[str] | None = None,
    heard: SoundWriter | None = None,
) -> Iterator[FrameStats]:
    """Encodes the frames from the position of ``groups`` to ``stop - 1`` and appends them.

    Each one's figures are yielded when it is on the disk. ``told`` and ``heard``: see :func:`go_on`.
    """
    job, control = groups.job, groups.control
    told = set() if told is None else told
    background = job.config.backdrop
    with ReadAhead(job.sequence, stop) as ahead:
        while (number := groups.position.number) < stop:
            began = time.monotonic()
            read = ahead.frame(number)
            views = views_of(job.sequence, job.layout, number, None if job.listener.probe else told, read)
            coded = code_frame(job, groups.task(views))
            instead = groups.key_frame_instead(coded)
            if instead is not None:
                coded = cheaper(coded, code_frame(job, instead))
            groups.observe(coded)
            if heard is not None:
                heard.before_frame(writer, number)
            sizes = coded.append(writer, cameras.code(job.sequence.cameras_at(number), coded.task.prediction.key))
            judged = math.nan
            if job.config.target_psnr is not None:
                judged = judged_psnr(job.ws, coded.field, background, views.views)
            control.observe(coded.task.lambda_rate, outcome_of(number, coded.reference.frame, sizes, judged))
            job.listener.look(number, coded.field, views, background, finished=True)
            yield coded.figures(sizes, judged, time.monotonic() - began)
