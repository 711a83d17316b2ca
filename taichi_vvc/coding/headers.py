"""Between the stream's plain records and the package's types: cameras, field layout, group parameters."""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction

import numpy as np

from taichi_vvc._version import __version__
from taichi_vvc.bitstream import rigs, settings_text, syntax
from taichi_vvc.bitstream.colours import COLOUR_UNITS, GAINS, OFFSETS, ColourNumbers, pack_colours, parse_colours
from taichi_vvc.bitstream.syntax import POSITION_BIAS
from taichi_vvc.coding.entropy import decode_integers, encode_integers
from taichi_vvc.coding.quantize import tensor_values
from taichi_vvc.config import EncoderConfig
from taichi_vvc.errors import ConfigError, CorruptStream
from taichi_vvc.geometry.rotations import quaternion_of, rotation_of
from taichi_vvc.types import FREQUENCY_UNITS, Bounds, Camera, ColourMap, FieldLayout, GridLevel, GroupParameters

# Parts of a pixel that one unit of a pose is worth where the subject begins.
_PER_PIXEL = 64
# A subject is not taken to be nearer than this part of the longest side of its bounds.
_NEAREST = 0.25


def pose_bits(cameras: Sequence[Camera], bounds: Bounds) -> tuple[int, int]:
    """``rotation_bits`` and ``position_bits`` of a header: units of a 64th of a pixel or less for all these cameras."""
    lower, upper = np.asarray(bounds.lower, np.float64), np.asarray(bounds.upper, np.float64)
    focal = [max(camera.fx, camera.fy) for camera in cameras]
    places = np.array([camera.position for camera in cameras], np.float64)
    gaps = np.linalg.norm(np.maximum(np.maximum(lower - places, places - upper), 0.0), axis=1)
    nearness = focal / np.maximum(gaps, _NEAREST * bounds.largest_side)
    # A rotation is by twice the angle that its quaternion has.
    rotation = math.ceil(math.log2(2 * _PER_PIXEL * max(focal)))
    position = math.ceil(math.log2(_PER_PIXEL * float(nearness.max())))
    # What lies far from 0 has numbers that stay exact, in larger units.
    position = min(position, 50 - math.ceil(math.log2(max(1.0, float(np.abs(places).max())))))
    return min(max(rotation, 1), 30), min(max(POSITION_BIAS + position, 0), 2 * POSITION_BIAS)


def intrinsics_of(camera: Camera) -> syntax.Intrinsics:
    """A camera's lens as the stream has it, in 32-bit floats (infinite where a value is too large for them)."""
    c = camera
    with np.errstate(over="ignore"):
        values = (float(np.float32(v)) for v in (c.fx, c.fy, c.cx, c.cy, c.k1, c.k2, c.p1, c.p2))
        return syntax.Intrinsics(c.width, c.height, *values)


def camera_record(camera: Camera, intrinsics: int) -> syntax.CameraRecord:
    """A camera as the stream has it, its lens being number ``intrinsics`` of the header's list."""
    with np.errstate(over="ignore"):
        rotation = tuple(float(np.float32(v)) for v in quaternion_of(camera.rotation))
        position = tuple(float(np.float32(v)) for v in camera.position)
    return syntax.CameraRecord(camera.name, camera.split, intrinsics, rotation, position)  # type: ignore[arg-type]


def header_of(
    layout: FieldLayout,
    cameras: tuple[Camera, ...],
    config: EncoderConfig,
    fps: Fraction,
    first_frame: int,
    downscale: int,
    frame_step: int = 1,
) -> syntax.SequenceHeader:
    """The sequence header that describes an encode, as a file will have it: shared intrinsics are stored once.

    ``frame_step`` is how many of the capture's frames it is from one frame to the next; the settings tell it where it
    is not 1.
    """
    if config.background is None:
        raise ConfigError("expected a settled background colour, found none; see settle_background")
    rotation_bits, position_bits = pose_bits(cameras, layout.bounds)
    records = []
    intrinsics: dict[syntax.Intrinsics, int] = {}
    for camera in cameras:
        number = intrinsics.setdefault(intrinsics_of(camera), len(intrinsics))
        records.append(camera_record(camera, number))
    plain = syntax.Layout(
        lower=layout.bounds.lower,
        cell=layout.cell,
        cells=layout.occupancy,
        coefficients=layout.coefficients,
        levels=tuple(syntax.Level(level.resolution, level.channels, level.frequency_units) for level in layout.levels),
        projection_hidden=layout.projection_hidden,
        appearance=layout.appearance,
        colour_hidden=layout.colour_hidden,
        view_frequencies=layout.view_frequencies,
        steps_per_side=layout.steps_per_side,
        motion_block=layout.motion_block,
        shell=layout.shell,
        near=float(np.float32(layout.near)),
    )
    header = syntax.SequenceHeader(
        layout=plain,
        background=config.background,
        fps=fps,
        first_frame=first_frame,
        downscale=downscale,
        intrinsics=tuple(intrinsics),
        cameras=tuple(records),
        settings=settings_text(config.settings() | ({"frame_step": frame_step} if frame_step > 1 else {})),
        library=f"taichi_vvc {__version__}",
        rotation_bits=rotation_bits,
        position_bits=position_bits,
    )
    return rigs.snapped(header)


def layout_of_header(header: syntax.SequenceHeader) -> FieldLayout:
    """The field's shape as the stream states it."""
    h = header.layout
    upper = tuple(lo + h.cell * (n - 2 * s) for lo, n, s in zip(h.lower, h.cells, h.shell, strict=True))
    return FieldLayout(
        bounds=Bounds(h.lower, upper),  # type: ignore[arg-type]
        coefficients=h.coefficients,
        levels=tuple(
            GridLevel(level.resolution, level.channels, level.frequency / FREQUENCY_UNITS) for level in h.levels
        ),
        occupancy=h.cells,
        projection_hidden=h.projection_hidden,
        appearance=h.appearance,
        colour_hidden=h.colour_hidden,
        view_frequencies=h.view_frequencies,
        steps_per_side=h.steps_per_side,
        motion_block=h.motion_block,
        shell=h.shell,
        near=h.near,
    )


def cameras_of_header(header: syntax.SequenceHeader) -> tuple[Camera, ...]:
    """The capture's cameras as the stream states them."""
    cameras = []
    for record in header.cameras:
        i = header.intrinsics[record.intrinsics]
        cameras.append(
            Camera(
                record.name,
                i.width,
                i.height,
                *(i.fx, i.fy, i.cx, i.cy),
                rotation_of(record.rotation),
                np.array(record.position, np.float64),
                *(i.k1, i.k2, i.p1, i.p2),
                split=record.split,
            )
        )
    return tuple(cameras)


def pack_group(
    number: int,
    first_frame: int,
    steps: tuple[float, ...],
    mlp_symbols: tuple[np.ndarray, ...] | None,
    mlp_step: float,
    colours: bytes = b"",
) -> syntax.GroupHeader:
    """The group chunk of a key frame; ``mlp_symbols`` None: with the MLPs of the group before.

    ``colours``: the coded colour maps of the cameras; empty for those of the group before.
    """
    if mlp_symbols is None:
        return syntax.GroupHeader(number, first_frame, steps, (), b"", colours)
    return syntax.GroupHeader(
        number, first_frame, steps, (mlp_step,) * len(mlp_symbols), encode_integers(list(mlp_symbols)), colours
    )


def unpack_group(
    group: syntax.GroupHeader, layout: FieldLayout, mlp: tuple[np.ndarray, ...] | None = None
) -> GroupParameters:
    """Steps and dequantised MLP of a group, its MLP being there. Raises :class:`CorruptStream` where it is nonsense.

    ``mlp``: its MLP where it is known already.
    """
    shapes = layout.mlp_shapes
    grids = len(layout.levels) + 1
    if len(group.grid_steps) != grids or len(group.mlp_steps) != len(shapes):
        raise CorruptStream(
            f"group {group.number}: expected {grids} grid steps and {len(shapes)} MLP steps, "
            f"found {len(group.grid_steps)} and {len(group.mlp_steps)}"
        )
    if mlp is not None:
        return GroupParameters(group.grid_steps, mlp)
    symbols = decode_integers(group.mlp, shapes)
    values = tuple(tensor_values((s,), step)[0] for s, step in zip(symbols, group.mlp_steps, strict=True))
    return GroupParameters(group.grid_steps, values)


def colours_of(payload: bytes, cameras: int, place: str) -> tuple[ColourMap, ...]:
    """How each of a file's ``cameras`` shows colours, from the ``colours`` of a group; none where that is empty.

    Raises:
        CorruptStream: the payload is damaged. ``place`` begins the message.
    """
    if not payload:
        return ()
    maps, backdrop = parse_colours(payload, cameras, place)
    return tuple(colour_map(numbers, backdrop) for numbers in maps)


def colour_map(numbers: ColourNumbers, backdrop: bool) -> ColourMap:
    """A camera's map as a decoder has it. ``numbers``: as they are stored."""
    gain, offset = numbers
    return ColourMap(
        tuple(1.0 + value / COLOUR_UNITS for value in gain),  # type: ignore[arg-type]
        tuple(value / COLOUR_UNITS for value in offset),  # type: ignore[arg-type]
        backdrop,
    )


def numbers_of_map(look: ColourMap) -> ColourNumbers:
    """The inverse of :func:`colour_map`, rounded and clipped to what can be stored."""
    gain = (min(max(round((value - 1.0) * COLOUR_UNITS), GAINS[0]), GAINS[1]) for value in look.gain)
    offset = (min(max(round(value * COLOUR_UNITS), OFFSETS[0]), OFFSETS[1]) for value in look.offset)
    return tuple(gain), tuple(offset)  # type: ignore[return-value]


def pack_colour_maps(colours: Sequence[ColourMap]) -> bytes:
    """The ``colours`` of a group; empty for none."""
    return pack_colours([numbers_of_map(look) for look in colours], colours[0].backdrop) if colours else b""
