"""``tvvc cut``: some frames of a file as a file of their own."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from taichi_vvc.bitstream import StreamReader
from taichi_vvc.bitstream.assembly import Assembly, group_end
from taichi_vvc.bitstream.numbering import capture_frames, with_numbering
from taichi_vvc.bitstream.sound import piece
from taichi_vvc.bitstream.sound_runs import sound_writer
from taichi_vvc.editing.summary import Written, check_other_file
from taichi_vvc.errors import ConfigError
from taichi_vvc.words import counted


def cut(
    path: str | os.PathLike[str],
    frames: slice,
    output: str | os.PathLike[str],
    *,
    exact: bool = False,
    overwrite: bool = False,
    memory_limit: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Written:
    """Writes some frames of a file as a file of their own. Nothing is fitted.

    A piece begins at a key frame and may end anywhere: its groups are copied, and the symbols of each frame are what
    they were. With ``exact`` it may begin at any frame, too. Then the frames up to the next key frame are coded again
    from their symbols, the first of them as a key frame. This loses nothing: all symbols that pictures depend on stay.
    It costs bytes, and time for these frames only. Sound is cut with the frames.

    Args:
        path: the file.
        frames: which of its frames; the step must be None or 1.
        output: the file to write.
        exact: allow a beginning that is not a key frame.
        overwrite: replace an existing output, which stays what it is until the first group is whole.
        memory_limit: bytes that decoding may take; used with ``exact`` only. None: half of the machine's memory.
        progress: called after each group with the frames that are written, and those of the piece.

    Raises:
        ConfigError: there are no such frames, they do not begin at a key frame and ``exact`` is not set, or the output
            exists or is the file itself.
        DataError: the output cannot be written.
        StreamError: the file cannot be read or is damaged.
    """
    check_other_file(output, [path])
    with StreamReader(path) as reader:
        count = len(reader.frames)
        if frames.step not in (None, 1):
            raise ConfigError(f"expected frames without a step, found a step of {frames.step}")
        chosen = range(count)[frames]
        if not chosen:
            raise ConfigError(f"{path}: expected some of its {counted(count, 'frame')}, found none in {_text(frames)}")
        start, stop = chosen.start, chosen.stop
        group = reader.frames[start].group
        inside = reader.groups[group].first_frame != start
        if inside and not exact:
            raise ConfigError(f"{path}: {_boundaries(reader, start)}")
        numbers = capture_frames(reader.header, count)
        header = with_numbering(reader.header, None if numbers is None else numbers[start:stop])
        notes = () if reader.complete else (f"{path} has no valid index: {counted(count, 'frame')} found",)
        again = 0
        sound = reader.sound()
        if sound is not None:
            sound = piece(sound, start / reader.header.fps, len(chosen) / reader.header.fps)
        heard, version = sound_writer(sound, header.fps, len(chosen), reader.version)
        with Assembly.create(output, header, version, overwrite, heard) as assembly:
            if inside:
                # Only this takes the decoder and the entropy coder.
                from taichi_vvc.decode import Stream
                from taichi_vvc.editing.recoding import recoded_frames

                end = min(stop, group_end(reader, group))
                with Stream(path, memory_limit) as stream:
                    coded = list(recoded_frames(reader, stream, start, end))
                assembly.append(reader.read_whole_group(group), reader.read_colours(group), coded)
                again, group = len(coded), group + 1
                _tell(progress, assembly.frames, len(chosen))
            while assembly.frames < len(chosen):
                assembly.add(reader, group, stop)
                group += 1
                _tell(progress, assembly.frames, len(chosen))
            assembly.finish()
        size = Path(output).stat().st_size
        return Written(Path(output), version, assembly.frames, assembly.groups, size, again, notes)


def _tell(progress: Callable[[int, int], None] | None, done: int, total: int) -> None:
    if progress is not None:
        progress(done, total)


def _text(frames: slice) -> str:
    return ":".join("" if part is None else str(part) for part in (frames.start, frames.stop))


def _boundaries(reader: StreamReader, start: int) -> str:
    """What is wrong with a piece that begins at frame ``start``, and where one may begin."""
    group = reader.frames[start].group
    before, behind = reader.groups[group].first_frame, group_end(reader, group)
    near = f"are {before} and {behind}" if behind < len(reader.frames) else f"is {before}"
    again = f"frame {start}" if behind == start + 1 else f"frames {start} to {behind - 1}"
    return (
        f"expected frames that begin at a key frame, found {start}; the nearest {near}; "
        f"begin there, or use --exact, which codes {again} again without loss"
    )
