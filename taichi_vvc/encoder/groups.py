"""Where groups begin: which frames are key frames, and what each frame is predicted from."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace

from taichi_vvc.encoder.frame import CodedFrame, FrameTask, Job
from taichi_vvc.encoder.rate_control import Controller, FixedLambda
from taichi_vvc.encoder.resume import Position
from taichi_vvc.fit.occupancy import entered_cells, first_mask, scene_changed
from taichi_vvc.fit.prediction import Prediction
from taichi_vvc.media.colour_maps import corrected
from taichi_vvc.types import FrameViews

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

    @staticmethod
    def of(qualities: Iterable[float]) -> GroupWatch:
        """The watch over a group whose frames so far have these PSNR, dB."""
        watch = GroupWatch()
        for quality in qualities:
            watch.observe(quality)
        return watch


@dataclass
class Groups:
    """Says for each frame whether it is a key frame and what it is predicted from.

    Attributes:
        job: what coding a frame takes.
        control: gives each frame its lambda.
        position: where the next frame goes.
        watch: over the group at hand.
    """

    job: Job
    control: Controller | FixedLambda
    position: Position
    watch: GroupWatch

    def task(self, views: FrameViews) -> FrameTask:
        """The next frame: a key frame where its group is full or the scene has changed, else an inter frame."""
        at, config = self.position, self.job.config
        reference = at.reference
        if reference is None:
            return self._key_frame(views, Prediction.scratch())
        mask = first_mask(self.job.layout, views.views, reference.frame)
        if not any(v.has_alpha for v in views.views):
            seen = tuple(corrected(v) for v in views.views)
            mask |= entered_cells(self.job.ws, self.job.layout, seen, mask, config.backdrop)
        before = reference.frame.occupancy
        cut = scene_changed(before, mask)
        full = at.number - at.first_of_group >= config.group_length(self.job.sequence.fps)
        # An empty stage has nothing to start a group with: the group before goes on until somebody enters.
        if mask.any() and (full or (cut and config.scenecut)):
            goes_on = before.any() and not cut
            return self._key_frame(views, Prediction.going_on(reference) if goes_on else Prediction.scratch())
        weight, age = self.control.weight(False), at.number - at.first_with_mlp
        return FrameTask(at.number, views, mask, at.group, Prediction.inter(reference), age, weight)

    def key_frame_instead(self, coded: CodedFrame) -> FrameTask | None:
        """A key frame to be tried in place of an inter frame that has lost the scene; None where none should be.

        Something may have come up that the group cannot show.
        """
        task, reference = coded.task, self.position.reference
        if task.prediction.key or reference is None or not task.mask.any() or not self.job.config.scenecut:
            return None
        if not self.watch.lost(coded.quality):
            return None
        return replace(self._key_frame(task.views, Prediction.going_on(reference)), mlp_age=math.inf)

    def observe(self, coded: CodedFrame) -> None:
        """Takes note of the frame that was chosen."""
        self.position = self.position.after(coded.reference, coded.group)
        if coded.group is not None:
            self.watch = GroupWatch()
        # An empty stage is no measure for others.
        if coded.reference.frame.occupancy.any():
            self.watch.observe(coded.quality)

    def _key_frame(self, views: FrameViews, prediction: Prediction) -> FrameTask:
        at = self.position
        mask = first_mask(self.job.layout, views.views, None)
        group = at.group if at.reference is None else at.group + 1
        age, weight = at.number - at.first_with_mlp, self.control.weight(True)
        return FrameTask(at.number, views, mask, group, prediction, age, weight)


def cheaper(inter: CodedFrame, key: CodedFrame) -> CodedFrame:
    """Of two ways to code a frame the one that costs less, by the lambda of the inter frame."""
    weight = inter.task.lambda_rate
    return key if key.cost(weight) < inter.cost(weight) else inter
