"""Adam (Kingma and Ba 2015), one fused pass over a flat array."""

from ._taichi import F32, ti
from .launch import kernel


@kernel
def adam_step(
    first: ti.i32,
    last: ti.i32,
    rate: ti.f32,  # learning rate divided by (1 - beta1^t)
    beta1: ti.f32,
    beta2: ti.f32,
    correction: ti.f32,  # 1 / (1 - beta2^t)
    epsilon: ti.f32,
    gradient: F32,
    moment1: F32,  # in/out
    moment2: F32,  # in/out
    parameters: F32,  # in/out
):
    """Update elements first .. last - 1."""
    for i in range(first, last):
        g = gradient[i]
        m = beta1 * moment1[i] + (1.0 - beta1) * g
        v = beta2 * moment2[i] + (1.0 - beta2) * g * g
        moment1[i] = m
        moment2[i] = v
        # Not `-=`, which Taichi compiles to an atomic operation on arrays.
        parameters[i] = parameters[i] - rate * m / (ti.sqrt(v * correction) + epsilon)
