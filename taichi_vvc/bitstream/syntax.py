"""The records of a file as dataclasses, and one syntax table for each, used for reading and for writing.

Normative text: ``docs/bitstream.md``. Standard library only, so that a file can be inspected anywhere.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction

from taichi_vvc.bitstream.elements import Blob, Choice, Count, Fixed, Float, Ratio, Rest, Several, Structure, Text
from taichi_vvc.bitstream.settings import settings_problem

MAX_GRIDS = 16
MAX_NODES = 1024
MAX_CHANNELS = 64
MAX_SYMBOLS = 1 << 27
MAX_CELLS = 1 << 27
MAX_CAMERAS = 4096
MOST_CELLS_PER_STEP = 3
"""Occupancy cells that a step of the march is long at most: a longer one passes over what is there."""

MAX_HEADER = 1 << 20  # bytes of the sequence header before compression
MAX_FRAMES = 1 << 24
MAX_SETTINGS = 1 << 16  # bytes
MAX_COLOURS = 1 << 20  # bytes of the colour maps of a group
MAX_CAMERA_NUMBER = 1 << 52  # magnitude of the integers of poses and lenses; exact in a 64-bit float
POSITION_BIAS = 64
"""``position_bits`` of the header less this are the binary digits behind the point."""

LENS_BITS = (7,) * 4 + (20,) * 4
"""Binary digits behind the point of fx, fy, cx, cy (pixels), k1, k2, p1, p2."""


@dataclass(frozen=True)
class Level:
    """One basis level: (x, y, z) nodes, channels, and the frequency of its sawtooth in units of 1/256."""

    resolution: tuple[int, int, int]
    channels: int
    frequency: int


@dataclass(frozen=True)
class Layout:
    """The shape of the field; see :class:`taichi_vvc.types.FieldLayout`.

    Attributes:
        lower: lower corner of the bounds, world units.
        cell: edge of an occupancy cell within the bounds, world units; they end at ``lower + cell * inner cells``.
        cells: (x, y, z) occupancy cells, those of the shell included.
        coefficients: (x, y, z) nodes of the coefficient grid. It has the sum of all levels' channels.
        levels: the basis levels, coarse to fine.
        projection_hidden, appearance, colour_hidden, view_frequencies: widths of the MLPs.
        steps_per_side: ray-march steps along the longest side of the grids.
        motion_block: edge of a block of the motion lattice in occupancy cells; 0: no frame has motion.
        shell: (x, y, z) of ``cells`` that lie around the bounds on either side; not in versions before 5.
        near: distance along a ray at which samples begin, world units, a 32-bit float; not in versions before 5.
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
    shell: tuple[int, int, int] = (0, 0, 0)
    near: float = 0.0


@dataclass(frozen=True)
class Intrinsics:
    """Image size and pinhole parameters in pixels, and distortion coefficients as in OpenCV; 32-bit floats."""

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
    """The parameters that hold for the whole file.

    Attributes:
        layout: shape of the field.
        background: 8-bit sRGB colour behind the field.
        fps: frames per second.
        first_frame: index in the capture of frame 0 of the file.
        downscale: factor by which the capture's images were reduced.
        intrinsics, cameras: the capture's cameras at the reduced image size.
        settings: the encoder's effective settings, a JSON object; see ``bitstream/settings.py``.
        library: name and version of the program that wrote the file.
        rotation_bits, position_bits: units of poses that change, see ``bitstream/poses.py``; not in versions before 4.
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
    rotation_bits: int = 17
    position_bits: int = POSITION_BIAS + 12


@dataclass(frozen=True)
class GroupHeader:
    """The parameters that the frames of a group share: quantisation steps of grids and MLP tensors, and coded MLPs.

    ``mlp_steps`` and ``mlp`` are both empty where the group shares the MLPs of the group before. ``colours`` are the
    coded colour maps of the cameras, see ``bitstream/colours.py``; empty for those of the group before. Versions before
    5 have none.
    """

    number: int
    first_frame: int
    grid_steps: tuple[float, ...]
    mlp_steps: tuple[float, ...]
    mlp: bytes
    colours: bytes = b""


@dataclass(frozen=True)
class FrameData:
    """The coded payloads of one frame.

    Attributes:
        number: frame number within the file.
        group: number of its group.
        type: ``"key"`` or ``"inter"``.
        occupancy: the coded occupancy mask.
        grids: one coded payload per grid, coefficients first.
        motion: the coded displacements; empty for none.
        cameras: the coded changes of cameras since the frame before (on a key frame: since the header); empty for none.
    """

    number: int
    group: int
    type: str
    occupancy: bytes
    grids: tuple[bytes, ...]
    motion: bytes = b""
    cameras: bytes = b""


@dataclass(frozen=True)
class IndexEntry:
    """One chunk: ``kind`` is one of ``ENTRY_KINDS``; ``size`` counts bytes, framing included."""

    kind: str
    number: int
    size: int


# What chunks are; versions before 6 have the first three only, version 6 has all but the last two.
ENTRY_KINDS = ("group", "key", "inter", "group with MLPs", "group with colours", "group with both", "sound", "other")


@dataclass(frozen=True)
class Index:
    """All chunks between header and index in the order of the file.

    Attributes:
        first: offset of the first of them. They lie one after the other.
        entries, frames: the chunks, and the number of frames.
        fps: frames per second; not in versions before 6.
    """

    first: int
    entries: tuple[IndexEntry, ...]
    frames: int
    fps: Fraction = Fraction(1)


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
    if any(layout.shell) and not all(layout.shell):
        return f"expected a shell on all sides or on none, found {layout.shell} cells"
    if any(2 * shell >= cells for shell, cells in zip(layout.shell, layout.cells, strict=True)):
        return f"expected cells within the shell, found {layout.cells} cells with a shell of {layout.shell}"
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


def still_problem(header: SequenceHeader) -> str:
    """The error in a header of a format version without moving cameras, or ""."""
    names = [camera.name for camera in header.cameras]
    if len(set(names)) != len(names):
        return "expected distinct camera names, found one twice"
    for camera in header.cameras:
        if camera.intrinsics >= len(header.intrinsics):
            return f"expected intrinsics in 0..{len(header.intrinsics) - 1}, found {camera.intrinsics}"
    return settings_problem(header.settings)


def _moving_problem(header: SequenceHeader) -> str:
    """The error in a header of a format version with moving cameras, or "": :func:`still_problem`, and ranges."""
    largest = math.ldexp(1.0, POSITION_BIAS - header.position_bits) * MAX_CAMERA_NUMBER
    for camera in header.cameras:
        if max(map(abs, camera.position)) >= largest:
            return f"expected positions below {largest:g}, found {camera.position} of camera {camera.name!r}"
    for i in header.intrinsics:
        lens = (i.fx, i.fy, i.cx, i.cy, i.k1, i.k2, i.p1, i.p2)
        if any(abs(value) * 2**bits >= MAX_CAMERA_NUMBER for value, bits in zip(lens, LENS_BITS, strict=True)):
            return f"expected a lens of moderate numbers, found {lens}"
    return still_problem(header)


_NODES = Fixed(Count(MAX_NODES, 2), 3)
_FLOAT = Float("f")
_STEP = Float("f", 1e-30, 1e30)

LEVEL = Structure(
    Level,
    (
        ("resolution", _NODES),
        ("channels", Count(MAX_CHANNELS, 1)),
        ("frequency", Count(256 * 256, 1)),  # up to 256, in 1/256
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
        ("shell", Fixed(Count(MAX_NODES), 3)),
        ("near", Float("f", 0.0, 1e12)),
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
        ("rotation_bits", Count(30, 1)),
        ("position_bits", Count(2 * POSITION_BIAS)),
        ("settings", Text(MAX_SETTINGS)),
        ("library", Text(255)),
    ),
    _moving_problem,
)
GROUP = Structure(
    GroupHeader,
    (
        ("number", Count(MAX_FRAMES)),
        ("first_frame", Count(MAX_FRAMES)),
        ("grid_steps", Several(_STEP, MAX_GRIDS)),
        ("mlp_steps", Several(_STEP, 64)),
        ("mlp", Blob()),
        ("colours", Rest(MAX_COLOURS)),
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
    (
        *FRAME_PREFIX,
        ("occupancy", Blob()),
        ("motion", Blob()),
        ("grids", Several(Blob(), MAX_GRIDS)),
        ("cameras", Rest()),
    ),
    _frame_problem,
)
INDEX_ENTRY = Structure(
    IndexEntry,
    (
        ("kind", Choice(ENTRY_KINDS)),
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
        ("fps", Ratio()),
    ),
)
