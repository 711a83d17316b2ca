"""Decoding a file: milliseconds per frame by part, and general-purpose compressors on the same symbols.

python benchmarks/decode.py FILE --json decode.json      (without FILE: the packaged capture is encoded first)
python benchmarks/decode.py --paper --json paper.json    (entropy coding alone, at the paper's grid sizes)
"""

from __future__ import annotations

import argparse
import importlib.machinery
import importlib.util
import lzma
import tempfile
import time
import zlib
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from fitting import paper_config
from measure import begin, best, capture_of, parser, per_threads, table, threads_of, write

from taichi_vvc import PRESETS, encode
from taichi_vvc.coding.entropy import decode_mask, decode_moved_mask, is_moved
from taichi_vvc.coding.grid_decoder import decode_grid
from taichi_vvc.coding.grid_encoder import encode_grid
from taichi_vvc.coding.known import known_grids
from taichi_vvc.coding.live_set import live_nodes
from taichi_vvc.coding.moved_masks import moved_mask
from taichi_vvc.coding.prediction import decode_moved, decode_prediction
from taichi_vvc.decode import open as open_stream
from taichi_vvc.decode import previous_residuals
from taichi_vvc.field.grids import field_of_symbols
from taichi_vvc.fit.parameters import gather_live
from taichi_vvc.runtime import Runtime
from taichi_vvc.types import SymbolFrame

PARTS = ("read, CRC", "occupancy", "live set", "motion", "entropy", "add reference", "dequantise, upload")


@dataclass(frozen=True)
class Decoded:
    """A frame's symbols, its live nodes, and the bytes of its coded grids."""

    frame: SymbolFrame
    live: tuple[np.ndarray, ...]
    size: int


def decode_once(runtime: Runtime, file: Path, frames: int) -> tuple[dict[str, float], list[Decoded]]:
    """Milliseconds per frame of each part in one pass over a file, and what came out."""
    seconds: dict[str, float] = defaultdict(float)
    decoded: list[Decoded] = []

    @contextmanager
    def clock(part: str) -> Iterator[None]:
        start = time.perf_counter()
        yield
        seconds[part] += time.perf_counter() - start

    with open_stream(file) as stream:
        layout, frame = stream.header.layout, None
        nx, ny, nz = layout.occupancy
        count = min(len(stream), frames)
        for number in range(count):
            with clock("read, CRC"):
                data = stream._reader.read_frame(number)
            before = None if data.type == "key" else frame
            with clock("motion"):
                motion = decode_moved(layout, data, before)
            with clock("occupancy"):
                then = None if before is None else before.occupancy
                if then is not None and is_moved(data.occupancy):
                    mask = decode_moved_mask(data.occupancy, moved_mask(layout, then, motion))
                else:
                    mask = decode_mask(data.occupancy, (nz, ny, nx), then)
            with clock("live set"):
                live = live_nodes(layout, mask)
            with clock("motion"):
                motion, predicted = decode_prediction(layout, data, before, live, motion)
            with clock("entropy"):
                known = known_grids(len(live), previous_residuals(before), predicted)
                parts = zip(data.grids, layout.grid_shapes, live, known, strict=True)
                residuals = tuple(decode_grid(*part) for part in parts)
            symbols = residuals
            with clock("add reference"):
                if predicted is not None:
                    symbols = tuple(r + b for r, b in zip(residuals, predicted, strict=True))
            frame = SymbolFrame(symbols, residuals, mask, data.type == "key", motion)
            parameters = stream.parameters(number)
            with clock("dequantise, upload"):
                field_of_symbols(runtime, layout, parameters, frame)
                runtime.sync()
            decoded.append(Decoded(frame, live, sum(len(grid) for grid in data.grids)))
    return {part: 1000 * seconds[part] / count for part in PARTS}, decoded


@dataclass(frozen=True)
class Compressor:
    """What a frame's symbols are handed over as, and the two directions."""

    prepare: Callable[[Decoded], Any]
    compress: Callable[[Any], bytes]
    decompress: Callable[[bytes], Any]


def others() -> dict[str, Compressor]:
    """Compressors that are installed."""
    found = {
        "zlib -9": Compressor(packed, lambda data: zlib.compress(data, 9), zlib.decompress),
        "LZMA -9": Compressor(packed, lambda data: lzma.compress(data, preset=9), lzma.decompress),
    }
    try:
        zstd = importlib.import_module("zstandard")
        zstd_pair = zstd.ZstdCompressor(level=19).compress, zstd.ZstdDecompressor().decompress
        found["zstd -19"] = Compressor(packed, *zstd_pair)
    except ImportError:
        print("zstd: skipped, pip install zstandard")
    cabac = deep_cabac()
    if cabac is None:
        print("DeepCABAC: skipped, pip install nncodec (needs a C++ compiler)")
    else:
        found["DeepCABAC"] = cabac
    return found


def deep_cabac() -> Compressor | None:
    """The coder of neural network weights of ISO/IEC 15938-17, from the package nncodec, without its other parts.

    One tensor per grid, (live nodes, channels), every parameter of the coder as that package sets it.
    """
    place = importlib.util.find_spec("nncodec")
    if place is None or not place.submodule_search_locations:
        return None
    files = list(Path(place.submodule_search_locations[0]).glob("extensions/deepCABAC.*"))
    if not files:
        return None
    name = "nncodec.extensions.deepCABAC"
    loader = importlib.machinery.ExtensionFileLoader(name, str(files[0]))
    coder: Any = importlib.util.module_from_spec(importlib.util.spec_from_loader(name, loader))  # type: ignore[arg-type]
    loader.exec_module(coder)
    off = coder.HdspMode.AlwaysOff, np.zeros(0, np.int8)
    # A receiver knows them from the mask.
    shapes: dict[bytes, list[tuple[int, ...]]] = {}

    def compress(grids: list[np.ndarray]) -> bytes:
        encoder = coder.Encoder()
        for grid in grids:
            encoder.initCtxModels(11, 0)
            encoder.encodeLayer(grid, 0, 0, 0, 0, 0, np.zeros(len(grid), np.int32), *off, 0, 0)
        payload = bytes(encoder.finish())
        shapes[payload] = [grid.shape for grid in grids]
        return payload

    def decompress(data: bytes) -> list[np.ndarray]:
        decoder = coder.Decoder()
        stream = np.frombuffer(data, np.uint8)
        decoder.setStream(stream)
        grids = [np.zeros(shape, np.int32) for shape in shapes[data]]
        for grid in grids:
            decoder.initCtxModels(11)
            decoder.decodeLayer(grid, 0, 0, 0, 0, *off, 0, 0)
        decoder.finish()
        return grids

    return Compressor(live_grids, compress, decompress)


def live_grids(part: Decoded) -> list[np.ndarray]:
    """(live nodes, channels) int32 of each grid that has any."""
    grids = (r[m] for r, m in zip(part.frame.residuals, part.live, strict=True))
    return [np.ascontiguousarray(grid) for grid in grids if grid.size]


def packed(part: Decoded) -> bytes:
    """A frame's live residuals as one byte each where they fit, else two."""
    values = gather_live(part.frame.residuals, part.live)
    return values.astype(np.int8 if np.abs(values).max(initial=0) < 128 else np.int16).tobytes()


def synthetic(shape: tuple[int, ...], live: np.ndarray, share: float, seed: int) -> np.ndarray:
    """Symbols of which ``share`` of the live ones is not 0, in clusters as residuals have them, mostly +-1."""
    rng = np.random.default_rng(seed)
    coarse = rng.standard_normal([-(-n // 4) for n in shape[:3]])
    for axis in range(3):
        coarse = np.repeat(coarse, 4, axis)
    where = coarse[: shape[0], : shape[1], : shape[2], None] + 0.5 * rng.standard_normal(shape)
    nonzero = where > np.quantile(where[live], 1 - share)
    values = rng.geometric(0.6, shape) * rng.choice((-1, 1), shape)
    return np.where(nonzero & live[..., None], values, 0).astype(np.int32)


def paper(options: argparse.Namespace) -> dict[str, Any]:
    """Entropy coding of one frame at the paper's grid sizes: all nodes live, or those within a sphere."""
    begin(options.backend, threads_of(options)[0])
    config = paper_config()
    grids = [(config.coefficients, sum(config.level_channels))]
    grids += list(zip(config.level_nodes, config.level_channels, strict=True))
    rows = []
    for name in ("all", "sphere"):
        for percent in map(float, options.shares.split(",")):
            parts = []
            for n, (nodes, channels) in enumerate(grids):
                at = (np.arange(nodes) + 0.5) / nodes * 2 - 1
                inside = at[:, None, None] ** 2 + at[:, None] ** 2 + at**2 < 0.75**2
                live = inside if name == "sphere" else np.ones_like(inside)
                parts.append((synthetic((nodes,) * 3 + (channels,), live, percent / 100, n), live))
            coded: list[Any] = []

            def shrink(parts: Any = parts, coded: list[Any] = coded) -> None:
                coded[:] = [encode_grid(values, live).payload for values, live in parts]

            def grow(parts: Any = parts, coded: list[Any] = coded) -> None:
                for payload, (values, live) in zip(coded, parts, strict=True):
                    assert np.array_equal(decode_grid(payload, values.shape, live), values)

            encoding, decoding = best(shrink, options.repeats), best(grow, options.repeats)
            symbols = sum(int(live.sum()) * values.shape[3] for values, live in parts)
            found = sum(np.count_nonzero(values) for values, _ in parts)
            rows.append(
                {
                    "live": name,
                    "symbols": symbols,
                    "nonzero_percent": 100 * found / symbols,
                    "bytes": sum(map(len, coded)),
                    "encode_s": encoding,
                    "decode_s": decoding,
                    "msymbols_per_s": symbols / decoding / 1e6,
                }
            )
    table(list(rows[0]), [list(row.values()) for row in rows])
    return {"threads": threads_of(options)[0], "rows": rows}


def run(options: argparse.Namespace) -> dict[str, Any]:
    """Measure and print."""
    if options.paper:
        return paper(options)
    runtime = begin(options.backend, threads_of(options)[0])
    with tempfile.TemporaryDirectory() as folder:
        file = options.file or Path(folder) / "benchmark.tvvc"
        if options.file is None:
            config = PRESETS[options.preset]
            for _ in encode(capture_of(options, slice(0, options.frames)), config, file):
                pass
        passes = [decode_once(runtime, file, options.frames) for _ in range(options.repeats)]
    parts, decoded = min(passes, key=lambda one: sum(one[0].values()))
    count = len(decoded)
    channels = [shape.shape[3] for shape in decoded[0].frame.symbols]
    symbols = sum(int(m.sum()) * c for part in decoded for m, c in zip(part.live, channels, strict=True))
    total = sum(parts.values())
    result: dict[str, Any] = {
        "frames": count,
        "symbols_per_frame": symbols / count,
        "parts_ms": parts,
        "total_ms": total,
        "msymbols_per_s": symbols / count / (parts["entropy"] / 1000) / 1e6,
        "bytes_per_frame": sum(part.size for part in decoded) / count,
    }
    print(f"{count} frames, {symbols / count:.0f} live symbols each")
    table(["part", "ms per frame"], [*parts.items(), ("total", total)])
    rows = [["this codec", result["bytes_per_frame"], None, parts["entropy"]]]
    for name, other in others().items():
        data = [other.prepare(part) for part in decoded]
        payloads: list[bytes] = []

        def shrink(other: Compressor = other, data: list[Any] = data, payloads: list[bytes] = payloads) -> None:
            payloads[:] = [other.compress(part) for part in data]

        encode_ms = 1000 * best(shrink, 1) / count
        decode_ms = 1000 * best(lambda o=other, p=payloads: [o.decompress(part) for part in p], options.repeats) / count
        rows.append([name, sum(map(len, payloads)) / count, encode_ms, decode_ms])
    result["others"] = {
        name: {"bytes_per_frame": size, "encode_ms": encode_ms, "decode_ms": decode_ms, "times_ours": size / rows[0][1]}
        for name, size, encode_ms, decode_ms in rows[1:]
    }
    print(f"entropy decoding: {result['msymbols_per_s']:.1f} Msymbol/s")
    heads = ["grid symbols", "bytes per frame", "encode ms", "decode ms"]
    table(heads, [[name, float(size), "-" if e is None else e, d] for name, size, e, d in rows])
    return result


def main() -> None:
    """Read the arguments and measure."""
    options_of = parser(__doc__)
    options_of.add_argument("file", type=Path, nargs="?", help="a .tvvc file; default: encode the capture first")
    options_of.add_argument("--preset", default="fast", choices=PRESETS, help="of that encode")
    options_of.add_argument("--frames", type=int, default=4)
    options_of.add_argument("--paper", action="store_true", help="synthetic symbols, 5.3 million per frame")
    options_of.add_argument("--shares", default="1,3,7", help="percent of these symbols that are not 0")
    options_of.add_argument("--repeats", type=int, default=5)
    options = options_of.parse_args()
    write(options, per_threads(options, run))


if __name__ == "__main__":
    main()
