"""What the chunks of a file contain: plain data and one syntax table each, for reading and for writing.

Normative text: ``docs/bitstream.md``. Standard library only, so that a file can be inspected anywhere.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

from ..errors import CorruptStream
from .elements import Blob, Choice, Count, Fixed, Float, Ratio, Several, Structure, Text
from .settings import settings_problem

MAX_GRIDS = 16
MAX_NODES = 1024
MAX_CHANNELS = 64
MAX_SYMBOLS = 1 << 27
MAX_CELLS = 1 << 27
MAX_CAMERAS = 4096
MOST_CELLS_PER_STEP = 3
"""Occupancy cells that a step of the march is long at most: a longer one passes over what is there."""

MAX_HEADER = 1 << 20
"""Bytes of the sequence header before compression."""

MAX_FRAMES = 1 << 24


@dataclass(frozen=True)
class Level:
    """One basis level: (x, y, z) nodes, channels, and its sawtooth frequency in 1/256."""

    resolution: tuple[int, int, int]
    channels: int
    frequency: int


@dataclass(frozen=True)
class Layout:
    """The shape of the field; see :class:`taichi_vvc.types.FieldLayout`.

    Attributes:
        lower: corner of the bounds with the smallest coordinates, world units.
        cell: edge of an occupancy cell, world units; the bounds end at ``lower + cell * cells``.
        cells: (x, y, z) occupancy cells.
        coefficients: (x, y, z) nodes of the coefficient grid; its channels are those of all levels together.
        levels: the basis levels, coarse to fine.
        projection_hidden, appearance, colour_hidden, view_frequencies: widths of the MLPs.
        steps_per_side: ray-march steps along the longest side of the bounds.
        motion_block: edge of a block of the motion lattice in occupancy cells; 0: no frame has motion.
    """

    lower: tuple[float, float, float]
    cell: float
    cells: tuple[int, int, int]
    coefficients: tuple[int, int, int]
    levels: tuple[Level, ...]
    projection_hidden: int
    appearance: int
    colour_hidden: int
    view_frequencies: int
    steps_per_side: int
    motion_block: int = 0


@dataclass(frozen=True)
class Intrinsics:
    """Image size and pinhole parameters in pixels, distortion as in OpenCV; floats have 32 bits."""

    width: int
    height: int
    fx: float
    fy: float
    cx: float
    cy: float
    k1: float = 0.0
    k2: float = 0.0
    p1: float = 0.0
    p2: float = 0.0


@dataclass(frozen=True)
class CameraRecord:
    """One camera of the capture.

    Attributes:
        name: unique within the file.
        split: ``"train"`` or ``"test"``.
        intrinsics: index into the header's list.
        rotation: camera to world, unit quaternion (w, x, y, z), 32-bit floats.
        position: camera centre, world units, 32-bit floats.
    """

    name: str
    split: str
    intrinsics: int
    rotation: tuple[float, float, float, float]
    position: tuple[float, float, float]


@dataclass(frozen=True)
class SequenceHeader:
    """What holds for the whole file.

    Attributes:
        layout: shape of the field.
        background: 8-bit sRGB colour behind everything.
        fps: frames per second.
        first_frame: index in the capture of frame 0 of the file.
        downscale: factor by which the capture's images were reduced.
        intrinsics, cameras: the capture's cameras, already reduced.
        settings: the encoder's effective settings, a JSON object; see :func:`settings_text`.
        library: what wrote the file.
    """

    layout: Layout
    background: tuple[int, int, int]
    fps: Fraction
    first_frame: int
    downscale: int
    intrinsics: tuple[Intrinsics, ...]
    cameras: tuple[CameraRecord, ...]
    settings: str
    library: str


@dataclass(frozen=True)
class GroupHeader:
    """What the frames of a group share: quantisation steps of grids and MLP tensors, and the coded MLP.

    ``mlp_steps`` and ``mlp`` are both empty where the MLPs are those of the group before.
    """

    number: int
    first_frame: int
    grid_steps: tuple[float, ...]
    mlp_steps: tuple[float, ...]
    mlp: bytes


@dataclass(frozen=True)
class FrameData:
    """One frame.

    Attributes:
        number: of the frame.
        group: number of its group.
        type: ``"key"`` or ``"inter"``.
        occupancy: the coded mask.
        grids: one coded payload per grid.
        motion: the coded displacements, empty where nothing moves.
    """

    number: int
    group: int
    type: str
    occupancy: bytes
    grids: tuple[bytes, ...]
    motion: bytes = b""


@dataclass(frozen=True)
class IndexEntry:
    """One chunk: ``kind`` is ``"group"``, ``"key"`` or ``"inter"``, ``size`` its bytes with type, length and CRC."""

    kind: str
    number: int
    size: int


@dataclass(frozen=True)
class Index:
    """All group and frame chunks in the order of the file.

    Attributes:
        first: offset of the first of them, which are all adjacent.
        entries: the chunks.
        frames: number of frames.
    """

    first: int
    entries: tuple[IndexEntry, ...]
    frames: int


def _product(values: tuple[int, ...]) -> int:
    total = 1
    for value in values:
        total *= value
    return total


def _layout_problem(layout: Layout) -> str:
    channels = sum(level.channels for level in layout.levels)
    if channels > MAX_CHANNELS:
        return f"expected at most {MAX_CHANNELS} channels in all levels together, found {channels}"
    symbols = _product(layout.coefficients) * channels
    symbols += sum(_product(level.resolution) * level.channels for level in layout.levels)
    if symbols > MAX_SYMBOLS:
        return f"expected at most {MAX_SYMBOLS} symbols per frame, found {symbols}"
    if _product(layout.cells) > MAX_CELLS:
        return f"expected at most {MAX_CELLS} occupancy cells, found {_product(layout.cells)}"
    if layout.steps_per_side * MOST_CELLS_PER_STEP < max(layout.cells):
        least = -(-max(layout.cells) // MOST_CELLS_PER_STEP)
        return f"expected at least {least} steps for {max(layout.cells)} cells, found {layout.steps_per_side}"
    return ""


def _camera_problem(camera: CameraRecord) -> str:
    length = sum(part * part for part in camera.rotation)
    if not 0.999 < length < 1.001:
        return f"expected a unit quaternion for camera {camera.name!r}, found squared length {length:g}"
    return ""


def _frame_problem(frame: FrameData) -> str:
    if frame.motion and frame.type == "key":
        return f"expected no motion on a key frame, found {len(frame.motion)} bytes"
    return ""


def _group_problem(group: GroupHeader) -> str:
    if bool(group.mlp) != bool(group.mlp_steps):
        return f"expected MLPs and their steps or neither, found {len(group.mlp)} bytes, {len(group.mlp_steps)} steps"
    return ""


def _header_problem(header: SequenceHeader) -> str:
    names = [camera.name for camera in header.cameras]
    if len(set(names)) != len(names):
        return "expected distinct camera names, found one twice"
    for camera in header.cameras:
        if camera.intrinsics >= len(header.intrinsics):
            return f"expected intrinsics in 0..{len(header.intrinsics) - 1}, found {camera.intrinsics}"
    return settings_problem(header.settings)


_NODES = Fixed(Count(MAX_NODES, 2), 3)
_FLOAT = Float("f")
_STEP = Float("f", 1e-30, 1e30)

LEVEL = Structure(
    Level,
    (
        ("resolution", _NODES),
        ("channels", Count(MAX_CHANNELS, 1)),
        ("frequency", Count(256 * 256, 1)),
    ),
)
LAYOUT = Structure(
    Layout,
    (
        ("lower", Fixed(Float("d", -1e12, 1e12), 3)),
        ("cell", Float("d", 1e-12, 1e12)),
        ("cells", Fixed(Count(MAX_NODES, 1), 3)),
        ("coefficients", _NODES),
        ("levels", Several(LEVEL, MAX_GRIDS - 1, 1)),
        ("projection_hidden", Count(1024, 1)),
        ("appearance", Count(1024, 1)),
        ("colour_hidden", Count(1024, 1)),
        ("view_frequencies", Count(16)),
        ("steps_per_side", Count(1 << 16, 1)),
        ("motion_block", Count(MAX_NODES)),
    ),
    _layout_problem,
)
INTRINSICS = Structure(
    Intrinsics,
    (
        ("width", Count(1 << 16, 1)),
        ("height", Count(1 << 16, 1)),
        ("fx", Float("f", 1e-6, 1e9)),
        ("fy", Float("f", 1e-6, 1e9)),
        *((name, _FLOAT) for name in ("cx", "cy", "k1", "k2", "p1", "p2")),
    ),
)
CAMERA = Structure(
    CameraRecord,
    (
        ("name", Text(255)),
        ("split", Choice(("train", "test"))),
        ("intrinsics", Count(MAX_CAMERAS - 1)),
        ("rotation", Fixed(Float("f", -1.001, 1.001), 4)),
        ("position", Fixed(_FLOAT, 3)),
    ),
    _camera_problem,
)
HEADER = Structure(
    SequenceHeader,
    (
        ("layout", LAYOUT),
        ("background", Fixed(Count(255), 3)),
        ("fps", Ratio()),
        ("first_frame", Count(MAX_FRAMES)),
        ("downscale", Count(1 << 16, 1)),
        ("intrinsics", Several(INTRINSICS, MAX_CAMERAS)),
        ("cameras", Several(CAMERA, MAX_CAMERAS)),
        ("settings", Text(1 << 16)),
        ("library", Text(255)),
    ),
    _header_problem,
)
GROUP = Structure(
    GroupHeader,
    (
        ("number", Count(MAX_FRAMES)),
        ("first_frame", Count(MAX_FRAMES)),
        ("grid_steps", Several(_STEP, MAX_GRIDS)),
        ("mlp_steps", Several(_STEP, 64)),
        ("mlp", Blob()),
    ),
    _group_problem,
)
FRAME_PREFIX = (
    ("number", Count(MAX_FRAMES)),
    ("group", Count(MAX_FRAMES)),
    ("type", Choice(("key", "inter"))),
)
FRAME = Structure(
    FrameData,
    (*FRAME_PREFIX, ("occupancy", Blob()), ("motion", Blob()), ("grids", Several(Blob(), MAX_GRIDS))),
    _frame_problem,
)
INDEX_ENTRY = Structure(
    IndexEntry,
    (
        ("kind", Choice(("group", "key", "inter"))),
        ("number", Count(MAX_FRAMES)),
        ("size", Count((1 << 32) - 1, 12)),
    ),
)
INDEX = Structure(
    Index,
    (
        ("first", Count(1 << 62)),
        ("entries", Several(INDEX_ENTRY, 2 * MAX_FRAMES)),
        ("frames", Count(MAX_FRAMES)),
    ),
)


def settings_text(settings: Mapping[str, Any]) -> str:
    """The canonical JSON of effective settings: sorted keys, no spaces, no NaN."""
    return json.dumps(settings, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def _without(structure: Structure, name: str) -> Structure:
    return replace(structure, fields=tuple(field for field in structure.fields if field[0] != name))


# Version 1 had no motion; version 3 codes it in another way.
_LAYOUT_1 = _without(LAYOUT, "motion_block")
HEADERS = {
    1: replace(HEADER, fields=tuple((k, _LAYOUT_1 if k == "layout" else element) for k, element in HEADER.fields)),
    2: HEADER,
    3: HEADER,
}
FRAMES = {1: _without(FRAME, "motion"), 2: FRAME, 3: FRAME}
"""How each version of the format writes these chunks; the other chunks are the same in all."""

FIRST_WITH_SHARED_MLPS = 3
"""The version since which a group may have the MLPs of the group before."""


def pack_header(header: SequenceHeader) -> bytes:
    """The payload of the header chunk: the syntax, compressed as a zlib stream."""
    return zlib.compress(HEADER.pack(header), 9)


def parse_header(payload: bytes, version: int = max(HEADERS)) -> SequenceHeader:
    """The inverse of :func:`pack_header`, of any version; inflates to at most :data:`MAX_HEADER` bytes."""
    inflate = zlib.decompressobj()
    try:
        data = inflate.decompress(payload, MAX_HEADER)
    except zlib.error as error:
        raise CorruptStream(f"sequence header: expected zlib data, found damage ({error})") from error
    if not inflate.eof or inflate.unused_data:
        raise CorruptStream(f"sequence header: expected one zlib stream of at most {MAX_HEADER} bytes, found otherwise")
    return HEADERS[version].parse(data, "sequence header")
