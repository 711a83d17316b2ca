"""The limits of the fields of headers, groups and the index, each tested on both sides.

A value just within its limit is written and read. A value just beyond is refused by the writer and, in bytes made by
hand, by the reader.
"""

from __future__ import annotations

import dataclasses
import math
import struct
from typing import Any

import pytest
import streams

from taichi_vvc.bitstream import FrameData, GroupHeader, Level, syntax, versions
from taichi_vvc.bitstream.chunks import FRAMING
from taichi_vvc.bitstream.elements import Blob, Choice, Count, Fixed, Float, Ratio, Rest, Several, Structure, Text
from taichi_vvc.bitstream.sound import SOUND
from taichi_vvc.errors import ConfigError, CorruptStream

NAN, INFINITE = math.nan, math.inf


class Unlimited:
    """Writes a number whatever it is; reads nothing."""

    def __init__(self, code: str = "") -> None:
        self.code = code

    def write(self, out: bytearray, value: Any, name: str) -> None:
        if self.code:
            out += struct.pack("<" + self.code, value)
            return
        while value > 127:
            out.append(value & 127 | 128)
            value >>= 7
        out.append(value)


def unlimited(element: Any) -> Any:
    """An element that writes as the given one does, within its limits and beyond."""
    if isinstance(element, Count):
        return Unlimited()
    if isinstance(element, Float):
        return Unlimited(element.code)
    if isinstance(element, (Blob, Rest, Text)):
        return type(element)(1 << 31)
    if isinstance(element, Fixed):
        return Fixed(unlimited(element.item), element.count)
    if isinstance(element, Several):
        return Several(unlimited(element.item), 1 << 31)
    if isinstance(element, Structure):
        fields = tuple((name, unlimited(item)) for name, item in element.fields)
        return dataclasses.replace(element, fields=fields, check=lambda value: "")
    assert isinstance(element, (Choice, Ratio)), element
    return element


def changed(value: Any, path: str, to: Any) -> Any:
    """A frozen dataclass or tuple with another value at a path of names and numbers."""
    name, _, rest = path.partition(".")
    if isinstance(value, tuple):
        items = list(value)
        items[int(name)] = changed(items[int(name)], rest, to) if rest else to
        return tuple(items)
    return dataclasses.replace(value, **{name: changed(getattr(value, name), rest, to) if rest else to})


def wide_header() -> syntax.SequenceHeader:
    """A header in which one field may be at its limit without another one becoming too small for it."""
    header = streams.header()
    levels = (Level((4, 4, 4), 2, 256), Level((6, 6, 6), 2, 640))
    layout = dataclasses.replace(header.layout, levels=levels, steps_per_side=4096, motion_block=3)
    return dataclasses.replace(header, layout=layout)


# Field: values just within its limits, values just beyond.
HEADER_LIMITS: dict[str, tuple[list, list]] = {
    **{f"layout.lower.{axis}": ([-1e12, 1e12], [-1.1e12, 1.1e12, NAN, -INFINITE]) for axis in range(3)},
    "layout.cell": ([1e-12, 1e12], [0.0, -1.0, 0.9e-12, 1.1e12, NAN, INFINITE]),
    **{f"layout.cells.{axis}": ([1, 1024], [0, 1025]) for axis in range(3)},
    **{f"layout.coefficients.{axis}": ([2, 1024], [0, 1, 1025]) for axis in range(3)},
    **{f"layout.levels.1.resolution.{axis}": ([2, 1024], [0, 1, 1025]) for axis in range(3)},
    "layout.levels.0.channels": ([2, 62], [0, 63, 65]),
    "layout.levels.1.frequency": ([1, 65536], [0, 65537]),
    "layout.projection_hidden": ([1, 1024], [0, 1025]),
    "layout.appearance": ([1, 1024], [0, 1025]),
    "layout.colour_hidden": ([1, 1024], [0, 1025]),
    "layout.view_frequencies": ([0, 16], [17]),
    "layout.steps_per_side": ([64, 65536], [0, 65537]),
    "layout.motion_block": ([0, 1024], [1025]),
    "layout.near": ([0.0, 0.9e12], [-0.1, 1.1e12, NAN, INFINITE]),
    "background.1": ([0, 255], [256]),
    "first_frame": ([0, 1 << 24], [(1 << 24) + 1]),
    "downscale": ([1, 65536], [0, 65537]),
    "intrinsics.0.width": ([1, 65536], [0, 65537]),
    "intrinsics.0.height": ([1, 65536], [0, 65537]),
    "intrinsics.0.fx": ([1e-5, 0.9e9], [0.0, -60.0, 0.9e-6, 1.1e9, NAN]),
    "intrinsics.0.fy": ([1e-5, 0.9e9], [0.0, -60.0, 0.9e-6, 1.1e9, INFINITE]),
    **{f"intrinsics.0.{name}": ([-30.0, 0.0, 30.0], [NAN, INFINITE, -INFINITE]) for name in ("cx", "cy", "k1", "p2")},
    "cameras.0.intrinsics": ([0], [1, 4096]),
    "cameras.0.name": (["", "x" * 255], ["x" * 256, streams.header().cameras[1].name]),
    "cameras.0.rotation.0": ([1.0, -1.0, 1.0004, 0.9996], [0.0, 0.99, -0.99, 1.0008, -1.0008, 1.01, NAN]),
    "cameras.1.position.2": ([-1e6, 1e6], [NAN, INFINITE, -INFINITE]),
    "library": (["", "x" * 255], ["x" * 256]),
    "settings": (["{}", '{"a":[1,null]}'], ["", "[]", "1", "null", "{", '{"a":}', "[" * 5000]),
}


@pytest.mark.parametrize("path", HEADER_LIMITS)
def test_fields_of_the_header(path: str) -> None:
    within, beyond = HEADER_LIMITS[path]
    base, by_hand = wide_header(), unlimited(syntax.HEADER)
    assert syntax.HEADER.parse(by_hand.pack(base), "header") == base
    for value in within:
        header = changed(base, path, value)
        packed = syntax.HEADER.pack(header)
        assert packed == by_hand.pack(header)
        found = syntax.HEADER.parse(packed, "header")
        assert found == header or isinstance(value, float)
    for value in beyond:
        header = changed(base, path, value)
        with pytest.raises(ConfigError, match="it cannot be stored"):
            syntax.HEADER.pack(header)
        with pytest.raises(CorruptStream, match="the file is damaged"):
            syntax.HEADER.parse(by_hand.pack(header), "header")


def several(count: int) -> tuple[Level, ...]:
    return tuple(Level((2, 2, 2), 2, 256) for _ in range(count))


@pytest.mark.parametrize(
    "path, within, beyond",
    [
        ("layout.levels", [several(1), several(15)], [(), several(16)]),
        # Together, though each fits: channels, symbols of a frame, cells.
        ("layout.levels", [(Level((2, 2, 2), 62, 256), Level((2, 2, 2), 2, 256))], [several(1) * 15 + several(18)]),
        ("layout.levels", [], [(Level((1024, 1024, 64), 2, 256),)]),
        ("layout.coefficients", [], [(1024, 1024, 32)]),
        ("layout.cells", [], [(1024, 1024, 129)]),
        # On all sides or none, and something within it.
        ("layout.shell", [(1, 1, 1), (3, 5, 7)], [(4, 5, 7), (3, 6, 7), (3, 5, 8), (0, 1, 1), (1, 0, 1), (1, 1, 0)]),
        ("intrinsics", [], [()]),
        ("cameras", [()], [(streams.header().cameras[0],) * 2]),
    ],
)
def test_lists_of_the_header(path: str, within: list, beyond: list) -> None:
    base, by_hand = wide_header(), unlimited(syntax.HEADER)
    for value in within:
        header = changed(base, path, value)
        assert syntax.HEADER.parse(syntax.HEADER.pack(header), "header") == header
    for value in beyond:
        header = changed(base, path, value)
        with pytest.raises(ConfigError, match="it cannot be stored"):
            syntax.HEADER.pack(header)
        with pytest.raises(CorruptStream, match="the file is damaged"):
            syntax.HEADER.parse(by_hand.pack(header), "header")


GROUP, KEY = streams.group(1, 2), streams.frame(2, 1, True)
MOST = 1 << 24
PACKET = b"\xf8"
OTHER_LIMITS: list[tuple[Structure, Any, str, list, list]] = [
    (syntax.GROUP, GROUP, "number", [0, MOST], [MOST + 1, 1 << 40]),
    (syntax.GROUP, GROUP, "first_frame", [0, MOST], [MOST + 1, 1 << 40]),
    (syntax.GROUP, GROUP, "grid_steps.1", [2e-30, 0.9e30], [0.0, -0.25, 0.9e-30, 1.1e30, NAN, INFINITE]),
    (syntax.GROUP, GROUP, "mlp_steps.0", [2e-30, 0.9e30], [0.0, -0.25, 0.9e-30, 1.1e30, NAN, INFINITE]),
    (syntax.GROUP, GROUP, "grid_steps", [(0.5,) * 16], [(0.5,) * 17]),
    (syntax.GROUP, GROUP, "mlp_steps", [(0.5,) * 64], [(0.5,) * 65, ()]),
    (syntax.GROUP, GROUP, "mlp", [b"x"], [b""]),
    (syntax.GROUP, GROUP, "colours", [b"", b"x" * (1 << 20)], [b"x" * ((1 << 20) + 1)]),
    (versions.GROUPS[5], GROUP, "colours", [b"", b"x" * (1 << 20)], [b"x" * ((1 << 20) + 1)]),
    (syntax.FRAME, KEY, "number", [0, MOST], [MOST + 1, 1 << 40]),
    (syntax.FRAME, KEY, "group", [0, MOST], [MOST + 1, 1 << 40]),
    (syntax.FRAME, KEY, "motion", [b""], [b"m"]),
    (syntax.FRAME, KEY, "grids", [(), (b"",) * 16], [(b"",) * 17]),
    (syntax.INDEX_ENTRY, syntax.IndexEntry("key", 1, 20), "number", [0, MOST], [MOST + 1]),
    (syntax.INDEX_ENTRY, syntax.IndexEntry("key", 1, 20), "size", [FRAMING, (1 << 32) - 1], [0, FRAMING - 1, 1 << 32]),
    (SOUND, streams.run(3), "number", [0, MOST], [MOST + 1, 1 << 40]),
    (SOUND, streams.run(3), "channels", [1, 2], [0, 3]),
    (SOUND, streams.run(3), "skip", [0, 1 << 16], [(1 << 16) + 1]),
    (SOUND, streams.run(3), "packets", [(PACKET,), (PACKET,) * (1 << 16)], [(), (PACKET,) * ((1 << 16) + 1)]),
    (SOUND, streams.run(3), "packets.1", [PACKET, b"\x78", b"\xfb\x01", b"\xe3\x08"], [b"", b"\xf0", b"\xf9", b"\xfb"]),
    (SOUND, streams.run(3), "packets.0", [PACKET.ljust(1 << 14)], [PACKET.ljust((1 << 14) + 1)]),
    (syntax.INDEX, syntax.Index(8, (), 0), "first", [0, 1 << 62], [(1 << 62) + 1]),
    (syntax.INDEX, syntax.Index(8, (), 0), "frames", [0, MOST], [MOST + 1]),
]


@pytest.mark.parametrize("structure, base, path, within, beyond", OTHER_LIMITS)
def test_fields_of_groups_frames_and_index(structure, base, path: str, within: list, beyond: list) -> None:
    by_hand = unlimited(structure)
    assert structure.parse(by_hand.pack(base), "part") == base
    for value in within:
        part = changed(base, path, value)
        packed = structure.pack(part)
        assert packed == by_hand.pack(part)
        assert structure.parse(packed, "part") == part or isinstance(value, float)
    for value in beyond:
        part = changed(base, path, value)
        with pytest.raises(ConfigError, match="it cannot be stored"):
            structure.pack(part)
        with pytest.raises(CorruptStream, match="the file is damaged"):
            structure.parse(by_hand.pack(part), "part")


@pytest.mark.parametrize(
    "structure, base",
    [(versions.GROUPS[5], GROUP), (syntax.HEADER, streams.header()), (syntax.INDEX, syntax.Index(8, (), 0))],
)
def test_parts_end_where_they_end(structure: Structure, base: GroupHeader | FrameData) -> None:
    packed = structure.pack(base)
    with pytest.raises(CorruptStream, match="expected the end, found 1 more bytes"):
        structure.parse(packed + b"\0", "part")
    for cut in (1, 2, len(packed) // 2, len(packed)):
        with pytest.raises(CorruptStream):
            structure.parse(packed[:-cut], "part")


def test_words_are_of_their_list() -> None:
    frame = bytearray(syntax.FRAME.pack(KEY))
    assert frame[:3] == b"\x02\x01\x00"
    for word, fits in ((0, True), (1, True), (2, False), (255, False)):
        frame[2] = word
        if fits:
            assert syntax.FRAME.parse(bytes(frame), "frame").type == ("key", "inter")[word]
            continue
        with pytest.raises(CorruptStream, match=f"expected type in 0..1, found {word}"):
            syntax.FRAME.parse(bytes(frame), "frame")
    with pytest.raises(ConfigError, match="to be one of key, inter"):
        syntax.FRAME.pack(dataclasses.replace(KEY, type="p"))
