"""Invalid arguments of internal functions are refused with a message."""

from __future__ import annotations

import dataclasses

import backends
import numpy as np
import pytest
import streams
from backends import runtime

from taichi_vvc.bitstream import GroupHeader
from taichi_vvc.coding import choose_tables, entropy, tables
from taichi_vvc.coding.entropy import decode_grid, decode_mask
from taichi_vvc.coding.headers import pack_group, unpack_group
from taichi_vvc.coding.quantize import quantize_tensors
from taichi_vvc.errors import BackendError, ConfigError, CorruptStream, DataError
from taichi_vvc.measure.baselines import quantisation_table
from taichi_vvc.media import metrics
from taichi_vvc.runtime import start

SHAPE = (4, 5, 6, 2)


ZEROS = np.zeros(SHAPE, np.int32)


@pytest.mark.parametrize(
    "change, what",
    [
        ({"residual": np.zeros((4, 5, 6), np.int32)}, "symbols and a bool live set"),
        ({"residual": np.zeros((5, 4, 6, 2), np.int32)}, "symbols and a bool live set"),
        ({"live": np.ones((4, 5, 6), np.uint8)}, "symbols and a bool live set"),
        ({"live": np.ones((4, 5, 7), bool)}, "symbols and a bool live set"),
        ({"known": entropy.Known(None, np.zeros((4, 5, 6, 3), np.int32))}, "a reference of shape"),
        (
            {"known": entropy.Known(np.zeros((4, 5, 7, 2), np.int32), np.zeros(SHAPE, np.int32))},
            "a previous residual of",
        ),
        ({"known": entropy.Known(ZEROS)}, "a reference beside the previous residual"),
    ],
)
def test_grids_that_do_not_fit_together(change: dict, what: str) -> None:
    given = {"residual": np.zeros(SHAPE, np.int32), "live": np.ones(SHAPE[:3], bool), "known": entropy.NOTHING}
    choose_tables.check(**given, model="context")
    with pytest.raises(ValueError, match=f"expected .*{what}"):
        choose_tables.check(**{**given, **change}, model="context")


@pytest.mark.parametrize("change", [(0, 5), (3, -1), (16, 1)])
def test_tables_are_positive_and_sum_to_2_to_the_24(change: tuple[int, int]) -> None:
    """The range coder would quietly make another table of them, on this machine or another."""
    table = tables.context_tables(np.array([[40, 30, 20]]))
    entropy.exact_models(table)
    place, more = change
    wrong = table.copy()
    wrong[0, place] += more
    zero = table.copy()
    zero[0, 0] += zero[0, place]
    zero[0, place] = 0 if place else zero[0, place]
    for broken in (wrong, zero) if place else (wrong,):
        with pytest.raises(AssertionError, match=r"positive and sum to 2.24"):
            entropy.exact_models(broken)


def test_payloads_without_what_they_need() -> None:
    live = np.ones(SHAPE[:3], bool)
    with pytest.raises(CorruptStream, match="expected an entropy-coded grid, found no bytes"):
        decode_grid(b"", SHAPE, live)
    payload = entropy.encode_grid(np.ones(SHAPE, np.int32), live).payload
    for length in (2, 3, 4):
        with pytest.raises(CorruptStream, match="expected whole 32-bit words"):
            decode_grid(payload[:length], SHAPE, live)
    with pytest.raises(CorruptStream, match="no symbols in a grid without live nodes"):
        decode_grid(payload, SHAPE, ~live)
    with pytest.raises(CorruptStream, match="no symbols in a grid without live nodes"):
        decode_grid(payload, (*SHAPE[:3], 0), live)
    # The mark of a grid of zeros is a whole payload.
    with pytest.raises(CorruptStream, match="an entropy model of this grid"):
        decode_grid(b"\x02\0\0\0\0", SHAPE, live)
    for more in (bytes(8), b"\1\2\3\4" * 3):
        with pytest.raises(CorruptStream, match="expected the end of entropy-coded data"):
            decode_grid(payload + more, SHAPE, live)
    mask = streams.blob((6, 7, 8))
    coded = entropy.encode_mask(mask, None)
    with pytest.raises(CorruptStream, match="whole 32-bit words"):
        decode_mask(coded[:-1], mask.shape, None)
    with pytest.raises(CorruptStream, match="expected the end of entropy-coded data"):
        decode_mask(coded + bytes(8), mask.shape, None)


def test_groups_of_another_layout() -> None:
    layout = backends.small_layout()
    mlp = backends.random_mlp(layout, 0)
    group = pack_group(0, 0, (0.25, 0.5, 0.125), quantize_tensors(mlp, 1 / 32), 1 / 32)
    assert len(unpack_group(group, layout).mlp) == 8
    steps, mlp_steps = group.grid_steps, group.mlp_steps
    wrong: list[GroupHeader] = [
        dataclasses.replace(group, grid_steps=steps[:2]),
        dataclasses.replace(group, grid_steps=(*steps, 0.5)),
        dataclasses.replace(group, mlp_steps=mlp_steps[:7]),
        dataclasses.replace(group, mlp_steps=(*mlp_steps, 0.5)),
    ]
    for broken in wrong:
        found = f"expected 3 grid steps and 8 MLP steps, found {len(broken.grid_steps)} and {len(broken.mlp_steps)}"
        with pytest.raises(CorruptStream, match=found):
            unpack_group(broken, layout)


def test_arrays_that_no_backend_can_address() -> None:
    with pytest.raises(BackendError, match=r"arrays under 2 GiB, found one of 2.0 GiB"):
        runtime().empty((1 << 29) + 1)
    with pytest.raises(BackendError, match=r"arrays under 2 GiB, found one of 8.0 GiB"):
        runtime().zeros(1 << 31, np.int32)


def test_backends_that_there_are_not() -> None:
    running = runtime().backend
    with pytest.raises(BackendError, match=r"expected a backend among auto, .*found 'abacus'"):
        start("abacus")
    other = "cuda" if running == "cpu" else "cpu"
    with pytest.raises(BackendError, match=f"expected backend '{other}', but '{running}' is running"):
        start(other)
    assert start(running) is start("auto") is runtime()


def test_pictures_of_different_sizes() -> None:
    small, large = np.zeros((4, 4, 3)), np.zeros((4, 5, 3))
    for compare in (metrics.psnr, metrics.ssim):
        with pytest.raises(DataError, match="different shapes"):
            compare(small, large)


@pytest.mark.parametrize("quality, fits", [(1, True), (99.9, True), (0.9, False), (100, False), (-5, False)])
def test_qualities_of_the_baseline(quality: float, fits: bool) -> None:
    if fits:
        assert (quantisation_table(quality) > 0).all()
        return
    with pytest.raises(ConfigError, match="a quality from 1 to below 100"):
        quantisation_table(quality)
