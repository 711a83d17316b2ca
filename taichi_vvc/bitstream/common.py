"""What files must have in common for one file to hold the groups of all of them, and the header of that file."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import fields, replace
from typing import Any

from taichi_vvc.bitstream.numbering import capture_frames, with_numbering
from taichi_vvc.bitstream.reader import StreamReader
from taichi_vvc.bitstream.settings import settings_text
from taichi_vvc.bitstream.syntax import Layout, SequenceHeader
from taichi_vvc.bitstream.versions import FIRST_WITH_MOVING_CAMERAS
from taichi_vvc.errors import ConfigError
from taichi_vvc.words import some

_ALIKE = ("background", "fps", "downscale")


def common_header(sources: Sequence[StreamReader]) -> tuple[SequenceHeader, int]:
    """The header and the format version of a file that can hold the groups of all ``sources``, in their order.

    The files need the same field, background, frame rate, reduction, and cameras of the same names, splits and picture
    sizes in the same order. Poses and lenses of cameras, frame ranges, settings and versions may differ.

    The header is the first file's. Its settings are those on which all files agree, and say which frames of the capture
    these are, see ``numbering.py``. The version is the newest of the sources', and at least 4 where their cameras stand
    in different places.

    Raises:
        ConfigError: the files do not go together; the line names the file and what differs.
    """
    first = sources[0]
    version = max(source.version for source in sources)
    for source in sources[1:]:
        differing = differences(first.header, source.header)
        if differing:
            raise ConfigError(
                f"{source.path}: expected a file like {first.path}, found other {'; '.join(differing)}; "
                "only files of the same field and cameras can be joined"
            )
    header = first.header
    if not all(stand_alike(header, source.header) for source in sources):
        version = max(version, FIRST_WITH_MOVING_CAMERAS)
    # Versions before 4 have no units of poses.
    like = next((source.header for source in sources if source.version >= FIRST_WITH_MOVING_CAMERAS), header)
    header = replace(header, rotation_bits=like.rotation_bits, position_bits=like.position_bits)
    parsed = [json.loads(source.header.settings) for source in sources]
    agreed = {key: value for key, value in parsed[0].items() if all(key in p and p[key] == value for p in parsed)}
    header = replace(header, settings=settings_text(agreed))
    numbers: list[int] | None = []
    for source in sources:
        more = capture_frames(source.header, len(source.frames))
        numbers = None if numbers is None or more is None else numbers + more
    return with_numbering(header, numbers), version


def stand_alike(a: SequenceHeader, b: SequenceHeader) -> bool:
    """Whether all cameras of two headers have the same poses and lenses."""
    return all(
        (one.rotation, one.position, a.intrinsics[one.intrinsics])
        == (other.rotation, other.position, b.intrinsics[other.intrinsics])
        for one, other in zip(a.cameras, b.cameras, strict=True)
    )


def differences(a: SequenceHeader, b: SequenceHeader) -> list[str]:
    """What keeps groups of files with these headers from standing in one file, with the values of ``b`` and ``a``."""
    found = []
    for field in fields(Layout):
        ours, theirs = getattr(a.layout, field.name), getattr(b.layout, field.name)
        if ours != theirs:
            shown = "" if field.name == "levels" else f" {_plain(theirs)} (there {_plain(ours)})"
            found.append(f"{field.name}{shown}")
    found += [
        f"{name} {_plain(getattr(b, name))} (there {_plain(getattr(a, name))})"
        for name in _ALIKE
        if getattr(a, name) != getattr(b, name)
    ]
    return found + _other_cameras(a, b)


def _other_cameras(a: SequenceHeader, b: SequenceHeader) -> list[str]:
    ours, theirs = ([camera.name for camera in header.cameras] for header in (a, b))
    if ours != theirs:
        lacks, has = ([name for name in x if name not in y] for x, y in ((ours, theirs), (theirs, ours)))
        parts = [f"{word} {some(names)}" for word, names in (("without", lacks), ("with", has)) if names]
        return [f"cameras, {', '.join(parts) or 'in another order'}"]
    pairs = list(zip(a.cameras, b.cameras, strict=True))
    held_out = [one.name for one, other in pairs if one.split != other.split]
    sizes = [one.name for one, other in pairs if _size(a, one.intrinsics) != _size(b, other.intrinsics)]
    found = [f"held-out cameras ({some(held_out)})"] if held_out else []
    return found + ([f"picture sizes of cameras ({some(sizes)})"] if sizes else [])


def _size(header: SequenceHeader, lens: int) -> tuple[int, int]:
    return header.intrinsics[lens].width, header.intrinsics[lens].height


def _plain(value: Any) -> str:
    return " ".join(f"{part:g}" for part in value) if isinstance(value, tuple) else str(value)
