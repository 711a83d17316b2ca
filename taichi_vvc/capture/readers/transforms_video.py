"""Videos in a ``transforms.json``: whole ones, one entry per camera, and single frames of them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any

from taichi_vvc.capture.readers.footage import Clip, VideoPicture, as_calibrated, is_video, video_clip
from taichi_vvc.capture.readers.index import CaptureIndex
from taichi_vvc.capture.readers.naming import CAMERA_KEYS, camera_name, mask_name
from taichi_vvc.capture.readers.parse import (
    parse_bounds,
    parse_convention,
    parse_fps,
    parse_intrinsics,
    parse_pose,
    stated_size,
)
from taichi_vvc.capture.readers.rig import RigCamera, index_rig
from taichi_vvc.capture.readers.splits import camera_splits, listed_images
from taichi_vvc.errors import DataError
from taichi_vvc.media.images import image_size


def index_videos(document: dict[str, Any], path: Path, frames: slice | None = None) -> CaptureIndex:
    """Index a capture whose entries in ``frames`` each name one camera's video as ``file_path``.

    Masks are separate videos or the alpha channel of RGBA videos (VP9 in WebM, ProRes 4444). ``time`` is ignored.

    Raises:
        DataError: videos and images are mixed, a camera has two videos, or one cannot be used.
    """
    records, notes = listed_images(document, document["frames"], path)
    convention = parse_convention(document, path)
    for record in records:
        if not is_video(record["file_path"]):
            raise DataError(
                f"{path}: expected videos in all entries or in none, found {record['file_path']} among videos"
            )
    names = _names(records, path)
    splits = camera_splits(document, records, names, path)
    rig = []
    for record, name in zip(records, names, strict=True):
        where = f"{path}: {record['file_path']} (camera {name})"
        clip = video_clip(path.parent / record["file_path"].replace("\\", "/"))
        clip = as_calibrated(clip, _evidence(record, document, image_size(clip.pictures[0]), where))
        size = image_size(clip.pictures[0])
        width, height = stated_size(record, document, where)
        rotation, position = parse_pose(record.get("transform_matrix"), where, convention)
        lens = parse_intrinsics(record, document, size, where)
        rig.append(
            RigCamera(
                name,
                rotation,
                position,
                fx=lens["fx"],
                fy=lens["fy"],
                cx=lens["cx"],
                cy=lens["cy"],
                clip=clip,
                distortion=(lens["k1"], lens["k2"], lens["p1"], lens["p2"]),
                masks=_mask_clip(record, path, where),
                size=(width or size[0], height or size[1]),
                split=splits[name],
            )
        )
    index = index_rig(
        path,
        "transforms",
        rig,
        frames,
        fps=parse_fps(document, path),
        bounds=parse_bounds(document, path),
        messages=notes,
    )
    return replace(index, convention=convention)


def frame_of_video(
    name: str, path: Path, stated: tuple[float | None, float | None], clips: dict[str, Clip]
) -> VideoPicture | None:
    """The picture that ``cam00.mp4#12`` names, frame 12 of that video counted from 0; None for any other name.

    Args:
        name: relative to the JSON file ``path``.
        stated: the size that the file states for the picture, by which a video with a rotation flag is turned or not.
        clips: the videos that were opened so far, by their names; the new one is added.

    Raises:
        DataError: the video cannot be used, or has no such frame.
    """
    file, mark, number = name.replace("\\", "/").rpartition("#")
    if not mark or not is_video(file) or not (number.isascii() and number.isdecimal()) or len(number) > 9:
        return None
    if file not in clips:
        clip = video_clip(path.parent / file)
        width, height = stated
        clips[file] = as_calibrated(clip, (width, height)) if width and height else clip
    count = len(clips[file].pictures)
    if int(number) >= count:
        raise DataError(f"{path}: expected frames 0 to {count - 1} of {file}, found {name}")
    picture: VideoPicture = clips[file].pictures[int(number)]  # type: ignore[assignment]
    return picture


def _names(records: list[dict[str, Any]], path: Path) -> list[str]:
    for key in CAMERA_KEYS:
        if all(record.get(key) is not None for record in records):
            names = [camera_name(record, key, path) for record in records]
            break
    else:
        files = [PurePosixPath(record["file_path"].replace("\\", "/")) for record in records]
        names = [file.stem for file in files]
        if len(set(names)) != len(names):  # each camera has its own folder, and the files have the same name
            names = [file.parent.name for file in files]
    doubled = [name for name in names if names.count(name) > 1]
    if doubled:
        raise DataError(f'{path}: camera {doubled[0]} has two videos; give each entry its own "camera"')
    return names


def _mask_clip(record: dict[str, Any], path: Path, where: str) -> Clip | None:
    mask = mask_name(record, where)
    if mask is None:
        return None
    if not is_video(mask):
        raise DataError(f'{where}: expected "mask_path" of a video to be a video, found {mask!r}')
    return video_clip(path.parent / mask.replace("\\", "/"))


def _evidence(record: dict[str, Any], shared: dict[str, Any], size: tuple[int, int], where: str) -> tuple[float, float]:
    """The size by which :func:`as_calibrated` decides about a turn: the stated size, else the principal point."""
    width, height = stated_size(record, shared, where)
    if width and height:
        return width, height
    cx, cy = (record.get(key, shared.get(key)) for key in ("cx", "cy"))
    return (cx, cy) if isinstance(cx, (int, float)) and isinstance(cy, (int, float)) else size
