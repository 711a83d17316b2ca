"""The lambda that a rate-controlled encode begins with: the first frames are coded until the target seems in reach."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from taichi_vvc.encoder.rate_control import (
    LAMBDA_RANGE,
    TOLERANCE_PSNR,
    TOLERANCE_RATE,
    Outcome,
    Target,
    kbps,
    kinds_ahead,
    mean_psnr,
    solve,
)
from taichi_vvc.errors import ConfigError

_MOST_PROBES = 6
# Probes end when what the lines want is so close to what was tried (in log lambda) that the frames of the file can see
# to the rest. Bytes are nearly straight lines, dB are not. A short file has few frames to see to anything.
_CLOSE_RATE, _CLOSE_PSNR, _CLOSE_SHORT = 0.7, 0.3, 0.1
_SHORT = 6  # frames; or fewer than three groups
# dB bend too much to be followed farther than this factor of lambda at once.
_PSNR_STEP = 16.0
# Four times fewer lambda that gain less than this (dB) show that the preset is the limit.
_LEAST_GAIN = 0.1


def find_start(target: Target, guess: float, probe: Callable[[float], Sequence[Outcome]]) -> float:
    """Lambda for the first frame, found by coding the first frames with several.

    Args:
        target: of the whole file.
        guess: lambda to begin with.
        probe: codes the first frames, a key frame and inter frames if the target has any, with one lambda.

    Raises:
        ConfigError: no lambda reaches the target; the message says what can be reached.
    """
    history: list[tuple[float, Outcome]] = []

    def attempt(weight: float) -> tuple[float, float]:
        outcomes = list(probe(weight))
        history.extend((weight, outcome) for outcome in outcomes)
        return reached(target, outcomes), solve(target, history, kinds_ahead(target, [], True))

    return search(target, guess, target.frames, attempt)


def search(target: Target, guess: float, frames: int, attempt: Callable[[float], tuple[float, float]]) -> float:
    """Lambda to begin with, found by attempts.

    Args:
        target: of the whole file.
        guess: lambda to begin with.
        frames: that see to the rest of a miss.
        attempt: tells of a lambda what a file of frames like those that were coded with it has, bytes or mean dB, and
            the lambda that is wanted by all attempts so far.

    Raises:
        ConfigError: see :func:`find_start`.
    """
    low, high = LAMBDA_RANGE
    weight = min(max(guess, low), high)
    close = _CLOSE_RATE if target.bytes is not None else _CLOSE_PSNR
    if frames < max(_SHORT, 3 * target.group):
        close = _CLOSE_SHORT
    tried: dict[float, float] = {}
    for _ in range(_MOST_PROBES):
        tried[weight], wanted = attempt(weight)
        _check_reach(target, tried, weight)
        if abs(math.log(wanted / weight)) < close:
            return float(f"{wanted:.4g}")
        if target.psnr is not None:
            wanted = min(max(wanted, weight / _PSNR_STEP), weight * _PSNR_STEP)
        weight = float(f"{_bracketed(target, tried, wanted):.4g}")
    return weight


def reached(target: Target, outcomes: Sequence[Outcome]) -> float:
    """Bytes, or mean dB, of a file whose frames are all like those of a probe."""
    kinds = kinds_ahead(target, [], True)
    groups = [[o for o in outcomes if o.kind == kind and not o.empty] for kind in range(3)]
    first, later, inter = groups
    like = [(first or later or inter, later or first or inter, inter or later or first)[kind] for kind in kinds]
    if target.bytes is not None:
        return sum(sum(o.coded + o.fixed for o in group) / len(group) for group in like)
    return sum(mean_psnr(group) for group in like) / len(like)


def _check_reach(target: Target, tried: dict[float, float], weight: float) -> None:
    """Raises :class:`ConfigError` once the probes show that no lambda reaches the target."""
    low, high = LAMBDA_RANGE
    found = tried[weight]
    if target.bytes is not None:
        asked, found = kbps(target, target.bytes), kbps(target, found)
        if weight >= high * 0.99 and found > asked * (1 + TOLERANCE_RATE):
            raise ConfigError(
                f"expected a bitrate that the preset reaches, found {asked:.0f} kbit/s; header, MLPs and masks alone "
                f"take {found:.0f}: use a larger bitrate or keyint, or a smaller picture"
            )
        if weight <= low * 1.01 and found < asked * (1 - TOLERANCE_RATE):
            raise ConfigError(
                f"expected a bitrate that the preset reaches, found {asked:.0f} kbit/s; without regard to bytes it "
                f"takes {found:.0f}: use a slower preset or a smaller bitrate"
            )
        return
    assert target.psnr is not None
    if found >= target.psnr - TOLERANCE_PSNR:
        if weight >= high * 0.99 and found > target.psnr + TOLERANCE_PSNR:
            raise ConfigError(
                f"expected a PSNR that the preset reaches, found {target.psnr:g} dB; the first frames have "
                f"{found:.2f} dB at least: use a larger target"
            )
        return
    dearer = [value for other, value in tried.items() if other >= 4 * weight]
    if weight <= low * 1.01 or (dearer and found - max(dearer) < _LEAST_GAIN):
        raise ConfigError(
            f"expected a PSNR that the preset reaches, found {target.psnr:g} dB; the first frames reach "
            f"{max(tried.values()):.2f} dB at most: use a slower preset or a smaller target"
        )


def _bracketed(target: Target, tried: dict[float, float], wanted: float) -> float:
    """``wanted`` kept between the probes on either side of the target, in the middle of them where it is not."""
    goal = target.bytes if target.bytes is not None else target.psnr
    assert goal is not None
    # Larger lambdas give less of both bytes and dB.
    low = max((weight for weight, value in tried.items() if value > goal), default=LAMBDA_RANGE[0])
    high = min((weight for weight, value in tried.items() if value <= goal), default=LAMBDA_RANGE[1])
    if low < wanted < high or low >= high:
        return wanted
    # At an end of the range there is no probe yet, unless it was tried.
    if wanted <= low and low not in tried:
        return low
    if wanted >= high and high not in tried:
        return high
    return math.sqrt(low * high)
