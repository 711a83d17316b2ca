"""Which frames of several cameras show the same moment, by the times that their containers or file names state."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from taichi_vvc.words import counted

REGULAR = 0.8  # share of the steps between numbers that are about the median one, if they are time stamps
STEP = 0.2  # share of the median step that such a step may be off
TRUSTED = 0.5  # share of the frames that must have a partner for times to be believed
ROUNDING = 1e-5  # share of the time of a whole capture that rounding may amount to
SCALES = 100.0  # times as long as what rounding does a frame must be
TOLD = 3  # missing frames that are named


@dataclass(frozen=True)
class Moments:
    """The moments that all cameras show.

    Attributes:
        frames: (moments, cameras) int, the number of each camera's frame.
        rate: frames per second (or per unit of the times) of the cameras, without what they lack.
        notes: one-line warnings.
    """

    frames: np.ndarray
    rate: float
    notes: tuple[str, ...] = ()


def mates(times: np.ndarray, others: np.ndarray) -> np.ndarray | None:
    """(n,) for each of the ``times`` (n,) which of the ``others`` is less than half a frame away, both taken to start
    together; None if one has none."""
    if len(times) < 2 or len(others) < 2:
        return None
    found = _partners(times - times[0], others - others[0], 0.5 * float(np.median(np.diff(times))))
    return found if (found >= 0).all() else None


def time_stamps(stems: Sequence[str]) -> np.ndarray | None:
    """(n,) the numbers at the ends of file names, if they rise by about the same step: time stamps; else None."""
    ends = [stem[len(stem.rstrip("0123456789")) :] for stem in stems]
    if len(ends) < 4 or not all(ends):
        return None
    numbers = [int(end) for end in ends]
    times = np.array([number - numbers[0] for number in numbers], np.float64) + float(numbers[0])
    steps = np.diff(times)
    if not len(steps) or (steps <= 0.0).any():
        return None
    usual = np.abs(steps / np.median(steps) - 1.0) <= STEP
    return times if usual.mean() >= REGULAR else None


def match(names: Sequence[str], times: Sequence[np.ndarray], unit: str = " s") -> Moments | None:
    """The moments that all cameras show, or None where the times do not fit together.

    Frames belong together that are less than half a frame apart. Cameras are taken to start together, unless their
    times fit at least as well as they are stated.

    Args:
        names: of the cameras.
        times: (n,) float64, rising, for each camera.
        unit: of the times, for the notes.
    """
    if min(map(len, times)) < 2:
        return None
    steps = [_interval(t) for t in times]
    first = max(range(len(times)), key=lambda i: len(times[i]))
    base, half = times[first], 0.5 * min(steps)
    # Rates that drift apart by half a frame are different ones.
    if half <= 0.0 or (max(steps) - min(steps)) * len(base) >= half:
        return None
    shifts = [_shift(base, t, half) for t in times]
    shifted = [t - shift for t, shift in zip(times, shifts, strict=True)]
    partners = [_partners(base, t, half) for t in shifted]
    rate = 1.0 / float(np.median(steps))
    notes = _about_starts(names, shifts, first, half, unit)
    if all(len(p) == len(t) and (p == np.arange(len(p))).all() for p, t in zip(partners, times, strict=True)):
        return Moments(np.stack(partners, axis=1), rate, notes)
    frames = np.stack(partners, axis=1)
    frames = frames[(frames >= 0).all(axis=1)]
    if len(frames) < TRUSTED * min(map(len, times)):
        return None
    return Moments(frames, rate, (*notes, *_about_gaps(names, shifted, first, half, unit)))


def _shift(base: np.ndarray, times: np.ndarray, half: float) -> float:
    """What to subtract from ``times``: nothing, or the difference of the starts if more frames then have partners."""
    start = float(times[0] - base[0])
    as_stated = int((_partners(base, times, half) >= 0).sum())
    together = int((_partners(base, times - start, half) >= 0).sum())
    return start if together > as_stated else 0.0


def _partners(base: np.ndarray, times: np.ndarray, half: float) -> np.ndarray:
    """(len(base),) the number of the frame that belongs to each time of ``base``, -1 where there is none."""
    after = np.clip(np.searchsorted(times, base), 1, len(times) - 1)
    nearest = np.where(base - times[after - 1] <= times[after] - base, after - 1, after)
    found = np.where(np.abs(times[nearest] - base) < half, nearest, -1)
    # Where two have the same partner, the second has none.
    found[1:][(found[1:] == found[:-1])] = -1
    return found


def _interval(times: np.ndarray) -> float:
    """The time between frames, whatever is missing."""
    steps = np.diff(times)
    usual = float(np.median(steps))
    return float(times[-1] - times[0]) / float(np.maximum(1.0, np.rint(steps / usual)).sum()) if usual > 0.0 else 0.0


def same_moments(times: Sequence[float]) -> list[float]:
    """Times of which those that differ by rounding are made equal: 1/3 and the float32 next to it, or 0.333333.

    Rounding is told from frames by its scale: below a hundred thousandth of all the time there is, and a hundredth of
    the smallest step that is larger. Where nothing is that clear, times stay as they are.
    """
    distinct = np.unique(np.asarray(times, np.float64))
    steps = np.diff(distinct)
    tiny = steps <= ROUNDING * (distinct[-1] - distinct[0])
    if not tiny.any() or tiny.all() or steps[tiny].max() * SCALES > steps[~tiny].min():
        return list(times)
    groups = np.concatenate(([0], np.cumsum(~tiny)))
    begins = distinct[np.unique(groups, return_index=True)[1]]
    return [float(time) for time in begins[groups[np.searchsorted(distinct, times)]]]


def disagreement(names: Sequence[str], times: Sequence[np.ndarray], unit: str = " s") -> str | None:
    """Where frames of the same number first are more than half a frame apart; None if they never are."""
    for i in range(1, min(map(len, times))):
        since = [float(t[i] - t[0]) for t in times]
        late, early = max(since), min(since)
        step = min(float(t[i] - t[i - 1]) for t in times)
        if late - early >= 0.5 * step:
            return (
                f"at frame {i} camera {names[since.index(late)]} is {late:.6g}{unit} after its first frame, camera"
                f" {names[since.index(early)]} {early:.6g}{unit}"
            )
    return None


def _about_starts(names: Sequence[str], shifts: Sequence[float], first: int, half: float, unit: str) -> tuple[str, ...]:
    late = [(name, shift) for name, shift in zip(names, shifts, strict=True) if abs(shift) >= half]
    if not late:
        return ()
    name, shift = max(late, key=lambda pair: abs(pair[1]))
    others = f" (and {len(late) - 1} more)" if len(late) > 1 else ""
    when = "after" if shift > 0.0 else "before"
    return (
        (
            f"camera {name}{others} starts {abs(shift):.6g}{unit} {when} camera {names[first]} by its time stamps:"
            " cameras are taken to start together; if the stamps are right, cut them to a common start"
        ),
    )


def _about_gaps(
    names: Sequence[str], times: Sequence[np.ndarray], first: int, half: float, unit: str
) -> tuple[str, ...]:
    """One line on the frames that some cameras lack, up to the last moment that all have filmed."""
    end = min(t[-1] for t in times) + half
    known = times[first]
    for other in times:
        strangers = other[_partners(other, known, half) < 0]
        known = np.sort(np.concatenate((known, strangers)))
    known = known[known < end]
    lacking = [
        (float(t), name) for name, own in zip(names, times, strict=True) for t in known[_partners(known, own, half) < 0]
    ]
    if not lacking:
        return ()
    lacking.sort()
    named = ", ".join(f"{name} that at {t:.6g}{unit}" for t, name in lacking[:TOLD])
    more = f" and {len(lacking) - TOLD} more" if len(lacking) > TOLD else ""
    count = counted(len({t for t, _ in lacking}), "moment")
    return (
        (
            f"cameras dropped different frames: frames are matched by time, without {count} that not all have filmed"
            f" (camera {named}{more})"
        ),
    )
