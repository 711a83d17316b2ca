"""``tvvc eval``: compares a file with the capture that it was made from."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from taichi_vvc.cli.capture import format_option
from taichi_vvc.cli.decode import warn_if_incomplete
from taichi_vvc.cli.options import (
    backend_option,
    check_output_file,
    common_options,
    memory_option,
    overwrite_option,
    start_backend,
    threads_option,
)
from taichi_vvc.cli.progress import ProgressLine, say, warnings_said
from taichi_vvc.words import counted


@click.command(epilog="Example:  tvvc eval out.tvvc capture/ --split test --json")
@click.argument("file", type=click.Path(path_type=Path))
@click.argument("capture", type=click.Path(path_type=Path))
@click.option(
    "--split",
    type=click.Choice(("test", "train", "all")),
    help="Cameras to compare: held out when FILE was made, fitted, or all; default test. All where there are none.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the figures as one JSON object.")
@click.option("--report", type=click.Path(path_type=Path), metavar="OUT.html", help="Write a page with pictures too.")
@backend_option
@threads_option
@memory_option
@format_option
@overwrite_option
@common_options
def command(
    file: Path,
    capture: Path,
    split: str | None,
    as_json: bool,
    report: Path | None,
    backend: str,
    threads: int | None,
    memory_limit: int | None,
    layout: str | None,
    overwrite: bool,
) -> None:
    """Decode FILE, render the cameras of CAPTURE at the coded size, and compare.

    PSNR is over all pixels of each picture on the file's background, in floats, averaged over pictures; with masks also
    over the foreground. A line below tells how much pixels change that stand still in the capture. The size, the
    frames, which cameras were held out and how the others show colours come from the file.
    """
    if report is not None:
        check_output_file(report, overwrite, file)

    from taichi_vvc.decode import open as open_stream
    from taichi_vvc.measure.evaluate import evaluate
    from taichi_vvc.measure.report import Report

    with open_stream(file, memory_limit) as stream:
        damage = warn_if_incomplete(stream, file)
        count = len(stream)
    start_backend(backend, threads)
    with ProgressLine(count, "eval", keep_lines=False) as line, warnings_said():
        pictures = Report(file, capture, layout)
        figures = evaluate(
            file,
            capture,
            split=split,
            format=layout,
            backend=backend,
            memory_limit=memory_limit,
            progress=lambda done, _total: line.update(done),
            observe=pictures.add,
        )
    if report is not None:
        pictures.write(report, figures)
        say(f"{report}: report")
    click.echo(json.dumps(figures, indent=2) if as_json else as_text(figures))
    if damage is not None:
        raise damage


def as_text(figures: dict[str, Any]) -> str:
    """The figures as a table of frames and a summary; without masks there are no figures of the foreground."""
    masks = figures["psnr_foreground"] is not None
    foreground = f"{'foreground':>13}" if masks else ""
    rows = [f"{'frame':>5} {'type':6}{'bytes':>10}{'PSNR':>10}{foreground}{'SSIM':>9}"]
    for row in figures["per_frame"]:
        rows.append(f"{row['frame']:5} {row['type']:6}{row['bytes']:10}{_quality(row, masks)}")
    rows.append(f"{'all':5} {'':6}{figures['bytes']:10}{_quality(figures, masks)}")
    if figures["psnr_plain"] is not None:
        rows.append(f"without the cameras' colour maps: {figures['psnr_plain']:.2f} dB")
    rows += _flicker(figures)
    rows.append(
        f"{counted(figures['frames'], 'frame')}, {_cameras(figures)}, "
        f"{figures['bytes_per_frame'] / 1000:.2f} kB/frame, {figures['bitrate_kbps']:.0f} kbit/s"
    )
    return "\n".join(rows)


def _flicker(figures: dict[str, Any]) -> list[str]:
    """A line about still pixels; none for a single frame, and where nothing stands still."""
    parts = [
        f"{figures[key]:.2f} grey levels{where} (the capture's by {figures[f'{key}_capture']:.2f})"
        for key, where in (("flicker", ""), ("flicker_key", " at key frames"))
        if figures[key] is not None
    ]
    return [f"still pixels change by {', '.join(parts)}"] if parts else []


def _cameras(figures: dict[str, Any]) -> str:
    """The number of cameras that were compared, and whether they were held out."""
    count, held_out = len(figures["cameras"]), figures["held_out"]
    kinds = [f"{number} {kind}" for number, kind in ((held_out, "held out"), (count - held_out, "fitted")) if number]
    return f"{counted(count, 'camera')} ({' and '.join(kinds) if len(kinds) > 1 else kinds[0].split(' ', 1)[1]})"


def _quality(row: dict[str, Any], masks: bool) -> str:
    def number(key: str, width: int, digits: int, unit: str = "") -> str:
        return f"{'-' if row[key] is None else f'{row[key]:.{digits}f}{unit}':>{width}}"

    foreground = number("psnr_foreground", 13, 2, " dB") if masks else ""
    return number("psnr", 10, 2, " dB") + foreground + number("ssim", 9, 4)
