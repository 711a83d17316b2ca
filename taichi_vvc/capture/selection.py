"""Selects the cameras of a capture that are used, and those of them that are held out from fitting."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from fnmatch import fnmatchcase

from taichi_vvc.capture.readers.index import CaptureIndex
from taichi_vvc.errors import ConfigError
from taichi_vvc.types import Camera

_LISTED = 40  # names in an error line
_POSITIONS = re.compile(r"(\d{0,9}):(\d{0,9})(?::(\d{1,9}))?", re.ASCII)


class NoSuchCamera(ConfigError):
    """A name or pattern fits no camera."""


def find_cameras(names: Sequence[str], wanted: str | Sequence[str], what: str) -> list[str]:
    """The camera names that ``wanted`` selects, in the order of ``names``.

    Args:
        names: names of all cameras, in the order of the capture.
        wanted: items, or text with commas between them. An item is a name; else a pattern with ``*``, ``?`` or
            ``[...]``; else positions ``A:B`` or ``A:B:S`` in ``names``, counted from 0, B not included. An item with
            ``-`` in front is excluded; if the first item is, the selection starts with all cameras. A camera's exact
            name has precedence over every other reading. Empty text and the word ``none`` select no camera.
        what: begins the error line.

    Raises:
        NoSuchCamera: an item fits no camera.
    """
    if isinstance(wanted, str):
        wanted = [wanted] if wanted in names else [item.strip() for item in wanted.split(",")]
    items = [item for item in wanted if item]
    if items == ["none"] and "none" not in names:
        return []
    chosen: set[str] = set()
    for number, item in enumerate(items):
        out = item not in names and item.startswith("-")
        if out and number == 0:
            chosen.update(names)
        found = _fitting(names, item[1:] if out else item)
        if not found:
            there = ", ".join(names[:_LISTED]) + (f" and {len(names) - _LISTED} more" if len(names) > _LISTED else "")
            place = f" (position {item} is written {item}:{int(item) + 1})" if re.fullmatch(r"[0-9]{1,6}", item) else ""
            raise NoSuchCamera(f"{what}: no camera {item[out:]}{place}; there are {there}")
        chosen = chosen.difference(found) if out else chosen.union(found)
    return [name for name in names if name in chosen]


def _fitting(names: Sequence[str], item: str) -> list[str]:
    if item in names:
        return [item]
    if any(sign in item for sign in "*?["):
        return [name for name in names if fnmatchcase(name, item)]
    match = _POSITIONS.fullmatch(item)
    if match is None:
        return []
    first, stop, step = (int(part) if part else None for part in match.groups())
    return [] if step == 0 else list(names[slice(first, stop, step)])


def select_cameras(
    index: CaptureIndex, cameras: str | Sequence[str] | None, test_cameras: str | Sequence[str] | None
) -> CaptureIndex:
    """``index`` reduced to the selected cameras, with the split of these set.

    Args:
        index: the capture.
        cameras: the cameras to use, see :func:`find_cameras`; None means all.
        test_cameras: exactly those of them to hold out; None means those that the capture holds out.

    Raises:
        NoSuchCamera: an item fits no camera.
        ConfigError: no training camera is left.
    """
    if cameras is None and test_cameras is None:
        return index
    stated = {entry.camera.name: entry.camera.split for entry in index.entries[0]}
    kept = list(stated) if cameras is None else find_cameras(list(stated), cameras, "cameras")
    if not kept:
        raise ConfigError(f"cameras: expected at least one of {len(stated)}, found none")
    splits = {name: stated[name] for name in kept}
    if test_cameras is not None:
        held_out = set(find_cameras(kept, test_cameras, "test cameras"))
        splits = {name: "test" if name in held_out else "train" for name in kept}
    if "train" not in splits.values():
        why = "the capture holds out all of these" if test_cameras is None else "all of them are held out"
        raise ConfigError(f"cameras: at least one must be left for training, found {len(kept)}: {why}")
    # A still camera is the same object in all frames, by which others recognise it; keep it so.
    changed: dict[int, Camera] = {}

    def camera_of(camera: Camera) -> Camera:
        if camera.split == splits[camera.name]:
            return camera
        return changed.setdefault(id(camera), replace(camera, split=splits[camera.name]))

    rows = tuple(
        tuple(replace(entry, camera=camera_of(entry.camera)) for entry in row if entry.camera.name in splits)
        for row in index.entries
    )
    return replace(index, entries=rows)
