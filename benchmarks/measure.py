"""What the benchmarks share: arguments, starting a backend with some threads, timing, tables and JSON."""

from __future__ import annotations

import argparse
import dataclasses
import datetime
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from taichi_vvc import runtime as runtimes
from taichi_vvc.capture.packaged import capture_path
from taichi_vvc.capture.sequence import MultiViewSequence, open_capture
from taichi_vvc.runtime import Runtime


def parser(text: str | None, *, capture: bool = True) -> argparse.ArgumentParser:
    """A parser with the options that all benchmarks take."""
    result = argparse.ArgumentParser(description=text, formatter_class=argparse.RawDescriptionHelpFormatter)
    result.add_argument("--backend", default="cpu", help="cpu, cuda, vulkan, metal or auto")
    result.add_argument("--threads", default=str(os.cpu_count() or 1), help="CPU threads; A,B measures each in turn")
    result.add_argument("--json", type=Path, help="write the figures to this file")
    if capture:
        result.add_argument("--capture", type=Path, help="a capture; default the packaged one")
        result.add_argument("--downscale", type=int, default=1)
    return result


def threads_of(options: argparse.Namespace) -> list[int]:
    """The thread counts that were asked for."""
    return [int(part) for part in str(options.threads).split(",")]


def begin(backend: str, threads: int) -> Runtime:
    """Start ``backend`` with so many CPU threads for kernels, matrix products and torch. Once per process."""
    if backend == "cpu" and runtimes._current is None:
        # start() takes all cores; it takes over a Taichi that is already running as well.
        runtimes.launch("cpu", threads)
    runtimes._current = dataclasses.replace(runtimes.start(backend), threads=threads)
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(threads)
    return runtimes._current


def per_threads(options: argparse.Namespace, run: Callable[[argparse.Namespace], dict[str, Any]]) -> list[Any]:
    """Results of ``run`` for each thread count: in this process for one, in child processes for several."""
    counts = threads_of(options)
    if len(counts) == 1:
        return [run(options)]
    results = []
    for count in counts:
        results += in_child([*_without(sys.argv[1:], ("--threads", "--json")), "--threads", str(count)])
    return results


def in_child(arguments: Sequence[str]) -> list[dict[str, Any]]:
    """Results of this program, started anew with other arguments: a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "results.json"
        subprocess.run([sys.executable, sys.argv[0], *arguments, "--json", str(file)], check=True)
        results: list[dict[str, Any]] = json.loads(file.read_text(encoding="utf-8"))["results"]
    return results


def per_preset(options: argparse.Namespace) -> list[dict[str, Any]]:
    """Results for each of ``--presets``, each in a child process that is told its ``--preset``."""
    return [row for name in options.presets.split(",") for row in in_child([*sys.argv[1:], "--preset", name])]


def _without(arguments: Sequence[str], names: Sequence[str]) -> list[str]:
    kept, skip = [], False
    for argument in arguments:
        if not skip and argument.split("=")[0] not in names:
            kept.append(argument)
        skip = not skip and argument in names
    return kept


def capture_of(options: argparse.Namespace, frames: slice | None = None) -> MultiViewSequence:
    """The capture to measure on."""
    return open_capture(options.capture or capture_path(), frames=frames, downscale=options.downscale)


def best(function: Callable[[], Any], repeats: int, runtime: Runtime | None = None) -> float:
    """Shortest of ``repeats`` timings, seconds; on a shared machine the others tell about the neighbours."""
    found = []
    for _ in range(repeats):
        if runtime is not None:
            runtime.sync()
        start = time.perf_counter()
        function()
        if runtime is not None:
            runtime.sync()
        found.append(time.perf_counter() - start)
    return min(found)


def peak_memory() -> float:
    """Largest resident size of this process so far, MiB; 0 where the system does not tell."""
    try:
        import resource
    except ImportError:
        return 0.0
    size = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return size / (2**20 if sys.platform == "darwin" else 2**10)


def surroundings(backend: str) -> dict[str, Any]:
    """Machine, versions and date of a measurement."""
    versions = {}
    for name in ("taichi", "quadrants", "numpy", "torch", "constriction"):
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            continue
    return {
        "date": datetime.date.today().isoformat(),
        "backend": backend,
        "processor": _processor(),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "versions": versions,
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        return next(line.split(":")[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def table(heads: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    """Print a table, numbers to the right."""
    text = [[_cell(value) for value in row] for row in [heads, *rows]]
    widths = [max(len(row[n]) for row in text) for n in range(len(heads))]
    for row in text:
        print("  ".join(v.ljust(w) if n == 0 else v.rjust(w) for n, (v, w) in enumerate(zip(row, widths, strict=True))))


def _cell(value: Any) -> str:
    if not isinstance(value, float):
        return str(value)
    return f"{value:.0f}" if abs(value) >= 1000 else f"{value:.2f}"


def write(options: argparse.Namespace, results: Sequence[dict[str, Any]]) -> None:
    """Write the JSON file that was asked for: ``surroundings`` and one entry in ``results`` per row of the table."""
    if options.json:
        document = {"surroundings": surroundings(options.backend), "results": list(results)}
        options.json.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
