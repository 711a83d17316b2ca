"""What a frame is predicted from: its displacements, and the symbols of the frame before moved by them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from taichi_vvc.bitstream.syntax import FrameData
from taichi_vvc.coding import memory, motion_contexts
from taichi_vvc.coding.displacements import decode_motion
from taichi_vvc.coding.motion import LARGEST, lattice_shape, live_motion, moved_grids, moved_symbols
from taichi_vvc.coding.moved_masks import coded_nodes, filled
from taichi_vvc.coding.zeros import is_blank
from taichi_vvc.errors import CorruptStream
from taichi_vvc.types import FieldLayout, SymbolFrame


def decode_prediction(
    layout: FieldLayout,
    data: FrameData,
    reference: SymbolFrame | None,
    live: tuple[np.ndarray, ...],
    motion: np.ndarray | None = None,
    take: Callable[[float], None] = lambda need: None,
) -> tuple[np.ndarray | None, tuple[np.ndarray, ...] | None]:
    """What a frame's residuals are added to.

    Args:
        data: the frame's chunk.
        reference: the decoded frame before it; None for a key frame.
        live: the frame's live nodes; may be empty where nothing moves.
        motion: its displacements where they are decoded, see :func:`decode_moved`.
        take: is told how many bytes are to be allocated, and may raise.

    Returns:
        The displacements, int32 of shape :func:`~taichi_vvc.coding.motion.lattice_shape` (None where it has none), and
        the reference's symbols moved by them (None for a key frame).

    Raises:
        CorruptStream: the displacements do not decode, are too large, or stand in a file without motion.
    """
    if motion is None:
        motion = _motion(layout, data, reference, live, take)
    if reference is None or motion is None:
        return motion, None if reference is None else reference.symbols
    lattice, moved = lattice_shape(layout), moved_grids(layout)
    for grid in moved:
        symbols = reference.symbols[grid]
        if not is_blank(symbols):
            small = max(int(symbols.max(initial=0)), -int(symbols.min(initial=0))) < 1 << 7
            whole = sum(4 * reference.symbols[other].size for other in moved)
            take(motion.nbytes + whole + memory.moved_need(lattice, symbols.shape, small))
    return motion, moved_symbols(layout, reference.symbols, motion, live)


def decode_moved(
    layout: FieldLayout,
    data: FrameData,
    reference: SymbolFrame | None,
    take: Callable[[float], None] = lambda need: None,
) -> np.ndarray | None:
    """The displacements of a frame where they come before its mask, as they do since version 8; else None.

    ``take`` is told how many bytes are to be allocated, and may raise.

    Raises:
        CorruptStream: they do not decode, are too large, or the file has none.
    """
    if data.motion[:1] not in motion_contexts.FIRST_BYTES or reference is None:
        return None
    _check_motion(layout, data)
    take(memory.motion_need(lattice_shape(layout)) + reference.occupancy.nbytes)
    coded = coded_nodes(layout, reference.occupancy)
    return _checked(filled(motion_contexts.decode_motion(data.motion, coded, reference.motion), coded), data)


def _motion(
    layout: FieldLayout,
    data: FrameData,
    reference: SymbolFrame | None,
    live: tuple[np.ndarray, ...],
    take: Callable[[float], None],
) -> np.ndarray | None:
    """The displacements of a frame whose mask is decoded; None where it has none.

    Raises:
        CorruptStream: they do not decode, are too large, or the file has none.
    """
    if not data.motion:
        return None
    _check_motion(layout, data)
    before = None if reference is None else reference.motion
    take(memory.motion_need(lattice_shape(layout)))
    return _checked(decode_motion(data.motion, live_motion(layout, live), before), data)


def _check_motion(layout: FieldLayout, data: FrameData) -> None:
    if not layout.motion_block:
        raise CorruptStream(f"frame {data.number}: expected no motion in this file, found {len(data.motion)} bytes")


def _checked(motion: np.ndarray, data: FrameData) -> np.ndarray:
    if max(motion.max(initial=0), -motion.min(initial=0)) > LARGEST:
        raise CorruptStream(f"frame {data.number}: expected displacements up to {LARGEST}, found larger ones")
    return motion.astype(np.int32)
