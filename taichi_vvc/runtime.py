"""The only place that starts Taichi, and the only place that allocates device memory.

On the CPU backend device arrays *are* NumPy arrays, which kernels receive without a copy; on a GPU they are Taichi
arrays that stay resident. Code above this module allocates through :class:`Runtime` and never asks which it is,
except where a pair of implementations hides behind one function (the small MLPs, the grid adjoint).
"""

from __future__ import annotations

import glob
import os
import sys
from contextlib import AbstractContextManager, redirect_stdout, suppress
from dataclasses import dataclass
from functools import cached_property
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
from threadpoolctl import ThreadpoolController

from taichi_vvc.errors import BackendError, ConfigError

BACKENDS = ("cpu", "cuda", "vulkan", "metal")
_MAX_ARRAY_BYTES = 2**31 - 1
# Kernels for the CPU load vectors of sixteen floats at once.
_ALIGNMENT = 64
_current: Runtime | None = None


def aligned(count: int, dtype: np.dtype) -> np.ndarray:
    """A flat host array, contents undefined, that an upload on the CPU takes as it is."""
    memory = np.empty(count * dtype.itemsize + _ALIGNMENT, np.uint8)
    start = -memory.ctypes.data % _ALIGNMENT
    return memory[start : start + count * dtype.itemsize].view(dtype)


@dataclass(frozen=True)
class Runtime:
    """A started backend. ``host_arrays`` is True where device arrays are plain NumPy arrays (the CPU).

    ``threads``: how many the host has for our own work.
    """

    backend: str
    host_arrays: bool
    threads: int = 1

    @cached_property
    def _blas(self) -> ThreadpoolController:
        return ThreadpoolController()

    def single_threaded_blas(self) -> AbstractContextManager[Any]:
        """Within this context NumPy's matrix products use one thread each."""
        return self._blas.limit(limits=1, user_api="blas")

    def empty(self, count: int, dtype: Any = np.float32) -> Any:
        """A flat device array of ``count`` elements (float32 or int32), contents undefined.

        Raises:
            BackendError: the array would be larger than 2 GiB, which Vulkan cannot address.
        """
        if count * np.dtype(dtype).itemsize > _MAX_ARRAY_BYTES:
            raise BackendError(
                f"expected arrays under 2 GiB, found one of {count * np.dtype(dtype).itemsize / 2**30:.1f} GiB; "
                "use a smaller preset, fewer rays per step or --downscale"
            )
        count = max(int(count), 1)
        if self.host_arrays:
            return aligned(count, np.dtype(dtype))
        from taichi_vvc.kernels._taichi import ti
        from taichi_vvc.kernels.launch import check_process

        check_process()
        return ti.ndarray(ti.f32 if np.dtype(dtype) == np.float32 else ti.i32, count)

    def zeros(self, count: int, dtype: Any = np.float32) -> Any:
        """A flat device array of ``count`` zeros."""
        array = self.empty(count, dtype)
        array.fill(0)
        return array

    def upload(self, values: np.ndarray) -> Any:
        """A device array holding the flattened ``values`` (float32 or int32); on the CPU possibly the array itself."""
        flat = np.ascontiguousarray(values).reshape(-1)
        if self.host_arrays and flat.size and flat.ctypes.data % _ALIGNMENT == 0:
            return flat
        array = self.empty(flat.size, flat.dtype)
        if self.host_arrays:
            array[: flat.size] = flat
        elif flat.size:
            array.from_numpy(flat)
        return array

    def download(self, array: Any, count: int | None = None) -> np.ndarray:
        """The first ``count`` elements as a NumPy array (a view on the CPU)."""
        if not self.host_arrays:
            from taichi_vvc.kernels.launch import check_process

            check_process()
        host = array if self.host_arrays else array.to_numpy()
        return host if count is None else host[:count]

    def store(self, array: Any, values: np.ndarray) -> None:
        """Overwrite a whole device array by ``values`` of the same length."""
        if self.host_arrays:
            array[:] = values.reshape(-1)
        else:
            array.from_numpy(np.ascontiguousarray(values).reshape(-1))

    def sync(self) -> None:
        """Wait for the device."""
        if not self.host_arrays:
            from taichi_vvc.kernels._taichi import ti

            ti.sync()


def _forked() -> BackendError:
    return BackendError(
        "the backend was started before this process was forked, which its threads did not survive; use "
        'multiprocessing.get_context("spawn"), or start worker processes before anything is rendered'
    )


def _after_fork() -> None:
    """In a forked child: refuses what would wait for ever, if the parent had a running backend."""
    launching = sys.modules.get("taichi_vvc.kernels.launch")
    if launching is not None and (_current is not None or _started()):
        launching.process.refusal = _forked


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def _supported(backend: str) -> bool:
    from taichi_vvc.kernels._taichi import ti

    if backend == "cpu":
        return True
    # Taichi prints a warning for every driver that it does not find.
    ti.set_logging_level(ti.ERROR)
    check = getattr(ti._lib.core, f"with_{backend}", None)
    return bool(check and check())


def present_backends() -> tuple[str, ...]:
    """Names of the backends that the installed Taichi reports on this machine; ``cpu`` is always among them."""
    return tuple(name for name in BACKENDS if _supported(name))


def _automatic() -> str:
    # Mesa's software Vulkan is slower than the CPU backend and has no render node, so it is never chosen unasked.
    real_gpu = not sys.platform.startswith("linux") or bool(glob.glob("/dev/dri/renderD*"))
    for name in ("cuda", "metal", "vulkan"):
        if _supported(name) and (name != "vulkan" or real_gpu):
            return name
    return "cpu"


def _cache_folder() -> str:
    from taichi_vvc._version import __version__
    from taichi_vvc.kernels._taichi import ti

    if os.name == "nt":
        base = Path(os.environ.get("LOCALAPPDATA", Path.home()))
    else:
        base = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache"))
    version = ".".join(str(part) for part in ti.__version__[:3])
    return str(base / "taichi_vvc" / f"{__version__}-{ti.__name__}-{version}")


def _started() -> bool:
    from taichi_vvc.kernels._taichi import ti

    state = ti.lang.impl.get_runtime()
    # Where Taichi answers None, quadrants raises.
    return getattr(state, "_prog" if hasattr(state, "_prog") else "prog") is not None


def settings_of(backend: str, threads: int) -> dict[str, Any]:
    """How Taichi is started on a backend: arguments of its ``init``."""
    from taichi_vvc.kernels._taichi import ti

    settings: dict[str, Any] = {
        "arch": getattr(ti, backend),
        "enable_fallback": False,
        "log_level": ti.ERROR,
        "offline_cache": True,
        "offline_cache_file_path": _cache_folder(),
        "cpu_max_num_threads": threads,
        # It would warn, with a line of source code, of loops that are written out on purpose.
        "unrolling_limit": 0,
    }
    if backend == "cpu":
        # Otherwise vectors are taken apart, and the compiler does not find together again what was one.
        settings["real_matrix_scalarize"] = False
    return settings


def cores() -> list[int]:
    """The processor cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))


def launch(backend: str, threads: int) -> None:
    """Start Taichi on a backend, with so many threads of the CPU."""
    from taichi_vvc.kernels._taichi import ti

    before = _tasks()
    # Taichi prints a line about its start, which has no place among a program's results.
    with redirect_stdout(StringIO()):
        ti.init(**settings_of(backend, threads))
    if backend == "cpu":
        _spread(sorted(_tasks() - before)[-threads:], cores())


def _tasks() -> set[int]:
    """Threads of this process, where the system tells (Linux)."""
    try:
        return {int(name) for name in os.listdir("/proc/self/task")}
    except OSError:
        return set()


def _spread(workers: list[int], places: list[int]) -> None:
    """Give each of Taichi's workers, the last threads that it starts, a core of its own if there are as many.

    Kernels are so short that Linux wakes all workers on one core and seldom moves one away: steps then take a third
    longer. A worker whose core is busy with something else waits no longer than it would anyway.
    """
    if not 1 < len(workers) == len(places):
        return
    for worker, place in zip(workers, places, strict=True):
        with suppress(OSError):
            os.sched_setaffinity(worker, {place})


def start(backend: str = "auto", threads: int | None = None) -> Runtime:
    """Start ``backend`` (``auto``, ``cpu``, ``cuda``, ``vulkan`` or ``metal``) once per process, and return it.

    ``threads`` is how many of the CPU's the process may use, for kernels and for NumPy's matrix products; None means
    one for each core that it has.

    Idempotent: a second call returns the running backend. A runtime that the host program started itself is used as
    it is, since starting Taichi again would invalidate every array that it owns; on the CPU it should have been started
    with ``real_matrix_scalarize=False``, without which steps take three times as long.

    Raises:
        BackendError: the backend is not available here, another one, or one with other threads, is already running, or
            one was running when this process was forked.
        ConfigError: ``threads`` is no number from 1.
    """
    global _current
    from taichi_vvc.kernels._taichi import ti
    from taichi_vvc.kernels.launch import check_process

    check_process()
    if threads is not None and (isinstance(threads, bool) or not isinstance(threads, int) or threads < 1):
        raise ConfigError(f"expected threads of 1 or more, found {threads!r}")

    if backend != "auto" and backend not in BACKENDS:
        raise BackendError(f"expected a backend among auto, {', '.join(BACKENDS)}, found {backend!r}")
    if _current is not None:
        if backend not in ("auto", _current.backend):
            raise BackendError(
                f"expected backend {backend!r}, but {_current.backend!r} is running; a process has one backend"
            )
        return _with_threads(_current, threads)
    names = {ti.cuda: "cuda", ti.vulkan: "vulkan", ti.metal: "metal"}
    if _started():
        running = names.get(ti.cfg.arch, "cpu")
        if backend not in ("auto", running):
            raise BackendError(f"expected backend {backend!r}, but the program already started {running!r} itself")
        _current = Runtime(running, running == "cpu", len(cores()))
        return _with_threads(_current, threads)
    chosen = _automatic() if backend == "auto" else backend
    if not _supported(chosen):
        raise BackendError(
            f"backend {chosen!r} is not available here; found {', '.join(present_backends())}: "
            "choose one of these or install its driver (tvvc doctor tells more)"
        )
    count = len(cores()) if threads is None else threads
    try:
        launch(chosen, count)
    except RuntimeError as error:
        raise BackendError(f"backend {chosen!r} did not start: {str(error).splitlines()[0]}") from error
    _current = Runtime(chosen, chosen == "cpu", count)
    if threads is not None:
        # For good: nothing restores it.
        _current._blas.limit(limits=threads, user_api="blas")
    return _current


def _with_threads(running: Runtime, threads: int | None) -> Runtime:
    """The running backend, if it has the number of threads that is asked for."""
    if threads not in (None, running.threads):
        raise BackendError(
            f"expected {threads} threads, but the backend runs with {running.threads}; a process starts it once"
        )
    return running
