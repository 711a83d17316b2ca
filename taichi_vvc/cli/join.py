"""``tvvc join``: several files as one."""

from __future__ import annotations

from pathlib import Path

import click

from taichi_vvc.cli.options import common_options, overwrite_option
from taichi_vvc.cli.progress import ProgressLine, say_result, warn
from taichi_vvc.words import counted


@click.command(epilog="Example:  tvvc join part1.tvvc part2.tvvc part3.tvvc -o whole.tvvc")
@click.argument("files", type=click.Path(path_type=Path), nargs=-1, required=True, metavar="FILE...")
@click.option("-o", "--output", type=click.Path(path_type=Path), required=True, metavar="FILE", help="File to write.")
@overwrite_option
@common_options
def command(files: tuple[Path, ...], output: Path, overwrite: bool) -> None:
    """Write one file with the frames of several, in the order given, without decoding or fitting.

    The files need the same field (bounds and grids), background, frame rate, reduction, and the same cameras in the
    same order; what differs is named. Frame ranges, settings, format versions and where cameras stand may differ.

    The output plays while it is written. After a crash it is whole up to its last group.
    """
    from taichi_vvc.editing.joining import join

    if str(output) == "-":
        raise click.UsageError("a joined file cannot go to stdout: give -o FILE")
    with ProgressLine(1, "join", keep_lines=False) as line:
        written = join(
            files,
            output,
            overwrite=overwrite,
            progress=lambda done, total: line.update(done / total, f"frame {done}/{total}"),
        )
    for note in written.notes:
        warn(note)
    say_result(
        f"{output}: {counted(written.frames, 'frame')} in {counted(written.groups, 'group')} of"
        f" {counted(len(files), 'file')}, {written.bytes / 1000:.1f} kB, format version {written.version}",
        output=str(output),
        frames=written.frames,
        groups=written.groups,
        bytes=written.bytes,
        version=written.version,
    )
