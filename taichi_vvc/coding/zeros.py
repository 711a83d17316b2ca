"""Grids of zeros that take no memory: most grids of most frames add nothing to the frame before."""

from __future__ import annotations

import numpy as np


def blank(shape: tuple[int, ...]) -> np.ndarray:
    """int32 zeros that take no memory, whatever their shape. Read-only."""
    return np.broadcast_to(np.zeros((), np.int32), shape)


def is_blank(array: np.ndarray) -> bool:
    """Whether an array is one of :func:`blank`."""
    return not any(array.strides) and array.ndim > 1 and not array.flags.writeable and not array.flat[0]
