"""The one dequantiser, shared by encoder and decoder."""

from __future__ import annotations

import numpy as np


def grid_offset(grid: int) -> float:
    """The value of symbol 0: 1 on the coefficient grid (grid 0), as Dictionary Fields initialises it, else 0."""
    return 1.0 if grid == 0 else 0.0


def grid_values(symbols: np.ndarray, step: float, grid: int, out: np.ndarray | None = None) -> np.ndarray:
    """offset + step * symbol, in float32; into ``out`` where that is given."""
    values = np.empty(symbols.shape, np.float32) if out is None else out
    values[...] = symbols
    values *= np.float32(step)
    values += np.float32(grid_offset(grid))
    return values


def quantize_tensors(tensors: tuple[np.ndarray, ...], step: float) -> tuple[np.ndarray, ...]:
    """MLP tensors as int32 symbols (nearest, ties up)."""
    return tuple(np.floor(t.astype(np.float64) / step + 0.5).astype(np.int32) for t in tensors)


def tensor_values(symbols: tuple[np.ndarray, ...], step: float) -> tuple[np.ndarray, ...]:
    """MLP tensors from their symbols, in float32."""
    return tuple(np.float32(step) * s.astype(np.float32) for s in symbols)
