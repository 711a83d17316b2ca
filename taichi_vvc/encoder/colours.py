"""Whether and how a file corrects the colours of the capture's cameras."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from taichi_vvc.bitstream import StreamReader
from taichi_vvc.capture.colour_agreement import ColourAgreement, colour_agreement
from taichi_vvc.capture.sequence import MultiViewSequence
from taichi_vvc.capture.views import read_views
from taichi_vvc.coding.headers import colour_map, colours_of, numbers_of_map
from taichi_vvc.config import EncoderConfig
from taichi_vvc.types import ColourMap

# Frames, spread over the capture, whose pictures are compared, and pixels along their longer side.
_FRAMES, _PIXELS = 3, 200


def looks_for(sequence: MultiViewSequence, config: EncoderConfig) -> tuple[ColourMap, ...]:
    """How each camera of a capture shows colours, as a file will state it; empty where the file is to have no maps.

    Only training cameras are compared. Held-out cameras show colours as they are: nothing is ever fitted to them.
    """
    if config.colours == "off" or (config.colours == "auto" and sequence.has_alpha):
        return ()
    found = training_agreement(sequence)
    if config.colours == "auto" and not found.outliers():
        return ()
    gains = dict(zip(found.names, found.gains, strict=True))
    return tuple(
        _stored(gains[c.name] if c.split == "train" and c.name in gains else np.ones(3), not sequence.has_alpha)
        for c in sequence.cameras
    )


def training_agreement(sequence: MultiViewSequence) -> ColourAgreement:
    """How the colours of a capture's training cameras differ, from the pictures of a few frames.

    Raises:
        DataError: a picture cannot be read.
    """
    largest = max(max(entry.camera.width, entry.camera.height) for entry in sequence.entries[0])
    frames: Sequence[int] = sorted({round(k * (len(sequence) - 1) / (_FRAMES - 1)) for k in range(_FRAMES)})
    rows = [
        read_views([e for e in sequence.entries[i] if e.camera.split == "train"], max(1, largest // _PIXELS))
        for i in frames
    ]
    return colour_agreement(rows, sequence.bounds)


def stored_looks(path: Path) -> tuple[ColourMap, ...] | None:
    """The colour maps of a file's last frame; None for a file without frames."""
    with StreamReader(path) as reader:
        if not reader.frames:
            return None
        group = reader.frames[-1].group
        return colours_of(reader.read_colours(group), len(reader.header.cameras), f"{path}: group {group}")


def _stored(gains: np.ndarray, backdrop: bool) -> ColourMap:
    """Gains as a decoder will have them."""
    red, green, blue = (float(value) for value in gains)
    return colour_map(numbers_of_map(ColourMap((red, green, blue))), backdrop)
