"""Coded displacements: round trips, sizes, pinned bytes, the document's decoder, damage."""

from __future__ import annotations

import numpy as np
import plain_motion
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from taichi_vvc.coding import displacements
from taichi_vvc.coding.displacements import SPATIAL, TEMPORAL, decode_motion, encode_motion
from taichi_vvc.coding.entropy import encode_integers
from taichi_vvc.coding.grid_encoder import encode_grid
from taichi_vvc.errors import CorruptStream


def lattice(shape: tuple[int, int, int] = (9, 6, 10), seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Live nodes within a ball, and smooth displacements of theirs with a little noise."""
    z, y, x = np.indices(shape)
    known = sum((4 * (a - n / 2) / n) ** 2 for a, n in zip((z, y, x), shape, strict=True)) < 3.5
    smooth = np.stack([np.sin(0.4 * (z + c) + 0.3 * y) + np.cos(0.3 * x) for c in range(3)], -1)
    noise = np.random.default_rng(seed).normal(size=smooth.shape)
    return known, (np.rint(12 * smooth + noise) * known[..., None]).astype(np.int32)


def temporal(known: np.ndarray, motion: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """``known`` and displacements that are noisy themselves but little else than those before, which come last."""
    before = np.random.default_rng(1).integers(-40, 41, motion.shape).astype(np.int32)
    before[:1] = 0
    return known, (before + motion // 8) * known[..., None], before


LARGE = st.integers(-9, 9) | st.integers(-4096, 4096)


@settings(max_examples=60, deadline=None)
@given(st.data(), st.tuples(*[st.integers(2, 11)] * 3))
def test_any_displacements_round_trip(data, shape) -> None:
    known = data.draw(arrays.arrays(bool, shape))
    kinds = arrays.arrays(np.int32, (*shape, 3), elements=LARGE)
    motion = data.draw(kinds) * known[..., None]
    before = data.draw(st.none() | kinds)
    payload = encode_motion(motion, known, before)
    if motion.any():
        found = decode_motion(payload, known, before)
        assert found.dtype == np.int32
        np.testing.assert_array_equal(found, motion)
    else:
        assert payload == b""


def test_the_cheaper_way_is_taken() -> None:
    known, motion = lattice()
    assert encode_motion(motion, known, None)[0] == SPATIAL
    noise = np.random.default_rng(2).integers(-40, 41, motion.shape).astype(np.int32)
    assert encode_motion(motion, known, noise) == encode_motion(motion, known, None)
    known, motion, before = temporal(known, motion)
    payload = encode_motion(motion, known, before)
    assert payload[0] == TEMPORAL and len(payload) < 0.6 * len(encode_motion(motion, known, None))


def test_smooth_displacements_cost_less_than_a_grid() -> None:
    known, motion = lattice()
    assert len(encode_motion(motion, known, None)) < 0.7 * len(encode_grid(motion, known).payload)


@pytest.mark.parametrize("shape", [(9, 6, 10), (4, 17, 3)])
def test_the_documents_decoder_finds_the_same(shape: tuple[int, int, int]) -> None:
    known, motion = lattice(shape)
    assert not known.all()
    cases: list[tuple] = [(known, motion, None), temporal(known, motion), temporal(np.ones_like(known), motion)]
    large = np.random.default_rng(3).integers(-4096, 4097, motion.shape) * (motion % 3 == 0)
    cases.append((known, large.astype(np.int32) * known[..., None], None))
    modes = []
    for nodes, moved, before in cases:
        payload = encode_motion(moved, nodes, before)
        modes.append(payload[0])
        np.testing.assert_array_equal(plain_motion.decode_motion(payload, nodes, before), moved)
        np.testing.assert_array_equal(decode_motion(payload, nodes, before), moved)
    assert modes == [SPATIAL, TEMPORAL, TEMPORAL, SPATIAL]


def test_many_nodes_are_taken_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    known, motion = lattice()
    whole = encode_motion(motion, known, None)
    monkeypatch.setattr(displacements, "CHUNK", 5)
    assert encode_motion(motion, known, None) == whole
    np.testing.assert_array_equal(decode_motion(whole, known, None), motion)


def test_displacements_coded_as_a_grid_decode() -> None:
    """What version 2 has."""
    known, motion = lattice()
    for model in ("context", "laplace"):
        payload = encode_grid(motion, known, model=model).payload
        np.testing.assert_array_equal(decode_motion(payload, known, None), motion)
        np.testing.assert_array_equal(decode_motion(payload, known, motion), motion)
    assert not decode_motion(encode_grid(0 * motion, known).payload, known, None).any()


def test_displacement_bytes_are_pinned() -> None:
    known, motion = lattice((4, 4, 5))
    before = motion + (np.indices(motion.shape).sum(0) % 3 == 0).astype(np.int32)
    assert [encode_motion(motion, known, b).hex() for b in (None, before)] == PINNED


PINNED: list = [
    "039900f07ed5d058c73586d3ca4f1f6c9f1f31a3ed140f8df6df9955126b4e3f1d94ee924157dd08f4f86f6c6319d38e07b569d29b00409d61",
    "04767d4a5145e78b88b0217d3f77ebf12df265112a00b035a3",
]


def test_the_frame_before_must_have_displacements() -> None:
    known, motion, before = temporal(*lattice())
    payload = encode_motion(motion, known, before)
    with pytest.raises(CorruptStream, match="the frame before, which has none"):
        decode_motion(payload, known, None)


def test_damaged_displacements_never_surprise() -> None:
    known, motion = lattice((5, 4, 6))
    known, motion, before = temporal(known, motion)
    for payload in (encode_motion(motion, known, None), encode_motion(motion, known, before)):
        for position in range(len(payload)):
            for flipped in (0x01, 0x55, 0xFF):
                mutated = bytearray(payload)
                mutated[position] ^= flipped
                try:
                    assert not decode_motion(bytes(mutated), known, before)[~known].any()
                except CorruptStream:
                    pass
        for cut in range(len(payload)):
            if cut % 4 != 1:
                with pytest.raises(CorruptStream):
                    decode_motion(payload[:cut], known, before)
        with pytest.raises(CorruptStream, match="expected the end"):
            decode_motion(payload + bytes(8), known, before)
        for first in (0x05, 0x13, 0x33, 0xFF):
            with pytest.raises(CorruptStream):
                decode_motion(bytes([first]) + payload[1:], known, before)


def test_the_largest_differences_stay_within_32_bits() -> None:
    known = np.ones((9, 9, 9), bool)
    for sign in (1, -1):
        residuals = np.full((known.sum(), 3), sign << 20, np.int32)
        found = decode_motion(bytes([SPATIAL]) + encode_integers([residuals]), known, None)
        # Each node adds one difference to a mean of nodes of earlier passes.
        assert (sign * found).min() >= 1 << 20 and (sign * found).max() <= 22 << 20
