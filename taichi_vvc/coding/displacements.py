"""The coding of displacements: what is left of them after prediction from their neighbours, coarse to fine.

A field of displacements is smooth, and much like that of the frame before. Lattice nodes are taken in the order of an
occupancy mask's cells; each is predicted from the neighbours that are known by then, in integers, either itself or its
difference to the frame before, and the differences to the predictions are coded as one integer array. Normative text:
``docs/bitstream.md``, "Coded displacements".
"""

from __future__ import annotations

import numpy as np

from taichi_vvc.coding.contexts import ORDER
from taichi_vvc.coding.entropy import decode_integers, encode_integers
from taichi_vvc.coding.grid_decoder import decode_grid
from taichi_vvc.coding.occupancy_masks import FIRST_STRIDE
from taichi_vvc.errors import CorruptStream

SPATIAL, TEMPORAL = 3, 4
"""The first byte of a payload: displacements are predicted themselves, or their differences to the frame before."""

_SPACINGS = (4, 2, 1)
_PAD = _SPACINGS[0]
CHUNK = 1 << 14
"""Nodes whose neighbours are looked up at a time, which bounds the memory."""

_DIRECTIONS = np.array([d for d in np.ndindex(3, 3, 3) if d != (1, 1, 1)]) - 1
WEIGHTS = np.array([64, 16, 4, 1])[np.abs(_DIRECTIONS).sum(1)]
"""Of the neighbours of a node, see :meth:`Lattice.near`: of faces 16, of edges 4, of corners 1."""


def _passes() -> tuple[np.ndarray, list[int]]:
    """(8, 8, 8) uint8, the pass of a node by its indices modulo 8, and the spacing of each pass."""
    numbers = np.zeros((FIRST_STRIDE,) * 3, np.uint8)
    spacings = [0]
    for spacing in _SPACINGS:
        for parity in ORDER[1:]:
            z, y, x = (slice((parity >> bit & 1) * spacing, None, 2 * spacing) for bit in (2, 1, 0))
            numbers[z, y, x] = len(spacings)
            spacings.append(spacing)
    return numbers, spacings


_NUMBERS, _PASS_SPACINGS = _passes()


class Lattice:
    """The coded nodes of a lattice, pass after pass, and the values of those that are known by then.

    Attributes:
        passes: of each pass that has nodes its spacing, 0 of the first, and (n,) positions of its nodes among all coded
            ones, in C order.
    """

    def __init__(self, coded: np.ndarray) -> None:
        """``coded``: (mz, my, mx) bool."""
        where = coded.nonzero()
        numbers = _NUMBERS[tuple([axis % FIRST_STRIDE for axis in where])]
        padded = tuple([size + 2 * _PAD for size in coded.shape])
        self._places = np.ravel_multi_index(tuple([axis + _PAD for axis in where]), padded)
        self._steps = _DIRECTIONS @ np.array([padded[1] * padded[2], padded[2], 1])
        # Behind the three values, whether there is one.
        self._field = np.zeros((padded[0] * padded[1] * padded[2], 4), np.int64)
        ends = np.bincount(numbers, minlength=len(_PASS_SPACINGS)).cumsum()[:-1]
        parts = np.split(numbers.argsort(kind="stable"), ends)
        self.passes = [(spacing, rows) for spacing, rows in zip(_PASS_SPACINGS, parts, strict=True) if rows.size]

    def near(self, rows: np.ndarray, spacing: int) -> np.ndarray:
        """(n, 26, 4) int64: the values of the neighbours of some nodes, and 1 behind those that are known, else 0."""
        return np.asarray(self._field[self._places[rows][:, None] + spacing * self._steps])

    def learn(self, rows: np.ndarray, values: np.ndarray) -> None:
        """Takes note of the (n, 3) values of some nodes."""
        self._field[self._places[rows], :3] = values
        self._field[self._places[rows], 3] = 1


def encode_motion(motion: np.ndarray, known: np.ndarray, before: np.ndarray | None) -> bytes:
    """Codes displacements, the way that takes fewer bytes; none at all where nothing moves.

    Args:
        motion: (mz, my, mx, 3) int32, zero outside ``known``.
        known: (mz, my, mx) bool, the lattice nodes that are coded.
        before: the displacements of the frame before, None if it has none.
    """
    values = motion[known]
    if not values.any():
        return b""
    payloads = [_coded(SPATIAL, values, known)]
    if before is not None:
        payloads.append(_coded(TEMPORAL, values - before[known], known))
    return min(payloads, key=len)


def _coded(mode: int, values: np.ndarray, known: np.ndarray) -> bytes:
    return bytes([mode]) + encode_integers([_predicted(values, known, False).astype(np.int32)])


def decode_motion(payload: bytes, known: np.ndarray, before: np.ndarray | None) -> np.ndarray:
    """The inverse of :func:`encode_motion`: (mz, my, mx, 3) int32, zero outside ``known``.

    Also decodes what the versions before 3 have instead, a payload like that of a grid.

    Raises:
        CorruptStream: the payload does not decode, or needs displacements before where there are none.
    """
    shape = (*known.shape, 3)
    if not payload or payload[0] not in (SPATIAL, TEMPORAL):
        return decode_grid(payload, (shape[0], shape[1], shape[2], 3), known)
    if payload[0] == TEMPORAL and before is None:
        raise CorruptStream("expected displacements without reference to the frame before, which has none")
    residuals = decode_integers(payload[1:], [(int(np.count_nonzero(known)), 3)])[0]
    values = _predicted(residuals, known, True)
    if payload[0] == TEMPORAL and before is not None:
        values += before[known]
    motion = np.zeros(shape, np.int32)
    motion[known] = values
    return motion


def _predicted(given: np.ndarray, known: np.ndarray, decoding: bool) -> np.ndarray:
    """The differences of values to their predictions or, ``decoding``, the values with these differences.

    Predictions are means, so that 22 passes of differences up to 2^20 keep values below 2^25.

    Args:
        given: (n, 3), at the nodes of ``known`` in C order.

    Returns:
        int64, (n, 3).
    """
    lattice, result = Lattice(known), given.astype(np.int64)
    for spacing, rows in lattice.passes:
        for first in range(0, rows.size if spacing else 0, CHUNK):
            some = rows[first : first + CHUNK]
            sums = WEIGHTS @ lattice.near(some, spacing)
            weights = sums[:, 3:]
            predicted = (2 * sums[:, :3] + weights) // np.maximum(2 * weights, 1)
            result[some] += predicted if decoding else -predicted
        lattice.learn(rows, (result if decoding else given)[rows])
    return result
