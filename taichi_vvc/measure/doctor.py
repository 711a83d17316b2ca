"""``tvvc doctor``: checks the versions, backends and memory of this machine, with a short self-test.

Each backend is started in a child process with a time limit, because a broken driver may kill the process that loads
it. ``python -m taichi_vvc.measure.doctor --probe BACKEND`` is that child process.
"""

from __future__ import annotations

import json
import os
import platform
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from taichi_vvc.versions import version_of, versions

BACKENDS = ("cpu", "vulkan", "cuda", "metal")
PROBE_TIMEOUT = 90.0  # seconds; the first start of a backend compiles kernels
LITTLE_MEMORY = 2 * 2**30  # bytes

_INSTALL_VULKAN = {
    "debian": "apt-get install mesa-vulkan-drivers libvulkan1",
    "ubuntu": "apt-get install mesa-vulkan-drivers libvulkan1",
    "fedora": "dnf install mesa-vulkan-drivers vulkan-loader",
    "arch": "pacman -S vulkan-swrast vulkan-icd-loader",
}


def diagnose(timeout: float = PROBE_TIMEOUT) -> dict[str, Any]:
    """The report of ``tvvc doctor``, as plain JSON values.

    Keys: ``versions``, ``system``, ``memory`` (bytes, None where unknown), ``backends`` (by name: ``works``,
    ``seconds``, ``message``), ``self_test`` (``works``, ``backend``, ``message``), ``hints`` (lines), ``works`` (True
    when at least one backend starts and the self-test passes). ``timeout``: seconds for each child process.
    """
    backends = {name: probe_in_child(name, timeout) for name in BACKENDS}
    working = [name for name in ("cuda", "metal", "cpu", "vulkan") if backends[name]["works"]]
    if working:
        self_test = {"backend": working[0], **_child(["--self-test", working[0]], timeout)}
    else:
        self_test = {"backend": None, "works": False, "seconds": 0.0, "message": "no backend starts"}
    report: dict[str, Any] = {
        "versions": versions(),
        "system": {"os": platform.platform(), "machine": platform.machine(), "cpus": os.cpu_count()},
        "memory": memory(),
        "backends": backends,
        "self_test": self_test,
        "works": bool(self_test["works"]),
    }
    report["hints"] = hints(report)
    return report


def probe_in_child(backend: str, timeout: float = PROBE_TIMEOUT) -> dict[str, Any]:
    """Starts ``backend`` in a child process: ``works``, ``seconds`` and a one-line ``message``; never raises."""
    return _child(["--probe", backend], timeout)


def _child(arguments: list[str], timeout: float) -> dict[str, Any]:
    environment = dict(os.environ)
    # The child must import this package, also from a checkout that is not installed.
    places = [str(Path(__file__).resolve().parents[2]), environment.get("PYTHONPATH", "")]
    environment["PYTHONPATH"] = os.pathsep.join(place for place in places if place)
    start = time.monotonic()
    try:
        done = subprocess.run(
            [sys.executable, "-m", "taichi_vvc.measure.doctor", *arguments],
            capture_output=True,
            text=True,
            encoding="utf-8",
            errors="replace",
            timeout=timeout,
            env=environment,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return {"works": False, "seconds": timeout, "message": f"gave no answer within {timeout:.0f} s"}
    except OSError as error:
        return {"works": False, "seconds": 0.0, "message": f"the child process did not start: {error}"}
    seconds = round(time.monotonic() - start, 2)
    try:
        answer = json.loads(done.stdout.strip().splitlines()[-1])
        return {"works": bool(answer["works"]), "seconds": seconds, "message": str(answer["message"])}
    except (IndexError, KeyError, TypeError, ValueError):
        return {"works": False, "seconds": seconds, "message": _how_it_died(done.returncode, done.stderr)}


def _how_it_died(status: int, stderr: str) -> str:
    if status < 0:
        try:
            name = signal.Signals(-status).name
        except ValueError:
            name = f"signal {-status}"
        return f"crashed with {name}"
    last = stderr.strip().splitlines()[-1:] or ["no output"]
    return f"ended with status {status}: {last[0][:200]}"


def memory() -> dict[str, int | None]:
    """``total_bytes`` and ``available_bytes`` of main memory; None where the system does not state them."""
    try:
        text = Path("/proc/meminfo").read_text(encoding="ascii")
        table = {line.split(":")[0]: int(line.split()[1]) * 1024 for line in text.splitlines() if line.endswith("kB")}
        return {"total_bytes": table.get("MemTotal"), "available_bytes": table.get("MemAvailable")}
    except (OSError, ValueError, IndexError):
        pass
    if sys.platform == "win32":
        return _memory_of_windows()
    try:
        return {"total_bytes": os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"), "available_bytes": None}
    except (AttributeError, OSError, ValueError):
        return {"total_bytes": None, "available_bytes": None}


def _memory_of_windows() -> dict[str, int | None]:
    import ctypes

    # MEMORYSTATUSEX: two 32-bit fields (length, load), then seven 64-bit ones, of which the first two are used.
    buffer = (ctypes.c_uint64 * 8)()
    ctypes.cast(buffer, ctypes.POINTER(ctypes.c_uint32))[0] = ctypes.sizeof(buffer)
    if not ctypes.windll.kernel32.GlobalMemoryStatusEx(ctypes.byref(buffer)):  # type: ignore[attr-defined]
        return {"total_bytes": None, "available_bytes": None}
    return {"total_bytes": int(buffer[1]), "available_bytes": int(buffer[2])}


def hints(report: dict[str, Any]) -> list[str]:
    """Advice to the user about the findings in ``report`` (see :func:`diagnose`), one line each."""
    found = []
    backends, system = report["backends"], report["system"]
    if report["versions"]["taichi"] is None and version_of("quadrants") is None:
        found.append(
            "taichi is not installed; it has packages for Python 3.10 to 3.13 on Linux (x86_64), Windows and macOS"
        )
    for name in BACKENDS:
        if not backends[name]["works"]:
            late = "no answer within" in backends[name]["message"]
            todo = "a first start compiles its kernels; give it more --timeout" if late else ""
            found.append(f"{name}: {todo or _what_to_do(name, system['os'])}")
    available = report["memory"]["available_bytes"] or report["memory"]["total_bytes"]
    if available is not None and available < LITTLE_MEMORY:
        found.append(f"{available / 2**30:.1f} GiB of memory are free; use --preset ultrafast or --downscale")
    if version_of("av") is None:
        found.append("PyAV is not installed, so no .mp4 can be written: pip install av")
    return found


def _what_to_do(backend: str, os_name: str) -> str:
    """Advice about a backend that does not start. ``os_name``: the result of :func:`platform.platform`."""
    # On a Mac it begins with macOS, in older Pythons with Darwin.
    mac, linux, windows = (os_name.startswith(names) for names in (("macOS", "Darwin"), "Linux", "Windows"))
    if backend == "cpu":
        return "always there with a working Taichi; install it anew: pip install --force-reinstall taichi"
    if backend == "metal":
        if mac:
            return "needs macOS 11 or later on Apple silicon; without it use the CPU"
        return "is of macOS only; nothing to do here"
    if backend == "cuda":
        if mac:
            return "is not for macOS; Metal takes its place"
        if shutil.which("nvidia-smi"):
            return "nvidia-smi is there; check that it lists a GPU without an error, or install a newer driver"
        container = "; in a container, pass the GPU through (docker run --gpus all)" if linux else ""
        return (
            f"needs an NVIDIA GPU and its driver, of which nvidia-smi was not found; no CUDA toolkit{container}. "
            "Without such a GPU there is nothing to do"
        )
    if linux:
        install = _INSTALL_VULKAN.get(_linux_family(), "install your distribution's Mesa Vulkan drivers")
        return f"needs a loader and a driver; Mesa's also run without a GPU, slower than the CPU backend: {install}"
    if windows:
        return "comes with the driver of the GPU; install the newest one from its maker"
    if mac:
        return "is not needed on macOS; Metal takes its place"
    return "needs a Vulkan loader and a driver; see your system's packages"


def _linux_family() -> str:
    try:
        lines = Path("/etc/os-release").read_text(encoding="utf-8").splitlines()
    except OSError:
        return ""
    table = dict(line.split("=", 1) for line in lines if "=" in line)
    names = (table.get("ID", "") + " " + table.get("ID_LIKE", "")).replace('"', "").split()
    return next((name for name in names if name in _INSTALL_VULKAN), "")


def probe(backend: str) -> str:
    """Starts ``backend`` in this process, runs one kernel and compares it with NumPy; returns a line for the report.

    Raises:
        BackendError: the backend is missing, or computes wrong values.
    """
    import numpy as np

    from taichi_vvc.errors import BackendError
    from taichi_vvc.runtime import start

    runtime = start(backend)
    from taichi_vvc.kernels.geometry import encode_directions

    count, octaves = 1000, 2
    rays = np.random.default_rng(0).uniform(-1, 1, (count, 8)).astype(np.float32)
    encoded = runtime.zeros(count * (3 + 6 * octaves))
    encode_directions(count, runtime.upload(rays), octaves, encoded)
    runtime.sync()
    d = rays[:, 3:6]
    expected = np.concatenate((d, np.sin(d), np.cos(d), np.sin(2 * d), np.cos(2 * d)), axis=1)
    worst = float(np.abs(runtime.download(encoded).reshape(count, -1) - expected).max())
    if not worst < 1e-3:
        raise BackendError(f"{backend}: expected the kernel to agree with NumPy, found errors up to {worst:.3g}")
    return f"computes right (largest error {worst:.1g})"


def self_test(backend: str) -> str:
    """Codes a small random field, decodes it and renders it on ``backend``; returns a line for the report.

    Raises:
        BackendError: the decoded symbols differ, or the picture does not show an opaque cube.
    """
    import numpy as np

    from taichi_vvc.coding.grid_decoder import decode_grid
    from taichi_vvc.coding.grid_encoder import encode_grid
    from taichi_vvc.errors import BackendError
    from taichi_vvc.field.grids import field_of_symbols
    from taichi_vvc.field.render import render
    from taichi_vvc.runtime import start
    from taichi_vvc.types import Bounds, Camera, FieldLayout, GridLevel, GroupParameters, SymbolFrame

    runtime = start(backend)
    box = Bounds((-1.0, -1.0, -1.0), (1.0, 1.0, 1.0))
    layout = FieldLayout(box, (8, 8, 8), (GridLevel((8, 8, 8), 4, 1.0),), (8, 8, 8), steps_per_side=16)
    random = np.random.default_rng(0)
    sent = [np.rint(random.laplace(0, 2, shape)).astype(np.int32) for shape in layout.grid_shapes]
    began = time.perf_counter()
    symbols = []
    for grid in sent:
        live = np.ones(grid.shape[:3], bool)
        symbols.append(decode_grid(encode_grid(grid, live).payload, grid.shape, live))
    if not all(np.array_equal(a, b) for a, b in zip(sent, symbols, strict=True)):
        raise BackendError("expected the entropy coder to return the symbols it was given, found others; reinstall it")
    mlp = tuple(random.normal(0, 0.3, shape).astype(np.float32) for shape in layout.mlp_shapes)
    # A bias that makes the density high everywhere, so that the picture must show something.
    mlp[3][0] += 5.0
    frame = SymbolFrame(tuple(symbols), tuple(symbols), np.ones((8, 8, 8), bool))
    camera = Camera("self-test", 32, 32, 40.0, 40.0, 16.0, 16.0, np.eye(3), np.array([0.0, 0.0, -4.0]))
    image = render(field_of_symbols(runtime, layout, GroupParameters((0.1, 0.1), mlp), frame), camera)
    right = np.isfinite(image.colour).all() and image.opacity[16, 16] > 0.9 and image.opacity[0, 0] < 0.1
    if not right:
        raise BackendError(f"{backend}: expected a picture of a cube, found something else; update the driver")
    return f"coded, decoded and rendered a small field in {time.perf_counter() - began:.1f} s"


def _answer(arguments: list[str]) -> int:
    """The main function of the child process: prints one line of JSON on stdout."""
    action, backend = arguments
    try:
        message = {"--probe": probe, "--self-test": self_test}[action](backend)
        print(json.dumps({"works": True, "message": message}))
        return 0
    except Exception as error:
        # The advice after the semicolon is left out: hints() gives it.
        message = " ".join(str(error).split()).split("; ")[0] or type(error).__name__
        print(json.dumps({"works": False, "message": message}))
        return 1


if __name__ == "__main__":
    sys.exit(_answer(sys.argv[1:]))
