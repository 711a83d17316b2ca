"""The folder beside the output that holds the parts of an encode until the file is whole."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from taichi_vvc.bitstream import SequenceHeader, StreamReader, syntax
from taichi_vvc.coding.headers import colours_of, pack_colour_maps
from taichi_vvc.errors import ConfigError, DataError, TvvcError
from taichi_vvc.parts.plan import Part
from taichi_vvc.types import ColourMap, FrameStats

_PLAN = "plan.json"


@dataclass(frozen=True)
class Plan:
    """All that the parts of an encode have in common.

    Attributes:
        header: of the whole file.
        looks: how each camera shows colours; empty: all show them as they are.
        parts: the frames of each.
        goals: what each is to become: (bytes, None), (None, dB), or (None, None) without a target.
    """

    header: SequenceHeader
    looks: tuple[ColourMap, ...]
    parts: tuple[Part, ...]
    goals: tuple[tuple[float | None, float | None], ...]


class PartsFolder:
    """``NAME.parts`` beside an output ``NAME``: the plan, and of each part a file and the figures of its frames.

    Attributes:
        path: of the folder.
    """

    def __init__(self, output: Path) -> None:
        self.path = output.with_name(f"{output.name}.parts")

    def exists(self) -> bool:
        """Whether there is a plan in the folder."""
        return (self.path / _PLAN).is_file()

    def file(self, number: int) -> Path:
        """The place of a part, whether it is there or not. It is a whole .tvvc file of its own."""
        return self.path / f"part-{number:05}.tvvc"

    def _figures(self, number: int) -> Path:
        return self.file(number).with_suffix(".json")

    def begin(self, plan: Plan) -> None:
        """Makes the folder, without any part, and writes the plan.

        Raises:
            DataError: it cannot be written.
        """
        self.remove()
        values = {
            "header": syntax.HEADER.pack(plan.header).hex(),
            "looks": pack_colour_maps(plan.looks).hex(),
            "parts": [[part.start, part.stop] for part in plan.parts],
            "goals": plan.goals,
        }
        with _told(self.path):
            self.path.mkdir()
        self._write(self.path / _PLAN, json.dumps(values).encode())

    def plan(self) -> Plan:
        """The plan that was written.

        Raises:
            DataError: it is missing or damaged.
        """
        path = self.path / _PLAN
        try:
            values = json.loads(path.read_bytes())
            header = syntax.HEADER.parse(bytes.fromhex(values["header"]), str(path))
            looks = colours_of(bytes.fromhex(values["looks"]), len(header.cameras), str(path))
            parts = tuple(Part(n, int(a), int(b)) for n, (a, b) in enumerate(values["parts"]))
            goals = tuple((size, quality) for size, quality in values["goals"])
        except (OSError, ValueError, KeyError, TypeError, TvvcError) as error:
            raise DataError(
                f"{path}: expected the plan of an encode in parts, found none that can be read ({error}); start anew"
            ) from error
        return Plan(header, looks, parts, goals)

    def whole(self, part: Part) -> bool:
        """Whether a part is there with all of its frames and their figures."""
        try:
            with StreamReader(self.file(part.number)) as reader:
                complete = reader.complete and len(reader.frames) == len(part)
            return complete and len(self.figures(part.number)) == len(part)
        except (TvvcError, OSError):
            return False

    def store(self, number: int, data: bytes, figures: list[FrameStats]) -> None:
        """Writes a part that was coded elsewhere: its figures, and then its file, whole or not at all.

        Raises:
            DataError: it cannot be written.
        """
        self._figures(number).unlink(missing_ok=True)
        for frame in figures:
            self.note(number, frame)
        self._write(self.file(number), data)

    def note(self, number: int, frame: FrameStats) -> None:
        """Adds the figures of one frame of a part.

        Raises:
            DataError: they cannot be written.
        """
        with _told(self.path), self._figures(number).open("a", encoding="utf-8") as file:
            file.write(json.dumps(dataclasses.asdict(frame)) + "\n")

    def figures(self, number: int) -> list[FrameStats]:
        """The figures of a part's frames, in order; where a frame was noted twice, the later ones."""
        found: dict[int, FrameStats] = {}
        with contextlib.suppress(OSError, ValueError, TypeError):
            for line in self._figures(number).read_text(encoding="utf-8").splitlines():
                values: dict[str, Any] = json.loads(line)
                found[values["index"]] = FrameStats(**values)
        return [found[index] for index in sorted(found)]

    def clear(self, number: int) -> None:
        """Removes a part that is not whole."""
        for path in (self.file(number), self._figures(number)):
            with contextlib.suppress(OSError):
                path.unlink()

    def remove(self) -> None:
        """Removes the folder with all that is in it, if it is one of parts.

        Raises:
            ConfigError: there is something else of that name.
        """
        if self.path.is_dir() and (self.exists() or not any(self.path.iterdir())):
            shutil.rmtree(self.path, ignore_errors=True)
        if self.path.exists() or self.path.is_symlink():
            raise ConfigError(
                f"{self.path}: expected nothing there, or the parts of an encode, found something else; "
                "move it away or choose another output"
            )

    def _write(self, path: Path, data: bytes) -> None:
        new = path.with_name(f".{path.name}.{os.getpid()}.new")
        with _told(path):
            with new.open("wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            os.replace(new, path)


@contextlib.contextmanager
def _told(path: Path) -> Any:
    """Turns an error of the operating system into a :class:`DataError`."""
    try:
        yield
    except OSError as error:
        raise DataError(f"{path}: cannot write: {error.strerror or error}; --resume goes on from there") from error
