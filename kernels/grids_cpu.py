"""Grid lookups on the CPU: feature = coefficient * basis (Dictionary Fields, arXiv 2302.01226, eq. 4), and the adjoint.

All grids of a field live in one flat array, split into groups of 4, 2 or 1 channels that are looked up together:
``values[base + node * width + lane]``. A group is a row of integers, ``Group`` of ``columns.py``, and one of floats,
``GroupScale``. The coefficient grid spans the bounds; a basis grid spans a tile that repeats (sawtooth coordinates,
paper's gamma), with a node on either border of the tile.
"""

from ._taichi import F32, F32X4, I32, ti
from .columns import Group, GroupScale
from .launch import kernel


@ti.func
def node_below(coordinate: ti.f32, nodes: ti.i32):
    """Index of the node below a grid coordinate (clamped so that it has a successor) and the fraction above it."""
    # Not ti.min and ti.max, which take three instructions each for the sake of NaN. It gives an index within here, too.
    last = ti.cast(nodes - 2, ti.f32)
    below = ti.select(coordinate < last, coordinate, last)
    i = ti.cast(ti.select(below > 0.0, below, 0.0), ti.i32)
    above = coordinate - ti.cast(i, ti.f32)
    above = ti.select(above < 1.0, above, 1.0)
    return i, ti.select(above > 0.0, above, 0.0)


@ti.func
def sawtooth(x: ti.f32, tile: ti.f32) -> ti.f32:
    """Position within the tile, cells."""
    return x - ti.floor(x / tile) * tile


@ti.func
def coefficient_corner(g: ti.i32, x: ti.f32, y: ti.f32, z: ti.f32, ints: ti.template(), floats: ti.template()):
    """Lowest corner node of the coefficient grid at a point, its strides and fractions."""
    nodes = g * Group.ROW + Group.COEFFICIENT_NODES
    scale = g * GroupScale.ROW + GroupScale.COEFFICIENTS
    nx = ints[nodes]
    ny = ints[nodes + 1]
    i, fx = node_below(x * floats[scale], nx)
    j, fy = node_below(y * floats[scale + 1], ny)
    k, fz = node_below(z * floats[scale + 2], ints[nodes + 2])
    return (k * ny + j) * nx + i, nx, nx * ny, fx, fy, fz


@ti.func
def basis_corner(g: ti.i32, x: ti.f32, y: ti.f32, z: ti.f32, ints: ti.template(), floats: ti.template()):
    """Lowest corner node of the basis grid at a point, its strides and fractions."""
    tile = floats[g * GroupScale.ROW + GroupScale.TILE]
    nodes = g * Group.ROW + Group.BASIS_NODES
    scale = g * GroupScale.ROW + GroupScale.BASIS
    nx = ints[nodes]
    ny = ints[nodes + 1]
    i, fx = node_below(sawtooth(x, tile) * floats[scale], nx)
    j, fy = node_below(sawtooth(y, tile) * floats[scale + 1], ny)
    k, fz = node_below(sawtooth(z, tile) * floats[scale + 2], ints[nodes + 2])
    return (k * ny + j) * nx + i, nx, nx * ny, fx, fy, fz


@ti.func
def corner_of(corner: ti.template(), sy: ti.i32, sz: ti.i32, fx: ti.f32, fy: ti.f32, fz: ti.f32):
    """Trilinear weight of corner 0 .. 7 (x in bit 0, y in bit 1, z in bit 2), and its offset from corner 0 in nodes."""
    cx = ti.static(corner & 1)
    cy = ti.static((corner >> 1) & 1)
    cz = ti.static(corner >> 2)
    wx = fx if cx else 1.0 - fx
    wy = fy if cy else 1.0 - fy
    wz = fz if cz else 1.0 - fz
    return wx * wy * wz, cx + cy * sy + cz * sz


@ti.func
def gather(
    values: ti.template(),
    base: ti.i32,
    node: ti.i32,
    sy: ti.i32,
    sz: ti.i32,
    fx: ti.f32,
    fy: ti.f32,
    fz: ti.f32,
    width: ti.template(),
):
    """Trilinear interpolation of ``width`` channels."""
    result = ti.Vector([0.0] * width)
    for corner in ti.static(range(8)):
        weight, offset = corner_of(corner, sy, sz, fx, fy, fz)
        at = base + (node + offset) * width
        for lane in ti.static(range(width)):
            result[lane] += weight * values[at + lane]
    return result


@ti.func
def scatter(
    gradient: ti.template(),
    base: ti.i32,
    node: ti.i32,
    sy: ti.i32,
    sz: ti.i32,
    fx: ti.f32,
    fy: ti.f32,
    fz: ti.f32,
    g: ti.template(),
    width: ti.template(),
):
    """Adjoint of :func:`gather` for one writer per region."""
    for corner in ti.static(range(8)):
        weight, offset = corner_of(corner, sy, sz, fx, fy, fz)
        at = base + (node + offset) * width
        for lane in ti.static(range(width)):
            # Not `+=`, which Taichi compiles to an atomic operation on arrays.
            gradient[at + lane] = gradient[at + lane] + weight * g[lane]


@ti.func
def lookup_group(
    s: ti.i32,
    g: ti.i32,
    samples: ti.template(),
    values: ti.template(),
    ints: ti.template(),
    floats: ti.template(),
    channels: ti.i32,
    coefficients: ti.template(),
    basis: ti.template(),
    features: ti.template(),
    width: ti.template(),
):
    """One sample, one group: both lookups and their product."""
    x = samples[s * 4]
    y = samples[s * 4 + 1]
    z = samples[s * 4 + 2]
    node, sy, sz, fx, fy, fz = coefficient_corner(g, x, y, z, ints, floats)
    c = gather(values, ints[g * Group.ROW + Group.COEFFICIENTS], node, sy, sz, fx, fy, fz, width)
    node, sy, sz, fx, fy, fz = basis_corner(g, x, y, z, ints, floats)
    b = gather(values, ints[g * Group.ROW + Group.BASIS], node, sy, sz, fx, fy, fz, width)
    at = s * channels + ints[g * Group.ROW + Group.FEATURE]
    for lane in ti.static(range(width)):
        coefficients[at + lane] = c[lane]
        basis[at + lane] = b[lane]
        features[at + lane] = c[lane] * b[lane]


@kernel
def lookup_fwd(
    count: ti.i32,
    groups: ti.i32,
    channels: ti.i32,
    samples: F32,  # (count * 4,) x, y, z in cells, and a fourth number that is not read
    values: F32,  # all grids
    ints: I32,  # (groups * Group.ROW,)
    floats: F32,  # (groups * GroupScale.ROW,)
    coefficients: F32,  # out (count * channels,) c(x)
    basis: F32,  # out (count * channels,) b(gamma(x))
    features: F32,  # out (count * channels,) their product
):
    """Coefficient and basis lookups and their product at every sample."""
    for s in range(count):
        for g in range(groups):
            if ints[g * Group.ROW + Group.CHANNELS] == 4:
                lookup_group(s, g, samples, values, ints, floats, channels, coefficients, basis, features, 4)
            elif ints[g * Group.ROW + Group.CHANNELS] == 2:
                lookup_group(s, g, samples, values, ints, floats, channels, coefficients, basis, features, 2)
            else:
                lookup_group(s, g, samples, values, ints, floats, channels, coefficients, basis, features, 1)


@ti.func
def adjoint_of_one(
    s: ti.i32,
    g: ti.i32,
    half: ti.i32,
    samples: ti.template(),
    ints: ti.template(),
    floats: ti.template(),
    channels: ti.i32,
    other: ti.template(),
    d_features: ti.template(),
    gradient: ti.template(),
    width: ti.template(),
):
    """Scatter one sample's gradient into one grid, the coefficients (``half`` 0) or the basis (1).

    ``other`` holds the factor that multiplied it in the product.
    """
    at = s * channels + ints[g * Group.ROW + Group.FEATURE]
    d = ti.Vector([0.0] * width)
    for lane in ti.static(range(width)):
        d[lane] = d_features[at + lane] * other[at + lane]
    x = samples[s * 4]
    y = samples[s * 4 + 1]
    z = samples[s * 4 + 2]
    node, sy, sz, fx, fy, fz = coefficient_corner(g, x, y, z, ints, floats)
    base = ints[g * Group.ROW + Group.COEFFICIENTS]
    if half == 1:
        node, sy, sz, fx, fy, fz = basis_corner(g, x, y, z, ints, floats)
        base = ints[g * Group.ROW + Group.BASIS]
    scatter(gradient, base, node, sy, sz, fx, fy, fz, d, width)


@ti.func
def adjoint_of_grid(
    count: ti.i32,
    g: ti.i32,
    half: ti.template(),
    samples: ti.template(),
    ints: ti.template(),
    floats: ti.template(),
    channels: ti.i32,
    other: ti.template(),
    d_features: ti.template(),
    gradient: ti.template(),
):
    """:func:`adjoint_of_one` for all samples."""
    if ints[g * Group.ROW + Group.CHANNELS] == 4:
        for s in range(count):
            adjoint_of_one(s, g, half, samples, ints, floats, channels, other, d_features, gradient, 4)
    elif ints[g * Group.ROW + Group.CHANNELS] == 2:
        for s in range(count):
            adjoint_of_one(s, g, half, samples, ints, floats, channels, other, d_features, gradient, 2)
    else:
        for s in range(count):
            adjoint_of_one(s, g, half, samples, ints, floats, channels, other, d_features, gradient, 1)


@kernel
def lookup_bwd_tasks(
    count: ti.i32,
    groups: ti.i32,
    channels: ti.i32,
    samples: F32,
    ints: I32,
    floats: F32,
    coefficients: F32,  # (count * channels,) as stored by lookup_fwd
    basis: F32,
    d_features: F32,  # (count * channels,)
    gradient: F32,  # in/out, as values
):
    """Adjoint of :func:`lookup_fwd` for the CPU: one task per (group, grid), plain stores, reproducible.

    Taichi never cuts a CPU loop into chunks below 512 iterations, hence one task every 512.
    """
    for task in range(groups * 2 * 512):
        if task % 512 == 0:
            t = task // 512
            g = t // 2
            if t % 2 == 0:
                adjoint_of_grid(count, g, 0, samples, ints, floats, channels, basis, d_features, gradient)
            else:
                adjoint_of_grid(count, g, 1, samples, ints, floats, channels, coefficients, d_features, gradient)


@ti.func
def rows_of(base: ti.i32, sy: ti.i32, sz: ti.i32):
    """First corners of the four rows along x.

    Below 2^27, which holds anyway: told so, the compiler knows that the second corner is a constant distance away.
    """
    return base & 0x7FFFFFF, (base + sy) & 0x7FFFFFF, (base + sz) & 0x7FFFFFF, (base + sy + sz) & 0x7FFFFFF


@ti.func
def gather_four(values: ti.template(), base: ti.i32, sy: ti.i32, sz: ti.i32, fx: ti.f32, fy: ti.f32, fz: ti.f32):
    """:func:`gather` of nodes of four channels, each read at once."""
    a, b, c, d = rows_of(base, sy, sz)
    va = values[a] + (values[a + 1] - values[a]) * fx
    vb = values[b] + (values[b + 1] - values[b]) * fx
    vc = values[c] + (values[c + 1] - values[c]) * fx
    vd = values[d] + (values[d + 1] - values[d]) * fx
    va += (vb - va) * fy
    vc += (vd - vc) * fy
    return va + (vc - va) * fz


@ti.func
def scatter_row(gradient: ti.template(), row: ti.i32, low: ti.template(), high: ti.template(), weight: ti.f32):
    """Add to the two corners of a row."""
    gradient[row] = gradient[row] + low * weight
    gradient[row + 1] = gradient[row + 1] + high * weight


@ti.func
def scatter_four(
    gradient: ti.template(),
    base: ti.i32,
    sy: ti.i32,
    sz: ti.i32,
    fx: ti.f32,
    fy: ti.f32,
    fz: ti.f32,
    d: ti.template(),
):
    """Adjoint of :func:`gather_four` with plain stores."""
    r, s, t, u = rows_of(base, sy, sz)
    high = d * fx
    low = d - high
    scatter_row(gradient, r, low, high, (1.0 - fy) * (1.0 - fz))
    scatter_row(gradient, s, low, high, fy * (1.0 - fz))
    scatter_row(gradient, t, low, high, (1.0 - fy) * fz)
    scatter_row(gradient, u, low, high, fy * fz)


@kernel
def lookup_fwd_fours(
    count: ti.i32,
    groups: ti.i32,
    shift: ti.template(),  # of the features' blocks, see mlp_cpu.py
    samples: F32X4,  # (count,) of 4
    values: F32X4,  # all grids
    ints: I32,
    floats: F32,
    coefficients: F32X4,  # out (count * groups,)
    basis: F32X4,  # out
    features: F32,  # out, by blocks of sixteen samples
):
    """:func:`lookup_fwd` for the CPU where all groups have four channels.

    Vector arrays give vector loads, which the compiler does not find in the other; the groups share one place in the
    coefficient grid.
    """
    for s in range(count):
        p = samples[s]
        c_node, c_sy, c_sz, cx, cy, cz = coefficient_corner(0, p[0], p[1], p[2], ints, floats)
        for g in range(groups):
            c = gather_four(values, (ints[g * Group.ROW + Group.COEFFICIENTS] >> 2) + c_node, c_sy, c_sz, cx, cy, cz)
            node, sy, sz, fx, fy, fz = basis_corner(g, p[0], p[1], p[2], ints, floats)
            b = gather_four(values, (ints[g * Group.ROW + Group.BASIS] >> 2) + node, sy, sz, fx, fy, fz)
            at = s * groups + g
            coefficients[at] = c
            basis[at] = b
            product = c * b
            to = ((s >> 4) << (shift + 4)) | (g << 6) | (s & 15)
            for lane in ti.static(range(4)):
                features[to | (lane * 16)] = product[lane]


@ti.func
def features_four(s: ti.i32, g: ti.i32, shift: ti.template(), array: ti.template()):
    """Four channels of one sample, from blocks."""
    at = ((s >> 4) << (shift + 4)) | (g << 6) | (s & 15)
    return ti.Vector([array[at], array[at | 16], array[at | 32], array[at | 48]])


@kernel
def lookup_bwd_fours(
    count: ti.i32,
    kept: I32,  # (count,) samples that have a gradient
    groups: ti.i32,
    shift: ti.template(),
    samples: F32X4,
    ints: I32,
    floats: F32,
    coefficients: F32X4,
    basis: F32X4,
    d_features: F32,  # of the kept samples, by blocks of sixteen
    gradient: F32X4,  # in/out, as values
):
    """:func:`lookup_bwd_tasks` where all groups have four channels.

    The first task takes the coefficient grids of all groups, which share their corner; as many tasks as it replaces
    stay empty, so that two threads have equal work.
    """
    for spread in range(groups * 2 * 512):
        if spread % 512 == 0:
            task = spread // 512
            if task == 0:
                for m in range(count):
                    s = kept[m]
                    p = samples[s]
                    node, sy, sz, fx, fy, fz = coefficient_corner(0, p[0], p[1], p[2], ints, floats)
                    for g in range(groups):
                        d = features_four(m, g, shift, d_features) * basis[s * groups + g]
                        base = ints[g * Group.ROW + Group.COEFFICIENTS] >> 2
                        scatter_four(gradient, base + node, sy, sz, fx, fy, fz, d)
            if task >= groups:
                g = task - groups
                base = ints[g * Group.ROW + Group.BASIS] >> 2
                for m in range(count):
                    s = kept[m]
                    p = samples[s]
                    node, sy, sz, fx, fy, fz = basis_corner(g, p[0], p[1], p[2], ints, floats)
                    d = features_four(m, g, shift, d_features) * coefficients[s * groups + g]
                    scatter_four(gradient, base + node, sy, sz, fx, fy, fz, d)
