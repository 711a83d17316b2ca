"""Rate control with simulated encoders, whose bytes and PSNR are formulas of lambda: all of them meet their targets."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from fractions import Fraction
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from taichi_vvc.config import PRESETS, EncoderConfig, crf_of_lambda, lambda_of_crf
from taichi_vvc.encoder.first_lambda import find_start
from taichi_vvc.encoder.rate_control import (
    TOLERANCE_PSNR,
    TOLERANCE_RATE,
    Controller,
    Outcome,
    Target,
    mean_psnr,
    restored,
    target_of,
)
from taichi_vvc.errors import ConfigError

FPS = Fraction(25)
EXTRA = 3000


@dataclass(frozen=True)
class Encoder:
    """Frames as formulas of lambda, with noise: what a fit might give."""

    key_bytes: float = 12000.0  # of the grids at lambda 5e-4
    inter_part: float = 0.45
    key_slope: float = 0.45
    inter_slope: float = 0.75
    mlp: int = 2400
    noise: float = 0.0  # relative, uniform
    psnr: float = 31.0  # what lambda 0 gives
    fall: float = 0.0  # dB per frame within a group
    wobble: float = 0.0  # dB, uniform
    seed: int = 0

    def frame(self, number: int, weight: float, group: int) -> Outcome:
        random = Random(self.seed * 10007 + number)
        key = number % group == 0
        relative = weight / 5e-4
        size = self.key_bytes * relative**-self.key_slope
        if not key:
            size = self.key_bytes * self.inter_part * relative**-self.inter_slope
        coded = int(size * (1 + self.noise * random.uniform(-1, 1)))
        quality = self.psnr - 0.8 * math.log1p(relative**0.9) - self.fall * (number % group)
        return Outcome(key, coded, self.mlp if key else 240, quality + self.wobble * random.uniform(-1, 1))


def start_of(encoder: Encoder, target: Target, probes: list[float] | None = None) -> float:
    def probe(weight: float) -> list[Outcome]:
        if probes is not None:
            probes.append(weight)
        return [encoder.frame(n, weight, target.group) for n in range(min(target.frames, target.group, 3))]

    return find_start(target, 5e-4, probe)


def encoded(encoder: Encoder, target: Target) -> Controller:
    """A whole encode."""
    controller = Controller(target, start_of(encoder, target))
    for number in range(target.frames):
        weight = controller.weight(number % target.group == 0)
        controller.observe(weight, encoder.frame(number, weight, target.group))
    return controller


def size_of(controller: Controller) -> int:
    return EXTRA + sum(outcome.coded + outcome.fixed for _, outcome in controller.history)


def rate_target(encoder: Encoder, weight: float, frames: int, group: int) -> Target:
    """The bytes that a constant lambda would give but for the noise."""
    quiet = [replace(encoder, noise=0.0).frame(n, weight, group) for n in range(frames)]
    return Target(frames, group, sum(o.coded + o.fixed for o in quiet), None, EXTRA, FPS)


encoders = st.builds(
    Encoder,
    key_bytes=st.floats(4e3, 4e5),
    inter_part=st.floats(0.15, 1.0),
    key_slope=st.floats(0.3, 0.7),
    inter_slope=st.floats(0.5, 1.0),
    mlp=st.integers(500, 3000),
    noise=st.floats(0, 0.12),
    psnr=st.floats(26, 40),
    fall=st.floats(0, 0.04),
    wobble=st.floats(0, 0.15),
    seed=st.integers(0, 1000),
)
# Frames per group and groups; four frames or more to a group, or as many groups instead.
shapes = st.sampled_from([(1, 12), (2, 6), (4, 3), (4, 5), (8, 3), (25, 3), (25, 8)])


@settings(deadline=None, max_examples=150)
@given(encoder=encoders, shape=shapes, crf=st.floats(13, 33))
def test_a_bitrate_is_met_within_five_percent(encoder: Encoder, shape: tuple[int, int], crf: float) -> None:
    group, groups = shape
    target = rate_target(encoder, lambda_of_crf(crf), group * groups, group)
    controller = encoded(encoder, target)
    assert size_of(controller) == pytest.approx(target.bytes + EXTRA, rel=TOLERANCE_RATE)
    assert controller.missed(size_of(controller)) is None


@settings(deadline=None, max_examples=150)
@given(encoder=encoders, shape=shapes, below=st.floats(0.6, 4))
def test_a_psnr_is_met_within_its_tolerance(encoder: Encoder, shape: tuple[int, int], below: float) -> None:
    group, groups = shape
    goal = encoder.psnr - encoder.fall * (group - 1) / 2 - below
    controller = encoded(encoder, Target(group * groups, group, None, goal, EXTRA, FPS))
    assert mean_psnr([outcome for _, outcome in controller.history]) == pytest.approx(goal, abs=TOLERANCE_PSNR)
    assert controller.missed(0) is None


@settings(deadline=None, max_examples=50)
@given(encoder=encoders, shape=shapes, cut=st.floats(0, 1), rate=st.booleans())
def test_a_restart_goes_on_with_the_very_lambdas(
    encoder: Encoder, shape: tuple[int, int], cut: float, rate: bool
) -> None:
    group, groups = shape
    frames = group * groups
    target = rate_target(encoder, 1e-3, frames, group)
    if not rate:
        target = replace(target, bytes=None, psnr=encoder.psnr - 2)
    whole = encoded(encoder, target)
    done = int(cut * frames)
    again = restored(target, whole.start, [outcome for _, outcome in whole.history[:done]])
    for number in range(done, frames):
        weight = again.weight(number % group == 0)
        again.observe(weight, encoder.frame(number, weight, group))
    assert again.history == whole.history


def test_lambda_is_steady_where_the_capture_is() -> None:
    """With nothing to correct, no frame pays for another."""
    encoder = Encoder()
    controller = encoded(encoder, rate_target(encoder, 1e-3, 24, 8))
    weights = [weight for weight, _ in controller.history]
    assert max(weights) < 1.1 * min(weights)


def test_a_scene_that_gets_dearer_is_paid_for_in_the_end() -> None:
    encoder = Encoder(noise=0.05)
    target = rate_target(encoder, 5e-4, 40, 8)
    controller = Controller(target, start_of(encoder, target))
    for number in range(40):
        weight = controller.weight(number % 8 == 0)
        dearer = encoder if number < 20 else replace(encoder, key_bytes=2 * encoder.key_bytes)
        controller.observe(weight, dearer.frame(number, weight, 8))
    assert size_of(controller) == pytest.approx(target.bytes + EXTRA, rel=TOLERANCE_RATE)
    assert controller.history[-1][0] > 1.5 * controller.history[15][0]


def test_a_target_near_the_guess_takes_one_probe_and_a_far_one_few() -> None:
    for weight, most in ((4e-4, 1), (1e-3, 1), (2e-2, 3), (1e-5, 3)):
        probes: list[float] = []
        found = start_of(Encoder(), rate_target(Encoder(), weight, 24, 8), probes)
        assert len(probes) <= most and found == pytest.approx(weight, rel=0.3)


@pytest.mark.parametrize(
    ("target", "words"),
    [
        (Target(24, 8, 3 * 2400 - 800, None, EXTRA, FPS), ["header, MLPs and masks", "larger bitrate"]),
        (Target(24, 8, -100.0, None, EXTRA, FPS), ["header, MLPs and masks"]),
        (Target(24, 8, 1e12, None, EXTRA, FPS), ["without regard to bytes", "smaller bitrate"]),
        (Target(24, 8, None, 35.0, EXTRA, FPS), ["35 dB", "30.99 dB at most", "slower preset"]),
        (Target(24, 8, None, 5.0, EXTRA, FPS), ["5 dB", "at least", "larger target"]),
    ],
)
def test_what_cannot_be_reached_is_said_at_once(target: Target, words: list[str]) -> None:
    with pytest.raises(ConfigError) as error:
        start_of(Encoder(inter_part=0.2), target)
    for word in words:
        assert word in str(error.value)
    assert "\n" not in str(error.value)


def test_a_target_that_later_frames_cannot_reach_is_told_and_does_not_blow_up_the_file() -> None:
    encoder = Encoder()
    target = Target(24, 8, None, encoder.psnr - 0.5, EXTRA, FPS)
    controller = Controller(target, start_of(encoder, target))
    for number in range(24):
        weight = controller.weight(number % 8 == 0)
        controller.observe(weight, replace(encoder, psnr=encoder.psnr - (2 if number else 0)).frame(number, weight, 8))
    message = controller.missed(0)
    assert message is not None and f"expected {target.psnr:.2f} dB" in message and "\n" not in message
    assert min(weight for weight, _ in controller.history) >= controller.start / 8 * 0.999


def test_a_missed_bitrate_is_told() -> None:
    controller = Controller(Target(4, 4, 10000.0, None, EXTRA, FPS), 1e-3)
    assert controller.missed(13000) is None and controller.missed(13600) is None
    message = controller.missed(15000)
    assert message is not None and "expected 650 kbit/s, found 750" in message


def test_an_empty_stage_says_nothing_about_other_frames() -> None:
    encoder = Encoder()
    target = rate_target(encoder, 1e-3, 24, 8)
    with_gap = Controller(target, 1e-3)
    for number in range(6):
        gap = number in (3, 4)
        outcome = Outcome(False, 8, 30, math.inf, empty=True) if gap else encoder.frame(number, 1e-3, 8)
        with_gap.observe(1e-3, outcome)
    # Bytes were saved, so that lambda may fall; but no frame is taken to need eight bytes.
    assert 0.5e-3 < with_gap.weight(False) < 1e-3
    assert mean_psnr([o for _, o in with_gap.history]) < 40


def test_an_empty_stage_has_no_psnr_to_weigh() -> None:
    controller = Controller(Target(8, 4, None, 30.0, EXTRA, FPS), 1e-3)
    for outcome in (
        Outcome(True, 9000, 2400, 30.0),
        Outcome(False, 8, 30, math.inf, True),
        Outcome(False, 900, 200, 30.0),
    ):
        controller.observe(1e-3, outcome)
    assert controller.weight(False) == 1e-3


def test_crf_is_spaced_as_people_know_it() -> None:
    assert lambda_of_crf(23) == EncoderConfig().lambda_rate == 5e-4
    assert all(preset.lambda_rate == lambda_of_crf(23) for preset in PRESETS.values())
    assert lambda_of_crf(29) == pytest.approx(4 * lambda_of_crf(23))
    for crf in (0, 17.5, 51):
        assert crf_of_lambda(lambda_of_crf(crf)) == pytest.approx(crf)
    assert crf_of_lambda(0) == -math.inf


def test_settings_name_their_target() -> None:
    config = EncoderConfig(keyint=8)
    assert target_of(config, 24, FPS, EXTRA) is None
    assert {"bitrate", "target_psnr"} & config.settings().keys() == set()
    rate = replace(config, bitrate=800.0)
    assert rate.settings()["bitrate"] == 800.0
    # 800 kbit/s are 4000 bytes per frame at 25 frames/s.
    assert target_of(rate, 24, FPS, EXTRA) == Target(24, 8, 24 * 4000 - EXTRA, None, EXTRA, FPS)
    assert target_of(replace(config, target_psnr=31.5), 24, FPS, EXTRA) == Target(24, 8, None, 31.5, EXTRA, FPS)


@pytest.mark.parametrize(
    "values", [{"bitrate": 0.0}, {"bitrate": math.inf}, {"target_psnr": -1.0}, {"bitrate": 1.0, "target_psnr": 30.0}]
)
def test_wrong_targets_are_refused(values: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match="expected"):
        EncoderConfig(**values)
