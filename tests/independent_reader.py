"""A reader of the container written from docs/bitstream.md alone: it imports nothing of the package.

``python tests/independent_reader.py FILE`` prints what a file contains.
"""

from __future__ import annotations

import json
import math
import re
import struct
import sys
import zlib
from pathlib import Path


class Damaged(Exception):
    """The file does not follow the document."""


class Bytes:
    """Reads numbers off a byte string."""

    def __init__(self, data: bytes) -> None:
        self.data, self.at = data, 0

    def bytes(self, count: int) -> bytes:
        if self.at + count > len(self.data):
            raise Damaged("value beyond the end")
        self.at += count
        return self.data[self.at - count : self.at]

    def count(self) -> int:
        value = shift = 0
        while True:
            byte = self.bytes(1)[0]
            value |= (byte & 0x7F) << shift
            shift += 7
            if not byte & 0x80:
                return value

    def blob(self) -> bytes:
        return self.bytes(self.count())

    def text(self) -> str:
        return self.blob().decode("utf-8")

    def f32(self) -> float:
        return struct.unpack("<f", self.bytes(4))[0]

    def f64(self) -> float:
        return struct.unpack("<d", self.bytes(8))[0]

    def end(self) -> None:
        if self.at != len(self.data):
            raise Damaged("bytes left over")


def chunks(data: bytes) -> list[tuple[bytes, int, bytes]]:
    """(type, offset, payload) of each chunk, checksums verified."""
    if data[:4] != b"TVVC" or data[4] not in range(1, 9) or data[5:8] != bytes(3):
        raise Damaged("preamble")
    found, at = [], 8
    while at < len(data):
        kind, length = struct.unpack("<4sI", data[at : at + 8])
        end = at + 8 + length
        before = int.from_bytes(data[at - 4 : at], "little")
        if zlib.crc32(data[at:end], before) != int.from_bytes(data[end : end + 4], "little"):
            raise Damaged(f"checksum at {at}")
        found.append((kind, at, data[at + 8 : end]))
        at = end + 4
    return found


def read_header(payload: bytes, version: int) -> dict:
    """The sequence header as plain values."""
    if version > 7:
        whole = Bytes(payload)
        inflate = zlib.decompressobj(-15, zdict=documented_dictionary())
        data, rig = inflate.decompress(whole.blob()), whole.bytes(len(whole.data) - whole.at)
        if not inflate.eof or inflate.unused_data:
            raise Damaged("fields of the header")
        b = Bytes(data)
    else:
        b = Bytes(zlib.decompress(payload))
    h: dict = {"lower": [b.f64() for _ in range(3)], "cell": b.f64(), "cells": [b.count() for _ in range(3)]}
    h["coefficients"] = [b.count() for _ in range(3)]
    h["levels"] = [
        {"resolution": [b.count() for _ in range(3)], "channels": b.count(), "frequency": b.count() / 256}
        for _ in range(b.count())
    ]
    for name in ("projection_hidden", "appearance", "colour_hidden", "view_frequencies", "steps_per_side"):
        h[name] = b.count()
    h["motion_block"] = b.count() if version > 1 else 0
    h["shell"] = [b.count() for _ in range(3)] if version > 4 else [0, 0, 0]
    h["near"] = b.f32() if version > 4 else 0.0
    if any(h["shell"]) and not all(0 < 2 * s < n for s, n in zip(h["shell"], h["cells"], strict=True)):
        raise Damaged("shell")
    if not 0 <= h["near"] <= 1e12:
        raise Damaged("near")
    h["background"] = [b.count() for _ in range(3)]
    h["fps"] = (b.count(), b.count())
    h["first_frame"], h["downscale"] = b.count(), b.count()
    if version > 7:
        h["rotation_bits"], h["position_bits"], lenses = b.count(), b.count(), b.count()
        names = whole_names([b.text() for _ in range(b.count())])
        # All that pictures depend on, as it stands there.
        h["for_pictures"] = b.data[: b.at] + rig
        read_rig(Bits(rig), h, names, lenses)
    else:
        h["intrinsics"] = [[b.count(), b.count(), *(b.f32() for _ in range(8))] for _ in range(b.count())]
        h["cameras"] = []
        for _ in range(b.count()):
            camera: dict = {"name": b.text(), "split": ("train", "test")[b.bytes(1)[0]], "intrinsics": b.count()}
            camera["rotation"] = [b.f32() for _ in range(4)]
            camera["position"] = [b.f32() for _ in range(3)]
            h["cameras"].append(camera)
        if version > 3:
            h["rotation_bits"], h["position_bits"] = b.count(), b.count()
        h["for_pictures"] = b.data[: b.at]
    h["settings"], h["library"] = json.loads(b.text()), b.text()
    b.end()
    return h


def documented_dictionary() -> bytes:
    """The dictionary of headers as the document has it."""
    text = (Path(__file__).parent.parent / "docs" / "bitstream.md").read_text(encoding="utf-8")
    block = text.split("<!-- dictionary begins -->")[1].split("<!-- dictionary ends -->")[0]
    return "".join(block.split("```")[1].strip().splitlines()).encode("ascii")


def whole_names(short: list[str]) -> list[str]:
    names: list[str] = []
    for name in short:
        if not name and names:
            digits = re.search("[0-9]+$", names[-1])
            if not digits:
                raise Damaged("name")
            name = names[-1][: digits.start()] + str(int(digits[0]) + 1).zfill(len(digits[0]))
        names.append(name)
    return names


class Bits:
    """A string of bits, the lowest of each byte first."""

    def __init__(self, data: bytes) -> None:
        self.text = "".join(f"{byte:08b}"[::-1] for byte in data)

    def number(self, width: int) -> int:
        if width > len(self.text):
            raise Damaged("cameras")
        digits, self.text = self.text[:width], self.text[width:]
        return int(digits[::-1] or "0", 2)

    def run(self, count: int) -> list[int]:
        width = self.number(5)
        return [signed(self.number(width), width) for _ in range(count)]

    def column(self, count: int) -> list[int]:
        if not count:
            return []
        width = self.number(6)
        base = signed(self.number(width), width)
        own = self.number(6)
        values = [base + self.number(own) for _ in range(count)]
        if max(width, own) > 53 or max(map(abs, values)) > 2**52:
            raise Damaged("size of numbers")
        return values


def signed(value: int, width: int) -> int:
    return value - (1 << width) if width and value >= 1 << (width - 1) else value


def read_rig(bits: Bits, h: dict, names: list[str], lenses: int) -> None:
    """The cameras of a header since version 8, into ``h``."""
    count = len(names)
    splits, chosen = [bits.number(1) for _ in names], bits.column(count)
    units = [1, 1, *[2.0**-7] * 4, *[2.0**-20] * 4]
    rows = zip(*(bits.column(lenses) for _ in units), strict=True)
    h["intrinsics"] = [[n * u for n, u in zip(row, units, strict=True)] for row in rows]
    if any(not (1 <= i[0] <= 65536 and 1 <= i[1] <= 65536 and min(i[2:4]) >= 2.0**-7) for i in h["intrinsics"]):
        raise Damaged("intrinsics")
    left_out = [(bits.number(2), bits.number(1)) for _ in names]
    columns = [bits.column(count) for _ in range(7)]
    if len(bits.text) > 7 or "1" in bits.text:
        raise Damaged("bytes behind the cameras")
    turn, step = 2.0 ** -h["rotation_bits"], 2.0 ** (64 - h["position_bits"])
    h["cameras"] = []
    for k, name in enumerate(names):
        u, v, w, correction, *position = (column[k] for column in columns)
        rest = max(0, 4 ** h["rotation_bits"] - u * u - v * v - w * w)
        place, negative = left_out[k]
        rotation = [u, v, w]
        rotation.insert(place, (math.isqrt(rest) + correction) * (-1 if negative else 1))
        camera = {"name": name, "split": ("train", "test")[splits[k]], "intrinsics": chosen[k]}
        camera["rotation"], camera["position"] = [n * turn for n in rotation], [n * step for n in position]
        if chosen[k] >= lenses or not 0.999 < sum(x * x for x in camera["rotation"]) < 1.001:
            raise Damaged("camera")
        h["cameras"].append(camera)


def read_sound(b: Bytes, out: dict) -> None:
    """A run of Opus packets, added to ``out["sound"]``: ``channels``, ``skip``, ``packets``, numbers of ``runs``."""
    number, channels, skip = b.count(), b.count(), b.count()
    packets = [b.blob() for _ in range(b.count())]
    sound = out["sound"] or {"channels": channels, "skip": skip, "packets": [], "runs": []}
    if (number, channels, skip) != (len(sound["packets"]), sound["channels"], sound["skip"]) or not packets:
        raise Damaged("run of sound")
    # Table 2 of RFC 6716, in units of 2.5 ms; 20 ms are 8 of them.
    units = [4, 8, 16, 24] * 3 + [4, 8] * 2 + [1, 2, 4, 8] * 4
    for packet in packets:
        code = packet[0] % 4
        if units[packet[0] // 8] * (packet[1] % 64 if code == 3 else (1, 2, 2)[code]) != 8:
            raise Damaged("length of a packet")
    sound["packets"] += packets
    sound["runs"].append(number)
    out["sound"] = sound


def read_file(data: bytes) -> dict:
    """Everything in a file up to the entropy-coded payloads."""
    parts = chunks(data)
    if parts[0][0] != b"HEAD":
        raise Damaged("no header")
    version = data[4]
    out: dict = {
        "version": version,
        "header": read_header(parts[0][2], version),
        "groups": [],
        "frames": [],
        "sound": None,
        "others": [],
        "index": None,
    }
    # What the index has to say of each chunk: the choice, the number, the size.
    said: list[tuple[int, int, int]] = []
    for kind, _, payload in parts[1:]:
        b = Bytes(payload)
        if kind[0] in range(ord("a"), ord("z") + 1) and version > 6:
            if kind == b"soun":
                read_sound(b, out)
                said.append((6, out["sound"]["runs"][-1], len(payload) + 12))
                b.end()
            else:
                out["others"].append((kind, payload))
                said.append((7, 0, len(payload) + 12))
            continue
        if kind == b"GRUP":
            group: dict = {"number": b.count(), "first_frame": b.count()}
            group["grid_steps"] = [b.f32() for _ in range(b.count())]
            group["mlp_steps"] = [b.f32() for _ in range(b.count())]
            group["mlp"] = b.blob()
            if bool(group["mlp"]) != bool(group["mlp_steps"]):
                raise Damaged("MLPs without steps, or steps without MLPs")
            if not group["mlp"] and (version < 3 or not out["groups"]):
                raise Damaged("group without MLPs")
            # The group whose MLPs it has.
            group["owner"] = group["number"] if group["mlp"] else out["groups"][-1]["owner"]
            group["colours"] = b""
            if version > 4:
                group["colours"] = b.blob() if version == 5 else b.bytes(len(b.data) - b.at)
            # The maps that hold: its own, or those of the group before.
            before = out["groups"][-1]["maps"] if out["groups"] else b""
            group["maps"] = group["colours"] or before
            out["groups"].append(group)
            own = bool(group["mlp"]) + 2 * bool(group["colours"])
            holds = (0, 3, 4, 5)[own] if version > 5 else 0
            said.append((holds, group["number"], len(payload) + 12))
        elif kind == b"FRAM":
            frame: dict = {"number": b.count(), "group": b.count(), "type": ("key", "inter")[b.bytes(1)[0]]}
            frame["occupancy"] = b.blob()
            frame["motion"] = b.blob() if version > 1 else b""
            frame["grids"] = [b.blob() for _ in range(b.count())]
            frame["cameras"] = b.bytes(len(b.data) - b.at) if version > 3 else b""
            out["frames"].append(frame)
            said.append((1 + (frame["type"] == "inter"), frame["number"], len(payload) + 12))
        elif kind == b"INDX":
            index: dict = {"first": b.count()}
            index["entries"] = [(b.bytes(1)[0], b.count(), b.count()) for _ in range(b.count())]
            if index["entries"] != said:
                raise Damaged("index entry")
            kinds = ("group", "key", "inter", "group", "group", "group", "sound", "other")
            index["entries"] = [(kinds[choice], number, size) for choice, number, size in said]
            index["frames"] = b.count()
            if version > 5 and (b.count(), b.count()) != out["header"]["fps"]:
                raise Damaged("frames per second")
            if struct.unpack("<I", b.bytes(4))[0] != len(payload) + 12:
                raise Damaged("size of the index")
            out["index"] = index
        else:
            raise Damaged(f"type {kind!r}")
        b.end()
    return out


class RangeDecoder:
    """The range decoder of the document, one symbol at a time in plain integers."""

    def __init__(self, payload: bytes) -> None:
        self.words = list(struct.unpack(f"<{len(payload) // 4}I", payload))
        self.low, self.range, self.point = 0, 2**64 - 1, 0
        for _ in range(2):
            self.point = self.point << 32 | self._next()

    def _next(self) -> int:
        return self.words.pop(0) if self.words else 0

    def symbol(self, frequencies: list[int]) -> int:
        scale = self.range >> 24
        place = ((self.point - self.low) % 2**64) // scale
        if place >= 2**24:
            raise Damaged("range")
        symbol = below = 0
        while place >= below + frequencies[symbol]:
            below += frequencies[symbol]
            symbol += 1
        self.low = (self.low + scale * below) % 2**64
        self.range = scale * frequencies[symbol]
        if self.range < 2**32:
            self.low = self.low << 32 & 2**64 - 1
            self.range <<= 32
            self.point = (self.point << 32 & 2**64 - 1) | self._next()
        return symbol


if __name__ == "__main__":
    print(json.dumps(read_file(Path(sys.argv[1]).read_bytes()), indent=1, default=bytes.hex, ensure_ascii=False))
