"""Mutated files through info, verify and rendering: only documented errors, no hang, memory under the limit.

python benchmarks/fuzz.py --seconds 3600 --json fuzz.json --keep failures/

About 60 % of the mutations are of what a file means, with all checksums made right again; the others are of its bytes.
They start from the files of ``tests/data`` and from small ones made here. Each case runs in a child process that is
ended when it takes too long; what fails is kept with its number, and ``--first N --count 1`` runs it again.
"""

from __future__ import annotations

import contextlib
import io
import json
import multiprocessing
import os
import sys
import tempfile
import time
import warnings
import zlib
from collections import Counter
from fractions import Fraction
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
from measure import parser, table, write
from mutate import Mutator

DATA = Path(__file__).resolve().parent.parent / "tests" / "data"
SLOW = 10.0  # seconds of a case that are told of


def main() -> None:
    """Read the arguments, run the cases and say what was found; the exit status is 1 where anything failed."""
    options_of = parser(__doc__, capture=False)
    options_of.add_argument("files", nargs="*", type=Path, help="files to begin with; default those of tests/data")
    options_of.add_argument("--seconds", type=float, default=60.0, help="for how long")
    options_of.add_argument("--count", type=int, default=10**9, help="cases at most")
    options_of.add_argument("--first", type=int, default=0, help="number of the first case")
    options_of.add_argument("--seed", type=int, default=0)
    options_of.add_argument("--rendered", type=float, default=0.1, help="part of the cases that are drawn as well")
    options_of.add_argument("--memory-limit", type=int, default=256, help="MiB that a file may take")
    options_of.add_argument("--timeout", type=float, default=60.0, help="seconds until a case counts as hanging")
    options_of.add_argument("--keep", type=Path, help="folder for the files that fail")
    options = options_of.parse_args()
    result = run_cases(options)
    table(
        ["cases", "checksums right", "drawn", "failures", "peak MiB", "slowest s"],
        [[result[key] for key in ("cases", "resealed", "drawn", "failed", "peak_mib", "slowest_s")]],
    )
    for name, count in sorted(result["outcomes"].items()):
        print(f"{count:8}  {name}")
    for failure in result["failures"]:
        print(f"case {failure['case']}: {failure['what']}")
    write(options, [result])
    sys.exit(1 if result["failed"] else 0)


def run_cases(options: Any) -> dict[str, Any]:
    """Runs cases in child processes, one after the other, and counts what became of them."""
    files = [path.read_bytes() for path in options.files or sorted(DATA.glob("golden_v*.tvvc"))]
    if not options.files:
        # Most of the cases are of the smallest, which decodes in a tenth of the time.
        files += [small_file(seed) for seed in range(3)] + 12 * [small_file(3)]
    mutator, outcomes, failures = Mutator(files, options.seed), Counter(), []
    number, end = options.first, options.first + options.count
    until, begun = time.monotonic() + options.seconds, time.monotonic()
    done = resealed = drawn = failed = 0
    peak = slowest = 0.0
    context = multiprocessing.get_context("spawn")

    def note(case: int, what: str) -> None:
        nonlocal failed
        failed += 1
        if len(failures) < 100:
            failures.append({"case": case, "what": what})
            print(f"case {case}: {what}", file=sys.stderr, flush=True)
        if options.keep:
            options.keep.mkdir(parents=True, exist_ok=True)
            (options.keep / f"{options.seed}-{case}.tvvc").write_bytes(mutator.case(case)[0])

    while number < end and time.monotonic() < until:
        ours, theirs = context.Pipe()
        child = context.Process(target=_work, args=(theirs, files, options, number, end, until), daemon=True)
        child.start()
        theirs.close()
        at, at_since = number, time.monotonic()
        try:
            while True:
                # The first case waits for the imports, and a compilation takes its time.
                if not ours.poll(options.timeout + (60 if at == number else 0)):
                    note(at, f"hangs: nothing for {time.monotonic() - at_since:.0f} s")
                    break
                said = ours.recv()
                if said is None:
                    end = min(end, at)
                    break
                case, was_resealed, was_drawn, kinds, problems, taken, seconds = said
                done, resealed, drawn = done + 1, resealed + was_resealed, drawn + was_drawn
                peak, slowest = max(peak, taken), max(slowest, seconds)
                outcomes.update(kinds)
                if taken > options.memory_limit:
                    problems.append(f"took {taken:.0f} MiB")
                if seconds > SLOW:
                    outcomes["slower than 10 s"] += 1
                for problem in problems:
                    note(case, problem)
                at, at_since = case + 1, time.monotonic()
                if done % 1000 == 0:
                    rate = done / (time.monotonic() - begun)
                    print(f"{done} cases, {failed} failures, {rate:.0f} per second", file=sys.stderr, flush=True)
        except EOFError:
            note(at, f"the process ended with {child.exitcode}")
        if child.is_alive():
            child.terminate()
        child.join(10)
        if child.is_alive():
            child.kill()
            child.join()
        number = at + 1
    return {
        "cases": done,
        "resealed": resealed,
        "drawn": drawn,
        "failed": failed,
        "peak_mib": peak,
        "slowest_s": slowest,
        "outcomes": dict(outcomes),
        "failures": failures,
        "seed": options.seed,
        "first": options.first,
        "seconds": time.monotonic() - begun,
    }


def _work(pipe: Connection, files: list[bytes], options: Any, first: int, end: int, until: float) -> None:
    """The child: runs cases and tells of each of them; None when there is no time left."""
    from taichi_vvc.runtime import start

    start(options.backend)
    mutator = Mutator(files, options.seed)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "case.tvvc"
        for number in range(first, end):
            if time.monotonic() > until:
                break
            data, resealed = mutator.case(number)
            path.write_bytes(data)
            draw = np.random.default_rng([options.seed, number, 1]).random() < options.rendered
            before, began = _begin_peak(), time.monotonic()
            kinds, problems = try_file(path, options.memory_limit << 20, draw)
            seconds, taken = time.monotonic() - began, (_peak() - before) / 2**20
            pipe.send((number, resealed, draw, kinds, problems, taken, seconds))
    pipe.send(None)


def _status(key: str) -> int:
    text = Path("/proc/self/status").read_text() if sys.platform == "linux" else ""
    return next((int(line.split()[1]) << 10 for line in text.splitlines() if line.startswith(key)), 0)


def _begin_peak() -> int:
    """Resident bytes now, from which on the peak counts (Linux)."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")
    return _status("VmRSS")


def _peak() -> int:
    return _status("VmHWM")


def try_file(path: Path, limit: int, draw: bool) -> tuple[list[str], list[str]]:
    """Info, verify and, ``draw``, two pictures of a file: how each ended, and what is wrong with that."""
    kinds: list[str] = []
    problems: list[str] = []
    # The same way again for the same file.
    form = ["--json"] if zlib.crc32(path.read_bytes()) & 1 else []
    for name, arguments in (
        ("info", ["info", str(path), "--frames", *form]),
        ("verify", ["decode", str(path), "--verify", "--memory-limit", str(limit)]),
    ):
        kind, problem = _command(arguments)
        kinds.append(f"{name}: {kind}")
        problems += [f"{name}: {problem}"] if problem else []
    if draw:
        kind, problem = _drawn(path, limit)
        kinds.append(f"drawing: {kind}")
        problems += [f"drawing: {problem}"] if problem else []
    return kinds, problems


def _command(arguments: list[str]) -> tuple[str, str]:
    """Runs a command line in this process: how it ended, and what is wrong with what it said."""
    from taichi_vvc.cli import run

    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        status = run(arguments)
    said, lines = out.getvalue(), err.getvalue().splitlines()
    if status not in (0, 4):
        return f"status {status}", f"status {status}: {err.getvalue()[-300:]}"
    if status == 4 and sum(line.startswith("error: ") for line in lines) != 1:
        return "status 4", f"expected one line, found {lines}"
    if any(not line.startswith(("error: ", "warning: ")) for line in lines):
        return "status 4", f"a line of another kind: {lines}"
    if not all(c.isprintable() or c == "\n" for c in said + err.getvalue() if "--json" not in arguments):
        return f"status {status}", "characters that a terminal acts on"
    if status == 0 and "--json" in arguments:
        json.loads(said, parse_constant=_no_number)
    return ("refused" if status else "good"), ""


def _no_number(text: str) -> None:
    raise ValueError(f"{text} in JSON")


def _drawn(path: Path, limit: int) -> tuple[str, str]:
    """Draws the first and the last frame from one of the file's cameras."""
    import taichi_vvc as tv

    try:
        with warnings.catch_warnings(), tv.open(path, memory_limit=limit) as stream:
            warnings.simplefilter("error", RuntimeWarning)
            if not len(stream) or not stream.cameras:
                return "nothing to draw", ""
            camera = stream.cameras[len(stream) % len(stream.cameras)].resized(12, 9)
            for index in sorted({0, len(stream) - 1}):
                picture = tv.render_rgb8(stream[index], camera, stream.background)
                if picture.shape != (9, 12, 3):
                    return "another shape", f"a picture of {picture.shape}"
    except tv.errors.StreamError as error:
        return ("memory" if isinstance(error, tv.errors.MemoryLimitExceeded) else "refused"), ""
    except Exception as error:
        return type(error).__name__, f"{type(error).__name__}: {str(error)[:300]}"
    return "good", ""


def small_file(seed: int) -> bytes:
    """A file of noise with several groups, some of which share MLPs, and with motion; other sizes for each seed."""
    from taichi_vvc import bitstream
    from taichi_vvc.coding import (
        displacements,
        entropy,
        grid_encoder,
        headers,
        live_set,
        motion,
        motion_contexts,
        moved_masks,
    )
    from taichi_vvc.coding.known import known_grids

    rng = np.random.default_rng(seed)
    levels = bitstream.Level((4, 3, 4), 1 + 2 * seed % 6, 256), bitstream.Level((4, 5, 4), 2, 640)
    layout = bitstream.Layout(
        lower=(-1.0, -1.0, -1.0),
        cell=0.25,
        cells=((4, 4, 3), (5, 9, 7), (10, 8, 8), (2, 2, 1))[seed],
        coefficients=(3, 4, 5) if seed < 3 else (2, 2, 2),
        levels=levels if seed < 3 else levels[:1],
        projection_hidden=8,
        appearance=3,
        colour_hidden=8,
        view_frequencies=1,
        steps_per_side=24,
        motion_block=(0, 2, 4, 1)[seed],
    )
    header = bitstream.SequenceHeader(
        layout=layout,
        background=(255, 255, 255),
        fps=Fraction(25),
        first_frame=0,
        downscale=1,
        intrinsics=(bitstream.Intrinsics(24, 18, 20.0, 20.0, 12.0, 9.0, 0.1),),
        cameras=tuple(
            bitstream.CameraRecord(name, split, 0, turn, place)
            for name, split, turn, place in (
                ("front", "train", (1.0, 0.0, 0.0, 0.0), (0.0, 0.0, -4.0)),
                ("back", "test", (0.0, 0.0, 1.0, 0.0), (0.0, 0.0, 4.0)),
            )
        ),
        settings=bitstream.settings_text({"preset": "fast"}),
        library="fuzz",
    )
    shape = headers.layout_of_header(header)
    mlp = tuple(rng.integers(-20, 21, s).astype(np.int32) for s in shape.mlp_shapes)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "small.tvvc"
        with bitstream.StreamWriter.create(path, header) as writer:
            for number in range(4 if seed < 3 else 2):
                key = number in (0, 2)
                if key:
                    steps = (0.25,) * len(shape.grid_shapes)
                    writer.add_group(headers.pack_group(number // 2, number, steps, None if number else mlp, 0.05))
                    mask = before = moved = residuals = symbols = None
                before, mask = mask, rng.random(shape.occupancy[::-1]) < 0.3
                alive = live_set.live_nodes(shape, mask)
                payload, predicted = b"", symbols
                if symbols is not None and shape.motion_block:
                    shift = rng.integers(-3, 4, motion.lattice_shape(shape)).astype(np.int32)
                    if seed % 2:
                        known = motion.live_motion(shape, alive)
                        shift *= known[..., None]
                        payload, moved = displacements.encode_motion(shift, known, moved), shift
                    else:
                        known = moved_masks.coded_nodes(shape, before)
                        shift = moved_masks.filled(shift, known)
                        payload, moved = motion_contexts.encode_motion(shift, known, moved), shift
                    predicted = motion.moved_symbols(shape, symbols, shift, alive)
                grounds = known_grids(len(alive), residuals, predicted)
                added = [
                    np.rint(rng.laplace(0, 0.7, s)).astype(np.int32) * here[..., None]
                    for s, here in zip(shape.grid_shapes, alive, strict=True)
                ]
                coded = [
                    grid_encoder.encode_grid(grid, here, ground).payload
                    for grid, here, ground in zip(added, alive, grounds, strict=True)
                ]
                kind = "key" if key else "inter"
                coded_mask = entropy.encode_mask(mask, before)
                if before is not None and not seed % 2:
                    expected = moved_masks.moved_mask(shape, before, moved if payload else None)
                    coded_mask = entropy.encode_moved_mask(mask, before, expected)
                writer.add_frame(bitstream.FrameData(number, int(number > 1), kind, coded_mask, tuple(coded), payload))
                residuals = None if key else added
                symbols = tuple(added if predicted is None else [p + a for p, a in zip(predicted, added, strict=True)])
            writer.finish()
        return path.read_bytes()


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    main()
