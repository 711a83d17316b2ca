"""``tvvc inspect``: what a capture holds, before anything is encoded."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from taichi_vvc.cli.capture import bounds_option, format_option
from taichi_vvc.cli.options import check_output_file, common_options, frames_option, overwrite_option
from taichi_vvc.cli.progress import say, warn


@click.command(epilog="Example:  tvvc inspect capture/ -o picture.png")
@click.argument("capture", type=click.Path(path_type=Path))
@click.option("-o", "--output", type=click.Path(path_type=Path), metavar="PICTURE.png", help="Draw cameras and bounds.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@frames_option
@format_option
@bounds_option
@overwrite_option
@common_options
def command(
    capture: Path,
    output: Path | None,
    as_json: bool,
    frames: slice | None,
    layout: str | None,
    bounds: Any,
    overwrite: bool,
) -> None:
    """Say what CAPTURE holds and what will make trouble; -o draws its cameras and bounds.

    Look at the picture: the box must surround the subject in all images, and the cameras must look at it.
    """
    if output is not None:
        if output.suffix.lower() != ".png":
            raise click.UsageError(f"{output}: expected a name ending in .png")
        check_output_file(output, overwrite)

    from taichi_vvc.io.survey import survey
    from taichi_vvc.sequence import open_capture

    sequence = open_capture(capture, frames=frames, format=layout, bounds=bounds, strict=False)
    found = survey(sequence)
    if as_json:
        click.echo(json.dumps(found, indent=2, ensure_ascii=False))
    else:
        click.echo(as_text(found))
        for warning in found["warnings"]:
            warn(warning)
    if output is not None:
        import numpy as np

        from taichi_vvc.io.sketch import sketch
        from taichi_vvc.io.video import write_png

        write_png(output, np.asarray(sketch(sequence)))
        say(f"{output}: cameras and bounds from above and from the side, bounds in images")


def as_text(found: dict[str, Any]) -> str:
    """The findings as lines of a name and a value."""
    cameras = found["cameras"]
    train = sum(camera["split"] == "train" for camera in cameras)
    sizes = sorted({f"{camera['width']}x{camera['height']}" for camera in cameras})
    distorted = sum(camera["distorted"] for camera in cameras)
    distances = sorted(camera["distance"] for camera in cameras)
    lower, upper = found["bounds"]
    box = ", ".join(f"{a:.4g}..{b:.4g}" for a, b in zip(lower, upper, strict=True))
    held_out = [camera["name"] for camera in cameras if camera["split"] == "test"]
    shown = ", ".join(held_out[:8]) + (" ..." if len(held_out) > 8 else "")
    return "\n".join(
        [
            f"capture     {found['path']}, layout {found['layout']}",
            f"frames      {found['frames']} at {found['fps']:g} fps, {found['duration']:.2f} s,"
            f" first number {found['first_frame']}",
            f"cameras     {train} training, {len(held_out)} held out{f' ({shown})' if held_out else ''},"
            f" {', '.join(sizes)}{', moving' if found['moving'] else ''}",
            f"lens        {f'{distorted} with distortion' if distorted else 'no distortion'}",
            f"distance    {distances[0]:.3g} to {distances[-1]:.3g} from the centre of the bounds",
            f"masks       {'yes' if found['masks'] else 'none'}",
            f"bounds      {box} ({found['bounds_source']})",
        ]
    )
