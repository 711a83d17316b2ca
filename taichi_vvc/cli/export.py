"""``tvvc export``: meshes, point clouds, Gaussian splats, and views with depth for other programs."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click
import numpy as np

from taichi_vvc.cli.decode import warn_if_incomplete
from taichi_vvc.cli.export_views import write_views
from taichi_vvc.cli.options import (
    FiniteRange,
    backend_option,
    check_output_file,
    check_output_folder,
    common_options,
    frames_option,
    memory_option,
    overwrite_option,
    select_frames,
    start_backend,
)
from taichi_vvc.cli.progress import ProgressLine, say, say_result, warn
from taichi_vvc.errors import DataError
from taichi_vvc.words import counted

if TYPE_CHECKING:
    from taichi_vvc.decode import Stream
    from taichi_vvc.exports.shapes import Mesh, Points
    from taichi_vvc.field.workspace import Workspace

Kind = Literal["mesh", "points", "splats", "views"]
SUFFIXES: dict[Kind, str] = {"mesh": ".glb", "points": ".ply", "splats": ".ply"}
VIEWS: Kind = "views"
TRIANGLES = 50_000
# The place of the frame's number in a name: %d, %04d.
NUMBER = re.compile(r"%(0\d)?d")


@dataclass(frozen=True)
class Target:
    """Where an export goes: one file of one frame or of all, or a file for each frame.

    Attributes:
        path: the file, the folder, or a name with ``%d`` or ``%04d`` for the frame's number.
        kind: what is written.
        many: whether every frame has a file of its own.
    """

    path: Path
    kind: Kind
    many: bool

    def file(self, frame: int) -> Path:
        """The file of a frame."""
        if not self.many:
            return self.path
        if NUMBER.search(self.path.name):
            return self.path.with_name(NUMBER.sub(lambda found: found[0] % frame, self.path.name))
        return self.path / f"{frame:04d}{SUFFIXES[self.kind]}"


@click.command(epilog="Example:  tvvc export out.tvvc -o meshes/ --as mesh --frames 0:10 --triangles 20000")
@click.argument("file", type=click.Path(path_type=Path))
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    required=True,
    metavar="OUT.glb|OUT.ply|DIR",
    help="A file; a name with %04d, or a folder, for a file per frame.",
)
@click.option(
    "--as",
    "kind",
    type=click.Choice([*SUFFIXES, VIEWS]),
    help="What to write; default by the name: .glb is a mesh, .ply points.",
)
@frames_option
@click.option(
    "--animated", is_flag=True, help="All frames in one .glb, as an animation that shows one after the other."
)
@click.option(
    "--triangles",
    type=click.IntRange(0),
    default=TRIANGLES,
    show_default=True,
    help="Of each mesh, about; 0 keeps all.",
)
@click.option(
    "--level",
    type=FiniteRange(0.0, 1.0, min_open=True, max_open=True),
    default=0.5,
    show_default=True,
    help="Opacity, over a cell's length, that counts as surface.",
)
@click.option(
    "--resolution",
    type=click.IntRange(2, 4096),
    metavar="N",
    help="Cells along the longest side of the bounds in which the surface is looked for, and each of which has a point "
    "or a splat; default: twice the nodes of the finest grid, up to 256.",
)
@click.option(
    "--cameras",
    metavar="C",
    help="Of views: test, train, all (the default), or names, patterns, positions: A,B,...",
)
@click.option(
    "--pictures",
    type=click.Choice(("png", "exr")),
    help="Of views: 16-bit PNG (the default) or OpenEXR.",
)
@backend_option
@memory_option
@overwrite_option
@common_options
def command(
    file: Path,
    output: Path,
    kind: Kind | None,
    frames: slice | None,
    animated: bool,
    triangles: int,
    level: float,
    resolution: int | None,
    cameras: str | None,
    pictures: Literal["png", "exr"] | None,
    backend: str,
    memory_limit: int | None,
    overwrite: bool,
) -> None:
    """Write frames of FILE for other programs: meshes (glTF), points or Gaussian splats (PLY), or views with depth.

    The surface is where opacity passes a level. Its colours are what the capture's cameras see there, averaged, with
    the light of the capture in them. A single file holds one frame (--frames N, else the first), or with --animated all
    of them.

    A .glb has +y up, by a rotation of its root node; below that node, and in a .ply, everything is in the capture's own
    coordinates. Of a whole scene, what lies within the bounds is exported.

    --as views renders the capture's cameras into a folder: colour with opacity and depth along the camera's axis, and
    the cameras as transforms.json and cameras.glb.
    """
    from taichi_vvc.decode import open as open_stream
    from taichi_vvc.field.workspace import Workspace

    target = target_of(output, kind, animated)
    if target.kind != VIEWS and (cameras is not None or pictures is not None):
        raise click.UsageError("--cameras and --pictures are for --as views")
    with open_stream(file, memory_limit) as stream:
        if frames is None and not target.many and not animated:
            frames = slice(0, 1)
        chosen = select_frames(frames, len(stream), str(file)) if len(stream) else range(0)
        if len(chosen) > 1 and not target.many and not animated:
            many = ", --animated for all of them in it" if target.kind == "mesh" else ""
            raise click.UsageError(
                f"{output} holds one frame, found {counted(len(chosen), 'frame')}: choose one with --frames N, or give "
                f"a folder or a name with %04d{many}"
            )
        _check(target, chosen, overwrite, file)
        damage = warn_if_incomplete(stream, file)
        if stream.header.layout.whole and target.kind != VIEWS:
            bounds = stream.header.layout.bounds.corners()
            say(f"{file} shows a whole scene; what lies within its bounds {bounds} is exported")
        workspace = Workspace(start_backend(backend))
        if target.kind == VIEWS:
            with ProgressLine(len(chosen), "export", keep_lines=False) as line:
                written = write_views(
                    stream, workspace, output, chosen, cameras or "all", pictures or "png", line.update
                )
            _say_views(output, written, len(chosen))
            if damage is not None:
                raise damage
            return
        job = _Job(stream, workspace, target, triangles, level, resolution)
        with ProgressLine(len(chosen), "export", keep_lines=False) as line:
            for done, number in enumerate(chosen):
                job.add(number, float((number - chosen.start) / stream.fps))
                line.update(done + 1, f"frame {done + 1}/{len(chosen)}")
            job.finish(float(len(chosen) / stream.fps))
    parts = "triangles" if target.kind == "mesh" else target.kind
    each = f" a frame over {counted(len(job.counts), 'frame')}" if len(job.counts) > 1 else ""
    mean = round(sum(job.counts) / len(job.counts))
    say_result(
        f"{output}: {mean} {parts}{each}, {job.bytes / 1e6:.2f} MB",
        output=str(output),
        outputs=[str(path) for path in job.written],
        kind=target.kind,
        frames=len(job.counts),
        parts=job.counts,
        bytes=job.bytes,
    )
    if damage is not None:
        raise damage


def _say_views(output: Path, written: list[Path], frames: int) -> None:
    size = sum(path.stat().st_size for path in written)
    say_result(
        f"{output}: {counted(len(written) - 2, 'picture')} of {counted(frames, 'frame')}, {size / 1e6:.2f} MB",
        output=str(output),
        outputs=[str(path) for path in written],
        kind=VIEWS,
        frames=frames,
        bytes=size,
    )


def target_of(output: Path, kind: Kind | None, animated: bool) -> Target:
    """What the output's name and the options ask for. Raises click.UsageError where they contradict each other."""
    suffix = output.suffix.lower()
    folder = output.is_dir() or not suffix
    if kind is None:
        if folder:
            kinds = ", --as ".join((*SUFFIXES, VIEWS))
            raise click.UsageError(f"{output} is a folder's name; say what to write with --as {kinds}")
        kind = "mesh" if suffix == ".glb" else "points"
    if kind == VIEWS:
        if not folder or animated:
            what = "--as views without --animated" if folder else f"a folder for views, found '{output}'"
            raise click.UsageError(f"expected {what}")
        return Target(output, kind, True)
    if not folder and suffix != SUFFIXES[kind]:
        raise click.UsageError(
            f"expected a name ending in {SUFFIXES[kind]}, one with %04d, or a folder for {kind}, found '{output}'"
        )
    many = folder or NUMBER.search(output.name) is not None
    if animated and (many or kind != "mesh"):
        raise click.UsageError(f"--animated writes one .glb of all frames; found -o {output} for {kind}")
    return Target(output, kind, many)


def _check(target: Target, frames: range, overwrite: bool, file: Path) -> None:
    """Checks that the outputs can and may be written."""
    if target.many and not NUMBER.search(target.path.name):
        check_output_folder(target.path, overwrite)
        return
    for frame in frames:
        check_output_file(target.file(frame), overwrite, file)


class _Job:
    """Frames on their way into files.

    Attributes:
        counts: triangles, points or splats of each frame that has any.
        written: files.
        bytes: of all of them.
    """

    def __init__(
        self, stream: Stream, ws: Workspace, target: Target, triangles: int, level: float, resolution: int | None
    ) -> None:
        from taichi_vvc.capture.camera_paths import up_direction
        from taichi_vvc.exports.gltf import y_up

        self.stream, self.ws, self.target = stream, ws, target
        self.triangles, self.level, self.resolution = triangles, level, resolution
        self.up = up_direction(stream.cameras) if stream.cameras else np.array([0.0, 0.0, 1.0])
        self.turn = y_up(self.up)
        self.counts: list[int] = []
        self.written: list[Path] = []
        self.bytes = 0
        self._meshes: list[tuple[int, float, Mesh]] = []

    def add(self, frame: int, time: float) -> None:
        """Exports a frame that is shown from a time on, seconds; an animation keeps it until :meth:`finish`."""
        from taichi_vvc.exports.shapes import mesh_of, points_of

        field, cameras = self.stream[frame], self.stream.cameras_at(frame)
        if self.target.kind == "mesh":
            mesh = mesh_of(self.ws, field, cameras, self.triangles, self.level, self.resolution)
            if self._counted(frame, len(mesh.triangles)):
                self._meshes.append((frame, time, mesh))
                if self.target.many:
                    self._write_meshes(self.target.file(frame), None)
        else:
            points = points_of(self.ws, field, cameras, self.level, self.resolution)
            if self._counted(frame, len(points.places)):
                self._write_points(frame, points)

    def _counted(self, frame: int, count: int) -> bool:
        """Notes how much of a surface a frame has, and whether it has any."""
        if count:
            self.counts.append(count)
        else:
            warn(f"frame {frame}: nothing in it has an opacity of {self.level:g}; it has no surface")
        return count > 0

    def _write_points(self, frame: int, points: Points) -> None:
        from taichi_vvc.exports.ply import point_columns, write_ply
        from taichi_vvc.exports.splats import splat_columns

        path = self.target.file(frame)
        columns = (splat_columns if self.target.kind == "splats" else point_columns)(points)
        write_ply(path, columns, (f"up {' '.join(f'{value:g}' for value in self.up)}",))
        self._wrote(path)

    def _write_meshes(self, path: Path, end: float | None) -> None:
        """Writes the meshes that are kept into one file; with an ``end``, seconds, they are shown in turn."""
        from taichi_vvc.exports.gltf import Document

        document = Document(self.turn)
        nodes = [
            document.add_mesh(f"frame {frame:04d}", m.places, m.normals, m.colours, m.triangles)
            for frame, _, m in self._meshes
        ]
        if end is not None and len(nodes) > 1:
            document.show_in_turn(nodes, [*(time for _, time, _ in self._meshes), end])
        document.write(path)
        self._wrote(path)
        self._meshes.clear()

    def finish(self, end: float) -> None:
        """Writes what is kept, whose last frame is shown until ``end``, seconds.

        Raises:
            DataError: no frame had a surface.
        """
        if not self.counts:
            raise DataError(f"expected an opacity of {self.level:g} somewhere, found no surface; give a lower --level")
        if self._meshes:
            self._write_meshes(self.target.path, end)

    def _wrote(self, path: Path) -> None:
        self.written.append(path)
        self.bytes += path.stat().st_size
