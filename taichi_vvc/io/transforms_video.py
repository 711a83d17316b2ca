"""``transforms.json`` whose entries name videos: one entry per camera, the video's frames are the times."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from taichi_vvc.errors import DataError
from taichi_vvc.io.footage import Clip, as_calibrated, is_video, video_clip
from taichi_vvc.io.images import image_size
from taichi_vvc.io.index import CaptureIndex
from taichi_vvc.io.naming import camera_splits
from taichi_vvc.io.parse import parse_bounds, parse_fps, parse_intrinsics, parse_pose
from taichi_vvc.io.rig import RigCamera, index_rig


def index_videos(document: dict[str, Any], path: Path, frames: slice | None = None) -> CaptureIndex:
    """Index a capture whose entries in ``frames`` each name one camera's video as ``file_path``.

    Masks are videos too, or RGBA videos (VP9 in WebM, ProRes 4444). ``time`` has no meaning here.

    Raises:
        DataError: videos and images are mixed, a camera has two videos, or one cannot be used.
    """
    records: list[dict[str, Any]] = document["frames"]
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
        clip = as_calibrated(clip, _evidence(record, document, image_size(clip.pictures[0])))
        size = image_size(clip.pictures[0])
        rotation, position = parse_pose(record.get("transform_matrix"), where)
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
                size=_stated_size(record, document, size),
                split=splits[name],
            )
        )
    return index_rig(
        path, "transforms", rig, frames, fps=parse_fps(document, path), bounds=parse_bounds(document, path)
    )


def _names(records: list[dict[str, Any]], path: Path) -> list[str]:
    for key in ("camera", "camera_id"):
        if all(record.get(key) is not None for record in records):
            names = [str(record[key]) for record in records]
            break
    else:
        names = [Path(record["file_path"]).stem for record in records]
        if len(set(names)) != len(names):  # every camera in a folder of its own
            names = [Path(record["file_path"]).parent.name for record in records]
    doubled = [name for name in names if names.count(name) > 1]
    if doubled:
        raise DataError(f'{path}: camera {doubled[0]} has two videos; give each entry its own "camera"')
    return names


def _mask_clip(record: dict[str, Any], path: Path, where: str) -> Clip | None:
    mask = record.get("mask_path")
    if not mask:
        return None
    if not isinstance(mask, str) or not is_video(mask):
        raise DataError(f'{where}: expected "mask_path" of a video to be a video, found {mask!r}')
    return video_clip(path.parent / mask.replace("\\", "/"))


def _stated_size(record: dict[str, Any], shared: dict[str, Any], size: tuple[int, int]) -> tuple[int, int]:
    return record.get("w", shared.get("w")) or size[0], record.get("h", shared.get("h")) or size[1]


def _evidence(record: dict[str, Any], shared: dict[str, Any], size: tuple[int, int]) -> tuple[float, float]:
    """What tells whether a calibration is of turned pictures: the size it states, else its principal point."""
    for keys in (("w", "h"), ("cx", "cy")):
        width, height = (record.get(key, shared.get(key)) for key in keys)
        if isinstance(width, (int, float)) and isinstance(height, (int, float)):
            return float(width), float(height)
    return size
