"""Which frames are in which part of an encode."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from fractions import Fraction

from taichi_vvc.capture.sequence import MultiViewSequence
from taichi_vvc.encoder.trusted_views import views_of
from taichi_vvc.errors import ConfigError
from taichi_vvc.fit.occupancy import first_mask
from taichi_vvc.types import FieldLayout

# Seconds of a part, if nothing else is asked for.
_SECONDS = 20


def usual_length(fps: Fraction) -> int:
    """Frames of a part, if nothing else is asked for: twenty seconds."""
    return max(1, round(_SECONDS * fps))


@dataclass(frozen=True)
class Part:
    """A run of whole groups.

    Attributes:
        number: of the part, from 0.
        start: its first frame.
        stop: the frame behind its last one.
    """

    number: int
    start: int
    stop: int

    def __len__(self) -> int:
        return self.stop - self.start


def planned(frames: int, group: int, length: int, begins: Callable[[int], bool] | None = None) -> tuple[Part, ...]:
    """The parts of a sequence.

    All have the same number of groups, give or take one, and at most ``length`` frames if a group has no more.

    Args:
        frames: of the sequence, at least one.
        group: frames of a group.
        length: frames of a part.
        begins: whether a part can begin with a frame. Where it cannot, the part before goes on. None: with any.

    Raises:
        ConfigError: the length is not positive.
    """
    if length < 1:
        raise ConfigError(f"expected parts of one frame or more, found {length}")
    groups = -(-frames // group)
    count = -(-groups // max(1, length // group))
    edges = [k * groups // count * group for k in range(1, count)]
    starts = [0, *(edge for edge in edges if begins is None or begins(edge))]
    return tuple(Part(n, a, b) for n, (a, b) in enumerate(zip(starts, [*starts[1:], frames], strict=True)))


def shows_something(sequence: MultiViewSequence, layout: FieldLayout, number: int) -> bool:
    """Whether a part can begin with a frame: its masks leave something to start with.

    Raises:
        DataError: a picture or mask cannot be read.
    """
    if not sequence.has_alpha:
        return True
    return bool(first_mask(layout, views_of(sequence, layout, number).views, None).any())


def piece(sequence: MultiViewSequence, part: Part) -> MultiViewSequence:
    """The frames of a part, with the cameras, bounds and frame rate of the whole sequence."""
    chosen = slice(part.start, part.stop)
    indices = sequence.indices[chosen]
    return replace(
        sequence,
        entries=sequence.entries[chosen],
        times=sequence.times[chosen],
        indices=indices,
        first_index=indices[0],
        messages=(),
    )
