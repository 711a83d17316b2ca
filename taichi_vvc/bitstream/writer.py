"""Writing a .tvvc file: append-only and playable after every frame, so that a killed encode loses at most one frame."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import fields, replace
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import BinaryIO

from taichi_vvc.bitstream import chunks, rigs, versions
from taichi_vvc.bitstream.contents import Order
from taichi_vvc.bitstream.locks import is_at, lock
from taichi_vvc.bitstream.reader import StreamReader
from taichi_vvc.bitstream.sound import SoundData
from taichi_vvc.bitstream.syntax import FrameData, GroupHeader, SequenceHeader
from taichi_vvc.errors import ConfigError, DataError
from taichi_vvc.words import some


class StreamWriter:
    """Appends groups and frames to a file; made by :meth:`create` or :meth:`resume`, usable as a context manager.

    Leaving the context without :meth:`finish` closes the file without an index; it is playable. When the file cannot be
    written any more (a full disk), methods that append raise :class:`DataError`, and the frames before stay playable.
    An existing file is not changed before the first append. A lock keeps every other writer from the same file.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        file: BinaryIO,
        version: int,
        fps: Fraction,
        before: bytes,
        start: int,
        order: Order,
    ) -> None:
        self._path = path
        self._version = version
        self._fps = fps
        self._failed = False
        self._file = file
        self._before = before
        self._start = start
        self._order = order
        # Whether the file is to be truncated at ``order.end`` first, and whether it ends in a valid index.
        self._cut = self._complete = False
        # While this file has a temporary name: that name, the final name, and the open file that it will replace.
        self._replaced: tuple[Path, Path, BinaryIO] | None = None

    @classmethod
    def create(
        cls,
        path: str | os.PathLike[str],
        header: SequenceHeader,
        overwrite: bool = False,
        version: int | None = None,
    ) -> StreamWriter:
        """Starts a new file and writes its header.

        Args:
            path: the file; if it is a symbolic link, the link's target is written.
            header: the sequence header.
            overwrite: replace an existing file. The old file stays in place until the first frame is written.
            version: format version of the file; None: the one of new files.

        Raises:
            ConfigError: the file exists, another process is writing it, the name is not possible, or the version cannot
                hold the header.
            DataError: the header cannot be written; no file is left behind.
        """
        version = versions.WRITTEN if version is None else version
        payload, preamble = versions.pack_header(header, version), chunks.preamble(version)
        old = _locked(path) if overwrite and os.path.exists(path) else None
        # A symbolic link stays one: the user may have put the file on another disk.
        place = target = Path(os.path.realpath(path))
        if old is not None:
            place = place.with_name(f".{place.name[:32]}.{os.getpid()}-{os.urandom(3).hex()}.new")
        try:
            file = open(place, "xb")  # noqa: SIM115
        except OSError as error:
            if old is not None:
                old.close()
            if isinstance(error, FileExistsError):
                problem = "expected no such file, found one; resume it, overwrite it or rename"
                raise ConfigError(f"{path}: {problem}") from error
            what = "file" if old is None else "folder"
            raise ConfigError(f"{path}: expected a {what} that can be written, found: {error.strerror}") from error
        chunk = chunks.seal(chunks.HEADER, payload, preamble[-4:])
        start = len(preamble) + len(chunk)
        writer = cls(path, file, version, header.fps, chunk[-4:], start, Order(start))
        if old is not None:
            writer._replaced = place, target, old
            # The new file gets the old one's permissions.
            with suppress(OSError):
                os.chmod(place, os.fstat(old.fileno()).st_mode & 0o777)
        if not lock(file):
            writer.close()
            raise ConfigError(f"{path}: {_TAKEN}")
        try:
            file.write(preamble + chunk)
            writer._flush()
        except OSError as error:
            writer._failed = True
            writer.close()
            with suppress(OSError):
                os.unlink(place)
            raise DataError(f"{path}: cannot write: {error.strerror or error}") from error
        return writer

    @classmethod
    def resume(
        cls, path: str | os.PathLike[str], header: SequenceHeader, colours: bool = False
    ) -> tuple[StreamWriter, int]:
        """Opens an existing file to append to it; returns the writer and the number of whole frames in the file.

        ``header`` is to be the one that it was made with; ``colours``: whether its groups may have colour maps of the
        cameras. A file of an older format version stays of that version.

        The first append cuts off an index, an unfinished last chunk, and all that stands behind the last frame.

        Raises:
            ConfigError: the file was written with another header (the message names the difference), it is
                read-only, or another process is writing it.
            DataError: the file cannot be written.
            StreamError: the file is no .tvvc file, or is damaged before its last chunk.
        """
        with StreamReader(path) as reader:
            _check_version(path, reader.version)
        file = _locked(path)
        try:
            with StreamReader(path) as reader:
                _check_version(path, reader.version)
                check_same_header(path, reader.header, header)
                if not _may_have(reader, colours):
                    wanted = "with colours of cameras" if colours else "without colours of cameras"
                    raise ConfigError(f"{path}: expected a file {wanted}, found another one; start anew")
                start = reader.header_bytes
                contents = chunks.scan(reader._file, start, reader.size, verify=True, version=reader.version)
                complete = reader.complete and contents.complete
            order = Order(start)
            order.frames, order.groups = list(contents.frames), list(contents.groups)
            order.sounds, order.others = list(contents.sounds), list(contents.others)
            order.cut(contents.frames[-1].offset + contents.frames[-1].size if contents.frames else start)
            with StreamReader(path) as reader:
                for number, group in enumerate(order.groups):
                    own = reader.read_group(number)
                    order.groups[number] = replace(group, mlp=bool(own.mlp), colours=bool(own.colours))
            before = chunks.read_at(file, order.end - 4, 4)
            writer = cls(path, file, reader.version, header.fps, before, start, order)
        except BaseException:
            file.close()
            raise
        writer._cut, writer._complete = reader.size > order.end, complete
        file.seek(order.end)
        return writer, len(order.frames)

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """Turns an error of the operating system into a :class:`DataError` that also says what the file still holds."""
        try:
            yield
        except OSError as error:
            self._failed = True
            count = len(self._order.frames)
            frames = f"{count} whole frame{'s' if count > 1 else ''}" if count else "no whole frame yet"
            there = f"{'it is playable, ' if count else ''}it holds {frames}; --resume goes on from there"
            if self._replaced is not None:
                there = "the file that was there is as it was"
            raise DataError(f"{self._path}: cannot write: {error.strerror or error}; {there}") from error

    def _flush(self) -> None:
        self._file.flush()
        os.fsync(self._file.fileno())

    def _append(self, kind: bytes, payload: bytes) -> int:
        if len(payload) > 0xFFFFFFFF:
            raise ConfigError(f"expected a chunk below 4 GiB, found {len(payload)} bytes; use smaller grids")
        chunk = chunks.seal(kind, payload, self._before)
        with self._writing():
            if self._cut:
                self._file.truncate(self._order.end)
                self._file.seek(self._order.end)
                self._cut = False
            self._file.write(chunk)
        self._before = chunk[-4:]
        return len(chunk)

    def _take_place(self) -> None:
        """Renames the file from its temporary name to the final one, if it is to replace another file.

        Raises:
            DataError: the rename fails, or the file was removed or replaced meanwhile.
        """
        if self._replaced is not None:
            place, target, old = self._replaced
            with self._writing():
                if os.name == "nt":  # Windows cannot rename an open file
                    old.close()
                    self._file.close()
                    os.replace(place, target)
                    self._file = open(target, "r+b")  # noqa: SIM115
                    self._file.seek(0, os.SEEK_END)
                    lock(self._file)
                else:
                    os.replace(place, target)
                    old.close()
            self._replaced = None
        if not is_at(self._file, self._path):
            self._failed = True
            raise DataError(f"{self._path}: expected the file that is being written, found it removed or replaced")

    def _check(self, kind: str, number: int) -> None:
        problem = self._order.problem(kind, number)
        if problem:
            raise ValueError(problem)

    def add_group(self, group: GroupHeader) -> int:
        """Appends the parameters of the group of the frames that follow; returns the bytes written.

        Raises:
            DataError: the chunk cannot be written.
            ValueError: the group does not come next, or has colour maps in a file that was made without.
        """
        self._check("group", group.number)
        if group.colours and self._version < versions.FIRST_WITH_SHELL:
            raise ValueError(f"expected no colour maps in a file of version {self._version}, found some")
        if group.first_frame != len(self._order.frames):
            raise ValueError(f"expected first frame {len(self._order.frames)}, found {group.first_frame}")
        size = self._append(chunks.GROUP, versions.GROUPS[self._version].pack(group))
        self._order.add("group", group.number, size, bool(group.mlp), bool(group.colours))
        return size

    def add_sound(self, run: SoundData) -> int:
        """Appends a run of sound; returns the bytes written.

        Raises:
            DataError: the chunk cannot be written.
            ValueError: the run does not come next, or the file is of a version without sound.
        """
        self._check("sound", run.number)
        if self._version < versions.FIRST_WITH_SOUND:
            raise ValueError(f"expected no sound in a file of version {self._version}, found some")
        size = self._append(chunks.SOUND, versions.SOUNDS[self._version].pack(run))
        self._order.add("sound", run.number, size)
        return size

    def add_frame(self, frame: FrameData, wait: bool = True) -> int:
        """Appends a frame and, unless told not to ``wait``, returns when it is on the disk; returns the bytes written.

        Raises:
            DataError: the chunk cannot be written; the frames before it are whole.
            ValueError: the frame does not come next.
        """
        self._check(frame.type, frame.number)
        if frame.group != len(self._order.groups) - 1:
            raise ValueError(f"expected a frame of group {len(self._order.groups) - 1}, found group {frame.group}")
        size = self._append(chunks.FRAME, versions.FRAMES[self._version].pack(frame))
        if wait:
            with self._writing():
                self._flush()
            self._take_place()
        self._order.add(frame.type, frame.number, size)
        return size

    def finish(self) -> int:
        """Appends the index and closes the file; returns the bytes written, 0 if the file already had a valid index.

        Raises:
            DataError: the index cannot be written (all frames are whole), or the file was removed or replaced
                meanwhile.
        """
        if self._complete and self._cut:
            self._take_place()
            self._file.close()
            return 0
        entries, count = self._order.entries(), len(self._order.frames)
        payload = chunks.pack_index(self._start, entries, count, self._fps, self._version)
        size = self._append(chunks.INDEX, payload)
        with self._writing():
            self._flush()
        self._take_place()
        with self._writing():
            self._file.close()
        return size

    def close(self) -> None:
        """Closes the file without an index."""
        # After a failed write, closing fails again while buffers are flushed; the error was already raised.
        with suppress(OSError) if self._failed else nullcontext():
            self._file.close()
        if self._replaced is not None:
            place, _, old = self._replaced
            old.close()
            with suppress(OSError):
                os.unlink(place)
            self._replaced = None

    def __enter__(self) -> StreamWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


_TAKEN = "another process is writing this file; wait for it or choose another name"


def _locked(path: str | os.PathLike[str]) -> BinaryIO:
    """An existing file, opened for writing and locked.

    Raises:
        ConfigError: it cannot be opened for writing, or another writer has locked it.
    """
    if not os.path.isfile(path):
        raise ConfigError(f"{path}: expected a file, or nothing there, found a device, a pipe or a folder")
    try:
        file = open(path, "r+b")  # noqa: SIM115
    except OSError as error:
        raise ConfigError(f"{path}: expected a file that can be written, found: {error.strerror}") from error
    # Between opening and locking, another writer may have put a new file there.
    if not lock(file) or not is_at(file, path):
        file.close()
        raise ConfigError(f"{path}: {_TAKEN}")
    return file


def _check_version(path: str | os.PathLike[str], version: int) -> None:
    if version < versions.OLDEST_RESUMED:
        expected = f"expected format version {versions.OLDEST_RESUMED} or later to go on with"
        raise ConfigError(f"{path}: {expected}, found {version}; start anew")


def _may_have(reader: StreamReader, colours: bool) -> bool:
    """Whether an encode with or without colour maps of cameras can go on with a file."""
    if reader.version < versions.FIRST_WITH_SHELL:
        return not colours
    return not reader.groups or bool(reader.read_group(0).colours) == colours


def check_same_header(path: str | os.PathLike[str], stored: SequenceHeader, wanted: SequenceHeader) -> None:
    """Checks that a file that was begun with one header can be gone on with with another.

    Raises:
        ConfigError: the headers differ; the line names the ``path`` and what differs.
    """
    wanted = rigs.snapped(wanted)
    differing = [field.name for field in fields(stored) if getattr(stored, field.name) != getattr(wanted, field.name)]
    if "settings" in differing:
        old, new = json.loads(stored.settings), json.loads(wanted.settings)
        names = sorted(name for name in {*old, *new} if old.get(name) != new.get(name))
        differing[differing.index("settings")] = ", ".join(names) or "the order of settings"
    if "cameras" in differing:
        differing[differing.index("cameras")] = f"cameras{_other_cameras(stored, wanted)}"
    if "fps" in differing:
        differing[differing.index("fps")] = f"fps ({float(wanted.fps):g}, the file has {float(stored.fps):g})"
    if differing:
        raise ConfigError(
            f"{Path(path)}: expected the settings that the file was started with, found other {', '.join(differing)}; "
            "use the same ones or start anew"
        )


def _other_cameras(stored: SequenceHeader, wanted: SequenceHeader) -> str:
    """How the names or splits of two headers' cameras differ, in brackets; "" where only the calibration differs."""
    old, new = ({camera.name: camera.split for camera in header.cameras} for header in (stored, wanted))
    parts = [
        f"{word} {some(names, 6)}"
        for word, names in (("without", [n for n in old if n not in new]), ("with", [n for n in new if n not in old]))
        if names
    ]
    if not parts and old != new:
        here, there = (
            some([name for name, split in which.items() if split == "test"], 6) or "none" for which in (new, old)
        )
        parts = [f"held out: {here}, in the file {there}"]
    return f" ({', '.join(parts)})" if parts else ""
