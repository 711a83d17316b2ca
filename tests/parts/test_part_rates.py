"""Targets of encodes in parts, with simulated encoders: all of them meet their targets, part by part."""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction
from random import Random

import pytest

from taichi_vvc.encoder.rate_control import Controller, Outcome, Target, mean_psnr
from taichi_vvc.errors import ConfigError
from taichi_vvc.parts.plan import Part, planned
from taichi_vvc.parts.rate import find_goals, part_target, places

FPS = Fraction(25)
EXTRA = 3000


def frame(number: int, weight: float, group: int, part: Part, busy: float, seed: int) -> Outcome:
    """What a fit might give for a frame of a part, from formulas of lambda. ``busy`` scales bytes and lowers dB."""
    random = Random(seed * 10007 + part.start + number)
    key, relative = number % group == 0, weight / 5e-4
    size = 12000 * busy * (relative**-0.45 if key else 0.45 * relative**-0.75) * (0.85 if key and number else 1.0)
    quality = 31.0 - 1.5 * math.log(busy) - 0.8 * math.log1p(relative**0.9) - 0.02 * (number % group)
    noise = 1 + 0.1 * random.uniform(-1, 1)
    mlp = 2400 if not number else 300
    return Outcome(key, int(size * noise), mlp, quality + 0.1 * random.uniform(-1, 1), first=not number)


def encoded(target: Target, group: int, length: int, busy: Sequence[float]) -> tuple[list[Outcome], list[float]]:
    """The frames of an encode in parts of so different scenes, and the lambdas of all parts."""
    parts = planned(target.frames, group, length)

    def of(part: Part) -> float:
        return busy[part.number * len(busy) // len(parts)]

    def probe(weight: float) -> list[list[Outcome]]:
        return [
            [frame(n, weight, group, part, of(part), 1) for n in range(min(3, len(part)))] for part in places(parts)
        ]

    start, goals = find_goals(target, parts, 5e-4, probe)
    outcomes, weights = [], []
    for part, goal in zip(parts, goals, strict=True):
        own = part_target(target, part, goal)
        assert own is not None
        control = Controller(own, start)
        for number in range(len(part)):
            weight = control.weight(number % group == 0)
            control.observe(weight, frame(number, weight, group, part, of(part), 2))
        outcomes += [outcome for _, outcome in control.history]
        weights += [weight for weight, _ in control.history]
    return outcomes, weights


@pytest.mark.parametrize("busy", [(1.0,), (1.0, 2.0), (0.4, 1.0, 3.0, 0.8)])
@pytest.mark.parametrize("length", [25, 50, 100])
@pytest.mark.parametrize("group", [5, 25])
def test_all_parts_together_meet_a_bitrate(group: int, length: int, busy: tuple[float, ...]) -> None:
    budget = 1200 * 125 * 400 / 25
    target = Target(400, group, budget - EXTRA, None, EXTRA, FPS)
    outcomes, weights = encoded(target, group, length, busy)
    size = sum(o.coded + o.fixed for o in outcomes) + EXTRA
    assert abs(size / budget - 1) < 0.05
    # What is busy gets more, and not a coarser lambda, where each scene was looked at.
    assert length < 100 or max(weights) / min(weights) < 2


@pytest.mark.parametrize("busy", [(1.0,), (1.0, 2.0), (0.4, 1.0, 3.0, 0.8)])
@pytest.mark.parametrize("length", [25, 100])
def test_all_parts_together_meet_a_psnr(length: int, busy: tuple[float, ...]) -> None:
    target = Target(400, 25, None, 29.5, EXTRA, FPS)
    outcomes, _ = encoded(target, 25, length, busy)
    assert abs(mean_psnr(outcomes) - 29.5) < 0.2


def test_what_no_lambda_reaches_is_refused() -> None:
    with pytest.raises(ConfigError, match="expected a bitrate that the preset reaches, found 30 kbit/s"):
        encoded(Target(400, 25, 30 * 125 * 16 - EXTRA, None, EXTRA, FPS), 25, 100, (1.0,))
    with pytest.raises(ConfigError, match="expected a PSNR that the preset reaches, found 45 dB"):
        encoded(Target(400, 25, None, 45.0, EXTRA, FPS), 25, 100, (1.0,))


def test_places_are_spread_over_all_parts() -> None:
    assert [part.number for part in places(planned(2, 1, 1))] == [0, 1]
    assert [part.number for part in places(planned(100, 1, 1))] == [12, 37, 62, 87]


def test_without_a_target_parts_have_none() -> None:
    assert part_target(None, Part(0, 0, 5), (None, None)) is None
