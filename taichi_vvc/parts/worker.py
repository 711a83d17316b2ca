"""What is sent to a worker, and what runs there: one part, or what is found before all parts."""

from __future__ import annotations

import ctypes
import gc
import socket
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from taichi_vvc._version import __version__
from taichi_vvc.capture.relocation import close_videos, relocated
from taichi_vvc.capture.sequence import MultiViewSequence
from taichi_vvc.config import EncoderConfig
from taichi_vvc.encoder.progress import Listener, Progress
from taichi_vvc.errors import ConfigError, DataError, TvvcWarning
from taichi_vvc.field.workspace import Workspace
from taichi_vvc.parts.coding import Work, code_part
from taichi_vvc.parts.folder import Plan
from taichi_vvc.parts.prepare import Prepared, prepare
from taichi_vvc.runtime import start
from taichi_vvc.types import FrameStats

# Seconds between two words on how far a part is.
_TOLD = 0.5


@dataclass(frozen=True)
class Order:
    """What a task takes besides its work.

    Attributes:
        version: of the package that gives the order.
        backend: what computes.
        threads: of the CPU.
        number: of the part, for the board.
        sizes: bytes of some of the files, as the machine sees them that gives the order.
        shipped: references to all files, each to a dict of their bytes by path; empty: they are read where they are.
    """

    version: str
    backend: str
    threads: int
    number: int
    sizes: dict[Path, int] = field(default_factory=dict)
    shipped: list[Any] = field(default_factory=list)


@dataclass(frozen=True)
class Result:
    """A part as it was coded.

    Attributes:
        data: its file.
        figures: of its frames, as numbered in the whole file.
        warnings: texts of what was warned of, with their classes.
        seconds: that it took, from the beginning of the task to its end.
    """

    data: bytes
    figures: list[FrameStats]
    warnings: list[tuple[str, type[Warning]]]
    seconds: float


def placed(works: Sequence[Work]) -> dict[int, Work]:
    """The works by number, with absolute paths. Each file is opened once for all of them.

    This machine's own decoders are let go of: workers read the pictures.
    """
    rows = tuple(row for work in works for row in work.sequence.entries)
    close_videos(rows)
    moved, found, at = relocated(rows, Path.absolute), {}, 0
    for work in works:
        own = moved[at : at + len(work.part)]
        at += len(own)
        found[work.part.number] = replace(work, sequence=replace(work.sequence, entries=own))
    release_memory()
    return found


def release_memory() -> None:
    """Gives back to the system what is no longer used.

    Decoders refer to themselves, and glibc keeps what threads have freed: of each part that a worker has coded some
    hundred MB would stay.
    """
    gc.collect()
    if sys.platform == "linux":
        # Other libraries than glibc have no such function.
        with suppress(OSError, AttributeError):
            ctypes.CDLL(None).malloc_trim(0)


class Board:
    """Where workers say how far they are, and the head reads it: an actor of its own."""

    def __init__(self) -> None:
        self._last: dict[int, Progress] = {}

    def tell(self, number: int, progress: Progress) -> None:
        """A worker says how far it is with a part."""
        self._last[number] = progress

    def read(self) -> dict[int, Progress]:
        """What was said last of each part since the last look."""
        last, self._last = self._last, {}
        return last


def code(order: Order, work: Work, board: Any) -> Result:
    """Codes a part.

    Raises:
        ConfigError: this machine has another version of the package.
        DataError: a picture is not there, or cannot be used.
        BackendError: the backend does not start.
    """
    began = time.monotonic()
    with _ready(order, work.sequence) as (ws, sequence), tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "part.tvvc"
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", TvvcWarning)
            own = replace(work, sequence=sequence)
            figures = list(code_part(ws, own, path, Listener(_telling(order, board))))
        return Result(path.read_bytes(), figures, _said(caught), time.monotonic() - began)


def prepared(
    order: Order,
    sequence: MultiViewSequence,
    config: EncoderConfig,
    stored: Plan | None,
    place: Path,
    board: Any,
) -> tuple[Prepared, list[tuple[str, type[Warning]]]]:
    """What is found once for all parts, and what was warned of. Raises what :func:`code` raises."""
    with _ready(order, sequence) as (ws, own):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", TvvcWarning)
            found = prepare(ws, own, config, stored, place, _telling(order, board))
        return found, _said(caught)


def _said(caught: list[warnings.WarningMessage]) -> list[tuple[str, type[Warning]]]:
    """Texts and classes of the package's own warnings."""
    return [(str(w.message), w.category) for w in caught if issubclass(w.category, TvvcWarning)]


@contextmanager
def _ready(order: Order, sequence: MultiViewSequence) -> Iterator[tuple[Workspace, MultiViewSequence]]:
    """The running backend, and the sequence with its pictures where this machine has them."""
    here = socket.gethostname()
    # The part before, which this process has coded, is gone by now.
    release_memory()
    if order.version != __version__:
        raise ConfigError(
            f"{here}: expected taichi_vvc {order.version}, as on the machine that began the encode, "
            f"found {__version__}; install the same version on all machines"
        )
    if not order.shipped:
        check_files(order.sizes, here)
        yield Workspace(start(order.backend, order.threads)), sequence
        return
    import ray

    with tempfile.TemporaryDirectory() as folder:
        places: dict[Path, Path] = {}
        for reference in order.shipped:
            for path, data in ray.get(reference).items():
                # The name says which camera and frame it is, where something is wrong.
                places[path] = Path(folder) / str(len(places)) / path.name
                places[path].parent.mkdir()
                places[path].write_bytes(data)
        moved = relocated(sequence.entries, lambda path: places[path])
        yield Workspace(start(order.backend, order.threads)), replace(sequence, entries=moved)


def check_files(sizes: dict[Path, int], here: str) -> None:
    """Checks that this machine sees some files as the one that began the encode does.

    Raises:
        DataError: one is missing or differs.
    """
    for path, size in sizes.items():
        found = path.stat().st_size if path.is_file() else None
        if found != size:
            what = "nothing there" if found is None else f"a file of {found} bytes"
            raise DataError(
                f"{path}: expected the picture of {size} bytes that the machine sees that began the encode, "
                f"found {what} on {here}; share the folder under one path on all machines, or use --ship"
            )


def _telling(order: Order, board: Any) -> Callable[[Progress], None] | None:
    """Tells the board how far a part is, now and then."""
    if board is None:
        return None
    last = 0.0

    def tell(progress: Progress) -> None:
        nonlocal last
        if time.monotonic() - last >= _TOLD:
            last = time.monotonic()
            board.tell.remote(order.number, progress)

    return tell
