"""Entropy coding of grids: round trips, agreement with the document, the fit's estimate of bits, and the savings."""

from __future__ import annotations

import lzma

import numpy as np
import plain_decoder
import pytest
import streams
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from plain_decoder import documented_rows, documented_sets

from taichi_vvc.coding import context_weights, entropy, occupancy_masks
from taichi_vvc.errors import ConfigError, CorruptStream

SHAPE = (10, 8, 9, 3)


def known_of(before: np.ndarray | None) -> entropy.Known:
    """What a decoder has of a grid: nothing, or a previous residual and a reference of small integers."""
    if before is None:
        return entropy.NOTHING
    return entropy.Known(before, (np.arange(before.size).reshape(before.shape) * 40503 // 7 % 9 - 4).astype(np.int32))


def round_trip(now, live, known, model="context") -> entropy.EncodedGrid:
    coded = entropy.encode_grid(now, live, known, model=model)
    found = entropy.decode_grid(coded.payload, now.shape, live, known)
    assert found.dtype == np.int32
    np.testing.assert_array_equal(found, now)
    return coded


# -- grids -----------------------------------------------------------------------------------------------------------


@settings(max_examples=60, deadline=None)
@given(st.data(), st.tuples(*[st.integers(1, 5)] * 3, st.integers(1, 4)), st.sampled_from(["context", "laplace"]))
def test_any_symbols_round_trip(data, shape, model) -> None:
    values = st.integers(-3, 3) | st.integers(-(1 << 20), 1 << 20)
    live = data.draw(arrays.arrays(bool, shape[:3]))
    now = data.draw(arrays.arrays(np.int32, shape, elements=values, fill=st.just(0))) * live[..., None]
    grids = st.none() | arrays.arrays(np.int32, shape, elements=values, fill=st.just(0))
    reference = data.draw(grids)
    before = None if reference is None else data.draw(grids)
    round_trip(now.astype(np.int32), live, entropy.Known(before, reference), model)


@pytest.mark.parametrize("previous", [False, True])
@pytest.mark.parametrize("model", ["context", "laplace"])
def test_ideal_and_actual_bits_agree(previous: bool, model: str) -> None:
    total_bits = total_bytes = 0.0
    for seed, strength in ((0, 0.5), (1, 1.0), (2, 6.0)):
        now, live, before = streams.residual((24, 20, 18, 6), seed, strength, previous)
        coded = round_trip(now, live, known_of(before), model)
        total_bits, total_bytes = total_bits + coded.bits, total_bytes + len(coded.payload)
    assert total_bits == pytest.approx(8 * total_bytes, rel=0.01)
    assert total_bits <= 8 * total_bytes


def test_contexts_pay() -> None:
    now, live, before = streams.residual((32, 28, 26, 8), 3)
    context = len(round_trip(now, live, known_of(before)).payload)
    values = now[live]
    explicit = 0.0
    for channel in values.T:
        counts = np.unique(channel, return_counts=True)[1]
        explicit -= (counts * np.log2(counts / counts.sum())).sum() / 8
    assert context < 0.9 * explicit
    assert context < 0.8 * len(round_trip(now, live, known_of(before), "laplace").payload)
    assert context < 0.8 * len(lzma.compress(values.T.astype(np.int8).tobytes()))
    assert context < len(round_trip(now, live, entropy.NOTHING).payload), "the previous frame helps"


def test_nothing_costs_next_to_nothing() -> None:
    live = np.ones((16, 16, 16), bool)
    zeros = np.zeros((16, 16, 16, 4), np.int32)
    assert len(round_trip(zeros, live, entropy.NOTHING).payload) == 1
    assert len(round_trip(zeros, ~live, known_of(zeros)).payload) == 1
    zeros[3, 4, 5, 1] = -1
    assert len(round_trip(zeros, live, entropy.NOTHING).payload) < 30
    single = np.array([[[[7]]]], np.int32)
    assert len(round_trip(single, np.ones((1, 1, 1), bool), entropy.NOTHING).payload) < 30


# The symbols of ``pinned_symbols``, by the Laplace model and by each of the weight sets.
PINNED: list[str] = [
    "01c35c17f0355555b6f18d3562888b41be437e050ae6eac72b9562a3401ff6dd1bb6d2cf83",
    (
        "00075716f0a4fb9d0552061d2489ef7e90c059e35b0235296ba6ee3d37f6c372cb6876955a2bd2c0f568caf46d4d0d07"
        "dc138f2e79e9c2d5b84b4fcd5e"
    ),
    "10075716f0d9d17004379d628124ba5951136bf2b37b325b1c1d1aad49e3d40a5ae7b2f543a6ce1d075e87384a",
    "20015716f08f6a5df5cfad2d0126c7291f8223dd8cf764a233e10cde60d445e7b8c912195d21e80748",
    "30035716f0b675ed7cc7edd647023d044f13377e220f30e340e118fdb2f10d200f4829014736174753",
    "40005716f03038b1796d2594a183977e919e735820f129b0f84923a180d6e2ad19e5612ff6",
    "50bf89f0eb8bd613d15ef7d95818c95b2037ad78226c1175dcc0f7a4c9d3c66bc0",
    "60b2a51becc970fedee583ea3e553ea60952cacede3fc32dd7ac8696ef8a3bfcfc",
]


@pytest.mark.parametrize("payload", PINNED, ids=lambda payload: f"0x{payload[:2]}")
def test_pinned_grids_decode(payload: str) -> None:
    """A change of the format must be meant: it needs a new format version once files are about."""
    data = bytes.fromhex(payload)
    weights = context_weights.SETS[data[0] >> 4]
    now, live, before = pinned_symbols(weights.previous)
    reference = known_of(now).reference if weights.previous or weights.reference else None
    known = entropy.Known(before, reference)
    np.testing.assert_array_equal(entropy.decode_grid(data, now.shape, live, known), now)
    np.testing.assert_array_equal(plain_decode(data, live, SHAPE[3], known, documented_sets()), now)


def test_every_model_is_pinned() -> None:
    assert [payload[:2] for payload in PINNED] == ["01", *(f"{chosen}0" for chosen in range(len(context_weights.SETS)))]


def pinned_symbols(previous: bool):
    """Integers only, so that every machine makes the same ones."""
    k = np.arange(int(np.prod(SHAPE)), dtype=np.int64)
    noise = (k * 2654435761 % 4294967296 >> 16).reshape(SHAPE)
    now = np.where(noise % 3 == 0, noise // 7 % 5 - 2, 0) + np.where(noise % 31 == 0, noise % 100 - 50, 0)
    live = streams.blob(SHAPE[:3])
    before = np.where(noise % 5 == 0, noise // 5 % 7 - 3, 0).astype(np.int32) if previous else None
    return (now * live[..., None]).astype(np.int32), live, before


def plain_decode(payload: bytes, live: np.ndarray, channels: int, known: entropy.Known, sets: list[dict]) -> np.ndarray:
    """The symbols as the document has them."""
    return plain_decoder.decode(payload, live, channels, known.previous, known.reference, sets)


@pytest.mark.parametrize("previous", [False, True])
@pytest.mark.parametrize("model", ["context", "laplace"])
def test_the_document_decodes_the_same(previous: bool, model: str) -> None:
    sets = documented_sets()
    for shape, seed, strength in (((5, 6, 7, 3), 0, 1.0), ((4, 4, 4, 2), 1, 20.0), ((3, 1, 2, 1), 2, 3.0)):
        now, live, before = streams.residual(shape, seed, strength, previous)
        payload = entropy.encode_grid(now, live, known_of(before), model=model).payload
        found = plain_decode(payload, live, shape[3], known_of(before), sets)
        np.testing.assert_array_equal(found, now)
    after_a_key_frame = entropy.Known(None, np.where(live[..., None], now // 2, 3).astype(np.int32))
    payload = round_trip(now, live, after_a_key_frame, model).payload
    np.testing.assert_array_equal(plain_decode(payload, live, shape[3], after_a_key_frame, sets), now)


def test_the_previous_frame_may_lie_anywhere() -> None:
    """Volumes cover the live nodes only; what the previous frame had beside them counts, farther away it must not."""
    rng = np.random.default_rng(4)
    sets = documented_sets()
    shape = (9, 8, 11, 2)
    before = rng.integers(-3, 4, shape).astype(np.int32)
    for box in (np.s_[3:6, 1:4, 5:8], np.s_[2:4, 6:8, :1], np.s_[8:, 4:7, 9:], np.s_[5:6, 5:6, 5:6]):
        live = np.zeros(shape[:3], bool)
        live[box] = True
        now = (rng.integers(-2, 3, shape) * live[..., None]).astype(np.int32)
        now[live] += before[live]
        payload = round_trip(now, live, known_of(before)).payload
        np.testing.assert_array_equal(plain_decode(payload, live, 2, known_of(before), sets), now)


def test_wrong_arguments_are_refused() -> None:
    now, live, before = streams.residual(SHAPE, 0)
    with pytest.raises(ConfigError, match="huffman"):
        entropy.encode_grid(now, live, known_of(before), model="huffman")
    with pytest.raises(ValueError, match=r"shape|live set"):
        entropy.encode_grid(now[1:], live, known_of(before))
    with pytest.raises(ValueError, match="previous"):
        entropy.encode_grid(now, live, entropy.Known(before[1:], before))
    with pytest.raises(ValueError, match="reference"):
        entropy.encode_grid(now, live, entropy.Known(before, before[1:]))
    with pytest.raises(ValueError, match="reference"):
        entropy.encode_grid(now, live, entropy.Known(before))
    with pytest.raises(ValueError, match="outside"):
        entropy.encode_grid(now + 1, live, known_of(before))
    with pytest.raises(ValueError, match="larger"):
        entropy.encode_grid(now * 0 + live[..., None] * np.int32((1 << 20) + 1), live, known_of(before))


@pytest.mark.parametrize("model", ["context", "laplace"])
def test_damaged_payloads_never_surprise(model: str) -> None:
    """Without the container's checksum damage may decode to something; it must not do anything else."""
    now, live, before = streams.residual(SHAPE, 0, 3.0)
    payload = entropy.encode_grid(now, live, known_of(before), model=model).payload
    rng = np.random.default_rng(0)
    refused = 0
    for _ in range(200):
        mutated = bytearray(payload)
        for position in rng.integers(0, len(payload), rng.integers(1, 4)):
            mutated[position] = rng.integers(0, 256)
        try:
            found = entropy.decode_grid(bytes(mutated), now.shape, live, known_of(before))
        except CorruptStream:
            refused += 1
        else:
            assert found.shape == now.shape
            assert np.abs(found).max() <= 1 << 20
            assert not found[~live].any()
    assert refused > 100
    for cut in range(len(payload)):
        if (len(payload) - cut) % 4:  # whole words may be missing without a trace: the container's checksum sees that
            with pytest.raises(CorruptStream):
                entropy.decode_grid(payload[:cut], now.shape, live, known_of(before))
    for tail in (b"\0", bytes(range(1, 13))):
        with pytest.raises(CorruptStream):
            entropy.decode_grid(payload + tail, now.shape, live, known_of(before))
    with pytest.raises(CorruptStream):
        entropy.decode_grid(payload, now.shape, np.zeros_like(live), known_of(before))
    if model == "context":
        with pytest.raises(CorruptStream):
            entropy.decode_grid(payload, now.shape, live)


# -- the fit's view --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("previous", [False, True])
@pytest.mark.parametrize("model", ["context", "laplace"])
def test_the_plan_predicts_the_bytes(previous: bool, model: str) -> None:
    now, live, before = streams.residual((24, 20, 18, 6), 5, 1.0, previous)
    now = np.clip(now, -15, 15)
    plan = entropy.plan_rate(now, live, known_of(before), model=model)
    assert plan.table.shape == (np.count_nonzero(live), 6) and plan.table.dtype == np.uint16
    assert plan.lengths.shape[1] == 31 and plan.lengths.dtype == np.float32
    assert plan.table.max() < len(plan.lengths)
    estimate = plan.lengths[plan.table, now[live] + 15].sum()
    actual = 8 * len(entropy.encode_grid(now, live, known_of(before), model=model).payload)
    side_information = 8 * 60
    assert actual - side_information < estimate < actual
    assert np.all(2.0 ** -plan.lengths.astype(np.float64).sum(1) <= 1)


def test_plans_of_empty_grids() -> None:
    now = np.zeros((4, 4, 4, 2), np.int32)
    plan = entropy.plan_rate(now, np.zeros((4, 4, 4), bool))
    assert plan.table.shape == (0, 2)
    plan = entropy.plan_rate(now, np.ones((4, 4, 4), bool))
    assert np.all(plan.lengths[plan.table, 15] < 0.2)
    assert np.all(np.argmin(plan.lengths[np.unique(plan.table)], 1) == 15)


# -- the document ----------------------------------------------------------------------------------------------------


def test_the_document_has_the_weights() -> None:
    rows = [[chosen, s.previous, s.reference, s.stated] for chosen, s in enumerate(context_weights.SETS)]
    assert documented_rows("sets") == rows
    expected = []
    for chosen, weights in enumerate(context_weights.SETS):
        expected += [[chosen, kind, *w.known, w.prefix, w.mean] for kind, w in enumerate(weights.kinds)]
    assert documented_rows("weights") == expected
    tables = [
        [chosen, *indices]
        for chosen, weights in enumerate(context_weights.SETS)
        for indices in (weights.zero, weights.first, weights.later, weights.signs)
    ]
    assert documented_rows("default indices") == tables
    sets = (*occupancy_masks._WEIGHTS_KEY.items(), *occupancy_masks._WEIGHTS_INTER.items())
    assert documented_rows("mask weights") == [[*key, *weights] for key, weights in sets]
