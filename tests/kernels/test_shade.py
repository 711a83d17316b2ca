"""Compositing, loss and the colour network's inputs and outputs, against torch (float64) and finite differences."""

from __future__ import annotations

import numpy as np
import pytest
import reference
import torch
import torch_model
from backends import down, gradient_of, ints, slope, unset, up
from taichi_vvc.kernels import shade

from taichi_vvc.field.shading import Background

STRIDE = 3
STEP = 1 / 24
# Samples per ray: none, one, several; the ray of 6 is opaque at its second sample, that of 5 passes no light at all.
LENGTHS = [0, 1, 6, 0, 5, 9, 2]
OPAQUE, BLOCKED = 2, 4
STARTS = np.concatenate([[0], np.cumsum(LENGTHS)])
RAYS, SAMPLES = len(LENGTHS), sum(LENGTHS)


def scene() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Projection rows (n, 3), colours (n, 3), distances (n,), backgrounds (rays, 3), colour gradients (rays, 3)."""
    rng = np.random.default_rng(0)
    projection = rng.standard_normal((SAMPLES, STRIDE)) * 1.5 + [2.0, 0, 0]
    projection[STARTS[OPAQUE] + 1, 0] = 30
    projection[STARTS[BLOCKED] : STARTS[BLOCKED + 1], 0] = 80
    rgb = rng.uniform(0, 1, (SAMPLES, 3))
    distances = np.concatenate([np.sort(rng.uniform(1, 9, n)) for n in LENGTHS])
    return projection, rgb, distances, rng.uniform(0, 1, (RAYS, 3)), rng.standard_normal((RAYS, 3))


def weighted(projection: np.ndarray, distances: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Weights, transmittance and depth by the kernel."""
    samples = np.full((SAMPLES, 4), np.nan)
    samples[:, 3] = distances
    weights, transmittance, depth = unset(SAMPLES), unset(RAYS), unset(RAYS)
    arrays = (ints(STARTS), up(projection.reshape(-1)), up(samples.reshape(-1)))
    shade.weights_fwd(RAYS, *arrays, STRIDE, STEP, weights, transmittance, depth)
    return down(weights, SAMPLES), down(transmittance, RAYS), down(depth, RAYS)


def composited(projection: np.ndarray, rgb: np.ndarray, distances: np.ndarray, background: np.ndarray) -> np.ndarray:
    """Colours (rays, 3) by the kernels."""
    weights, transmittance, _ = weighted(projection, distances)
    colour = unset(RAYS * 3)
    shade.composite_fwd(
        RAYS, ints(STARTS), up(weights), up(rgb.reshape(-1)), up(transmittance), up(background.reshape(-1)), colour
    )
    return down(colour, RAYS, 3)


def adjoint() -> tuple[np.ndarray, np.ndarray]:
    """Gradients of the raw densities (n,) and of the colours (n, 3) by the kernel."""
    projection, rgb, distances, background, d_colour = scene()
    weights, transmittance, _ = weighted(projection, distances)
    d_rgb, d_projection = unset(SAMPLES * 3), up(np.full(SAMPLES * STRIDE, 7.0))
    stored = (up(weights), up(rgb.reshape(-1)), up(transmittance), up(background.reshape(-1)), up(d_colour.reshape(-1)))
    shade.composite_bwd(
        RAYS, ints(STARTS), up(projection.reshape(-1)), STRIDE, STEP, *stored, d_rgb, d_projection
    )  # fmt: skip
    rows = down(d_projection, SAMPLES, STRIDE)
    assert (rows[:, 1:] == 7).all(), "only column 0 is written"
    return rows[:, 0], down(d_rgb, SAMPLES, 3)


def test_weights_and_colours_equal_their_twin() -> None:
    projection, rgb, distances, background, _ = scene()
    weights, transmittance, depth = weighted(projection, distances)
    colour = composited(projection, rgb, distances, background)
    for r in range(RAYS):
        own = slice(STARTS[r], STARTS[r + 1])
        expected = reference.composite_ray(projection[own, 0], rgb[own], distances[own], STEP, background[r])
        # Float32 sums of at most 9 numbers below 1; a GPU's exp and log add some 1e-6.
        np.testing.assert_allclose(colour[r], expected[0], atol=1e-5)
        np.testing.assert_allclose(weights[own], expected[1], atol=1e-5)
        assert transmittance[r] == pytest.approx(expected[2], abs=1e-5)
        assert depth[r] == pytest.approx(expected[3], abs=1e-4)


def test_empty_opaque_and_blocked_rays() -> None:
    projection, rgb, distances, background, _ = scene()
    weights, transmittance, depth = weighted(projection, distances)
    colour = composited(projection, rgb, distances, background)
    empty = np.array(LENGTHS) == 0
    assert (transmittance[empty] == 1).all() and (depth[empty] == 0).all()
    np.testing.assert_array_equal(colour[empty], background[empty].astype(np.float32))
    assert transmittance[BLOCKED] == 0
    np.testing.assert_allclose(colour[BLOCKED], rgb[STARTS[BLOCKED]], atol=1e-6)
    assert (weights[STARTS[OPAQUE] + 2 : STARTS[OPAQUE + 1]] < 1e-9).all()
    # What is absorbed and what passes make up the whole.
    sums = np.add.reduceat(np.append(weights, 0), STARTS[:-1]) * ~empty
    np.testing.assert_allclose(sums + transmittance, 1, atol=1e-6)


def test_extreme_densities_do_not_overflow() -> None:
    projection, rgb, distances, background, _ = scene()
    projection[:, 0] = np.resize([-1e4, 1e4, 200.0, -200.0], SAMPLES)
    assert np.isfinite(composited(projection, rgb, distances, background)).all()


def test_adjoint_equals_torch_autograd() -> None:
    projection, rgb, _, background, d_colour = scene()
    raw, colours = torch_model.doubles([projection[:, 0], rgb])
    colour = torch_model.composited(raw, colours, STARTS, STEP, background)
    (colour * torch.from_numpy(d_colour)).sum().backward()
    expected_raw, expected_rgb = torch_model.gradients([raw, colours])
    d_raw, d_rgb = adjoint()
    # Gradients of order 1, from float32 weights that are good to 1e-6, times the slope of the density of about 2.
    np.testing.assert_allclose(d_raw, expected_raw, atol=2e-5)
    np.testing.assert_allclose(d_rgb, expected_rgb, atol=1e-5)
    assert np.abs(d_raw).max() > 0.1


def test_adjoint_equals_finite_differences() -> None:
    projection, rgb, distances, background, d_colour = scene()
    d_raw, d_rgb = adjoint()

    def twin(values: np.ndarray) -> float:
        total = 0.0
        for r in range(RAYS):
            own = slice(STARTS[r], STARTS[r + 1])
            colour = reference.composite_ray(values[own, 0], values[own, 1:], distances[own], STEP, background[r])[0]
            total += float(colour @ d_colour[r])
        return total

    def kernel(values: np.ndarray) -> float:
        rows = np.concatenate([values[:, :1], projection[:, 1:]], axis=1)
        return float((composited(rows, values[:, 1:], distances, background).astype(np.float64) * d_colour).sum())

    at = np.concatenate([projection[:, :1], rgb], axis=1)
    found = np.concatenate([d_raw[:, None], d_rgb], axis=1)
    np.testing.assert_allclose(found, gradient_of(twin, at, 1e-5), atol=2e-5)
    rng = np.random.default_rng(1)
    for _ in range(3):
        direction = rng.uniform(-1, 1, at.shape)
        # Float32 outputs (errors of 1e-6) over a step of 0.02, and its cubic error.
        assert (found * direction).sum() == pytest.approx(slope(kernel, at, direction, 0.01), abs=2e-3)


def by_blocks(rows: np.ndarray) -> np.ndarray:
    """Rows (n, STRIDE) as blocks of sixteen samples, column by column."""
    padded = np.zeros((-(-len(rows) // 16) * 16, STRIDE))
    padded[: len(rows)] = rows
    return padded.reshape(-1, 16, STRIDE).transpose(0, 2, 1).reshape(-1)


@pytest.mark.parametrize("spread", [0.0, 0.7])
@pytest.mark.parametrize("stride", [STRIDE, -16 * STRIDE])
def test_the_fused_pass_equals_its_parts(stride: int, spread: float) -> None:
    projection, rgb, distances, _, _ = scene()
    behind = np.array([0.9, 0.3, 0.5])
    background = np.tile(behind, (RAYS, 1))
    targets = np.random.default_rng(2).uniform(0, 1, (RAYS, 4))
    weights, transmittance, _ = weighted(projection, distances)
    rows = projection.reshape(-1) if stride > 0 else by_blocks(projection)
    errors, d_rgb, d_rows = unset(RAYS), unset(SAMPLES * 3), up(np.full(rows.size, 7.0))
    given = [up(array.reshape(-1)) for array in (weights, rgb, transmittance, targets)]
    shade.composite_loss(
        RAYS, ints(STARTS), up(rows), stride, STEP, 0.3, *behind, spread, *given, errors, d_rgb, d_rows
    )  # fmt: skip
    difference = composited(projection, rgb, distances, background) - targets[:, :3]
    clear = transmittance - targets[:, 3]
    np.testing.assert_allclose(down(errors, RAYS), (difference**2).sum(axis=1) + spread * clear**2, atol=1e-5)
    d_rgb_parts, d_parts = unset(SAMPLES * 3), up(np.full(SAMPLES * STRIDE, 7.0))
    # The parts know backgrounds only: one that pulls at what passes as hard as the spread does.
    pull = 0.6 * difference
    background = background + (0.6 * spread * clear / (pull**2).sum(axis=1))[:, None] * pull
    stored = (*given[:3], up(background.reshape(-1)), up(pull.reshape(-1)))
    shade.composite_bwd(RAYS, ints(STARTS), up(projection.reshape(-1)), STRIDE, STEP, *stored, d_rgb_parts, d_parts)
    np.testing.assert_allclose(down(d_rgb), down(d_rgb_parts), atol=1e-6)
    expected = down(d_parts, SAMPLES, STRIDE)
    found = down(d_rows, rows.size)[: len(by_blocks(expected)) if stride < 0 else None]
    wanted = (
        expected.reshape(-1) if stride > 0 else np.where(by_blocks(np.ones((SAMPLES, STRIDE))), by_blocks(expected), 7)
    )
    np.testing.assert_allclose(found, wanted, atol=1e-5)


def test_the_error_is_the_mean_over_random_backgrounds() -> None:
    projection, rgb, distances, _, _ = scene()
    weights, transmittance, _ = weighted(projection, distances)
    rng = np.random.default_rng(6)
    alpha, own = rng.uniform(0, 1, (RAYS, 1)), rng.uniform(0, 1, (RAYS, 3))
    expected, draws = np.zeros(RAYS), 400
    for colour in rng.uniform(0, 1, (draws, 3)):
        shown = composited(projection, rgb, distances, np.tile(colour, (RAYS, 1)))
        expected += ((shown - own * alpha - colour * (1 - alpha)) ** 2).sum(axis=1) / draws
    uniform, errors = Background.uniform(), unset(RAYS)
    targets = np.concatenate([own * alpha + np.array(uniform.mean) * (1 - alpha), 1 - alpha], axis=1)
    given = [up(array.reshape(-1)) for array in (weights, rgb, transmittance, targets)]
    gradients = unset(SAMPLES * 3), up(np.zeros(projection.size))
    shade.composite_loss(
        RAYS, ints(STARTS), up(projection.reshape(-1)), STRIDE, STEP, 1.0, *uniform.mean, uniform.spread, *given,
        errors, *gradients
    )  # fmt: skip
    # Single errors are at most 3, their standard deviation below 0.8.
    np.testing.assert_allclose(down(errors, RAYS), expected, atol=5 * 0.8 / np.sqrt(draws))


def test_select_samples() -> None:
    rng = np.random.default_rng(3)
    weights = rng.uniform(0, 1, 400).astype(np.float32)
    weights[7] = np.float32(0.6)
    starts = np.array([0, 0, *np.sort(rng.integers(0, 400, 37)), 400, 400])
    # A ray without any, and one all of whose samples are taken.
    weights[starts[5] : starts[6]], weights[starts[9] : starts[10]] = 0.1, 0.9
    selected, counter = ints(np.full(400, -1)), ints([0])
    shade.select_samples(len(starts) - 1, ints(starts), up(weights), 0.6, selected, counter)
    expected = np.flatnonzero(weights > np.float32(0.6))
    assert down(counter, 1)[0] == len(expected)
    assert sorted(down(selected, len(expected)).tolist()) == expected.tolist()


def test_colour_inputs_and_their_adjoint() -> None:
    rng = np.random.default_rng(4)
    projection, directions = rng.standard_normal((SAMPLES, STRIDE)), rng.standard_normal((RAYS, 5))
    sample_ray = np.repeat(np.arange(RAYS), LENGTHS)
    selected = rng.permutation(SAMPLES)[:10]
    width = STRIDE - 1 + 5
    inputs = unset(10 * width)
    shade.colour_inputs_fwd(
        10, ints(selected), ints(sample_ray), up(projection.reshape(-1)), STRIDE, up(directions.reshape(-1)), 5, inputs
    )
    expected = np.concatenate([projection[selected, 1:], directions[sample_ray[selected]]], axis=1)
    np.testing.assert_array_equal(down(inputs, 10, width), expected.astype(np.float32))

    d_inputs, d_projection = rng.standard_normal((10, width)).astype(np.float32), up(np.full(SAMPLES * STRIDE, 7.0))
    shade.colour_inputs_bwd(10, ints(selected), STRIDE, 5, up(d_inputs.reshape(-1)), d_projection)
    rows = np.full((SAMPLES, STRIDE), 7, np.float32)
    rows[selected, 1:] = d_inputs[:, : STRIDE - 1]
    np.testing.assert_array_equal(down(d_projection, SAMPLES, STRIDE), rows)


def test_colour_outputs_and_their_adjoint() -> None:
    rng = np.random.default_rng(5)
    outputs, d_rgb = rng.standard_normal((6, 3)) * 3, rng.standard_normal((9, 3))
    outputs[0] = -100, 100, 0
    selected = np.array([8, 0, 3, 5, 1, 2])
    rgb, d_outputs = up(np.zeros(27)), unset(18)
    shade.colour_outputs_fwd(6, ints(selected), up(outputs.reshape(-1)), rgb)

    def sigmoid(x: np.ndarray) -> np.ndarray:
        return 1 / (1 + np.exp(-x))

    expected = np.zeros((9, 3))
    expected[selected] = sigmoid(outputs)
    np.testing.assert_allclose(down(rgb, 9, 3), expected, atol=1e-6)
    shade.colour_outputs_bwd(6, ints(selected), rgb, up(d_rgb.reshape(-1)), d_outputs)
    slopes = gradient_of(lambda x: float((sigmoid(x) * d_rgb[selected]).sum()), outputs, 1e-5)
    np.testing.assert_allclose(down(d_outputs, 6, 3), slopes, atol=2e-6)


def test_opacity_of_cells() -> None:
    rng = np.random.default_rng(6)
    projection = rng.standard_normal((30, STRIDE)) * 3 + 2
    cells = rng.integers(0, 30, (5, 8))
    target = np.array([9, 2, 0, 4, 11])
    opacity, peak = up(np.full(12, 7.0)), up(np.full(12, 7.0))
    shade.opacity_of_cells(
        5, ints(cells.reshape(-1)), ints(target), up(projection.reshape(-1)), STRIDE, 0.125, opacity, peak
    )
    tau = reference.density(projection[:, 0]) * 0.125
    lowest, highest = np.full((2, 12), 7.0)
    lowest[target], highest[target] = tau[cells].min(axis=1), tau[cells].max(axis=1)
    # The logarithm near 1 carries relative errors of up to 1e-3 on a GPU where the density is small.
    np.testing.assert_allclose(down(opacity, 12), lowest, rtol=1e-3, atol=1e-5)
    np.testing.assert_allclose(down(peak, 12), highest, rtol=1e-3, atol=1e-5)


def test_fill() -> None:
    array = up(np.zeros(9))
    shade.fill(5, array, 1.5)
    assert down(array, 9).tolist() == [1.5] * 5 + [0.0] * 4
