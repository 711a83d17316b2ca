"""Flags, option types and checks of outputs that the subcommands share, and the version line."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, TypeVar

import click
from click.shell_completion import CompletionItem

from taichi_vvc.errors import DataError
from taichi_vvc.versions import versions
from taichi_vvc.words import counted

F = TypeVar("F", bound=Callable[..., Any])

BACKENDS = ("auto", "cpu", "vulkan", "cuda", "metal")
STDOUT = Path("-")
FASTEST = 1000.0  # frames per second
SLOWEST = 0.001
LARGEST_SIDE = 16384  # pixels; larger values are taken for typing mistakes


@dataclass
class Settings:
    """The flags that every command takes; one object for the process.

    Attributes:
        verbose: number of times ``-v`` was given.
        quiet: print only warnings and errors on stderr.
        debug: print tracebacks of errors.
        json: print everything on stderr as JSON, one object per line.
    """

    verbose: int = 0
    quiet: bool = False
    debug: bool = False
    json: bool = False

    def reset(self) -> None:
        """Restores the defaults, for the next command line in the same process."""
        self.verbose, self.quiet, self.debug, self.json = 0, False, False, False


settings = Settings()


def _add_verbosity(_ctx: click.Context, _param: click.Parameter, value: int) -> None:
    settings.verbose += value


def _set_quiet(_ctx: click.Context, _param: click.Parameter, value: bool) -> None:
    settings.quiet |= value


def _set_debug(_ctx: click.Context, _param: click.Parameter, value: bool) -> None:
    settings.debug |= value


def _set_progress(_ctx: click.Context, _param: click.Parameter, value: str | None) -> None:
    if value is not None:
        settings.json = value == "json"


def common_options(function: F) -> F:
    """Adds ``-v``, ``--quiet``, ``--progress`` and ``--debug``; the group and each command take them."""
    for option in (
        click.option("--debug", is_flag=True, expose_value=False, callback=_set_debug, help="Tracebacks for errors."),
        click.option(
            "--progress",
            type=click.Choice(("text", "json")),
            is_eager=True,
            expose_value=False,
            callback=_set_progress,
            help="Form of what goes to stderr: for people (the default), or one JSON object per line.",
        ),
        click.option(
            "--quiet",
            "-q",
            is_flag=True,
            expose_value=False,
            callback=_set_quiet,
            help="Only warnings and errors on stderr.",
        ),
        click.option(
            "--verbose", "-v", count=True, expose_value=False, callback=_add_verbosity, help="Say more on stderr."
        ),
    ):
        function = option(function)
    return function


def backend_option(function: F) -> F:
    """Adds ``--backend``."""
    return click.option(
        "--backend",
        type=click.Choice(BACKENDS),
        default="auto",
        show_default=True,
        help="What computes; a named one that does not start is an error, never replaced.",
    )(function)


def threads_option(function: F) -> F:
    """Adds ``--threads``."""
    return click.option(
        "--threads", type=click.IntRange(1, 1024), help="Threads of the CPU to use; default one per core."
    )(function)


def overwrite_option(function: F) -> F:
    """Adds ``-y``."""
    return click.option("-y", "--overwrite", is_flag=True, help="Replace outputs that exist.")(function)


def frames_option(function: F) -> F:
    """Adds ``--frames``."""
    return click.option(
        "--frames", type=FrameRange(), metavar="A:B", help="Frames A to B-1; also A:, :B or a single number."
    )(function)


def memory_option(function: F) -> F:
    """Adds ``--memory-limit``."""
    return click.option(
        "--memory-limit",
        type=MemorySize(),
        metavar="SIZE",
        help="Refuse a file that takes more memory, such as 800M or 4G; default: half of what there is.",
    )(function)


class MemorySize(click.ParamType):
    """The option type of a size in bytes; suffixes K, M, G and T mean KiB, MiB, GiB and TiB. A positive int."""

    name = "size"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Parses the option's text; a usage error says what was expected."""
        if isinstance(value, int):
            return value
        match = re.fullmatch(r"(\d{1,15}(?:\.\d{1,6})?)([KMGT]?)(?:I?B)?", value.strip(), re.ASCII | re.IGNORECASE)
        size = int(float(match[1]) * 1024 ** " KMGT".index(match[2].upper() or " ")) if match else 0
        if size < 1:
            self.fail(f"expected a size such as 800M or 4G, found '{value}'", param, ctx)
        return size


class FrameRange(click.ParamType):
    """The option type ``A:B``, ``A:``, ``:B`` or ``N``: a slice of non-negative frame numbers with step None.

    With ``strides`` also ``A:B:S`` for every S-th frame, in which A and B may be omitted.
    """

    name = "range"

    def __init__(self, strides: bool = False) -> None:
        self.strides = strides

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> slice:
        """Parses the option's text; a usage error says what was expected."""
        if isinstance(value, slice):
            return value
        match = re.fullmatch(r"\s*(\d{1,9})?\s*(:)?\s*(\d{1,9})?\s*(?::\s*(\d{1,9})\s*)?", value, re.ASCII)
        first, colon, last, every = match.groups() if match else (None, None, None, None)
        step = int(every) if every is not None else None
        wrong = (first is None and last is None and step is None) or (colon is None and (last or every) is not None)
        if wrong or step == 0 or (step is not None and not self.strides):
            forms = "A:B, A:, :B, N or A:B:S" if self.strides else "A:B, A:, :B or N"
            rule = ", S from 1" if self.strides else ""
            self.fail(f"expected {forms} with whole numbers from 0{rule}, found '{value}'", param, ctx)
        start = int(first) if first is not None else 0
        if colon is None:
            return slice(start, start + 1)
        stop = int(last) if last is not None else None
        if stop is not None and stop <= start:
            self.fail(f"'{value}' holds no frame: B must be larger than A", param, ctx)
        return slice(start, stop, step)


class FiniteRange(click.FloatRange):
    """The option type of a finite float within a range."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Parses the option's text; a usage error says what was expected."""
        number = super().convert(value, param, ctx)
        if not math.isfinite(number):
            self.fail(f"expected a finite number, found '{value}'", param, ctx)
        return number


class Colour(click.ParamType):
    """The option type of a colour, ``R,G,B`` (0..255), ``#rrggbb``, ``white`` or ``black``: three ints."""

    name = "colour"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, int, int]:
        """Parses the option's text; a usage error says what was expected."""
        if isinstance(value, tuple):
            return value
        text = {"white": "255,255,255", "black": "0,0,0"}.get(value.lower(), value)
        if match := re.fullmatch(r"#([0-9a-fA-F]{2})([0-9a-fA-F]{2})([0-9a-fA-F]{2})", text):
            red, green, blue = (int(part, 16) for part in match.groups())
        else:
            match = re.fullmatch(r"(\d{1,3}),(\d{1,3}),(\d{1,3})", text, re.ASCII)
            red, green, blue = (int(part) for part in match.groups()) if match else (256, 0, 0)
        if max(red, green, blue) > 255:
            self.fail(f"expected R,G,B of 0 to 255, #rrggbb, white or black, found '{value}'", param, ctx)
        return red, green, blue


class CameraPath(click.ParamType):
    """The option type of a camera path: a kind or a file, see :func:`taichi_vvc.capture.camera_paths.camera_path`."""

    name = "path"

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        """The kinds that begin with ``incomplete``, and files."""
        kinds = [CompletionItem(kind) for kind in ("orbit", "spiral") if kind.startswith(incomplete)]
        # The entry for files must be the first: bash's completion script drops entries before it.
        return [CompletionItem(incomplete, type="file"), *kinds]


class PixelSize(click.ParamType):
    """The option type ``WxH``: a pair of positive ints, pixels."""

    name = "WxH"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, int]:
        """Parses the option's text; a usage error says what was expected."""
        if isinstance(value, tuple):
            return value
        match = re.fullmatch(r"(\d{1,5})x(\d{1,5})", value, re.ASCII | re.IGNORECASE)
        width, height = (int(match[1]), int(match[2])) if match else (0, 0)
        if not (1 <= width <= LARGEST_SIDE and 1 <= height <= LARGEST_SIDE):
            self.fail(f"expected WIDTHxHEIGHT in pixels, such as 640x480, found '{value}'", param, ctx)
        return width, height


def usual_rate(fps: Fraction) -> Fraction:
    """The frame rate of a video made from a file at ``fps``, limited to what containers can hold.

    It is at most :data:`FASTEST`, and a frame lasts an hour at most. Usual frame rates are not changed.
    """
    return min(max(fps, Fraction(1, 3600)), Fraction(int(FASTEST))).limit_denominator(100_000)


def start_backend(name: str, threads: int | None = None) -> Any:
    """Starts a backend for a command, see :func:`taichi_vvc.runtime.start`."""
    from taichi_vvc.runtime import start

    return start(name, threads)


def select_frames(frames: slice | None, available: int, what: str) -> range:
    """The frame numbers that ``frames`` selects of ``available``; None selects all.

    Raises:
        click.UsageError: the range starts or ends beyond the last frame. An open end is always valid.
    """
    if frames is None:
        return range(available)
    stop = available if frames.stop is None else frames.stop
    if frames.start >= available or stop > available:
        asked = f"{frames.start}:{'' if frames.stop is None else frames.stop}"
        raise click.UsageError(f"--frames {asked}: {what} has {counted(available, 'frame')} (0:{available})")
    return range(frames.start, stop)


def check_output_file(path: Path, overwrite: bool, *inputs: Path, hint: str = "add -y to replace it") -> None:
    """Checks that an output file can and may be written, before any work is done.

    Raises:
        click.UsageError: the path is a folder, its parent folder is missing or read-only, the file exists and
            ``overwrite`` is False, or it is one of the inputs.
    """
    if path == STDOUT:
        raise click.UsageError("this output cannot go to stdout; expected a file name, found -")
    if path.is_dir():
        raise click.UsageError(f"{path} is a folder; expected a file name to write to")
    if any(source.exists() and path.exists() and path.samefile(source) for source in inputs):
        raise click.UsageError(f"{path} is the input; choose another output")
    if path.exists() and not overwrite:
        raise click.UsageError(f"{path} exists; {hint}")
    if not path.parent.is_dir():
        raise click.UsageError(f"the folder {path.parent} does not exist; make it first")
    if not os.access(path if path.exists() else path.parent, os.W_OK):
        raise click.UsageError(f"{path} cannot be written: permission denied")


def check_folder_of(capture: Path, output: Path, what: str, check: Callable[[], object]) -> None:
    """Checks that ``what`` is made of a capture can go to a folder.

    Args:
        capture: the capture, which must lie neither at nor below the folder.
        output: the folder.
        what: that is made, for the message.
        check: raises a DataError where the folder is not to be written.

    Raises:
        click.UsageError: it cannot.
    """
    if output == STDOUT:
        raise click.UsageError(f"{what} cannot go to stdout; expected a folder, found -")
    source, target = capture.resolve(), output.resolve()
    if target == source or target in source.parents:
        raise click.UsageError(f"{output} is the capture or holds it; choose another folder")
    try:
        check()
    except DataError as error:
        raise click.UsageError(str(error)) from None


def check_output_folder(path: Path, overwrite: bool) -> None:
    """Checks that an output folder can and may be written into, before any work is done.

    Raises:
        click.UsageError: the path is a file, the folder is not empty and ``overwrite`` is False, or it is read-only.
    """
    if path == STDOUT:
        raise click.UsageError("this output cannot go to stdout; expected a folder, found -")
    if path.exists() and not path.is_dir():
        raise click.UsageError(f"{path} is a file; expected a folder, or a name ending in .mp4")
    if path.is_dir() and any(path.iterdir()) and not overwrite:
        raise click.UsageError(f"{path} is not empty; add -y to write into it")
    existing = path
    while not existing.exists():
        existing = existing.parent
    if not existing.is_dir() or not os.access(existing, os.W_OK):
        raise click.UsageError(f"{path} cannot be written: permission denied at {existing}")


def print_version(ctx: click.Context, _param: click.Parameter, value: bool) -> None:
    """Callback of ``--version``."""
    if value and not ctx.resilient_parsing:
        click.echo("\n".join(f"{name} {version or 'not installed'}" for name, version in versions().items()))
        ctx.exit()
