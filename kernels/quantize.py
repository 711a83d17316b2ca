"""Quantisation of the live symbols: noise while fitting, rounding in the end, and the adjoint.

Only live symbols are parameters: vectors of length ``count`` in symbol units, written into the flat grid array at
``place``. value = offset + step * (reference + q(parameter)).
"""

from ._taichi import F32, I32, ti
from .geometry import uniform
from .launch import kernel

IDENTITY = 0
NOISE = 1
ROUND = 2


@ti.func
def quantized_value(p: ti.f32, mode: ti.i32, seed: ti.i32, iteration: ti.i32, i: ti.i32) -> ti.f32:
    """Symbol i as the decoder would see it, or its noisy stand-in."""
    q = p
    if mode == NOISE:
        q += uniform(seed, iteration, i) - 0.5
    if mode == ROUND:
        # Not ti.round: backends disagree on ties.
        q = ti.floor(q + 0.5)
    return q


@kernel
def quantize_fwd(
    first: ti.i32,  # symbols first .. last - 1 belong to one grid
    last: ti.i32,
    mode: ti.i32,
    step: ti.f32,
    offset: ti.f32,
    seed: ti.i32,
    iteration: ti.i32,
    parameters: F32,  # (count,) residual, symbols
    reference: F32,  # (count,) integers as floats
    place: I32,  # (count,) index into values
    quantized: F32,  # out (count,) residual as the decoder would see it, or its noisy stand-in
    values: F32,  # out
):
    """Simulated (uniform noise on [-1/2, 1/2)) or real (nearest integer) quantisation of one grid."""
    for i in range(first, last):
        q = quantized_value(parameters[i], mode, seed, iteration, i)
        quantized[i] = q
        values[place[i]] = offset + step * (reference[i] + q)
