"""Frame rates as exact fractions, from what people and files write."""

from __future__ import annotations

import math
import re
from fractions import Fraction
from numbers import Rational, Real

FASTEST = 10_000
"""Frames per second that are believed."""

_FINEST = 100_000  # the largest denominator: 30000/1001 and decimals of five digits are exact
_NUMBER = re.compile(r"\+?(\d{1,9}(\.\d{0,40})?|\.\d{1,40})([eE][+-]?\d{1,2})?", re.ASCII)
_RATIO = re.compile(r"(\d{1,9})\s*/\s*(\d{1,9})", re.ASCII)


def frame_rate(value: object) -> Fraction | None:
    """``value`` as frames per second, above 0 and up to :data:`FASTEST`; None if it is no such thing.

    Args:
        value: a number, decimal text such as ``"29.97"``, or a ratio such as ``"30000/1001"``. Text is bounded before
            it is converted: an exponent could ask for a number of any length.
    """
    if isinstance(value, str):
        text = value.strip()
        if match := _RATIO.fullmatch(text):
            above, below = int(match[1]), int(match[2])
            rate = Fraction(above, below) if below else Fraction(0)
        else:
            rate = Fraction(text) if _NUMBER.fullmatch(text) else Fraction(0)
    elif isinstance(value, Rational) and not isinstance(value, bool):
        rate = Fraction(value)
    elif isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value):
        # The digits that are written keep 29.97 what it is.
        rate = Fraction(repr(float(value)))
    else:
        return None
    rate = rate.limit_denominator(_FINEST) if 0 < rate <= FASTEST else Fraction(0)
    return rate or None
