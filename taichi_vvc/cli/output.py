"""Outputs of ``decode`` and ``render``: stills, folders of pictures, and videos.

A file appears under its final name only when it is complete.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Protocol

import click
import numpy as np

from taichi_vvc.bitstream import Sound
from taichi_vvc.cli.options import STDOUT, check_output_file, check_output_folder
from taichi_vvc.errors import StreamError

VIDEOS = (".mp4", ".mov", ".mkv", ".webm")
STILLS = (".png", ".jpg", ".jpeg")


@dataclass(frozen=True)
class Output:
    """The place and the kind of an output. The ``path`` of a video on stdout is ``-``."""

    path: Path
    kind: Literal["folder", "video", "still", "stdout"]

    def __str__(self) -> str:
        return str(self.path)

    @property
    def is_video(self) -> bool:
        """Whether it is a video, in a file or on stdout."""
        return self.kind in ("video", "stdout")

    def beside(self, name: str) -> Path | None:
        """The path of an accompanying file: in the output folder, or beside the output file; None for stdout."""
        if self.kind == "folder":
            return self.path / name
        return None if self.kind == "stdout" else self.path.with_name(f"{self.path.stem}.{name}")


class OutputName(click.ParamType):
    """The option type of an output: ``OUT.mp4`` and other videos, ``OUT.png`` and other stills, ``-``, or a folder.

    A name is that of a folder if the folder exists, or the name ends in a slash or has no suffix. Other suffixes are
    refused as mistakes.
    """

    name = "output"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Output:  # noqa: RET503
        """Parses the option's text; a usage error says what was expected."""
        if isinstance(value, Output):
            return value
        text = os.fspath(value)
        path = Path(text)
        suffix = path.suffix.lower()
        slash = text.endswith(("/", os.sep))
        if path == STDOUT:
            return Output(path, "stdout")
        if slash or path.is_dir() or not suffix:
            return Output(path, "folder")
        if suffix in VIDEOS or suffix in STILLS:
            return Output(path, "video" if suffix in VIDEOS else "still")
        self.fail(
            f"expected a video ({', '.join(VIDEOS)}), a still ({', '.join(STILLS)}) or a folder (no suffix, or / at"
            f" the end), found '{text}'",
            param,
            ctx,
        )


class Sink(Protocol):
    """Takes pictures of named cameras, frame after frame; a context manager."""

    def write(self, camera: str, frame: int, picture: np.ndarray) -> None:
        """Takes one (height, width, 3 or 4) picture, values in [0, 1] or uint8."""

    def __enter__(self) -> Sink: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


def safe_name(camera: str) -> str:
    """A camera's name as a valid file name on any system: characters except letters, digits, ``.-_`` become ``_``."""
    name = "".join(c if c.isascii() and (c.isalnum() or c in ".-_") else "_" for c in camera).strip(".")
    return name or "_"


def file_names(cameras: list[str]) -> dict[str, str]:
    """Distinct safe file names of the cameras. Names that differ only in case, or not at all, are numbered."""
    names: dict[str, str] = {}
    used: set[str] = set()
    for camera in cameras:
        base = name = safe_name(camera)
        number = 2
        while name.lower() in used:
            name, number = f"{base}_{number}", number + 1
        used.add(name.lower())
        names[camera] = name
    return names


def check_output(output: Output, cameras: list[str], overwrite: bool, *inputs: Path) -> None:
    """Checks that an output can and may be written, by the two checks of ``cli/options.py``."""
    if output.kind == "stdout":
        if len(cameras) != 1:
            raise click.UsageError(f"-o - is for one camera, found {len(cameras)}; choose one with --cameras NAME")
        if sys.stdout.isatty():
            raise click.UsageError("-o - writes a video to stdout, which is a terminal; pipe it into a program")
    elif output.kind == "folder":
        check_output_folder(output.path, overwrite)
    else:
        for path in file_paths(output, cameras).values():
            check_output_file(path, overwrite, *inputs)


def file_paths(output: Output, cameras: list[str]) -> dict[str, Path]:
    """The file of each camera's video or still: the output itself for one camera, else ``OUT_<camera>.mp4``."""
    path = output.path
    if len(cameras) == 1:
        return {cameras[0]: path}
    names = file_names(cameras)
    return {camera: path.with_name(f"{path.stem}_{names[camera]}{path.suffix}") for camera in cameras}


def folder_paths(output: Output, cameras: list[str]) -> dict[str, Path]:
    """The folder of each camera's pictures."""
    return {camera: output.path / name for camera, name in file_names(cameras).items()}


def written_paths(output: Output, cameras: list[str]) -> list[Path]:
    """The files or folders that a sink of several cameras writes, in the cameras' order."""
    return list((folder_paths if output.kind == "folder" else file_paths)(output, cameras).values())


def open_sink(
    output: Output,
    cameras: list[str],
    fps: Fraction,
    flat: bool = False,
    crf: int | None = None,
    codec: str | None = None,
    alpha: bool = False,
    sound: Sound | None = None,
) -> contextlib.AbstractContextManager[Sink]:
    """Opens the sink of a checked output: ``DIR/<camera>/<frame:04d>.png``, stills, or videos at ``fps``.

    A video on stdout is Matroska, which needs no seeking.

    Args:
        output: the output.
        cameras: names of the cameras.
        fps: frame rate of videos.
        flat: write pictures into the folder itself, for a single camera.
        crf, codec, alpha, sound: parameters of videos, see :class:`taichi_vvc.media.video.VideoWriter`.
    """
    if output.is_video:
        return VideoSink(file_paths(output, cameras), fps, crf, codec, alpha, sound)
    if output.kind == "still":
        files = file_paths(output, cameras)
        return PictureSink(lambda camera, _frame: files[camera])
    folders = {cameras[0]: output.path} if flat else folder_paths(output, cameras)
    return PictureSink(lambda camera, frame: folders[camera] / f"{frame:04d}.png")


class PictureSink:
    """Writes each picture to a file of its own."""

    def __init__(self, place: Callable[[str, int], Path]) -> None:
        self.place = place

    def __enter__(self) -> PictureSink:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return None

    def write(self, camera: str, frame: int, picture: np.ndarray) -> None:
        """Writes one picture to the path that ``place`` returns for its camera and frame."""
        write_picture(self.place(camera, frame), picture)


def write_picture(path: Path, picture: np.ndarray) -> None:
    """Writes a picture as an 8-bit file, in the format of the path's suffix."""
    from taichi_vvc.media.video import write_jpeg, write_png

    (write_png if path.suffix.lower() == ".png" else write_jpeg)(path, picture)


class VideoSink:
    """Writes one video per camera. After an error or Ctrl-C the pictures so far are kept as a shorter video."""

    def __init__(
        self,
        paths: dict[str, Path],
        fps: Fraction,
        crf: int | None = None,
        codec: str | None = None,
        alpha: bool = False,
        sound: Sound | None = None,
    ) -> None:
        self.paths, self.fps = paths, fps
        self._options = crf, codec, alpha, sound
        self.writers: dict[str, Any] = {}

    def __enter__(self) -> VideoSink:
        return self

    def write(self, camera: str, frame: int, picture: np.ndarray) -> None:
        """Appends one picture to the camera's video."""
        if camera not in self.writers:
            from taichi_vvc.media.video import VideoWriter

            path = self.paths[camera]
            writer = VideoWriter(sys.stdout.buffer if path == STDOUT else path, self.fps, *self._options)
            self.writers[camera] = writer.__enter__()
        self.writers[camera].add(picture)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None and issubclass(kind, (StreamError, KeyboardInterrupt)):
            kind = error = trace = None
        with contextlib.ExitStack() as stack:
            for writer in self.writers.values():
                stack.callback(writer.__exit__, kind, error, trace)
