"""Rate control and files: what an encode's target is, and what rate control is told of a frame.

:mod:`taichi_vvc.encoder.rate_control` has the control itself, which knows neither files nor captures.
"""

from __future__ import annotations

from fractions import Fraction

from taichi_vvc.bitstream.chunks import FRAMING, PREAMBLE_BYTES, pack_index
from taichi_vvc.bitstream.contents import Entry, FrameEntry, GroupEntry
from taichi_vvc.bitstream.syntax import SequenceHeader
from taichi_vvc.bitstream.versions import WRITTEN, pack_header
from taichi_vvc.config import EncoderConfig
from taichi_vvc.encoder.rate_control import SHORT_GROUP, Outcome, Target, target_of
from taichi_vvc.types import SymbolFrame

# Frames that are coded to find the first lambda: a key frame and what follows it. Quality sinks within a group.
_PROBED_RATE, _PROBED_PSNR = 2, 3


def file_target(
    config: EncoderConfig, frames: int, fps: Fraction, header: SequenceHeader, sound: int = 0
) -> Target | None:
    """The target of a file of so many frames, its header, index and ``sound`` (bytes) being paid for; None without
    one."""
    start = PREAMBLE_BYTES + FRAMING + len(pack_header(header, WRITTEN))
    group = config.group_length(fps)
    entries: list[Entry] = []
    for number in range(frames):
        if number % group == 0:
            entries.append(GroupEntry(number // group, number, 0, 2000))
        entries.append(FrameEntry(number, "inter" if number % group else "key", number // group, 0, 5000))
    paid = start + FRAMING + len(pack_index(start, entries, frames, fps, WRITTEN)) + sound
    return target_of(config, frames, fps, paid)


def probed_frames(target: Target) -> int:
    """How many of the first frames tell what lambda to begin with.

    Of short groups the first and the key frame behind it: there are many such, and they differ from the first frame.
    """
    if target.group <= SHORT_GROUP:
        return min(target.frames, target.group + 1)
    return min(target.frames, _PROBED_PSNR if target.bytes is None else _PROBED_RATE)


def outcome_of(number: int, frame: SymbolFrame, sizes: dict[str, int], quality: float) -> Outcome:
    """Frame ``number`` for rate control. ``sizes``: bytes by component; ``quality``: see
    :func:`taichi_vvc.encoder.quality.judged_psnr`."""
    coded = sum(size for name, size in sizes.items() if name == "coefficients" or name.startswith("level"))
    return Outcome(frame.key, coded, sum(sizes.values()) - coded, quality, not frame.occupancy.any(), number == 0)
