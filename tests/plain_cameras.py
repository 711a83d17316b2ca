"""Cameras that move, and their colours, by docs/bitstream.md, sections 3.1 and 4.1; see ``plain_decoder.py``."""

from __future__ import annotations

import itertools
import math
import struct

import numpy as np
from independent_reader import Bits, Damaged


def units(header: dict) -> list[float]:
    rotation, position = 2.0 ** -header["rotation_bits"], 2.0 ** (64 - header["position_bits"])
    return [rotation] * 4 + [position] * 3 + [2.0**-7] * 4 + [2.0**-20] * 4


def header_values(header: dict) -> list[list[float]]:
    """The fifteen values of each camera."""
    return [
        [*camera["rotation"], *camera["position"], *header["intrinsics"][camera["intrinsics"]][2:]]
        for camera in header["cameras"]
    ]


def camera_numbers(found: dict) -> list[list[dict]]:
    """Per frame and camera of a file: its ``numbers``, and whether pose and lens have changed since the key frame."""
    header, frames = found["header"], []
    still = [
        [math.floor(v / u + 0.5) for v, u in zip(row, units(header), strict=True)] for row in header_values(header)
    ]
    for frame in found["frames"]:
        if frame["type"] == "key":
            now = before = [{"numbers": row, "pose": False, "lens": False} for row in still]
        else:
            # On the frame right after a key frame that is the key frame itself.
            now = frames[-1]
            before = now if found["frames"][len(frames) - 1]["type"] == "key" else frames[-2]
        frames.append(one_frame(frame["cameras"], now, before, header["rotation_bits"]) if frame["cameras"] else now)
    return frames


def one_frame(payload: bytes, now: list[dict], before: list[dict], rotation_bits: int) -> list[dict]:
    bits, found = Bits(payload), []
    for camera, earlier in zip(now, before, strict=True):
        a, b = camera["numbers"], earlier["numbers"]
        pose, lens, moved, zoomed = a[:7], a[7:], camera["pose"], camera["lens"]
        if bits.number(1):
            if bits.number(1):
                pose = [2 * x - y for x, y in zip(pose, b[:7], strict=True)]
            pose, moved = [x + d for x, d in zip(pose, bits.run(4) + bits.run(3), strict=True)], True
            if not 0.5 <= math.hypot(*pose[:4]) / 2**rotation_bits <= 2:
                raise Damaged("rotation")
        if bits.number(1):
            lens, zoomed = [x + d for x, d in zip(lens, bits.run(4) + bits.run(4), strict=True)], True
            if min(lens[:2]) < 1:
                raise Damaged("focal length")
        if max(map(abs, pose + lens)) > 2**52:
            raise Damaged("size of numbers")
        found.append({"numbers": pose + lens, "pose": moved, "lens": zoomed})
    if len(bits.text) > 7 or "1" in bits.text:
        raise Damaged("bytes behind the cameras")
    return found


def colour_maps(payload: bytes, cameras: int) -> dict:
    """The ``backdrop`` bit and per camera the six ``numbers`` of its map, 0 without one; None for no maps at all."""
    if not payload:
        return {"backdrop": None, "numbers": [None] * cameras}
    bits, found = Bits(payload), []
    if bits.number(1) != 1:
        raise Damaged("first bit")
    backdrop = bits.number(1)
    for _ in range(cameras):
        numbers = [0] * 6
        if bits.number(1):
            numbers = bits.run(3) + bits.run(3)
            if not any(numbers):
                raise Damaged("a map of zeros")
        if not all(-192 <= g <= 768 for g in numbers[:3]) or not all(-256 <= o <= 256 for o in numbers[3:]):
            raise Damaged("range of colours")
        found.append(numbers)
    if len(bits.text) > 7 or "1" in bits.text:
        raise Damaged("bytes behind the colours")
    return {"backdrop": backdrop, "numbers": found}


def hashed_colours(maps: dict) -> bytes:
    """What the maps of a group add to the hash of pictures."""
    if maps["backdrop"] is None:
        return b""
    return b"".join(struct.pack("<6iB", *numbers, maps["backdrop"]) for numbers in maps["numbers"])


def camera_values(found: dict) -> list[list[dict]]:
    """Per frame and camera: width, height, ``values`` (fx, fy, cx, cy, k1, k2, p1, p2), rotation and position."""
    header = found["header"]
    frames: list[list[dict]] = []
    moving = camera_numbers(found) if found["version"] > 3 else itertools.repeat(None, len(found["frames"]))
    for states in moving:
        row = []
        for k, (camera, values) in enumerate(zip(header["cameras"], header_values(header), strict=True)):
            if states is not None:
                exact = [n * u for n, u in zip(states[k]["numbers"], units(header), strict=True)]
                values = (exact[:7] if states[k]["pose"] else values[:7]) + (
                    exact[7:] if states[k]["lens"] else values[7:]
                )
            quaternion = np.array(values[:4]) / math.hypot(*values[:4])
            width, height = header["intrinsics"][camera["intrinsics"]][:2]
            row.append(
                {
                    "width": width,
                    "height": height,
                    "rotation": matrix(quaternion),
                    "position": np.array(values[4:7]),
                    "lens": values[7:],
                }
            )
        frames.append(row)
    return frames


def matrix(quaternion: np.ndarray) -> np.ndarray:
    """(3, 3): what turns a vector v as q v q* does."""
    w, v = quaternion[0], quaternion[1:]
    cross = np.array([[0, -v[2], v[1]], [v[2], 0, -v[0]], [-v[1], v[0], 0]])
    return (w * w - v @ v) * np.eye(3) + 2 * np.outer(v, v) + 2 * w * cross


def hashed(states: list[dict]) -> bytes:
    """What a frame's cameras add to the hash of pictures."""
    return b"".join(struct.pack("<15q2B", *state["numbers"], state["pose"], state["lens"]) for state in states)
