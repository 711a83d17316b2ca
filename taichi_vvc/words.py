"""Counts, lists of names and durations as text, for messages."""

from __future__ import annotations

from collections.abc import Sequence

_UNITS = ((86400.0, "d"), (3600.0, "h"), (60.0, "min"), (1.0, "s"))


def counted(count: int, noun: str) -> str:
    """A count with its noun: ``1 frame``, ``2 frames``. The plural of ``noun`` must end in s."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def some(names: Sequence[str], limit: int = 3, longest: int | None = 80) -> str:
    """The first ``limit`` names, and how many more there are: ``a, b, c and 4 more``.

    Names of more than ``longest`` characters are shown in part; None: all of them whole.
    """
    shown = [
        name if longest is None or len(name) <= longest else f"{name[: longest - 4]} ..." for name in names[:limit]
    ]
    return ", ".join(shown) + (f" and {len(names) - limit} more" if len(names) > limit else "")


def duration(seconds: float) -> str:
    """A duration in seconds as text with about two digits: ``45 s``, ``4.8 min``, ``1.5 d``."""
    length, name = next(unit for unit in _UNITS if seconds >= 1.5 * unit[0] or unit[1] == "s")
    return f"{float(f'{seconds / length:.2g}'):g} {name}"
