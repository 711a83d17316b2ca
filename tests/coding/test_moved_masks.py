"""Masks that have moved with the scene, and masks and displacements that are coded by them."""

from __future__ import annotations

import numpy as np
import plain_file
import plain_motion
import pytest
import streams

from taichi_vvc.coding import entropy, moved_masks, occupancy_masks
from taichi_vvc.coding.motion import lattice_shape
from taichi_vvc.errors import CorruptStream
from taichi_vvc.types import Bounds, FieldLayout, GridLevel

LAYOUT = FieldLayout(
    bounds=Bounds((0, 0, 0), (1.3, 1.7, 0.9)),
    coefficients=(7, 9, 5),
    levels=(GridLevel((7, 9, 5), 4, 1.0), GridLevel((13, 17, 9), 2, 1.0)),
    occupancy=(13, 17, 9),
    projection_hidden=4,
    appearance=3,
    colour_hidden=4,
    view_frequencies=1,
    steps_per_side=20,
    motion_block=4,
)
SHAPE = LAYOUT.occupancy[::-1]


def random_mask(seed: int, share: float = 0.4) -> np.ndarray:
    return np.random.default_rng(seed).random(SHAPE) < share


def some_motion(seed: int, largest: int = 9) -> np.ndarray:
    return np.random.default_rng(seed).integers(-largest, largest + 1, lattice_shape(LAYOUT)).astype(np.int32)


@pytest.mark.parametrize("largest", [1, 9, 60, 4096])
def test_moved_masks_are_those_of_the_document(largest: int) -> None:
    before, motion = random_mask(1), some_motion(2, largest)
    motion[:2] = 0
    found = moved_masks.moved_mask(LAYOUT, before, motion)
    np.testing.assert_array_equal(found, plain_motion.moved_mask(before, LAYOUT.motion_block, motion))
    assert found.max() == moved_masks.SHARES and found.dtype == np.uint8


def test_a_mask_moves_where_its_displacements_say() -> None:
    before = np.zeros(SHAPE, bool)
    before[4, 8, 6] = True
    motion = np.zeros(lattice_shape(LAYOUT), np.int32)
    np.testing.assert_array_equal(moved_masks.moved_mask(LAYOUT, before, motion), 16 * before)
    np.testing.assert_array_equal(moved_masks.moved_mask(LAYOUT, before, None), 16 * before)
    motion[..., 0], motion[..., 2] = 8, -6
    # What is at x comes from x + 2, and what is at z from z - 1.5.
    found = moved_masks.moved_mask(LAYOUT, before, motion)
    assert {tuple(c): int(found[tuple(c)]) for c in np.argwhere(found)} == {(5, 8, 4): 8, (6, 8, 4): 8}


def test_coded_nodes_and_what_stands_beside_them() -> None:
    before = np.zeros(SHAPE, bool)
    before[3, 4, 12] = True
    coded = moved_masks.coded_nodes(LAYOUT, before)
    np.testing.assert_array_equal(coded, plain_motion.coded_nodes(before, LAYOUT.motion_block))
    assert set(map(tuple, np.argwhere(coded))) == {(z, y, x) for z in (0, 1) for y in (1, 2) for x in (3, 4)}
    motion = some_motion(3)
    found = moved_masks.filled(motion, coded)
    np.testing.assert_array_equal(found[coded], motion[coded])
    # (2, 3, 4) touches one coded node, by its corner on two axes and on one by its side.
    np.testing.assert_array_equal(found[2, 3, 3:5].mean(0) >= motion.min(), True)
    assert not found[3:].any() and not found[:, 4:].any()
    real = moved_masks.filled(motion.astype(float), coded)
    assert np.abs(real - found).max() <= 0.5
    assert real.dtype == np.float64 and found.dtype == np.int32


@pytest.mark.parametrize("seed", range(4))
def test_masks_by_the_moved_mask(seed: int) -> None:
    rng = np.random.default_rng(seed)
    before = streams.blob(SHAPE)
    moved = moved_masks.moved_mask(LAYOUT, before, some_motion(seed))
    mask = (moved >= 8) ^ (rng.random(SHAPE) < (0.001, 0.02, 0.1, 0.5)[seed])
    payload = entropy.encode_moved_mask(mask, before, moved)
    assert entropy.is_moved(payload)
    np.testing.assert_array_equal(entropy.decode_moved_mask(payload, moved), mask)
    np.testing.assert_array_equal(plain_file.decode_mask(payload, SHAPE, before, moved.astype(int)), mask)
    # Less than without it, where most of it is right.
    assert seed > 1 or len(payload) < 0.9 * len(entropy.encode_mask(mask, before))


def test_a_set_for_what_moves_and_one_for_what_stands() -> None:
    shape = (40, 40, 40)
    before = streams.blob(shape)
    still = before.copy()
    still[20, 20, 10:14] ^= True
    moved = moved_masks.moved_mask(LAYOUT, before, None)
    first = entropy.encode_moved_mask(still, before, moved)
    assert first[0] == 1 and len(first) < 40 < len(entropy.encode_mask(still, before))
    turbulent = before ^ (np.random.default_rng(1).random(shape) < 0.05)
    assert entropy.encode_moved_mask(turbulent, before, moved)[0] == 0
    assert entropy.encode_moved_mask(before, before, moved) == b""


def test_scores_of_moved_masks_fit_sixteen_bits() -> None:
    counts = (6, 12, 8)
    for own in occupancy_masks.MOVED:
        for weights in own.values():
            _, *w = weights
            behind = [abs(w[3]), *(n * abs(c) for n, c in zip(counts * 2, w[4:], strict=True))]
            assert moved_masks.SHARES * sum(behind) < 1 << 15
            assert len(weights) == 11


def test_damaged_masks_are_refused() -> None:
    before = streams.blob(SHAPE)
    moved = moved_masks.moved_mask(LAYOUT, before, None)
    payload = entropy.encode_moved_mask(random_mask(5), before, moved)
    with pytest.raises(CorruptStream, match=r"weight set in 0\.\.1, found 2"):
        entropy.decode_moved_mask(bytes([2]) + payload[1:], moved)
    for damaged in (payload[:-4], payload + bytes(8)):
        with pytest.raises(CorruptStream):
            entropy.decode_moved_mask(damaged, moved)
