"""Targets of an encode in parts: one lambda for all parts to begin with, and what each part is to become.

The first frames of a few parts are coded with some lambdas. What they take at any lambda is known from there, and of
the parts between them it is taken to lie between. One lambda for all parts spends a budget best; so each part's goal is
what it would become with the one lambda at which all of them together meet the target. Then it steers towards its own
goal, whatever becomes of the others.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from taichi_vvc.capture.sequence import MultiViewSequence
from taichi_vvc.config import EncoderConfig
from taichi_vvc.encoder.first_lambda import reached, search
from taichi_vvc.encoder.progress import Listener, Progress
from taichi_vvc.encoder.rate_control import Outcome, Target, forecast, kinds_ahead, root
from taichi_vvc.encoder.settle import header_for, probed
from taichi_vvc.encoder.targets import file_target, probed_frames
from taichi_vvc.field.workspace import Workspace
from taichi_vvc.parts.plan import Part, piece

# Parts whose first frames are coded to find the lambda.
_PLACES = 4

Goal = tuple[float | None, float | None]
"""What a part is to become: bytes of its frames, or their mean PSNR in dB; (None, None) without a target."""


def plan_rate(
    ws: Workspace,
    sequence: MultiViewSequence,
    config: EncoderConfig,
    parts: Sequence[Part],
    progress: Callable[[Progress], None] | None = None,
) -> tuple[float, tuple[Goal, ...]]:
    """The lambda that all parts begin with, and the goal of each.

    Raises:
        ConfigError: no lambda reaches the target.
    """
    target = whole_target(sequence, config)
    assert target is not None
    probes = itertools.count(1)

    def probe(weight: float) -> list[list[Outcome]]:
        listener, settings = Listener(progress, probe=next(probes)), replace(config, lambda_rate=weight)
        return [
            probed(ws, piece(sequence, part), settings, probed_frames(_of(target, part)), listener)
            for part in places(parts)
        ]

    return find_goals(target, parts, config.lambda_rate, probe)


def whole_target(sequence: MultiViewSequence, config: EncoderConfig) -> Target | None:
    """The target of the whole file; None without one."""
    return file_target(config, len(sequence), sequence.fps, header_for(sequence, config))


def places(parts: Sequence[Part]) -> list[Part]:
    """The parts whose first frames stand for all: a few, spread evenly."""
    count = min(_PLACES, len(parts))
    return [parts[(2 * k + 1) * len(parts) // (2 * count)] for k in range(count)]


def find_goals(
    target: Target,
    parts: Sequence[Part],
    guess: float,
    probe: Callable[[float], Sequence[Sequence[Outcome]]],
) -> tuple[float, tuple[Goal, ...]]:
    """The lambda that all parts begin with, and the goal of each.

    Args:
        target: of the whole file.
        parts: all parts.
        guess: lambda to begin with.
        probe: codes the first frames of :func:`places` with a lambda.

    Raises:
        ConfigError: no lambda reaches the target.
    """
    tried = [(_of(target, part), part, list[tuple[float, Outcome]]()) for part in places(parts)]
    middles = [(part.start + part.stop) / 2 for part in parts]
    frames = np.array([len(part) for part in parts], np.float64)

    def of_parts(values: Sequence[float]) -> np.ndarray:
        """Bytes or summed dB of each part, from those of the places."""
        each = [value / len(part) for value, (_, part, _) in zip(values, tried, strict=True)]
        at = [(part.start + part.stop) / 2 for _, part, _ in tried]
        return np.asarray(np.interp(middles, at, each) * frames)

    def expected(x: float) -> np.ndarray:
        """The same at log lambda ``x``, from all attempts so far."""
        return of_parts([forecast(own, history, kinds_ahead(own, [], True))(x) for own, _, history in tried])

    goal = target.bytes if target.bytes is not None else (target.psnr or 0.0) * target.frames

    def attempt(weight: float) -> tuple[float, float]:
        found = []
        for (own, part, history), outcomes in zip(tried, probe(weight), strict=True):
            history += [(weight, outcome) for outcome in outcomes]
            found.append(reached(own, outcomes) * (1 if target.bytes is not None else len(part)))
        total = float(of_parts(found).sum())
        wanted = root(lambda x: float(expected(x).sum()) - goal)
        return total if target.bytes is not None else total / target.frames, wanted

    weight = search(target, guess, min(len(part) for part in parts), attempt)
    values = expected(math.log(weight))
    if target.bytes is not None:
        return weight, tuple((float(value), None) for value in values * (goal / values.sum()))
    level = values / frames + (goal - values.sum()) / target.frames
    return weight, tuple((None, float(value)) for value in level)


def _of(target: Target, part: Part) -> Target:
    return replace(target, frames=len(part), extra=0)


def part_target(target: Target | None, part: Part, goal: Goal) -> Target | None:
    """The target of one part with a ``goal``; None without one."""
    return None if target is None else replace(_of(target, part), bytes=goal[0], psnr=goal[1])
