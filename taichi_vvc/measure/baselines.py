"""Baselines for the codec: other ways to code the same kind of field, and plain video of the cameras.

Nothing here is part of the format. Figures are fair to the codec and the baselines: pictures are made from decoded
values, and every byte that a decoder needs is counted.
"""

from __future__ import annotations

import lzma
from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from taichi_vvc.bitstream import StreamReader
from taichi_vvc.coding.entropy import decode_integers, encode_integers
from taichi_vvc.coding.grid_encoder import encode_grid
from taichi_vvc.coding.live_set import live_nodes
from taichi_vvc.config import EncoderConfig
from taichi_vvc.decode import Stream
from taichi_vvc.errors import ConfigError
from taichi_vvc.types import SymbolFrame

BLOCK = 8
FINE_STEP = 1.0 / 1024
"""Grid values of the baselines that have no quantiser of their own are kept in multiples of this while fitting."""

RESIDUAL_WEIGHT = 1e-3
"""Of the paper's L1 term, whose weight it does not state: this empties nine tenths of an inter frame's residual."""


def pack_lzma(data: bytes) -> bytes:
    """LZMA at the effort of 7-Zip's highest level, in the container with the smallest header (13 bytes)."""
    return lzma.compress(data, format=lzma.FORMAT_ALONE, preset=9 | lzma.PRESET_EXTREME)


def lzma_symbols(grids: Sequence[np.ndarray]) -> bytes:
    """Integer grids packed by LZMA, each with 1, 2 or 4 bytes per symbol as needed; one byte states which.

    Args:
        grids: int arrays of the symbols to send, e.g. (live nodes, channels). The decoder knows their shapes.
    """
    parts = []
    for grid in grids:
        largest = int(np.abs(grid).max(initial=0))
        kind = "i1" if largest < 2**7 else "<i2" if largest < 2**15 else "<i4"
        parts.append(bytes([np.dtype(kind).itemsize]) + np.ascontiguousarray(grid, kind).tobytes())
    return pack_lzma(b"".join(parts))


def unpack_lzma_symbols(payload: bytes, shapes: Sequence[tuple[int, ...]]) -> list[np.ndarray]:
    """The inverse of :func:`lzma_symbols`: int32 arrays of these shapes."""
    data, at, grids = lzma.decompress(payload), 0, []
    for shape in shapes:
        width, count = data[at], int(np.prod(shape))
        grid = np.frombuffer(data, f"<i{width}", count, at + 1)
        grids.append(grid.astype(np.int32).reshape(shape))
        at += 1 + width * count
    return grids


def live_symbols(stream: Stream, frame: SymbolFrame) -> list[np.ndarray]:
    """The residuals that a frame sends, one (live nodes, channels) array per grid."""
    live = live_nodes(stream.header.layout, frame.occupancy)
    return [r[m] for r, m in zip(frame.residuals, live, strict=True)]


def bytes_with_lzma(file: Path) -> int:
    """The size of a .tvvc file if its symbols were packed by LZMA, frame by frame, in place of the entropy coder."""
    size = file.stat().st_size
    with Stream(file) as stream, StreamReader(file) as reader:
        for number in range(len(stream)):
            size -= sum(len(payload) for payload in reader.read_frame(number).grids)
            size += len(lzma_symbols(live_symbols(stream, stream.symbols(number))))
    return size


def bytes_with_whole_coefficients(file: Path) -> int:
    """The size of a .tvvc file if inter frames sent their coefficient grid whole, coded by one Laplace per channel.

    For files that were fitted with ``EncoderConfig.whole_coefficients``.
    """
    size = file.stat().st_size
    with Stream(file) as stream, StreamReader(file) as reader:
        for number in range(len(stream)):
            frame = stream.symbols(number)
            if frame.key:
                continue
            live = live_nodes(stream.header.layout, frame.occupancy)[0]
            whole = np.where(live[..., None], frame.symbols[0], 0).astype(np.int32)
            size -= len(reader.read_frame(number).grids[0])
            size += len(encode_grid(whole, live, model="laplace").payload)
    return size


@dataclass(frozen=True)
class CodedBlocks:
    """The result of :func:`code_blocks`: the bytes, and the grids as a decoder reconstructs them."""

    payload: bytes
    decoded: tuple[np.ndarray, ...]


@cache
def _dct() -> np.ndarray:
    """(8, 8) matrix of the orthonormal DCT-II; rows are frequencies."""
    k, n = np.mgrid[:BLOCK, :BLOCK]
    basis = np.sqrt(2 / BLOCK) * np.cos(np.pi * (n + 0.5) * k / BLOCK)
    basis[0] /= np.sqrt(2)
    return basis


@cache
def _zigzag() -> tuple[np.ndarray, np.ndarray]:
    """The order of the 512 coefficients by the sum of their frequencies, and these sums in the same order."""
    total = np.indices((BLOCK,) * 3).sum(0).reshape(-1)
    order = np.argsort(total, kind="stable")
    return order, total[order]


def quantisation_table(quality: float) -> np.ndarray:
    """(8, 8, 8) steps: 16 at frequency 0, rising evenly with the frequency to 120, scaled by quality as in JPEG.

    Raises:
        ConfigError: quality is not in [1, 100).
    """
    if not 1 <= quality < 100:
        raise ConfigError(f"expected a quality from 1 to below 100, found {quality}")
    scale = (5000 / quality if quality < 50 else 200 - 2 * quality) / 100
    return scale * (16 + (120 - 16) * np.indices((BLOCK,) * 3).sum(0) / (3 * (BLOCK - 1)))


def _blocks(grid: np.ndarray) -> np.ndarray:
    """(nz, ny, nx, C) to (blocks, C, 8, 8, 8), padded with zeros."""
    grid = np.pad(grid, [*((0, -n % BLOCK) for n in grid.shape[:3]), (0, 0)])
    nz, ny, nx = (n // BLOCK for n in grid.shape[:3])
    parts = grid.reshape(nz, BLOCK, ny, BLOCK, nx, BLOCK, -1).transpose(0, 2, 4, 6, 1, 3, 5)
    return parts.reshape(nz * ny * nx, -1, BLOCK, BLOCK, BLOCK)


def _used(mask: np.ndarray) -> np.ndarray:
    """(blocks,) bool: the blocks in which a (nz, ny, nx) mask has any True."""
    return np.asarray(_blocks(mask[..., None]).any(axis=(1, 2, 3, 4)))


def _merged(blocks: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """The inverse of :func:`_blocks`."""
    nz, ny, nx = (-(-n // BLOCK) for n in shape[:3])
    parts = blocks.reshape(nz, ny, nx, shape[3], BLOCK, BLOCK, BLOCK).transpose(0, 4, 1, 5, 2, 6, 3)
    return parts.reshape(nz * BLOCK, ny * BLOCK, nx * BLOCK, shape[3])[: shape[0], : shape[1], : shape[2]]


def code_blocks(grids: Sequence[np.ndarray], live: Sequence[np.ndarray], quality: float) -> CodedBlocks:
    """Codes float grids as ReRF codes its residuals.

    Blocks of 8^3 nodes are transformed by an orthonormal 3-D DCT per channel, quantised with a table scaled by quality,
    and read in zigzag order. Blocks without live nodes are not sent. In place of JPEG's Huffman code the range coder is
    used, with one table per grid and sum of frequencies, or LZMA for a frame where that is smaller (one byte tells).

    Args:
        grids: (nz, ny, nx, C) float.
        live: (nz, ny, nx) bool of each grid, known to the decoder; decoded values elsewhere are zero.
        quality: 1 to below 100, see :func:`quantisation_table`.
    """
    order, sums = _zigzag()
    table = quantisation_table(quality).reshape(-1)[order]
    arrays = []
    for grid, mask in zip(grids, live, strict=True):
        used = _used(mask)
        parts = np.einsum("ux,vy,wz,bcxyz->bcuvw", *(_dct(),) * 3, _blocks(grid)[used], optimize=True)
        symbols = np.rint(parts.reshape(*parts.shape[:2], -1)[..., order] / table).astype(np.int32)
        arrays += [np.ascontiguousarray(symbols[..., sums == s]) for s in range(sums.max() + 1)]
    payload = min((bytes([n]) + f(arrays) for n, f in enumerate((encode_integers, lzma_symbols))), key=len)
    return CodedBlocks(payload, decode_blocks(payload, [g.shape for g in grids], live, quality))


def decode_blocks(
    payload: bytes, shapes: Sequence[tuple[int, ...]], live: Sequence[np.ndarray], quality: float
) -> tuple[np.ndarray, ...]:
    """The inverse of :func:`code_blocks` up to rounding: float32 grids of these shapes, zero where not live."""
    order, sums = _zigzag()
    table = quantisation_table(quality).reshape(-1)[order]
    widths = np.bincount(sums)
    used = [_used(mask) for mask in live]
    sizes = [(int(u.sum()), s[3], int(w)) for u, s in zip(used, shapes, strict=True) for w in widths]
    unpack: Any = (decode_integers, unpack_lzma_symbols)[payload[0]]
    arrays = unpack(payload[1:], sizes)
    grids = []
    for number, (shape, mask) in enumerate(zip(shapes, live, strict=True)):
        symbols = np.concatenate(arrays[number * len(widths) : (number + 1) * len(widths)], axis=2)
        flat = np.zeros_like(symbols, np.float64)
        flat[..., order] = symbols * table
        parts = flat.reshape(*flat.shape[:2], BLOCK, BLOCK, BLOCK)
        blocks = np.zeros((len(used[number]), *parts.shape[1:]))
        blocks[used[number]] = np.einsum("ux,vy,wz,bcuvw->bcxyz", *(_dct(),) * 3, parts, optimize=True)
        grids.append(np.where(mask[..., None], _merged(blocks, shape), 0).astype(np.float32))
    return tuple(grids)


def pack_floats(values: Sequence[np.ndarray], mask: np.ndarray) -> bytes:
    """An independent frame: float32 values one after the other and one bit per cell of its mask, packed by LZMA."""
    floats = b"".join(np.ascontiguousarray(v, "<f4").tobytes() for v in values)
    return pack_lzma(np.packbits(mask).tobytes() + floats)


def hevc(pictures: Sequence[np.ndarray], fps: Fraction, crf: int) -> tuple[int, list[np.ndarray]]:
    """Codes one camera's pictures, (H, W, 3) uint8, as HEVC by libx265.

    Returns the bytes of the raw stream and the decoded pictures.

    4:2:0, BT.709, preset medium.

    Raises:
        ConfigError: this installation's FFmpeg has no libx265.
    """
    import av

    try:
        encoder: Any = av.CodecContext.create("libx265", "w")
    except (ValueError, LookupError):
        raise ConfigError(
            "no libx265 in this FFmpeg; install PyAV from its wheels (pip install av), or leave simulcast out"
        ) from None
    height, width = pictures[0].shape[:2]
    encoder.width, encoder.height, encoder.pix_fmt = width + width % 2, height + height % 2, "yuv420p"
    encoder.framerate, encoder.time_base = fps, 1 / fps
    encoder.options = {
        "crf": str(crf),
        "preset": "medium",
        "x265-params": "log-level=none:info=0:pools=1:frame-threads=1",
    }
    packets = []
    for number, picture in enumerate(pictures):
        padded = np.pad(picture, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
        frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(padded), format="rgb24")
        frame = frame.reformat(format="yuv420p", dst_colorspace="ITU709", dst_color_range="MPEG")
        frame.pts = number
        packets += encoder.encode(frame)
    packets += encoder.encode(None)
    data = b"".join(bytes(packet) for packet in packets)
    decoder: Any = av.CodecContext.create("hevc", "r")
    frames = [f for packet in decoder.parse(data) for f in decoder.decode(packet)]
    frames += [f for packet in decoder.parse(None) for f in decoder.decode(packet)]
    frames += decoder.decode(None)
    rgb = [
        f.reformat(format="rgb24", src_colorspace="ITU709", src_color_range="MPEG").to_ndarray()[:height, :width]
        for f in frames
    ]
    return len(data), rgb


def with_lambda(config: EncoderConfig, value: float) -> EncoderConfig:
    """The joint fit at another lambda."""
    return replace(config, lambda_rate=value)


def without_motion(config: EncoderConfig, value: float) -> EncoderConfig:
    """The joint fit at another lambda, without motion: inter frames are predicted from the unmoved reference."""
    return replace(config, lambda_rate=value, motion_blocks=0)


def with_laplace(config: EncoderConfig, value: float) -> EncoderConfig:
    """The joint fit at another lambda, with one Laplace distribution per channel as rate model and coder."""
    return replace(config, lambda_rate=value, rate_model="laplace")


def as_the_paper(config: EncoderConfig, value: float) -> EncoderConfig:
    """The paper's method: :func:`with_laplace`, no motion, groups of fixed length, coefficients sent whole."""
    return replace(with_laplace(config, value), whole_coefficients=True, motion_blocks=0, scenecut=False)


def without_rate(config: EncoderConfig) -> EncoderConfig:
    """A fit without rate and quantisation, with the final learning rate that was found best for it."""
    return replace(config, joint=False, final_rate=0.05)


def with_step(config: EncoderConfig, value: float) -> EncoderConfig:
    """A fit without rate, quantisation and motion, rounded to a step afterwards, in groups of fixed length."""
    return replace(without_rate(config), coefficient_step=value, basis_step=value, motion_blocks=0, scenecut=False)


def with_sparse_residual(config: EncoderConfig, value: float) -> EncoderConfig:
    """:func:`with_step` with the paper's L1 term on the basis residual.

    Inter frames take as many iterations as key frames, since the baseline beside it fits every frame from scratch.
    """
    config = with_step(config, value)
    return replace(config, lambda_residual=RESIDUAL_WEIGHT, inter_iterations=config.key_iterations, first_fit=1.0)


def scaled(config: EncoderConfig, factor: float) -> EncoderConfig:
    """``config`` with all grids ``factor`` times as fine per axis, at least 4 nodes."""
    return replace(
        config,
        coefficients=max(4, round(config.coefficients * factor)),
        level_nodes=tuple(max(4, round(n * factor)) for n in config.level_nodes),
    )
