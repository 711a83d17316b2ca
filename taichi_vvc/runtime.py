"""Starts Taichi and allocates device memory; no other module does either.

On the CPU backend device arrays *are* NumPy arrays, which kernels receive without a copy. On a GPU they are Taichi
arrays that stay resident. Other modules allocate through :class:`Runtime` and do not depend on the kind of array,
except for the functions with one implementation for the CPU and one for a GPU (the small MLPs, the grid adjoint).
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
# Bytes: kernels for the CPU load vectors of sixteen floats.
_ALIGNMENT = 64
_current: Runtime | None = None


def aligned(count: int, dtype: np.dtype) -> np.ndarray:
    """A flat, uninitialised host array with the alignment that lets an upload on the CPU use it without a copy."""
    memory = np.empty(count * dtype.itemsize + _ALIGNMENT, np.uint8)
    start = -memory.ctypes.data % _ALIGNMENT
    return memory[start : start + count * dtype.itemsize].view(dtype)


@dataclass(frozen=True)
class Runtime:
    """A started backend.

    Attributes:
        backend: ``cpu``, ``cuda``, ``vulkan`` or ``metal``.
        host_arrays: whether device arrays are plain NumPy arrays (on the CPU).
        threads: number of host threads for work outside of kernels.
    """

    backend: str
    host_arrays: bool
    threads: int = 1

    @cached_property
    def _blas(self) -> ThreadpoolController:
        return ThreadpoolController()

    def single_threaded_blas(self) -> AbstractContextManager[Any]:
        """A context in which NumPy's matrix products use a single thread."""
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
        """A device array of the flattened ``values`` (float32 or int32); on the CPU possibly ``values`` itself."""
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
        """Overwrites a whole device array with ``values`` of the same length."""
        if self.host_arrays:
            array[:] = values.reshape(-1)
        else:
            array.from_numpy(np.ascontiguousarray(values).reshape(-1))

    def sync(self) -> None:
        """Waits until the device has finished all work."""
        if not self.host_arrays:
            from taichi_vvc.kernels._taichi import ti

            ti.sync()


def _forked() -> BackendError:
    return BackendError(
        "the backend was started before this process was forked, which its threads did not survive; use "
        'multiprocessing.get_context("spawn"), or start worker processes before anything is rendered'
    )


def _after_fork() -> None:
    """Marks the backend as unusable in a forked child, where its threads are missing and every launch would hang."""
    launching = sys.modules.get("taichi_vvc.kernels.launch")
    if launching is not None and (_current is not None or _started()):
        launching.process.refusal = _forked


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def _supported(backend: str) -> bool:
    from taichi_vvc.kernels._taichi import ti

    if backend == "cpu":
        return True
    # Taichi prints a warning for every missing driver.
    ti.set_logging_level(ti.ERROR)
    check = getattr(ti._lib.core, f"with_{backend}", None)
    return bool(check and check())


def present_backends() -> tuple[str, ...]:
    """Names of the backends that Taichi finds on this machine; ``cpu`` is always among them."""
    return tuple(name for name in BACKENDS if _supported(name))


def _automatic() -> str:
    # Mesa's software Vulkan is slower than the CPU backend. It has no render node, by which it is recognised.
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
    # Taichi returns None before its start; its fork quadrants raises.
    return getattr(state, "_prog" if hasattr(state, "_prog") else "prog") is not None


def settings_of(backend: str, threads: int) -> dict[str, Any]:
    """The arguments of ``ti.init`` for a backend."""
    from taichi_vvc.kernels._taichi import ti

    settings: dict[str, Any] = {
        "arch": getattr(ti, backend),
        "enable_fallback": False,
        "log_level": ti.ERROR,
        "offline_cache": True,
        "offline_cache_file_path": _cache_folder(),
        "cpu_max_num_threads": threads,
        # 0 turns off the warnings about unrolled loops, which are intended here.
        "unrolling_limit": 0,
    }
    if backend == "cpu":
        # By default Taichi splits vectors into scalars, which the compiler does not vectorise again.
        settings["real_matrix_scalarize"] = False
    return settings


def cores() -> list[int]:
    """The processor cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))


def launch(backend: str, threads: int) -> None:
    """Starts Taichi on a backend, with this number of CPU threads."""
    from taichi_vvc.kernels._taichi import ti

    before = _tasks()
    # Taichi prints a banner to stdout, which is for a program's results.
    with redirect_stdout(StringIO()):
        ti.init(**settings_of(backend, threads))
    if backend == "cpu":
        _spread(sorted(_tasks() - before)[-threads:], cores())


def _tasks() -> set[int]:
    """Identifiers of this process's threads on Linux; empty on other systems."""
    try:
        return {int(name) for name in os.listdir("/proc/self/task")}
    except OSError:
        return set()


def _spread(workers: list[int], places: list[int]) -> None:
    """Pins each of Taichi's worker threads to a core of its own, if there are enough cores.

    Kernels are so short that Linux wakes all workers on one core and seldom moves one to another. Steps take a third
    longer then. Pinning costs nothing where a core is busy with another process.

    Args:
        workers: thread identifiers; the workers are the last threads that Taichi starts.
        places: numbers of the cores that the process may use.
    """
    if not 1 < len(workers) == len(places):
        return
    for worker, place in zip(workers, places, strict=True):
        with suppress(OSError):
            os.sched_setaffinity(worker, {place})


def start(backend: str = "auto", threads: int | None = None) -> Runtime:
    """Starts a backend, once per process, and returns it. A second call returns the running backend.

    If the host program has started Taichi itself, that runtime is used, since a new start would invalidate all its
    arrays. On the CPU the host program should pass ``real_matrix_scalarize=False``; without it steps take three times
    as long.

    Args:
        backend: ``auto``, ``cpu``, ``cuda``, ``vulkan`` or ``metal``.
        threads: number of CPU threads for kernels and for NumPy's matrix products; None means one per core.

    Raises:
        BackendError: the backend is not available; another backend, or one with another number of threads, is already
            running; or this process was forked from one with a running backend.
        ConfigError: ``threads`` is no positive integer.
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
        # The limit holds for the life of the process.
        _current._blas.limit(limits=threads, user_api="blas")
    return _current


def _with_threads(running: Runtime, threads: int | None) -> Runtime:
    """The running backend. Raises BackendError if it has another number of threads than requested."""
    if threads not in (None, running.threads):
        raise BackendError(
            f"expected {threads} threads, but the backend runs with {running.threads}; a process starts it once"
        )
    return running
