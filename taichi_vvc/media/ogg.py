"""Opus packets as an Ogg file (RFC 3533, RFC 7845), for programs that read files rather than packets."""

from __future__ import annotations

import struct
from collections.abc import Sequence

from taichi_vvc.bitstream.sound import PACKET, RATE, Sound

_POLYNOMIAL = 0x04C11DB7
_PER_PAGE = 50  # packets, one second; 255 segments hold them up to 2.5 kB each
_FIRST, _LAST = 2, 4


def ogg_of(sound: Sound) -> bytes:
    """A sound as an Ogg file that begins when the first frame is shown."""
    head = b"OpusHead" + struct.pack("<BBHIhB", 1, sound.channels, sound.skip, RATE, 0, 0)
    tags = b"OpusTags" + struct.pack("<I", 10) + b"taichi_vvc" + struct.pack("<I", 0)
    pages = [_page([head], 0, 0, _FIRST), _page([tags], 0, 1, 0)]
    packets, begin = sound.packets, 0
    while begin < len(packets) or begin == 0:
        end, segments = begin, 0
        while end < len(packets) and end - begin < _PER_PAGE and segments + len(packets[end]) // 255 + 1 <= 255:
            segments += len(packets[end]) // 255 + 1
            end += 1
        last = _LAST if end >= len(packets) else 0
        pages.append(_page(packets[begin:end], PACKET * end, len(pages), last))
        begin = end
        if last:
            break
    return b"".join(pages)


def _page(packets: Sequence[bytes], position: int, number: int, flags: int) -> bytes:
    """A page of whole packets. ``position``: samples up to its end, those to be skipped included."""
    lacing = b"".join(b"\xff" * (len(packet) // 255) + bytes([len(packet) % 255]) for packet in packets)
    head = b"OggS" + struct.pack("<BBqIIIB", 0, flags, position, 1, number, 0, len(lacing)) + lacing
    body = b"".join(packets)
    return head[:22] + struct.pack("<I", _check(head + body)) + head[26:] + body


def _table() -> tuple[int, ...]:
    found = []
    for byte in range(256):
        value = byte << 24
        for _ in range(8):
            value = (value << 1 ^ (_POLYNOMIAL if value & 1 << 31 else 0)) & 0xFFFFFFFF
        found.append(value)
    return tuple(found)


_TABLE = _table()


def _check(data: bytes) -> int:
    """Ogg's CRC-32, which is not that of zlib: it starts at 0 and takes bits from the highest on."""
    value = 0
    for byte in data:
        value = (value << 8 & 0xFFFFFFFF) ^ _TABLE[value >> 24 ^ byte]
    return value
