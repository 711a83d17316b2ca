"""All live symbols of a fit in one pass: quantisation, and the way back through it with Adam's step.

Symbols are worked on in blocks that lie within one grid. A grid is a row of floats, ``SymbolGrid`` of ``columns.py``.
On the CPU a block's symbols lie side by side, and kernels take sixteen (or four) of them at once. On a GPU they lie far
apart, so that its threads read side by side.
"""

from ._taichi import F32, F32X4, F32X16, I32, ti
from .columns import SymbolGrid
from .geometry import uniform_of_sixteen
from .launch import kernel
from .quantize import NOISE, ROUND, quantized_value
from .rate import table_slope

NO_RATE = 0
TABLES = 1
GIVEN = 2
# Symbols per block: enough to hide the cost of a loop's turn, few enough for all threads of a GPU.
CPU_BLOCK = 64
GPU_BLOCK = 32


@ti.func
def whole(grids: ti.template(), g: ti.i32, column: ti.template()) -> ti.i32:
    """An integer of a grid's row."""
    at = g * SymbolGrid.ROW + column
    return ti.cast(grids[at], ti.i32) * SymbolGrid.SPLIT + ti.cast(grids[at + 1], ti.i32)


@ti.func
def grid_of(block: ti.i32, n_grids: ti.i32, grids: ti.template()) -> ti.i32:
    """The grid that a block belongs to."""
    g = 0
    while g < n_grids - 1 and block >= whole(grids, g + 1, SymbolGrid.FIRST_BLOCK):
        g += 1
    return g


@ti.func
def scattered_part(block: ti.i32, g: ti.i32, grids: ti.template()):
    """First symbol of a block, distance from one to the next, and their number, for a GPU."""
    first = whole(grids, g, SymbolGrid.FIRST_SYMBOL) + block - whole(grids, g, SymbolGrid.FIRST_BLOCK)
    along = whole(grids, g, SymbolGrid.BLOCKS)
    return first, along, (whole(grids, g, SymbolGrid.END_SYMBOL) - first + along - 1) // along


@ti.func
def part_of(block: ti.i32, g: ti.i32, grids: ti.template()):
    """First and last + 1 symbol of a block on the CPU: multiples of sixteen, but for the ends of the grid."""
    first = whole(grids, g, SymbolGrid.FIRST_SYMBOL)
    start = (first & -16) + (block - whole(grids, g, SymbolGrid.FIRST_BLOCK)) * CPU_BLOCK
    return ti.max(first, start), ti.min(start + CPU_BLOCK, whole(grids, g, SymbolGrid.END_SYMBOL))


@kernel
def quantize_symbols(
    blocks: ti.i32,
    n_grids: ti.i32,
    grids: F32,  # (n_grids * SymbolGrid.ROW,)
    mode: ti.i32,
    seed: ti.i32,
    iteration: ti.i32,
    parameters: F32,  # (count,) residual, symbols
    reference: F32,  # (count,) integers as floats
    place: I32,  # (count,) index into values
    levels: F32,  # out (count,) reference and quantised residual
    values: F32,  # out
):
    """For a GPU: value = offset + step * (reference + q(parameter)), see ``quantize.py``."""
    for block in range(blocks):
        g = grid_of(block, n_grids, grids)
        first, along, number = scattered_part(block, g, grids)
        step = grids[g * SymbolGrid.ROW + SymbolGrid.STEP]
        offset = grids[g * SymbolGrid.ROW + SymbolGrid.OFFSET]
        for n in range(number):
            i = first + n * along
            level = reference[i] + quantized_value(parameters[i], mode, seed, iteration, i)
            levels[i] = level
            values[place[i]] = offset + step * level


@ti.func
def side_of_vectors(side: ti.i32, first: ti.i32, last: ti.i32):
    """The symbols first .. last - 1 before (side 0) and behind (side 1) the whole vectors of sixteen among them."""
    begin = first
    end = ti.min(last, (first + 15) & -16)
    if side == 1:
        begin = ti.max(end, last & -16)
        end = last
    return begin, end


@kernel
def quantize_lanes(
    blocks: ti.i32,
    n_grids: ti.i32,
    grids: F32,
    mode: ti.i32,
    seed: ti.i32,
    iteration: ti.i32,
    parameters: F32,
    reference: F32,
    levels: F32,  # out
    parameters_lanes: F32X16,  # the same memory as the three before
    reference_lanes: F32X16,
    levels_lanes: F32X16,
):
    """The levels of :func:`quantize_symbols` on the CPU, sixteen at once."""
    for block in range(blocks):
        first, last = part_of(block, grid_of(block, n_grids, grids), grids)
        for n in range((first + 15) >> 4, last >> 4):
            q = parameters_lanes[n]
            if mode == NOISE:
                q += uniform_of_sixteen(seed, iteration, n << 4) - 0.5
            if mode == ROUND:
                q = ti.floor(q + 0.5)
            levels_lanes[n] = reference_lanes[n] + q
        for side in range(2):
            begin, end = side_of_vectors(side, first, last)
            for i in range(begin, end):
                levels[i] = reference[i] + quantized_value(parameters[i], mode, seed, iteration, i)


@kernel
def values_of_levels(blocks: ti.i32, n_grids: ti.i32, grids: F32, place: I32, levels: F32, values: F32):
    """The values of :func:`quantize_symbols` on the CPU."""
    for block in range(blocks):
        g = grid_of(block, n_grids, grids)
        first, last = part_of(block, g, grids)
        step = grids[g * SymbolGrid.ROW + SymbolGrid.STEP]
        offset = grids[g * SymbolGrid.ROW + SymbolGrid.OFFSET]
        for i in range(first, last):
            values[place[i]] = offset + step * levels[i]


@kernel
def values_of_fours(
    blocks: ti.i32,
    n_grids: ti.i32,
    grids: F32,
    place: I32,  # (count / 4,) index into values of four
    levels: F32X4,
    values: F32X4,  # out
):
    """:func:`values_of_levels` where every four symbols lie side by side in the values, too."""
    for block in range(blocks):
        g = grid_of(block, n_grids, grids)
        first, last = part_of(block, g, grids)
        step = grids[g * SymbolGrid.ROW + SymbolGrid.STEP]
        offset = grids[g * SymbolGrid.ROW + SymbolGrid.OFFSET]
        for n in range(first >> 2, last >> 2):
            values[place[n]] = levels[n] * step + offset


@ti.func
def rate_of(g: ti.i32, grids: ti.template()):
    """Of a grid: which gradient the rate has, its weight, and the largest symbol of its tables."""
    row = g * SymbolGrid.ROW
    rate = ti.cast(grids[row + SymbolGrid.RATE], ti.i32)
    return rate, grids[row + SymbolGrid.RATE_WEIGHT], ti.cast(grids[row + SymbolGrid.LARGEST], ti.i32)


@ti.func
def adam_of(g: ti.i32, grids: ti.template()):
    """Of a grid: speed, beta1, beta2, correction and epsilon."""
    row = g * SymbolGrid.ROW
    beta1, beta2 = grids[row + SymbolGrid.BETA1], grids[row + SymbolGrid.BETA2]
    speed, correction = grids[row + SymbolGrid.SPEED], grids[row + SymbolGrid.CORRECTION]
    return speed, beta1, beta2, correction, grids[row + SymbolGrid.EPSILON]


@ti.func
def adam_of_one(
    i: ti.i32,
    d: ti.f32,
    magnitude: ti.f32,
    speed: ti.f32,
    beta1: ti.f32,
    beta2: ti.f32,
    correction: ti.f32,
    epsilon: ti.f32,
    moment1: ti.template(),
    moment2: ti.template(),
    parameters: ti.template(),
):
    """Adam's step of symbol i by its gradient ``d`` and that of ``magnitude`` |parameter|."""
    p = parameters[i]
    if magnitude != 0.0:
        d += ti.select(p > 0.0, magnitude, ti.select(p < 0.0, -magnitude, 0.0))
    m = beta1 * moment1[i] + (1.0 - beta1) * d
    v = beta2 * moment2[i] + (1.0 - beta2) * d * d
    moment1[i] = m
    moment2[i] = v
    parameters[i] = p - speed * m / (ti.sqrt(v * correction) + epsilon)


@kernel
def update_symbols(
    blocks: ti.i32,
    n_grids: ti.i32,
    grids: F32,
    place: I32,
    d_values: F32,  # in/out: read at the places and set to 0 there
    levels: F32,
    rows: I32,  # (count,) where the table that codes each symbol begins in ``slopes``
    slopes: F32,  # TABLES: see ``rate.table_slope``; GIVEN: the gradient of the rate of each symbol
    moment1: F32,  # in/out
    moment2: F32,  # in/out
    parameters: F32,  # in/out
    d_step: F32,  # out (blocks,) each block's part of the gradient of its grid's step
):
    """For a GPU: adjoint of :func:`quantize_symbols` (straight through for rounding), gradient of the rate, Adam."""
    for block in range(blocks):
        g = grid_of(block, n_grids, grids)
        first, along, number = scattered_part(block, g, grids)
        step = grids[g * SymbolGrid.ROW + SymbolGrid.STEP]
        rate, weight, largest = rate_of(g, grids)
        magnitude = grids[g * SymbolGrid.ROW + SymbolGrid.MAGNITUDE]
        speed, beta1, beta2, correction, epsilon = adam_of(g, grids)
        total = 0.0
        for n in range(number):
            i = first + n * along
            at = place[i]
            d = d_values[at]
            d_values[at] = 0.0
            total += d * levels[i]
            d *= step
            if rate == TABLES:
                # Rounding hides which way a symbol leans; the rate is taken where the parameter really is.
                d += weight * table_slope(parameters[i], rows[i], slopes, largest)
            if rate == GIVEN:
                d += slopes[i]
            adam_of_one(i, d, magnitude, speed, beta1, beta2, correction, epsilon, moment1, moment2, parameters)
        d_step[block] = total


@kernel
def gradient_of_symbols(
    blocks: ti.i32,
    n_grids: ti.i32,
    grids: F32,
    place: I32,
    d_values: F32,  # in/out: read at the places and set to 0 there
    levels: F32,
    rows: I32,  # as in update_symbols
    slopes: F32,
    parameters: F32,
    gradient: F32,  # out (count,)
    d_step: F32,  # out (blocks,)
):
    """What :func:`update_symbols` does before Adam's step, but for the magnitude, on the CPU."""
    for block in range(blocks):
        g = grid_of(block, n_grids, grids)
        first, last = part_of(block, g, grids)
        step = grids[g * SymbolGrid.ROW + SymbolGrid.STEP]
        rate, weight, largest = rate_of(g, grids)
        total = 0.0
        for i in range(first, last):
            at = place[i]
            d = d_values[at]
            d_values[at] = 0.0
            total += d * levels[i]
            d *= step
            if rate == TABLES:
                d += weight * table_slope(parameters[i], rows[i], slopes, largest)
            if rate == GIVEN:
                d += slopes[i]
            gradient[i] = d
        d_step[block] = total


@kernel
def gradient_of_fours(
    blocks: ti.i32,
    n_grids: ti.i32,
    grids: F32,
    place: I32,  # (count / 4,) index into values of four
    d_values: F32X4,  # in/out
    levels: F32X4,
    rows: I32,
    slopes: F32,
    parameters: F32,
    gradient: F32,  # in/out (count,) GIVEN: that of the rate, to which the rest is added
    gradient_fours: F32X4,  # the same memory
    d_step: F32,  # out (blocks,)
):
    """:func:`gradient_of_symbols` where every four symbols lie side by side in the values, too."""
    for block in range(blocks):
        g = grid_of(block, n_grids, grids)
        first, last = part_of(block, g, grids)
        step = grids[g * SymbolGrid.ROW + SymbolGrid.STEP]
        rate, weight, largest = rate_of(g, grids)
        sums = ti.Vector([0.0, 0.0, 0.0, 0.0])
        for n in range(first >> 2, last >> 2):
            at = place[n]
            d = d_values[at]
            d_values[at] = ti.Vector([0.0, 0.0, 0.0, 0.0])
            sums += d * levels[n]
            d *= step
            if rate == GIVEN:
                d += gradient_fours[n]
            gradient_fours[n] = d
        d_step[block] = sums[0] + sums[1] + sums[2] + sums[3]
        if rate == TABLES:
            for i in range(first, last):
                gradient[i] = gradient[i] + weight * table_slope(parameters[i], rows[i], slopes, largest)


@kernel
def adam_lanes(
    blocks: ti.i32,
    n_grids: ti.i32,
    grids: F32,
    moment1: F32,  # in/out
    moment2: F32,  # in/out
    parameters: F32,  # in/out
    gradient: F32,
    moment1_lanes: F32X16,  # the same memory as the four before
    moment2_lanes: F32X16,
    parameters_lanes: F32X16,
    gradient_lanes: F32X16,
):
    """The magnitude's gradient and Adam's step of :func:`update_symbols` on the CPU, sixteen symbols at once."""
    for block in range(blocks):
        g = grid_of(block, n_grids, grids)
        first, last = part_of(block, g, grids)
        magnitude = grids[g * SymbolGrid.ROW + SymbolGrid.MAGNITUDE]
        speed, beta1, beta2, correction, epsilon = adam_of(g, grids)
        # Whole vectors; where a grid begins or ends within one, its symbols one by one.
        for n in range((first + 15) >> 4, last >> 4):
            p = parameters_lanes[n]
            d = gradient_lanes[n]
            if magnitude != 0.0:
                d += ti.select(p > 0.0, magnitude, 0.0) - ti.select(p < 0.0, magnitude, 0.0)
            m = moment1_lanes[n] * beta1 + d * (1.0 - beta1)
            v = moment2_lanes[n] * beta2 + d * d * (1.0 - beta2)
            moment1_lanes[n] = m
            moment2_lanes[n] = v
            parameters_lanes[n] = p - speed * m / (ti.sqrt(v * correction) + epsilon)
        for side in range(2):
            begin, end = side_of_vectors(side, first, last)
            for i in range(begin, end):
                d = gradient[i]
                adam_of_one(i, d, magnitude, speed, beta1, beta2, correction, epsilon, moment1, moment2, parameters)


@kernel
def sum_blocks(
    n_grids: ti.i32,
    parts: ti.i32,
    grids: F32,
    d_step: F32,  # (blocks,)
    sums: F32,  # out (n_grids * parts,)
):
    """Add up each grid's blocks in so many parts, so that few numbers leave a GPU."""
    for i in range(n_grids * parts):
        g = i // parts
        first = whole(grids, g, SymbolGrid.FIRST_BLOCK)
        number = whole(grids, g, SymbolGrid.BLOCKS)
        total = 0.0
        block = i - g * parts
        while block < number:
            total += d_step[first + block]
            block += parts
        sums[i] = total


@kernel
def gather(
    count: ti.i32,
    where: I32,  # (count,)
    vector: F32,
    result: F32,  # out (count,)
):
    """The elements at so many places."""
    for i in range(count):
        result[i] = vector[where[i]]
