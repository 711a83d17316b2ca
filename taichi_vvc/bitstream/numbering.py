"""Which frames of the capture the frames of a file are.

Most files have every frame, or every n-th, from ``first_frame`` on; the settings state ``frame_step`` where n is not 1.
A file that was put together from others may have several such runs. Its settings list them as ``pieces``: the first
frame, the step and the number of frames of each. An empty list means that the frames of the capture are not known.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from taichi_vvc.bitstream.settings import settings_text
from taichi_vvc.bitstream.syntax import MAX_FRAMES, MAX_SETTINGS, SequenceHeader

_NAMES = ("frame_step", "pieces")


def frame_step_of(header: SequenceHeader) -> int:
    """Frames of the capture per frame of the file: 1, or the ``frame_step`` that the settings state."""
    step = json.loads(header.settings).get("frame_step", 1)
    return step if type(step) is int and 1 <= step <= MAX_FRAMES else 1


def shows_detail(header: SequenceHeader) -> bool:
    """Whether a file was fitted to the detail of pictures that were reduced to the coded size."""
    return json.loads(header.settings).get("detail") == "on"


def capture_frames(header: SequenceHeader, count: int) -> list[int] | None:
    """The numbers in the capture of a file's ``count`` frames; None where they are not known."""
    pieces = json.loads(header.settings).get("pieces")
    if pieces is None:
        step = frame_step_of(header)
        return list(range(header.first_frame, header.first_frame + count * step, step))
    found: list[int] = []
    for piece in pieces if isinstance(pieces, list) else []:
        if not _is_piece(piece) or len(found) + piece[2] > count:
            return None
        first, step, length = piece
        found += range(first, first + length * step, step)
    return found if len(found) == count else None


def has_pieces(header: SequenceHeader) -> bool:
    """Whether the frames of a file are several runs of frames of the capture, or not known."""
    return "pieces" in json.loads(header.settings)


def _is_piece(piece: Any) -> bool:
    """Whether a value, which may come from anywhere, is a first frame, a step and a number of frames."""
    whole = isinstance(piece, list) and len(piece) == 3 and all(type(part) is int for part in piece)
    return whole and 0 <= piece[0] <= MAX_FRAMES and all(1 <= part <= MAX_FRAMES for part in piece[1:])


def with_numbering(header: SequenceHeader, numbers: Sequence[int] | None) -> SequenceHeader:
    """A header for frames that are these ``numbers`` of the capture, at least one; None: not known."""
    settings = {key: value for key, value in json.loads(header.settings).items() if key not in _NAMES}
    runs = _runs(numbers or ())
    if len(runs) == 1:
        first, step, _ = runs[0]
        if step > 1:
            settings["frame_step"] = step
        return replace(header, first_frame=first, settings=settings_text(settings))
    first_frame = numbers[0] if numbers else header.first_frame
    text = settings_text({**settings, "pieces": runs})
    if len(text.encode()) > MAX_SETTINGS:
        text = settings_text({**settings, "pieces": []})
    return replace(header, first_frame=first_frame, settings=text)


def _runs(numbers: Sequence[int]) -> list[list[int]]:
    """Numbers as runs of (first, step, count), each as long as possible, from the first on."""
    runs: list[list[int]] = []
    for number in numbers:
        if runs:
            first, step, count = runs[-1]
            if count == 1 and number > first:
                step = number - first
            if number == first + count * step:
                runs[-1] = [first, step, count + 1]
                continue
        runs.append([number, 1, 1])
    return runs
