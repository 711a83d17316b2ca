"""All live symbols of a fit in one pass: quantisation, and the way back through it with Adam's step.

Symbols are worked on in blocks that lie within one grid. A grid is a row of 16 floats: its first block, first symbol,
last symbol + 1 and number of blocks (two floats each: value // 4096 and the rest, exact far beyond 2^24), then
step, offset, learning rate divided by (1 - beta1^t), and weight of the magnitude.
"""

from ._taichi import F32, F32X4, F32X16, I32, ti
from .geometry import uniform_of_sixteen
from .launch import kernel
from .quantize import NOISE, ROUND, quantized_value
from .rate import table_slope

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
    last = whole(grids, g, 2)
    along = 1
    begin = first + own
    number = 0
    if scattered == 1:
        along = whole(grids, g, 3)
        number = ti.min(length, (last - begin + along - 1) // along)
    else:
        # From a multiple of sixteen to another, but for the ends of the grid.
        start = (first & -16) + own * length
        begin = ti.max(first, start)
        number = ti.min(start + length, last) - begin
    return begin, along, number


@kernel
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
    """value = offset + step * (reference + q(parameter)), see ``quantize.py``."""
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
def quantize_symbols_lanes(
    blocks: ti.i32,
    length: ti.i32,
    scattered: ti.i32,  # 0
    n_grids: ti.i32,
    grids: F32,
    mode: ti.i32,
    seed: ti.i32,
    iteration: ti.i32,
    fours: ti.template(),  # 1: every four symbols lie side by side in the values, too
    parameters: F32,
    reference: F32,
    place: I32,  # (count,) index into values; with ``fours`` (count / 4,) index into values of four
    levels: F32,
    values: F32,
    parameters_lanes: F32X16,  # the same memory as those above
    reference_lanes: F32X16,
    levels_lanes: F32X16,
    levels_fours: F32X4,
    values_fours: F32X4,
):
    """:func:`quantize_symbols` for the CPU, which takes sixteen symbols at once."""
    for block in range(blocks):
        g = grid_of(block, n_grids, grids)
        first, along, number = part_of(block, g, length, scattered, grids)
        last = first + number
        step = grids[g * 16 + 8]
        offset = grids[g * 16 + 9]
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
        if ti.static(fours == 1):
            for n in range(first >> 2, last >> 2):
                values_fours[place[n]] = levels_fours[n] * step + offset
        else:
            for i in range(first, last):
                values[place[i]] = offset + step * levels[i]


@ti.func
def gradient_of_one(
    i: ti.i32,
    d: ti.f32,
    p: ti.f32,
    rate: ti.i32,
    weight: ti.f32,
    largest: ti.i32,
    magnitude: ti.f32,
    rows: ti.template(),
    slopes: ti.template(),
) -> ti.f32:
    """Gradient of symbol i: ``d`` of the distortion, and those of rate and magnitude at its parameter ``p``."""
    result = d
    if rate == TABLES:
        # Rounding hides which way a symbol leans; the rate is taken where the parameter really is.
        result += weight * table_slope(p, rows[i], slopes, largest)
    if rate == GIVEN:
        result += slopes[i]
    if magnitude != 0.0:
        result += ti.select(p > 0.0, magnitude, ti.select(p < 0.0, -magnitude, 0.0))
    return result


@ti.func
def adam_of_one(
    i: ti.i32,
    d: ti.f32,
    speed: ti.f32,
    beta1: ti.f32,
    beta2: ti.f32,
    correction: ti.f32,
    epsilon: ti.f32,
    moment1: ti.template(),
    moment2: ti.template(),
    parameters: ti.template(),
):
    """Adam's step of symbol i."""
    m = beta1 * moment1[i] + (1.0 - beta1) * d
    v = beta2 * moment2[i] + (1.0 - beta2) * d * d
    moment1[i] = m
    moment2[i] = v
    parameters[i] = parameters[i] - speed * m / (ti.sqrt(v * correction) + epsilon)


@kernel
def update_symbols(
    blocks: ti.i32,
    length: ti.i32,
    scattered: ti.i32,
    n_grids: ti.i32,
    grids: F32,
    rate: ti.i32,  # NO_RATE, TABLES, or GIVEN: ``slopes`` holds the gradient of the rate of each symbol
    weight: ti.f32,  # of the rate
    largest: ti.i32,
    beta1: ti.f32,
    beta2: ti.f32,
    correction: ti.f32,  # 1 / (1 - beta2^t)
    epsilon: ti.f32,
    place: I32,
    d_values: F32,  # in/out: read at the places and set to 0 there
    levels: F32,
    rows: I32,  # (count,) where the table that codes each symbol begins in ``slopes``
    slopes: F32,  # see ``rate.table_slope``
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
            p = parameters[i]
            d = gradient_of_one(i, d * step, p, rate, weight, largest, magnitude, rows, slopes)
            adam_of_one(i, d, speed, beta1, beta2, correction, epsilon, moment1, moment2, parameters)
        d_step[block] = total


@kernel
def update_symbols_lanes(
    blocks: ti.i32,
    length: ti.i32,
    scattered: ti.i32,  # 0
    n_grids: ti.i32,
    grids: F32,
    rate: ti.i32,
    weight: ti.f32,
    largest: ti.i32,
    beta1: ti.f32,
    beta2: ti.f32,
    correction: ti.f32,
    epsilon: ti.f32,
    fours: ti.template(),  # as in quantize_symbols_lanes
    place: I32,
    d_values: F32,
    levels: F32,
    rows: I32,
    slopes: F32,
    moment1: F32,
    moment2: F32,
    parameters: F32,
    gradient: F32,  # scratch (count,)
    moment1_lanes: F32X16,  # the same memory as the four before
    moment2_lanes: F32X16,
    parameters_lanes: F32X16,
    gradient_lanes: F32X16,
    d_values_fours: F32X4,
    levels_fours: F32X4,
    gradient_fours: F32X4,
    d_step: F32,
):
    """:func:`update_symbols` for the CPU, where Adam takes sixteen symbols at once."""
    for block in range(blocks):
        g = grid_of(block, n_grids, grids)
        first, along, number = part_of(block, g, length, scattered, grids)
        last = first + number
        step = grids[g * 16 + 8]
        speed = grids[g * 16 + 10]
        magnitude = grids[g * 16 + 11]
        total = 0.0
        if ti.static(fours == 1):
            sums = ti.Vector([0.0, 0.0, 0.0, 0.0])
            for n in range(first >> 2, last >> 2):
                at = place[n]
                d = d_values_fours[at]
                d_values_fours[at] = ti.Vector([0.0, 0.0, 0.0, 0.0])
                sums += d * levels_fours[n]
                d *= step
                if rate == GIVEN:
                    d += gradient_fours[n]
                gradient_fours[n] = d
            total = sums[0] + sums[1] + sums[2] + sums[3]
            if rate == TABLES:
                for i in range(first, last):
                    gradient[i] = gradient[i] + weight * table_slope(parameters[i], rows[i], slopes, largest)
        else:
            for i in range(first, last):
                at = place[i]
                d = d_values[at]
                d_values[at] = 0.0
                total += d * levels[i]
                gradient[i] = gradient_of_one(i, d * step, parameters[i], rate, weight, largest, 0.0, rows, slopes)
        d_step[block] = total
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
                d = gradient_of_one(i, gradient[i], parameters[i], NO_RATE, 0.0, 0, magnitude, rows, slopes)
                adam_of_one(i, d, speed, beta1, beta2, correction, epsilon, moment1, moment2, parameters)


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
        first = whole(grids, g, 0)
        number = whole(grids, g, 3)
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
