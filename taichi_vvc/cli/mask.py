"""``tvvc mask``: masks for a capture without any, from plates, the median over time or a network."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING

import click

from taichi_vvc.cli.capture import Chosen, capture_options
from taichi_vvc.cli.options import check_folder_of, common_options, overwrite_option
from taichi_vvc.cli.output import file_names
from taichi_vvc.cli.progress import ProgressLine, say_result, warn
from taichi_vvc.words import counted, some

if TYPE_CHECKING:
    from taichi_vvc.capture.foreground import Plate
    from taichi_vvc.capture.masking import Made, Starter
    from taichi_vvc.capture.sequence import MultiViewSequence


@click.command(epilog="Example:  tvvc mask capture/ -o masked/ --plate empty/")
@click.argument("capture", type=click.Path(path_type=Path))
@click.option("-o", "--output", type=click.Path(path_type=Path), required=True, metavar="DIR", help="Folder to write.")
@click.option(
    "--plate",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Pictures of the empty set, one per camera, named as the camera. Default: the median over time.",
)
@click.option(
    "--rembg",
    "model",
    metavar="MODEL",
    help="Start with masks of this model of rembg, such as u2net, which is yours to get; no plates are needed then.",
)
@capture_options
@overwrite_option
@common_options
def command(
    capture: Path,
    output: Path,
    plate: Path | None,
    model: str | None,
    chosen: Chosen,
    overwrite: bool,
) -> None:
    """Write masks for CAPTURE, which has none, and a transforms.json with which DIR is encoded in its place.

    Where a picture differs from the empty set it shows the subject, unless the difference is that of a shadow. Then the
    other cameras are asked: what one alone shows is removed, holes that they fill are filled.
    """
    from taichi_vvc.capture.foreground import opencv
    from taichi_vvc.capture.masking import check_folder, has_masks, make_masks, prepare, write_plates

    if plate is not None and model is not None:
        raise click.UsageError("expected --plate or --rembg, found both; a network needs no plates")
    check_folder_of(capture, output, "masks", lambda: check_folder(output, overwrite))
    opencv()
    sequence = chosen.open(capture, strict=False)
    for message in sequence.messages:
        warn(message)
    if masked := has_masks(sequence):
        warn(f"the masks of {some(masked, 6)} are not looked at: new ones are made from the pictures")
    names = file_names([camera.name for camera in sequence.cameras])
    start, plates = _starter(sequence, names, plate, model)
    prepare(output, overwrite)
    if plate is None and plates:
        write_plates(output, names, sequence, plates)
    with ProgressLine(len(sequence), "mask", keep_lines=False) as line:
        made = make_masks(
            sequence,
            output,
            names,
            start,
            progress=lambda done: line.update(done, f"frame {done}/{len(sequence)}"),
        )
    _report(output, sequence, made)


def _starter(
    sequence: MultiViewSequence, names: dict[str, str], plate: Path | None, model: str | None
) -> tuple[Starter, list[Plate]]:
    """What makes the masks that each camera has alone, and the plates that it compares with; none for a network."""
    from taichi_vvc.capture.masking import check_standing, from_plates
    from taichi_vvc.capture.plates import median_plates, read_plates

    if model is not None:
        from taichi_vvc.capture.cutouts import from_rembg

        return from_rembg(model), []
    check_standing(sequence)
    if plate is not None:
        plates = read_plates(plate, sequence, names)
        return from_plates(plates), plates
    with ProgressLine(len(sequence.cameras), "background", keep_lines=False) as line:
        plates, lines = median_plates(
            sequence, lambda done: line.update(done, f"camera {done}/{len(sequence.cameras)}")
        )
    for text in lines:
        warn(text)
    return from_plates(plates), plates


def _report(output: Path, sequence: MultiViewSequence, made: Made) -> None:
    if made.empty:
        warn(f"all masks are empty: camera {some(made.empty, 6)}")
    if made.disagreeing:
        frames = some([str(number) for number in made.disagreeing], 6)
        warn(
            f"the cameras do not agree in {counted(len(made.disagreeing), 'frame')} ({frames}): masks there are"
            " those that each camera alone has; check calibration and synchronisation, or give pictures of the"
            " empty set by --plate"
        )
    if sum(camera.split == "train" for camera in sequence.cameras) < 3:
        warn("fewer than three training cameras: nothing but each camera's own pictures made its masks")
    say_result(
        f"{output}: masks of {counted(made.frames, 'frame')} of {counted(len(sequence.cameras), 'camera')}, which show"
        f" {100 * made.shown:.1f} % of the pictures; tvvc inspect {output} -o picture.png draws some,"
        f" tvvc encode {output} takes them",
        output=str(output),
        frames=made.frames,
        cameras=len(sequence.cameras),
        shown=made.shown,
        explained=None if math.isnan(made.explained) else made.explained,
    )
