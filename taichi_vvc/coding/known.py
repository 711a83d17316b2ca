"""What encoder and decoder know of a grid before its symbols, and what follows from it for both."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from taichi_vvc.coding import context_weights, contexts

MODELS = {"context": 0, "laplace": 1}
"""Entropy models and their number in the stream."""

NOTHING_CODED = bytes([2])
"""The payload of a grid whose symbols are all zero."""


@dataclass(frozen=True)
class Known:
    """What a decoder has of a grid before its symbols, each (nz, ny, nx, C) int32 or None.

    Attributes:
        previous: the previous frame's residual; None on a key frame and on the frame after it.
        reference: the symbols that the residual will be added to; None on a key frame.
    """

    previous: np.ndarray | None = None
    reference: np.ndarray | None = None


NOTHING = Known()
"""Of a key frame's grid, or of symbols that belong to no frame."""


def known_grids(
    count: int, previous: tuple[np.ndarray, ...] | None, reference: tuple[np.ndarray, ...] | None
) -> list[Known]:
    """What is known of each of a frame's ``count`` grids, of the whole frame's previous residual and reference."""
    return [
        Known(None if previous is None else previous[n], None if reference is None else reference[n])
        for n in range(count)
    ]


def known_parts(known: Known, at: contexts.Lattice) -> tuple[np.ndarray | None, np.ndarray | None]:
    """What :func:`contexts.pass_features` needs of the previous residual and of the reference."""
    return (
        None if known.previous is None else contexts.split_magnitudes(known.previous, at),
        None if known.reference is None else contexts.capped_at(known.reference, at.nodes),
    )


def usable(weights: context_weights.WeightSet, known: Known) -> bool:
    """Whether a stream may name this set for a grid."""
    has_reference = known.reference is not None
    return weights.previous == (known.previous is not None) and (has_reference or not weights.reference)


def channel_means(
    weights: context_weights.WeightSet, statistics: np.ndarray, known: Known, at: contexts.Lattice
) -> np.ndarray:
    """(C,) int64 mean magnitude of each channel, 1/2048: as the ``statistics`` state it, or the previous residual's."""
    if weights.stated:
        return contexts.MEANS[statistics]
    assert known.previous is not None
    return contexts.means_at(known.previous, at.nodes)
