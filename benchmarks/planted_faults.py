"""Plants faults in a copy of the source, one at a time, and says which of them no test notices.

    python benchmarks/planted_faults.py                     # all faults of planted_faults.txt
    python benchmarks/planted_faults.py --only rate,motion  # those whose line has one of these words
    python benchmarks/planted_faults.py --jobs 4 --json faults.json

Each fault runs only the test files that should notice it, and stops at the first failure. A fault is an entry of
``planted_faults.txt``::

    @ taichi_vvc/coding/quantize.py | test_quantize.py test_update.py | ties go down
    - np.floor(t / step + 0.5)
    + np.ceil(t / step - 0.5)

Several lines with ``-`` or ``+`` belong together; the first one stands without the line's indentation, the others keep
theirs. What is replaced must occur exactly once. Exit status 1: a fault went unnoticed, or the source has changed so
that one can no longer be planted.
"""

from __future__ import annotations

import argparse
import json
import os
import queue
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TABLE = Path(__file__).with_suffix(".txt")
COPIED = ("taichi_vvc", "kernels", "tests", "docs", "benchmarks", "examples")
ALONE = ("setup.cfg", "pyproject.toml", "README.md", "constraints.txt")
NOTICED, UNNOTICED, GONE = "noticed", "UNNOTICED", "cannot be planted"


@dataclass(frozen=True)
class Fault:
    """One fault: ``old`` becomes ``new`` in ``file``; ``tests`` are the files that should notice."""

    file: str
    tests: tuple[str, ...]
    what: str
    old: str
    new: str


def read_faults(text: str) -> list[Fault]:
    """The faults of a table. Raises ValueError with the number of a line that is none of a table."""
    faults: list[Fault] = []
    head: tuple[str, ...] = ()
    parts: dict[str, list[str]] = {}

    def finish() -> None:
        if head:
            file, tests, what = head
            faults.append(Fault(file, tuple(tests.split()), what, "\n".join(parts["-"]), "\n".join(parts["+"])))

    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        kind, rest = line[0], line[2:]
        if kind == "@" and rest.count(" | ") == 2:
            finish()
            head, parts = tuple(rest.split(" | ")), {"-": [], "+": []}
        elif kind in "-+" and head:
            parts[kind].append(rest)
        else:
            raise ValueError(f"line {number}: expected '@ file | tests | what', '- old' or '+ new', found {line!r}")
    finish()
    return faults


def planted(source: str, fault: Fault) -> str | None:
    """The source with the fault in it; None where what it replaces does not occur exactly once."""
    return source.replace(fault.old, fault.new) if fault.old and source.count(fault.old) == 1 else None


def copy_of(folder: Path) -> Path:
    """A copy of the checkout within ``folder``, without caches."""
    for name in COPIED:
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__", ".*_cache"))
    for name in ALONE:
        shutil.copy(ROOT / name, folder / name)
    return folder


def files_of(folder: Path, name: str) -> list[Path]:
    """The test file of that name in a checkout, whichever room it stands in; nothing where there is none."""
    return sorted((folder / "tests").rglob(name))


def failing(folder: Path, tests: Iterable[str], limit: float) -> str:
    """The first test of ``tests`` that fails in a copy, ``""`` if none does; a run beyond ``limit`` s counts as such.

    Raises RuntimeError where there is nothing to run.
    """
    files = [str(path) for name in tests for path in files_of(folder, name)]
    if not files:
        raise RuntimeError("none of its tests exists")
    # Python takes two files of the same size and second for the same one.
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1", "PYTHONPATH": str(folder)}
    command = [sys.executable, "-m", "pytest", "-x", "--no-header", "-p", "no:cacheprovider", "-rfE", *files]
    try:
        done = subprocess.run(
            command,
            cwd=folder,
            env=environment,
            capture_output=True,
            text=True,
            encoding="utf-8",
            timeout=limit,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return "no end"
    if not done.returncode:
        return ""
    lines = [line for line in done.stdout.splitlines() if line.startswith(("FAILED ", "ERROR "))]
    return lines[0].split(" - ")[0].split(" ", 1)[1] if lines else f"exit status {done.returncode}"


def work(faults: queue.SimpleQueue, left_out: set[str], limit: float, found: queue.SimpleQueue) -> None:
    """Plants faults in a copy of its own until there are none; puts (fault, outcome, test, seconds) into ``found``."""
    with tempfile.TemporaryDirectory() as folder:
        copy = copy_of(Path(folder))
        while True:
            try:
                fault = faults.get_nowait()
            except queue.Empty:
                return
            began, path = time.monotonic(), copy / fault.file
            source = path.read_text(encoding="utf-8")
            changed = planted(source, fault)
            outcome, test = GONE, ""
            if changed is not None:
                path.write_text(changed, encoding="utf-8")
                try:
                    test = failing(copy, (name for name in fault.tests if name not in left_out), limit)
                    outcome = NOTICED if test else UNNOTICED
                except RuntimeError as error:
                    outcome, test = UNNOTICED, str(error)
                path.write_text(source, encoding="utf-8")
            found.put((fault, outcome, test, time.monotonic() - began))


def outcomes(faults: list[Fault], jobs: int, left_out: set[str], limit: float) -> Iterator[tuple]:
    """(fault, outcome, test, seconds) of each fault as it is known."""
    waiting: queue.SimpleQueue = queue.SimpleQueue()
    found: queue.SimpleQueue = queue.SimpleQueue()
    for fault in faults:
        waiting.put(fault)
    threads = [threading.Thread(target=work, args=(waiting, left_out, limit, found), daemon=True) for _ in range(jobs)]
    for thread in threads:
        thread.start()
    for _ in faults:
        yield found.get()
    for thread in threads:
        thread.join()


def main() -> int:
    """See the module's docstring."""
    parser = argparse.ArgumentParser(description="Plant faults and see whether tests notice them.")
    parser.add_argument("--table", type=Path, default=TABLE, help="the faults (planted_faults.txt)")
    parser.add_argument("--only", default="", help="words, with commas: faults whose file, tests or text has one")
    parser.add_argument("--without", default="", help="test files, with commas, that are left out")
    parser.add_argument("--jobs", type=int, default=1, help="faults at a time (1)")
    parser.add_argument("--limit", type=float, default=600.0, help="seconds after which a run counts as noticed (600)")
    parser.add_argument("--list", action="store_true", help="only say which faults there are, and which are outdated")
    parser.add_argument("--json", type=Path, help="write the outcomes to a file")
    options = parser.parse_args()
    words = [word for word in options.only.split(",") if word]
    faults = [
        fault
        for fault in read_faults(options.table.read_text(encoding="utf-8"))
        if not words or any(word in f"{fault.file} {' '.join(fault.tests)} {fault.what}" for word in words)
    ]
    if options.list:
        gone = [f for f in faults if planted((ROOT / f.file).read_text(encoding="utf-8"), f) is None]
        for fault in faults:
            print(f"{GONE if fault in gone else '':18}{fault.file}: {fault.what}")
        return int(bool(gone))
    rows = []
    for fault, outcome, test, seconds in outcomes(faults, options.jobs, set(options.without.split(",")), options.limit):
        rows.append({"file": fault.file, "what": fault.what, "outcome": outcome, "test": test, "seconds": seconds})
        print(f"{outcome:18}{seconds:6.1f} s  {fault.file}: {fault.what}{f'  ({test})' if test else ''}", flush=True)
    noticed = sum(row["outcome"] == NOTICED for row in rows)
    print(f"{noticed} of {len(rows)} faults were noticed")
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1), encoding="utf-8")
    return int(noticed < len(rows))


if __name__ == "__main__":
    sys.exit(main())
