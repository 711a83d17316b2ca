"""Decoding in JavaScript against decoding in Python: milliseconds per frame of the same file, on the same core.

python benchmarks/decode_web.py FILE --json decode_web.json      (without FILE: the packaged capture is encoded first)

Node and Python take turns on one core, so that both see the same load of the machine. Medians are over rounds.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from decode import decode_once
from measure import begin, capture_of, parser, table, write

NODE_SIDE = Path(__file__).with_suffix(".mjs")
PARTS = ("occupancy", "live set", "motion", "entropy", "add reference")
WARM = 6  # rounds that a process of Node makes before those that count


def main() -> None:
    """Read the arguments and measure."""
    options_of = parser(__doc__)
    options_of.add_argument("file", type=Path, nargs="?", help="a .tvvc file; default: encode the capture first")
    options_of.add_argument("--preset", default="fast", help="of that encode")
    options_of.add_argument("--frames", type=int, default=8)
    options_of.add_argument("--rounds", type=int, default=5, help="turns of each")
    options_of.add_argument("--core", type=int, default=0, help="processor core to run on; -1: any")
    options = options_of.parse_args()
    if options.core >= 0 and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {options.core})
    with tempfile.TemporaryDirectory() as folder:
        file = options.file or _encoded(options, Path(folder) / "file.tvvc")
        result = compare(options, file)
    write(options, [result])


def _encoded(options: Any, path: Path) -> Path:
    from taichi_vvc import PRESETS, encode

    begin(options.backend, 1)
    for _ in encode(capture_of(options), PRESETS[options.preset], path):
        pass
    return path


def compare(options: Any, file: Path) -> dict[str, Any]:
    """Measures both and prints a table."""
    runtime = begin(options.backend, 1)
    here: list[dict[str, float]] = []
    there: list[dict[str, float]] = []
    for _ in range(options.rounds):
        parts, _ = decode_once(runtime, file, options.frames)
        here.append({**parts, "total": sum(parts.values())})
        there += decoded_in_node(file, options.frames, options.rounds)
    rows = {}
    for part in (*PARTS, "total"):
        rows[part] = (statistics.median(r[part] for r in here), statistics.median(r[part] for r in there))
    upload = statistics.median(r["dequantise, upload"] for r in here)
    rows["symbols"] = rows["total"][0] - upload, rows["total"][1]
    print(f"{file.name}: {file.stat().st_size} bytes, medians of {options.rounds} turns")
    heads = ["part", "Python ms", "JavaScript ms", "ratio"]
    table(heads, [[part, a, b, b / a if a else 0.0] for part, (a, b) in rows.items()])
    print("total in Python is with the upload to the device, symbols is without")
    return {"file": file.name, "parts": {part: {"python_ms": a, "javascript_ms": b} for part, (a, b) in rows.items()}}


def decoded_in_node(file: Path, frames: int, rounds: int) -> list[dict[str, float]]:
    """Milliseconds per frame of each part, for some rounds behind those in which the code is compiled."""
    command = ["node", str(NODE_SIDE), str(file), str(frames), str(WARM + rounds)]
    done = subprocess.run(command, capture_output=True, text=True, encoding="utf-8", check=False, timeout=3600)
    if done.returncode:
        sys.exit(done.stderr)
    found = []
    for line in done.stdout.splitlines()[WARM:]:
        rows = json.loads(line)
        found.append({part: statistics.mean(row.get(part, 0.0) for row in rows) for part in (*PARTS, "total")})
    return found


if __name__ == "__main__":
    main()
