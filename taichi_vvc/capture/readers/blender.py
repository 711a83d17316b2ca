"""The Blender layout of NeRF and D-NeRF: ``transforms_train.json``, and ``_test`` or ``_val`` for held-out views.

Matrices are camera to world with OpenGL axes. The field of view is ``camera_angle_x``, pictures are RGBA, and ``time``
runs from 0 to 1. Cameras have no names: pictures with the same matrix come from the same camera.

Exporters of head captures (ShenhanQian/VHAP, vhap/export_as_nerf_dataset.py) write the same three files with
``camera_id``, ``timestep_index`` and ``fg_mask_path``. There ``_val`` has one held-out camera, and ``_test`` has later
times of all cameras.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from pathlib import Path
from typing import Any

from taichi_vvc.capture.readers.frame_times import same_moments
from taichi_vvc.capture.readers.index import CaptureIndex
from taichi_vvc.capture.readers.naming import CAMERA_KEYS, camera_name, check_moments
from taichi_vvc.capture.readers.parse import load_json, some
from taichi_vvc.capture.readers.transforms import image_times, index_document
from taichi_vvc.errors import DataError

HELD_OUT = ("test", "val")


def read_blender(file: Path, frames: slice | None = None) -> CaptureIndex:
    """Index the capture whose training views ``transforms_train.json`` beside (or at) ``file`` lists.

    Held-out views come from ``transforms_test.json``, else from ``transforms_val.json``. A camera there is used if it
    has a view at every time of the training views and is no training camera. The others are left out with a message.

    Raises:
        DataError: as :func:`taichi_vvc.capture.readers.transforms.read_transforms`.
    """
    folder = file.parent
    train_file = folder / "transforms_train.json"
    train = _load(train_file, "train")
    times = set(image_times(train["frames"], train_file))
    messages: list[str] = []
    held_out: list[dict[str, Any]] = []
    for split in HELD_OUT:
        other = folder / f"transforms_{split}.json"
        if not other.is_file():
            continue
        document = _load(other, "test")
        shared = {key: value for key, value in document.items() if key != "frames" and train.get(key) != value}
        records = [{**shared, **record} for record in document["frames"]]
        held_out = _at_all_times(records, times, other)
        trained = {record["camera"] for record in train["frames"]}
        both = sorted({record["camera"] for record in held_out if record["camera"] in trained})
        if both:
            held_out = [record for record in held_out if record["camera"] not in trained]
            messages.append(f"{other.name}: its views of {some(both)} are left out, as those are trained on")
        elif not held_out and records:
            messages.append(f"{other.name}: {len(records)} held-out images at other times than the training images")
            messages[-1] += " are left out"
        if held_out:
            break
    records = [*train["frames"], *held_out]
    index = index_document({**train, "frames": records}, train_file, frames)
    if len(times) > 1 and len(index.entries[0]) == 1:
        messages.append("one image at each time (a monocular capture): nothing fixes the shape of what moves")
    return replace(index, layout="blender", messages=(*messages, *index.messages))


def _load(file: Path, split: str) -> dict[str, Any]:
    """The JSON document of one file, with ``camera`` and ``split`` added to every image."""
    if not file.is_file():
        raise DataError(f"{file}: expected the training views there, found no such file")
    document = load_json(file)
    records = document.get("frames")
    if not isinstance(records, list) or not all(
        isinstance(record, dict) and isinstance(record.get("file_path"), str) for record in records
    ):
        raise DataError(f'{file}: expected "frames" to be a list of images with "file_path"')
    key = next((key for key in CAMERA_KEYS if all(record.get(key) is not None for record in records)), None)
    if key is not None:
        named = [{**record, "camera": camera_name(record, key, file)} for record in records]
    else:
        named = _named_by_pose(records, split, file)
    # "rotation" of Blender's script is the step of its turntable and no pose.
    return {**document, "frames": [{"split": split, **record} for record in named]}


def _named_by_pose(records: list[dict[str, Any]], split: str, file: Path) -> list[dict[str, Any]]:
    """The records with ``camera`` added: one camera per matrix if matrices repeat over time, else one that moves."""
    times = image_times(records, file)
    poses: dict[str, list[float]] = defaultdict(list)
    for record, time in zip(records, times, strict=True):
        poses[repr(record.get("transform_matrix"))].append(time)
    distinct = len(set(times))
    if distinct == 1 or all(len(set(taken)) == len(taken) == distinct for taken in poses.values()):
        check_moments(records, file)
        if len(poses) < len(records) and distinct == 1:
            numbers = range(len(records))
        else:
            order = {pose: number for number, pose in enumerate(poses)}
            numbers = [order[repr(record.get("transform_matrix"))] for record in records]  # type: ignore[assignment]
        return [{**record, "camera": f"{split}_{n:03d}"} for record, n in zip(records, numbers, strict=True)]
    if distinct == len(records):
        return [{**record, "camera": split} for record in records]
    raise DataError(
        f"{file}: expected the same cameras at every time, or one image per time, found {len(poses)} poses in"
        f' {len(records)} images at {distinct} times; add "camera" to each image'
    )


def _at_all_times(records: list[dict[str, Any]], times: set[float], file: Path) -> list[dict[str, Any]]:
    """The images of the cameras that have an image at each of the ``times``."""
    found: dict[str, set[float]] = defaultdict(set)
    known = sorted(times)
    # The two files may have been written with different numbers of digits.
    together = same_moments([*known, *image_times(records, file)])
    times, taken = set(together[: len(known)]), together[len(known) :]
    for record, time in zip(records, taken, strict=True):
        found[record["camera"]].add(time)
    whole = {camera for camera, own in found.items() if times <= own}
    return [r for r, time in zip(records, taken, strict=True) if r["camera"] in whole and time in times]
