"""``tvvc decode``: renders the stored cameras frame by frame, or verifies the file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from taichi_vvc.bitstream import StreamReader
from taichi_vvc.capture.selection import find_cameras
from taichi_vvc.cli.options import (
    backend_option,
    common_options,
    frames_option,
    memory_option,
    overwrite_option,
    select_frames,
    start_backend,
    usual_rate,
)
from taichi_vvc.cli.output import Output, OutputName, check_output, open_sink, written_paths
from taichi_vvc.cli.progress import ProgressLine, say_result, warn
from taichi_vvc.cli.sound import clip_sound
from taichi_vvc.errors import MemoryLimitExceeded, StreamError, TruncatedStream
from taichi_vvc.types import Camera, ColourMap
from taichi_vvc.words import counted, some

if TYPE_CHECKING:
    import numpy as np

    from taichi_vvc.decode import Stream
    from taichi_vvc.field.grids import Field
    from taichi_vvc.field.workspace import Workspace


@click.command(epilog="Example:  tvvc decode out.tvvc -o pictures/ --cameras test --frames 0:10")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("-o", "--output", type=OutputName(), metavar="DIR|OUT.mp4|OUT.png|-", help="Where pictures go.")
@frames_option
@click.option(
    "--cameras",
    default="all",
    show_default=True,
    metavar="C",
    help="test, train, all, or names, patterns, positions: A,B,...",
)
@click.option("--verify", is_flag=True, help="Check every chunk and print hashes of symbols and pictures.")
@backend_option
@memory_option
@overwrite_option
@common_options
def command(
    file: Path,
    output: Output | None,
    frames: slice | None,
    cameras: str,
    verify: bool,
    backend: str,
    memory_limit: int | None,
    overwrite: bool,
) -> None:
    """Decode FILE and render the cameras that it stores, to DIR/<camera>/<frame>.png or to one video per camera.

    A camera that moved is where it was at each frame. A camera with a colour map shows colours as it did.

    With -o OUT.mp4 (.mov, .mkv, .webm) the video of a single camera is OUT.mp4, and those of several are
    OUT_<camera>.mp4. Videos of odd width or height get their last column or row twice, since codecs need even sizes.
    With -o OUT.png (.jpg) and one frame each camera gives a still. With -o - the video of one camera goes to stdout, as
    Matroska. Any other name is a folder's; it ends in a slash if it has a suffix. A file's sound goes into its videos.
    """
    if verify:
        if output is not None or frames is not None:
            raise click.UsageError("--verify checks the whole file and writes nothing; leave out -o and --frames")
        _verify(file, memory_limit)
        return
    if output is None:
        raise click.UsageError("expected -o DIR, -o OUT.mp4 or -o OUT.png (or --verify)")

    from taichi_vvc.decode import open as open_stream
    from taichi_vvc.field.workspace import Workspace
    from taichi_vvc.media.colour_maps import looks_of

    with open_stream(file, memory_limit) as stream:
        chosen = select_frames(frames, len(stream), str(file)) if len(stream) else range(0)
        views = select_cameras(stream.cameras, cameras)
        names = [camera.name for camera in views]
        if output.kind == "still" and len(chosen) != 1:
            raise click.UsageError(
                f"{output} is a still, for one frame; found {counted(len(chosen), 'frame')}: choose one with --frames N"
                ", or give a folder or a video"
            )
        check_output(output, names, overwrite, file)
        damage = warn_if_incomplete(stream, file)
        workspace = Workspace(start_backend(backend))
        line = ProgressLine(len(chosen), "decode", keep_lines=False)
        rate = usual_rate(stream.fps)
        sound = clip_sound(file, output, chosen, stream.fps, rate, len(chosen)) if rate == stream.fps else None
        with open_sink(output, names, rate, sound=sound) as sink, line:
            for done, (number, field) in enumerate(zip(chosen, stream.frames(chosen.start, chosen.stop), strict=True)):
                moved = {camera.name: camera for camera in stream.cameras_at(number)}
                looks = looks_of([camera.name for camera in stream.cameras], stream.looks_at(number))
                for view, camera in enumerate(moved[name] for name in names):
                    picture = _shown(field, camera, stream.background, workspace, looks.get(camera.name))
                    sink.write(camera.name, number, picture)
                    line.update(done + (view + 1) / len(views), f"frame {done + 1}/{len(chosen)}  camera {camera.name}")
    written = written_paths(output, names)
    # Several videos have names derived from the output's; no file of the output's own name exists then.
    whole = None if output.kind != "folder" and len(written) > 1 else output
    place = whole or some([str(path) for path in written], longest=None)
    say_result(
        f"{place}: {counted(len(chosen), 'frame')} of {counted(len(views), 'camera')}",
        output=None if whole is None else str(whole),
        outputs=[str(path) for path in written],
        frames=len(chosen),
        cameras=len(views),
    )
    if damage is not None:
        raise damage


def _shown(
    field: Field, camera: Camera, background: tuple[float, float, float], workspace: Workspace, look: ColourMap | None
) -> np.ndarray:
    """(height, width, 3) uint8: what a camera of the capture shows."""
    from taichi_vvc.field.render import render, render_rgb8
    from taichi_vvc.media.colour_maps import shown

    if look is None:
        return render_rgb8(field, camera, background, workspace=workspace)
    image = render(field, camera, background, workspace=workspace)
    picture = 255.0 * shown(image.colour, image.opacity, background, look) + 0.5
    return picture.astype("u1")


def warn_if_incomplete(stream: Stream, file: Path) -> StreamError | None:
    """Warns about a file without a valid index, whose encode was stopped or which is damaged.

    Returns the error that describes the damage, or None.

    Raises:
        TruncatedStream: the file has no whole frame.
        StreamError: the file is complete and has no frames.
    """
    if stream.complete:
        if not len(stream):
            raise StreamError(f"{file}: expected at least one frame, found a complete file of none; encode it again")
        return None
    damage = damage_of(file)
    if not len(stream):
        raise damage or TruncatedStream(f"{file}: expected at least one whole frame, found none; encode it again")
    if damage is None:
        warn(f"{file} is incomplete (its encode was stopped); playing the {counted(len(stream), 'whole frame')} it has")
    else:
        warn(f"{file} is damaged; playing the {counted(len(stream), 'frame')} before the damage")
    return damage


def damage_of(file: Path) -> StreamError | None:
    """The error in a file's chunks, up to the last whole one; None for a file that is complete or only cut off."""
    with StreamReader(file) as reader:
        try:
            reader.scan()
        except StreamError as error:
            return error
    return None


def select_cameras(cameras: tuple[Camera, ...], choice: str) -> list[Camera]:
    """The cameras that ``choice`` selects: ``test``, ``train``, ``all``, or names, patterns and positions.

    Raises:
        ConfigError: an item fits no camera, see :func:`taichi_vvc.capture.selection.find_cameras`.
        click.UsageError: no camera is selected.
    """
    by_name = {camera.name: camera for camera in cameras}
    if choice in ("test", "train", "all") and choice not in by_name:
        found = [camera for camera in cameras if choice in ("all", camera.split)]
    else:
        found = [by_name[name] for name in find_cameras(list(by_name), choice, "--cameras")]
    if not found:
        raise click.UsageError(
            f"--cameras {choice}: the file has no such cameras; it has {', '.join(by_name) or 'none at all'}"
        )
    return found


def _verify(file: Path, memory_limit: int | None) -> None:
    from taichi_vvc.decode import open as open_stream

    with open_stream(file, memory_limit) as stream:
        if stream.complete:
            hashes = stream.hashes()
            with StreamReader(file) as reader:
                reader.sound()
            click.echo(f"symbols sha256 {hashes.symbols}\npictures sha256 {hashes.pictures}")
            return
        good = 0
        problem: StreamError = TruncatedStream(f"{file}: expected a complete file, found one whose encode was stopped")
        try:
            for number in range(len(stream)):
                stream.parameters(number)
                stream.symbols(number)
                stream.cameras_at(number)
                good = number + 1
        except StreamError as error:
            problem = error
    warn(f"{file}: the first {counted(good, 'frame')} {'is' if good == 1 else 'are'} good")
    if isinstance(problem, MemoryLimitExceeded):
        raise problem
    raise damage_of(file) or problem
