"""Where the pictures of ``decode`` and ``render`` go: folders of PNG or videos, each under its name only when whole."""

from __future__ import annotations

import contextlib
import sys
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Protocol

import click
import numpy as np

from taichi_vvc.cli.options import STDOUT, check_output_file, check_output_folder
from taichi_vvc.errors import StreamError
from taichi_vvc.io.video import VideoWriter, write_png


class Sink(Protocol):
    """Takes pictures of named cameras, frame after frame; a context manager."""

    def write(self, camera: str, frame: int, picture: np.ndarray) -> None:
        """Takes one (height, width, 3) picture, values in [0, 1] or uint8."""

    def __enter__(self) -> Sink: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


def is_video(output: Path) -> bool:
    """Whether the output's name asks for a video instead of a folder of pictures; stdout gets one, too."""
    return output.suffix.lower() == ".mp4" or output == STDOUT


def safe_name(camera: str) -> str:
    """A camera's name as a file name on any system: other characters than letters, digits, ``.-_`` become ``_``."""
    name = "".join(c if c.isascii() and (c.isalnum() or c in ".-_") else "_" for c in camera).strip(".")
    return name or "_"


def file_names(cameras: list[str]) -> dict[str, str]:
    """Distinct safe names of the cameras, case ignored; names that would collide are numbered."""
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


def check_output(output: Path, cameras: list[str], overwrite: bool, *inputs: Path) -> None:
    """Refuses an output that cannot or should not be written (see the two checks of ``options``)."""
    if output == STDOUT:
        if len(cameras) != 1:
            raise click.UsageError(f"-o - is for one camera, found {len(cameras)}; choose one with --cameras NAME")
        if sys.stdout.isatty():
            raise click.UsageError("-o - writes a video to stdout, which is a terminal; pipe it into a program")
    elif is_video(output):
        for path in video_paths(output, cameras).values():
            check_output_file(path, overwrite, *inputs)
    elif output.suffix and not output.is_dir() and output.suffix.lower() in (".avi", ".gif", ".mkv", ".mov", ".webm"):
        raise click.UsageError(f"{output}: expected a folder for PNG pictures or a name ending in .mp4")
    else:
        check_output_folder(output, overwrite)


def video_paths(output: Path, cameras: list[str]) -> dict[str, Path]:
    """The file of each camera's video: the output itself for one camera, else ``OUT_<camera>.mp4``."""
    if len(cameras) == 1:
        return {cameras[0]: output}
    names = file_names(cameras)
    return {camera: output.with_name(f"{output.stem}_{names[camera]}{output.suffix}") for camera in cameras}


def folder_paths(output: Path, cameras: list[str]) -> dict[str, Path]:
    """The folder of each camera's pictures."""
    return {camera: output / name for camera, name in file_names(cameras).items()}


def written_paths(output: Path, cameras: list[str]) -> list[Path]:
    """The videos or folders that a sink of several cameras leaves behind, in their order."""
    return list((video_paths if is_video(output) else folder_paths)(output, cameras).values())


def open_sink(
    output: Path, cameras: list[str], fps: Fraction, flat: bool = False
) -> contextlib.AbstractContextManager[Sink]:
    """The sink for an output that was checked: ``DIR/<camera>/<frame:04d>.png``, or videos at ``fps``.

    A video on stdout is Matroska, which needs no seeking.

    ``flat``: pictures lie in the folder itself, for a single camera.
    """
    if is_video(output):
        return VideoSink(video_paths(output, cameras), fps)
    return FolderSink({cameras[0]: output} if flat else folder_paths(output, cameras))


class FolderSink:
    """``<folder>/<frame:04d>.png`` for each camera's folder."""

    def __init__(self, folders: dict[str, Path]) -> None:
        self.folders = folders

    def __enter__(self) -> FolderSink:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return None

    def write(self, camera: str, frame: int, picture: np.ndarray) -> None:
        """Writes one picture."""
        write_png(self.folders[camera] / f"{frame:04d}.png", picture)


class VideoSink:
    """One video per camera. What was written before a damaged place or Ctrl-C is kept as a shorter video."""

    def __init__(self, paths: dict[str, Path], fps: Fraction) -> None:
        self.paths, self.fps = paths, fps
        self.writers: dict[str, VideoWriter] = {}

    def __enter__(self) -> VideoSink:
        return self

    def write(self, camera: str, frame: int, picture: np.ndarray) -> None:
        """Appends one picture to the camera's video."""
        if camera not in self.writers:
            path = self.paths[camera]
            writer = VideoWriter(sys.stdout.buffer if path == STDOUT else path, self.fps)
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
