"""An encode in parts: each part is fitted for itself, and the file is assembled in order while parts become whole."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from taichi_vvc.bitstream import SequenceHeader, Sound, StreamReader, StreamWriter, versions
from taichi_vvc.bitstream.assembly import Assembly
from taichi_vvc.bitstream.numbering import with_numbering
from taichi_vvc.bitstream.sound_runs import sound_writer, stored_packets
from taichi_vvc.capture.sequence import MultiViewSequence
from taichi_vvc.coding.headers import colours_of, layout_of_header, pack_colour_maps
from taichi_vvc.config import EncoderConfig
from taichi_vvc.encoder.detail import settle_detail
from taichi_vvc.encoder.frame import Job
from taichi_vvc.encoder.frames import go_on
from taichi_vvc.encoder.progress import Glimpse, Listener, Progress
from taichi_vvc.encoder.rate_control import Controller, Outcome, Target
from taichi_vvc.errors import ConfigError, TargetMissed
from taichi_vvc.field.workspace import Workspace
from taichi_vvc.parts.folder import PartsFolder, Plan
from taichi_vvc.parts.plan import Part, piece
from taichi_vvc.parts.prepare import Prepared, prepare
from taichi_vvc.parts.rate import part_target, whole_target
from taichi_vvc.runtime import start
from taichi_vvc.types import FrameStats


@dataclass(frozen=True)
class Work:
    """All that coding one part takes. It can be sent to another process.

    Attributes:
        part: which frames of the whole sequence.
        sequence: these frames.
        config: the settings of all parts.
        header: of the part's file.
        target: of the part; None: the settings' lambda holds.
        total: frames of the whole file.
    """

    part: Part
    sequence: MultiViewSequence
    config: EncoderConfig
    header: SequenceHeader
    target: Target | None
    total: int


class Team(Protocol):
    """Who codes the parts: this process, or many workers."""

    def prepare(
        self,
        sequence: MultiViewSequence,
        config: EncoderConfig,
        stored: Plan | None,
        place: Path,
        progress: Callable[[Progress], None] | None,
    ) -> Prepared:
        """See :func:`taichi_vvc.parts.prepare.prepare`."""

    def code(
        self, works: Sequence[Work], folder: PartsFolder, listener: Listener
    ) -> Generator[FrameStats | int, None, None]:
        """Codes parts into the folder, in any order.

        Gives the number of each part when it is whole. A part's frames may come before that, one by one.
        """


def works_of(sequence: MultiViewSequence, prepared: Prepared) -> list[Work]:
    """The work of each part."""
    whole, plan = prepared.applied(sequence), prepared.plan
    target, works = whole_target(whole, prepared.config), []
    for part, goal in zip(plan.parts, plan.goals, strict=True):
        own = piece(whole, part)
        header = with_numbering(plan.header, own.indices)
        works.append(Work(part, own, prepared.config, header, part_target(target, part, goal), len(sequence)))
    return works


def code_part(
    ws: Workspace, work: Work, path: Path, listener: Listener, told: set[str] | None = None, resume: bool = False
) -> Iterator[FrameStats]:
    """Codes one part into a file of its own, yielding the figures of each frame, as numbered in the whole file.

    Args:
        ws: scratch arrays.
        work: the part.
        path: the file.
        listener: told of frames as numbered in the whole file.
        told: names of cameras whose masks were told of.
        resume: go on with the file if it is there.
    """
    start_frame, sequence = work.part.start, work.sequence
    if resume and path.exists():
        writer, done = StreamWriter.resume(path, work.header, bool(sequence.looks))
    else:
        writer, done = StreamWriter.create(path, work.header), 0
    job = Job(ws, sequence, work.config, layout_of_header(work.header), _placed(listener, start_frame))
    with writer:
        for frame in go_on(job, work.target, writer, path, work.header, done, told):
            yield _in_file(frame, work)


def _placed(listener: Listener, before: int) -> Listener:
    """A listener that hears of a part's frames as numbered in the whole file."""
    progress, preview = listener.progress, listener.preview
    return replace(
        listener,
        progress=progress and (lambda p: progress(replace(p, frame=before + p.frame))),
        preview=preview and (lambda g: preview(replace(g, number=before + g.number))),
    )


def _in_file(frame: FrameStats, work: Work) -> FrameStats:
    """The figures of a part's frame as it will be in the whole file, where only the first part has the colour maps."""
    maps = 0 if frame.index or not work.part.number else len(pack_colour_maps(work.sequence.looks))
    components = {name: size - maps * (name == "cameras") for name, size in frame.components.items()}
    return replace(frame, index=work.part.start + frame.index, bytes=frame.bytes - maps, components=components)


class Here:
    """The team of one: this process codes one part after the other."""

    def __init__(self) -> None:
        self._ws = Workspace(start())

    def prepare(
        self,
        sequence: MultiViewSequence,
        config: EncoderConfig,
        stored: Plan | None,
        place: Path,
        progress: Callable[[Progress], None] | None,
    ) -> Prepared:
        """See :class:`Team`."""
        return prepare(self._ws, sequence, config, stored, place, progress)

    def code(
        self, works: Sequence[Work], folder: PartsFolder, listener: Listener
    ) -> Generator[FrameStats | int, None, None]:
        """See :class:`Team`. A part that was stopped in its middle goes on there."""
        told: set[str] = set()
        for work in works:
            number = work.part.number
            for frame in code_part(self._ws, work, folder.file(number), listener, told, resume=True):
                folder.note(number, frame)
                yield frame
            yield number


def encode_in_parts(
    sequence: MultiViewSequence,
    config: EncoderConfig,
    path: Path,
    team: Team | None = None,
    *,
    resume: bool = False,
    overwrite: bool = False,
    progress: Callable[[Progress], None] | None = None,
    preview: Callable[[Glimpse], None] | None = None,
    sound: Sound | None = None,
) -> Iterator[FrameStats]:
    """Encodes a capture in parts; arguments are those of :func:`taichi_vvc.encode.encode`.

    Parts are kept in ``NAME.parts`` beside the file ``NAME``, which is assembled in order while they become whole, and
    plays from its beginning. The folder is removed when the file is whole. ``resume`` codes the parts that are missing,
    and puts the file together anew.

    A part depends on the capture and the settings alone, so that the file does not depend on the ``team`` that codes
    it; None: this process.

    The sound is not in the parts: it is written while the file is put together.

    Raises:
        ConfigError: see :func:`taichi_vvc.encode.encode`; there is a sound, and a bitrate, which would
            have to count it; or ``resume`` finds a file without its parts, or no ``resume`` finds parts without their
            file.
        DataError: the capture cannot be used, or a part cannot be written.
    """
    if sound is not None and config.bitrate is not None:
        raise ConfigError(
            "expected no sound in an encode of parts with a bitrate, found some; set a quality (--crf, "
            "--target-psnr), or encode without parts"
        )
    folder = PartsFolder(path)
    stored, before = _found(folder, path, resume, overwrite)
    team = Here() if team is None else team
    config, sequence = settle_detail(config, sequence)
    prepared = team.prepare(sequence, config, stored, path, progress)
    parts = prepared.plan.parts
    if stored is not None and not folder.exists():
        stored_packets(path, sound)
        return  # The file is whole.
    if stored is None:
        folder.begin(prepared.plan)
    whole = {part.number for part in parts if folder.whole(part)}
    works = [work for work in works_of(sequence, prepared) if work.part.number not in whole]
    # Frames of a part that was stopped in its middle were told of when they were written.
    told = {frame.index for work in works for frame in folder.figures(work.part.number)}
    with _Assembling(folder, path, prepared.plan, overwrite or resume, sound) as file:
        for part in file.add(whole):
            # What the file did not have was not told of, but for parts of this process, which it has as they get whole.
            yield from (frame for frame in folder.figures(part.number) if frame.index >= before)
        with closing(team.code(works, folder, Listener(progress, preview))) as events:
            for event in events:
                if isinstance(event, FrameStats):
                    told.add(event.index)
                    yield event
                    continue
                whole.add(event)
                for part in file.add(whole):
                    yield from (frame for frame in folder.figures(part.number) if frame.index not in told)
        file.finish()
    message = _missed(sequence, prepared, folder, path.stat().st_size)
    folder.remove()
    if message:
        warnings.warn(f"{path}: {message}", TargetMissed, stacklevel=3)


def _found(folder: PartsFolder, path: Path, resume: bool, overwrite: bool) -> tuple[Plan | None, int]:
    """The plan of a stopped encode that is to go on, and how many frames its file has; None to begin one.

    Raises:
        ConfigError: there is nothing to go on with, or something that would be lost.
    """
    if not resume:
        if folder.exists() and not overwrite:
            raise ConfigError(
                f"{folder.path}: expected no parts of {path.name}, found those of a stopped encode; "
                "resume it or overwrite it"
            )
        return None, 0
    if not path.exists() and not folder.exists():
        return None, 0
    frames = 0
    if path.exists():
        with StreamReader(path) as reader:
            frames = len(reader.frames)
            if not folder.exists():
                return _plan_of(reader, folder), frames
    return folder.plan(), frames


def _plan_of(reader: StreamReader, folder: PartsFolder) -> Plan:
    """The plan that a whole file was made by, as far as it is known from the file."""
    if not reader.complete or not reader.frames:
        raise ConfigError(
            f"{reader.path}: expected a whole file or its parts in {folder.path}, found neither; "
            "an encode in parts goes on with its parts: start anew"
        )
    looks = colours_of(reader.read_colours(0), len(reader.header.cameras), str(reader.path))
    return Plan(reader.header, looks, (Part(0, 0, len(reader.frames)),), ((None, None),))


class _Assembling:
    """The file that parts are added to, in order."""

    def __init__(self, folder: PartsFolder, path: Path, plan: Plan, overwrite: bool, sound: Sound | None) -> None:
        self._folder, self._parts, self._next = folder, plan.parts, 0
        heard, version = sound_writer(sound, plan.header.fps, plan.parts[-1].stop, versions.WRITTEN)
        self._assembly = Assembly.create(path, plan.header, version, overwrite, heard)

    def add(self, whole: set[int]) -> Iterator[Part]:
        """Adds the parts that come next, as far as they are whole, and gives each when it is in the file."""
        while self._next in whole:
            part = self._parts[self._next]
            with StreamReader(self._folder.file(part.number)) as reader:
                self._assembly.add_all(reader)
            self._next += 1
            yield part

    def finish(self) -> None:
        """Writes the index."""
        self._assembly.finish()

    def __enter__(self) -> _Assembling:
        return self

    def __exit__(self, *_error: object) -> None:
        self._assembly.close()


def _missed(sequence: MultiViewSequence, prepared: Prepared, folder: PartsFolder, size: int) -> str | None:
    """One line if the finished file of ``size`` bytes misses its target; None if it meets it, or there is none."""
    target = whole_target(prepared.applied(sequence), prepared.config)
    if target is None:
        return None
    control = Controller(target, prepared.config.lambda_rate)
    for part in prepared.plan.parts:
        for frame in folder.figures(part.number):
            control.observe(frame.lambda_rate, Outcome(frame.type == "key", 0, 0, frame.judged_psnr))
    return control.missed(size)
