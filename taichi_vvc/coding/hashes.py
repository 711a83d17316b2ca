"""Hashes of what a file decodes to: the same on every machine and backend; docs/bitstream.md, section 13."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from taichi_vvc.bitstream.poses import CameraTrack
from taichi_vvc.bitstream.syntax import SequenceHeader
from taichi_vvc.bitstream.versions import picture_bytes
from taichi_vvc.coding.headers import numbers_of_map
from taichi_vvc.types import ColourMap, GroupParameters, SymbolFrame

FrameParts = tuple[GroupParameters, SymbolFrame, CameraTrack | None, tuple[ColourMap, ...]]
"""A frame's group, its symbols, its cameras and how these show colours."""


@dataclass(frozen=True)
class Hashes:
    """SHA-256 (hex) of what a file decodes to, the same on every machine and backend.

    Attributes:
        symbols: of occupancy and grid symbols.
        pictures: of all that its pictures depend on: of these, the layout, steps, MLPs, background, cameras and their
            colour maps.
    """

    symbols: str
    pictures: str


def hashes_of(header: SequenceHeader, version: int, frames: Iterable[FrameParts]) -> Hashes:
    """The hashes of a file of this ``header`` and format ``version``, from its ``frames`` in order."""
    symbols, pictures = hashlib.sha256(), hashlib.sha256(picture_bytes(header, version))
    for parameters, frame, track, looks in frames:
        if frame.key:
            for values in (np.array(parameters.steps), *parameters.mlp):
                pictures.update(np.ascontiguousarray(values, "<f4").tobytes())
            for look in looks:
                pictures.update(np.array(numbers_of_map(look), "<i4").tobytes() + bytes((look.backdrop,)))
        for digest in (symbols, pictures):
            digest.update(np.ascontiguousarray(frame.occupancy).view(np.uint8).data)
            for grid in frame.symbols:
                # Slice by slice, since all zeros take memory only here.
                for slab in grid:
                    digest.update(np.ascontiguousarray(slab, "<i4").data)
        for state in () if track is None else track.now:
            pictures.update(np.array((*state.pose, *state.lens), "<i8").tobytes())
            pictures.update(bytes((state.moved, state.zoomed)))
    return Hashes(symbols.hexdigest(), pictures.hexdigest())
