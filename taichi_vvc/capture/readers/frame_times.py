"""Matches the frames of several cameras by the times that their containers or file names state.

Cameras drop frames, so that frames of the same number may show different moments. ``capture/readers/rig.py`` uses
:func:`match` to find the moments that all cameras have filmed. Times are seconds, or the unit of the file names.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from taichi_vvc.words import counted

REGULAR = 0.8  # numbers in file names are time stamps if this share of their steps is about the median step
STEP = 0.2  # relative deviation of a step from the median that still counts as about the median
TRUSTED = 0.5  # share of the frames that must have a partner at the same time for times to be used
ROUNDING = 1e-5  # largest rounding error of a time, relative to the duration of the capture
SCALES = 100.0  # smallest ratio between the steps of frames and the differences by rounding
TOLD = 3  # number of missing frames that a message names


@dataclass(frozen=True)
class Moments:
    """The moments that all cameras have filmed.

    Attributes:
        frames: (moments, cameras) int, the number of each camera's frame at each moment.
        rate: frame rate of the cameras, per second or unit of the times, as if no frame were missing.
        notes: one-line warnings.
    """

    frames: np.ndarray
    rate: float
    notes: tuple[str, ...] = ()


def mates(times: np.ndarray, others: np.ndarray) -> np.ndarray | None:
    """(n,) for each of the ``times`` (n,), the index in ``others`` of the time less than half a frame away.

    Both are shifted to start together. None if one of the times has no such partner.
    """
    if len(times) < 2 or len(others) < 2:
        return None
    found = _partners(times - times[0], others - others[0], 0.5 * float(np.median(np.diff(times))))
    return found if (found >= 0).all() else None


def time_stamps(stems: Sequence[str]) -> np.ndarray | None:
    """(n,) the numbers at the ends of file names if they are time stamps, rising in about equal steps; else None."""
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
    """The moments that all cameras have filmed, or None where the cameras' times do not match.

    Frames match if they are less than half a frame apart. Each camera's times are shifted to start with the others',
    unless they match at least as well without a shift.

    Args:
        names: names of the cameras.
        times: (n,) float64, rising, for each camera.
        unit: unit of the times as text, for the notes.
    """
    if min(map(len, times)) < 2:
        return None
    steps = [_interval(t) for t in times]
    first = max(range(len(times)), key=lambda i: len(times[i]))
    base, half = times[first], 0.5 * min(steps)
    # Cameras whose times drift apart by half a frame over the capture have different frame rates.
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
    """The offset to subtract from ``times``: 0, or the difference of the starts if more frames then have partners."""
    start = float(times[0] - base[0])
    as_stated = int((_partners(base, times, half) >= 0).sum())
    together = int((_partners(base, times - start, half) >= 0).sum())
    return start if together > as_stated else 0.0


def _partners(base: np.ndarray, times: np.ndarray, half: float) -> np.ndarray:
    """(len(base),) for each time of ``base`` the index of its partner in ``times``, -1 where there is none."""
    after = np.clip(np.searchsorted(times, base), 1, len(times) - 1)
    nearest = np.where(base - times[after - 1] <= times[after] - base, after - 1, after)
    found = np.where(np.abs(times[nearest] - base) < half, nearest, -1)
    # A frame is the partner of one time only: the first of two keeps it.
    found[1:][(found[1:] == found[:-1])] = -1
    return found


def _interval(times: np.ndarray) -> float:
    """The mean time between frames; gaps are divided by the number of frames that would fill them."""
    steps = np.diff(times)
    usual = float(np.median(steps))
    return float(times[-1] - times[0]) / float(np.maximum(1.0, np.rint(steps / usual)).sum()) if usual > 0.0 else 0.0


def same_moments(times: Sequence[float]) -> list[float]:
    """The times, made equal where they differ by rounding only, such as 1/3, its float32 and 0.333333.

    A difference is rounding if it is below :data:`ROUNDING` times the whole duration, and if all such differences are
    at least :data:`SCALES` times smaller than every other step. If the second condition fails, nothing is changed.
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
    """A clause about the first frame number at which cameras are half a frame or more apart; None without one."""
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
    """A message about the frames that some cameras lack, up to the last moment that all have filmed."""
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
