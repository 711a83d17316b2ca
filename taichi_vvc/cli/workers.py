"""Options of ``tvvc encode`` for parts that are coded apart from each other, and for those who code them."""

from __future__ import annotations

import dataclasses
import functools
import re
from collections.abc import Callable
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


@dataclass(frozen=True)
class Team:
    """The values of the options that say how parts are coded, and by whom.

    The fields but the first are arguments of :class:`taichi_vvc.parts.cluster.Workers`.
    """

    part_length: Length | None
    workers: int | None
    cluster: str | None
    gpus_per_worker: float | None
    cpus_per_worker: float | None
    ship: bool

    def length(self, fps: Fraction) -> int:
        """Frames of a part; 0: one part."""
        if self.part_length is not None:
            return self.part_length.at(fps)
        if not self.many:
            return 0
        from taichi_vvc.parts.plan import usual_length

        return usual_length(fps)

    @property
    def many(self) -> bool:
        """Whether others than this process code the parts."""
        return self.workers is not None or self.cluster is not None

    def settled(self, backend: str, threads: int | None) -> Any:
        """The workers; None: this process codes all.

        Raises:
            click.UsageError: an option of workers is given without any.
            ConfigError: a value is out of range.
        """
        if not self.many:
            rest = {"--gpus-per-worker": self.gpus_per_worker, "--cpus-per-worker": self.cpus_per_worker}
            given = [name for name, value in rest.items() if value is not None] + ["--ship"] * self.ship
            if given:
                raise click.UsageError(f"{given[0]} needs --workers or --cluster")
            return None
        from taichi_vvc.parts.cluster import Workers

        return Workers(
            self.workers or 0,
            self.cluster,
            self.gpus_per_worker,
            self.cpus_per_worker,
            backend,
            self.ship,
            threads=threads,
        )


def team_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Adds the options of parts and workers; the command gets them as ``team``, a :class:`Team`."""

    @functools.wraps(function)
    def with_team(*arguments: Any, **options: Any) -> Any:
        team = Team(**{field.name: options.pop(field.name) for field in dataclasses.fields(Team)})
        return function(*arguments, team=team, **options)

    options = (
        click.option(
            "--part-length",
            type=PartLength(),
            metavar="N|Ns",
            help="Encode in parts of at most so many frames, or seconds, in whole groups. No part depends on another, "
            "so that they can be coded in any order. Default: one part; with --workers or --cluster 20s.",
        ),
        click.option(
            "--workers",
            type=click.IntRange(0, 4096),
            metavar="N",
            help="Code N parts at a time on this machine; 0: one per GPU, else one per core. The file is the same for "
            "any N. With --cluster: at most so many.",
        ),
        click.option(
            "--cluster",
            metavar="ADDRESS|auto",
            help="Code parts on a running Ray cluster; auto: the one that this machine belongs to.",
        ),
        click.option(
            "--gpus-per-worker",
            type=click.FloatRange(0, 64),
            metavar="G",
            help="GPUs that each worker takes, such as 0.5; default 1 where there are any.",
        ),
        click.option(
            "--cpus-per-worker",
            type=click.FloatRange(0, 1024),
            metavar="C",
            help="Cores that each worker takes; default 1, or with --workers this machine's shared evenly.",
        ),
        click.option(
            "--ship", is_flag=True, help="Send pictures to the workers, which need not see the capture's folder."
        ),
    )
    for option in reversed(options):
        with_team = option(with_team)
    return with_team
