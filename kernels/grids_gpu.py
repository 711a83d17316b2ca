"""Grid lookups and their adjoint for a GPU: a thread per sample and channel.

Threads side by side take the channels of one sample, whose numbers lie side by side in every array: a warp reads, and
atomically adds to, few stretches of memory instead of one per thread. Tables and grids as in ``kernels/grids_cpu.py``.
"""

from ._taichi import F32, I32, ti
from .columns import Group
from .grids_cpu import basis_corner, coefficient_corner, corner_of
from .launch import kernel


@ti.func
def group_of(channel: ti.i32, ints: ti.template()) -> ti.i32:
    """The group that a feature channel belongs to."""
    g = 0
    while channel >= ints[g * Group.ROW + Group.FEATURE] + ints[g * Group.ROW + Group.CHANNELS]:
        g += 1
    return g


@ti.func
def corners_of(s: ti.i32, channel: ti.i32, samples: ti.template(), ints: ti.template(), floats: ti.template()):
    """Where a channel of a sample lies: the distance between nodes, then of the coefficient grid and of the basis grid
    the channel's place at the lowest corner, the strides (nodes) and the fractions."""
    g = group_of(channel, ints)
    width = ints[g * Group.ROW + Group.CHANNELS]
    lane = channel - ints[g * Group.ROW + Group.FEATURE]
    x = samples[s * 4]
    y = samples[s * 4 + 1]
    z = samples[s * 4 + 2]
    c_node, c_sy, c_sz, cx, cy, cz = coefficient_corner(g, x, y, z, ints, floats)
    b_node, b_sy, b_sz, bx, by, bz = basis_corner(g, x, y, z, ints, floats)
    c_first = ints[g * Group.ROW + Group.COEFFICIENTS] + c_node * width + lane
    b_first = ints[g * Group.ROW + Group.BASIS] + b_node * width + lane
    return width, c_first, c_sy, c_sz, cx, cy, cz, b_first, b_sy, b_sz, bx, by, bz


@ti.func
def gather_channel(
    values: ti.template(),
    first: ti.i32,
    width: ti.i32,
    sy: ti.i32,
    sz: ti.i32,
    fx: ti.f32,
    fy: ti.f32,
    fz: ti.f32,
) -> ti.f32:
    """Trilinear interpolation of one channel; ``first`` is its place at the lowest corner."""
    result = 0.0
    for corner in ti.static(range(8)):
        weight, offset = corner_of(corner, sy, sz, fx, fy, fz)
        result += weight * values[first + offset * width]
    return result


@ti.func
def scatter_channel(
    gradient: ti.template(),
    first: ti.i32,
    width: ti.i32,
    sy: ti.i32,
    sz: ti.i32,
    fx: ti.f32,
    fy: ti.f32,
    fz: ti.f32,
    d: ti.f32,
):
    """Adjoint of :func:`gather_channel`, by atomic additions."""
    for corner in ti.static(range(8)):
        weight, offset = corner_of(corner, sy, sz, fx, fy, fz)
        ti.atomic_add(gradient[first + offset * width], weight * d)


@kernel
def lookup_fwd_channels(
    count: ti.i32,
    channels: ti.i32,
    samples: F32,  # (count * 4,) x, y, z in cells, and a fourth number that is not read
    values: F32,  # all grids
    ints: I32,
    floats: F32,
    coefficients: F32,  # out (count * channels,) c(x)
    basis: F32,  # out (count * channels,) b(gamma(x))
    features: F32,  # out (count * channels,) their product
):
    """:func:`~taichi_vvc.kernels.grids_cpu.lookup_fwd` for a GPU."""
    for i in range(count * channels):
        s = i // channels
        width, c_first, c_sy, c_sz, cx, cy, cz, b_first, b_sy, b_sz, bx, by, bz = corners_of(
            s, i - s * channels, samples, ints, floats
        )
        c = gather_channel(values, c_first, width, c_sy, c_sz, cx, cy, cz)
        b = gather_channel(values, b_first, width, b_sy, b_sz, bx, by, bz)
        coefficients[i] = c
        basis[i] = b
        features[i] = c * b


@kernel
def lookup_bwd_channels(
    count: ti.i32,
    channels: ti.i32,
    negligible: ti.f32,
    samples: F32,
    ints: I32,
    floats: F32,
    coefficients: F32,  # (count * channels,) as stored by lookup_fwd_channels
    basis: F32,
    d_features: F32,  # (count * channels,)
    gradient: F32,  # in/out, as values
):
    """Adjoint of :func:`lookup_fwd_channels`; gradients of features up to ``negligible`` are left out."""
    for i in range(count * channels):
        d = d_features[i]
        if ti.abs(d) > negligible:
            s = i // channels
            width, c_first, c_sy, c_sz, cx, cy, cz, b_first, b_sy, b_sz, bx, by, bz = corners_of(
                s, i - s * channels, samples, ints, floats
            )
            scatter_channel(gradient, c_first, width, c_sy, c_sz, cx, cy, cz, d * basis[i])
            scatter_channel(gradient, b_first, width, b_sy, b_sz, bx, by, bz, d * coefficients[i])
