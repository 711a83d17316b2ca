"""The quantiser while fitting, and the dequantiser."""

from __future__ import annotations

import numpy as np
import pytest
import reference
from backends import down, ints, unset, up
from hypothesis import given, settings
from hypothesis import strategies as st
from taichi_vvc.kernels import quantize as quant

from taichi_vvc.coding import quantize

COUNT = 40
OFFSET = 1.25


def case() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Parameters, integer references and places (a permutation with gaps) of COUNT symbols."""
    rng = np.random.default_rng(0)
    return rng.standard_normal(COUNT) * 2, rng.integers(-4, 5, COUNT), rng.permutation(2 * COUNT)[:COUNT]


def quantized(
    mode: int, parameters: np.ndarray, step: float, first: int = 0, last: int = COUNT, seed: int = 3, iteration: int = 8
) -> tuple[np.ndarray, np.ndarray]:
    """Quantised residuals and flat values, which start at -100."""
    _, references, place = case()
    q, values = up(np.full(COUNT, -100.0)), up(np.full(2 * COUNT, -100.0))
    quant.quantize_fwd(
        first, last, mode, step, OFFSET, seed, iteration, up(parameters), up(references), ints(place), q, values
    )
    return down(q, COUNT), down(values, 2 * COUNT)


@pytest.mark.parametrize("mode", [quant.IDENTITY, quant.NOISE, quant.ROUND])
def test_values_are_dequantised_and_only_the_range_is_written(mode: int) -> None:
    parameters, references, place = case()
    q, values = quantized(mode, parameters, 0.3, 5, 31)
    own = np.zeros(COUNT, bool)
    own[5:31] = True
    # One rounding per operation, numbers below 4.
    np.testing.assert_allclose(values[place[own]], OFFSET + 0.3 * (references[own] + q[own]), atol=1e-6)
    assert (q[~own] == -100).all()
    assert (np.delete(values, place[own]) == -100).all()


def test_identity() -> None:
    parameters = case()[0]
    np.testing.assert_array_equal(quantized(quant.IDENTITY, parameters, 0.3)[0], parameters.astype(np.float32))


def test_rounding_goes_to_the_nearest_integer_and_ties_go_up() -> None:
    parameters = np.resize([-2.5, -1.5, -0.5, 0.5, 1.5, 2.5, -0.49, 0.49, -0.51, 0.51, 7.0, -7.0], COUNT)
    expected = [-2, -1, 0, 1, 2, 3, 0, 0, -1, 1, 7, -7]
    assert quantized(quant.ROUND, parameters, 0.3)[0].tolist() == np.resize(expected, COUNT).tolist()


def test_noise_is_uniform_and_bounded_without_bias() -> None:
    count = 20000
    zeros, place, q, values = up(np.zeros(count)), ints(np.arange(count)), unset(count), unset(count)
    quant.quantize_fwd(0, count, quant.NOISE, 0.3, 0.0, 11, 5, zeros, zeros, place, q, values)
    noise = down(q, count).astype(np.float64)
    assert noise.min() >= -0.5 and noise.max() < 0.5
    assert noise[:50].tolist() == [reference.uniform(11, 5, i) - 0.5 for i in range(50)]
    # Five standard errors of mean and variance of uniform numbers.
    assert abs(noise.mean()) < 5 * np.sqrt(1 / 12 / count)
    assert abs(noise.var() - 1 / 12) < 5 * np.sqrt(1 / 180 / count)
    # Ten equal classes: each count is binomial with a standard deviation of 42.
    assert np.abs(np.histogram(noise, 10, (-0.5, 0.5))[0] - count / 10).max() < 5 * 43
    # Neighbours are uncorrelated (standard deviation of the estimate: 0.007).
    assert abs(np.corrcoef(noise[:-1], noise[1:])[0, 1]) < 0.036


def test_noise_depends_on_seed_and_iteration_only() -> None:
    parameters = case()[0]
    first = quantized(quant.NOISE, parameters, 0.3)[0]
    np.testing.assert_array_equal(first, quantized(quant.NOISE, parameters, 0.3)[0])
    assert not np.array_equal(first, quantized(quant.NOISE, parameters, 0.3, iteration=9)[0])
    assert not np.array_equal(first, quantized(quant.NOISE, parameters, 0.3, seed=4)[0])
    # A symbol's noise is tied to its number, not to the range that the launch covers.
    np.testing.assert_array_equal(first[10:20], quantized(quant.NOISE, parameters, 0.3, 10, 20)[0][10:20])


@pytest.mark.parametrize("grid", [0, 1])
def test_dequantiser_is_the_kernels(grid: int) -> None:
    _, references, place = case()
    values = unset(2 * COUNT)
    quant.quantize_fwd(
        0,
        COUNT,
        quant.ROUND,
        0.3,
        quantize.grid_offset(grid),
        0,
        0,
        up(np.zeros(COUNT)),
        up(references),
        ints(place),
        unset(COUNT),
        values,
    )
    decoded = quantize.grid_values(references.astype(np.int32), 0.3, grid)
    # A GPU may fuse the product and the sum.
    np.testing.assert_allclose(down(values, 2 * COUNT)[place], decoded, atol=3e-7)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.floats(-100, 100, width=32), min_size=1, max_size=20), st.sampled_from([0.5, 0.01, 1 / 64]))
def test_tensors_are_rounded_to_the_nearest_step(values: list[float], step: float) -> None:
    tensor = np.array(values, np.float32)
    (symbols,) = quantize.quantize_tensors((tensor,), step)
    assert symbols.dtype == np.int32
    (again,) = quantize.tensor_values((symbols,), step)
    # Half a step, and one rounding of a float32 of up to 100.
    assert np.abs(again - tensor).max() <= step / 2 + 1e-5
    np.testing.assert_array_equal(quantize.quantize_tensors((again,), step)[0], symbols)
