"""``tvvc join``: several files as one, group by group."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from pathlib import Path

from taichi_vvc.bitstream import StreamReader
from taichi_vvc.bitstream.assembly import Assembly, whole_groups
from taichi_vvc.bitstream.common import common_header
from taichi_vvc.bitstream.numbering import capture_frames
from taichi_vvc.bitstream.sound import Sound, joined
from taichi_vvc.bitstream.sound_runs import sound_writer
from taichi_vvc.editing.summary import Written, check_other_file
from taichi_vvc.errors import ConfigError, StreamError
from taichi_vvc.words import counted


def join(
    paths: Sequence[str | os.PathLike[str]],
    output: str | os.PathLike[str],
    *,
    overwrite: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> Written:
    """Writes one file with the frames of several, in the order given. Nothing is decoded or fitted.

    The files need the same field, background, frame rate, reduction and cameras. Frame ranges, settings, format
    versions and the places of cameras may differ, see :func:`taichi_vvc.bitstream.common.common_header`. The symbols of
    each frame are what they were. Sound is joined with them, at most 10 ms off; a file without any is silent. The
    output plays while it is written, and is whole up to its last group after a crash. One group is in memory at a time.

    Args:
        paths: the files, at least one.
        output: the file to write.
        overwrite: replace an existing output, which stays what it is until the first group is whole.
        progress: called after each group with the frames that are written, and those of all files.

    Raises:
        ConfigError: the files do not go together, the output exists or is one of them.
        DataError: the output cannot be written.
        StreamError: a file cannot be read, is damaged or has no frame.
    """
    if not paths:
        raise ConfigError("expected at least one file to join, found none")
    check_other_file(output, paths)
    sources, notes = [], []
    for path in paths:
        # What a reader knows of its file stays when it is closed; there may be more files than can be open.
        with StreamReader(path) as reader:
            sources.append(reader)
        if not reader.frames:
            raise StreamError(f"{path}: expected at least one whole frame, found none")
        if not reader.complete:
            notes.append(f"{path} has no valid index: the {counted(len(reader.frames), 'frame')} found are used")
    header, version = common_header(sources)
    total = sum(len(source.frames) for source in sources)
    if len(sources) > 1 and _jumps(sources):
        notes.append(f"{output}: frames of the capture do not follow each other, so that 'tvvc eval' cannot compare it")
    sound = joined(_sounds(sources))
    heard, version = sound_writer(sound, header.fps, total, version)
    with Assembly.create(output, header, version, overwrite, heard) as assembly:
        for source in sources:
            with StreamReader(source.path) as reader:
                for number in whole_groups(reader):
                    assembly.add(reader, number)
                    if progress is not None:
                        progress(assembly.frames, total)
        assembly.finish()
    size = Path(output).stat().st_size
    return Written(Path(output), version, assembly.frames, assembly.groups, size, notes=tuple(notes))


def _sounds(sources: Sequence[StreamReader]) -> Iterator[tuple[Sound | None, Fraction, Fraction]]:
    """The sound of each file, where it begins, and how long the file takes."""
    for source in sources:
        with StreamReader(source.path) as reader:
            yield reader.sound(), Fraction(0), len(reader.frames) / reader.header.fps


def _jumps(sources: Sequence[StreamReader]) -> bool:
    """Whether the frames of the capture that files have do not follow each other with one step."""
    numbers: list[int] = []
    for source in sources:
        more = capture_frames(source.header, len(source.frames))
        if more is None:
            return True
        numbers += more
    return numbers != list(range(numbers[0], numbers[-1] + 1, numbers[1] - numbers[0] or 1))
