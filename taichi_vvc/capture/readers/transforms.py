"""Reader for captures in the ``transforms.json`` convention of nerfstudio and instant-ngp (see docs/capture.md).

``transform_matrix`` is camera to world with OpenGL axes (+x right, +y up, looking along -z); negating its second and
third columns gives the OpenCV axes of :class:`taichi_vvc.types.Camera`. ``camera_convention`` may state OpenCV axes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from taichi_vvc.capture.readers.footage import Clip, is_video
from taichi_vvc.capture.readers.frame_times import same_moments
from taichi_vvc.capture.readers.index import CaptureIndex, ImageEntry, select_frames
from taichi_vvc.capture.readers.naming import TIME_KEYS, check_moments, mask_name, name_cameras
from taichi_vvc.capture.readers.parse import (
    LENS_KEYS,
    finite_number,
    is_there,
    kind,
    load_json,
    parse_bounds,
    parse_convention,
    parse_fps,
    parse_intrinsics,
    parse_pose,
    short,
    stated_size,
)
from taichi_vvc.capture.readers.splits import camera_splits, listed_images
from taichi_vvc.capture.readers.transforms_video import frame_of_video, index_videos
from taichi_vvc.errors import DataError
from taichi_vvc.media.images import Source, image_size
from taichi_vvc.types import Camera
from taichi_vvc.words import some

LONGEST_NAME = 255  # characters of a file's or folder's name: no file system allows longer ones


def read_transforms(path: Path, frames: slice | None = None, split_files: Sequence[str] = ()) -> CaptureIndex:
    """Index the capture that the JSON file ``path`` describes; of the selected images only the headers are read.

    Args:
        path: the JSON file.
        frames: the selection of frames.
        split_files: names of the files of the Blender layout beside it, that of the training views first.

    Raises:
        DataError: the file or an image that it names cannot be used; the line says what was expected and found.
    """
    index = index_document(load_json(path), path, frames)
    train = path.parent / "transforms_train.json"
    if train.name in split_files[:-1] and all(entry.camera.split == "train" for entry in index.entries[0]):
        note = f"all cameras are trained on; to hold out those of {split_files[1]}, name {train} instead"
        return replace(index, messages=(*index.messages, note))
    return index


def index_document(document: dict[str, Any], path: Path, frames: slice | None = None) -> CaptureIndex:
    """As :func:`read_transforms`, for a document that was already read from ``path`` or was built in its place.

    Raises:
        DataError: as :func:`read_transforms`.
    """
    records = document.get("frames")
    if not isinstance(records, list) or not records:
        raise DataError(f'{path}: expected "frames" to list at least one image, found {kind(records)}')
    for number, record in enumerate(records):
        if not isinstance(record, dict) or not isinstance(record.get("file_path"), str):
            raise DataError(f'{path}: frames[{number}] has no "file_path"; every image needs one')
        if max(map(len, record["file_path"].replace("\\", "/").split("/"))) > LONGEST_NAME:
            raise DataError(
                f'{path}: frames[{number}]: expected a path as "file_path", found {short(record["file_path"])}: names'
                f" of files and folders have up to {LONGEST_NAME} characters"
            )
    if any(is_video(record["file_path"]) for record in records):
        return index_videos(document, path, frames)
    records, notes = listed_images(document, records, path)
    check_moments(records, path)
    times = image_times(records, path)
    names = name_cameras(records, times, path)
    splits = camera_splits(document, records, names, path)

    distinct = sorted(set(times))
    by_time: dict[float, dict[str, dict[str, Any]]] = {time: {} for time in distinct}
    for record, time, name in zip(records, times, names, strict=True):
        if name in by_time[time]:
            first = by_time[time][name]["file_path"]
            raise DataError(
                f"{path}: camera {name} has two images at time {time:g} ({first} and {record['file_path']});"
                ' give each image its own "camera" or "time"'
            )
        by_time[time][name] = record
    order = list(dict.fromkeys(names))
    for time in distinct:
        if len(by_time[time]) != len(order):
            missing = [name for name in order if name not in by_time[time]]
            raise DataError(
                f"{path}: expected {len(order)} images at every time, found {len(by_time[time])} at time {time:g}"
                f" (no image of camera {some(missing)}); add them or remove that time or camera"
            )

    indices, messages = select_frames(len(distinct), frames, path)
    chosen = [distinct[i] for i in indices]
    entries = _entries(document, path, [by_time[time] for time in chosen], order, splits)
    return CaptureIndex(
        source=path,
        indices=indices,
        times=tuple(chosen),
        entries=entries,
        bounds=parse_bounds(document, path),
        fps=parse_fps(document, path),
        messages=(*notes, *messages),
        convention=parse_convention(document, path),
    )


def _entries(
    document: dict[str, Any],
    path: Path,
    chosen: list[dict[str, dict[str, Any]]],
    order: list[str],
    splits: dict[str, str],
) -> tuple[tuple[ImageEntry, ...], ...]:
    """The selected images with their cameras. Checks that the files exist and have the stated size."""
    clips: dict[str, Clip] = {}
    files = [[_place(path, pictures[name], document, clips) for name in order] for pictures in chosen]
    missing = [file for row in files for file in row if isinstance(file, Path) and not is_there(file)]
    if missing:
        total = len(chosen) * len(order)
        raise DataError(f"{path}: {len(missing)} of {total} images are missing, the first is {missing[0]}")
    convention = parse_convention(document, path)
    cache: dict[str, tuple[Any, Camera]] = {}  # most cameras stand still: parse a pose again only where it changed
    sizes: dict[str, tuple[int, int]] = {}
    rows = []
    for pictures, row_files in zip(chosen, files, strict=True):
        row = []
        for name, image in zip(order, row_files, strict=True):
            record = pictures[name]
            where = f"{path}: {record['file_path']} (camera {name})"
            size = image_size(image)
            _check_size(record, document, size, sizes.setdefault(name, size), where)
            mask = mask_name(record, where)
            mask_file = locate(path, mask) if mask else None
            if mask_file is not None and not is_there(mask_file):
                raise DataError(f"{where}: its mask {mask_file} is missing")
            key = {k: record.get(k) for k in ("transform_matrix", *LENS_KEYS)}
            if name not in cache or cache[name][0] != key:
                rotation, position = parse_pose(record.get("transform_matrix"), where, convention)
                lens = parse_intrinsics(record, document, size, where)
                cache[name] = key, Camera(name, *size, rotation=rotation, position=position, split=splits[name], **lens)
            row.append(ImageEntry(cache[name][1], image, mask_file))
        rows.append(tuple(row))
    return tuple(rows)


def _place(path: Path, record: dict[str, Any], document: dict[str, Any], clips: dict[str, Clip]) -> Source:
    """Where an image is: a file, or a frame of a video; ``clips`` as in :func:`frame_of_video`."""
    name = record["file_path"]
    stated = stated_size(record, document, f"{path}: {name}") if "#" in name else (None, None)
    return frame_of_video(name, path, stated, clips) or locate(path, name)


def _check_size(
    record: dict[str, Any], shared: dict[str, Any], size: tuple[int, int], first: tuple[int, int], where: str
) -> None:
    stated = stated_size(record, shared, where)
    for key, value, found in zip("wh", stated, size, strict=True):
        if value is not None and value != found:
            said = "x".join("?" if side is None else str(side) for side in stated)
            raise DataError(
                f'{where}: expected {said} pixels as "w" and "h" say, found {size[0]}x{size[1]}'
                f'; scale fl_x fl_y cx cy w h together with the images ("{key}" differs)'
            )
    if size != first:
        raise DataError(
            f"{where}: found {size[0]}x{size[1]} pixels, but {first[0]}x{first[1]} in the camera's first image;"
            " a camera keeps its size over time"
        )


def locate(path: Path, name: str) -> Path:
    """The file of a name relative to the JSON file ``path``. Blender leaves out the suffix ``.png``, which is added."""
    file = path.parent / name
    if not is_there(file):
        plain = name.replace("\\", "/")
        for other in (plain, f"{name}.png", f"{plain}.png"):
            if is_there(path.parent / other):
                return path.parent / other
    return file


def image_times(records: list[dict[str, Any]], path: Path) -> list[float]:
    """The time of each image, from ``time`` or ``timestep_index``; all 0 if no image states one.

    Times that differ by rounding only are made equal.

    Raises:
        DataError: only some images state a time, or a time is no number.
    """
    time = next((key for key in TIME_KEYS if any(key in record for record in records)), "time")
    stated = [time in record for record in records]
    if not any(stated):
        return [0.0] * len(records)
    if not all(stated):
        number = stated.index(False)
        raise DataError(
            f'{path}: expected "{time}" on every image or on none, found none on {records[number]["file_path"]}'
            f" ({stated.count(False)} of {len(records)} lack it)"
        )
    times = [
        finite_number(record[time], f'{path}: expected a finite number for "{time}" of {record["file_path"]}')
        for record in records
    ]
    return same_moments(times)
