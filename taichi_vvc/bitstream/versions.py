"""Differences between the versions of the format, and the compressed sequence header.

Normative text: ``docs/bitstream.md``, section 1.
"""

from __future__ import annotations

import zlib
from dataclasses import replace

from taichi_vvc.bitstream.elements import Structure
from taichi_vvc.bitstream.syntax import FRAME, HEADER, LAYOUT, MAX_HEADER, SequenceHeader, still_problem
from taichi_vvc.errors import CorruptStream


def _without(structure: Structure, *names: str) -> Structure:
    return replace(structure, fields=tuple(field for field in structure.fields if field[0] not in names))


# Version 1 had no motion, version 3 changed its coding, and version 4 added moving cameras.
_LAYOUT_1 = _without(LAYOUT, "motion_block")
_HEADER_3 = replace(_without(HEADER, "rotation_bits", "position_bits"), check=still_problem)
_FRAME_3 = _without(FRAME, "cameras")
HEADERS = {
    1: replace(_HEADER_3, fields=tuple((k, _LAYOUT_1 if k == "layout" else e) for k, e in _HEADER_3.fields)),
    2: _HEADER_3,
    3: _HEADER_3,
    4: HEADER,
}
FRAMES = {1: _without(_FRAME_3, "motion"), 2: _FRAME_3, 3: _FRAME_3, 4: FRAME}
"""How each version of the format writes these chunks; the other chunks are the same in all."""

FIRST_WITH_SHARED_MLPS = 3
"""The first format version in which a group may share the MLPs of the group before."""

FIRST_WITH_MOVING_CAMERAS = 4
"""The first format version in which frames may change cameras."""


def pack_header(header: SequenceHeader) -> bytes:
    """The payload of the header chunk: the header's bytes as a zlib stream."""
    return zlib.compress(HEADER.pack(header), 9)


def picture_bytes(header: SequenceHeader, version: int) -> bytes:
    """The header's bytes in a format version, without the fields that do not influence pictures.

    Left out are ``settings`` and ``library``, which are for people. The hash of pictures covers these bytes.
    """
    return _without(HEADERS[version], "settings", "library").pack(header)


def parse_header(payload: bytes, version: int = max(HEADERS)) -> SequenceHeader:
    """The inverse of :func:`pack_header` for any format version.

    Raises:
        CorruptStream: the payload is damaged or would inflate to more than :data:`MAX_HEADER` bytes.
    """
    inflate = zlib.decompressobj()
    try:
        data = inflate.decompress(payload, MAX_HEADER)
    except zlib.error as error:
        raise CorruptStream(f"sequence header: expected zlib data, found damage ({error})") from error
    if not inflate.eof or inflate.unused_data:
        raise CorruptStream(f"sequence header: expected one zlib stream of at most {MAX_HEADER} bytes, found otherwise")
    return HEADERS[version].parse(data, "sequence header")
