"""``tvvc cut``: some frames of a file as a file of their own."""

from __future__ import annotations

from pathlib import Path

import click

from taichi_vvc.cli.options import FrameRange, common_options, memory_option, overwrite_option
from taichi_vvc.cli.progress import ProgressLine, say_result, warn
from taichi_vvc.words import counted


@click.command(epilog="Example:  tvvc cut whole.tvvc --frames 250:500 -o piece.tvvc")
@click.argument("file", type=click.Path(path_type=Path))
@click.option(
    "--frames",
    type=FrameRange(),
    metavar="A:B",
    required=True,
    help="Frames A to B-1; also A:, :B or a single number. A is a key frame.",
)
@click.option("-o", "--output", type=click.Path(path_type=Path), required=True, metavar="FILE", help="File to write.")
@click.option(
    "--exact",
    is_flag=True,
    help="Begin at any frame: code the frames up to the next key frame again, without loss but with more bytes.",
)
@memory_option
@overwrite_option
@common_options
def command(file: Path, frames: slice, output: Path, exact: bool, memory_limit: int | None, overwrite: bool) -> None:
    """Write some frames of FILE as a file of their own, without fitting.

    A piece begins at a key frame and may end anywhere; another beginning is an error that names the key frames around
    it, unless --exact is given. What is copied has the symbols that it had.
    """
    from taichi_vvc.editing.cutting import cut

    if str(output) == "-":
        raise click.UsageError("a file that is cut out cannot go to stdout: give -o FILE")
    with ProgressLine(1, "cut", keep_lines=False) as line:
        written = cut(
            file,
            frames,
            output,
            exact=exact,
            overwrite=overwrite,
            memory_limit=memory_limit,
            progress=lambda done, total: line.update(done / total, f"frame {done}/{total}"),
        )
    for note in written.notes:
        warn(note)
    again = f", {counted(written.recoded, 'frame')} coded again" if written.recoded else ""
    say_result(
        f"{output}: {counted(written.frames, 'frame')} in {counted(written.groups, 'group')},"
        f" {written.bytes / 1000:.1f} kB{again}",
        output=str(output),
        frames=written.frames,
        groups=written.groups,
        bytes=written.bytes,
        recoded=written.recoded,
    )
