"""Adam against torch's, on the backend under test."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from backends import down, up
from taichi_vvc.kernels import adam

BETA1, BETA2, RATE = 0.9, 0.99, 0.05


@pytest.mark.parametrize("epsilon", [1e-15, 1e-8, 0.1])
def test_several_steps_equal_those_of_torch(epsilon: float) -> None:
    rng = np.random.default_rng(0)
    start = rng.standard_normal(30)
    theirs = torch.from_numpy(start.copy()).requires_grad_()
    optimizer = torch.optim.Adam([theirs], lr=RATE, betas=(BETA1, BETA2), eps=epsilon)
    parameters, first, second = up(start), up(np.zeros(30)), up(np.zeros(30))
    for t in range(1, 9):
        gradient = rng.standard_normal(30) * 10.0 ** rng.integers(-4, 3, 30)
        theirs.grad = torch.from_numpy(gradient)
        optimizer.step()
        correction1, correction2 = 1 / (1 - BETA1**t), 1 / (1 - BETA2**t)
        adam.adam_step(
            0, 30, RATE * correction1, BETA1, BETA2, correction2, epsilon, up(gradient), first, second, parameters
        )
        # A step is at most a few times the rate; each is good to a few float32 roundings.
        np.testing.assert_allclose(down(parameters, 30), theirs.detach().numpy(), atol=2e-6 * t)
    assert np.abs(down(parameters, 30) - start).min() > 1e-6


def test_only_the_range_is_updated_and_a_zero_gradient_keeps_still() -> None:
    gradient, parameters, first, second = up([1.0, 0.0, 1.0, 1.0]), up(np.ones(4)), up(np.zeros(4)), up(np.zeros(4))
    adam.adam_step(1, 3, 0.5, BETA1, BETA2, 1.0, 1e-15, gradient, first, second, parameters)
    # m = 0.1, v = 0.01: the move is rate * m / sqrt(v).
    np.testing.assert_allclose(down(parameters, 4), [1.0, 1.0, 0.5, 1.0], atol=1e-6)
    np.testing.assert_allclose(down(first, 4), [0, 0, 0.1, 0], atol=1e-7)
    np.testing.assert_allclose(down(second, 4), [0, 0, 0.01, 0], atol=1e-8)
