"""How busy workers are kept: parts are handed out as an encode does, with fits replaced by sleeping.

python benchmarks/workers.py --workers 64 --parts 512 --seconds 8 --json workers.json

Utilisation is the time that workers slept, as a share of the time that they were there; the rest is told apart into the
beginning, the time between parts and the end, when some have no more to do. ``best`` is what it would be without time
between parts, ``with_start`` what it is with their start, ``start_s``. Durations of parts are spread evenly around
their mean.
"""

from __future__ import annotations

import heapq
import random
import tempfile
import time
from typing import Any

from measure import begin, parser, table, write

from taichi_vvc.parts.cluster import Cluster, Workers, _Display

KILOBYTES = 100  # of a part's file


def sleep(seconds: float) -> tuple[int, float, float, bytes]:
    """What a worker does in place of a fit: its process, when it began and ended, and a file."""
    import os
    import time

    began = time.time()
    time.sleep(seconds)
    return os.getpid(), began, time.time(), os.urandom(1000 * KILOBYTES)


def met(folder: str, count: int) -> None:
    """Waits until ``count`` workers are there, so that each takes one of these."""
    import os
    import time
    from pathlib import Path

    (Path(folder) / str(os.getpid())).touch()
    while len(os.listdir(folder)) < count:
        time.sleep(1.0)


def started(team: Cluster) -> None:
    """Starts all workers."""

    def submit(_: int) -> Any:
        return team._remote(met).remote(folder, team.count)

    with tempfile.TemporaryDirectory() as folder:
        for _ in team._run(list(range(team.count)), submit, lambda n: f"worker {n}", _Display(None, [], None)):
            pass


def busy(team: Cluster, durations: list[float]) -> dict[str, float]:
    """Seconds from the first part to the last one, and what workers did in them, as shares of their time.

    ``utilisation``: slept; ``begin``: waited for their first part; ``between``: for another one; ``end``: for the
    others' last ones. They add up to one.
    """

    def submit(number: int) -> Any:
        return team._remote(sleep).remote(durations[number])

    began, spans = time.time(), dict[int, list[tuple[float, float]]]()
    for _, result in team._run(list(range(len(durations))), submit, lambda n: f"part {n}", _Display(None, [], None)):
        process, start, stop, data = result
        assert len(data) == 1000 * KILOBYTES
        spans.setdefault(process, []).append((start, stop))
    seconds = time.time() - began
    # A worker that had none was there as well.
    of = [sorted(own) for own in spans.values()] + [[(began + seconds, began + seconds)]] * (team.count - len(spans))
    whole = seconds * len(of)
    slept = sum(stop - start for own in of for start, stop in own)
    first, last = sum(own[0][0] - began for own in of), sum(began + seconds - own[-1][1] for own in of)
    return {
        "processes": len(spans),
        "seconds": seconds,
        "utilisation": slept / whole,
        "begin": first / whole,
        "between": (whole - slept - first - last) / whole,
        "end": last / whole,
    }


def best(durations: list[float], workers: int) -> float:
    """The utilisation where each worker gets its next part at once, in the order of the parts."""
    free = [0.0] * workers
    for seconds in durations:
        heapq.heapreplace(free, free[0] + seconds)
    return sum(durations) / (workers * max(free))


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
        started(team)
        start = time.monotonic() - began
        found = busy(team, durations)
    result = {
        "workers": options.workers,
        "parts": options.parts,
        "mean_s": sum(durations) / len(durations),
        "start_s": start,
        **found,
        "best": best(durations, options.workers),
        "with_start": sum(durations) / (options.workers * (start + found["seconds"])),
    }
    table(list(result), [list(result.values())])
    write(options, [result])


if __name__ == "__main__":
    main()
