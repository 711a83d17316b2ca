"""The views of ``tvvc export --as views``: pictures with depth of the capture's cameras, and the cameras."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from taichi_vvc.cli.decode import select_cameras
from taichi_vvc.cli.output import file_names
from taichi_vvc.cli.shots import depth_range

if TYPE_CHECKING:
    from taichi_vvc.decode import Stream
    from taichi_vvc.field.workspace import Workspace

CAMERAS, SCENE = "transforms.json", "cameras.glb"


def write_views(
    stream: Stream,
    ws: Workspace,
    folder: Path,
    frames: range,
    cameras: str,
    pictures: Literal["png", "exr"],
    progress: Callable[[float, str], None],
) -> list[Path]:
    """Writes the views of frames, each file when it is whole, and the cameras at last.

    Args:
        stream: the opened file.
        ws: scratch arrays.
        folder: gets ``<camera>/<frame>.png`` and ``<camera>/<frame>.depth.png``, or ``<camera>/<frame>.exr``;
            ``transforms.json`` and ``cameras.glb``.
        frames: of the file.
        cameras: which, as :func:`select_cameras` takes them.
        pictures: their format.
        progress: is told the part that is done, and a text.

    Returns:
        What was written.

    Raises:
        click.UsageError: there is no such camera.
        ConfigError: a package is missing.
        DataError: a file cannot be written.
    """
    from taichi_vvc.capture.camera_paths import up_direction
    from taichi_vvc.capture.convert import record
    from taichi_vvc.exports.gltf import Document, y_up
    from taichi_vvc.exports.views import axial_depth, straight, write_exr, write_png16
    from taichi_vvc.field.render import render
    from taichi_vvc.media.video import depth_unit, write_depth_png, write_text

    names = [camera.name for camera in select_cameras(stream.cameras, cameras)]
    folders = file_names(names)
    bounds = stream.header.layout.bounds
    _, far = depth_range(stream.cameras, bounds)
    unit = depth_unit(far)
    written: list[Path] = []
    rows: list[dict[str, Any]] = []
    for done, number in enumerate(frames):
        field = stream[number]
        here = {camera.name: camera for camera in stream.cameras_at(number)}
        for place, name in enumerate(names):
            camera = here[name]
            image = render(field, camera, (0.0, 0.0, 0.0), workspace=ws)
            colour, depth = straight(image), axial_depth(image, camera)
            base = f"{folders[name]}/{number:04d}"
            row: dict[str, Any] = {"file_path": f"{base}.{pictures}"}
            if pictures == "exr":
                write_exr(folder / row["file_path"], colour, depth)
            else:
                write_png16(folder / row["file_path"], colour)
                row["depth_file_path"] = f"{base}.depth.png"
                write_depth_png(folder / row["depth_file_path"], depth, unit)
            written += [folder / path for key, path in row.items() if key.endswith("file_path")]
            rows.append(row | record(camera, float(number / stream.fps)))
            part = (done + (place + 1) / len(names)) / len(frames)
            progress(part, f"frame {done + 1}/{len(frames)}  camera {name}")
    document: dict[str, Any] = {"camera_model": "OPENCV", "fps": str(stream.fps)}
    document["aabb"] = [list(bounds.lower), list(bounds.upper)]
    if pictures == "png":
        document["depth_unit_scale_factor"] = unit
    write_text(folder / CAMERAS, json.dumps(document | {"frames": rows}, indent=1))
    scene = Document(y_up(up_direction(stream.cameras)))
    at_first = {camera.name: camera for camera in stream.cameras_at(frames[0])}
    for name in names:
        scene.add_camera(at_first[name], 10.0 * far)
    scene.write(folder / SCENE)
    return [*written, folder / CAMERAS, folder / SCENE]
