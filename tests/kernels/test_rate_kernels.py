"""Bit counts of real-valued symbols and their derivatives, against float64 twins and finite differences."""

from __future__ import annotations

import numpy as np
import pytest
import reference
from backends import down, ints, up
from taichi_vvc.kernels import rate

LARGEST, SLOPE = 4, 2.5
SCALES = np.array([0.005, 0.05, 0.3, 1.0, 20.0], np.float32)


def lengths() -> np.ndarray:
    """Code lengths (3, 9) of three tables."""
    return np.random.default_rng(0).uniform(0.1, 9, (3, 2 * LARGEST + 1)).astype(np.float32)


def table_bits(symbols: np.ndarray, tables: np.ndarray) -> float:
    """Total bits by the kernel."""
    return rate.table_rate_fwd(len(symbols), up(symbols), ints(tables), up(lengths().reshape(-1)), LARGEST, SLOPE)


def table_slopes(symbols: np.ndarray, tables: np.ndarray, weight: float = 1.0, start: float = 0.0) -> np.ndarray:
    """Derivatives by the kernel, added to ``start``."""
    gradient = up(np.full(len(symbols), start))
    rate.table_rate_bwd(
        len(symbols), up(symbols), ints(tables), up(lengths().reshape(-1)), LARGEST, SLOPE, weight, gradient
    )
    return down(gradient, len(symbols))


def table_symbols() -> np.ndarray:
    """Symbols on and between the integers, at both borders, beyond them and far away."""
    rng = np.random.default_rng(1)
    borders = [0, -0.0, 1, -1, 3.999, 4, 4.001, -3.999, -4, -4.001, 5, -5, 1e4, -1e4]
    return np.array([*borders, *rng.uniform(-6, 6, 60)], np.float32)


@pytest.mark.parametrize("table", [0, 1, 2])
def test_table_bits_equal_their_twin(table: int) -> None:
    for y in table_symbols():
        bits = table_bits(np.array([y]), np.array([table]))
        # Code lengths below 10 in float32; far away, relative to 25,000 bits.
        assert bits == pytest.approx(reference.table_bits(float(y), lengths()[table], SLOPE), rel=1e-6, abs=1e-5)


def test_table_bits_are_summed_over_symbols_and_tables() -> None:
    symbols = np.resize(table_symbols()[14:], 500)
    tables = np.arange(500) % 3
    expected = sum(reference.table_bits(float(y), lengths()[t], SLOPE) for y, t in zip(symbols, tables, strict=True))
    # A float32 sum of 500 numbers in any order.
    assert table_bits(symbols, tables) == pytest.approx(expected, rel=1e-5)


def test_table_derivative_equals_finite_differences() -> None:
    symbols = table_symbols()
    # Between integers the function is linear; at them it has no derivative to compare with.
    inner = np.abs(symbols - np.round(symbols)) > 0.02
    symbols = np.append(symbols[inner], np.array([100.5, -100.5], np.float32))
    for table in range(3):
        found = table_slopes(symbols, np.full(len(symbols), table), weight=0.5, start=2.0)
        for y, derivative in zip(symbols.astype(np.float64), found, strict=True):
            high, low = (reference.table_bits(y + d, lengths()[table], SLOPE) for d in (0.01, -0.01))
            assert derivative == pytest.approx(2.0 + 0.5 * (high - low) / 0.02, abs=1e-4)


def test_table_derivative_at_the_borders_points_inward() -> None:
    symbols = np.array([LARGEST, -LARGEST - 0.01, 1e4, -1e4])
    assert table_slopes(symbols, np.zeros(4)).tolist() == [SLOPE, -SLOPE, SLOPE, -SLOPE]


def test_the_kernels_own_difference_equals_its_derivative() -> None:
    for y in (0.4, -2.6, 3.7, 5.5):
        high, low = (table_bits(np.array([y + d]), np.array([1])) for d in (0.125, -0.125))
        assert table_slopes(np.array([y]), np.array([1]))[0] == pytest.approx((high - low) / 0.25, abs=1e-4)


def laplace_symbols() -> np.ndarray:
    """Symbols in and around the central interval, and far away."""
    rng = np.random.default_rng(2)
    return np.array([0, 0.25, -0.25, 0.499, 0.501, -0.499, -0.501, 1, -1, 30, -30, 1000, *rng.uniform(-4, 4, 20)])


def laplace_slopes(symbols: np.ndarray, tables: np.ndarray, weight: float, start: float = 0.0) -> np.ndarray:
    """Derivatives by the kernel, added to ``start``."""
    gradient = up(np.full(len(symbols), start))
    rate.laplace_rate_bwd(len(symbols), up(symbols), ints(tables), up(SCALES), weight, gradient)
    return down(gradient, len(symbols))


@pytest.mark.parametrize("table", range(len(SCALES)))
def test_laplace_bits_equal_their_twin(table: int) -> None:
    scale = float(SCALES[table])
    for y in laplace_symbols().astype(np.float32):
        bits = rate.laplace_rate_fwd(1, up([y]), ints([table]), up(SCALES))
        assert np.isfinite(bits)
        # 1 - exp(-1 / scale) loses digits for wide scales, and float32 differences y - 1/2 are divided by small ones.
        tolerance = 1e-5 + 3e-6 * scale + 2e-7 * (abs(float(y)) + 1) / scale
        assert bits == pytest.approx(reference.laplace_bits(float(y), scale), rel=1e-5, abs=tolerance)


@pytest.mark.parametrize("table", range(len(SCALES)))
def test_laplace_derivative_equals_finite_differences(table: int) -> None:
    scale = float(SCALES[table])
    symbols = laplace_symbols().astype(np.float32)
    # The second derivative jumps at +-1/2: not a place for central differences.
    symbols = symbols[np.abs(np.abs(symbols) - 0.5) > 0.002]
    found = laplace_slopes(symbols, np.full(len(symbols), table), weight=3.0, start=1.0)
    for y, derivative in zip(symbols.astype(np.float64), found, strict=True):
        width = 1e-4 * min(scale, 1.0)
        high, low = (reference.laplace_bits(y + d, scale) for d in (width, -width))
        expected = 1.0 + 3.0 * (high - low) / (2 * width)
        assert derivative == pytest.approx(expected, rel=2e-4, abs=2e-4)


def test_laplace_bits_are_summed_and_fall_towards_zero() -> None:
    symbols, tables = laplace_symbols(), np.resize([2, 3, 4], len(laplace_symbols()))
    total = rate.laplace_rate_fwd(len(symbols), up(symbols), ints(tables), up(SCALES))
    expected = sum(reference.laplace_bits(y, float(SCALES[t])) for y, t in zip(symbols, tables, strict=True))
    assert total == pytest.approx(expected, rel=1e-5)
    assert (laplace_slopes(symbols, tables, 1.0) * np.sign(symbols) >= 0).all()


def test_a_laplace_distribution_is_a_distribution() -> None:
    for table, scale in enumerate(SCALES):
        masses = [2.0 ** -rate.laplace_rate_fwd(1, up([y]), ints([table]), up(SCALES)) for y in range(-60, 61)]
        # What lies beyond +-60.5, and float32 bits.
        assert sum(masses) == pytest.approx(1 - np.exp(-60.5 / float(scale)), abs=1e-4)
