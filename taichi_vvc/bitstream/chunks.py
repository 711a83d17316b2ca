"""Chunks, the parts of a file: their framing, their checksums, their order, and the index of them.

A file is 8 bytes of preamble and then chunks ``[type 4][length u32][payload][CRC-32]``. The CRC covers type, length and
payload. Its start value is the 4 bytes in front of the chunk: the CRC of the chunk before, or the end of the preamble.
Swapped, repeated and missing chunks therefore fail the check, as damaged ones do. The reader and the writer use these
functions; nothing else does.
"""

from __future__ import annotations

import os
import struct
import threading
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, BinaryIO

from taichi_vvc.bitstream import syntax, versions
from taichi_vvc.bitstream.contents import Contents, Entry, FrameEntry, Order, OtherEntry, SoundEntry
from taichi_vvc.bitstream.elements import Cursor
from taichi_vvc.bitstream.sound import SOUND as SOUND_DATA
from taichi_vvc.bitstream.syntax import Index
from taichi_vvc.errors import CorruptStream, NotATvvcFile, StreamError, TruncatedStream, UnsupportedVersion

MAGIC = b"TVVC"
FORMAT_VERSION = 8
"""The newest format version, see ``versions.py``."""

PREAMBLE_BYTES = 8

HEADER, GROUP, FRAME, INDEX, SOUND = b"HEAD", b"GRUP", b"FRAM", b"INDX", b"soun"
FRAMING = 12
"""Bytes of a chunk besides its payload."""


def preamble(version: int) -> bytes:
    """The first bytes of a file of a format version: magic, version, zero."""
    return MAGIC + struct.pack("<HH", version, 0)


@dataclass(frozen=True)
class Chunk:
    """The framing of one chunk: ``offset`` of its first byte, ``type``, and ``length`` of its payload in bytes."""

    offset: int
    type: bytes
    length: int

    @property
    def end(self) -> int:
        """Offset of the first byte after the chunk."""
        return self.offset + FRAMING + self.length


def seal(kind: bytes, payload: bytes, before: bytes) -> bytes:
    """The bytes of a chunk, framing included. ``before``: the 4 bytes in front of it, from which its CRC starts."""
    body = kind + struct.pack("<I", len(payload)) + payload
    return body + struct.pack("<I", zlib.crc32(body, int.from_bytes(before, "little")))


_SEEKING = threading.Lock()


def read_at(file: BinaryIO, offset: int, count: int) -> bytes:
    """Up to ``count`` bytes from ``offset`` on; fewer at the end of the file.

    Does not use or move the file's position, so that threads and forked processes may share an open file. Systems
    without ``pread`` take a lock and seek.

    Raises:
        StreamError: the system cannot read there.
    """
    try:
        if not hasattr(os, "pread"):
            with _SEEKING:
                file.seek(offset)
                return file.read(count)
        parts, descriptor = [], file.fileno()
        while count > 0:
            # A call of pread returns at most 2 GiB.
            part = os.pread(descriptor, min(count, 1 << 30), offset)
            if not part:
                break
            parts.append(part)
            offset, count = offset + len(part), count - len(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)
    except OSError as error:
        raise StreamError(f"{file.name}: cannot read at byte {offset}: {error.strerror or error}") from error


def read_preamble(file: BinaryIO, name: str) -> int:
    """Checks the first 8 bytes of a file and returns its format version.

    Raises:
        NotATvvcFile, UnsupportedVersion, TruncatedStream, CorruptStream: the first 8 bytes are no valid preamble.
    """
    head = read_at(file, 0, PREAMBLE_BYTES)
    if head[:4] != MAGIC[: len(head)] or not head:
        raise NotATvvcFile(f"{name}: expected a .tvvc file starting with {MAGIC!r}, found {head[:4]!r}")
    if len(head) < PREAMBLE_BYTES:
        raise TruncatedStream(f"{name}: expected {PREAMBLE_BYTES} bytes of preamble, found {len(head)}")
    version, reserved = (int(part) for part in struct.unpack("<HH", head[4:]))
    if version > FORMAT_VERSION or reserved:
        raise UnsupportedVersion(
            f"{name}: expected a format version up to {FORMAT_VERSION}, found {version}.{reserved}; use a newer release"
        )
    if not version:
        raise CorruptStream(f"{name}: expected format version 1 to {FORMAT_VERSION}, found {version}")
    return version


def peek(file: BinaryIO, offset: int, size: int) -> Chunk | None:
    """The chunk at ``offset`` of a file of ``size`` bytes, or None if the file ends before the chunk does."""
    if size - offset < FRAMING:
        return None
    framing = read_at(file, offset, 8)
    if len(framing) < 8:
        return None
    kind, length = struct.unpack("<4sI", framing)
    return Chunk(offset, kind, length) if length <= size - offset - FRAMING else None


def read_payload(file: BinaryIO, chunk: Chunk, what: str) -> bytes:
    """The payload of a chunk, after checking its chained CRC. ``what`` begins error messages.

    Raises:
        TruncatedStream: the file ends within the chunk.
        CorruptStream: the checksum does not match.
    """
    data = read_at(file, chunk.offset - 4, FRAMING + 4 + chunk.length)
    if len(data) != FRAMING + 4 + chunk.length:
        raise TruncatedStream(
            f"{what} at byte {chunk.offset}: expected {chunk.length} bytes, found the end of the file"
        )
    body, stated = data[4:-4], int.from_bytes(data[-4:], "little")
    found = zlib.crc32(body, int.from_bytes(data[:4], "little"))
    if found != stated:
        raise CorruptStream(
            f"{what} at byte {chunk.offset}: expected checksum {stated:08x}, found {found:08x}; the file is damaged"
        )
    return body[8:]


def read_index(file: BinaryIO, start: int, size: int, version: int, fps: Fraction) -> Contents:
    """The contents that the index at the end of the file states.

    Args:
        start: offset of the first chunk after the header.
        size: bytes of the file.
        version: its format version.
        fps: frames per second, by its header.

    Raises:
        StreamError: the file has no index, or a wrong one.
    """
    if size - start < FRAMING + 4:
        raise TruncatedStream(f"expected an index at the end of the file, found {size - start} bytes")
    length = int.from_bytes(read_at(file, size - 8, 4), "little")
    chunk = peek(file, size - length, size) if FRAMING + 4 <= length <= size - start else None
    if chunk is None or chunk.type != INDEX or chunk.end != size:
        raise TruncatedStream("expected an index at the end of the file, found none")
    index: Index = versions.INDEXES[version].parse(read_payload(file, chunk, "index")[:-4], "index")
    tells = version >= versions.FIRST_WITH_FULL_INDEX
    order = Order(start)
    for entry in index.entries:
        if entry.kind not in _HOLDS or not tells:
            order.add(entry.kind, entry.number, entry.size)
        else:
            mlp, colours = _HOLDS[entry.kind]
            order.add("group", entry.number, entry.size, mlp, colours)
    if index.first != start or order.end != chunk.offset or index.frames != len(order.frames):
        raise CorruptStream(f"index: expected chunks from byte {start} to {chunk.offset}, found others")
    if tells and index.fps != fps:
        raise CorruptStream(f"index: expected {fps} frames per second as in the header, found {index.fps}")
    return order.contents(True)


_HOLDS = {
    "group": (False, False),
    "group with MLPs": (True, False),
    "group with colours": (False, True),
    "group with both": (True, True),
}
_KIND_OF = {holds: kind for kind, holds in _HOLDS.items()}


def pack_index(start: int, contents: Sequence[Entry], frames: int, fps: Fraction, version: int) -> bytes:
    """The payload of the index chunk of a file whose chunks ``contents``, in file order, begin at ``start``."""
    tells = version >= versions.FIRST_WITH_FULL_INDEX
    entries = []
    for entry in contents:
        if isinstance(entry, OtherEntry):
            entries.append(syntax.IndexEntry("other", 0, entry.size))
            continue
        if isinstance(entry, FrameEntry):
            kind = entry.type
        elif isinstance(entry, SoundEntry):
            kind = "sound"
        else:
            kind = _KIND_OF[bool(entry.mlp), bool(entry.colours)] if tells else "group"
        entries.append(syntax.IndexEntry(kind, entry.number, entry.size))
    body = versions.INDEXES[version].pack(Index(start, tuple(entries), frames, fps))
    return body + struct.pack("<I", len(body) + 4 + FRAMING)


def scan(file: BinaryIO, start: int, size: int, verify: bool, version: int) -> Contents:
    """Rebuilds the index by walking over the chunks from ``start``.

    The last chunk's CRC is always checked, since a killed writer may have left it unfinished. With ``verify`` every CRC
    is checked, and damage before the last chunk raises :class:`CorruptStream`. Without ``verify`` the walk ends at the
    first chunk that does not continue the sequence.
    """
    order = Order(start)
    complete = False
    while True:
        chunk = peek(file, order.end, size)
        if chunk is None:
            break
        last = chunk.end == size
        if verify or last:
            try:
                read_payload(file, chunk, "chunk")
            except CorruptStream:
                if not last:
                    raise
                break
        if chunk.type == INDEX:
            complete = last
            break
        try:
            order.add(*_identify(file, chunk, version), chunk.end - chunk.offset)
        except CorruptStream:
            if verify:
                raise
            break
    return order.contents(complete)


def is_ancillary(kind: bytes) -> bool:
    """Whether a decoder passes over a chunk of this type if it does not know it: it begins with a small letter."""
    return b"a" <= kind[:1] <= b"z"


def _identify(file: BinaryIO, chunk: Chunk, version: int) -> tuple[str, int]:
    """(kind, number) of a chunk between header and index, read from the beginning of its payload."""
    ancillary = version >= versions.FIRST_WITH_SOUND and is_ancillary(chunk.type)
    if ancillary and chunk.type != SOUND:
        return "other", 0
    cursor = Cursor(read_at(file, chunk.offset + 8, min(chunk.length, 16)), f"chunk at byte {chunk.offset}")
    if ancillary:
        return "sound", SOUND_DATA.fields[0][1].read(cursor, "number")
    names = {GROUP: syntax.GROUP.fields[:1], FRAME: syntax.FRAME_PREFIX}.get(chunk.type)
    if names is None:
        raise CorruptStream(f"chunk at byte {chunk.offset}: expected a group or a frame, found type {chunk.type!r}")
    values: dict[str, Any] = {name: element.read(cursor, name) for name, element in names}
    return values.get("type", "group"), values["number"]
