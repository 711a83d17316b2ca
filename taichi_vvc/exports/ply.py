"""PLY files: tables of float and 8-bit columns, binary, little endian."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from taichi_vvc.exports.shapes import Points
from taichi_vvc.media.pictures import to_bytes
from taichi_vvc.media.video import atomic, one_line

_NAMES = {"f4": "float", "u1": "uchar", "i4": "int"}


def write_ply(path: str | Path, columns: Mapping[str, np.ndarray], comments: Sequence[str] = ()) -> None:
    """Writes the vertices of a PLY file (Turk 1994), whole or not at all.

    Args:
        path: of the file.
        columns: name and values, (n,) float32 or uint8 each, in the order of the file.
        comments: lines for its head.

    Raises:
        DataError: the file cannot be written.
    """
    types = [(name, values.dtype.newbyteorder("<").str) for name, values in columns.items()]
    count = len(next(iter(columns.values())))
    table = np.empty(count, np.dtype(types))
    for name, values in columns.items():
        table[name] = values
    properties = [f"property {_NAMES[kind[1:]]} {name}" for name, kind in types]
    said = [f"comment {line}" for line in comments]
    head = ["ply", "format binary_little_endian 1.0", *said, f"element vertex {count}", *properties, "end_header"]
    with atomic(path) as temporary, one_line(path), temporary.open("wb") as file:
        file.write("".join(f"{line}\n" for line in head).encode())
        file.write(table.tobytes())


def point_columns(points: Points) -> dict[str, np.ndarray]:
    """The columns of a point cloud: places (world) and normals, float32, and 8-bit sRGB colours."""
    columns = dict(zip("xyz", points.places.astype(np.float32).T, strict=True))
    columns |= dict(zip(("nx", "ny", "nz"), points.normals.astype(np.float32).T, strict=True))
    return columns | dict(zip(("red", "green", "blue"), to_bytes(points.colours).T, strict=True))
