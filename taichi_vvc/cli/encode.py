"""``tvvc encode``: capture in, one file out."""

from __future__ import annotations

import contextlib
import csv
import dataclasses
import math
import sys
import warnings
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import click

from taichi_vvc.bitstream import StreamReader
from taichi_vvc.cli.capture import bounds_option, format_option
from taichi_vvc.cli.options import (
    STDOUT,
    Colour,
    FiniteRange,
    backend_option,
    check_output_file,
    check_output_folder,
    common_options,
    frames_option,
    overwrite_option,
    start_backend,
)
from taichi_vvc.cli.progress import ProgressLine, detail, say, say_result, warn
from taichi_vvc.config import PRESETS, EncoderConfig, crf_of_lambda, lambda_of_crf
from taichi_vvc.errors import TargetMissed, TvvcError
from taichi_vvc.types import FrameStats

CSV_START = ("frame", "type", "bytes")
CSV_END = ("lambda", "estimated_bits", "actual_bits", "psnr", "seconds")


@click.command(
    epilog="Example:  tvvc encode capture/ -o out.tvvc --preset fast --frames 0:25",
)
@click.argument("capture", type=click.Path(path_type=Path))
@click.option("-o", "--output", type=click.Path(path_type=Path), required=True, metavar="FILE", help="File to write.")
@frames_option
@click.option("--downscale", type=click.IntRange(1), default=1, show_default=True, help="Reduce the pictures K times.")
@click.option(
    "--preset", type=click.Choice(list(PRESETS)), default="medium", show_default=True, help="How much effort."
)
@click.option(
    "--crf",
    type=FiniteRange(0, 51),
    help="Constant quality, 0 to 51, fractions allowed: larger is smaller and worse, 6 more about half the bytes. "
    f"Default the preset's, {crf_of_lambda(EncoderConfig().lambda_rate):g}.",
)
@click.option(
    "--lambda",
    "lambda_rate",
    type=FiniteRange(0),
    help="The weight of the rate itself, in place of --crf; four times as much is 6 more.",
)
@click.option(
    "--bitrate",
    type=FiniteRange(0, min_open=True),
    metavar="KBIT",
    help="kbit/s of the file, every byte counted; within 5 % from three groups on.",
)
@click.option(
    "--target-psnr",
    type=FiniteRange(0, min_open=True),
    metavar="DB",
    help="Mean PSNR as tvvc eval measures it, within 0.2 dB, for as few bytes as that takes.",
)
@click.option(
    "--background",
    type=Colour(),
    metavar="COLOUR",
    help="What lies behind: R,G,B, #rrggbb, white or black. Default: white for captures with masks, else the colour "
    "that the pictures mostly show at their edges.",
)
@click.option("--keyint", type=click.IntRange(1), help="Frames from key frame to key frame; default about one second.")
@click.option(
    "--scenecut/--no-scenecut",
    default=True,
    show_default=True,
    help="Whether a key frame also comes at a cut, and where an inter frame loses the scene.",
)
@backend_option
@click.option("--seed", type=click.IntRange(0, 2**31 - 1), default=0, show_default=True, help="Of everything random.")
@click.option(
    "--csv", "csv_file", type=click.Path(path_type=Path), metavar="FILE", help="Figures of each frame; - is stdout."
)
@click.option(
    "--preview",
    "preview_folder",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Write a held-out view beside the truth: every few seconds, and of each finished frame.",
)
@click.option("--resume", is_flag=True, help="Go on with a file whose encode was stopped, with the same settings.")
@format_option
@bounds_option
@overwrite_option
@common_options
def command(
    capture: Path,
    output: Path,
    frames: slice | None,
    downscale: int,
    preset: str,
    crf: float | None,
    lambda_rate: float | None,
    bitrate: float | None,
    target_psnr: float | None,
    background: tuple[int, int, int] | None,
    keyint: int | None,
    scenecut: bool,
    backend: str,
    seed: int,
    csv_file: Path | None,
    preview_folder: Path | None,
    resume: bool,
    layout: str | None,
    bounds: Any,
    overwrite: bool,
) -> None:
    """Encode CAPTURE, a folder in any of the layouts of docs/capture.md, into one file.

    A stopped encode (Ctrl-C, power cut) leaves a file that plays up to its last whole frame; --resume goes on with it.
    """
    if resume and overwrite:
        raise click.UsageError("--resume goes on with a file and -y replaces it; give one of them")
    changes: dict[str, Any] = {"seed": seed, "scenecut": scenecut, **_control(crf, lambda_rate, bitrate, target_psnr)}
    check_output_file(output, overwrite or resume, hint="add -y to replace it or --resume to go on with it")
    if csv_file is not None and csv_file != STDOUT:
        if csv_file.resolve() == output.resolve():
            raise click.UsageError("--csv and -o name the same file")
        check_output_file(csv_file, overwrite or resume)
    if preview_folder is not None:
        check_output_folder(preview_folder, overwrite or resume)

    from taichi_vvc.sequence import open_capture

    if background is not None:
        changes["background"] = background
    if keyint is not None:
        changes["keyint"] = keyint
    config = dataclasses.replace(PRESETS[preset], **changes)
    sequence = open_capture(capture, frames=frames, downscale=downscale, format=layout, bounds=bounds)
    for message in sequence.messages:
        warn(message)
    say(describe_capture(sequence))
    runtime = start_backend(backend)
    detail(f"backend {runtime.backend}; settings {config.settings()}")
    preview = None
    if preview_folder is not None:
        from taichi_vvc.preview import PreviewWriter

        preview = PreviewWriter(preview_folder)
    encode_with_progress(
        sequence, config, output, resume=resume, overwrite=overwrite, csv_file=csv_file, preview=preview
    )


def _control(
    crf: float | None, lambda_rate: float | None, bitrate: float | None, target_psnr: float | None
) -> dict[str, float]:
    """The settings that one of the four options of rate control stands for; none without any."""
    options = {"--crf": crf, "--lambda": lambda_rate, "--bitrate": bitrate, "--target-psnr": target_psnr}
    given = [name for name, value in options.items() if value is not None]
    if len(given) > 1:
        raise click.UsageError(f"{' and '.join(given)} contradict each other; give one of {', '.join(options)}")
    if crf is not None:
        return {"lambda_rate": lambda_of_crf(crf)}
    values = {"lambda_rate": lambda_rate, "bitrate": bitrate, "target_psnr": target_psnr}
    return {name: value for name, value in values.items() if value is not None}


def encode_with_progress(
    sequence: Any,
    config: EncoderConfig,
    output: Path,
    resume: bool = False,
    overwrite: bool = False,
    csv_file: Path | None = None,
    preview: Any = None,
) -> None:
    """Runs an encode and says how it goes.

    Raises:
        click.exceptions.Exit: status 130 after Ctrl-C; the file is closed and playable then.
    """
    from taichi_vvc.encode import encode

    done: list[FrameStats] = []
    total = len(sequence)
    varies = config.bitrate is not None or config.target_psnr is not None
    begun = False
    with ProgressLine(total, "encode", costs=encode_costs(total, config, sequence.fps)) as line, _targets_missed():

        def report(progress: Any) -> None:
            nonlocal begun
            at = 0.0 if progress.probe else progress.frame + progress.step / max(progress.steps, 1)
            if not begun and not progress.probe:
                # Trials, compilation and the frames of a resumed file are behind.
                line.begin(at)
                begun = True
            line.update(
                at,
                _progress_text(progress, total, done, sequence.fps, varies),
                frame=progress.frame,
                step=progress.step,
                steps=progress.steps,
                psnr=progress.psnr,
                bits=progress.bits,
                **{"lambda": progress.lambda_rate},
                probe=progress.probe,
            )

        try:
            statistics = encode(
                sequence, config, output, resume=resume, overwrite=overwrite, progress=report, preview=preview
            )
            for frame in _with_csv(statistics, csv_file, resume):
                done.append(frame)
                text = _frame_line(frame, total, done, sequence.fps, varies)
                line.finish_item(frame.index + 1, text, **_frame_fields(frame))
        except KeyboardInterrupt:
            warn(_interrupted(output))
            raise click.exceptions.Exit(130) from None
    _say_result(output, done, total, sequence.fps)


def encode_costs(total: int, config: EncoderConfig, fps: Fraction) -> list[int]:
    """What frames cost relative to each other: their iterations."""
    group = config.group_length(fps)
    return [config.inter_iterations if number % group else config.key_iterations for number in range(total)]


def describe_capture(sequence: Any) -> str:
    """One line about an opened capture."""
    camera = sequence.cameras[0]
    held_out = sum(camera.split == "test" for camera in sequence.cameras)
    cameras = f"{len(sequence.cameras) - held_out} cameras" + (f" and {held_out} held out" if held_out else "")
    bounds = ", ".join(f"{a:.4g}..{b:.4g}" for a, b in zip(sequence.bounds.lower, sequence.bounds.upper, strict=True))
    return (
        f"{sequence.path}: {len(sequence)} frames at {float(sequence.fps):g} fps, {cameras}, "
        f"{camera.width}x{camera.height}, bounds {bounds} ({sequence.bounds_source})"
    )


def _progress_text(progress: Any, total: int, done: list[FrameStats], fps: Fraction, varies: bool) -> str:
    parts = [f"frame {progress.frame + 1}/{total}", f"step {progress.step}/{progress.steps}"]
    if progress.probe:
        parts.insert(0, f"trial {progress.probe}")
    if varies:
        parts.append(f"crf {crf_of_lambda(progress.lambda_rate):.1f}")
    if done:
        parts.append(f"{sum(frame.seconds for frame in done) / len(done):.1f} s/frame")
    parts.append(f"{progress.psnr:.2f} dB")
    # The first steps fit without a rate.
    if progress.bits > 0:
        parts.append(f"{progress.bits / 8000:.1f} kB")
    if done:
        parts.append(f"{_bitrate(done, fps):.0f} kbit/s so far")
    return "  ".join(parts)


def _bitrate(done: list[FrameStats], fps: Fraction) -> float:
    """kbit/s of the frames so far, played at ``fps``."""
    return sum(frame.bytes for frame in done) * 8 / 1000 * float(fps) / len(done)


def _frame_line(frame: FrameStats, total: int, done: list[FrameStats], fps: Fraction, varies: bool) -> str:
    control = f"crf {crf_of_lambda(frame.lambda_rate):4.1f}  " if varies else ""
    return (
        f"frame {frame.index + 1}/{total}  {frame.type:5}  {control}{frame.bytes / 1000:8.1f} kB  "
        f"{frame.psnr:6.2f} dB  {frame.seconds:6.1f} s  {_bitrate(done, fps):8.0f} kbit/s so far"
    )


def _frame_fields(frame: FrameStats) -> dict[str, Any]:
    """A finished frame for programs, in plain JSON values."""
    return {
        "frame": frame.index,
        "type": frame.type,
        "bytes": frame.bytes,
        "components": dict(frame.components),
        "lambda": float(frame.lambda_rate),
        "psnr": float(frame.psnr),
        "judged_psnr": float(frame.judged_psnr),
        "seconds": float(frame.seconds),
    }


def _with_csv(statistics: Iterator[FrameStats], path: Path | None, resume: bool) -> Iterator[FrameStats]:
    """Passes the figures on, writing each to the CSV file at once, so that a killed encode leaves what it did."""
    if path is None:
        yield from statistics
        return
    going_on = path != STDOUT and resume and path.exists() and path.stat().st_size > 0
    with contextlib.ExitStack() as stack:
        file: Any = sys.stdout
        if path != STDOUT:
            file = stack.enter_context(path.open("a" if going_on else "w", newline="", encoding="utf-8"))
        writer = csv.writer(file, lineterminator="\n" if path == STDOUT else "\r\n")
        for number, frame in enumerate(statistics):
            parts = sorted(frame.components)
            if number == 0 and not going_on:
                writer.writerow([*CSV_START, *(f"bytes_{part}" for part in parts), *CSV_END])
            row: list[Any] = [frame.index, frame.type, frame.bytes, *(frame.components[part] for part in parts)]
            row += [
                f"{frame.lambda_rate:.6g}",
                f"{frame.estimated_bits:.1f}",
                f"{frame.actual_bits:.0f}",
                f"{frame.psnr:.4f}",
            ]
            writer.writerow([*row, f"{frame.seconds:.3f}"])
            file.flush()
            yield frame


@contextlib.contextmanager
def _targets_missed() -> Iterator[None]:
    """Says a missed bitrate or PSNR as the command line says its warnings."""
    with warnings.catch_warnings():
        warnings.simplefilter("always", TargetMissed)
        show = warnings.showwarning

        def shown(message: Warning | str, category: type[Warning], *place: Any, **more: Any) -> None:
            if issubclass(category, TargetMissed):
                warn(str(message))
            else:
                show(message, category, *place, **more)

        warnings.showwarning = shown
        yield


def _interrupted(output: Path) -> str:
    try:
        with StreamReader(output) as reader:
            whole = len(reader.frames)
    except TvvcError:
        whole = 0
    if not whole:
        return f"interrupted before the first frame was whole; {output} holds no picture yet"
    return f"interrupted; {output} is playable, it holds {whole} whole frames; --resume goes on from there"


def _say_result(output: Path, done: list[FrameStats], total: int, fps: Fraction) -> None:
    size = output.stat().st_size
    seconds = sum(frame.seconds for frame in done)
    fields = {"output": str(output), "frames": total, "encoded": len(done), "bytes": size, "seconds": float(seconds)}
    if not done:
        say_result(f"{output}: all {total} frames were there already, {size / 1000:.1f} kB", **fields, psnr=None)
        return
    psnr = float(sum(frame.psnr for frame in done) / len(done))
    judged = [frame.judged_psnr for frame in done if math.isfinite(frame.judged_psnr)]
    target = f", {sum(judged) / len(judged):.2f} dB as tvvc eval measures" if judged else ""
    say_result(
        f"{output}: {total} frames, {size / 1000:.1f} kB, {size / 1000 / total:.2f} kB/frame, "
        f"{size * 8 / 1000 * float(fps) / total:.0f} kbit/s, {psnr:.2f} dB on training rays{target}, {seconds:.0f} s",
        **fields,
        psnr=psnr,
    )
