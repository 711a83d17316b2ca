"""``tvvc encode``: encodes a capture into one file."""

from __future__ import annotations

import contextlib
import csv
import dataclasses
import os
import sys
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import click

from taichi_vvc.bitstream import Sound, StreamReader
from taichi_vvc.cli.account import Account, frame_fields, frame_sizes
from taichi_vvc.cli.capture import Chosen, capture_options, say_capture
from taichi_vvc.cli.effort import preset_option, seed_option
from taichi_vvc.cli.options import (
    STDOUT,
    Colour,
    FiniteRange,
    MemorySize,
    backend_option,
    check_output_file,
    check_output_folder,
    common_options,
    overwrite_option,
    start_backend,
    threads_option,
)
from taichi_vvc.cli.progress import ProgressLine, detail, warn, warnings_said
from taichi_vvc.cli.sound import sound_for
from taichi_vvc.cli.standard import interrupted_status
from taichi_vvc.cli.workers import Team, team_options
from taichi_vvc.config import PRESETS, EncoderConfig, crf_of_lambda, lambda_of_crf
from taichi_vvc.errors import DataError, TvvcError
from taichi_vvc.types import FrameStats
from taichi_vvc.words import counted

CSV_START = ("frame", "type", "bytes")
CSV_END = ("lambda", "estimated_bits", "actual_bits", "psnr", "seconds")


@click.command(
    epilog="Example:  tvvc encode capture/ -o out.tvvc --preset fast --frames 0:25",
)
@click.argument("capture", type=click.Path(path_type=Path))
@click.option("-o", "--output", type=click.Path(path_type=Path), required=True, metavar="FILE", help="File to write.")
@capture_options
@preset_option
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
@click.option(
    "--colours",
    type=click.Choice(("auto", "on", "off")),
    default="auto",
    show_default=True,
    help="Whether each training camera gets a colour map that takes off its exposure and white balance; auto: where "
    "some are clearly different and there are no masks.",
)
@click.option(
    "--poses",
    type=click.Choice(("auto", "on", "off")),
    default="auto",
    show_default=True,
    help="Whether training cameras are moved to where their pictures say that they stood; auto: where one seems to be "
    "off by a quarter of a pixel, with presets from fast on.",
)
@click.option(
    "--detail",
    "of_detail",
    type=click.Choice(("auto", "on", "off")),
    default="auto",
    show_default=True,
    help="Whether the fit sees the detail that --downscale takes from the pictures; each pixel is then drawn as the "
    "mean of four rays. auto: where a subject is sharp.",
)
@click.option(
    "--picture-memory",
    type=MemorySize(),
    default="2G",
    show_default=True,
    metavar="SIZE",
    help="What the training pictures of a frame may take on the device, such as 500M; where they need more, a sample "
    "of their pixels is fitted, another one for each frame.",
)
@click.option(
    "--audio",
    metavar="FILE|auto",
    help="Sound, kept as Opus: any file that FFmpeg reads, which begins with frame 0 of the capture; or auto: that of "
    "a camera whose video has some.",
)
@click.option(
    "--audio-start",
    type=FiniteRange(-86_400, 86_400),
    default=0.0,
    metavar="SECONDS",
    help="Where in the sound frame 0 of the capture is; negative: the sound begins later.",
)
@team_options
@backend_option
@threads_option
@seed_option
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
@overwrite_option
@common_options
def command(
    capture: Path,
    output: Path,
    chosen: Chosen,
    preset: str,
    crf: float | None,
    lambda_rate: float | None,
    bitrate: float | None,
    target_psnr: float | None,
    background: tuple[int, int, int] | None,
    keyint: int | None,
    scenecut: bool,
    colours: str,
    poses: str,
    of_detail: str,
    picture_memory: int,
    audio: str | None,
    audio_start: float,
    team: Team,
    backend: str,
    threads: int | None,
    seed: int,
    csv_file: Path | None,
    preview_folder: Path | None,
    resume: bool,
    overwrite: bool,
) -> None:
    """Encode CAPTURE, a folder in any of the layouts of docs/capture.md, into one file.

    A stopped encode (Ctrl-C, power cut) leaves a file that plays up to its last whole frame; --resume goes on with it.
    """
    if audio is None and audio_start:
        raise click.UsageError("--audio-start says where in the sound frame 0 is; give --audio")
    if resume and overwrite:
        raise click.UsageError("--resume goes on with a file and -y replaces it; give one of them")
    changes: dict[str, Any] = {"seed": seed, "scenecut": scenecut, "colours": colours, "poses": poses}
    changes |= {"detail": of_detail, "picture_memory": picture_memory}
    changes |= _control(crf, lambda_rate, bitrate, target_psnr)
    check_output_file(output, overwrite or resume, hint="add -y to replace it or --resume to go on with it")
    if csv_file is not None and csv_file != STDOUT:
        if csv_file.resolve() == output.resolve():
            raise click.UsageError("--csv and -o name the same file")
        check_output_file(csv_file, overwrite or resume)
    workers = team.settled(backend, threads)
    if preview_folder is not None:
        if workers is not None:
            raise click.UsageError("--preview shows what this process fits, and workers fit elsewhere; leave it out")
        check_output_folder(preview_folder, overwrite or resume)

    if background is not None:
        changes["background"] = background
    if keyint is not None:
        changes["keyint"] = keyint
    config = dataclasses.replace(PRESETS[preset], **changes)
    sequence = chosen.open(capture)
    config = dataclasses.replace(config, part_length=team.length(sequence.fps))
    say_capture(sequence)
    sound = None if audio is None else sound_for(sequence, audio, audio_start)
    if workers is None:
        backend = start_backend(backend, threads).backend
    detail(f"backend {backend}; settings {config.settings()}")
    preview = None
    if preview_folder is not None:
        from taichi_vvc.play.preview import PreviewWriter

        preview = PreviewWriter(preview_folder)
    encode_with_progress(sequence, config, output, resume, overwrite, csv_file, preview, sound, workers)


def _control(
    crf: float | None, lambda_rate: float | None, bitrate: float | None, target_psnr: float | None
) -> dict[str, float]:
    """The settings for the given one of the four options of rate control; empty without any."""
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
    sound: Sound | None = None,
    workers: Any = None,
) -> None:
    """Runs an encode and reports its progress.

    Raises:
        click.exceptions.Exit: status 130 after Ctrl-C, 143 after SIGTERM; the file is closed and playable.
    """
    from taichi_vvc.encode import encode

    total, before = len(sequence), _stat_of(output) if overwrite else None
    varies = config.bitrate is not None or config.target_psnr is not None
    account = Account(total, sequence.fps, varies, frame_sizes(output) if resume and output.exists() else [])
    begun = False
    with ProgressLine(total, "encode", costs=encode_costs(total, config, sequence.fps)) as line, warnings_said():

        def report(progress: Any) -> None:
            nonlocal begun
            trial = progress.probe or progress.check
            at = 0.0 if trial else progress.frame + progress.step / max(progress.steps, 1)
            if progress.workers:
                at = progress.coded
            if not begun and not trial:
                # The expected time counts from here, without trials, compilation and the frames of a resumed file.
                line.begin(at)
                begun = True
            line.update(
                at,
                account.progress_text(progress),
                frame=progress.frame,
                step=progress.step,
                steps=progress.steps,
                psnr=progress.psnr,
                bits=progress.bits,
                **{"lambda": progress.lambda_rate},
                probe=progress.probe,
                check=progress.check,
                **({"workers": progress.workers, "parts": list(progress.parts)} if progress.workers else {}),
            )

        try:
            more = {"progress": report, "preview": preview, "sound": sound, "workers": workers}
            statistics = encode(sequence, config, output, resume=resume, overwrite=overwrite, **more)
            for frame in _with_csv(statistics, csv_file, resume):
                account.done.append(frame)
                line.finish_item(frame.index + 1, account.frame_line(frame), **frame_fields(frame))
        except KeyboardInterrupt as error:
            warn(_interrupted(output, before, config.part_length > 0))
            raise click.exceptions.Exit(interrupted_status(error)) from None
    account.say(output)


def encode_costs(total: int, config: EncoderConfig, fps: Fraction) -> list[int]:
    """The relative cost of each frame: its number of iterations."""
    group = config.group_length(fps)
    part = config.part_length or total
    config = dataclasses.replace(config, first_fit=config.first_fit_of(min(part, total)))
    # Where a part goes on with a new group, the frame is fitted as an inter frame first.
    return [
        config.iterations(number % group == 0, number % part == 0)
        + (config.inter_iterations if number % part and number % group == 0 else 0)
        for number in range(total)
    ]


def _with_csv(statistics: Iterator[FrameStats], path: Path | None, resume: bool) -> Iterator[FrameStats]:
    """Yields the figures, and writes each to the CSV file at once, so that they survive a killed encode."""
    if path is None:
        yield from statistics
        return
    going_on = path != STDOUT and resume and path.exists() and path.stat().st_size > 0
    with contextlib.ExitStack() as stack:
        file: Any = sys.stdout
        if path != STDOUT:
            from taichi_vvc.media.video import one_line

            with one_line(path):
                # Rows of an old CSV belong to the old file, which is kept until the first new frame is written.
                file = stack.enter_context(path.open("a", newline="", encoding="utf-8"))
        writer = csv.writer(file, lineterminator="\n" if path == STDOUT else "\r\n")
        for number, frame in enumerate(statistics):
            parts = sorted(frame.components)
            if number == 0 and not going_on:
                if path != STDOUT and os.fstat(file.fileno()).st_size:
                    file.truncate(0)
                writer.writerow([*CSV_START, *(f"bytes_{part}" for part in parts), *CSV_END])
            row: list[Any] = [frame.index, frame.type, frame.bytes, *(frame.components[part] for part in parts)]
            row += [
                f"{frame.lambda_rate:.6g}",
                f"{frame.estimated_bits:.1f}",
                f"{frame.actual_bits:.0f}",
                f"{frame.psnr:.4f}",
            ]
            try:
                writer.writerow([*row, f"{frame.seconds:.3f}"])
                file.flush()
            except OSError as error:
                if path == STDOUT:
                    raise
                with contextlib.suppress(OSError):
                    file.close()
                whole = f"frames 0 to {frame.index} are whole, --resume goes on from there"
                raise DataError(f"{path}: cannot write: {error.strerror or error}; {whole}") from error
            yield frame


def _stat_of(path: Path) -> os.stat_result | None:
    try:
        return path.stat()
    except OSError:
        return None


def _interrupted(output: Path, before: os.stat_result | None, parts: bool) -> str:
    """A message about the state of the output after an interrupted encode.

    ``before``: the file that was to be replaced, or None. ``parts``: whether it is encoded in parts.
    """
    now = _stat_of(output)
    # The new file replaces the old one with its first frame, before that frame's figures arrive here. So the files
    # themselves are compared.
    untouched = before is not None and now is not None and os.path.samestat(before, now)
    folder = output.with_name(f"{output.name}.parts")
    if parts and folder.is_dir():
        there = "is as it was" if untouched else f"holds {counted(_whole(output), 'whole frame')}"
        return f"interrupted; {output} {there}, the parts so far are in {folder}; --resume goes on from there"
    if now is None:
        return f"interrupted before anything was written; there is no {output}"
    if untouched:
        return f"interrupted; {output} is as it was"
    whole = _whole(output)
    if not whole:
        return f"interrupted before the first frame was whole; {output} holds no picture yet"
    return f"interrupted; {output} is playable, it holds {counted(whole, 'whole frame')}; --resume goes on from there"


def _whole(output: Path) -> int:
    """The whole frames of a file; 0 for one that cannot be read."""
    try:
        with StreamReader(output) as reader:
            return len(reader.frames)
    except TvvcError:
        return 0
