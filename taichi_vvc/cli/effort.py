"""Options that commands which encode have in common."""

from __future__ import annotations

import click

from taichi_vvc.cli.options import F
from taichi_vvc.config import PRESETS


def preset_option(function: F) -> F:
    """Adds ``--preset``."""
    choice = click.Choice(list(PRESETS))
    return click.option("--preset", type=choice, default="medium", show_default=True, help="How much effort.")(function)


def seed_option(function: F) -> F:
    """Adds ``--seed``."""
    seeds = click.IntRange(0, 2**31 - 1)
    return click.option("--seed", type=seeds, default=0, show_default=True, help="Of everything random.")(function)
