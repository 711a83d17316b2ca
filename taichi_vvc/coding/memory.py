"""How much memory a file may make its decoder take: estimates from what is known before anything is allocated.

A few bytes of a file can stand for gigabytes, since empty space costs next to nothing. Each step of a decoder says what
it is about to take; a :class:`Budget` refuses what is beyond the limit. The estimates are upper bounds of what NumPy
allocates, a test holds them to it.
"""

from __future__ import annotations

import ctypes
import functools
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from taichi_vvc.coding.motion import lattice_shape
from taichi_vvc.coding.zeros import is_blank
from taichi_vvc.errors import MemoryLimitExceeded
from taichi_vvc.types import FieldLayout, SymbolFrame

SHARE = 0.5
"""The part of the machine's memory that is the limit unless another one is given."""

_FALLBACK = 4 << 30  # where the system does not say how much there is
_CHUNKS = 16 << 20  # what is worked on in parts, whatever the size of the whole


@functools.cache
def machine_memory() -> int:
    """Bytes of memory that this process can have: those of the machine, or fewer where its control group says so."""
    return min([_physical(), *_group_limits()])


def default_limit() -> int:
    """The limit that holds where none is given, bytes."""
    return int(SHARE * machine_memory())


def _physical() -> int:
    try:
        return int(os.sysconf("SC_PAGE_SIZE")) * int(os.sysconf("SC_PHYS_PAGES"))
    except (AttributeError, ValueError, OSError):
        pass
    if sys.platform == "win32":
        # dwLength, dwMemoryLoad, then seven 64-bit sizes, of which the first is that of the memory.
        status = (ctypes.c_uint64 * 8)(64)
        if ctypes.windll.kernel32.GlobalMemoryStatusEx(ctypes.byref(status)):
            return int(status[1])
    return _FALLBACK


def _group_limits(root: Path = Path("/sys/fs/cgroup"), member: Path = Path("/proc/self/cgroup")) -> list[int]:
    """The limits of the Linux control groups (versions 1 and 2) around this process."""
    found = []
    try:
        places = [line.split(":", 2) for line in member.read_text().splitlines()]
        for _, controllers, path in places:
            if controllers != "" and "memory" not in controllers.split(","):
                continue
            base, name = (root, "memory.max") if not controllers else (root / "memory", "memory.limit_in_bytes")
            folder = base / path.strip("/")
            # A container may see the root of its own group under another name.
            for place in {base, folder, *(p for p in folder.parents if base in p.parents)}:
                text = (place / name).read_text().strip() if (place / name).is_file() else ""
                if text.isdecimal():
                    found.append(int(text))
    except (OSError, ValueError):
        pass
    return [value for value in found if value > 0]


def text_of(size: float) -> str:
    """A size for people, rounded up."""
    for unit, factor in (("GiB", 1 << 30), ("MiB", 1 << 20)):
        if size >= factor:
            return f"{-(-size * 10 // factor) / 10:g} {unit}"
    return f"{max(1, -(-int(size) // 1024))} KiB"


@dataclass(frozen=True)
class Budget:
    """The limit of one file. ``limit``: bytes; ``place`` begins messages."""

    limit: int
    place: str

    def check(self, need: float, what: str) -> None:
        """Raises :class:`MemoryLimitExceeded` where ``need`` bytes, all that is held included, are too many."""
        if need > self.limit:
            raise MemoryLimitExceeded(
                f"{self.place}: {what} takes up to {text_of(need)} of memory, expected at most {text_of(self.limit)}; "
                "where that is meant, give a larger --memory-limit"
            )


def held_by(frame: SymbolFrame | None) -> int:
    """Bytes of a decoded frame."""
    if frame is None:
        return 0
    arrays: dict[int, Any] = {id(a): a for a in (*frame.symbols, *frame.residuals, frame.occupancy)}
    if frame.motion is not None:
        arrays[id(frame.motion)] = frame.motion
    return sum(0 if is_blank(array) else int(array.nbytes) for array in arrays.values())


def mask_need(layout: FieldLayout, between: bool) -> int:
    """What decoding a mask takes; ``between``: with a mask before it."""
    return (14 if between else 7) * _product(layout.occupancy) + _CHUNKS


def moved_mask_need(layout: FieldLayout) -> int:
    """What moving a mask takes, the moved one included."""
    nx, ny, nz = layout.occupancy
    _, _, mx, _ = lattice_shape(layout) if layout.motion_block else (0, 0, 0, 0)
    return 17 * (nx + 3) * (ny + 3) * (nz + 3) + 60 * nz * (ny + 1) * mx + _CHUNKS


def live_need(layout: FieldLayout) -> int:
    """What finding the live nodes takes, and its tables, which are kept."""
    nodes = sum(_product(shape[:3]) for shape in layout.grid_shapes)
    tables = sum(4 * shape[2 - axis] * layout.occupancy[axis] for shape in layout.grid_shapes for axis in range(3))
    return 2 * (nodes + _product(layout.occupancy)) + tables + _CHUNKS


def grid_need(live: np.ndarray, channels: int, previous: np.ndarray | None, added: bool) -> int:
    """What decoding a grid takes that is not all zero, the grid included.

    Args:
        live: (nz, ny, nx) bool, its live nodes.
        previous: what its contexts look at of the frame before, or None.
        added: whether it is added to another one.
    """
    nodes, count = live.size, int(np.count_nonzero(live))
    # Of the eight volumes of classes, with their padding.
    volume = _product([n + 6 for n in live.shape])
    need = 4 * channels * nodes + (72 + 16 * channels) * count + (2 * channels + 3) * volume
    if added:
        need += 4 * channels * nodes + 6 * channels * count
    if previous is not None and not is_blank(previous):
        need += channels * (volume + nodes) + 72 * int(np.count_nonzero(previous))
    return need + _CHUNKS


def motion_need(lattice: Sequence[int]) -> int:
    """What the displacements of a lattice (mz, my, mx) take."""
    return 320 * _product(lattice[:3]) + 64 * _product([n + 8 for n in lattice[:3]]) + _CHUNKS


def moved_need(lattice: Sequence[int], shape: tuple[int, int, int, int], small: bool) -> int:
    """What moving a grid takes, the grid included; ``small``: its symbols have no more than seven bits."""
    z, y, x, channels = shape
    mz, my, mx = lattice[:3]
    between = 40 * (mz * my * mx + z * my * mx + z * y * mx)
    fours = -(-channels // 4) * 4
    return between + (200 + 4 * channels + (16 if small else 64) * fours) * z * y * x + 4 * _CHUNKS


def network_need(layout: FieldLayout) -> int:
    """What decoding the networks takes."""
    return 64 * sum(_product(shape) for shape in layout.mlp_shapes) + _CHUNKS


def field_need(layout: FieldLayout, values: int, host_arrays: bool) -> int:
    """What a field of so many ``values`` takes on the device, and on the way there."""
    cells = _product(layout.occupancy)
    return 4 * values * (1 if host_arrays else 3) + (8 + 12) * cells + network_need(layout)


def sample_need(layout: FieldLayout) -> int:
    """What a sample of a ray takes."""
    raw, inputs = 1 + layout.appearance, layout.appearance + layout.direction_features
    # On the CPU columns are padded to powers of two, on a GPU there are hidden layers.
    padded = sum(1 << max(0, width - 1).bit_length() for width in (layout.channels, raw, inputs))
    hidden = layout.projection_hidden + layout.colour_hidden
    return 4 * (20 + 2 * layout.channels + padded + hidden) * 4 // 3


def picture_need(pixels: int) -> int:
    """What a picture takes, and its copy."""
    return 44 * pixels


def _product(sizes: Sequence[int]) -> int:
    total = 1
    for size in sizes:
        total *= int(size)
    return total
