"""The walk over the passes of a grid, which planner, encoder and decoder share.

A grid is coded in eight passes, see :mod:`taichi_vvc.coding.contexts`. :func:`walk` says of each what its contexts are
and is told the symbols that were found there. It has no other way to learn a symbol, so that an encoder cannot use what
its decoder will not have.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeVar

import numpy as np

from taichi_vvc.coding import contexts
from taichi_vvc.coding.context_weights import Weights, WeightSet

Step = TypeVar("Step")
Answer = TypeVar("Answer")


class Nonzero(NamedTuple):
    """The symbols of a pass that are not 0, in any order.

    Attributes:
        channel: (n,) channel of each.
        node: (n,) index of its node within the pass.
        value: (n,) integer, not 0; contexts see at most :data:`contexts.CAP` of its magnitude.
    """

    channel: np.ndarray
    node: np.ndarray
    value: np.ndarray


@dataclass(frozen=True)
class GridPass:
    """One pass over a grid's m live nodes of one parity class, and what is known before its first symbol.

    Attributes:
        parity: the class of the nodes.
        ranks: (m,) positions of the nodes among all live ones.
        weights: the weights of this kind of pass, of each weight set that was asked for.
        means: (C,) mean magnitudes of the channels, of each set.
        features: see :func:`contexts.pass_features`.
        classes: (C, m) uint8, the sign class of each symbol.
        flipped: (C, m) bool, True where a negative sign is predicted.
    """

    parity: int
    ranks: np.ndarray
    weights: tuple[Weights, ...]
    means: tuple[np.ndarray, ...]
    features: list[np.ndarray | None]
    classes: np.ndarray
    flipped: np.ndarray

    def activity(self, number: int = 0) -> np.ndarray:
        """(C, m) int32 activities by weight set ``number``, without the part of the node's earlier channels. A new
        array."""
        return contexts.base_activity(self.features, self.weights[number], self.means[number], self.ranks.size)


def walk(
    at: contexts.Lattice,
    channels: int,
    known: tuple[np.ndarray | None, np.ndarray | None],
    sets: Sequence[tuple[WeightSet, np.ndarray]],
) -> Generator[GridPass, Nonzero, None]:
    """Yields each pass that has nodes, and is sent its symbols.

    Args:
        at: the live nodes of the grid.
        channels: of the grid.
        known: see :func:`taichi_vvc.coding.known.known_parts`.
        sets: the weight sets whose contexts are wanted, each with the (C,) mean magnitudes of the channels.
    """
    halves = np.zeros((8, 2, channels, at.size), np.uint8)
    totals = np.zeros((8, at.size), np.uint16)
    means = tuple(mean for _, mean in sets)
    for position, parity in enumerate(contexts.ORDER):
        places = at.places[parity]
        if not places.size:
            continue
        weights = tuple(chosen.kinds[contexts.KINDS[position]] for chosen, _ in sets)
        features, predicted = contexts.pass_features(halves, totals, *known, at, position, weights)
        classes, flipped = contexts.sign_class(predicted), predicted < 0
        found = yield GridPass(parity, at.ranks[parity], weights, means, features, classes, flipped)
        if found.value.size:
            magnitudes = contexts.capped(found.value)
            halves[parity, (found.value < 0).view(np.uint8), found.channel, places[found.node]] = magnitudes
            sums = np.bincount(found.node, magnitudes, places.size)
            totals[parity, places] = np.minimum(sums, contexts.TOTAL_CAP)


def advance(steps: Generator[Step, Answer, None], answer: Answer) -> Step | None:
    """Send a walk what it waits for: its next step, or None at its end."""
    try:
        return steps.send(answer)
    except StopIteration:
        return None
