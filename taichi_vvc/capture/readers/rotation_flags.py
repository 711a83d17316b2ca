"""Rotation flags of videos: the turn that a container states for its stored pictures.

Players apply it, and so do the tools that extract pictures for calibration (ffmpeg, OpenCV).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

SKEW = 0.01  # relative error of a display matrix that still counts as a multiple of 90 degrees


@dataclass(frozen=True)
class Turn:
    """A turn by a multiple of 90 degrees, possibly mirrored: swaps rows and columns first, then flips either axis."""

    swaps: bool = False
    flips_x: bool = False
    flips_y: bool = False

    def __bool__(self) -> bool:
        return self.swaps or self.flips_x or self.flips_y

    def __str__(self) -> str:
        if self.swaps == (self.flips_x != self.flips_y):
            # A swap is a mirror image, and so is each flip: an even number of them is a rotation.
            return f"{(90 if self.flips_y else 270) if self.swaps else 180} degrees"
        return "mirroring" if not self.swaps else "90 degrees and mirroring"

    def size(self, width: int, height: int) -> tuple[int, int]:
        """(width, height) of a picture after the turn."""
        return (height, width) if self.swaps else (width, height)

    def __call__(self, image: np.ndarray) -> np.ndarray:
        """The picture (height, width, channels) after the turn."""
        image = image.swapaxes(0, 1) if self.swaps else image
        image = image[:, ::-1] if self.flips_x else image
        return np.ascontiguousarray(image[::-1] if self.flips_y else image)


def turn_of(matrix: Sequence[int] | np.ndarray) -> Turn | None:
    """The turn that a display matrix describes; None where it is no multiple of 90 degrees.

    The matrix has 9 numbers. The first two of each row map stored (x, y) to screen coordinates.
    """
    a, b, _, c, d = (float(value) for value in matrix[:5])
    swaps = abs(b) + abs(c) > abs(a) + abs(d)
    large, small = ((b, c), (a, d)) if swaps else ((a, d), (b, c))
    if min(abs(value) for value in large) <= 0.0 or max(map(abs, small)) > SKEW * min(map(abs, large)):
        return None
    return Turn(swaps, (c if swaps else a) < 0.0, (b if swaps else d) < 0.0)


def display_matrix(frame: Any) -> np.ndarray | None:
    """The display matrix, (9,) int32, of a decoded frame of PyAV; None without one."""
    for data in frame.side_data:
        if data.type.name == "DISPLAYMATRIX":
            found = np.frombuffer(bytes(data), "=i4")
            return found if len(found) == 9 else None
    return None
