"""All live symbols of a fit in one pass: quantisation, and the way back through it with Adam's step.

Symbols are worked on in blocks that lie within one grid. A grid is a row of 16 floats: its first block, first symbol,
last symbol + 1 and number of blocks (two floats each: value // 4096 and the rest, exact far beyond 2^24), then
step, offset, learning rate divided by (1 - beta1^t), and weight of the magnitude.
"""

from ._taichi import F32, I32, ti
from .quant import quantized_value
from .rate import table_cost

ROW = 16
SPLIT = 4096
NO_RATE = 0
TABLES = 1
GIVEN = 2


@ti.func
def whole(grids: ti.template(), g: ti.i32, k: ti.i32) -> ti.i32:
    """Integer k of a grid's row."""
    return ti.cast(grids[g * 16 + 2 * k], ti.i32) * 4096 + ti.cast(grids[g * 16 + 2 * k + 1], ti.i32)


@ti.func
def grid_of(block: ti.i32, n_grids: ti.i32, grids: ti.template()) -> ti.i32:
    """The grid that a block belongs to."""
    g = 0
    while g < n_grids - 1 and block >= whole(grids, g + 1, 0):
        g += 1
    return g


@ti.func
def part_of(block: ti.i32, g: ti.i32, length: ti.i32, scattered: ti.i32, grids: ti.template()):
    """First symbol of a block, distance from one to the next, and their number.

    A block's symbols lie side by side on a CPU, and far apart on a GPU, so that its threads read side by side.
    """
    own = block - whole(grids, g, 0)
    first = whole(grids, g, 1)
    size = whole(grids, g, 2) - first
    along = 1
    start = own * length
    if scattered == 1:
        along = whole(grids, g, 3)
        start = own
    return first + start, along, ti.min(length, (size - start + along - 1) // along)


@ti.kernel
def quantize_symbols(
    blocks: ti.i32,
    length: ti.i32,
    scattered: ti.i32,
    n_grids: ti.i32,
    grids: F32,  # (n_grids * 16,)
    mode: ti.i32,
    seed: ti.i32,
    iteration: ti.i32,
    parameters: F32,  # (count,) residual, symbols
    reference: F32,  # (count,) integers as floats
    place: I32,  # (count,) index into values
    levels: F32,  # out (count,) reference and quantised residual
    values: F32,  # out
):
    """value = offset + step * (reference + q(parameter)), see ``quant.py``."""
    for block in range(blocks):
        g = grid_of(block, n_grids, grids)
        first, along, number = part_of(block, g, length, scattered, grids)
        step = grids[g * 16 + 8]
        offset = grids[g * 16 + 9]
        for n in range(number):
            i = first + n * along
            level = reference[i] + quantized_value(parameters[i], mode, seed, iteration, i)
            levels[i] = level
            values[place[i]] = offset + step * level


@ti.kernel
def update_symbols(
    blocks: ti.i32,
    length: ti.i32,
    scattered: ti.i32,
    n_grids: ti.i32,
    grids: F32,
    rate: ti.i32,  # NO_RATE, TABLES, or GIVEN: ``lengths`` holds the gradient of the rate of each symbol
    weight: ti.f32,  # of the rate
    largest: ti.i32,
    slope: ti.f32,
    beta1: ti.f32,
    beta2: ti.f32,
    correction: ti.f32,  # 1 / (1 - beta2^t)
    epsilon: ti.f32,
    place: I32,
    d_values: F32,  # in/out: read at the places and set to 0 there
    levels: F32,
    tables: I32,  # (count,) which table codes each symbol
    lengths: F32,  # see ``rate.table_rate_fwd``
    moment1: F32,  # in/out
    moment2: F32,  # in/out
    parameters: F32,  # in/out
    d_step: F32,  # out (blocks,) each block's part of the gradient of its grid's step
):
    """Adjoint of :func:`quantize_symbols` (straight through for rounding), gradient of the rate, and Adam."""
    for block in range(blocks):
        g = grid_of(block, n_grids, grids)
        first, along, number = part_of(block, g, length, scattered, grids)
        step = grids[g * 16 + 8]
        speed = grids[g * 16 + 10]
        magnitude = grids[g * 16 + 11]
        total = 0.0
        for n in range(number):
            i = first + n * along
            at = place[i]
            d = d_values[at]
            d_values[at] = 0.0
            total += d * levels[i]
            d *= step
            p = parameters[i]
            if rate == TABLES:
                # Rounding hides which way a symbol leans; the rate is taken where the parameter really is.
                _, derivative = table_cost(p, tables[i], lengths, largest, slope)
                d += weight * derivative
            if rate == GIVEN:
                d += lengths[i]
            if p > 0.0:
                d += magnitude
            if p < 0.0:
                d -= magnitude
            m = beta1 * moment1[i] + (1.0 - beta1) * d
            v = beta2 * moment2[i] + (1.0 - beta2) * d * d
            moment1[i] = m
            moment2[i] = v
            parameters[i] = p - speed * m / (ti.sqrt(v * correction) + epsilon)
        d_step[block] = total
