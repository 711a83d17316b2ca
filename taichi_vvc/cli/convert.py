"""``tvvc convert``: any capture to the ``transforms.json`` layout."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from taichi_vvc.cli.capture import Rate, bounds_option, format_option
from taichi_vvc.cli.options import STDOUT, common_options, frames_option, overwrite_option
from taichi_vvc.cli.output import file_names
from taichi_vvc.cli.progress import ProgressLine, say, warn


@click.command(epilog="Example:  tvvc convert scene/ -o capture/ --test-cameras cam00,cam07 --fps 30")
@click.argument("capture", type=click.Path(path_type=Path))
@click.option("-o", "--output", type=click.Path(path_type=Path), required=True, metavar="DIR", help="Folder to write.")
@frames_option
@click.option("--downscale", type=click.IntRange(1), default=1, show_default=True, help="Reduce the pictures K times.")
@click.option("--test-cameras", metavar="A,B,...", help="Hold out these cameras and no others.")
@click.option("--fps", type=Rate(), metavar="F", help="Frames per second, where the capture does not say.")
@format_option
@bounds_option
@overwrite_option
@common_options
def command(
    capture: Path,
    output: Path,
    frames: slice | None,
    downscale: int,
    test_cameras: str | None,
    fps: Any,
    layout: str | None,
    bounds: Any,
    overwrite: bool,
) -> None:
    """Write CAPTURE as a folder of RGBA pictures with a transforms.json, which other programs read, too.

    The folder appears under its name when it is whole.
    """
    from taichi_vvc.errors import DataError
    from taichi_vvc.io.convert import check_target, convert
    from taichi_vvc.sequence import open_capture

    if output == STDOUT:
        raise click.UsageError("a capture cannot go to stdout; expected a folder, found -")
    source, target = capture.resolve(), output.resolve()
    if target == source or target in source.parents:
        raise click.UsageError(f"{output} is the capture or holds it; choose another folder")
    try:
        check_target(output, overwrite)
    except DataError as error:
        raise click.UsageError(str(error)) from None
    sequence = open_capture(capture, frames=frames, downscale=downscale, format=layout, bounds=bounds)
    for message in sequence.messages:
        if fps is None or '"fps"' not in message:
            warn(message)
    names = [camera.name for camera in sequence.cameras]
    splits = _splits(names, test_cameras) if test_cameras is not None else None
    with ProgressLine(len(sequence), "convert", keep_lines=False) as line:
        convert(
            sequence,
            output,
            file_names(names),
            splits=splits,
            fps=fps,
            overwrite=overwrite,
            progress=lambda done: line.update(done, f"frame {done}/{len(sequence)}"),
        )
    say(f"{output}: {len(sequence)} frames of {len(names)} cameras, layout {sequence.layout} read")


def _splits(names: list[str], chosen: str) -> dict[str, str]:
    held_out = [name for name in chosen.split(",") if name]
    unknown = [name for name in held_out if name not in names]
    if unknown:
        raise click.UsageError(f"--test-cameras: no camera {unknown[0]}; there are {', '.join(names)}")
    if len(set(held_out)) == len(names):
        raise click.UsageError("--test-cameras: at least one camera must be left for training")
    return {name: "test" if name in held_out else "train" for name in names}
