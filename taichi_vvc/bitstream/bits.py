"""Strings of bits, and runs of numbers in them: what poses and colour maps of cameras are coded in.

The first bit is the lowest of the first byte. A run is five bits, the width of its numbers, and then the numbers in
two's complement; a width of 0 stands for zeros. Normative text: ``docs/bitstream.md``, section 4.1.
"""

from __future__ import annotations

from collections.abc import Sequence

from taichi_vvc.errors import CorruptStream

WIDTH = 5
"""Bits that state the width of a run."""


def width_of(values: Sequence[int]) -> int:
    """Bits that the largest of the values needs, sign included; 0 where all are 0."""
    return max((value if value >= 0 else ~value).bit_length() + 1 for value in values) if any(values) else 0


def fits(values: Sequence[int]) -> bool:
    """Whether the numbers are small enough for a run."""
    return width_of(values) < 1 << WIDTH


class BitWriter:
    """Writes bits into bytes, the first in the lowest bit."""

    def __init__(self) -> None:
        self._bytes = bytearray()
        self._value = self._count = 0

    def put(self, value: int, width: int) -> None:
        """Appends the ``width`` lowest bits of a value."""
        self._value |= (int(value) & (1 << width) - 1) << self._count
        self._count += width
        while self._count >= 8:
            self._bytes.append(self._value & 255)
            self._value >>= 8
            self._count -= 8

    def run(self, values: Sequence[int]) -> None:
        """Appends a run of numbers, which must be small enough; see :func:`fits`."""
        width = width_of(values)
        assert width < 1 << WIDTH
        self.put(width, WIDTH)
        for value in values:
            self.put(value, width)

    def payload(self) -> bytes:
        """The bytes; none where all bits are 0."""
        self.put(0, -self._count % 8)
        return bytes(self._bytes) if any(self._bytes) else b""


class BitReader:
    """Reads bits from bytes; the inverse of :class:`BitWriter`. ``place`` begins error messages."""

    def __init__(self, payload: bytes, place: str) -> None:
        self._payload, self._at, self._place = payload, 0, place

    def take(self, width: int) -> int:
        """The next ``width`` bits. Raises :class:`CorruptStream` where there are fewer."""
        end = self._at + width
        if end > 8 * len(self._payload):
            raise CorruptStream(f"{self._place}: expected more about its cameras, found the end; the file is damaged")
        value = int.from_bytes(self._payload[self._at // 8 : -(-end // 8)], "little") >> self._at % 8
        self._at = end
        return value & (1 << width) - 1

    def run(self, count: int) -> list[int]:
        """A run of ``count`` numbers. Raises :class:`CorruptStream` at the end of the bytes."""
        width = self.take(WIDTH)
        values = [self.take(width) for _ in range(count)]
        return [value - (1 << width) if width and value >> width - 1 else value for value in values]

    def finish(self) -> None:
        """Checks that nothing is left but zeros in the last byte. Raises :class:`CorruptStream`."""
        left = 8 * len(self._payload) - self._at
        if left > 7 or self.take(left):
            raise CorruptStream(f"{self._place}: expected the end, found more about its cameras; the file is damaged")
