"""Mutations of .tvvc files for ``fuzz.py``: of bytes as they are, and of what they mean, with checksums made right.

Everything follows from a seed and the number of a case, so that any case can be made again.
"""

from __future__ import annotations

import dataclasses
import math
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

import numpy as np

from taichi_vvc.bitstream import chunks, elements, rigs, sound, syntax, versions
from taichi_vvc.bitstream.dictionary import DICTIONARY
from taichi_vvc.errors import CorruptStream

INTEGERS = (0, 1, 2, 3, 7, 8, 15, 16, 17, 63, 64, 65, 255, 256, 1023, 1024, 1025, 4095, 4096, 65535, 65536)
LARGE = (1 << 20, 1 << 24, 1 << 27, (1 << 31) - 1, 1 << 31, (1 << 32) - 1, 1 << 40, (1 << 63) - 1)
FLOATS = (0.0, -0.0, 1.0, -1.0, 1e-45, 1e-30, 1e-12, 1e12, 1e30, 3e38, math.nan, math.inf, -math.inf)
TEXTS = (
    "",
    "\x1b[31mred\x07",
    "\u202e\r\n",
    "a" * 300,
    "\x00",
    '{"a":NaN}',
    '{"a":"\\ud800"}',
    "[" * 900,
    "1e999",
    "{}",
)


@dataclass
class File:
    """A file taken apart: the format version and (type, payload) of each chunk; the header is inflated.

    ``own_index``: the index stays what it is, instead of saying where the chunks are.
    """

    version: int
    chunks: list[tuple[bytes, bytes]]
    own_index: bool = False


def take_apart(data: bytes) -> File:
    """The chunks of a valid file."""
    found, at = [], chunks.PREAMBLE_BYTES
    version = int.from_bytes(data[4:6], "little")
    while at < len(data):
        kind, length = struct.unpack_from("<4sI", data, at)
        payload = data[at + 8 : at + 8 + length]
        if kind == chunks.HEADER:
            payload = _inflated(payload, version)
        found.append((kind, payload))
        at += length + chunks.FRAMING
    return File(version, found)


def _inflated(payload: bytes, version: int) -> bytes:
    """A header's payload as it was before it was compressed; since version 8 its fields only, before its cameras."""
    if version < versions.FIRST_WITH_RIGS:
        return zlib.decompress(payload)
    packed = rigs.PACKED.parse(payload, "a case")
    fields = zlib.decompressobj(-15, zdict=DICTIONARY).decompress(packed.fields)
    return raw(rigs.PACKED, replace(packed, fields=fields))


def _deflated(payload: bytes, version: int) -> bytes:
    """The inverse of :func:`_inflated`; what cannot be taken apart stays as it is."""
    if version < versions.FIRST_WITH_RIGS:
        return zlib.compress(payload)
    try:
        packed = rigs.PACKED.parse(payload, "a case")
    except CorruptStream:
        return payload
    deflate = zlib.compressobj(9, zlib.DEFLATED, -15, 9, zlib.Z_DEFAULT_STRATEGY, DICTIONARY)
    return raw(rigs.PACKED, replace(packed, fields=deflate.compress(packed.fields) + deflate.flush()))


def put_together(file: File) -> bytes:
    """A file with right checksums."""
    out = bytearray(chunks.MAGIC + struct.pack("<HH", file.version, 0))
    entries, frames, start, number = [], 0, 0, {chunks.GROUP: 0, chunks.FRAME: 0}
    for kind, payload in file.chunks:
        if kind == chunks.INDEX and not file.own_index:
            of = min(max(file.version, 1), chunks.FORMAT_VERSION)
            body = raw(versions.INDEXES[of], syntax.Index(start, tuple(entries), frames, _fps(file)))
            payload = body + struct.pack("<I", len(body) + 4 + chunks.FRAMING)
        elif kind == chunks.HEADER:
            payload = _deflated(payload, file.version)
        sealed = chunks.seal(kind, payload, bytes(out[-4:]))
        out += sealed
        if kind == chunks.HEADER:
            start = len(out)
        elif kind in number:
            sort = _holds(file, payload) if kind == chunks.GROUP else "key" if payload[2:3] == b"\0" else "inter"
            entries.append(syntax.IndexEntry(sort, number[kind], len(sealed)))
            number[kind] += 1
            frames += kind == chunks.FRAME
        elif chunks.is_ancillary(kind) and file.version >= versions.FIRST_WITH_SOUND:
            packet = _packet(payload) if kind == chunks.SOUND else 0
            entries.append(syntax.IndexEntry("sound" if kind == chunks.SOUND else "other", packet, len(sealed)))
    return bytes(out)


def _fps(file: File) -> Fraction:
    """The frames per second that the header states; any where it does not parse."""
    try:
        return versions.parse_header(_deflated(file.chunks[0][1], file.version), file.version).fps
    except Exception:
        return Fraction(25)


def _packet(payload: bytes) -> int:
    """The number of the first packet in a chunk of sound; 0 where it does not parse."""
    try:
        return elements.Count(sound.MAX_NUMBER).read(elements.Cursor(payload, "a case"), "number")
    except Exception:
        return 0


def _holds(file: File, payload: bytes) -> str:
    """What the index says of a group's chunk."""
    try:
        group = versions.GROUPS[file.version].parse(payload, "a case")
    except Exception:
        return "group"
    if file.version < versions.FIRST_WITH_FULL_INDEX:
        return "group"
    holds = bool(group.mlp), bool(group.colours)
    return {(1, 0): "group with MLPs", (0, 1): "group with colours", (1, 1): "group with both"}.get(holds, "group")


def raw(element: Any, value: Any) -> bytes:
    """A value as a syntax element writes it, whatever its range: what no writer of ours does."""
    if isinstance(element, elements.Structure):
        return b"".join(raw(part, getattr(value, name)) for name, part in element.fields)
    if isinstance(element, elements.Fixed):
        return b"".join(raw(element.item, item) for item in value)
    if isinstance(element, elements.Several):
        return _count(len(value)) + b"".join(raw(element.item, item) for item in value)
    if isinstance(element, elements.Count):
        return _count(int(value))
    if isinstance(element, elements.Ratio):
        return _count(value.numerator) + _count(value.denominator)
    if isinstance(element, elements.Float):
        with np.errstate(over="ignore"):
            return np.array(value, "<f4" if element.code == "f" else "<f8").tobytes()
    if isinstance(element, elements.Choice):
        return bytes([element.words.index(value) if value in element.words else len(element.words)])
    if isinstance(element, elements.Rest):
        return value
    data = value if isinstance(value, bytes) else value.encode("utf-8", "surrogatepass")
    return _count(len(data)) + data


def _count(value: int) -> bytes:
    value &= (1 << 63) - 1
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)
    return bytes(out)


class Mutator:
    """Mutations of some files, by their number."""

    def __init__(self, files: list[bytes], seed: int) -> None:
        self.files, self.seed = files, seed

    def case(self, number: int) -> tuple[bytes, bool]:
        """Case ``number``: the bytes of a file, and whether its checksums were made right."""
        rng = np.random.default_rng([self.seed, number])
        data = self.files[int(rng.integers(len(self.files)))]
        sealed = bool(rng.random() < 0.6)
        if not sealed:
            for _ in range(int(rng.integers(1, 4))):
                data = self._bytes(rng, data)
            return data, False
        file = take_apart(data)
        for _ in range(int(rng.integers(1, 3))):
            change: Callable[[np.random.Generator, File], None] = [
                self._header,
                self._header,
                self._group,
                self._frame,
                self._frame,
                self._payload,
                self._order,
                self._index,
                self._sound,
            ][int(rng.integers(9))]
            try:
                change(rng, file)
            except Exception:  # what an earlier change left does not parse any more: bytes do
                self._payload(rng, file)
        file.own_index |= bool(rng.random() < 0.1)
        return put_together(file), True

    def _bytes(self, rng: np.random.Generator, data: bytes) -> bytes:
        """Flips, replaces, inserts, leaves out, repeats, or cuts off bytes."""
        if not data:
            return bytes(rng.integers(0, 256, 8, np.uint8))
        at, size = int(rng.integers(len(data))), int(min(rng.geometric(0.2), 64))
        # Lengths and counts are mostly at the beginning.
        at = at if rng.random() < 0.7 else at % 64
        at = min(at, len(data) - 1)
        noise = rng.integers(0, 256, size, np.uint8).tobytes()
        choice = int(rng.integers(8))
        if choice == 0:
            return data[:at] + bytes([data[at] ^ 1 << int(rng.integers(8))]) + data[at + 1 :]
        if choice == 1:
            return data[:at] + noise + data[at + size :]
        if choice == 2:
            return data[:at] + noise + data[at:]
        if choice == 3:
            return data[:at] + data[at + size :]
        if choice == 4:
            return data[: at + size] + data[at:]
        if choice == 5:
            return data[:at]
        if choice == 6:
            special = (b"\x00", b"\xff", b"\xff\xff\xff\xff", b"\x80\x80\x80\x80\x01", b"\x02", b"\xff\xff\xff\x7f")
            found = special[int(rng.integers(len(special)))]
            return data[:at] + found + data[at + len(found) :]
        other = self.files[int(rng.integers(len(self.files)))]
        begin = int(rng.integers(len(other)))
        return data[:at] + other[begin : begin + size] + data[at + size :]

    def _value(self, rng: np.random.Generator, value: Any) -> Any:
        """Another value of the same sort; of a structure or list, one with something in it changed."""
        if dataclasses.is_dataclass(value) and not isinstance(value, type):
            fields = [field.name for field in dataclasses.fields(value)]
            name = fields[int(rng.integers(len(fields)))]
            return dataclasses.replace(value, **{name: self._value(rng, getattr(value, name))})
        if isinstance(value, tuple):
            return self._list(rng, value)
        if isinstance(value, Fraction):
            parts = [abs(self._value(rng, part)) % (1 << 40) + 1 for part in value.as_integer_ratio()]
            return Fraction(parts[0], value.denominator) if rng.random() < 0.5 else Fraction(*parts)
        if isinstance(value, bytes):
            return self._bytes(rng, value) if rng.random() < 0.8 else (b"", b"\x02", b"\x00", b"\x03")[rng.integers(4)]
        if isinstance(value, str):
            return (
                TEXTS[int(rng.integers(len(TEXTS)))] if rng.random() < 0.7 else value[: int(rng.integers(9))] + "\x7f"
            )
        if isinstance(value, float):
            factor = float(2.0 ** rng.integers(-12, 13)) * (-1 if rng.random() < 0.1 else 1)
            return FLOATS[int(rng.integers(len(FLOATS)))] if rng.random() < 0.5 else value * factor
        if rng.random() < 0.5:
            return max(0, int(value) + int(rng.integers(-3, 4)))
        if rng.random() < 0.3:
            return max(1, int(value)) * 2 ** int(rng.integers(1, 6)) // 4
        among = INTEGERS if rng.random() < 0.8 else LARGE
        return among[int(rng.integers(len(among)))]

    def _list(self, rng: np.random.Generator, value: tuple[Any, ...]) -> tuple[Any, ...]:
        if not value:
            return value
        at, choice = int(rng.integers(len(value))), rng.random()
        if choice < 0.75:
            return (*value[:at], self._value(rng, value[at]), *value[at + 1 :])
        if choice < 0.85:
            return (*value[:at], *value[at + 1 :])
        if choice < 0.95:
            return (*value, value[at])
        return value * int(rng.integers(2, 9))

    def _structured(self, rng: np.random.Generator, file: File, kind: bytes, structure: elements.Structure) -> None:
        places = [place for place, (found, _) in enumerate(file.chunks) if found == kind]
        if places:
            place = places[int(rng.integers(len(places)))]
            value = self._value(rng, structure.parse(file.chunks[place][1], "a case"))
            file.chunks[place] = kind, raw(structure, value)

    def _header(self, rng: np.random.Generator, file: File) -> None:
        if file.version in versions.HEADERS:
            self._structured(rng, file, chunks.HEADER, versions.HEADERS[file.version])
            return
        places = [place for place, (found, _) in enumerate(file.chunks) if found == chunks.HEADER]
        if places:
            packed = rigs.PACKED.parse(file.chunks[places[0]][1], "a case")
            if rng.random() < 0.5:
                packed = replace(packed, rig=self._bytes(rng, packed.rig))
            else:
                fields = raw(rigs.FIELDS, self._value(rng, rigs.FIELDS.parse(packed.fields, "a case")))
                packed = replace(packed, fields=fields)
            file.chunks[places[0]] = chunks.HEADER, raw(rigs.PACKED, packed)

    def _group(self, rng: np.random.Generator, file: File) -> None:
        self._structured(rng, file, chunks.GROUP, versions.GROUPS[file.version])

    def _frame(self, rng: np.random.Generator, file: File) -> None:
        self._structured(rng, file, chunks.FRAME, versions.FRAMES[file.version])

    def _sound(self, rng: np.random.Generator, file: File) -> None:
        self._structured(rng, file, chunks.SOUND, sound.SOUND)

    def _payload(self, rng: np.random.Generator, file: File) -> None:
        """The bytes of any chunk, without regard to what they mean."""
        place = int(rng.integers(len(file.chunks)))
        kind, payload = file.chunks[place]
        file.chunks[place] = kind, self._bytes(rng, payload)

    def _order(self, rng: np.random.Generator, file: File) -> None:
        """Chunks swapped, repeated, left out, of another type, or from another file; another version."""
        count, choice = len(file.chunks), int(rng.integers(6))
        a, b = (int(place) for place in rng.integers(0, count, 2))
        if choice == 0:
            file.chunks[a], file.chunks[b] = file.chunks[b], file.chunks[a]
        elif choice == 1:
            file.chunks.insert(a, file.chunks[b])
        elif choice == 2 and count > 1:
            del file.chunks[a]
        elif choice == 3:
            types = (b"HEAD", b"GRUP", b"FRAM", b"INDX", b"XXXX", b"soun", b"xxxx")
            file.chunks[a] = types[int(rng.integers(len(types)))], file.chunks[a][1]
        elif choice == 4:
            other = take_apart(self.files[int(rng.integers(len(self.files)))]).chunks
            file.chunks[a] = other[b % len(other)]
        else:
            file.version = int(rng.integers(1, chunks.FORMAT_VERSION + 1))

    def _index(self, rng: np.random.Generator, file: File) -> None:
        """An index that says something else."""
        file.own_index = True
        places = [place for place, (kind, _) in enumerate(file.chunks) if kind == chunks.INDEX]
        if places:
            structure = versions.INDEXES[file.version]
            body = raw(structure, self._value(rng, structure.parse(file.chunks[places[0]][1][:-4], "a case")))
            file.chunks[places[0]] = chunks.INDEX, body + struct.pack("<I", len(body) + 4 + chunks.FRAMING)
