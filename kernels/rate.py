"""Differentiable bit counts of (noisy) symbols."""

from ._taichi import F32, I32, ti
from .launch import kernel

LOG2E = 1.4426950408889634


@ti.func
def table_cost(y: ti.f32, table: ti.i32, lengths: ti.template(), largest: ti.i32, slope: ti.f32):
    """Code length at a real-valued symbol, interpolated between the integers, and its derivative."""
    k = ti.floor(y)
    f = y - k
    i = ti.cast(k, ti.i32) + largest
    size = 2 * largest + 1
    row = table * size
    bits = 0.0
    derivative = 0.0
    if i < 0:
        bits = lengths[row] - slope * (y + ti.cast(largest, ti.f32))
        derivative = -slope
    elif i >= size - 1:
        bits = lengths[row + size - 1] + slope * (y - ti.cast(largest, ti.f32))
        derivative = slope
    else:
        a = lengths[row + i]
        b = lengths[row + i + 1]
        bits = a + f * (b - a)
        derivative = b - a
    return bits, derivative


@ti.func
def table_slope(y: ti.f32, row: ti.i32, slopes: ti.template(), largest: ti.i32) -> ti.f32:
    """The derivative of :func:`table_cost`, from a table's 2 * largest + 2 derivatives, which begin at ``row``.

    They are those below -largest, between each integer and the next, and above the largest.
    """
    i = ti.cast(ti.floor(y), ti.i32) + largest + 1
    return slopes[row + ti.select(i < 0, 0, ti.select(i > 2 * largest + 1, 2 * largest + 1, i))]


@kernel
def table_rate_fwd(
    count: ti.i32,
    symbols: F32,  # (count,)
    tables: I32,  # (count,) which table codes each symbol
    lengths: F32,  # (n_tables * (2 * largest + 1),) bits of -largest .. largest
    largest: ti.i32,
    slope: ti.f32,  # bits per unit beyond the largest
) -> ti.f32:
    """Total bits under the tables that the entropy coder would use now."""
    total = 0.0
    for i in range(count):
        bits, _ = table_cost(symbols[i], tables[i], lengths, largest, slope)
        total += bits
    return total


@kernel
def table_rate_bwd(
    count: ti.i32,
    symbols: F32,
    tables: I32,
    lengths: F32,
    largest: ti.i32,
    slope: ti.f32,
    weight: ti.f32,
    gradient: F32,  # in/out (count,)
):
    """Add ``weight`` times the derivative of :func:`table_rate_fwd`."""
    for i in range(count):
        _, derivative = table_cost(symbols[i], tables[i], lengths, largest, slope)
        gradient[i] = gradient[i] + weight * derivative


@ti.func
def laplace_cost(y: ti.f32, scale: ti.f32):
    """-log2 of a Laplace distribution's mass on [y - 1/2, y + 1/2], and its derivative.

    Outside the central interval the mass is exp(-|y| / b) sinh(1 / (2 b)), inside 1 - exp(-1 / (2 b)) cosh(y / b).
    """
    inverse = 1.0 / scale
    magnitude = ti.abs(y)
    sign = 1.0 if y >= 0.0 else -1.0
    bits = 0.0
    derivative = 0.0
    if magnitude >= 0.5:
        # log sinh(h) = h + log((1 - exp(-2 h)) / 2), which does not overflow for small scales
        log_sinh = 0.5 * inverse + ti.log(0.5 * (1.0 - ti.exp(-inverse)))
        bits = LOG2E * (magnitude * inverse - log_sinh)
        derivative = LOG2E * inverse * sign
    else:
        up = ti.exp((magnitude - 0.5) * inverse)
        down = ti.exp((-magnitude - 0.5) * inverse)
        mass = ti.max(1.0 - 0.5 * (up + down), 1e-12)
        bits = -LOG2E * ti.log(mass)
        derivative = LOG2E * sign * 0.5 * (up - down) * inverse / mass
    return bits, derivative


@kernel
def laplace_rate_fwd(count: ti.i32, symbols: F32, tables: I32, scales: F32) -> ti.f32:
    """Total bits under one Laplace distribution per table; ``scales`` (n_tables,) in symbols."""
    total = 0.0
    for i in range(count):
        bits, _ = laplace_cost(symbols[i], scales[tables[i]])
        total += bits
    return total


@kernel
def laplace_rate_bwd(count: ti.i32, symbols: F32, tables: I32, scales: F32, weight: ti.f32, gradient: F32):
    """Add ``weight`` times the derivative of :func:`laplace_rate_fwd` with respect to the symbols."""
    for i in range(count):
        _, derivative = laplace_cost(symbols[i], scales[tables[i]])
        gradient[i] = gradient[i] + weight * derivative
