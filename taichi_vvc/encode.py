"""The encoder: capture in, one file out, frame by frame, each predicted from what the decoder will have.

Per frame: (1) read the views; (2) find where samples may lie; (3) fit through the quantiser and the rate model;
(4) entropy-code the integers; (5) append the chunk; (6) decode it again: the *decoded* symbols are the next reference.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

from taichi_vvc.bitstream import Sound, StreamWriter
from taichi_vvc.bitstream.sound_runs import SoundWriter, stored_packets
from taichi_vvc.capture.sequence import MultiViewSequence
from taichi_vvc.coding.headers import layout_of_header
from taichi_vvc.config import EncoderConfig
from taichi_vvc.encoder.colours import looks_for, stored_looks
from taichi_vvc.encoder.detail import settle_detail
from taichi_vvc.encoder.frame import Job
from taichi_vvc.encoder.frames import go_on
from taichi_vvc.encoder.poses import with_refined_poses, with_stored_poses
from taichi_vvc.encoder.progress import Glimpse, Listener, Progress
from taichi_vvc.encoder.resume import file_cameras, stored_start
from taichi_vvc.encoder.settle import header_for, probed_start, settle_background
from taichi_vvc.encoder.targets import file_target
from taichi_vvc.encoder.trusted_views import check_start, views_of
from taichi_vvc.errors import ConfigError, DataError, TargetMissed
from taichi_vvc.field.workspace import Workspace
from taichi_vvc.parts.cluster import Cluster, Workers
from taichi_vvc.parts.coding import encode_in_parts
from taichi_vvc.parts.plan import usual_length
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
    workers: Workers | None = None,
) -> Iterator[FrameStats]:
    """Encode a capture into a file, yielding the figures of each frame once it is safely written.

    The file is playable after every frame; abandoning the iterator (or Ctrl-C, or a crash) loses only the frame at
    hand. The running backend is used, or the automatic one.

    Settings with a ``bitrate`` or a ``target_psnr`` are met by a lambda per frame. The first one is found by encoding
    the first frames several times, and takes the place of ``lambda_rate`` in the file's settings; the others follow
    from the frames in the file. A finished file that misses its target is told of by a :class:`TargetMissed` warning.

    Settings with a ``part_length`` encode parts that do not depend on each other, see
    :func:`taichi_vvc.parts.coding.encode_in_parts`.

    Args:
        sequence: the capture, see :func:`taichi_vvc.open_capture`.
        config: settings, usually one of ``PRESETS``.
        path: the file.
        resume: go on behind the last whole frame of an existing file.
        overwrite: replace an existing file, which stays what it is until the first frame is whole.
        progress: called several times a second with :class:`Progress`.
        preview: called as often with a :class:`Glimpse` of the fit, and with one of each finished frame; not with
            ``workers``.
        sound: what is heard from the first frame on, see :func:`taichi_vvc.media.sound.read_sound`; what comes after
            the last frame is left out.
        workers: code parts on several workers at once; without a ``part_length`` in parts of 20 seconds. Frames are
            yielded when their part and all before it are in the file.

    Raises:
        ConfigError: the file exists, another process is writing it, ``resume`` finds other settings, another sound or
            more frames in it, or no lambda reaches the target.
        DataError: the capture cannot be used.
        BackendError: no backend starts, or workers are lost again and again.
    """
    path = Path(path)
    if not len(sequence):
        raise DataError(f"{sequence.path}: expected at least one frame, found none; check --frames")
    if path.exists() and not (resume or overwrite):
        raise ConfigError(f"{path}: expected no such file, found one; overwrite it or resume")
    if workers is not None and not config.part_length:
        config = replace(config, part_length=usual_length(sequence.fps))
    if config.part_length:
        with nullcontext() if workers is None else Cluster(workers) as team:
            yield from encode_in_parts(
                sequence,
                config,
                path,
                team,
                resume=resume,
                overwrite=overwrite,
                progress=progress,
                preview=preview,
                sound=sound,
            )
        return
    config, sequence = settle_detail(settle_background(config, sequence), sequence)
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
    paid = 0 if heard is None else heard.size
    if looks:
        sequence = replace(sequence, looks=looks)
    if not going_on:
        sequence = with_refined_poses(ws, sequence, config, Listener(progress))
    elif config.poses != "off":
        sequence = with_stored_poses(sequence, file_cameras(path))
    has_target = config.bitrate is not None or config.target_psnr is not None
    if has_target:
        begin = stored_start(path, config) if going_on else probed_start(ws, sequence, config, progress, paid)
        config = replace(config, lambda_rate=begin)
    header = header_for(sequence, config)
    layout = layout_of_header(header)
    if going_on:
        writer, done = StreamWriter.resume(path, header, bool(sequence.looks))
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
        target = file_target(config, len(sequence), sequence.fps, header, paid)
        job = Job(ws, sequence, config, layout, Listener(progress, preview))
        control = yield from go_on(job, target, writer, path, header, done, heard=heard)
    message = control.missed(path.stat().st_size)
    if message:
        warnings.warn(f"{path}: {message}", TargetMissed, stacklevel=2)
