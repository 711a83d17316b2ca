"""What joining and cutting tell of the file that they wrote."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from taichi_vvc.errors import ConfigError


@dataclass(frozen=True)
class Written:
    """A file that was put together from others.

    Attributes:
        path: of the file.
        version: its format version.
        frames: how many it has.
        groups: how many it has.
        bytes: size of the file.
        recoded: how many frames were coded again, without loss; the others are copies.
        notes: lines for the user on what the files were like.
    """

    path: Path
    version: int
    frames: int
    groups: int
    bytes: int
    recoded: int = 0
    notes: tuple[str, ...] = ()


def check_other_file(output: str | os.PathLike[str], sources: Iterable[str | os.PathLike[str]]) -> None:
    """Raises :class:`ConfigError` where the ``output`` is one of the files that are read."""
    path = Path(output)
    for source in sources:
        try:
            same = path.exists() and path.samefile(source)
        except OSError:
            same = False
        if same:
            raise ConfigError(f"{output}: expected an output other than the files that are read; choose another name")
