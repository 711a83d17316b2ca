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
from dataclasses import replace
from pathlib import Path

from taichi_vvc.bitstream import Sound, StreamWriter, versions
from taichi_vvc.bitstream.sound_runs import SoundWriter, stored_packets
from taichi_vvc.bitstream.syntax import SequenceHeader
from taichi_vvc.capture.ahead import ReadAhead
from taichi_vvc.capture.sequence import MultiViewSequence
from taichi_vvc.coding.headers import header_of, layout_of_header
from taichi_vvc.coding.moving_cameras import CameraCoder
from taichi_vvc.config import EncoderConfig, layout_of
from taichi_vvc.encoder.colours import looks_for, stored_looks
from taichi_vvc.encoder.first_lambda import find_start
from taichi_vvc.encoder.frame import Job, code_frame
from taichi_vvc.encoder.groups import Groups, cheaper
from taichi_vvc.encoder.poses import with_refined_poses, with_stored_poses
from taichi_vvc.encoder.progress import Glimpse, Listener, Progress
from taichi_vvc.encoder.quality import judged_psnr
from taichi_vvc.encoder.rate_control import Controller, FixedLambda, Outcome, restored
from taichi_vvc.encoder.resume import (
    Position,
    cameras_behind,
    file_cameras,
    position_behind,
    stored_start,
    written_outcomes,
)
from taichi_vvc.encoder.targets import file_target, outcome_of, probed_frames
from taichi_vvc.encoder.trusted_views import check_start, views_of
from taichi_vvc.errors import ConfigError, DataError, TargetMissed
from taichi_vvc.field.workspace import Workspace
from taichi_vvc.media.pictures import edge_colour
from taichi_vvc.runtime import start
from taichi_vvc.types import FrameStats


def encode(
    sequence: MultiViewSequence,
    config: EncoderConfig,
    path: str | os.PathLike[str],
    *,
    resume: bool = False,
    overwrite: bool = False,
    progress: Callable[[Progress], None] | None = None,
    preview: Callable[[Glimpse], None] | None = None,
    sound: Sound | None = None,
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
        sound: what is heard from the first frame on, see :func:`taichi_vvc.media.sound.read_sound`; what comes after
            the last frame is left out. Files with sound are of format version 7.

    Raises:
        ConfigError: the file exists, another process is writing it, ``resume`` finds other settings, another sound or
            more frames in it, or no lambda reaches the target.
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
    looks = stored_looks(path) if going_on else None
    looks = looks_for(sequence, config) if looks is None else looks
    heard = None
    if sound is not None:
        heard = SoundWriter(sound, sequence.fps, len(sequence), config.group_length(sequence.fps))
    if going_on:
        sent = stored_packets(path, sound)
        heard = None if heard is None else replace(heard, sent=sent)
    if looks:
        sequence = replace(sequence, looks=looks)
    if not going_on:
        sequence = with_refined_poses(ws, sequence, config, Listener(progress))
    elif config.poses != "off":
        sequence = with_stored_poses(sequence, file_cameras(path))
    has_target = config.bitrate is not None or config.target_psnr is not None
    if has_target:
        begin = stored_start(path, config) if going_on else _probed_start(ws, sequence, config, progress, heard)
        config = replace(config, lambda_rate=begin)
    header = _header(sequence, config)
    layout = layout_of_header(header)
    if going_on:
        writer, done = StreamWriter.resume(path, header, bool(sequence.looks))
    else:
        # Before anything is replaced.
        check_start(layout, views_of(sequence, layout, 0))
        version = versions.WRITTEN if heard is None else versions.FIRST_WITH_SOUND
        writer, done = StreamWriter.create(path, header, overwrite, version), 0
    with writer:
        if done > len(sequence):
            raise ConfigError(
                f"{path}: expected a file of at most the {len(sequence)} frames that are asked for, found {done}; "
                "it is whole as it is: ask for more frames, or for another file"
            )
        target = file_target(config, len(sequence), sequence.fps, header, 0 if heard is None else heard.size)
        control: Controller | FixedLambda = FixedLambda(config.lambda_rate)
        if target is not None:
            control = restored(target, config.lambda_rate, written_outcomes(ws, sequence, config, path, done))
        job, position = Job(ws, sequence, config, layout, Listener(progress, preview)), position_behind(path, done)
        groups, cameras = Groups(job, control, position), CameraCoder(header, cameras_behind(path, done))
        groups.restore(path)
        yield from _encode_frames(groups, writer, cameras, len(sequence), heard)
        writer.finish()
    message = control.missed(path.stat().st_size)
    if message:
        warnings.warn(f"{path}: {message}", TargetMissed, stacklevel=2)


def _encode_frames(
    groups: Groups, writer: StreamWriter, cameras: CameraCoder, stop: int, heard: SoundWriter | None = None
) -> Iterator[FrameStats]:
    """Encodes the frames from the position of ``groups`` to ``stop - 1`` and appends them."""
    job, control, told = groups.job, groups.control, set[str]()
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


def _probed_start(
    ws: Workspace,
    sequence: MultiViewSequence,
    config: EncoderConfig,
    progress: Callable[[Progress], None] | None,
    heard: SoundWriter | None = None,
) -> float:
    """Lambda of the first frame, found by encoding the first frames into files that are thrown away."""
    paid = 0 if heard is None else heard.size
    target = file_target(config, len(sequence), sequence.fps, _header(sequence, config), paid)
    assert target is not None
    count = probed_frames(target)
    probes = itertools.count(1)

    def probe(weight: float) -> list[Outcome]:
        settings = replace(config, lambda_rate=weight)
        header = _header(sequence, settings)
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "probe.tvvc"
            with StreamWriter.create(path, header) as writer:
                listener = Listener(progress, probe=next(probes))
                job = Job(ws, sequence, settings, layout_of_header(header), listener)
                groups = Groups(job, FixedLambda(weight), Position())
                for _ in _encode_frames(groups, writer, CameraCoder(header), count):
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


def _header(sequence: MultiViewSequence, config: EncoderConfig) -> SequenceHeader:
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
