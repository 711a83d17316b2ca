"""Reads from a ``transforms.json`` which images are used and which cameras are held out."""

from __future__ import annotations

import os.path
from pathlib import Path
from typing import Any

from taichi_vvc.capture.readers.naming import CAMERA_KEYS
from taichi_vvc.capture.readers.parse import kind, short, some
from taichi_vvc.errors import DataError

TEST_SPLITS = ("test", "val", "eval", "validation")
FILE_LISTS = (("train_filenames", "train"), ("val_filenames", "test"), ("test_filenames", "test"))


def listed_images(
    document: dict[str, Any], records: list[dict[str, Any]], path: Path
) -> tuple[list[dict[str, Any]], list[str]]:
    """The images that nerfstudio's lists of files select, with ``split`` added, and messages.

    ``train_filenames``, ``val_filenames`` and ``test_filenames`` name images by their ``file_path``. As in nerfstudio
    (nerfstudio_dataparser.py), names are relative to the data folder and an unknown name is an error. An image's own
    ``split`` has precedence over the lists. If all lists are of one split, the other images belong to the other split.
    If there are lists of both, images that no list names are left out.

    Raises:
        DataError: a list contains anything but file names, names an unknown file, or a file is in lists of both
            splits.
    """
    listed: dict[str, tuple[str, str]] = {}  # file to (split, the list's key)
    known = {_file(record["file_path"], path) for record in records}
    for key, split in FILE_LISTS:
        names = document.get(key)
        if names is None:
            continue
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            raise DataError(f'{path}: expected "{key}" to be a list of file paths, found {short(names)}')
        for name in names:
            file = _file(name, path)
            if file not in known:
                raise DataError(f'{path}: "{key}" names {short(name)}, which is the "file_path" of no image')
            before = listed.setdefault(file, (split, key))
            if before[0] != split:
                raise DataError(f"{path}: {name} is in both {before[1]} and {key}; it is trained on or held out")
    given = {split for split, _ in listed.values()}
    if not given:
        return records, []
    rest = {"train": "test", "test": "train"}[given.pop()] if len(given) == 1 else None
    kept: list[dict[str, Any]] = []
    out: list[str] = []
    for record in records:
        file = _file(record["file_path"], path)
        own = record.get("split") or (listed[file][0] if file in listed else rest)
        if own is None:
            out.append(record["file_path"])
        else:
            kept.append({**record, "split": own})
    messages = [f"images that are in none of the lists of file names are left out ({len(out)}): {some(out)}"]
    return kept, messages if out else []


def camera_splits(
    document: dict[str, Any], records: list[dict[str, Any]], names: list[str], path: Path
) -> dict[str, str]:
    """``"train"`` or ``"test"`` for every camera name.

    The ``split`` of an image has precedence, then the lists ``train_cameras`` and ``test_cameras`` (names or ids, or a
    single one of these). Without either, all cameras are training cameras.

    Raises:
        DataError: an unknown split or camera, a camera in both or neither, or no training camera.
    """
    splits: dict[str, str] = {}
    listed = _listed_cameras(document, records, names, path)
    for record, name in zip(records, names, strict=True):
        stated = record.get("split")
        if stated is None:
            split = listed.get(name, "train")
        elif stated == "train":
            split = "train"
        elif stated in TEST_SPLITS:
            split = "test"
        else:
            raise DataError(f'{path}: expected "split" train or test for {record["file_path"]}, found {short(stated)}')
        if splits.setdefault(name, split) != split:
            raise DataError(f"{path}: camera {name} is train in one image and test in another; split by camera")
    if "train" not in splits.values():
        raise DataError(f"{path}: expected at least one training camera, found only test cameras")
    return splits


def _listed_cameras(
    document: dict[str, Any], records: list[dict[str, Any]], names: list[str], path: Path
) -> dict[str, str]:
    """Splits from the top-level lists, empty when there are none."""
    aliases = {name: name for name in names}
    for record, name in zip(records, names, strict=True):
        for key in CAMERA_KEYS:
            if record.get(key) is not None:
                aliases.setdefault(str(record[key]), name)
    splits: dict[str, str] = {}
    for split in ("train", "test"):
        for item in _cameras(document.get(f"{split}_cameras"), f"{split}_cameras", path):
            if item not in aliases:
                raise DataError(f'{path}: "{split}_cameras" names {short(item)}, which no image has as its camera')
            if splits.setdefault(aliases[item], split) != split:
                raise DataError(f"{path}: camera {short(item)} is in both train_cameras and test_cameras")
    if not splits:
        return {}
    given = set(splits.values())
    rest = [name for name in dict.fromkeys(names) if name not in splits]
    if rest and len(given) == 2:
        raise DataError(f"{path}: camera {rest[0]} is in neither train_cameras nor test_cameras; add it to one")
    other = "test" if given == {"train"} else "train"
    return {**splits, **dict.fromkeys(rest, other)}


def _cameras(stated: Any, key: str, path: Path) -> list[str]:
    """The cameras of a list, or of a single name or number."""
    items = stated if isinstance(stated, list) else [] if stated is None else [stated]
    for item in items:
        if isinstance(item, bool) or not isinstance(item, (str, int)):
            raise DataError(f'{path}: expected "{key}" to be a list of camera names or ids, found {kind(item)} in it')
    return [str(item) for item in items]


def _file(name: str, path: Path) -> str:
    """A normal form of a file name: equal for two names of the same file."""
    return os.path.normpath(os.path.join(path.parent, name.replace("\\", "/")))
