"""Options of ``tvvc encode`` for parts that are coded apart from each other."""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import click


@dataclass(frozen=True)
class Length:
    """The length of a part: a number of frames, or of seconds."""

    frames: int = 0
    seconds: Fraction = Fraction(0)

    def at(self, fps: Fraction) -> int:
        """In frames of a sequence, at least one."""
        return self.frames or max(1, round(self.seconds * fps))


class PartLength(click.ParamType):
    """The option type of a part's length: ``250`` for frames, ``10s`` for seconds; a :class:`Length`."""

    name = "length"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Length:
        """Parses the option's text; a usage error says what was expected."""
        if isinstance(value, Length):
            return value
        match = re.fullmatch(r"(\d{1,9})|(\d{1,6}(?:\.\d{1,6})?) ?s", value.strip(), re.ASCII | re.IGNORECASE)
        found = Length(int(match[1] or 0), Fraction(match[2] or 0)) if match else Length()
        if not found.frames and not found.seconds:
            self.fail(f"expected frames, such as 250, or seconds, such as 10s, found '{value}'", param, ctx)
        return found


def part_length_option(function: Any) -> Any:
    """Adds ``--part-length``."""
    return click.option(
        "--part-length",
        type=PartLength(),
        metavar="N|Ns",
        help="Encode in parts of at most so many frames, or seconds, in whole groups. No part depends on another, so "
        "that they can be coded in any order. Default: one part.",
    )(function)
