"""Entropy coding of integer tensors, for representations other than the codec's field."""

from __future__ import annotations

import math
import struct
import zlib

import numpy as np
import torch
from torch import Tensor

from taichi_vvc.coding.entropy import (
    decode_grid,
    decode_integers,
    decode_mask,
    encode_grid,
    encode_integers,
    encode_mask,
)
from taichi_vvc.coding.tables import LARGEST_MAGNITUDE
from taichi_vvc.errors import ConfigError, CorruptStream
from taichi_vvc.torch.arrays import check

_MAGIC = b"tvt1"
_MOST = 2**29


@torch.no_grad()
def compress(symbols: Tensor, live: Tensor | None = None) -> bytes:
    """Codes integers with the codec's entropy coder.

    Args:
        symbols: int32, magnitudes up to 2^20. Grids (nz, ny, nx, C) are coded with the context model. Tensors of other
            shapes, such as the weights of a network, are coded with one table for all symbols.
        live: (nz, ny, nx) bool, the nodes of a grid that are coded; the set itself is coded, too. Symbols of other
            nodes must be 0. None means all nodes.

    Returns:
        Bytes for :func:`decompress`: shape, live set, symbols and a CRC-32.
    """
    check("symbols", symbols, "...", dtype=torch.int32)
    grid = symbols.ndim == 4
    values = symbols.cpu().numpy()
    if np.abs(values.astype(np.int64)).max(initial=0) > LARGEST_MAGNITUDE:
        raise ConfigError(f"expected symbols up to {LARGEST_MAGNITUDE}, found larger ones; use a larger step")
    if live is None:
        mask, nodes = b"", np.ones(values.shape[:3], bool)
    else:
        if not grid:
            raise ConfigError(f"expected a live set with (nz, ny, nx, C) symbols only, found {tuple(symbols.shape)}")
        check("live", live, " ".join(map(str, symbols.shape[:3])), symbols, torch.bool)
        nodes = live.cpu().numpy()
        if values[~nodes].any():
            raise ConfigError("expected zeros outside the live set, found other symbols; multiply them by it")
        mask = encode_mask(nodes, None)
    if values.size == 0:
        payload = b""
    elif grid:
        payload = encode_grid(values, nodes).payload
    else:
        payload = encode_integers([values])
    head = _MAGIC + struct.pack(f"<BB{values.ndim}II", values.ndim, live is not None, *values.shape, len(mask))
    body = head + mask + payload
    return body + struct.pack("<I", zlib.crc32(body))


def decompress(data: bytes) -> Tensor:
    """The inverse of :func:`compress`: an int32 tensor on the CPU.

    Raises:
        CorruptStream: the bytes are not what :func:`compress` made.
    """
    if len(data) < 14 or data[:4] != _MAGIC or struct.unpack("<I", data[-4:])[0] != zlib.crc32(data[:-4]):
        raise CorruptStream(
            f"expected {len(data)} bytes made by compress, found others; the data are damaged or cut off"
        )
    dimensions, masked = data[4], data[5]
    at = 6 + 4 * (dimensions + 1)
    if len(data) < at + 4:
        raise CorruptStream(f"expected a shape of {dimensions} dimensions, found {len(data)} bytes")
    *shape, length = struct.unpack(f"<{dimensions + 1}I", data[6:at])
    if math.prod(shape) >= _MOST or length > len(data) - at - 4 or (masked and dimensions != 4):
        raise CorruptStream(f"expected a shape below 2^29 symbols and its live set, found {tuple(shape)}")
    if not math.prod(shape):
        return torch.zeros(shape, dtype=torch.int32)
    mask, payload = data[at : at + length], data[at + length : -4]
    if dimensions != 4:
        return torch.from_numpy(decode_integers(payload, [tuple(shape)])[0].copy())
    nodes = np.ones(shape[:3], bool)
    if masked:
        nodes = decode_mask(mask, (shape[0], shape[1], shape[2]), None)
    return torch.from_numpy(decode_grid(payload, (shape[0], shape[1], shape[2], shape[3]), nodes))
