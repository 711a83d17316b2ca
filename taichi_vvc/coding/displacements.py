"""The coding of displacements: what is left of them after prediction from their neighbours, coarse to fine.

A field of displacements is smooth, and much like that of the frame before. Lattice nodes are taken in the order of an
occupancy mask's cells; each is predicted from the neighbours that are known by then, in integers, either itself or its
difference to the frame before, and the differences to the predictions are coded as one integer array. Normative text:
``docs/bitstream.md``, "Coded displacements".
"""

from __future__ import annotations

import numpy as np

from taichi_vvc.coding.contexts import ORDER
from taichi_vvc.coding.entropy import decode_grid, decode_integers, encode_integers
from taichi_vvc.coding.occupancy_masks import FIRST_STRIDE
from taichi_vvc.errors import CorruptStream

SPATIAL, TEMPORAL = 3, 4
"""The first byte of a payload: displacements are predicted themselves, or their differences to the frame before."""

_SPACINGS = (4, 2, 1)
_PAD = _SPACINGS[0]
_DIRECTIONS = np.array([d for d in np.ndindex(3, 3, 3) if d != (1, 1, 1)]) - 1
_WEIGHTS = np.array([64, 16, 4, 1])[np.abs(_DIRECTIONS).sum(1)]  # of faces 16, of edges 4, of corners 1
_CHUNK = 1 << 14  # nodes at a time, which bounds the memory


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
    where = known.nonzero()
    numbers = _NUMBERS[tuple([axis % FIRST_STRIDE for axis in where])]
    padded = tuple([size + 2 * _PAD for size in known.shape])
    places = np.ravel_multi_index(tuple([axis + _PAD for axis in where]), padded)
    steps = _DIRECTIONS @ np.array([padded[1] * padded[2], padded[2], 1])
    order = numbers.argsort(kind="stable")
    counts = np.bincount(numbers, minlength=len(_PASS_SPACINGS)).tolist()
    # Behind the three values, whether there is one.
    field = np.zeros((padded[0] * padded[1] * padded[2], 4), np.int64)
    result, start = given.astype(np.int64), 0
    for spacing, count in zip(_PASS_SPACINGS, counts, strict=True):
        for first in range(start, start + count, _CHUNK):
            rows = order[first : min(first + _CHUNK, start + count)]
            here = places[rows]
            if spacing:
                sums = _WEIGHTS @ field[here[:, None] + spacing * steps]
                weights = sums[:, 3:]
                predicted = (2 * sums[:, :3] + weights) // np.maximum(2 * weights, 1)
                result[rows] += predicted if decoding else -predicted
        rows = order[start : start + count]
        field[places[rows], :3] = (result if decoding else given)[rows]
        field[places[rows], 3] = 1
        start += count
    return result
