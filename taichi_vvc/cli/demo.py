"""``tvvc demo``: encodes, decodes and renders the small capture that comes with the package."""

from __future__ import annotations

import dataclasses
import time
from pathlib import Path
from typing import Any

import click

from taichi_vvc.cli.capture import describe_capture
from taichi_vvc.cli.encode import encode_with_progress
from taichi_vvc.cli.options import backend_option, check_output_folder, common_options, start_backend
from taichi_vvc.cli.output import Output
from taichi_vvc.cli.progress import ProgressLine, say
from taichi_vvc.cli.render import render_path
from taichi_vvc.cli.shots import Look
from taichi_vvc.config import PRESETS
from taichi_vvc.words import counted

FILE, VIDEO, POSES, PICTURE, PAGE = "demo.tvvc", "orbit.mp4", "orbit.cameras.json", "demo.png", "demo.html"
SIZE, ORBIT_SECONDS = (192, 192), 4.0


@click.command(epilog="Example:  tvvc demo -o tvvc_demo")
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    default=Path("tvvc_demo"),
    show_default=True,
    metavar="DIR",
    help="Where the file, the video and the picture go.",
)
@backend_option
@common_options
def command(output: Path, backend: str) -> None:
    """Encode the capture that comes with the package, compare, render an orbit, and make a page that plays it.

    DIR may hold the results of an earlier demo, which are replaced, but nothing else.
    """
    ours = {FILE, VIDEO, POSES, PICTURE, PAGE}
    foreign = [path.name for path in output.iterdir() if path.name not in ours] if output.is_dir() else []
    if foreign:
        raise click.UsageError(f"{output} holds {foreign[0]}, which is not of a demo; choose another folder with -o")
    check_output_folder(output, overwrite=True)

    from taichi_vvc.capture.packaged import capture_path
    from taichi_vvc.capture.sequence import open_capture
    from taichi_vvc.measure.evaluate import evaluate

    began = time.monotonic()
    sequence = open_capture(capture_path())
    say(describe_capture(sequence))
    output.mkdir(parents=True, exist_ok=True)
    start_backend(backend)
    file = output / FILE
    encode_with_progress(sequence, settings_of_demo(), file, overwrite=True)
    encoded = time.monotonic()
    results = {}
    with ProgressLine(2 * len(sequence), "compare", keep_lines=False) as line:
        for number, split in enumerate(("train", "test")):

            def report(done: float, _total: int, before: int = number * len(sequence)) -> None:
                line.update(before + done)

            results[split] = evaluate(file, capture_path(), split=split, progress=report)
    video = Output(output / VIDEO, "video")
    render_path(file, video, "orbit", look=Look(size=SIZE, duration=ORBIT_SECONDS), overwrite=True)
    _write_picture(file, sequence, output / PICTURE)
    _write_page(file, output / PAGE)
    click.echo(_table(results, encoded - began, time.monotonic() - began))
    click.echo(f"{output / FILE}  {output / VIDEO}  {output / PICTURE}")
    click.echo(f"to watch it from all sides, open {(output / PAGE).resolve()} in a browser")


def settings_of_demo() -> Any:
    """The demonstration's settings: the preset ``fast`` with fewer steps, so that two slow cores take a few minutes."""
    return dataclasses.replace(PRESETS["fast"], key_iterations=500, inter_iterations=300)


def _write_picture(file: Path, sequence: Any, target: Path) -> None:
    """Writes the comparison picture of the last frame: capture, decoded and difference, for a held-out camera."""
    from taichi_vvc.decode import open as open_stream
    from taichi_vvc.field.render import render
    from taichi_vvc.media.charts import side_by_side
    from taichi_vvc.media.pictures import composite
    from taichi_vvc.media.video import write_png

    with open_stream(file) as stream:
        last = len(stream) - 1
        views = sequence.frame(last).views
        view = next((view for view in views if view.camera.split == "test"), views[0])
        decoded = render(stream[last], view.camera, stream.background).colour
        write_png(target, side_by_side(composite(view.image, stream.background), decoded))


def _write_page(file: Path, target: Path) -> None:
    """Writes the page that plays the file."""
    from taichi_vvc.decode import open as open_stream
    from taichi_vvc.play.pages import draw_poster, single_page

    with open_stream(file) as stream:
        poster = draw_poster(stream)
    target.write_text(single_page(file.read_bytes(), "Walk and wave", poster=poster), encoding="utf-8")


def _table(results: dict[str, dict[str, Any]], encode_seconds: float, seconds: float) -> str:
    test = results["test"]
    rows = [f"{'cameras':16}{'PSNR':>10}{'foreground':>12}{'SSIM':>8}"]
    for split, name in (("train", "fitted"), ("test", "held out")):
        found = results[split]
        rows.append(f"{name:16}{found['psnr']:7.2f} dB{found['psnr_foreground']:9.2f} dB{found['ssim']:8.4f}")
    rows.append(
        f"{counted(test['frames'], 'frame')}, {test['bytes'] / 1000:.1f} kB in all, "
        f"{test['bytes_per_frame'] / 1000:.2f} kB/frame, {test['bitrate_kbps']:.0f} kbit/s"
    )
    rows.append(f"encoded in {encode_seconds:.0f} s, {seconds:.0f} s in all")
    return "\n".join(rows)
