"""How numbers of things and spans of time are said."""

from __future__ import annotations

_UNITS = ((86400.0, "d"), (3600.0, "h"), (60.0, "min"), (1.0, "s"))


def counted(count: int, noun: str) -> str:
    """``1 frame``, ``2 frames``: a number and what is counted, whose plural takes an s."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def duration(seconds: float) -> str:
    """A span of time with no more digits than an estimate has: ``45 s``, ``4.8 min``, ``1.5 d``."""
    length, name = next(unit for unit in _UNITS if seconds >= 1.5 * unit[0] or unit[1] == "s")
    return f"{float(f'{seconds / length:.2g}'):g} {name}"
