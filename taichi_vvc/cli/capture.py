"""Options about captures that several commands take."""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction
from typing import Any, TypeVar

import click

from taichi_vvc.io.layouts import LAYOUTS

F = TypeVar("F", bound=Callable[..., Any])


class Box(click.ParamType):
    """``X0,Y0,Z0,X1,Y1,Z1`` as a pair of corners, lower then upper."""

    name = "box"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Parses the option's text; a usage error says what was expected."""
        if not isinstance(value, str):
            return value
        try:
            numbers = [float(item) for item in value.replace(" ", "").split(",")]
        except ValueError:
            numbers = []
        if (
            len(numbers) != 6
            or not all(map(math.isfinite, numbers))
            or not all(map(float.__lt__, numbers, numbers[3:]))
        ):
            self.fail(f"expected X0,Y0,Z0,X1,Y1,Z1, lower then upper corner, found '{value}'", param, ctx)
        from taichi_vvc.types import Bounds

        return Bounds((numbers[0], numbers[1], numbers[2]), (numbers[3], numbers[4], numbers[5]))


class Rate(click.ParamType):
    """A positive frame rate: a number, or a ratio such as 30000/1001."""

    name = "rate"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Parses the option's text; a usage error says what was expected."""
        if isinstance(value, Fraction):
            return value
        from taichi_vvc.io.parse import rate_of

        rate = rate_of(value)
        if not 0 < rate <= 10_000:
            self.fail(f"expected frames per second, such as 25 or 30000/1001, found '{value}'", param, ctx)
        return rate


def format_option(function: F) -> F:
    """Adds ``--format``."""
    return click.option(
        "--format",
        "layout",
        type=click.Choice([layout.name for layout in LAYOUTS]),
        help="Layout of the capture; recognised if not given.",
    )(function)


def bounds_option(function: F) -> F:
    """Adds ``--bounds``."""
    return click.option(
        "--bounds",
        type=Box(),
        metavar="X0,Y0,Z0,X1,Y1,Z1",
        help="Box to code, world units; else the capture's or found.",
    )(function)
