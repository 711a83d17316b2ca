"""``tvvc ladder``: several qualities of one capture, which a player can change between."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import click

from taichi_vvc.cli.capture import Chosen, capture_options, say_capture
from taichi_vvc.cli.effort import preset_option, seed_option
from taichi_vvc.cli.encode import encode_with_progress
from taichi_vvc.cli.options import (
    FiniteRange,
    backend_option,
    check_output_file,
    common_options,
    overwrite_option,
    start_backend,
    threads_option,
)
from taichi_vvc.cli.progress import say, say_result
from taichi_vvc.cli.sound import sound_for
from taichi_vvc.config import PRESETS, lambda_of_crf
from taichi_vvc.words import counted

FEWEST, MOST = 2, 8


class Qualities(click.ParamType):
    """The option type of several qualities: ``20,28,36``; sorted, the best first."""

    name = "crfs"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[float, ...]:
        """Parses the option's text; a usage error says what was expected."""
        if isinstance(value, tuple):
            return value
        one = FiniteRange(0, 51)
        found = tuple(sorted({float(one.convert(part.strip(), param, ctx)) for part in value.split(",")}))
        if not FEWEST <= len(found) <= MOST:
            self.fail(f"expected {FEWEST} to {MOST} different values such as 20,26,32, found '{value}'", param, ctx)
        return found


@click.command(epilog="Example:  tvvc ladder capture/ -o files/ --preset fast --crf 18,24,30")
@click.argument("capture", type=click.Path(path_type=Path))
@click.option("-o", "--output", type=click.Path(path_type=Path), required=True, metavar="DIR", help="Folder for them.")
@capture_options
@preset_option
@click.option(
    "--crf",
    "crfs",
    type=Qualities(),
    default="18,24,30",
    show_default=True,
    metavar="A,B,...",
    help="The qualities, as of tvvc encode --crf; 6 more is about half the bytes.",
)
@click.option("--keyint", type=click.IntRange(1), help="Frames from key frame to key frame; default about one second.")
@click.option("--audio", metavar="FILE|auto", help="Sound, as of tvvc encode --audio.")
@backend_option
@threads_option
@seed_option
@click.option("--resume", is_flag=True, help="Go on with files whose encode was stopped, with the same settings.")
@overwrite_option
@common_options
def command(
    capture: Path,
    output: Path,
    chosen: Chosen,
    preset: str,
    crfs: tuple[float, ...],
    keyint: int | None,
    audio: str | None,
    backend: str,
    threads: int | None,
    seed: int,
    resume: bool,
    overwrite: bool,
) -> None:
    """Encode CAPTURE in several qualities, one file each, DIR/NAME_crfNN.tvvc, and DIR/scene.json, which lists them.

    Key frames come at the same frames in all of them, and the field has the same shape, so that tvvc web with all the
    files makes a player that changes from one to another. The capture is read, its background, sound and corrected
    cameras are found once. A stopped ladder goes on with --resume.
    """
    from taichi_vvc.media.video import write_text
    from taichi_vvc.play.ladder import settings_of, with_found
    from taichi_vvc.play.scene import MANIFEST, check_scene, manifest_text

    if resume and overwrite:
        raise click.UsageError("--resume goes on with files and -y replaces them; give one of them")
    if output.exists() and not output.is_dir():
        raise click.UsageError(f"{output}: expected a folder, or nothing there, found a file")
    name = capture.resolve().stem or "scene"
    paths = {crf: output / f"{name}_crf{crf:g}.tvvc" for crf in crfs}
    for path in paths.values() if output.exists() else ():
        check_output_file(path, overwrite or resume, hint="add -y to replace it or --resume to go on with it")
    sequence = chosen.open(capture)
    say_capture(sequence)
    sound = None if audio is None else sound_for(sequence, audio, 0.0)
    start_backend(backend, threads)
    # A key frame at a cut depends on the quality; these come at the same frames in all of them.
    config = dataclasses.replace(PRESETS[preset], seed=seed, scenecut=False)
    if keyint is not None:
        config = dataclasses.replace(config, keyint=keyint)
    output.mkdir(parents=True, exist_ok=True)
    rows = settings_of(config, sequence, [lambda_of_crf(crf) for crf in crfs])
    for number, (path, own) in enumerate(zip(paths.values(), rows, strict=True)):
        if resume and path.exists() and whole(path, len(sequence)):
            say(f"{path} is whole")
        else:
            say(f"{path.name}, {number + 1} of {len(paths)}")
            going_on = resume and path.exists()
            encode_with_progress(sequence, own, path, resume=going_on, overwrite=overwrite, sound=sound)
        if number == 0:
            sequence, rows[1:] = with_found(sequence, path, rows[1:])
    write_text(output / MANIFEST, manifest_text(check_scene(list(paths.values()))))
    say_result(
        f"{output}: {counted(len(paths), 'file')} and {MANIFEST}; tvvc web makes a page of the files",
        output=str(output),
        files=[str(path) for path in paths.values()],
    )


def whole(path: Path, frames: int) -> bool:
    """Whether a file has so many frames and an index."""
    from taichi_vvc.bitstream import StreamReader

    with StreamReader(path) as reader:
        return reader.complete and len(reader.frames) == frames
