"""Where groups begin: which frames are key frames."""

from __future__ import annotations

import math
from dataclasses import dataclass

# dB that an inter frame may lie below the best of its group before a key frame is tried in its place.
_LOST = 1.0
# dB by which a key frame is better than what follows without anything being lost, for its smaller lambda.
_LEAD = 0.5


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
