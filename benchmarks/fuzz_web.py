"""Mutated files through the decoder in JavaScript: typed errors only, no hang, and the same symbols as in Python.

python benchmarks/fuzz_web.py --count 20000 --json fuzz_web.json --keep failures/

The cases are those of ``fuzz.py``. Node decodes them in one process per batch. Python decodes those that decode there,
which must give the same hash of their symbols, and a tenth of the others, which must not decode here either.
"""

from __future__ import annotations

import json
import struct
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

from fuzz import DATA, small_file
from measure import parser, table, write
from mutate import Mutator

NODE_SIDE = Path(__file__).with_suffix(".mjs")
SLOW = 10_000.0  # ms of a case that count as hanging
BATCH = 500


def main() -> None:
    """Read the arguments, run the cases and say what was found; the exit status is 1 where anything failed."""
    options_of = parser(__doc__, capture=False)
    options_of.add_argument("files", nargs="*", type=Path, help="files to begin with; default those of tests/data")
    options_of.add_argument("--count", type=int, default=20000, help="cases")
    options_of.add_argument("--first", type=int, default=0, help="number of the first case")
    options_of.add_argument("--seed", type=int, default=0)
    options_of.add_argument("--memory-limit", type=int, default=256, help="MiB that a file may take")
    options_of.add_argument("--keep", type=Path, help="folder for the files that fail")
    options = options_of.parse_args()
    result = run_cases(options)
    table(["cases", "failures", "slowest ms"], [[result[key] for key in ("cases", "failed", "slowest_ms")]])
    for name, count in sorted(result["outcomes"].items()):
        print(f"{count:8}  {name}")
    for failure in result["failures"]:
        print(f"case {failure['case']}: {failure['what']}")
    write(options, [result])
    sys.exit(1 if result["failed"] else 0)


def run_cases(options: Any) -> dict[str, Any]:
    """Runs the cases batch by batch, and counts what became of them."""
    files = [path.read_bytes() for path in options.files or sorted(DATA.glob("golden_v*.tvvc"))]
    if not options.files:
        files += [small_file(seed) for seed in range(3)] + 12 * [small_file(3)]
    mutator, outcomes, failures = Mutator(files, options.seed), Counter(), []
    begun, slowest, end = time.monotonic(), 0.0, options.first + options.count
    for first in range(options.first, end, BATCH):
        numbers = range(first, min(first + BATCH, end))
        cases = [mutator.case(number)[0] for number in numbers]
        found = decoded_in_node(cases, options.memory_limit << 20)
        if len(found) < len(cases):
            found += [{"outcome": "ended", "hash": "", "message": "Node ended here", "ms": 0, "typed": False}]
        for number, data, one in zip(numbers, cases, found, strict=False):
            slowest = max(slowest, one["ms"])
            problem = problem_of(data, one, options.memory_limit << 20, number % 10 == 0)
            outcomes[one["outcome"]] += 1
            if problem:
                failures.append({"case": number, "what": problem})
                if options.keep:
                    options.keep.mkdir(parents=True, exist_ok=True)
                    (options.keep / f"case_{number}.tvvc").write_bytes(data)
        rate = (numbers.stop - options.first) / (time.monotonic() - begun)
        print(f"{numbers.stop} cases, {len(failures)} failures, {rate:.0f} per second", file=sys.stderr, flush=True)
    return {
        "cases": sum(outcomes.values()),
        "failed": len(failures),
        "slowest_ms": slowest,
        "outcomes": dict(outcomes),
        "failures": failures[:50],
        "seed": options.seed,
        "first": options.first,
        "seconds": time.monotonic() - begun,
    }


def decoded_in_node(cases: list[bytes], limit: int) -> list[dict[str, Any]]:
    """What Node found in each of the files; fewer where the process ended early."""
    with tempfile.TemporaryDirectory() as folder:
        pack = Path(folder) / "cases.pack"
        pack.write_bytes(b"".join(struct.pack("<I", len(data)) + data for data in cases))
        command = ["node", str(NODE_SIDE), str(pack), str(limit)]
        done = subprocess.run(command, capture_output=True, text=True, encoding="utf-8", check=False, timeout=3600)
    return [json.loads(line) for line in done.stdout.splitlines()]


def problem_of(data: bytes, found: dict[str, Any], limit: int, both: bool) -> str:
    """What is wrong with what became of a case, or "". ``both``: Python tries it even where Node has refused it."""
    if not found["typed"]:
        return f"{found['outcome']}: {found['message'][:400]}"
    if found["ms"] > SLOW:
        return f"{found['ms']:.0f} ms"
    if found["outcome"] != "good" and not both:
        return ""
    expected, hash_of = decoded_here(data, limit)
    if found["outcome"] == "good" and (expected, hash_of) != ("good", found["hash"]):
        return f"decodes there with {found['hash'][:16]}, here: {expected} {hash_of[:16]}"
    # Estimates of memory are the decoder's own.
    if expected == "good" and found["outcome"] not in ("good", "MemoryLimitExceeded"):
        return f"decodes here, there: {found['outcome']}: {found['message'][:200]}"
    return ""


def decoded_here(data: bytes, limit: int) -> tuple[str, str]:
    """How decoding a file in Python ends, and the hash of its symbols."""
    import taichi_vvc as tv
    from taichi_vvc.bitstream import StreamReader

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "case.tvvc"
        path.write_bytes(data)
        try:
            with tv.open(path, memory_limit=limit) as stream, StreamReader(path) as reader:
                found = stream.hashes().symbols
                for index in range(len(reader.sounds)):
                    reader.read_sound(index)
                return "good", found
        except tv.errors.StreamError as error:
            return type(error).__name__, ""


if __name__ == "__main__":
    main()
