"""Counts and durations as text, for messages."""

from __future__ import annotations

_UNITS = ((86400.0, "d"), (3600.0, "h"), (60.0, "min"), (1.0, "s"))


def counted(count: int, noun: str) -> str:
    """A count with its noun: ``1 frame``, ``2 frames``. The plural of ``noun`` must end in s."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def duration(seconds: float) -> str:
    """A duration in seconds as text with about two digits: ``45 s``, ``4.8 min``, ``1.5 d``."""
    length, name = next(unit for unit in _UNITS if seconds >= 1.5 * unit[0] or unit[1] == "s")
    return f"{float(f'{seconds / length:.2g}'):g} {name}"
