"""How busy workers are kept: parts are handed out as an encode does, with fits replaced by sleeping.

python benchmarks/workers.py --workers 64 --parts 512 --seconds 8 --json workers.json

Utilisation is the time that workers slept, as a share of the time that they were there. Durations of parts are spread
evenly around their mean. Workers are started before the clock is.
"""

from __future__ import annotations

import random
import time
from typing import Any

from measure import begin, parser, table, write

from taichi_vvc.parts.cluster import Cluster, Workers, _Display

KILOBYTES = 100  # of a part's file


def sleep(seconds: float) -> bytes:
    """What a worker does in place of a fit."""
    import os
    import time

    time.sleep(seconds)
    return os.urandom(1000 * KILOBYTES)


def busy(team: Cluster, durations: list[float]) -> float:
    """Seconds from the first part to the last one."""

    def submit(number: int) -> Any:
        return team._remote(sleep).remote(durations[number])

    began, seen = time.monotonic(), 0
    for _, data in team._run(list(range(len(durations))), submit, lambda n: f"part {n}", _Display(None, [], None)):
        seen += len(data)
    assert seen == 1000 * KILOBYTES * len(durations)
    return time.monotonic() - began


def main() -> None:
    """Read the arguments and measure."""
    options_of = parser(__doc__, capture=False)
    options_of.add_argument("--workers", type=int, default=64, help="how many there are")
    options_of.add_argument("--parts", type=int, default=512, help="how many are coded")
    options_of.add_argument("--seconds", type=float, default=8.0, help="that a part takes, in the mean")
    options_of.add_argument("--spread", type=float, default=0.3, help="of that, up and down, as a share")
    options = options_of.parse_args()
    begin(options.backend, 1)
    drawn = random.Random(0)
    durations = [options.seconds * drawn.uniform(1 - options.spread, 1 + options.spread) for _ in range(options.parts)]
    began = time.monotonic()
    with Cluster(Workers(options.workers, cpus=1)) as team:
        # Long enough that no worker can take two of these.
        busy(team, [max(1.0, options.seconds)] * options.workers)
        start = time.monotonic() - began
        seconds = busy(team, durations)
    result = {
        "workers": options.workers,
        "parts": options.parts,
        "mean_s": sum(durations) / len(durations),
        "start_s": start,
        "seconds": seconds,
        "utilisation": sum(durations) / (options.workers * seconds),
    }
    table(list(result), [list(result.values())])
    write(options, [result])


if __name__ == "__main__":
    main()
