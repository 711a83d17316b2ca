"""Occupancy masks: round trips, sizes, pinned bytes, damage."""

from __future__ import annotations

import numpy as np
import pytest
import streams
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from taichi_vvc.coding import entropy, occupancy_masks
from taichi_vvc.errors import CorruptStream


@settings(max_examples=60, deadline=None)
@given(st.data(), st.tuples(*[st.integers(1, 11)] * 3))
def test_any_mask_round_trips(data, shape) -> None:
    mask = data.draw(arrays.arrays(bool, shape))
    before = data.draw(st.none() | arrays.arrays(bool, shape))
    payload = entropy.encode_mask(mask, before)
    np.testing.assert_array_equal(entropy.decode_mask(payload, shape, before), mask)


def test_a_moving_person_costs_little() -> None:
    shape = (64, 40, 40)
    before, now = streams.blob(shape), streams.blob(shape, 0.05)
    assert (before != now).sum() > 500
    assert len(entropy.encode_mask(now, None)) < 450
    assert len(entropy.encode_mask(now, before)) < 350
    assert entropy.encode_mask(now, now) == b""
    assert entropy.encode_mask(np.zeros(shape, bool), None) == b""
    np.testing.assert_array_equal(entropy.decode_mask(b"", shape, now), now)


def test_mask_passes_cover_every_cell_once() -> None:
    shape = (9, 6, 11)
    visits = np.zeros(shape, int)
    steps = occupancy_masks.walk(shape, None)
    part = next(steps)
    while True:
        visits[part.cells] += 1
        try:
            part = steps.send(np.zeros(part.bins.size, bool))
        except StopIteration:
            break
    assert np.all(visits == 1)


def test_mask_bytes_are_pinned() -> None:
    shape = (12, 10, 11)
    now, before = streams.blob(shape, 0.1), streams.blob(shape)
    found = [entropy.encode_mask(now, None).hex(), entropy.encode_mask(now, before).hex()]
    assert found == PINNED_MASKS


PINNED_MASKS: list = [
    "d5d2e3811b237f9e097ceba2207f7773",
    "405b24f5d742291090c39d1e",
]


def test_damaged_masks_never_surprise() -> None:
    shape = (12, 10, 11)
    payload = entropy.encode_mask(streams.blob(shape), None)
    for position in range(len(payload)):
        mutated = bytearray(payload)
        mutated[position] ^= 0x55
        try:
            assert entropy.decode_mask(bytes(mutated), shape, None).shape == shape
        except CorruptStream:
            pass
    for cut in range(1, len(payload)):
        if cut % 4:
            with pytest.raises(CorruptStream):
                entropy.decode_mask(payload[:cut], shape, None)
