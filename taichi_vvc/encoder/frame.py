"""A frame that is coded but not yet written, and whether a frame should rather have been a key frame."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from taichi_vvc.bitstream import StreamWriter
from taichi_vvc.bitstream.syntax import FrameData, GroupHeader
from taichi_vvc.field.grids import Field
from taichi_vvc.fit.optimize import Reference

# dB that an inter frame may lie below the best of its group before a key frame is tried in its place.
_LOST = 1.0
# dB by which a key frame is better than what follows without anything being lost, for its smaller lambda.
_LEAD = 0.5


@dataclass(frozen=True)
class CodedFrame:
    """What coding one frame gave.

    Attributes:
        reference: what the decoder will have.
        field: the same as a field.
        data: the frame's chunk.
        group: the header of the group that it starts; None for an inter frame.
        estimated: bits of the grids, as the fit counted them.
        quality: mean PSNR of the training views, dB.
        pixels: of one training view.
    """

    reference: Reference
    field: Field
    data: FrameData
    group: GroupHeader | None
    estimated: float
    quality: float
    pixels: float

    @property
    def size(self) -> int:
        """Bytes of all that is coded, framing left out."""
        own = len(self.data.occupancy) + len(self.data.motion) + sum(len(grid) for grid in self.data.grids)
        return own + (0 if self.group is None else len(self.group.mlp))

    def cost(self, weight: float) -> float:
        """Squared error of one view's pixels, summed, plus lambda times the bits: what a fit minimises."""
        return float(3 * self.pixels * 10 ** (-self.quality / 10) + weight * 8 * self.size)

    def append(self, writer: StreamWriter, cameras: bytes) -> dict[str, int]:
        """Writes the frame with what it says of its cameras; returns its bytes by component."""
        written = 0 if self.group is None else writer.add_group(self.group)
        written += writer.add_frame(replace(self.data, cameras=cameras))
        sizes = {"coefficients": len(self.data.grids[0])}
        sizes |= {f"level{n}": len(grid) for n, grid in enumerate(self.data.grids[1:], 1)}
        sizes["mlp"] = 0 if self.group is None else len(self.group.mlp)
        sizes["occupancy"] = len(self.data.occupancy)
        sizes["motion"] = len(self.data.motion)
        sizes["cameras"] = len(cameras)
        sizes["overhead"] = written - sum(sizes.values())
        return sizes


@dataclass
class GroupWatch:
    """Notices when a group loses the scene. It follows from the qualities of the group's frames alone.

    Attributes:
        best: PSNR of the group's best frame, dB, less the lead of its key frame.
        tries: frames for which a key frame was tried and did not pay.
        pause: frames to come for which none is tried: after the second such frame 1, then 3, 7 and so on.
    """

    best: float = -math.inf
    tries: int = 0
    pause: int = 0

    def lost(self, quality: float) -> bool:
        """Whether an inter frame of this PSNR (dB) is so poor that a key frame should be tried."""
        return quality < self.best - _LOST and not self.pause

    def observe(self, quality: float) -> None:
        """Takes note of a frame that was written."""
        if self.lost(quality):
            self.tries += 1
            self.pause = 2 ** (self.tries - 1) - 1
        else:
            self.pause = max(0, self.pause - 1)
        # Without any error a frame is no measure for others.
        if math.isfinite(quality):
            self.best = max(self.best, quality - (0.0 if math.isfinite(self.best) else _LEAD))
