"""The limits of coded payloads, each tested on both sides.

A value just within its limit is decoded. A value just beyond is refused by the encoder and, in a payload made by hand,
by the decoder.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import backends
import numpy as np
import pytest
import streams

from taichi_vvc.bitstream import FrameData
from taichi_vvc.coding import choose_tables, contexts, entropy, integer_arrays, motion, small_integers, tables
from taichi_vvc.coding.displacements import encode_motion
from taichi_vvc.coding.live_set import live_nodes
from taichi_vvc.decode import decode_symbols
from taichi_vvc.errors import CorruptStream
from taichi_vvc.types import SymbolFrame

Patch = pytest.MonkeyPatch
LARGEST = 1 << 20
SHAPE = (6, 5, 7, 2)


def symbols_with(value: int) -> tuple[np.ndarray, np.ndarray]:
    """Symbols of which one is ``value``, and their live nodes; the others are small and of both signs."""
    now, live, _ = streams.residual(SHAPE, 3)
    place = np.argwhere(live)[7]
    now[(*place, 1)] = value
    return now, live


def grid_with(patch: Patch, value: int, model: str) -> bytes:
    """A grid's payload with a symbol beyond the limits."""
    with patch.context() as lifted:
        lifted.setattr(tables, "LARGEST_MAGNITUDE", 4 * LARGEST)
        return entropy.encode_grid(*symbols_with(value), model=model).payload


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("model", ["context", "laplace"])
def test_symbols(sign: int, model: str, monkeypatch: Patch) -> None:
    now, live = symbols_with(sign * LARGEST)
    coded = entropy.encode_grid(now, live, model=model)
    assert coded.payload == grid_with(monkeypatch, sign * LARGEST, model)
    np.testing.assert_array_equal(entropy.decode_grid(coded.payload, SHAPE, live), now)
    for excess in (1, 15, 16, 17, LARGEST):
        beyond = sign * (LARGEST + excess)
        with pytest.raises(ValueError, match=f"symbols up to {LARGEST}, found larger"):
            entropy.encode_grid(*symbols_with(beyond), model=model)
        with pytest.raises(CorruptStream, match=f"symbols up to {LARGEST}, found {LARGEST + excess}"):
            entropy.decode_grid(grid_with(monkeypatch, beyond, model), SHAPE, live)


@pytest.mark.parametrize("sign", [1, -1])
def test_integers(sign: int, monkeypatch: Patch) -> None:
    for value, fits in ((LARGEST, True), (LARGEST + 1, False), (LARGEST + LARGEST // 2 - 1, False)):
        array = np.array([3, sign * value, -4], np.int32)
        with monkeypatch.context() as lifted:
            lifted.setattr(tables, "LARGEST_MAGNITUDE", 4 * LARGEST)
            payload = entropy.encode_integers([array])
        if fits:
            assert entropy.encode_integers([array]) == payload
            np.testing.assert_array_equal(entropy.decode_integers(payload, [(3,)])[0], array)
            continue
        with pytest.raises(ValueError, match=f"integers up to {LARGEST}, found larger"):
            entropy.encode_integers([array])
        with pytest.raises(CorruptStream, match=f"integers up to {LARGEST}, found larger"):
            entropy.decode_integers(payload, [(3,)])


# -- what stands before the symbols ----------------------------------------------------------------------------------


def changed_choice(patch: Patch, model: str, change: Callable[[choose_tables.Choice], choose_tables.Choice]) -> bytes:
    """A grid's payload that states something else than what its symbols were coded with."""
    with patch.context() as changed:
        usual = choose_tables.write_choice
        changed.setattr(entropy, "write_choice", lambda writer, choice, *rest: usual(writer, change(choice), *rest))
        return entropy.encode_grid(*symbols_with(1), model=model).payload


def with_statistic(value: int, place: int) -> Callable[[choose_tables.Choice], choose_tables.Choice]:
    def change(choice: choose_tables.Choice) -> choose_tables.Choice:
        statistics = choice.statistics.copy()
        statistics[place] = value
        return dataclasses.replace(choice, statistics=statistics)

    return change


def with_index(value: int, place: tuple[int, int]) -> Callable[[choose_tables.Choice], choose_tables.Choice]:
    def change(choice: choose_tables.Choice) -> choose_tables.Choice:
        indices = choice.indices.copy()
        indices[place] = value
        return dataclasses.replace(choice, indices=indices)

    return change


def with_sign(value: int, place: int) -> Callable[[choose_tables.Choice], choose_tables.Choice]:
    def change(choice: choose_tables.Choice) -> choose_tables.Choice:
        signs = choice.signs.copy()
        signs[place] = value
        return dataclasses.replace(choice, signs=signs)

    return change


# What, the model, how it is put into a payload, at which places, the smallest and the largest that are allowed.
STATED: list[tuple[str, str, Callable, list, int, int]] = [
    ("channel statistics", "context", with_statistic, [0, 1], 0, contexts.MEANS.size - 1),
    ("channel statistics", "laplace", with_statistic, [0, 1], 0, 95),
    ("probability indices", "context", with_index, [(0, 0), (9, 1), (17, 2)], 0, 95),
    ("probability indices", "context", with_sign, [0, 6], 0, 95),
]


@pytest.mark.parametrize("what, model, put, places, lowest, highest", STATED)
def test_side_information(what, model, put, places, lowest, highest, monkeypatch: Patch) -> None:
    live = symbols_with(1)[1]
    for place in places:
        for value in (lowest - 1, lowest - 30, highest + 1, highest + 30):
            with pytest.raises(CorruptStream, match=f"expected {what} in {lowest}..{highest}"):
                entropy.decode_grid(changed_choice(monkeypatch, model, put(value, place)), SHAPE, live)
        for value in (lowest, highest):
            # Its symbols were coded with other tables; what is read of them is not what this is about.
            try:
                entropy.decode_grid(changed_choice(monkeypatch, model, put(value, place)), SHAPE, live)
            except CorruptStream as error:
                assert what not in str(error)


@pytest.mark.parametrize("order, fits", [(-1, False), (0, True), (15, True), (16, False), (40, False)])
def test_the_order_of_escapes(order: int, fits: bool, monkeypatch: Patch) -> None:
    now, live = symbols_with(1)
    now = np.clip(now, -15, 15)
    if fits:
        now[(*np.argwhere(live)[3], 0)] = -70
    with monkeypatch.context() as patch:
        patch.setattr(small_integers, "best_escape_shift", lambda excess: order)
        payload = entropy.encode_grid(now, live).payload
    if fits:
        np.testing.assert_array_equal(entropy.decode_grid(payload, SHAPE, live), now)
        return
    with pytest.raises(CorruptStream, match=r"expected an Exp-Golomb order in 0..15"):
        entropy.decode_grid(payload, SHAPE, live)


def integers_by_hand(again: int, count: int, indices: list[int]) -> bytes:
    """The beginning of an array of integers; enough of it to be refused."""
    writer = entropy.RangeWriter()
    small_integers.write_side(writer, np.array([again]))
    small_integers.write_side(writer, np.array([count]))
    small_integers.write_side(writer, np.diff(np.array(indices, np.int64), prepend=integer_arrays.FIRST_INDEX))
    return writer.payload()


@pytest.mark.parametrize(
    "again, count, indices, what",
    [
        (2, 1, [30], "a flag in 0..1"),
        (-1, 1, [30], "a flag in 0..1"),
        (0, -1, [], "a number of buckets in 0..40"),
        (0, 41, [30] * 41, "a number of buckets in 0..40"),
        (0, 2, [30, -1], "probability indices in 0..95"),
        (0, 2, [96, 30], "probability indices in 0..95"),
    ],
)
def test_tables_of_integers(again: int, count: int, indices: list[int], what: str) -> None:
    with pytest.raises(CorruptStream, match=f"expected {what}, found"):
        entropy.decode_integers(integers_by_hand(again, count, indices), [(3,)])


def test_the_largest_tables_of_integers() -> None:
    assert not entropy.decode_integers(integers_by_hand(0, 0, []), [(3,)])[0].any()
    array = np.array([LARGEST, -LARGEST], np.int32)
    assert integer_arrays.bucket_of(np.array([LARGEST])).tolist() == [integer_arrays.BUCKETS - 1]
    np.testing.assert_array_equal(entropy.decode_integers(entropy.encode_integers([array]), [(2,)])[0], array)


@pytest.mark.parametrize("first", [0x02 | 0x10, 0x03, 0x0F, 0x70, 0xF0, 0x11, 0x21])
def test_models_that_there_are_not(first: int) -> None:
    now, live = symbols_with(1)
    payload = entropy.encode_grid(now, live).payload
    with pytest.raises(CorruptStream, match=f"an entropy model of this grid and format, found {first:#04x}"):
        entropy.decode_grid(bytes([first]) + payload[1:], SHAPE, live)


def test_weight_sets_that_need_what_is_not_known() -> None:
    now, live, before = streams.residual(SHAPE, 3)
    reference = now // 2
    for number, weights in enumerate(choose_tables.contextsets.SETS):
        for known in (entropy.NOTHING, entropy.Known(None, reference), entropy.Known(before, reference)):
            fits = (known.previous is not None) == weights.previous
            fits &= known.reference is not None or not weights.reference
            assert choose_tables.usable(weights, known) == fits
            if not fits:
                with pytest.raises(CorruptStream, match="an entropy model of this grid"):
                    entropy.decode_grid(bytes([number << 4]) + bytes(8), SHAPE, live, known)


# -- frames ----------------------------------------------------------------------------------------------------------

LAYOUT = backends.small_layout(motion_block=2)
FULL = np.ones(LAYOUT.occupancy[::-1], bool)


def reference(value: int = 0, **changes: Any) -> SymbolFrame:
    """A decoded frame whose symbols are all ``value``."""
    symbols = tuple(np.full(shape, value, np.int32) for shape in LAYOUT.grid_shapes)
    zeros = tuple(np.zeros(shape, np.int32) for shape in LAYOUT.grid_shapes)
    return dataclasses.replace(SymbolFrame(symbols, zeros, FULL, True), **changes)


def frame(**changes: Any) -> FrameData:
    """An inter frame that adds nothing."""
    return dataclasses.replace(FrameData(1, 0, "inter", b"", (b"\x02",) * len(LAYOUT.grid_shapes), b""), **changes)


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("magnitude, fits", [(motion.LARGEST, True), (motion.LARGEST + 1, False), (9000, False)])
def test_displacements(sign: int, magnitude: int, fits: bool) -> None:
    known = motion.live_motion(LAYOUT, live_nodes(LAYOUT, FULL))
    assert motion.LARGEST == 4096
    for places in (1, 5):
        moved = np.zeros(motion.lattice_shape(LAYOUT), np.int32)
        moved[tuple(np.argwhere(known)[:places].T)] = [0, sign * magnitude, 0]
        data = frame(motion=encode_motion(moved, known, None))
        if fits:
            np.testing.assert_array_equal(decode_symbols(LAYOUT, data, reference(3)).motion, moved)
            continue
        with pytest.raises(CorruptStream, match="frame 1: expected displacements up to 4096, found larger"):
            decode_symbols(LAYOUT, data, reference(3))


@pytest.mark.parametrize("sign", [1, -1])
def test_displacements_that_add_up(sign: int) -> None:
    """Those before and the difference to them are small enough, but not their sum."""
    known = motion.live_motion(LAYOUT, live_nodes(LAYOUT, FULL))
    rng = np.random.default_rng(0)
    # Differences cost less than the noisy displacements themselves.
    before = (sign * rng.integers(0, 4097, motion.lattice_shape(LAYOUT)) * known[..., None]).astype(np.int32)
    place = tuple(np.argwhere(known)[4])
    before[place] = sign * 4096
    for more, fits in ((0, True), (1, False)):
        moved = before.copy()
        moved[(*place, 2)] += sign * more
        moved[(*place, 0)] -= sign
        payload = encode_motion(moved, known, before)
        assert payload[0] == 4
        data, earlier = frame(motion=payload), reference(3, motion=before, key=False)
        if fits:
            np.testing.assert_array_equal(decode_symbols(LAYOUT, data, earlier).motion, moved)
            continue
        with pytest.raises(CorruptStream, match="displacements up to 4096"):
            decode_symbols(LAYOUT, data, earlier)


@pytest.mark.parametrize("sign", [1, -1])
def test_sums_of_symbols(sign: int) -> None:
    live = live_nodes(LAYOUT, FULL)
    for number, shape in enumerate(LAYOUT.grid_shapes):
        one = np.zeros(shape, np.int32)
        one[(*np.argwhere(live[number])[0], 0)] = sign
        for value, fits in ((2**24 - 2, True), (2**24 - 1, False)):
            before = reference(sign * value)
            known = entropy.Known(None, before.symbols[number])
            grids = [b"\x02"] * len(live)
            grids[number] = entropy.encode_grid(one, live[number], known).payload
            data = frame(grids=tuple(grids))
            if fits:
                assert np.abs(decode_symbols(LAYOUT, data, before).symbols[number]).max() == 2**24 - 1
                continue
            with pytest.raises(CorruptStream, match=f"frame 1: expected symbols below 2.24 in grid {number}"):
                decode_symbols(LAYOUT, data, before)


@pytest.mark.parametrize("count", [0, 2, 4])
def test_as_many_grids_as_the_file_has(count: int) -> None:
    with pytest.raises(CorruptStream, match=f"frame 1: expected 3 grids, found {count}"):
        decode_symbols(LAYOUT, frame(grids=(b"\x02",) * count), reference())


def test_a_file_without_motion_has_none() -> None:
    known = motion.live_motion(LAYOUT, live_nodes(LAYOUT, FULL))
    moved = np.full(motion.lattice_shape(LAYOUT), 3, np.int32) * known[..., None]
    data = frame(motion=encode_motion(moved, known, None))
    assert decode_symbols(LAYOUT, data, reference(3)).motion is not None
    with pytest.raises(CorruptStream, match="frame 1: expected no motion in this file"):
        decode_symbols(dataclasses.replace(LAYOUT, motion_block=0), data, reference(3))
