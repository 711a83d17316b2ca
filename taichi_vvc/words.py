"""How numbers of things are said."""

from __future__ import annotations


def counted(count: int, noun: str) -> str:
    """``1 frame``, ``2 frames``: a number and what is counted, whose plural takes an s."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
