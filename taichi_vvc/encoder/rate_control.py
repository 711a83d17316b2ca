"""Rate control: the lambda of each frame, so that a file ends at the bitrate or the PSNR that was asked for.

Lines are kept for the first frame, for later key frames, which go on from what is before them, and for inter frames:
the logarithm of the bytes of the grids, or the PSNR, against the logarithm of lambda. The next frame gets the lambda
that would bring the whole file to its target if all frames to come were coded with it: equal slopes are what a budget
is best spent at, and a miss is made up for slowly.

Everything is derived from what the frames in the file turned out to be, and from the lambda of the first one, which
the header's settings hold. So a resumed encode goes on with the very lambdas of an unbroken one.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from fractions import Fraction

from taichi_vvc.config import EncoderConfig
from taichi_vvc.words import counted

TOLERANCE_RATE = 0.05
"""Fraction by which a file may miss its bitrate before that is said."""
TOLERANCE_PSNR = 0.2
"""dB by which a file may miss its PSNR before that is said."""
LAMBDA_RANGE = (1e-7, 0.33)
"""What rate control chooses from: bytes no longer change beyond it."""
# How much lambda may change from a frame to the next, and to a key frame with a bitrate: it starts afresh, and bytes
# can be told from lambda over a longer way than dB.
_CHANGE, _KEY_CHANGE = 1.5, 4.0
# Slopes against log lambda, of log bytes and of dB: usual, weight of the usual, least, most.
_RATE_KEY, _RATE_INTER, _PSNR = (-0.45, 0.5, -1.2, -0.08), (-0.75, 0.5, -1.2, -0.08), (-0.5, 0.3, -2.0, -0.1)
SHORT_GROUP = 4
"""Of groups up to this length the first two key frames are coded to find the first lambda."""
GOES_ON = 0.85
"""Bytes of a key frame that goes on from the frame before, as a part of the first one's, until one has been seen."""
# What a frame counts against the next one of its kind, and how many count at all.
_FADING, _REMEMBERED = 0.8, 50
# Lambda stays as it is while the file is on its way to within this of its target: a fraction of the bytes, and dB.
_SLACK_RATE, _SLACK_PSNR = 0.01, 0.06
# With a PSNR as target, no frame's lambda is farther from the first one's than this factor: where frames cannot reach
# the target, ever smaller lambdas would buy nothing for ever more bytes.
_PSNR_SPAN = 8.0

FIRST, LATER, INTER = range(3)
"""Kinds of frames: the first one, later key frames, inter frames."""


@dataclass(frozen=True)
class Outcome:
    """What a frame turned out to be.

    Attributes:
        key: whether it starts a group.
        coded: bytes of its grids, which lambda moves.
        fixed: the other bytes that it added to the file: MLPs, occupancy, framing.
        psnr: dB as ``tvvc eval`` measures it; not finite where it was not measured or the pictures agree exactly.
        empty: whether nothing was to be fitted, so that it says nothing about other frames.
        first: whether it is the first of the file, which had nothing to go on from.
    """

    key: bool
    coded: int
    fixed: int
    psnr: float = math.nan
    empty: bool = False
    first: bool = False

    @property
    def kind(self) -> int:
        """``FIRST``, ``LATER`` or ``INTER``."""
        return INTER if not self.key else FIRST if self.first else LATER


@dataclass(frozen=True)
class Target:
    """What a file is to become.

    Attributes:
        frames: in the file.
        group: frames from key frame to key frame.
        bytes: of all frames together, without header and index; None where the PSNR is the target.
        psnr: mean of all frames, dB; None where the bytes are the target.
        extra: bytes of header and index.
        fps: frames per second.
    """

    frames: int
    group: int
    bytes: float | None
    psnr: float | None
    extra: int
    fps: Fraction


def target_of(config: EncoderConfig, frames: int, fps: Fraction, extra: int) -> Target | None:
    """The target that the settings ask for; None if they give lambda itself. ``extra``: bytes of header and index."""
    if config.bitrate is None and config.target_psnr is None:
        return None
    budget = None if config.bitrate is None else config.bitrate * 125 * frames / float(fps) - extra
    return Target(frames, config.group_length(fps), budget, config.target_psnr, extra, fps)


@dataclass(frozen=True)
class _Line:
    """y = level + slope * (x - centre)."""

    centre: float
    level: float
    slope: float

    def at(self, x: float) -> float:
        return self.level + self.slope * (x - self.centre)


@dataclass
class Controller:
    """The state of rate control: the target and what the frames so far were coded with and turned out to be.

    Attributes:
        start: lambda of the first frame.
        history: (lambda, outcome) of each frame, in order.
    """

    target: Target
    start: float
    history: list[tuple[float, Outcome]] = field(default_factory=list)

    def weight(self, key: bool) -> float:
        """Lambda of the next frame."""
        known = {outcome.kind for _, outcome in self.history if not outcome.empty}
        # One of each kind is needed to tell what the rest will take.
        if not known or (self.target.group > 1 and INTER not in known):
            return self.start
        # Where groups are short, the search for the first lambda has seen a later key frame, and counted on it.
        if LATER not in known and len(self.history) <= self.target.group <= SHORT_GROUP:
            return self.start
        ahead = kinds_ahead(self.target, [o for _, o in self.history], key)
        least, most = (solve(self.target, self.history, ahead, slack) for slack in (1, -1))
        last = self.history[-1][0]
        wanted = min(max(last, least), most)
        change = _KEY_CHANGE if key and self.target.bytes is not None else _CHANGE
        least, most = last / change, last * change
        if self.target.psnr is not None:
            least, most = max(least, self.start / _PSNR_SPAN), min(most, self.start * _PSNR_SPAN)
        # Digits beyond these would be noise; a restart must not depend on them.
        return float(f"{min(max(wanted, least), most):.6g}")

    def observe(self, weight: float, outcome: Outcome) -> None:
        """Takes note of a frame that was written with lambda ``weight``."""
        self.history.append((weight, outcome))

    def missed(self, size: int) -> str | None:
        """One line if the finished file of ``size`` bytes misses its target; None if it meets it."""
        target, count = self.target, len(self.history)
        if target.bytes is not None:
            asked, found = kbps(target, target.bytes), kbps(target, size - target.extra)
            if abs(found / asked - 1) > TOLERANCE_RATE:
                return (
                    f"expected {asked:.0f} kbit/s, found {found:.0f} over {counted(count, 'frame')}; "
                    "give it more groups (more frames, or a smaller keyint), or a bitrate nearer to that"
                )
        if target.psnr is not None:
            found = mean_psnr([outcome for _, outcome in self.history])
            if abs(found - target.psnr) > TOLERANCE_PSNR:
                return (
                    f"expected {target.psnr:.2f} dB, found {found:.2f} over {counted(count, 'frame')}; "
                    "take another preset, or a target nearer to that"
                )
        return None


@dataclass(frozen=True)
class FixedLambda:
    """What stands for a :class:`Controller` where the settings give lambda itself."""

    lambda_rate: float

    def weight(self, key: bool) -> float:
        """Lambda of the next frame."""
        return self.lambda_rate

    def observe(self, weight: float, outcome: Outcome) -> None:
        """Takes no note of a frame: nothing depends on it."""

    def missed(self, size: int) -> str | None:
        """There is no target to miss."""
        return None


def restored(target: Target, start: float, outcomes: Sequence[Outcome]) -> Controller:
    """The controller of an encode that has written frames with these outcomes, beginning with lambda ``start``."""
    controller = Controller(target, start)
    for outcome in outcomes:
        controller.observe(controller.weight(outcome.key), outcome)
    return controller


def mean_psnr(outcomes: Sequence[Outcome]) -> float:
    """Mean over the frames with a finite PSNR, dB; NaN if there are none."""
    known = [outcome.psnr for outcome in outcomes if math.isfinite(outcome.psnr)]
    return sum(known) / len(known) if known else math.nan


def kbps(target: Target, size: float) -> float:
    """kbit/s of a file whose frames have ``size`` bytes together."""
    return (size + target.extra) / 125 * float(target.fps) / target.frames


def kinds_ahead(target: Target, outcomes: Sequence[Outcome], key: bool) -> list[int]:
    """The kind of each frame to come, the next one being a key frame or not."""
    since = 0 if key else next((n for n, o in enumerate(reversed(outcomes), 1) if o.key), 1)
    kinds = [INTER if (since + n) % target.group else LATER for n in range(target.frames - len(outcomes))]
    return kinds if outcomes or not kinds else [FIRST, *kinds[1:]]


def _lines(target: Target, history: Sequence[tuple[float, Outcome]]) -> tuple[_Line, _Line, _Line]:
    """What frames of each kind take at which log lambda: log bytes, or dB."""
    points: tuple[list[tuple[float, float]], ...] = ([], [], [])
    for weight, outcome in history:
        y = math.log(max(outcome.coded, 1)) if target.bytes is not None else outcome.psnr
        if not outcome.empty and math.isfinite(y):
            points[outcome.kind].append((math.log(weight), y))
    less = math.log(GOES_ON) if target.bytes is not None else 0.0
    first = points[FIRST] or points[LATER] or points[INTER]
    later = points[LATER] or [(x, y + less) for x, y in points[FIRST]] or points[INTER]
    # Bytes of inter frames answer more steeply than those of key frames, since their reference stays as it is.
    of_key, of_inter = (_RATE_KEY, _RATE_INTER) if target.bytes is not None else (_PSNR, _PSNR)
    key = _fitted(later, *of_key)
    return _fitted(first, *of_key), key, _fitted(points[INTER], *of_inter) if points[INTER] else key


def _fitted(points: Sequence[tuple[float, float]], usual: float, pull: float, least: float, most: float) -> _Line:
    """A line through points, the latest counting most; its slope is drawn to ``usual`` by ``pull`` and limited."""
    if not points:
        return _Line(0.0, 0.0, usual)
    points = points[-_REMEMBERED:]
    weights = [_FADING ** (len(points) - 1 - n) for n in range(len(points))]
    total = sum(weights)
    centre = sum(w * x for w, (x, _) in zip(weights, points, strict=True)) / total
    level = sum(w * y for w, (_, y) in zip(weights, points, strict=True)) / total
    product = sum(w * (x - centre) * (y - level) for w, (x, y) in zip(weights, points, strict=True))
    square = sum(w * (x - centre) ** 2 for w, (x, _) in zip(weights, points, strict=True))
    return _Line(centre, level, min(max((product + pull * usual) / (square + pull), least), most))


def forecast(
    target: Target, history: Sequence[tuple[float, Outcome]], ahead: Sequence[int]
) -> Callable[[float], float]:
    """What frames to come will take, as a function of log lambda: bytes, or dB summed over the frames.

    Args:
        target: tells which of the two.
        history: (lambda, outcome) of frames that were coded.
        ahead: kinds of the frames to come.
    """
    lines = _lines(target, history)
    fixed = [[o.fixed for _, o in history if o.kind == kind and not o.empty] for kind in range(3)]
    fixed[FIRST], fixed[LATER] = fixed[FIRST] or fixed[LATER], fixed[LATER] or fixed[FIRST]
    constant = [sum(values) / len(values) if values else 0.0 for values in fixed]
    coming = [ahead.count(kind) for kind in range(3)]

    def taken(x: float) -> float:
        values = [line.at(x) for line in lines]
        if target.bytes is not None:
            return sum(n * (c + math.exp(y)) for n, c, y in zip(coming, constant, values, strict=True))
        return sum(n * y for n, y in zip(coming, values, strict=True))

    return taken


def solve(target: Target, history: Sequence[tuple[float, Outcome]], ahead: Sequence[int], slack: int = 0) -> float:
    """The one lambda for all frames to come that brings the file to its target, within the range.

    ``slack``: 1 and -1 aim at the upper and the lower end of what counts as on target.
    """
    done = [outcome for _, outcome in history][: target.frames - len(ahead)]
    taken = forecast(target, history, ahead)
    spent = sum(o.coded + o.fixed for o in done)
    known = [o.psnr for o in done if math.isfinite(o.psnr)]

    def excess(x: float) -> float:
        """Bytes, or dB summed over the frames, above the target; falls as x grows."""
        if target.bytes is not None:
            return spent + taken(x) - target.bytes * (1 + slack * _SLACK_RATE)
        assert target.psnr is not None
        return sum(known) + taken(x) - (target.psnr + slack * _SLACK_PSNR) * (len(known) + len(ahead))

    return root(excess)


def root(excess: Callable[[float], float]) -> float:
    """The lambda, within the range, at which a falling function of log lambda is 0, or the end that is nearer."""
    low, high = (math.log(value) for value in LAMBDA_RANGE)
    for _ in range(50):
        middle = (low + high) / 2
        low, high = (middle, high) if excess(middle) > 0 else (low, middle)
    return math.exp((low + high) / 2)
