"""Writes an opened capture in the ``transforms.json`` layout; the work of ``tvvc convert``."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from taichi_vvc.capture.sequence import MultiViewSequence
from taichi_vvc.errors import DataError
from taichi_vvc.media.video import one_line, write_png
from taichi_vvc.types import Camera


def convert(
    sequence: MultiViewSequence,
    folder: Path,
    folders: Mapping[str, str],
    *,
    overwrite: bool = False,
    progress: Callable[[int], None] | None = None,
) -> None:
    """Write ``transforms.json`` and ``images/<camera>/<frame>.png`` (RGBA) into ``folder``.

    Everything is written into a temporary folder beside it, which is renamed at the end, so that a folder of the final
    name is always complete. Reading it back gives the same cameras, times, bounds, split and pixels.

    Args:
        folders: the folder name of each camera.
        overwrite: replace ``folder`` if it holds a capture of this layout.
        progress: called with the number of frames done.

    Raises:
        DataError: a picture cannot be read, or the folder cannot be written or replaced.
    """
    check_target(folder, overwrite)
    temporary = folder.with_name(f".{folder.name}.part")
    with one_line(folder):
        if temporary.exists():
            shutil.rmtree(temporary)
        temporary.mkdir(parents=True)
    try:
        records = []
        for i in range(len(sequence)):
            frame = sequence.frame(i)
            for view in frame.views:
                name = f"images/{folders[view.camera.name]}/{frame.index:04d}.png"
                write_png(temporary / name, view.image)
                records.append({"file_path": name, **record(view.camera, frame.time)})
            if progress is not None:
                progress(i + 1)
        document: dict[str, Any] = {"camera_model": "OPENCV", "fps": str(sequence.fps)}
        document |= {"aabb": [list(sequence.bounds.lower), list(sequence.bounds.upper)], "frames": records}
        with one_line(folder):
            (temporary / "transforms.json").write_text(json.dumps(document, indent=1), encoding="utf-8")
        _put_in_place(temporary, folder)
    finally:
        with suppress(OSError):
            shutil.rmtree(temporary, ignore_errors=True)


def check_target(folder: Path, overwrite: bool) -> None:
    """Checks that ``folder`` does not exist, or is a capture of this layout and ``overwrite`` is set.

    Raises:
        DataError: it exists and is something else, or ``overwrite`` is not set.
    """
    if not folder.exists():
        return
    if not folder.is_dir():
        raise DataError(f"{folder}: expected a folder to write, found a file")
    if not any(folder.iterdir()):
        return
    if not (folder / "transforms.json").is_file():
        raise DataError(
            f"{folder}: expected an empty folder or a capture to replace, found other files; choose another"
        )
    if not overwrite:
        raise DataError(f"{folder}: a capture is there already; add -y to replace it")


def record(camera: Camera, time: float) -> dict[str, Any]:
    """What a ``transforms.json`` says of one picture besides its files, by the keys of docs/capture.md."""
    pose = np.eye(4)
    pose[:3, :3] = camera.rotation * np.array([1.0, -1.0, -1.0])
    pose[:3, 3] = camera.position
    return {
        "camera": camera.name,
        "time": time,
        "split": camera.split,
        "w": camera.width,
        "h": camera.height,
        "fl_x": camera.fx,
        "fl_y": camera.fy,
        "cx": camera.cx,
        "cy": camera.cy,
        "k1": camera.k1,
        "k2": camera.k2,
        "p1": camera.p1,
        "p2": camera.p2,
        "transform_matrix": pose.tolist(),
    }


def _put_in_place(temporary: Path, folder: Path) -> None:
    old = folder.with_name(f".{folder.name}.old")
    with one_line(folder):
        if folder.exists():
            if old.exists():
                shutil.rmtree(old)
            folder.rename(old)
        temporary.rename(folder)
        if old.exists():
            shutil.rmtree(old)
