"""What ``tvvc decode --verify`` prints: sums of all that a file decodes to.

Normative text: ``docs/bitstream.md``, section 13.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .bitstream.poses import CameraState
from .types import GroupParameters, SymbolFrame


@dataclass(frozen=True)
class Hashes:
    """SHA-256 (hex) of what a file decodes to, the same on every machine and backend.

    Attributes:
        symbols: of occupancy and grid symbols.
        pictures: of all that its pictures depend on: of these, the layout, steps, MLPs, background and cameras.
    """

    symbols: str
    pictures: str


class Digests:
    """Takes the frames of a file in their order."""

    def __init__(self, header: bytes) -> None:
        """``header``: what pictures depend on of it, see :func:`taichi_vvc.bitstream.versions.picture_bytes`."""
        self._symbols, self._pictures = hashlib.sha256(), hashlib.sha256(header)

    def add(self, frame: SymbolFrame, parameters: GroupParameters, cameras: Sequence[CameraState]) -> None:
        """The next frame, its group's parameters, and its cameras where the version of the file lets them move."""
        if frame.key:
            for values in (np.array(parameters.steps), *parameters.mlp):
                self._pictures.update(np.ascontiguousarray(values, "<f4").tobytes())
        for digest in (self._symbols, self._pictures):
            digest.update(np.ascontiguousarray(frame.occupancy).view(np.uint8).data)
            for grid in frame.symbols:
                # Slice by slice, since all zeros take memory only here.
                for slab in grid:
                    digest.update(np.ascontiguousarray(slab, "<i4").data)
        for state in cameras:
            self._pictures.update(np.array((*state.pose, *state.lens), "<i8").tobytes())
            self._pictures.update(bytes((state.moved, state.zoomed)))

    def found(self) -> Hashes:
        """The sums so far."""
        return Hashes(self._symbols.hexdigest(), self._pictures.hexdigest())
