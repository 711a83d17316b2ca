"""The result of a reader: the index of a capture, from which ``capture/sequence.py`` makes the sequence."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from taichi_vvc.capture.readers.lens import Undistortion
from taichi_vvc.errors import ConfigError, DataError
from taichi_vvc.media.images import Source
from taichi_vvc.types import Bounds, Camera


@dataclass(frozen=True)
class ImageEntry:
    """One picture on disk, not read yet.

    Attributes:
        camera: its camera, with the size of the stored picture.
        image, mask: the places of the picture and of its mask; a mask may be None.
        undistortion: resamples the stored picture to that of ``camera``, for lenses that Camera cannot describe.
    """

    camera: Camera
    image: Source
    mask: Source | None = None
    undistortion: Undistortion | None = None


@dataclass(frozen=True)
class CaptureIndex:
    """The selected part of a capture.

    Attributes:
        source: the file that describes the capture.
        indices: the capture's frame numbers that were selected.
        times: time of each selected frame, in the capture's own unit.
        entries: ``entries[frame][camera]``; the order of cameras is the same in all frames.
        bounds: the box that the capture states, world units, or None.
        fps: frames per second of the whole capture (before selection), or None.
        messages: one-line warnings for the user.
        layout: the name of the layout, see :mod:`taichi_vvc.capture.readers.layouts`.
        bounds_hint: a box to use if no other can be found.
        convention: the axes that a ``transform_matrix`` was taken to have, ``"opengl"`` or ``"opencv"``; None for
            layouts that have none.
    """

    source: Path
    indices: range
    times: tuple[float, ...]
    entries: tuple[tuple[ImageEntry, ...], ...]
    bounds: Bounds | None
    fps: Fraction | None
    messages: tuple[str, ...] = ()
    layout: str = "transforms"
    bounds_hint: Bounds | None = None
    convention: str | None = None


def select_frames(count: int, frames: slice | None, source: Path) -> tuple[range, tuple[str, ...]]:
    """The frame numbers that ``frames`` selects of ``count``, and a message if it asked for more than there are.

    Raises:
        ConfigError: ``frames`` is not a slice of whole numbers.
        DataError: nothing is selected, or the step is not positive.
    """
    if frames is None:
        return range(count), ()
    if not isinstance(frames, slice) or not all(map(_whole_or_open, (frames.start, frames.stop, frames.step))):
        raise ConfigError(
            f"expected frames to be a slice of whole numbers, such as slice(0, 3), or None for all, found {frames!r}"
        )
    if frames.step is not None and frames.step < 1:
        raise DataError(f"{source}: expected a positive frame step, found {frames.step}; frames only run forwards")
    chosen = range(count)[frames]
    asked = f"{'' if frames.start is None else frames.start}:{'' if frames.stop is None else frames.stop}"
    if not chosen:
        raise DataError(f"{source}: frames {asked} select nothing of {count}; frames are numbered 0 to {count - 1}")
    if frames.stop is not None and frames.stop > count:
        return chosen, (
            f"frames {asked} asked for, but the capture ends at {count}: using the {len(chosen)} there are",
        )
    return chosen, ()


def _whole_or_open(end: object) -> bool:
    """Whether ``end`` can be an end or the step of a slice: None, an int or a NumPy integer."""
    return end is None or hasattr(end, "__index__")
