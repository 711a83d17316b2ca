"""Which camera an image of a ``transforms.json`` belongs to, and which cameras are held out."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import Any

from taichi_vvc.errors import DataError


def name_cameras(records: list[dict[str, Any]], times: list[float], path: Path) -> list[str]:
    """The camera name of every image: ``camera``, else ``camera_id``, else found from the file paths.

    From paths, the first of these that names one image per camera and time: the folder (``cam00/0003.png``), the
    file (``frame3/cam00.png``), the file without its last number (``cam00_0003.png``), without its first number
    (``0003_cam00.png``), the whole path.

    Raises:
        DataError: some images name their camera and others do not, or paths do not tell cameras apart.
    """
    for key in ("camera", "camera_id"):
        stated = [record.get(key) is not None for record in records]
        if all(stated):
            return [str(record[key]) for record in records]
        if any(stated):
            file = records[stated.index(False)]["file_path"]
            raise DataError(f'{path}: expected "{key}" on every image or on none, found none on {file}')

    files = [_without_suffix(record["file_path"]) for record in records]
    largest = max(Counter(times).values())
    rules: list[Callable[[PurePosixPath], str]] = [
        lambda file: file.parent.name,
        lambda file: file.name,
        lambda file: re.sub(r"[_\-.]*\d+$", "", file.name),
        lambda file: re.sub(r"^\d+[_\-.]*", "", file.name),
        lambda file: file.as_posix(),
    ]
    for rule in rules:
        names = [rule(file) for file in files]
        unique = len(set(zip(names, times, strict=True))) == len(names)
        if unique and len(set(names)) == largest and all(names):
            return names
    raise DataError(f'{path}: cannot tell from the file paths which camera took an image; add "camera" to each image')


def _without_suffix(name: str) -> PurePosixPath:
    path = PurePosixPath(name.replace("\\", "/"))
    return path.with_suffix("") if path.name else path  # "." and "/" have no name


def camera_splits(
    document: dict[str, Any], records: list[dict[str, Any]], names: list[str], path: Path
) -> dict[str, str]:
    """``"train"`` or ``"test"`` for every camera name.

    An image's own ``split`` counts first, then the lists ``train_cameras`` and ``test_cameras`` (names or ids), else
    all cameras are training cameras.

    Raises:
        DataError: an unknown split or camera, a camera in both or neither, or no training camera.
    """
    splits: dict[str, str] = {}
    listed = _listed(document, records, names, path)
    for record, name in zip(records, names, strict=True):
        stated = record.get("split")
        if stated is None:
            split = listed.get(name, "train")
        elif stated in ("train", "test"):
            split = stated
        elif stated in ("val", "eval", "validation"):
            split = "test"
        else:
            raise DataError(f'{path}: expected "split" train or test for {record["file_path"]}, found {stated!r}')
        if splits.setdefault(name, split) != split:
            raise DataError(f"{path}: camera {name} is train in one image and test in another; split by camera")
    if "train" not in splits.values():
        raise DataError(f"{path}: expected at least one training camera, found only test cameras")
    return splits


def _listed(document: dict[str, Any], records: list[dict], names: list[str], path: Path) -> dict[str, str]:
    """Splits from the top-level lists, empty when there are none."""
    aliases = {name: name for name in names}
    for record, name in zip(records, names, strict=True):
        if record.get("camera_id") is not None:
            aliases.setdefault(str(record["camera_id"]), name)
    splits: dict[str, str] = {}
    for split in ("train", "test"):
        for item in document.get(f"{split}_cameras") or ():
            if str(item) not in aliases:
                raise DataError(f'{path}: "{split}_cameras" names {item!r}, which no image has as its camera')
            if splits.setdefault(aliases[str(item)], split) != split:
                raise DataError(f"{path}: camera {item} is in both train_cameras and test_cameras")
    if not splits:
        return {}
    given = set(splits.values())
    rest = [name for name in dict.fromkeys(names) if name not in splits]
    if rest and len(given) == 2:
        raise DataError(f"{path}: camera {rest[0]} is in neither train_cameras nor test_cameras; add it to one")
    other = "test" if given == {"train"} else "train"
    return {**splits, **{name: other for name in rest}}
