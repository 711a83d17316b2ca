"""The weight sets that are shipped: how known magnitudes add up to a context, and the tables that go with each set.

Data only. Normative text: ``docs/bitstream.md``, section "Contexts". Sets are never changed once files use them; a
stream names the one that each of its grids is coded with. ``benchmarks/context_weights.py`` fits such sets;
``docs/notes/context-weights.md`` says how these were made.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Weights:
    """How the features of one kind of pass add up: integers in 1/2048 of a magnitude per unit of the feature.

    Attributes:
        known: one weight per feature of :func:`taichi_vvc.coding.contexts.pass_features`.
        prefix: of :func:`taichi_vvc.coding.contexts.prefix_feature`.
        mean: of the channel's mean, in 1/256.
    """

    known: tuple[int, ...]
    prefix: int
    mean: int


@dataclass(frozen=True)
class WeightSet:
    """One set.

    Attributes:
        previous: whether it looks at the previous frame's residual; it is for grids that have one.
        reference: whether it looks at the symbols that the residual will be added to.
        stated: whether the stream states the channels' means; else they are those of the previous residual.
        kinds: weights of each kind of pass.
        zero, first, later: (18,) probability indices that the tables of a stream are stated relative to.
        signs: (7,) those of the predicted sign, for sign classes 1 to 7.
    """

    previous: bool
    reference: bool
    stated: bool
    kinds: tuple[Weights, ...]
    zero: tuple[int, ...]
    first: tuple[int, ...]
    later: tuple[int, ...]
    signs: tuple[int, ...]

    @property
    def indices(self) -> np.ndarray:
        """(18, 3) int64: ``zero``, ``first`` and ``later``."""
        return np.array([self.zero, self.first, self.later], np.int64).T


SETS: tuple[WeightSet, ...] = (
    WeightSet(
        False,
        False,
        True,
        (
            Weights((0, 0, 0, 0, 0, 0), 123, 122),
            Weights((0, 0, 139, 0, 0, 6), 66, 24),
            Weights((443, 104, 0, 5, 1, 0), 29, 4),
            Weights((256, 19, 5, 1, 0, 0), 14, 0),
        ),
        (72, 68, 66, 64, 62, 61, 59, 57, 54, 51, 49, 46, 43, 39, 34, 28, 21, 14),
        (21, 21, 21, 21, 21, 21, 21, 21, 21, 21, 21, 21, 21, 20, 20, 19, 18, 16),
        (22, 22, 22, 22, 22, 22, 22, 22, 22, 22, 22, 22, 22, 21, 21, 20, 18, 16),
        (34, 36, 38, 39, 42, 47, 54),
    ),
    WeightSet(
        True,
        False,
        True,
        (
            Weights((0, 0, 0, 0, 0, 0, 5, 11, 3), 145, 27),
            Weights((0, 0, 118, 0, 0, 4, 8, 4, 0), 109, 3),
            Weights((487, 85, 0, 6, 0, 0, 3, 3, 0), 50, 0),
            Weights((233, 13, 3, 1, 0, 0, 5, 1, 0), 32, 0),
        ),
        (75, 67, 65, 62, 59, 57, 54, 52, 48, 46, 43, 39, 35, 31, 27, 21, 15, 8),
        (28, 28, 28, 28, 28, 28, 28, 28, 28, 28, 28, 27, 27, 26, 24, 22, 20, 18),
        (32, 32, 31, 31, 31, 31, 30, 30, 30, 30, 30, 30, 29, 27, 24, 22, 19, 17),
        (34, 36, 38, 39, 42, 47, 54),
    ),
    WeightSet(
        True,
        False,
        True,
        (
            Weights((0, 0, 0, 0, 0, 0, 243, 117, 17), 28, 38),
            Weights((0, 0, 55, 0, 0, 4, 252, 161, 11), 6, 12),
            Weights((179, 74, 0, 5, 0, 0, 276, 120, 12), 3, 11),
            Weights((133, 35, 22, 0, 0, 0, 207, 85, 10), 11, 7),
        ),
        (75, 67, 65, 62, 59, 57, 54, 52, 48, 46, 43, 39, 35, 31, 27, 21, 15, 8),
        (28, 28, 28, 28, 28, 28, 28, 28, 28, 28, 28, 27, 27, 26, 24, 22, 20, 18),
        (32, 32, 31, 31, 31, 31, 30, 30, 30, 30, 30, 30, 29, 27, 24, 22, 19, 17),
        (34, 36, 38, 39, 42, 47, 54),
    ),
    WeightSet(
        False,
        False,
        True,
        (
            Weights((0, 0, 0, 0, 0, 0), 110, 111),
            Weights((0, 0, 86, 0, 0, 3), 85, 46),
            Weights((302, 78, 0, 7, 1, 0), 39, 3),
            Weights((202, 9, 1, 1, 1, 1), 24, 1),
        ),
        (71, 67, 65, 65, 63, 61, 58, 55, 52, 49, 46, 39, 32, 27, 21, 18, 18, 18),
        (25, 25, 23, 25, 24, 24, 25, 27, 27, 27, 27, 27, 27, 25, 24, 22, 20, 20),
        (27, 26, 24, 26, 25, 25, 27, 29, 30, 30, 30, 29, 29, 27, 25, 22, 20, 20),
        (33, 34, 35, 37, 40, 44, 53),
    ),
    WeightSet(
        False,
        True,
        True,
        (
            Weights((0, 0, 0, 0, 0, 0, 0, 0, 0, 143), 120, 57),
            Weights((0, 0, 53, 0, 0, 4, 0, 0, 0, 107), 92, 7),
            Weights((227, 50, 0, 8, 1, 0, 0, 0, 0, 87), 51, 2),
            Weights((156, 6, 1, 2, 1, 1, 0, 0, 0, 72), 35, 1),
        ),
        (71, 68, 67, 64, 63, 59, 55, 51, 49, 44, 40, 34, 29, 29, 28, 23, 21, 21),
        (25, 26, 25, 25, 25, 27, 30, 28, 29, 29, 29, 29, 28, 26, 24, 23, 21, 21),
        (26, 26, 26, 26, 26, 27, 30, 32, 33, 34, 34, 33, 31, 26, 25, 24, 21, 21),
        (33, 34, 35, 36, 38, 39, 46),
    ),
    WeightSet(
        True,
        True,
        False,
        (
            Weights((0, 0, 0, 0, 0, 0, 388, 79, 7, 37), 40, 20),
            Weights((0, 0, 30, 0, 0, 1, 397, 82, 5, 31), 36, 15),
            Weights((193, 39, 0, 4, 0, 0, 348, 59, 4, 30), 18, 7),
            Weights((116, 21, 4, 1, 0, 0, 331, 30, 3, 28), 14, 3),
        ),
        (77, 69, 67, 62, 60, 56, 53, 50, 45, 40, 35, 35, 35, 33, 33, 27, 27, 27),
        (26, 25, 26, 29, 30, 31, 34, 37, 37, 37, 35, 32, 30, 26, 24, 22, 22, 22),
        (28, 27, 28, 29, 29, 29, 30, 31, 33, 34, 35, 33, 32, 27, 25, 23, 23, 23),
        (33, 35, 36, 37, 38, 38, 38),
    ),
    WeightSet(
        True,
        True,
        False,
        (
            Weights((0, 0, 0, 0, 0, 0, 44, 66, 9, 100), 140, 28),
            Weights((0, 0, 50, 0, 0, 2, 86, 46, 6, 92), 123, 2),
            Weights((257, 53, 0, 9, 0, 0, 86, 34, 3, 78), 77, 1),
            Weights((167, 13, 3, 3, 0, 0, 101, 11, 1, 56), 60, 0),
        ),
        (72, 67, 66, 65, 62, 60, 57, 54, 50, 47, 41, 36, 31, 26, 23, 23, 18, 18),
        (27, 27, 26, 26, 25, 26, 28, 29, 29, 29, 29, 29, 29, 28, 27, 23, 22, 26),
        (30, 30, 28, 28, 27, 28, 31, 33, 33, 33, 33, 34, 33, 31, 29, 24, 23, 23),
        (33, 33, 35, 36, 38, 40, 40),
    ),
)
"""By their number in the stream."""

FIRST_WRITTEN = 3
"""The encoder takes sets from this one on: those before are of files of versions 1 and 2."""
