"""How long the player waits for a frame: cold, when it has just been opened, and from memory.

python benchmarks/seek.py out.tvvc --json seek.json

Cold is the worst case: the last frame of the first group, which needs all of the group before it. Processor time says
what it takes on a machine where nothing else runs.
"""

from __future__ import annotations

import random
import time
from pathlib import Path

from measure import begin, parser, peak_memory, table, threads_of, write

import taichi_vvc as tv
from taichi_vvc.play.playback import DEFAULT_MEMORY, Playback


def main() -> None:
    """Read the arguments and measure."""
    options_of = parser(__doc__, capture=False)
    options_of.add_argument("file", type=Path, help="a .tvvc file")
    options_of.add_argument("--memory", type=int, default=DEFAULT_MEMORY, help="bytes for decoded frames")
    options_of.add_argument("--repeats", type=int, default=50, help="frames asked for, at random")
    options = options_of.parse_args()
    with tv.open(options.file) as stream:
        kinds = [stream.info(i).type for i in range(len(stream))]
    last = next((i for i in range(1, len(kinds)) if kinds[i] == "key"), len(kinds)) - 1
    with begin(options.backend, threads_of(options)[0]).single_threaded_blas():
        with Playback(options.file, options.memory) as playback:
            wall, processor = time.perf_counter(), time.process_time()
            playback.get(last)
            cold, cold_cpu = time.perf_counter() - wall, time.process_time() - processor
        with Playback(options.file, options.memory) as playback:
            order = random.Random(0).choices(range(len(kinds)), k=options.repeats)
            for index in range(len(kinds)):
                playback.get(index)
            waits = []
            for index in order:
                wall = time.perf_counter()
                playback.get(index)
                waits.append(time.perf_counter() - wall)
            used = playback.used
    result = {
        "frames": len(kinds),
        "group": last + 1,
        "cold_s": cold,
        "cold_cpu_s": cold_cpu,
        "mean_ms": 1000 * sum(waits) / len(waits),
        "longest_ms": 1000 * max(waits),
        "kept_kb": used / 1000,
        "peak_mib": peak_memory(),
    }
    table(list(result), [list(result.values())])
    write(options, [result])


if __name__ == "__main__":
    main()
