"""Frame rates as exact fractions, parsed from options and files."""

from __future__ import annotations

import math
import re
from fractions import Fraction
from numbers import Rational, Real

FASTEST = 10_000
"""The highest frame rate that is accepted, frames per second."""

_FINEST = 100_000  # the largest denominator: 30000/1001 and decimals of five digits are exact
_NUMBER = re.compile(r"\+?(\d{1,9}(\.\d{0,40})?|\.\d{1,40})([eE][+-]?\d{1,2})?", re.ASCII)
_RATIO = re.compile(r"(\d{1,9})\s*/\s*(\d{1,9})", re.ASCII)


def frame_rate(value: object) -> Fraction | None:
    """``value`` as frames per second, above 0 and up to :data:`FASTEST`; None if it is no frame rate.

    Args:
        value: a number, decimal text such as ``"29.97"``, or a ratio such as ``"30000/1001"``. The length of text is
            limited before the conversion: a large exponent would make an integer of millions of digits.
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
        # By its decimal digits 29.97 is 2997/100; its binary value is not.
        rate = Fraction(repr(float(value)))
    else:
        return None
    rate = rate.limit_denominator(_FINEST) if 0 < rate <= FASTEST else Fraction(0)
    return rate or None
