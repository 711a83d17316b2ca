"""``tvvc convert``: any capture to the ``transforms.json`` layout."""

from __future__ import annotations

from pathlib import Path

import click

from taichi_vvc.cli.capture import Chosen, capture_options
from taichi_vvc.cli.options import check_folder_of, common_options, overwrite_option
from taichi_vvc.cli.output import file_names
from taichi_vvc.cli.progress import ProgressLine, say, warn
from taichi_vvc.words import counted


@click.command(epilog="Example:  tvvc convert scene/ -o capture/ --test-cameras cam00,cam07 --fps 30")
@click.argument("capture", type=click.Path(path_type=Path))
@click.option("-o", "--output", type=click.Path(path_type=Path), required=True, metavar="DIR", help="Folder to write.")
@capture_options
@overwrite_option
@common_options
def command(
    capture: Path,
    output: Path,
    chosen: Chosen,
    overwrite: bool,
) -> None:
    """Write CAPTURE as a folder of RGBA pictures with a transforms.json, which other programs read, too.

    The folder appears under its name when it is whole.
    """
    from taichi_vvc.capture.convert import check_target, convert

    check_folder_of(capture, output, "a capture", lambda: check_target(output, overwrite))
    sequence = chosen.open(capture)
    for message in sequence.messages:
        warn(message)
    names = [camera.name for camera in sequence.cameras]
    with ProgressLine(len(sequence), "convert", keep_lines=False) as line:
        convert(
            sequence,
            output,
            file_names(names),
            overwrite=overwrite,
            progress=lambda done: line.update(done, f"frame {done}/{len(sequence)}"),
        )
    say(
        f"{output}: {counted(len(sequence), 'frame')} of {counted(len(names), 'camera')}, layout {sequence.layout} read"
    )
