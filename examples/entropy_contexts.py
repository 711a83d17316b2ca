"""What contexts are worth: the symbols of a file under three coders.

    python examples/entropy_contexts.py [FILE.tvvc] [--steps N]

Without a file it encodes one frame of the packaged capture. ``context`` is what files hold; ``laplace`` is one Laplace
distribution per channel; LZMA is a general-purpose coder that sees the same symbols as bytes.
"""

import argparse
import dataclasses
import lzma
import tempfile
from pathlib import Path

import numpy as np

import taichi_vvc as tv
from taichi_vvc.decode import previous_residuals
from taichi_vvc.demo import capture_path
from taichi_vvc.entropy import encode_grid
from taichi_vvc.live import live_nodes


def main(file: Path, most: int = 10) -> None:
    """Prints the bytes of each grid, summed over the first frames of ``file``."""
    with tv.open(file) as stream:
        layout = stream.header.layout
        rows = np.zeros((len(layout.grid_shapes), 4), np.int64)
        reference = None
        for number in range(min(most, len(stream))):
            frame = stream.symbols(number)
            live = live_nodes(layout, frame.occupancy)
            before = None if frame.key else previous_residuals(reference)
            for grid, (residual, nodes) in enumerate(zip(frame.residuals, live, strict=True)):
                previous = None if before is None else before[grid]
                sizes = [len(encode_grid(residual, nodes, previous, model).payload) for model in ("context", "laplace")]
                # A byte per symbol, channel after channel.
                plain = np.clip(residual[nodes], -127, 127).astype(np.int8).T.tobytes()
                packed = len(lzma.compress(plain, lzma.FORMAT_ALONE, preset=9 | lzma.PRESET_EXTREME))
                rows[grid] += [residual[nodes].size, *sizes, packed]
            reference = frame
    print("grid            symbols   context   laplace      LZMA")
    names = ["coefficients", *(f"level {k}" for k in range(1, len(rows)))]
    for name, row in zip([*names, "together"], [*rows, rows.sum(axis=0)], strict=True):
        print(f"{name:12s} " + "".join(f"{n:10d}" for n in row))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path, nargs="?")
    parser.add_argument("--steps", type=int, default=300, help="optimisation steps where there is no file")
    arguments = parser.parse_args()
    if arguments.file:
        main(arguments.file)
    else:
        with tempfile.TemporaryDirectory() as folder:
            settings = dataclasses.replace(tv.PRESETS["ultrafast"], key_iterations=arguments.steps)
            list(tv.encode(tv.open_capture(capture_path(), frames=slice(0, 1)), settings, Path(folder) / "a.tvvc"))
            main(Path(folder) / "a.tvvc")
