"""Fully connected layers and the two-layer perceptrons, row by row and in blocks, against torch and differences."""

from __future__ import annotations

import numpy as np
import pytest
import reference
import torch
from backends import BACKEND, down, random_mlp, runtime, slope, small_layout, unset, up
from taichi_vvc.kernels import mlp_gpu

from taichi_vvc.field import mlp
from taichi_vvc.field.mlp import (
    Lanes,
    Perceptron,
    flatten,
    lanes_backward,
    lanes_forward,
    mlp_backward,
    mlp_forward,
    packed,
    perceptrons,
    unflatten,
)
from taichi_vvc.field.workspace import Workspace

# Rows run on every backend; on the CPU samples pass in blocks.
PATHS = ["kernels", "lanes"] if BACKEND == "cpu" else ["kernels"]
MLP = Perceptron(5, 7, 3, 4)
SHAPE = Lanes.of(MLP)
ROWS = 300  # more than one chunk of 256 rows per thread of the weight gradient


def blocks_of(rows: np.ndarray, shift: int) -> np.ndarray:
    """Rows in blocks; NaN in the columns that pad them, 0 behind the last sample."""
    array = up(np.full(mlp.in_blocks(len(rows), shift), np.nan))
    mlp.to_blocks(rows.astype(np.float32), array, shift)
    return array


def case(seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Flat weights (with 4 foreign numbers in front), inputs and gradients of the outputs."""
    rng = np.random.default_rng(seed)
    weights = rng.standard_normal(MLP.end) * 0.7
    return weights, rng.standard_normal((ROWS, 5)), rng.standard_normal((ROWS, 3))


def forward(name: str, weights: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Outputs."""
    if name == "lanes":
        y = unset(mlp.in_blocks(len(x), SHAPE.outputs))
        lanes_forward(MLP, len(x), packed(runtime(), MLP, weights), blocks_of(x, SHAPE.inputs), y)
        return mlp.from_blocks(y, len(x), SHAPE.outputs)[:, :3]
    hidden, y = unset(len(x) * 7), unset(len(x) * 3)
    mlp_forward(len(x), MLP, up(weights), up(x.reshape(-1)), hidden, y)
    return down(y, len(x), 3)


def backward(
    name: str, weights: np.ndarray, x: np.ndarray, d_y: np.ndarray, frozen: bool = False, needed: int = 5
) -> tuple[np.ndarray, np.ndarray]:
    """Gradients of the inputs and, added to ones, of the flat weights."""
    gradient = up(np.ones(MLP.end))
    if name == "lanes":
        d_x, ws = unset(mlp.in_blocks(len(x), mlp.shift_of(needed))), Workspace(runtime())
        # Nothing of it may be read before it is written.
        for buffer in (ws.d_hidden, ws.d_packed):
            buffer.get(1 << 16).fill(np.nan)
        lanes_backward(
            MLP,
            len(x),
            needed,
            packed(runtime(), MLP, weights),
            blocks_of(x, SHAPE.inputs),
            blocks_of(d_y, SHAPE.outputs),
            d_x,
            None if frozen else gradient,
            ws,
        )
        return mlp.from_blocks(d_x, len(x), mlp.shift_of(needed))[:, :needed], down(gradient, MLP.end)
    hidden, y, d_x = unset(len(x) * 7), unset(len(x) * 3), unset(x.size)
    flat = up(weights), up(x.reshape(-1))
    mlp_forward(len(x), MLP, flat[0], flat[1], hidden, y)
    part = None if frozen else gradient
    mlp_backward(len(x), MLP, flat[0], flat[1], hidden, up(d_y.reshape(-1)), d_x, part, unset(len(x) * 7))
    return down(d_x, *x.shape), down(gradient, MLP.end)


@pytest.mark.parametrize("relu", [0, 1])
def test_layer_equals_its_twin(relu: int) -> None:
    weights, x, _ = case()
    y = unset(ROWS * 4)
    mlp_gpu.dense_fwd(ROWS, 5, 4, relu, up(x.reshape(-1)), up(weights), 3, 30, y)
    expected = x @ weights[3:23].reshape(5, 4) + weights[30:34]
    np.testing.assert_allclose(down(y, ROWS, 4), np.maximum(expected, 0) if relu else expected, atol=5e-6)


@pytest.mark.parametrize("chunk", [1, 7, 256])
def test_weight_gradient_does_not_depend_on_the_chunk(chunk: int) -> None:
    _, x, d_y = case()
    gradient = up(np.zeros(30))
    mlp_gpu.dense_bwd_weight(ROWS, 5, 3, chunk, up(x.reshape(-1)), up(d_y.reshape(-1)), gradient, 2, 20)
    expected = np.zeros(30)
    expected[2:17], expected[20:23] = (x.T @ d_y).reshape(-1), d_y.sum(axis=0)
    # Sums of 300 terms of order 1 in float32, in any order.
    np.testing.assert_allclose(down(gradient, 30), expected, atol=2e-4)


@pytest.mark.parametrize("name", PATHS)
def test_perceptron_equals_its_twin(name: str) -> None:
    weights, x, _ = case()
    y = forward(name, weights, x)
    w1, b1, w2, b2 = MLP.views(weights)
    # Seven products of order 1 in float32, twice.
    np.testing.assert_allclose(y, reference.perceptron(x, w1, b1, w2, b2), atol=1e-5)


@pytest.mark.parametrize("name", PATHS)
def test_gradients_equal_torch_autograd(name: str) -> None:
    weights, x, d_y = case(1)
    flat = torch.from_numpy(weights).requires_grad_()
    inputs = torch.from_numpy(x).requires_grad_()
    w1, b1, w2, b2 = (flat[a:b] for a, b in zip(MLP.offsets, (*MLP.offsets[1:], MLP.end), strict=True))
    y = torch.relu(inputs @ w1.reshape(5, 7) + b1) @ w2.reshape(7, 3) + b2
    (y * torch.from_numpy(d_y)).sum().backward()
    d_x, gradient = backward(name, weights, x, d_y)
    assert inputs.grad is not None and flat.grad is not None
    np.testing.assert_allclose(d_x, inputs.grad.numpy(), atol=2e-5)
    # Sums of 300 terms; the gradient is added to ones, and what lies in front of the tensors stays.
    np.testing.assert_allclose(gradient - 1, flat.grad.numpy(), atol=5e-4)
    assert (gradient[:4] == 1).all()


@pytest.mark.parametrize("name", PATHS)
def test_gradients_equal_finite_differences(name: str) -> None:
    weights, x, d_y = case(2)
    rng = np.random.default_rng(3)
    # Rows with an activation near the kink of the ReLU have no derivative to compare with.
    w1, b1 = MLP.views(weights)[:2]
    smooth = np.abs(x @ w1 + b1).min(axis=1) > 0.1
    x, d_y = x[smooth], d_y[smooth]
    assert len(x) > 50
    d_x, gradient = backward(name, weights, x, d_y)

    def of_weights(v: np.ndarray) -> float:
        return float((forward(name, v, x).astype(np.float64) * d_y).sum())

    def of_inputs(v: np.ndarray) -> float:
        return float((forward(name, weights, v).astype(np.float64) * d_y).sum())

    for _ in range(3):
        # Quadratic (weights) or linear (inputs) between the kinks, so that only rounding disturbs the difference.
        direction = rng.uniform(-1, 1, MLP.end)
        assert (gradient - 1.0) @ direction == pytest.approx(slope(of_weights, weights, direction, 0.01), abs=0.02)
        towards = rng.uniform(-1, 1, x.shape)
        assert (d_x * towards).sum() == pytest.approx(slope(of_inputs, x, towards, 0.01), abs=0.02)


@pytest.mark.parametrize("name", PATHS)
def test_a_frozen_network_still_has_an_input_gradient(name: str) -> None:
    weights, x, d_y = case(4)
    d_x, gradient = backward(name, weights, x, d_y, frozen=True)
    np.testing.assert_array_equal(d_x, backward(name, weights, x, d_y)[0])
    assert (gradient == 1).all() and np.abs(d_x).max() > 0.1


@pytest.mark.parametrize("name", PATHS)
def test_no_rows(name: str) -> None:
    weights, x, d_y = case()
    _, gradient = backward(name, weights, x[:0], d_y[:0])
    assert (gradient == 1).all()


@pytest.mark.skipif(BACKEND != "cpu", reason="only the CPU works in blocks")
@pytest.mark.parametrize("rows", [1, 15, 16, 17, 300, 3000])
def test_blocks_equal_rows(rows: int) -> None:
    weights, _, _ = case(5)
    rng = np.random.default_rng(rows)
    x, d_y = rng.standard_normal((rows, 5)), rng.standard_normal((rows, 3))
    np.testing.assert_allclose(forward("lanes", weights, x), forward("kernels", weights, x), atol=1e-5)
    for ours, theirs in zip(backward("lanes", weights, x, d_y), backward("kernels", weights, x, d_y), strict=True):
        # Sums over all rows in another order.
        np.testing.assert_allclose(ours, theirs, atol=1e-6 * rows + 1e-4)


@pytest.mark.skipif(BACKEND != "cpu", reason="only the CPU works in blocks")
def test_only_the_inputs_that_are_needed_get_a_gradient() -> None:
    weights, x, d_y = case(6)
    few, all_of_them = (backward("lanes", weights, x, d_y, needed=n) for n in (2, 5))
    np.testing.assert_allclose(few[0], all_of_them[0][:, :2], atol=1e-5)
    np.testing.assert_allclose(few[1], all_of_them[1], atol=2e-4)


@pytest.mark.skipif(BACKEND != "cpu", reason="only the CPU works in blocks")
def test_blocks_are_reproducible() -> None:
    weights, x, d_y = case(7)
    first = backward("lanes", weights, x, d_y)
    for _ in range(3):
        for a, b in zip(first, backward("lanes", weights, x, d_y), strict=True):
            np.testing.assert_array_equal(a, b)


def test_tensors_survive_flattening() -> None:
    layout = small_layout()
    tensors = random_mlp(layout, 0)
    flat = flatten(tensors)
    for a, b in zip(unflatten(layout, flat), tensors, strict=True):
        np.testing.assert_array_equal(a, b)
    projection, colour = perceptrons(layout)
    assert (colour.start, colour.end) == (projection.end, flat.size)
    for a, b in zip(projection.views(flat) + colour.views(flat), tensors, strict=True):
        np.testing.assert_array_equal(a.reshape(b.shape), b)
