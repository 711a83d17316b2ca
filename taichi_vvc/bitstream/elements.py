"""The elements of the syntax tables: each reads and writes one kind of value and checks its range.

Numbers are little-endian. Reading allocates no more memory than the payload's own bytes justify, whatever lengths it
states.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Protocol

from taichi_vvc.errors import ConfigError, CorruptStream


class Cursor:
    """Reads a byte string from front to back. ``place`` begins error messages."""

    def __init__(self, data: bytes, place: str) -> None:
        self.data = data
        self.place = place
        self.at = 0

    def take(self, count: int) -> bytes:
        """The next ``count`` bytes. Raises :class:`CorruptStream` where there are fewer."""
        if count > len(self.data) - self.at:
            left = len(self.data) - self.at
            raise CorruptStream(f"{self.place}: expected {count} more bytes, found {left}; the file is damaged")
        self.at += count
        return self.data[self.at - count : self.at]

    def finish(self) -> None:
        """Checks that all bytes were read. Raises :class:`CorruptStream`."""
        if self.at != len(self.data):
            left = len(self.data) - self.at
            raise CorruptStream(f"{self.place}: expected the end, found {left} more bytes; the file is damaged")


class Element(Protocol):
    """Reads and writes one value. ``name`` is the field's name in error messages.

    Reading raises :class:`CorruptStream` for a value out of range, writing :class:`ConfigError`.
    """

    def read(self, cursor: Cursor, name: str) -> Any: ...

    def write(self, out: bytearray, value: Any, name: str) -> None: ...


def _bad(place: str, name: str, expected: str, found: object) -> CorruptStream:
    return CorruptStream(f"{place}: expected {name} {expected}, found {found!r}; the file is damaged")


def _refused(name: str, expected: str, found: object) -> ConfigError:
    return ConfigError(f"expected {name} {expected}, found {found!r}; it cannot be stored")


@dataclass(frozen=True)
class Count:
    """An integer in ``lowest .. highest`` as LEB128: 7 bits per byte, low ones first, in as few bytes as possible."""

    highest: int
    lowest: int = 0

    def read(self, cursor: Cursor, name: str) -> int:
        value, shift = 0, 0
        while True:
            byte = cursor.take(1)[0]
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                break
            if shift > 63:
                raise _bad(cursor.place, name, "in at most 9 bytes", "more")
        if byte == 0 and shift > 7:
            raise _bad(cursor.place, name, "in as few bytes as possible", "more")
        if not self.lowest <= value <= self.highest:
            raise _bad(cursor.place, name, f"in {self.lowest}..{self.highest}", value)
        return value

    def write(self, out: bytearray, value: int, name: str) -> None:
        if not isinstance(value, int) or not self.lowest <= value <= self.highest:
            raise _refused(name, f"in {self.lowest}..{self.highest}", value)
        while value > 127:
            out.append(value & 127 | 128)
            value >>= 7
        out.append(value)


@dataclass(frozen=True)
class Choice:
    """One of a few words, as one byte: the word's index in the list."""

    words: tuple[str, ...]

    def read(self, cursor: Cursor, name: str) -> str:
        value = cursor.take(1)[0]
        if value >= len(self.words):
            raise _bad(cursor.place, name, f"in 0..{len(self.words) - 1}", value)
        return self.words[value]

    def write(self, out: bytearray, value: str, name: str) -> None:
        if value not in self.words:
            raise _refused(name, f"to be one of {', '.join(self.words)}", value)
        out.append(self.words.index(value))


@dataclass(frozen=True)
class Float:
    """A finite IEEE 754 number in ``lowest .. highest``; ``code`` is ``"f"`` (32 bits) or ``"d"`` (64 bits)."""

    code: str
    lowest: float = -3.0e38
    highest: float = 3.0e38

    def read(self, cursor: Cursor, name: str) -> float:
        (value,) = struct.unpack("<" + self.code, cursor.take(struct.calcsize("<" + self.code)))
        if not (math.isfinite(value) and self.lowest <= value <= self.highest):
            raise _bad(cursor.place, name, f"in {self.lowest:g}..{self.highest:g}", value)
        return value

    def write(self, out: bytearray, value: float, name: str) -> None:
        if not (math.isfinite(value) and self.lowest <= value <= self.highest):
            raise _refused(name, f"in {self.lowest:g}..{self.highest:g}", value)
        out += struct.pack("<" + self.code, value)


@dataclass(frozen=True)
class Ratio:
    """A positive fraction in lowest terms: numerator and denominator as :class:`Count`."""

    part: Count = Count((1 << 32) - 1, 1)

    def read(self, cursor: Cursor, name: str) -> Fraction:
        above, below = self.part.read(cursor, name), self.part.read(cursor, name)
        if math.gcd(above, below) != 1:
            raise _bad(cursor.place, name, "in lowest terms", f"{above}/{below}")
        return Fraction(above, below)

    def write(self, out: bytearray, value: Fraction, name: str) -> None:
        value = Fraction(value)
        self.part.write(out, value.numerator, name)
        self.part.write(out, value.denominator, name)


@dataclass(frozen=True)
class Blob:
    """At most ``highest`` bytes, preceded by their number (a :class:`Count`)."""

    highest: int = (1 << 32) - 1

    def read(self, cursor: Cursor, name: str) -> bytes:
        return cursor.take(Count(self.highest).read(cursor, f"the length of {name}"))

    def write(self, out: bytearray, value: bytes, name: str) -> None:
        Count(self.highest).write(out, len(value), f"the length of {name}")
        out += value


@dataclass(frozen=True)
class Rest:
    """All remaining bytes, none to ``highest``, without a length; only at the end of a payload."""

    highest: int = (1 << 32) - 1

    def read(self, cursor: Cursor, name: str) -> bytes:
        left = len(cursor.data) - cursor.at
        if left > self.highest:
            raise _bad(cursor.place, f"the length of {name}", f"in 0..{self.highest}", left)
        return cursor.take(left)

    def write(self, out: bytearray, value: bytes, name: str) -> None:
        if len(value) > self.highest:
            raise _refused(f"the length of {name}", f"in 0..{self.highest}", len(value))
        out += value


@dataclass(frozen=True)
class Text:
    """A :class:`Blob` of UTF-8."""

    highest: int = 255

    def read(self, cursor: Cursor, name: str) -> str:
        data = Blob(self.highest).read(cursor, name)
        try:
            return data.decode("utf-8")
        except UnicodeDecodeError as error:
            raise _bad(cursor.place, name, "in UTF-8", data[:16]) from error

    def write(self, out: bytearray, value: str, name: str) -> None:
        try:
            data = value.encode("utf-8")
        except UnicodeEncodeError as error:
            raise _refused(name, "to be encodable as UTF-8", value) from error
        Blob(self.highest).write(out, data, name)


@dataclass(frozen=True)
class Fixed:
    """Exactly ``count`` values of one kind, as a tuple."""

    item: Element
    count: int

    def read(self, cursor: Cursor, name: str) -> tuple[Any, ...]:
        return tuple(self.item.read(cursor, name) for _ in range(self.count))

    def write(self, out: bytearray, value: Sequence[Any], name: str) -> None:
        if len(value) != self.count:
            raise _refused(name, f"to have {self.count} values", len(value))
        for item in value:
            self.item.write(out, item, name)


@dataclass(frozen=True)
class Several:
    """Up to ``highest`` values of one kind, preceded by their number, as a tuple.

    Every kind of element takes at least one byte, so that a stated number can be checked against the payload's size.
    """

    item: Element
    highest: int
    lowest: int = 0

    def read(self, cursor: Cursor, name: str) -> tuple[Any, ...]:
        count = Count(self.highest, self.lowest).read(cursor, f"the number of {name}")
        if count > len(cursor.data) - cursor.at:
            raise _bad(cursor.place, f"the number of {name}", "to fit the data", count)
        return tuple(self.item.read(cursor, name) for _ in range(count))

    def write(self, out: bytearray, value: Sequence[Any], name: str) -> None:
        Count(self.highest, self.lowest).write(out, len(value), f"the number of {name}")
        for item in value:
            self.item.write(out, item, name)


@dataclass(frozen=True)
class Structure:
    """The fields of a dataclass, in the order of the table.

    ``check`` examines the fields together and returns an error message, or "" for a valid record.
    """

    make: Callable[..., Any]
    fields: tuple[tuple[str, Element], ...]
    check: Callable[[Any], str] = lambda value: ""

    def read(self, cursor: Cursor, name: str) -> Any:
        value = self.make(**{key: element.read(cursor, key) for key, element in self.fields})
        problem = self.check(value)
        if problem:
            raise CorruptStream(f"{cursor.place}: {problem}; the file is damaged")
        return value

    def write(self, out: bytearray, value: Any, name: str) -> None:
        problem = self.check(value)
        if problem:
            raise ConfigError(f"{problem}; it cannot be stored")
        for key, element in self.fields:
            element.write(out, getattr(value, key), key)

    def parse(self, data: bytes, place: str) -> Any:
        """The record that the whole of ``data`` encodes. ``place`` begins error messages.

        Raises:
            CorruptStream: a value is out of range, or bytes are missing or left over.
        """
        cursor = Cursor(data, place)
        value = self.read(cursor, place)
        cursor.finish()
        return value

    def pack(self, value: Any) -> bytes:
        """The bytes of the record ``value``. Raises :class:`ConfigError` where a field is out of range."""
        out = bytearray()
        self.write(out, value, "")
        return bytes(out)
