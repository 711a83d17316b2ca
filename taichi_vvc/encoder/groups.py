"""Where groups begin: which frames are key frames, and what each frame is predicted from."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from taichi_vvc.encoder.evidence import Evidence
from taichi_vvc.encoder.frame import CodedFrame, FrameTask, Job
from taichi_vvc.encoder.quality import Shown, as_shown, mean_psnr, training_pictures
from taichi_vvc.encoder.rate_control import Controller, FixedLambda
from taichi_vvc.encoder.resume import Position, written_group
from taichi_vvc.fit.changes import Change
from taichi_vvc.fit.occupancy import entered_cells, first_mask, scene_changed
from taichi_vvc.fit.prediction import Prediction, Reference
from taichi_vvc.media.colour_maps import corrected
from taichi_vvc.types import FrameViews, SymbolFrame

# dB that an inter frame may lie below the best of its group before a key frame is tried in its place.
_LOST = 1.0
# dB by which a key frame is better than what follows without any loss: its lambda is smaller, and its fit longer.
_LEAD = 1.5


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
        evidence: of what has changed since it was fitted.
    """

    job: Job
    control: Controller | FixedLambda
    position: Position
    watch: GroupWatch = field(default_factory=GroupWatch)
    evidence: Evidence = field(default_factory=Evidence)

    def task(self, views: FrameViews) -> FrameTask:
        """The next frame: a key frame where its group is full or the scene has changed, else an inter frame."""
        at, config = self.position, self.job.config
        reference = at.reference
        if reference is None:
            return self._key_frame(views, Prediction.scratch())
        mask = self._mask(views, reference.frame)
        before = reference.frame.occupancy
        cut = scene_changed(before, mask)
        full = at.number - at.first_of_group >= config.group_length(self.job.sequence.fps)
        # An empty stage has nothing to start a group with: the group before goes on until somebody enters.
        if mask.any() and (full or (cut and config.scenecut)):
            if cut or not before.any():
                return self._key_frame(views, Prediction.scratch())
            return self._next_group(self._inter_frame(views, reference, mask), reference)
        return self._inter_frame(views, reference, mask)

    def _inter_frame(self, views: FrameViews, reference: Reference, mask: np.ndarray) -> FrameTask:
        at = self.position
        weight, age = self.control.weight(False), at.number - at.first_with_mlp
        change = self._change(views, reference.frame, mask)
        shown = self.evidence.shown_in(views.views) if change is not None and not change.cells.any() else ()
        return FrameTask(at.number, views, mask, at.group, Prediction.inter(reference), age, weight, change, shown)

    def _next_group(self, inter: FrameTask, reference: Reference) -> FrameTask:
        """A key frame that goes on, in place of an ``inter`` frame: wherever nothing moves it shows nearly what the
        frame before shows, unless that is a key frame: where all are, each one gains a little."""
        held = self._held() if inter.change is None and not reference.frame.key else ()
        return replace(inter, group=inter.group + 1, lambda_rate=self.control.weight(True), opens=True, held=held)

    def _held(self) -> tuple[Shown, ...]:
        """The training views of the frame before and what it shows of them, of their detail where that is fitted."""
        before, field = self.evidence.shown, self.evidence.field
        if field is None or not any(s.view.detail is not None for s in before):
            return before
        return as_shown(self.job.ws, field, self.job.config.backdrop, [s.view.fine for s in before])

    def _mask(self, views: FrameViews, before: SymbolFrame) -> np.ndarray:
        """Where samples may be taken in an inter frame, (nz, ny, nx) bool."""
        job = self.job
        mask = first_mask(job.layout, views.views, before)
        if not any(v.has_alpha for v in views.views):
            seen = tuple(corrected(v) for v in views.views)
            mask |= entered_cells(job.ws, job.layout, seen, mask, job.config.backdrop)
        return mask

    def _change(self, views: FrameViews, before: SymbolFrame, mask: np.ndarray) -> Change | None:
        """What may change in an inter frame; None for everything.

        The first one of a group is fitted as a whole: all others profit from what it adds to the key frame.
        """
        if before.key or not self.job.config.partial:
            return None
        return self.evidence.change(self.job.ws, views.views, mask)

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
        self.evidence.observe(coded.field, coded.shown, coded.task.views.views, coded.task.change)

    def restore(self, path: Path) -> None:
        """Takes note of the frames of the group at the end of a file, as when they were written."""
        ws, background, before = self.job.ws, self.job.config.backdrop, None
        for found, frame, views in written_group(self.job.sequence, path, self.position):
            change = None if before is None else self._change(views, before, self._mask(views, before))
            if change is not None and not change.cells.any():
                shown = self.evidence.shown_in(views.views)
            else:
                shown = training_pictures(ws, found, background, views.views)
            if frame.occupancy.any():
                self.watch.observe(mean_psnr(shown))
            self.evidence.observe(found, shown, views.views, change)
            before = frame

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
