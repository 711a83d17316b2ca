"""The pass over all symbols: quantiser, its adjoint, rate and Adam, against NumPy, on the backend under test."""

from __future__ import annotations

import numpy as np
import pytest
import reference
from backends import BACKEND, down, gradient_of, ints, runtime, unset, up
from taichi_vvc.kernels import quantize, update
from taichi_vvc.kernels.columns import SymbolGrid

from taichi_vvc.fit.parameters import Blocks, LiveSymbols, quantize_symbols, update_symbols

# Grids of many, one, none and few symbols; blocks of the CPU and of a GPU end within them.
SIZES = (148, 4, 0, 72)
ENDS = np.cumsum(SIZES)
RANGES = [(int(end) - size, int(end)) for end, size in zip(ENDS, SIZES, strict=True)]
COUNT = int(ENDS[-1])
GRID = np.repeat(np.arange(4), SIZES)
STEPS, OFFSETS = np.array([0.3, 0.7, 0.5, 0.2]), np.array([1.25, 0.0, 0.0, 0.5])
BETA1, BETA2 = 0.9, 0.99
# On the CPU vectors of sixteen symbols, too, and places in fours.
PATHS = ["scalars", "lanes", "fours"] if BACKEND == "cpu" else ["scalars"]


def case(name: str = "scalars") -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Parameters, integer references and places (a permutation with gaps; of fours for ``fours``)."""
    rng = np.random.default_rng(0)
    parameters, references = rng.standard_normal(COUNT) * 2, rng.integers(-4, 5, COUNT)
    if name == "fours":
        first = 4 * rng.permutation(COUNT // 2)[: COUNT // 4]
        return parameters, references, (first[:, None] + np.arange(4)).reshape(-1)
    return parameters, references, rng.permutation(2 * COUNT)[:COUNT]


def symbols_of(name: str, parameters: np.ndarray) -> LiveSymbols:
    """Symbols as a fit holds them."""
    _, references, place = case(name)
    fours = ints(place[::4] // 4) if name == "fours" else None
    zeros = [up(np.zeros(COUNT)) for _ in range(3)]
    arrays = up(parameters), *zeros, unset(COUNT), up(references), ints(place)
    return LiveSymbols((), tuple(RANGES), *arrays, Blocks.of(runtime(), RANGES), fours)


def quantized(name: str, mode: int, parameters: np.ndarray, steps: np.ndarray = STEPS) -> tuple[np.ndarray, np.ndarray]:
    """Levels and flat values, which start at -100."""
    s, values = symbols_of(name, parameters), up(np.full(2 * COUNT, -100.0))
    columns = {SymbolGrid.STEP: steps, SymbolGrid.OFFSET: OFFSETS}
    if name == "scalars":
        where = *s.blocks.launch(runtime(), columns), mode, 3, 8
        update.quantize_symbols(*where, s.parameters, s.reference, s.place, s.levels, values)
    else:
        quantize_symbols(runtime(), s, values, columns, mode, 3, 8)
    return down(s.levels, COUNT), down(values, 2 * COUNT)


@pytest.mark.parametrize("name", PATHS)
@pytest.mark.parametrize("mode", [quantize.IDENTITY, quantize.NOISE, quantize.ROUND])
def test_every_symbol_is_dequantised_with_its_grid(mode: int, name: str) -> None:
    parameters, references, place = case(name)
    levels, values = quantized(name, mode, parameters)
    residual = {
        quantize.IDENTITY: parameters,
        quantize.NOISE: parameters + [reference.uniform(3, 8, i) - 0.5 for i in range(COUNT)],
        quantize.ROUND: np.floor(parameters + 0.5),
    }[mode]
    np.testing.assert_allclose(levels, references + residual, atol=2e-6)
    np.testing.assert_allclose(values[place], OFFSETS[GRID] + STEPS[GRID] * levels, atol=2e-6)
    assert (np.delete(values, place) == -100).all()


def updated(
    name: str, d_values: np.ndarray, rate: int = update.NO_RATE, magnitude: float = 0.0, moments: float = 0.0
) -> dict[str, np.ndarray]:
    """All that one pass changes, after the noisy quantiser; every grid learns at its own rate."""
    parameters = case(name)[0]
    s, d = symbols_of(name, parameters), up(d_values)
    for array in (s.moment1, s.moment2):
        array.fill(moments)
    s.levels = up(quantized(name, quantize.NOISE, parameters)[0])
    columns = {
        SymbolGrid.STEP: STEPS,
        SymbolGrid.SPEED: 0.1 * (1 + np.arange(4)),
        SymbolGrid.MAGNITUDE: magnitude * np.arange(4),
        SymbolGrid.RATE: rate,
        SymbolGrid.RATE_WEIGHT: 0.25,
        SymbolGrid.LARGEST: 4,
        SymbolGrid.BETA1: BETA1,
        SymbolGrid.BETA2: BETA2,
        SymbolGrid.CORRECTION: 1.0,
        SymbolGrid.EPSILON: 1e-8,
    }
    rows, table = ints(GRID % 3 * 10), up(slopes() if rate == update.TABLES else given())
    if name == "scalars":
        arrays = s.moment1, s.moment2, s.parameters, s.blocks.d_step
        where = s.blocks.launch(runtime(), columns)
        update.update_symbols(*where, s.place, d, s.levels, rows, table, *arrays)
    else:
        s.gradient = table if rate == update.GIVEN else unset(COUNT)
        update_symbols(runtime(), s, d, columns, rows, table)
    found = {name: down(getattr(s, name), COUNT) for name in ("moment1", "moment2", "parameters")}
    return found | {"d_values": down(d, 2 * COUNT), "d_step": s.blocks.step_gradients(runtime())}


def lengths() -> np.ndarray:
    """Code lengths (3, 9) of three tables."""
    return np.random.default_rng(1).uniform(0.1, 9, (3, 9))


def slopes() -> np.ndarray:
    """Their derivatives (3, 10): below -4, between each integer and the next, above 4."""
    ends = np.full((3, 1), 2.5)
    return np.concatenate([-ends, np.diff(lengths()), ends], axis=1)


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
    parameters, _, place = case(name)
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
    weights, place = loss_weights().astype(np.float32), case(name)[2]
    left = updated(name, weights)["d_values"]
    assert (left[place] == 0).all()
    np.testing.assert_array_equal(np.delete(left, place), np.delete(weights, place))


@pytest.mark.parametrize("name", PATHS)
def test_gradient_of_the_steps(name: str) -> None:
    parameters, _, place = case(name)
    weights = loss_weights()

    def loss(steps: np.ndarray) -> float:
        values = quantized(name, quantize.NOISE, parameters, steps)[1]
        return float(values[place].astype(np.float64) @ weights[place])

    # Values are linear in the steps.
    np.testing.assert_allclose(updated(name, weights)["d_step"], gradient_of(loss, STEPS, 0.1), atol=2e-3)


def test_a_whole_number_survives_its_two_floats() -> None:
    rows = Blocks.of(runtime(), [(0, 40_000_003), (40_000_003, 40_000_007)]).rows
    whole = rows[:, :8:2].astype(np.int64) * SymbolGrid.SPLIT + rows[:, 1:8:2].astype(np.int64)
    assert whole[:, 1:3].tolist() == [[0, 40_000_003], [40_000_003, 40_000_007]]
