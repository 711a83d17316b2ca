"""What an encode tells of itself while it runs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from taichi_vvc.field.grids import Field
from taichi_vvc.media.metrics import psnr_of_error
from taichi_vvc.types import FrameViews


@dataclass(frozen=True)
class Progress:
    """How far a frame is: ``frame`` of the file, ``step`` of ``steps``, running ``psnr`` (dB), estimated ``bits``.

    The first steps of a frame that follows on the one before are those of the search for motion, which count no bits.
    ``lambda_rate`` is what weighs the bits; ``probe`` counts the trials from 1 that look for the first lambda of an
    encode with a target, and is 0 while the file itself is written. ``check`` counts the quick fits from 1 that check
    the cameras' poses before anything else, and is 0 behind them.

    Where several parts are coded at once, ``frame`` and ``step`` are those of one of them; ``coded`` counts the frames
    of the file that are there, with the shares of those at hand, ``parts`` the parts that are whole and all parts of
    this run, and ``workers`` those that are at work. Otherwise ``workers`` is 0.
    """

    frame: int
    step: int
    steps: int
    psnr: float
    bits: float
    lambda_rate: float = 0.0
    probe: int = 0
    check: int = 0
    coded: float = 0.0
    parts: tuple[int, int] = (0, 0)
    workers: int = 0


@dataclass(frozen=True)
class Glimpse:
    """What an encode lets others look at: the ``field`` of a frame, and the ``views`` that it is fitted to.

    Attributes:
        number: of the frame within the file.
        background: sRGB in [0, 1].
        finished: True for the decoded frame as it is in the file, False for a fit under way. The field of a fit is
            the fit's own: it may be rendered through a copy with other opacity bounds, and is not to be changed.
    """

    number: int
    field: Field
    views: FrameViews
    background: tuple[float, float, float]
    finished: bool


@dataclass(frozen=True)
class Listener:
    """Who is told of an encode while it runs.

    Attributes:
        progress: called with each :class:`Progress`; None: nobody.
        preview: called with each :class:`Glimpse`; None: nobody.
        probe: number of the trial that looks for the first lambda, from 1; 0 while the file itself is written.
    """

    progress: Callable[[Progress], None] | None = None
    preview: Callable[[Glimpse], None] | None = None
    probe: int = 0

    def step(self, frame: int, done: tuple[int, int], error: float, bits: float, lambda_rate: float) -> None:
        """Tells how far a frame is. ``done``: steps and all steps; ``error``: mean squared error per channel."""
        if self.progress is not None:
            self.progress(Progress(frame, *done, psnr_of_error(max(error, 1e-10)), bits, lambda_rate, self.probe))

    def checked(self, number: int, done: tuple[int, int], error: float) -> None:
        """Tells how far quick fit ``number`` is, from 1, as :meth:`step` does of a frame's."""
        if self.progress is not None:
            self.progress(Progress(0, *done, psnr_of_error(max(error, 1e-10)), 0.0, check=number))

    def look(
        self, frame: int, field: Field, views: FrameViews, background: tuple[float, float, float], finished: bool
    ) -> None:
        """Shows a frame's field, see :class:`Glimpse`."""
        if self.preview is not None:
            self.preview(Glimpse(frame, field, views, background, finished))
