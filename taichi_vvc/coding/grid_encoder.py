"""From the symbols of a grid to bytes, with the contexts and tables that were chosen. Encoder only."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from taichi_vvc.coding import contexts, small_integers, tables
from taichi_vvc.coding.choose_tables import check, choose, write_choice
from taichi_vvc.coding.entropy import Coding, RangeWriter
from taichi_vvc.coding.known import MODELS, NOTHING, NOTHING_CODED, Known


@dataclass(frozen=True)
class EncodedGrid:
    """One coded grid: its bytes and their ideal length in bits, side information included."""

    payload: bytes
    bits: float


def encode_grid(residual: np.ndarray, live: np.ndarray, known: Known = NOTHING, model: str = "context") -> EncodedGrid:
    """Codes the live symbols of one grid.

    Args:
        residual: (nz, ny, nx, C) int32, zero outside ``live``, magnitudes up to 2^20.
        live: (nz, ny, nx) bool, the nodes that are sent.
        known: what the decoder has of this grid.
        model: ``"context"``, or ``"laplace"`` for one Laplace distribution per channel, the paper's own model
            (arXiv 2402.01380, section 3.3).
    Raises:
        ValueError: shapes disagree, or a symbol is too large or nonzero outside the live set.
    """
    check(residual, live, known, model)
    if max(int(residual.max(initial=0)), -int(residual.min(initial=0))) > tables.LARGEST_MAGNITUDE:
        raise ValueError(f"expected symbols up to {tables.LARGEST_MAGNITUDE}, found larger ones; use a larger step")
    nonzero = np.count_nonzero(residual != 0)
    if not nonzero:
        return EncodedGrid(NOTHING_CODED, 8.0)
    at = contexts.lattice(live)
    magnitudes = np.abs(residual.reshape(-1, residual.shape[3])[at.nodes].reshape(-1))
    if np.count_nonzero(magnitudes) != nonzero:
        raise ValueError("expected zeros outside the live set, found other symbols")
    choice = choose(residual, at, known, model)
    writer = RangeWriter()
    shift = write_choice(writer, choice, magnitudes, model)
    magnitude, right = Coding.of(choice.frequencies), Coding.of(tables.sign_tables(choice.signs))
    for part in choice.passes:
        for channel, values in enumerate(part.values):
            writer.groups(np.abs(values), part.tables[channel], magnitude)
            where = (values != 0).nonzero()[0]
            agree = (values[where] < 0) == part.flipped[channel, where]
            writer.groups(agree, part.classes[channel, where], right)
    small_integers.write_escapes(writer, magnitudes, shift)
    return EncodedGrid(bytes([MODELS[model] | choice.weights << 4]) + writer.payload(), writer.bits + 8)
