"""``tvvc bench``: rate-distortion curves of several configurations on one capture."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import click

from taichi_vvc.cli.capture import Chosen, capture_options, say_capture
from taichi_vvc.cli.effort import preset_option
from taichi_vvc.cli.options import backend_option, common_options, start_backend, threads_option
from taichi_vvc.cli.progress import ProgressLine, say
from taichi_vvc.config import PRESETS


@click.command(epilog="Example:  tvvc bench capture/ -o bench/ --downscale 2 --frames 0:4 --preset fast")
@click.argument("capture", type=click.Path(path_type=Path))
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), required=True, metavar="DIR", help="Folder of results."
)
@click.option(
    "--configs",
    metavar="A,B,...",
    help="full, still, paper, laplace, posthoc, dynamic, dif-intra, rerf-like, simulcast, or all; "
    "default full,paper,posthoc.",
)
@click.option("--points", type=click.IntRange(4), default=4, show_default=True, help="Rate points per curve.")
@capture_options
@preset_option
@click.option("--keyint", type=click.IntRange(1), help="Frames from key frame to key frame; default about one second.")
@backend_option
@threads_option
@common_options
def command(
    capture: Path,
    output: Path,
    configs: str | None,
    points: int,
    chosen: Chosen,
    preset: str,
    keyint: int | None,
    backend: str,
    threads: int | None,
) -> None:
    """Encode CAPTURE in several ways at several rates, compare with its held-out views, and write a table and plots.

    DIR gets results.json, table.md (also printed), curves.svg, curves.png and crops.png. A stopped run goes on where
    it was: give the same command again. docs/rate-distortion.md says what the configurations are.
    """
    if output.exists() and not output.is_dir():
        raise click.UsageError(f"{output} is a file; expected the name of a folder")

    from taichi_vvc.measure.bench import CONFIGURATIONS, DEFAULT_CONFIGS, run_bench

    names = list(DEFAULT_CONFIGS) if configs is None else [name.strip() for name in configs.split(",") if name.strip()]
    if names == ["all"]:
        names = list(CONFIGURATIONS)
    config = PRESETS[preset] if keyint is None else dataclasses.replace(PRESETS[preset], keyint=keyint)
    sequence = chosen.open(capture)
    say_capture(sequence)
    start_backend(backend, threads)
    with ProgressLine(len(set(names)) * points, "bench") as line:
        run_bench(
            sequence,
            config,
            output,
            names,
            points,
            backend=backend,
            progress=lambda done, total, text: line.finish_item(done, f"point {done}/{total}  {text}"),
        )
    click.echo((output / "table.md").read_text(encoding="utf-8"), nl=False)
    say(f"{output}: results.json, table.md, curves.svg, curves.png, crops.png")
