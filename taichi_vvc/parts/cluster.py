"""Parts coded by workers, on this machine or on many: Ray runs them, see docs/cluster.md.

A task codes one part and returns its file, which is small. Workers read pictures from the paths that this machine reads
them from, or from copies that are sent to them. What a lost worker was coding is coded again by another one.
"""

from __future__ import annotations

import contextlib
import logging
import math
import os
import signal
import threading
import time
import warnings
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from taichi_vvc._version import __version__
from taichi_vvc.capture.relocation import Rows, files_of, relocated
from taichi_vvc.capture.sequence import MultiViewSequence
from taichi_vvc.config import EncoderConfig
from taichi_vvc.encoder.progress import Listener, Progress
from taichi_vvc.errors import BackendError, ConfigError, DataError, TvvcError, WorkerLost
from taichi_vvc.field.workspace import Workspace
from taichi_vvc.parts.coding import Work
from taichi_vvc.parts.folder import PartsFolder, Plan
from taichi_vvc.parts.prepare import Prepared, prepare
from taichi_vvc.parts.worker import Board, Order, code, placed, prepared
from taichi_vvc.runtime import cores, start
from taichi_vvc.types import FrameStats
from taichi_vvc.words import counted

HOW_TO_GET = 'pip install "taichi_vvc[cluster]"'
# Seconds between two looks at how far the workers are.
_LOOK = 0.5
# Seconds between two looks at how many machines there are.
_COUNTED = 5.0
# Tasks that wait in Ray at least, beyond those that run.
_AHEAD = 2


@dataclass(frozen=True)
class Workers:
    """Who is to code the parts.

    Attributes:
        count: workers on this machine, or at most so many on a cluster. 0: one per GPU, else one per core; on a cluster
            as many as it has room for.
        address: of a running Ray cluster; ``"auto"``: the one that this machine belongs to; None: this machine.
        gpus: that each worker takes, such as 0.5; None: 1 where there are any and the backend may use them.
        cpus: cores that each worker takes; None: 1, or this machine's cores shared evenly.
        backend: what computes, see :func:`taichi_vvc.runtime.start`.
        ship: send pictures through Ray in place of reading them on the workers.
        retries: how often a part is coded again whose worker was lost.
        threads: of the CPU that each worker runs; None: as many as it takes cores.
    """

    count: int = 0
    address: str | None = None
    gpus: float | None = None
    cpus: float | None = None
    backend: str = "auto"
    ship: bool = False
    retries: int = 5
    threads: int | None = None

    def __post_init__(self) -> None:
        """Checks ranges.

        Raises:
            ConfigError: a value is out of range.
        """
        if self.count < 0:
            raise ConfigError(f"expected 0 workers (automatic) or more, found {self.count}")
        for name, value in (("GPUs", self.gpus), ("cores", self.cpus)):
            if value is not None and not 0 <= value < math.inf:
                raise ConfigError(f"expected 0 {name} per worker or more, found {value}")
        if self.retries < 0:
            raise ConfigError(f"expected 0 retries or more, found {self.retries}")


class Cluster:
    """A team of workers, see :class:`taichi_vvc.parts.coding.Team`; use as a context manager.

    A Ray that the program has started already is used, and left running.

    Attributes:
        count: workers at a time; 0: as many as there is room for.
        gpus: that each takes.
        cpus: cores that each takes.
    """

    def __init__(self, workers: Workers) -> None:
        """Starts Ray on this machine, or joins a cluster.

        Raises:
            ConfigError: Ray is not installed, there is no cluster at the address, or this machine lacks what a worker
                takes.
        """
        self._ray, self._workers = _ray(), workers
        self._board: Any = None
        self._tasks: dict[Callable[..., Any], Any] = {}
        self._known: tuple[float, int] = (-math.inf, 0)
        self._own = not self._ray.is_initialized()
        here = workers.address is None
        cpus = workers.cpus
        if cpus is None and here and workers.count:
            cpus = max(1, len(cores()) // workers.count)
        self.cpus = 1.0 if cpus is None else float(cpus)
        if self._own:
            self._start()
        total = self._ray.cluster_resources()
        gpus = workers.gpus
        if gpus is None:
            gpus = 1.0 if total.get("GPU", 0) and workers.backend in ("auto", "cuda", "vulkan") else 0.0
        self.gpus, self.count = float(gpus), workers.count
        if here and not self.count:
            room = total.get("GPU", 0) / self.gpus if self.gpus else len(cores()) / max(self.cpus, 1)
            self.count = max(1, int(room))
        if here and self.gpus * self.count > total.get("GPU", 0):
            problem = f"expected {self.gpus:g} GPUs for each of {counted(self.count, 'worker')}"
            self.close()
            raise ConfigError(f"{problem}, found {total.get('GPU', 0):g}; use fewer workers, or --gpus-per-worker 0")

    def _start(self) -> None:
        settings: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR", "namespace": "taichi_vvc"}
        if self._workers.address is None:
            settings |= {"address": "local", "include_dashboard": False}
            # Ray then runs as many at a time, and more may wait there.
            settings["num_cpus"] = math.ceil(self.cpus * self._workers.count) or len(cores())
        else:
            settings["address"] = self._workers.address
        # What Ray logs when it starts is nothing that a user has to know.
        logging.getLogger("ray").setLevel(logging.ERROR)
        # It prints on stdout, where figures may go, that a worker died, which is told of here.
        with contextlib.suppress(AttributeError):
            self._ray._private.worker.print_to_stdstream = lambda *_arguments, **_more: None
        usual = signal.getsignal(signal.SIGTERM)
        try:
            self._ray.init(**settings)
            # Ray has put a handler of its own in place of the program's.
            if threading.current_thread() is threading.main_thread():
                signal.signal(signal.SIGTERM, usual)
        except (ConnectionError, RuntimeError, ValueError, OSError) as error:
            where = self._workers.address or "this machine"
            line = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
            raise ConfigError(
                f"expected a Ray cluster at {where}, found none that can be joined ({line}); "
                "see docs/cluster.md for how to start one"
            ) from error

    def prepare(
        self,
        sequence: MultiViewSequence,
        config: EncoderConfig,
        stored: Plan | None,
        place: Path,
        progress: Callable[[Progress], None] | None,
    ) -> Prepared:
        """See :class:`taichi_vvc.parts.coding.Team`.

        It may take fits, so that a worker does it, unless only this machine has the pictures.

        Raises:
            TvvcError: what went wrong there.
        """
        if self._workers.ship:
            ws = Workspace(start(self._workers.backend, self._workers.threads))
            return prepare(ws, sequence, config, stored, place, progress, "cuda" if self.gpus else None)
        own = replace(sequence, entries=relocated(sequence.entries, Path.absolute))
        order, shown = self._order(own.entries[:1], 0), self._tell(progress)

        def submit(_: int) -> Any:
            return self._remote(prepared).remote(order, own, config, stored, place, shown)

        results = self._run([0], submit, lambda _: "what all parts share", _Display(progress, [], self._board))
        ((_, (found, said)),) = results
        for text, category in said:
            warnings.warn(text, category, stacklevel=2)
        assert isinstance(found, Prepared)
        return found

    def code(
        self, works: Sequence[Work], folder: PartsFolder, listener: Listener
    ) -> Generator[FrameStats | int, None, None]:
        """See :class:`taichi_vvc.parts.coding.Team`. Previews are not shown."""
        of, shown, said = placed(works), self._tell(listener.progress), set[str]()

        def submit(number: int) -> Any:
            order = self._order(of[number].sequence.entries, number)
            return self._remote(code).remote(order, of[number], shown)

        def name(number: int) -> str:
            part = of[number].part
            return f"part {number} (frames {part.start} to {part.stop - 1})"

        for number, result in self._run(list(of), submit, name, _Display(listener.progress, works, self._board)):
            for text, category in result.warnings:
                # Of many parts the same is said once.
                like = "".join(c for c in text if not c.isdigit())
                if like not in said:
                    said.add(like)
                    warnings.warn(text, category, stacklevel=2)
            folder.store(number, result.data, result.figures)
            yield number

    def _remote(self, function: Callable[..., Any]) -> Any:
        # Ray sends a function to all workers each time that it is made a task.
        if function not in self._tasks:
            settings = {"num_cpus": self.cpus, "num_gpus": self.gpus, "max_retries": 0}
            self._tasks[function] = self._ray.remote(function).options(**settings)
        return self._tasks[function]

    def _tell(self, progress: Callable[[Progress], None] | None) -> Any:
        if progress is not None and self._board is None:
            self._board = self._ray.remote(Board).options(num_cpus=0).remote()
        return self._board

    def _order(self, rows: Rows, number: int) -> Order:
        """What a task needs besides its work: which files it reads, and the files themselves with ``ship``."""
        backend, threads = self._workers.backend, self._workers.threads
        if backend == "auto" and not self.gpus and self._ray.cluster_resources().get("GPU", 0):
            # Ray hides the GPUs from a worker that takes none.
            backend = "cpu"
        order = Order(__version__, backend, max(1, int(self.cpus)) if threads is None else threads, number)
        if self._workers.ship:
            return replace(order, shipped=list(self._shipped(rows)))
        ends = files_of((rows[0], rows[-1]))
        return replace(order, sizes={path: path.stat().st_size for path in ends if path.is_file()})

    def _shipped(self, rows: Rows) -> Iterator[Any]:
        """References to the files of a part, those of one frame together, each file once."""
        sent: set[Path] = set()
        for row in rows:
            new = [path for path in files_of([row]) if path not in sent]
            sent.update(new)
            if new:
                try:
                    yield self._ray.put({path: path.read_bytes() for path in new})
                except OSError as error:
                    raise DataError(f"{error.filename}: cannot read it: {error.strerror or error}") from error

    def _run(
        self, numbers: list[int], submit: Callable[[int], Any], name: Callable[[int], str], display: _Display
    ) -> Iterator[tuple[int, Any]]:
        """Runs tasks and gives their results as they come; those whose worker is lost run again."""
        ray, waiting, lost = self._ray, deque(numbers), dict.fromkeys(numbers, 0)
        running: dict[Any, int] = {}
        try:
            while waiting or running:
                while waiting and len(running) < self._room():
                    number = waiting.popleft()
                    running[submit(number)] = number
                ready, rest = ray.wait(list(running), timeout=_LOOK)
                if rest:
                    ready += ray.wait(rest, num_returns=len(rest), timeout=0)[0]
                display.look(ray, min(len(running), self.count or self._at_a_time()))
                for reference in ready:
                    number = running.pop(reference)
                    try:
                        result = ray.get(reference)
                    except ray.exceptions.RayTaskError as error:
                        raise _error_of(error, name(number)) from error
                    except ray.exceptions.RayError as error:
                        lost[number] += 1
                        self._say_lost(name(number), lost[number], error)
                        waiting.appendleft(number)
                        continue
                    display.whole.add(number)
                    yield number, result
        finally:
            # What was started here ends as a whole. Ray aborts where a task that it cancels ends at that moment.
            for reference in () if self._own else running:
                with contextlib.suppress(Exception):
                    ray.cancel(reference, force=True)

    def _at_a_time(self) -> int:
        """How many tasks there are workers for, as far as Ray knows; it starts no more at once."""
        if time.monotonic() - self._known[0] > _COUNTED:
            total = self._ray.cluster_resources()
            rooms = [total.get("GPU", 0) / self.gpus] if self.gpus else []
            rooms += [total.get("CPU", 0) / self.cpus] if self.cpus else []
            self._known = time.monotonic(), max(1, int(min(rooms, default=1)))
        return self._known[1]

    def _room(self) -> int:
        """How many tasks are with Ray at a time."""
        room = self._at_a_time()
        if self.count and room > self.count:
            return self.count
        # Some wait there, so that no worker waits for this machine, and a cluster that grows sees what is needed.
        return room + (_AHEAD if self._workers.ship else max(_AHEAD, room // 2))

    def _say_lost(self, name: str, times: int, error: Exception) -> None:
        ray = self._ray
        reason = "ran out of memory" if isinstance(error, ray.exceptions.OutOfMemoryError) else "was lost"
        if times > self._workers.retries:
            raise BackendError(
                f"{name}: expected a worker that finishes it, found that each of {times} {reason}; "
                "look at their memory, then use --resume"
            ) from error
        warnings.warn(f"{name}: its worker {reason}; another one codes it again", WorkerLost, stacklevel=2)

    def close(self) -> None:
        """Lets go of the cluster, and ends what was started here."""
        if self._board is not None:
            with contextlib.suppress(Exception):
                self._ray.kill(self._board)
            self._board = None
        if self._own:
            self._ray.shutdown()
            self._own = False

    def __enter__(self) -> Cluster:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()


class _Display:
    """How far all parts are, from what the board says of each.

    Attributes:
        whole: numbers of the parts that are whole.
    """

    def __init__(self, progress: Callable[[Progress], None] | None, works: Sequence[Work], board: Any) -> None:
        self._progress, self._board = progress, board
        self._parts = {work.part.number: work.part for work in works}
        self._before = (works[0].total if works else 0) - sum(map(len, self._parts.values()))
        self._last: dict[int, Progress] = {}
        self.whole: set[int] = set()

    def look(self, ray: Any, workers: int) -> None:
        """Reads the board and tells what it says, the state of all parts included."""
        if self._board is None or self._progress is None:
            return
        with contextlib.suppress(ray.exceptions.RayError):
            last = ray.get(self._board.read.remote(), timeout=20 * _LOOK)
            self._last |= last
            for progress in last.values():
                if not self._parts:
                    self._progress(progress)
                    continue
                state = (len(self.whole), len(self._parts))
                self._progress(replace(progress, coded=self._coded(), parts=state, workers=workers))

    def _coded(self) -> float:
        """Frames of the whole file that are coded, with the shares of those at hand."""
        coded = float(self._before)
        for number, part in self._parts.items():
            last = self._last.get(number)
            if number in self.whole:
                coded += len(part)
            elif last is not None:
                coded += last.frame - part.start + last.step / max(last.steps, 1)
        return coded


def _ray() -> Any:
    """The module ``ray``, which says nothing on stdout.

    Raises:
        ConfigError: it is not installed.
    """
    # Ray would send figures of its use to its makers.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    # Workers would give way to all other programs; an encode in this process does not.
    os.environ.setdefault("RAY_worker_niceness", "0")
    try:
        import ray
        import ray.exceptions
    except ImportError:
        raise ConfigError(f"expected Ray for --workers and --cluster, found none: {HOW_TO_GET}") from None
    return ray


def _error_of(error: Any, name: str) -> Exception:
    """What went wrong in a task, as it was raised there."""
    cause = error.cause
    if isinstance(cause, TvvcError):
        # The class that Ray makes of two others is none of ours.
        kind = next(base for base in type(cause).__mro__ if base.__module__ == TvvcError.__module__)
        return kind(str(cause.args[0] if cause.args else cause).splitlines()[0])
    if isinstance(cause, ImportError):
        return BackendError(f"{name}: a worker cannot load the package ({cause}); install {__version__} of it there")
    last = (str(cause).strip().splitlines() or [type(cause).__name__])[-1]
    return BackendError(f"{name}: expected a worker that codes it, found: {last[:300]}")
