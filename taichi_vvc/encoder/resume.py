"""Where in a file an encode stands: all that the frames before decide about the next one."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from taichi_vvc.bitstream import StreamReader
from taichi_vvc.bitstream.poses import CameraTrack
from taichi_vvc.coding.moving_cameras import CameraReader
from taichi_vvc.decode import Stream
from taichi_vvc.fit.optimize import Reference


@dataclass(frozen=True)
class Position:
    """Where in a file the next frame goes.

    Attributes:
        number: of the frame.
        reference: what it may be predicted from.
        group: that it is in.
        first_of_group: number of the group's first frame.
        first_with_mlp: number of the first frame whose group has the same MLPs.
        cameras: those of the frame before, as they are stored; None for the header's.
    """

    number: int = 0
    reference: Reference | None = None
    group: int = 0
    first_of_group: int = 0
    first_with_mlp: int = 0
    cameras: CameraTrack | None = None


def position_behind(path: Path, done: int) -> Position:
    """Behind the first ``done`` frames of a file."""
    if not done:
        return Position()
    with Stream(path) as stream, StreamReader(path) as reader:
        reference = Reference(stream.symbols(done - 1), stream.parameters(done - 1))
        group = stream.info(done - 1).group
        first, with_mlp = reader.groups[group].first_frame, reader.owner_of_mlp(group).first_frame
        return Position(done, reference, group, first, with_mlp, CameraReader(reader).track(done - 1))
