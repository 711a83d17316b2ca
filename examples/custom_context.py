"""A context of your own: the symbols of a file, coded with it and decoded again, against what the file holds.

    python examples/custom_context.py [FILE.tvvc] [--steps N]

Without a file it encodes one frame of the packaged capture. ``file`` is what files hold; ``own`` is coded with the
function ``context`` below, to be replaced by an idea of yours; both include their tables. ``LZMA`` is a general-purpose
coder that sees the same symbols as bytes.
"""

import argparse
import dataclasses
import lzma
import tempfile
from pathlib import Path

import numpy as np

import taichi_vvc as tv
from taichi_vvc.capture.packaged import capture_path
from taichi_vvc.coding.custom import decode_with_contexts, encode_with_contexts
from taichi_vvc.coding.entropy import encode_grid
from taichi_vvc.coding.live_set import live_nodes

CONTEXTS = 16
BINS = np.array([1, 2, 4, 6, 9, 13, 18, 25, 34, 46, 62, 84, 113, 152, 205])


def own_coder(live, channels):
    """Passes over a grid (nz, ny, nx, C) and the context of each symbol; integers only, so that it decodes anywhere."""
    parity = np.indices(live.shape).sum(axis=0) % 2
    nodes = [np.flatnonzero(live & (parity == half)) for half in (0, 1)]
    # First every other node like on a chess board, then the nodes between, whose neighbours are then known.
    passes = [node * channels + channel for node in nodes for channel in range(channels)]

    def context(known, number):
        half, channel = divmod(number, channels)
        magnitudes = np.minimum(np.abs(known), 15)
        padded = np.pad(magnitudes[..., channel], 1)
        faces = sum(np.roll(padded, step, axis) for axis in range(3) for step in (-1, 1))[1:-1, 1:-1, 1:-1]
        same_node = magnitudes[..., :channel].sum(axis=3) * 4 // max(channel, 1)
        activity = 2 * faces + 3 * same_node
        return np.searchsorted(BINS, activity.reshape(-1)[nodes[half]], side="right")

    return passes, context


def main(file: Path) -> None:
    """Prints the bytes of each grid of the first frame of ``file``."""
    with tv.open(file) as stream:
        frame = stream.symbols(0)
        live = live_nodes(stream.header.layout, frame.occupancy)
    rows = []
    print("grid            symbols      file       own      LZMA")
    for number, (symbols, nodes) in enumerate(zip(frame.residuals, live, strict=True)):
        passes, context = own_coder(nodes, symbols.shape[3])
        coded = encode_with_contexts(symbols, passes, context, CONTEXTS)
        decoded = decode_with_contexts(coded, symbols.shape, passes, context, CONTEXTS)
        assert np.array_equal(decoded, symbols)
        packed = lzma.compress(np.clip(symbols[nodes], -127, 127).astype(np.int8).T.tobytes(), lzma.FORMAT_ALONE)
        name = f"level{number}" if number else "coefficients"
        rows.append([symbols[nodes].size, len(encode_grid(symbols, nodes).payload), len(coded), len(packed)])
        print(f"{name:12s} " + "".join(f"{n:10d}" for n in rows[-1]))
    print("together     " + "".join(f"{n:10d}" for n in np.sum(rows, axis=0)))


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
