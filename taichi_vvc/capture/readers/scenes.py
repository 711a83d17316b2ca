"""Finds the pictures and masks of scenes that have a separate calibration (COLMAP, LLFF)."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path, PurePosixPath

from taichi_vvc.capture.readers.footage import Clip, find_clips, image_clip, images_in, is_video, mask_stem, natural
from taichi_vvc.capture.readers.parse import is_there, some
from taichi_vvc.errors import DataError

VIDEO_FOLDERS = (".", "videos", "video", "images")
IMAGE_FOLDERS = ("images", "input", "imgs", "image")
MASK_FOLDERS = ("masks", "mask")
FRAME_FOLDER = re.compile(r"(?:frame_?|colmap_|)\d+", re.IGNORECASE)


def scene_clips(scene: Path) -> dict[str, Clip]:
    """The clip of every camera of a scene, by name, in natural order.

    The first arrangement that is found counts: videos (``cam00.mp4`` in the scene, ``videos/`` or ``images/``), folders
    per camera (``images/cam00/0000.png``), folders per frame (``frame000000/images/cam00.png``,
    ``colmap_0/images/cam00.png``), single pictures (``images/cam00.png``, one frame).

    Raises:
        DataError: there are no pictures, or the folder of a frame lacks a camera.
    """
    for name in _video_folders(scene):
        return find_clips(scene / name)
    for name in IMAGE_FOLDERS:
        clips = find_clips(scene / name)
        if clips:
            return clips
    clips = _frame_folders(scene, IMAGE_FOLDERS)
    if clips:
        return clips
    for name in IMAGE_FOLDERS:
        files = sorted(images_in(scene / name), key=lambda file: natural(file.name))
        if files:
            return {file.stem: Clip((file,), (file.stem,)) for file in files}
    raise DataError(
        f"{scene}: expected one video per camera, images/<camera>/<frame>.png, frame<number>/images/<camera>.png or"
        " images/<camera>.png, found none of them"
    )


def has_videos(scene: Path) -> bool:
    """Whether the scene has videos."""
    return bool(_video_folders(scene))


def _video_folders(scene: Path) -> list[str]:
    folders = [name for name in VIDEO_FOLDERS if (scene / name).is_dir()]
    return [name for name in folders if any(is_video(item) for item in (scene / name).iterdir())]


def scene_masks(scene: Path) -> dict[str, Clip]:
    """The masks of a scene's cameras, laid out like its pictures in ``masks/``; empty if there are none.

    A mask has the name of its picture, or that name with ``.png`` appended (``cam00.png.png``) as in COLMAP.
    """
    for name in MASK_FOLDERS:
        clips = find_clips(scene / name)
        if clips:
            return clips
        files = images_in(scene / name)
        if files:
            return {mask_stem(file): Clip((file,), (mask_stem(file),)) for file in files}
    return _frame_folders(scene, MASK_FOLDERS)


def picture_mask(scene: Path, below: PurePosixPath) -> Path | None:
    """The mask of a picture; None without one.

    It is the file at the same relative path in a folder of masks, with ``.png`` appended, with the suffix ``.png``, or
    of the same name.

    ``below``: the picture's path relative to the folder of the pictures.
    """
    for folder in MASK_FOLDERS:
        for path in (f"{below}.png", below.with_suffix(".png"), below):
            if is_there(scene / folder / path):
                return scene / folder / path
    return None


def unused_masks(masks: dict[str, Clip], cameras: Iterable[str]) -> list[str]:
    """A message if there are masks whose names are those of no camera."""
    cameras = set(cameras)
    unused = [name for name in masks if name not in cameras]
    return [f"masks of no camera's name, not used: {some(unused, 6)}"] if unused else []


def _frame_folders(scene: Path, names: tuple[str, ...]) -> dict[str, Clip]:
    folders = [item for item in scene.iterdir() if item.is_dir() and FRAME_FOLDER.fullmatch(item.name)]
    taken: dict[str, list[Path]] = defaultdict(list)
    count = 0
    for folder in sorted(folders, key=lambda item: natural(item.name)):
        files = next((files for name in names if (files := images_in(folder / name))), [])
        count += bool(files)
        for file in files:
            taken[mask_stem(file) if names == MASK_FOLDERS else file.stem].append(file)
    for camera, files in taken.items():
        if len(files) != count:
            raise DataError(
                f"{scene}: expected {count} pictures of every camera, one per frame folder, found {len(files)} of"
                f" camera {camera}; add them or remove those frames"
            )
    order = sorted(taken, key=natural)
    clips = {camera: image_clip(taken[camera]) for camera in order}
    # Without stems: frames are numbered by their folders, and the files are named after cameras.
    return {camera: Clip(clip.pictures) for camera, clip in clips.items() if clip is not None}
