"""The pass over all symbols: quantiser, its adjoint, rate and Adam, against NumPy, on the backend under test."""

from __future__ import annotations

import numpy as np
import pytest
import reference
from backends import BACKEND, down, gradient_of, ints, runtime, unset, up
from taichi_vvc.kernels import quant, update

from taichi_vvc.livesymbols import Blocks
from taichi_vvc.mlp import vectors

# Grids of many, one, none and few symbols; blocks of the CPU and of a GPU end within them.
SIZES = (150, 1, 0, 70)
ENDS = np.cumsum(SIZES)
RANGES = [(int(end) - size, int(end)) for end, size in zip(ENDS, SIZES, strict=True)]
COUNT = int(ENDS[-1])
GRID = np.repeat(np.arange(4), SIZES)
STEPS, OFFSETS = np.array([0.3, 0.7, 0.5, 0.2]), np.array([1.25, 0.0, 0.0, 0.5])
BETA1, BETA2 = 0.9, 0.99
# On the CPU vectors of sixteen symbols, too.
PATHS = ["scalars", "lanes"] if BACKEND == "cpu" else ["scalars"]


def case() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Parameters, integer references and places (a permutation with gaps)."""
    rng = np.random.default_rng(0)
    return rng.standard_normal(COUNT) * 2, rng.integers(-4, 5, COUNT), rng.permutation(2 * COUNT)[:COUNT]


def quantized(mode: int, parameters: np.ndarray, steps: np.ndarray = STEPS) -> tuple[np.ndarray, np.ndarray]:
    """Levels and flat values, which start at -100."""
    _, references, place = case()
    blocks = Blocks.of(runtime(), RANGES)
    where = blocks.launch(runtime(), step=steps, offset=OFFSETS)
    levels, values = unset(COUNT), up(np.full(2 * COUNT, -100.0))
    update.quantize_symbols(*where, mode, 3, 8, up(parameters), up(references), ints(place), levels, values)
    return down(levels, COUNT), down(values, 2 * COUNT)


@pytest.mark.parametrize("mode", [quant.IDENTITY, quant.NOISE, quant.ROUND])
def test_every_symbol_is_dequantised_with_its_grid(mode: int) -> None:
    parameters, references, place = case()
    levels, values = quantized(mode, parameters)
    residual = {
        quant.IDENTITY: parameters,
        quant.NOISE: parameters + [reference.uniform(3, 8, i) - 0.5 for i in range(COUNT)],
        quant.ROUND: np.floor(parameters + 0.5),
    }[mode]
    np.testing.assert_allclose(levels, references + residual, atol=2e-6)
    np.testing.assert_allclose(values[place], OFFSETS[GRID] + STEPS[GRID] * levels, atol=2e-6)
    assert (np.delete(values, place) == -100).all()


def updated(
    name: str, d_values: np.ndarray, rate: int = update.NO_RATE, magnitude: float = 0.0, moments: float = 0.0
) -> dict[str, np.ndarray]:
    """All that one pass changes, after the noisy quantiser; every grid learns at its own rate."""
    parameters, _, place = case()
    blocks = Blocks.of(runtime(), RANGES)
    speeds = 0.1 * (1 + np.arange(4))
    where = blocks.launch(runtime(), step=STEPS, offset=OFFSETS, rate=speeds, magnitude=magnitude * np.arange(4))
    arrays = {name: up(np.full(COUNT, moments)) for name in ("moment1", "moment2")} | {"parameters": up(parameters)}
    d = up(d_values)
    levels = up(quantized(quant.NOISE, parameters)[0])
    table = lengths().reshape(-1) if rate == update.TABLES else given()
    numbers = rate, 0.25, 4, 2.5, BETA1, BETA2, 1.0, 1e-8
    symbols, kernel = tuple(arrays.values()), update.update_symbols
    if name == "lanes":
        # GIVEN and the scratch may be one array.
        scratch, kernel = up(table if rate == update.GIVEN else np.full(COUNT, np.nan)), update.update_symbols_lanes
        table = scratch if rate == update.GIVEN else up(table)
        symbols = (*symbols, scratch, *map(vectors, (*symbols, scratch)))
    else:
        table = up(table)
    kernel(*where, *numbers, ints(place), d, levels, ints(GRID % 3), table, *symbols, blocks.d_step)
    found = {name: down(array, COUNT) for name, array in arrays.items()}
    return found | {"d_values": down(d, 2 * COUNT), "d_step": blocks.step_gradients(runtime())}


def lengths() -> np.ndarray:
    """Code lengths (3, 9) of three tables."""
    return np.random.default_rng(1).uniform(0.1, 9, (3, 9))


def given() -> np.ndarray:
    """A gradient of the rate for each symbol."""
    return np.random.default_rng(2).standard_normal(COUNT)


def loss_weights() -> np.ndarray:
    """Gradient of the flat values."""
    return np.random.default_rng(3).standard_normal(2 * COUNT)


def table_slopes(parameters: np.ndarray) -> np.ndarray:
    """Derivative of the bits at each parameter, by central differences between the integers."""
    width = 1e-4

    def bits(at: np.ndarray) -> np.ndarray:
        return np.array([reference.table_bits(y, lengths()[t], 2.5) for y, t in zip(at, GRID % 3, strict=True)])

    return (bits(parameters + width) - bits(parameters - width)) / (2 * width)


@pytest.mark.parametrize("rate", [update.NO_RATE, update.TABLES, update.GIVEN])
@pytest.mark.parametrize("magnitude", [0.0, 0.5])
@pytest.mark.parametrize("name", PATHS)
def test_one_pass_is_adjoint_rate_and_adam(name: str, rate: int, magnitude: float) -> None:
    parameters, _, place = case()
    weights = loss_weights()
    found = updated(name, weights, rate, magnitude, moments=0.3)
    d = STEPS[GRID] * weights[place] + magnitude * GRID * np.sign(parameters)
    if rate == update.TABLES:
        d += 0.25 * table_slopes(parameters)
    if rate == update.GIVEN:
        d += given()
    first, second = 0.9 * 0.3 + 0.1 * d, 0.99 * 0.3 + 0.01 * d * d
    # Code lengths of up to 9 bits differ by float32 roundings, which a difference quotient magnifies.
    np.testing.assert_allclose(found["moment1"], first, atol=2e-4)
    np.testing.assert_allclose(found["moment2"], second, atol=2e-4)
    moved = parameters - 0.1 * (1 + GRID) * first / np.sqrt(second)
    np.testing.assert_allclose(found["parameters"], moved, atol=1e-3)


@pytest.mark.parametrize("name", PATHS)
def test_the_gradient_of_the_values_is_used_up(name: str) -> None:
    weights, place = loss_weights().astype(np.float32), case()[2]
    left = updated(name, weights)["d_values"]
    assert (left[place] == 0).all()
    np.testing.assert_array_equal(np.delete(left, place), np.delete(weights, place))


@pytest.mark.parametrize("name", PATHS)
def test_gradient_of_the_steps(name: str) -> None:
    parameters, _, place = case()
    weights = loss_weights()

    def loss(steps: np.ndarray) -> float:
        values = quantized(quant.NOISE, parameters, steps)[1]
        return float(values[place].astype(np.float64) @ weights[place])

    # Values are linear in the steps.
    np.testing.assert_allclose(updated(name, weights)["d_step"], gradient_of(loss, STEPS, 0.1), atol=2e-3)


def test_a_whole_number_survives_its_two_floats() -> None:
    rows = Blocks.of(runtime(), [(0, 40_000_003), (40_000_003, 40_000_007)]).rows
    whole = rows[:, :8:2].astype(np.int64) * update.SPLIT + rows[:, 1:8:2].astype(np.int64)
    assert whole[:, 1:3].tolist() == [[0, 40_000_003], [40_000_003, 40_000_007]]
