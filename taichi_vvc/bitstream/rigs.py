"""The sequence header since version 8: its fields compressed with a preset dictionary, and its cameras as integers.

Cameras are the integers of section 4.1 of ``docs/bitstream.md``, in columns: of each number the least one, and then by
how much each camera's is larger, in as many bits as that takes. A quaternion of length one has three numbers of its
own; the largest one follows from them but for a small correction. Normative text: section 2.1.
"""

from __future__ import annotations

import math
import re
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import pairwise

from taichi_vvc.bitstream.bits import BitReader, BitWriter
from taichi_vvc.bitstream.dictionary import DICTIONARY
from taichi_vvc.bitstream.elements import Blob, Count, Rest, Several, Structure, Text
from taichi_vvc.bitstream.poses import header_states, units
from taichi_vvc.bitstream.syntax import (
    CAMERA,
    HEADER,
    MAX_CAMERA_NUMBER,
    MAX_CAMERAS,
    MAX_HEADER,
    CameraRecord,
    Intrinsics,
    Layout,
    SequenceHeader,
)
from taichi_vvc.errors import ConfigError, CorruptStream

WIDTH = 6
"""Bits that state the width of a column's numbers."""

MAX_WIDTH = 53
_SIZES = 2  # of a lens, before its eight numbers
_PLACE = "sequence header"


@dataclass(frozen=True)
class PlainHeader:
    """The fields of a header but for its cameras: ``names`` of these, and the number of ``lenses``."""

    layout: Layout
    background: tuple[int, int, int]
    fps: Fraction
    first_frame: int
    downscale: int
    rotation_bits: int
    position_bits: int
    lenses: int
    names: tuple[str, ...]
    settings: str
    library: str


@dataclass(frozen=True)
class PackedHeader:
    """The payload of the chunk: the ``fields`` as a raw deflate stream, and the ``rig``, a string of bits."""

    fields: bytes
    rig: bytes


_ELEMENTS = dict(HEADER.fields)
FIELDS = Structure(
    PlainHeader,
    (
        *((name, _ELEMENTS[name]) for name in ("layout", "background", "fps", "first_frame", "downscale")),
        *((name, _ELEMENTS[name]) for name in ("rotation_bits", "position_bits")),
        ("lenses", Count(MAX_CAMERAS)),
        ("names", Several(Text(255), MAX_CAMERAS)),
        *((name, _ELEMENTS[name]) for name in ("settings", "library")),
    ),
)
PACKED = Structure(PackedHeader, (("fields", Blob()), ("rig", Rest())))


def pack(header: SequenceHeader) -> bytes:
    """The payload of the header chunk. Raises :class:`ConfigError` where a field cannot be stored."""
    HEADER.pack(header)
    deflate = zlib.compressobj(9, zlib.DEFLATED, -15, 9, zlib.Z_DEFAULT_STRATEGY, DICTIONARY)
    data = deflate.compress(FIELDS.pack(_plain(header))) + deflate.flush()
    return PACKED.pack(PackedHeader(data, _rig(header)))


def parse(payload: bytes) -> SequenceHeader:
    """The inverse of :func:`pack`, but for what units of cameras round.

    Raises:
        CorruptStream: the payload is damaged or would inflate to more than :data:`MAX_HEADER` bytes.
    """
    packed = PACKED.parse(payload, _PLACE)
    inflate = zlib.decompressobj(-15, zdict=DICTIONARY)
    try:
        data = inflate.decompress(packed.fields, MAX_HEADER)
    except zlib.error as error:
        raise CorruptStream(f"{_PLACE}: expected deflated data, found damage ({error})") from error
    if not inflate.eof or inflate.unused_data:
        raise CorruptStream(f"{_PLACE}: expected one deflate stream of at most {MAX_HEADER} bytes, found otherwise")
    plain: PlainHeader = FIELDS.parse(data, _PLACE)
    bits = BitReader(packed.rig, _PLACE)
    header = SequenceHeader(
        **{name: getattr(plain, name) for name in _ELEMENTS if hasattr(plain, name)},
        intrinsics=(),
        cameras=(),
    )
    names = _whole_names(plain.names)
    splits = [bits.take(1) for _ in names]
    chosen = _column(bits, len(names))
    of_pose, of_lens = units(header)[:7], units(header)[7:]
    header = replace(
        header,
        intrinsics=_lenses(bits, plain.lenses, of_lens),
        cameras=tuple(
            CameraRecord(name, ("train", "test")[split], lens, rotation, position)
            for name, split, lens, (rotation, position) in zip(
                names, splits, chosen, _poses(bits, len(names), plain.rotation_bits, of_pose), strict=True
            )
        ),
    )
    bits.finish()
    problem = next(filter(None, map(CAMERA.check, header.cameras)), "") or HEADER.check(header)
    if problem:
        raise CorruptStream(f"{_PLACE}: {problem}; the file is damaged")
    return header


def snapped(header: SequenceHeader) -> SequenceHeader:
    """A header as a file will have it: the numbers of its cameras are rounded to their units."""
    return parse(pack(header))


def picture_bytes(header: SequenceHeader) -> bytes:
    """What of a header pictures depend on: the fields before the settings, and the cameras."""
    fields = tuple(field for field in FIELDS.fields if field[0] not in ("settings", "library"))
    return replace(FIELDS, fields=fields).pack(_plain(header)) + _rig(header)


def _plain(header: SequenceHeader) -> PlainHeader:
    names = [camera.name for camera in header.cameras]
    own = {name: getattr(header, name) for name in _ELEMENTS if name not in ("intrinsics", "cameras")}
    return PlainHeader(**own, lenses=len(header.intrinsics), names=_short_names(names))


def _short_names(names: Sequence[str]) -> tuple[str, ...]:
    """Names, empty where a name is the successor of the one before."""
    short = list(names[:1])
    for before, name in pairwise(names):
        if not name:
            raise ConfigError("expected names of cameras, found an empty one; it cannot be stored")
        short.append("" if name == successor(before) else name)
    return tuple(short)


def _whole_names(short: Sequence[str]) -> list[str]:
    names: list[str] = []
    for name in short:
        whole = name or (successor(names[-1]) if names else "")
        if whole is None or len(whole.encode()) > 255:
            raise CorruptStream(f"{_PLACE}: expected names of cameras, found none; the file is damaged")
        names.append(whole)
    return names


def successor(name: str) -> str | None:
    """A name whose last digits count on by one, with as many digits or one more; None where it ends without digits."""
    head, digits = re.fullmatch(r"(.*?)([0-9]*)", name, re.DOTALL).groups()  # type: ignore[union-attr]
    kept = digits.rstrip("9")
    if not digits:
        return None
    raised = kept[:-1] + chr(ord(kept[-1]) + 1) if kept else "1"
    return head + raised + "0" * (len(digits) - len(kept))


def _rig(header: SequenceHeader) -> bytes:
    """Splits, lenses and poses of a header's cameras."""
    out, cameras = BitWriter(), header.cameras
    for camera in cameras:
        out.put(camera.split == "test", 1)
    _put_column(out, [camera.intrinsics for camera in cameras])
    of_lens = units(header)[7:]
    lenses = []
    for i in header.intrinsics:
        values = (i.fx, i.fy, i.cx, i.cy, i.k1, i.k2, i.p1, i.p2)
        numbers = [math.floor(value / unit + 0.5) for value, unit in zip(values, of_lens, strict=True)]
        if min(numbers[:2]) < 1:
            raise ConfigError(f"expected focal lengths of a 128th of a pixel or more, found {i.fx:g} and {i.fy:g}")
        lenses.append((i.width, i.height, *numbers))
    for column in zip(*lenses, strict=True):
        _put_column(out, column)
    poses = [state.pose for state in header_states(header)]
    left: list[list[int]] = []
    corrections = []
    for pose in poses:
        largest = max(range(4), key=lambda k: abs(pose[k]))
        others = [value for k, value in enumerate(pose[:4]) if k != largest]
        out.put(largest, 2)
        out.put(pose[largest] < 0, 1)
        left.append(others)
        corrections.append(abs(pose[largest]) - _largest(others, header.rotation_bits))
    columns: list[Sequence[int]] = [*zip(*left, strict=True), corrections]
    columns += zip(*(pose[4:] for pose in poses), strict=True)
    for own in columns:
        _put_column(out, own)
    return out.payload()


def _largest(others: Sequence[int], bits: int) -> int:
    """The magnitude of the largest part of a quaternion, in units, rounded down; 0 where the others are too large."""
    return math.isqrt(max(0, (1 << 2 * bits) - sum(part * part for part in others)))


def _lenses(bits: BitReader, count: int, of_lens: Sequence[float]) -> tuple[Intrinsics, ...]:
    columns = [_column(bits, count) for _ in range(_SIZES + len(of_lens))]
    found = []
    for width, height, *numbers in zip(*columns, strict=True):
        if not (1 <= width <= 1 << 16 and 1 <= height <= 1 << 16):
            raise CorruptStream(f"{_PLACE}: expected pictures of 1..65536 pixels a side, found {width}x{height}")
        if min(numbers[:2]) < 1:
            raise CorruptStream(f"{_PLACE}: expected a positive focal length, found another")
        found.append(Intrinsics(width, height, *(n * unit for n, unit in zip(numbers, of_lens, strict=True))))
    return tuple(found)


def _poses(
    bits: BitReader, count: int, rotation_bits: int, of_pose: Sequence[float]
) -> list[tuple[tuple[float, float, float, float], tuple[float, float, float]]]:
    """Rotation and position of each camera."""
    signs = [(bits.take(2), bits.take(1)) for _ in range(count)]
    columns = [_column(bits, count) for _ in range(7)]
    found = []
    for (largest, negative), *others, correction, x, y, z in zip(signs, *columns, strict=True):
        size = _largest(others, rotation_bits) + correction
        others.insert(largest, -size if negative else size)
        w, *vector = (n * unit for n, unit in zip((*others, x, y, z), of_pose, strict=True))
        found.append(((w, *vector[:3]), tuple(vector[3:])))
    return found


def _put_column(out: BitWriter, values: Sequence[int]) -> None:
    """Appends some numbers of one kind: the least, and what each has beyond it."""
    if not values:
        return
    least = min(values)
    base = (least if least >= 0 else ~least).bit_length() + 1 if least else 0
    width = (max(values) - least).bit_length()
    if max(base, width) > MAX_WIDTH:
        raise ConfigError("expected poses and lenses of cameras that can be stored, found larger numbers")
    out.put(base, WIDTH)
    out.put(least, base)
    out.put(width, WIDTH)
    for value in values:
        out.put(value - least, width)


def _column(bits: BitReader, count: int) -> list[int]:
    """The inverse of :func:`_put_column`."""
    if not count:
        return []
    width = _width(bits)
    least = bits.take(width)
    if width and least >> width - 1:
        least -= 1 << width
    width = _width(bits)
    values = [least + bits.take(width) for _ in range(count)]
    if max(map(abs, values)) > MAX_CAMERA_NUMBER:
        raise CorruptStream(f"{_PLACE}: expected numbers of cameras up to 2^52, found larger ones")
    return values


def _width(bits: BitReader) -> int:
    width = bits.take(WIDTH)
    if width > MAX_WIDTH:
        raise CorruptStream(f"{_PLACE}: expected numbers of cameras of at most {MAX_WIDTH} bits, found {width}")
    return width
