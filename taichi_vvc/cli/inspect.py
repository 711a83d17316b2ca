"""``tvvc inspect``: describes a capture, warns of problems and estimates the cost of an encode."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from taichi_vvc.cli.capture import Chosen, capture_options
from taichi_vvc.cli.options import check_output_file, common_options, overwrite_option
from taichi_vvc.cli.progress import say, warn
from taichi_vvc.types import Bounds
from taichi_vvc.words import duration


@click.command(epilog="Example:  tvvc inspect capture/ -o picture.png")
@click.argument("capture", type=click.Path(path_type=Path))
@click.option("-o", "--output", type=click.Path(path_type=Path), metavar="PICTURE.png", help="Draw cameras and bounds.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@capture_options
@overwrite_option
@common_options
def command(
    capture: Path,
    output: Path | None,
    as_json: bool,
    chosen: Chosen,
    overwrite: bool,
) -> None:
    """Say what CAPTURE holds, what will make trouble and what encoding will take; -o draws its cameras and bounds.

    Look at the picture: the box must surround the subject in all images, and the cameras must look at it. Times are of
    this machine's CPU when nothing else runs; sizes, of the default lambda, are good to a factor of two.
    """
    if output is not None:
        if output.suffix.lower() != ".png":
            raise click.UsageError(f"{output}: expected a name ending in .png")
        check_output_file(output, overwrite)

    from taichi_vvc.measure.survey import survey

    sequence = chosen.open(capture, strict=False)
    found = survey(sequence)
    if as_json:
        click.echo(json.dumps(found, indent=2, ensure_ascii=False))
    else:
        click.echo(as_text(found))
        if found["estimates"]:
            click.echo(estimates_as_text(found))
        for warning in found["warnings"]:
            warn(warning)
    if output is not None:
        import numpy as np

        from taichi_vvc.measure.sketch import sketch
        from taichi_vvc.media.video import write_png

        write_png(output, np.asarray(sketch(sequence)))
        say(f"{output}: cameras and bounds from above and from the side, bounds in images")


def estimates_as_text(found: dict[str, Any]) -> str:
    """The expected cost of an encode, one line per preset."""
    rows = [f"estimated, CPU      {'time':>9}  {'memory':>8}  {'size':>8}"]
    for row in found["estimates"]:
        time, memory, size = (f"{value:>{width}}" for value, width in zip(_rough(row), (9, 8, 8), strict=True))
        rows.append(f"  {row['preset']:<18}{time}  {memory}  {size}")
    return "\n".join(rows)


def _rough(row: dict[str, Any]) -> tuple[str, str, str]:
    """Time, memory and size, rounded to the precision of the estimates."""
    seconds, size = row["seconds"], row["size"]
    kilo = size < 1e6
    return (
        duration(seconds),
        f"{row['memory'] / 1e9:.1f} GB",
        f"{float(f'{size / (1e3 if kilo else 1e6):.2g}'):g} {'kB' if kilo else 'MB'}",
    )


def _masks(cameras: list[dict[str, Any]]) -> str:
    """A line about the agreement of the masks, by the share of each that the hull of all explains."""
    known = sorted((c["mask_explained"], c["name"]) for c in cameras if c["mask_explained"] is not None)
    if not known:
        return "yes"
    (worst, name), (median, _) = known[0], known[len(known) // 2]
    return f"yes; the others explain {100 * median:.0f} % of the median one, {100 * worst:.0f} % of the worst ({name})"


def as_text(found: dict[str, Any]) -> str:
    """The report as lines of a name and a value."""
    cameras = found["cameras"]
    train = sum(camera["split"] == "train" for camera in cameras)
    sizes = sorted({f"{camera['width']}x{camera['height']}" for camera in cameras})
    distorted = sum(camera["distorted"] for camera in cameras)
    distances = sorted(camera["distance"] for camera in cameras)
    names = [camera["name"] for camera in cameras]
    lower, upper = found["bounds"]
    box = Bounds(tuple(lower), tuple(upper))
    held_out = [camera["name"] for camera in cameras if camera["split"] == "test"]
    shown = ", ".join(held_out[:8]) + (" ..." if len(held_out) > 8 else "")
    return "\n".join(
        [
            f"capture     {found['path']}, layout {found['layout']}",
            (
                f"frames      {found['frames']} at {found['fps']:g} fps, {found['duration']:.2f} s,"
                f" first number {found['first_frame']}"
            ),
            (
                f"cameras     {train} training, {len(held_out)} held out{f' ({shown})' if held_out else ''},"
                f" {', '.join(sizes)}{', moving' if found['moving'] else ''}"
            ),
            f"names       {', '.join(names[:24])}{f' and {len(names) - 24} more' if len(names) > 24 else ''}",
            f"lens        {f'{distorted} with distortion' if distorted else 'no distortion'}",
            f"distance    {distances[0]:.3g} to {distances[-1]:.3g} from the centre of the bounds",
            f"masks       {_masks(cameras) if found['masks'] else 'none'}",
            f"bounds      {box.ranges()} ({found['bounds_source']})",
            f"            {box.option()}",
            f"scene       {_scene(found)}",
        ]
    )


def _scene(found: dict[str, Any]) -> str:
    """What is coded, and why."""
    near = f"; nothing nearer than {found['near']:.3g} to a camera" if found["near"] else ""
    what = "whole: also what lies outside the bounds" if found["scene"] == "whole" else "box: what is inside the bounds"
    return f"{what} ({found['scene_reason']}){near}"
