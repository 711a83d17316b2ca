"""The coding of the cameras' colour maps: the ``colours`` of a group, in integers.

Normative text: ``docs/bitstream.md``, section 3.1. A map is a gain and an offset per channel: a camera shows
``gain * colour + offset`` of what is rendered for it.
"""

from __future__ import annotations

from collections.abc import Sequence

from taichi_vvc.bitstream.bits import BitReader, BitWriter
from taichi_vvc.errors import ConfigError, CorruptStream

COLOUR_UNITS = 256
"""Gains less one and offsets are in this part of one."""

GAINS, OFFSETS = (-192, 768), (-256, 256)
"""The least and the largest of each, in units."""

ColourNumbers = tuple[tuple[int, int, int], tuple[int, int, int]]
"""A camera's gains less one and its offsets, for red, green and blue, in units."""

NO_MAP: ColourNumbers = ((0, 0, 0), (0, 0, 0))


def _problem(numbers: ColourNumbers) -> str:
    for what, values, (least, most) in (("gains", numbers[0], GAINS), ("offsets", numbers[1], OFFSETS)):
        if not all(least <= value <= most for value in values):
            return f"expected {what} of colours in {least}..{most} units, found {values}"
    return ""


def pack_colours(maps: Sequence[ColourNumbers], backdrop: bool) -> bytes:
    """The inverse of :func:`parse_colours`.

    Raises:
        ConfigError: a number is out of range.
    """
    out = BitWriter()
    out.put(1, 1)
    out.put(backdrop, 1)
    for numbers in maps:
        if problem := _problem(numbers):
            raise ConfigError(f"{problem}; they cannot be stored")
        out.put(numbers != NO_MAP, 1)
        if numbers != NO_MAP:
            for values in numbers:
                out.run(values)
    return out.payload()


def parse_colours(payload: bytes, cameras: int, place: str) -> tuple[tuple[ColourNumbers, ...], bool]:
    """Decodes the colour maps of so many cameras.

    Args:
        payload: the ``colours`` of a group's chunk, not empty.
        cameras: of the header.
        place: begins error messages.

    Returns:
        The map of each camera of the header, and whether maps hold for the background too.

    Raises:
        CorruptStream: the payload is damaged, or a number is out of range.
    """
    bits = BitReader(payload, place)
    if not bits.take(1):
        raise CorruptStream(f"{place}: expected colours of cameras, found another first bit; the file is damaged")
    backdrop, found = bool(bits.take(1)), []
    for _ in range(cameras):
        numbers = NO_MAP
        if bits.take(1):
            red, green, blue = bits.run(3)
            numbers = (red, green, blue), tuple(bits.run(3))  # type: ignore[assignment]
            if numbers == NO_MAP:
                raise CorruptStream(f"{place}: expected a map that changes colours, found another; the file is damaged")
        if problem := _problem(numbers):
            raise CorruptStream(f"{place}: {problem}; the file is damaged")
        found.append(numbers)
    bits.finish()
    return tuple(found), backdrop
