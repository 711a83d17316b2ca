"""Differences between the versions of the format, and the compressed sequence header.

Normative text: ``docs/bitstream.md``, section 1.
"""

from __future__ import annotations

import zlib
from dataclasses import replace

from taichi_vvc.bitstream import rigs
from taichi_vvc.bitstream.elements import Blob, Choice, Element, Several, Structure
from taichi_vvc.bitstream.sound import SOUND
from taichi_vvc.bitstream.syntax import (
    ENTRY_KINDS,
    FRAME,
    GROUP,
    HEADER,
    INDEX,
    INDEX_ENTRY,
    LAYOUT,
    MAX_COLOURS,
    MAX_FRAMES,
    MAX_HEADER,
    SequenceHeader,
    still_problem,
)
from taichi_vvc.errors import CorruptStream


def _without(structure: Structure, *names: str) -> Structure:
    return replace(structure, fields=tuple(field for field in structure.fields if field[0] not in names))


def _with(structure: Structure, name: str, element: Element) -> Structure:
    return replace(structure, fields=tuple((key, element if key == name else e) for key, e in structure.fields))


# Version 1 had no motion, version 3 changed its coding, version 4 added moving cameras, version 5 space outside the
# bounds, a near distance and colours of cameras, version 6 what players of files on a server need of the index,
# version 7 sound, and chunks that a decoder may pass over. Version 8 has another header, see ``rigs.py``.
_LAYOUT_4 = _without(LAYOUT, "shell", "near")
_LAYOUT_1 = _without(_LAYOUT_4, "motion_block")
_HEADER_4 = _with(HEADER, "layout", _LAYOUT_4)
_HEADER_3 = replace(_without(_HEADER_4, "rotation_bits", "position_bits"), check=still_problem)
_FRAME_3 = _without(FRAME, "cameras")
_GROUP_4 = _without(GROUP, "colours")
_GROUP_5 = _with(GROUP, "colours", Blob(MAX_COLOURS))
_ENTRY_5 = _with(INDEX_ENTRY, "kind", Choice(ENTRY_KINDS[:3]))
_INDEX_5 = _with(_without(INDEX, "fps"), "entries", Several(_ENTRY_5, 2 * MAX_FRAMES))
_ENTRY_6 = _with(INDEX_ENTRY, "kind", Choice(ENTRY_KINDS[:6]))
_INDEX_6 = _with(INDEX, "entries", Several(_ENTRY_6, 2 * MAX_FRAMES))
HEADERS = {1: _with(_HEADER_3, "layout", _LAYOUT_1), 2: _HEADER_3, 3: _HEADER_3, 4: _HEADER_4} | dict.fromkeys(
    (5, 6, 7), HEADER
)
GROUPS = {1: _GROUP_4, 2: _GROUP_4, 3: _GROUP_4, 4: _GROUP_4, 5: _GROUP_5} | dict.fromkeys((6, 7, 8), GROUP)
FRAMES = {1: _without(_FRAME_3, "motion"), 2: _FRAME_3, 3: _FRAME_3} | dict.fromkeys((4, 5, 6, 7, 8), FRAME)
INDEXES = dict.fromkeys((1, 2, 3, 4, 5), _INDEX_5) | {6: _INDEX_6, 7: INDEX, 8: INDEX}
SOUNDS = {7: SOUND, 8: SOUND}
"""How each version of the format writes these chunks; the header of version 8 is in ``rigs.py``."""

FIRST_WITH_SHARED_MLPS = 3
"""The first format version in which a group may share the MLPs of the group before."""

FIRST_WITH_MOVING_CAMERAS = 4
"""The first format version in which frames may change cameras."""

FIRST_WITH_SHELL = 5
"""The first format version with space outside the bounds, a near distance and colours of cameras."""

FIRST_WITH_FULL_INDEX = 6
"""The first format version whose index tells which groups have MLPs and colour maps, and the frames per second."""

FIRST_WITH_SOUND = 7
"""The first format version with sound, and with chunks of other types that a decoder passes over."""

FIRST_WITH_RIGS = FIRST_WITH_MOVED_MASKS = 8
"""The first format version whose header has its cameras as integers, and whose masks are predicted with motion."""

WRITTEN = 8
"""The format version of new files."""

OLDEST_RESUMED = 8
"""The oldest format version of files that an encode goes on with; they stay of their version."""


def pack_header(header: SequenceHeader, version: int = WRITTEN) -> bytes:
    """The payload of the header chunk in a format version: the header's bytes as a zlib stream, before version 8."""
    if version >= FIRST_WITH_RIGS:
        return rigs.pack(header)
    return zlib.compress(HEADERS[version].pack(header), 9)


def picture_bytes(header: SequenceHeader, version: int) -> bytes:
    """The header's bytes in a format version, without the fields that do not influence pictures.

    Left out are ``settings`` and ``library``, which are for people. The hash of pictures covers these bytes.
    """
    if version >= FIRST_WITH_RIGS:
        return rigs.picture_bytes(header)
    return _without(HEADERS[version], "settings", "library").pack(header)


def parse_header(payload: bytes, version: int = WRITTEN) -> SequenceHeader:
    """The inverse of :func:`pack_header` for any format version.

    Raises:
        CorruptStream: the payload is damaged or would inflate to more than :data:`MAX_HEADER` bytes.
    """
    if version >= FIRST_WITH_RIGS:
        return rigs.parse(payload)
    inflate = zlib.decompressobj()
    try:
        data = inflate.decompress(payload, MAX_HEADER)
    except zlib.error as error:
        raise CorruptStream(f"sequence header: expected zlib data, found damage ({error})") from error
    if not inflate.eof or inflate.unused_data:
        raise CorruptStream(f"sequence header: expected one zlib stream of at most {MAX_HEADER} bytes, found otherwise")
    return HEADERS[version].parse(data, "sequence header")
