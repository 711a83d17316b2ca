"""Symbols moved by a lattice of displacements, in floats and with an adjoint: what the search for motion needs.

What a decoder does is the integer arithmetic of ``taichi_vvc/motion.py``; this is the same interpolation without its
rounding. Grids are taken in pieces, the channels that lie side by side in a field's values. A piece is a row of 16
floats: its first entry in ``nodes`` (two floats, entry // 4096 and the rest), nodes along x, y and z, channels, first
value (two floats), cells between nodes along x, y and z, step, offset.
"""

from ._taichi import F32, I32, ti
from .launch import kernel

PIECE = 16
SPLIT = 4096


@ti.func
def piece_of(i: ti.i32, n_pieces: ti.i32, pieces: ti.template()) -> ti.i32:
    """The piece that an entry of ``nodes`` belongs to."""
    p = 0
    while p < n_pieces - 1 and i >= split_integer(pieces, p + 1, 0):
        p += 1
    return p


@ti.func
def split_integer(pieces: ti.template(), p: ti.i32, k: ti.i32) -> ti.i32:
    """An integer of a piece that may be beyond 2^24, in two floats from column k on."""
    return ti.cast(pieces[p * 16 + k], ti.i32) * 4096 + ti.cast(pieces[p * 16 + k + 1], ti.i32)


@ti.func
def lattice_axis(node: ti.i32, cells: ti.f32, block: ti.f32, size: ti.i32):
    """Lattice node below a grid node along one axis, and how far the grid node is above it, 0 .. 1."""
    place = ti.min(ti.cast(node, ti.f32) * cells / block, ti.cast(size - 1, ti.f32))
    below = ti.min(ti.cast(place, ti.i32), size - 2)
    return below, place - ti.cast(below, ti.f32)


@ti.func
def source_axis(node: ti.i32, moved: ti.f32, cells: ti.f32, size: ti.i32):
    """Node below the origin along one axis, the fraction above it, and 1 where the origin is free to move (else 0)."""
    place = ti.cast(node, ti.f32) + moved / cells
    kept = ti.min(ti.max(place, 0.0), ti.cast(size - 1, ti.f32))
    below = ti.min(ti.cast(kept, ti.i32), size - 2)
    free = 1.0 if place == kept else 0.0
    return below, kept - ti.cast(below, ti.f32), free


@ti.func
def origin(
    i: ti.i32,
    p: ti.i32,
    nodes: ti.template(),
    pieces: ti.template(),
    block: ti.f32,
    mx: ti.i32,
    my: ti.i32,
    mz: ti.i32,
    lattice: ti.template(),
):
    """Where an entry's symbols come from: lowest corner, strides, fractions, and where it is free to move."""
    nx = ti.cast(pieces[p * 16 + 2], ti.i32)
    ny = ti.cast(pieces[p * 16 + 3], ti.i32)
    nz = ti.cast(pieces[p * 16 + 4], ti.i32)
    node = nodes[i]
    x, y, z = node % nx, node // nx % ny, node // (nx * ny)
    bx, fx = lattice_axis(x, pieces[p * 16 + 8], block, mx)
    by, fy = lattice_axis(y, pieces[p * 16 + 9], block, my)
    bz, fz = lattice_axis(z, pieces[p * 16 + 10], block, mz)
    moved = ti.Vector([0.0, 0.0, 0.0])
    for corner in ti.static(range(8)):
        wx = fx if ti.static(corner & 1) else 1.0 - fx
        wy = fy if ti.static(corner >> 1 & 1) else 1.0 - fy
        wz = fz if ti.static(corner >> 2) else 1.0 - fz
        at = ((bz + (corner >> 2)) * my + by + (corner >> 1 & 1)) * mx + bx + (corner & 1)
        for a in ti.static(range(3)):
            moved[a] += wx * wy * wz * lattice[at * 3 + a]
    ix, gx, free_x = source_axis(x, moved[0], pieces[p * 16 + 8], nx)
    iy, gy, free_y = source_axis(y, moved[1], pieces[p * 16 + 9], ny)
    iz, gz, free_z = source_axis(z, moved[2], pieces[p * 16 + 10], nz)
    free = ti.Vector([free_x, free_y, free_z])
    return (iz * ny + iy) * nx + ix, nx, nx * ny, ti.Vector([gx, gy, gz]), free


@kernel
def move_values(
    count: ti.i32,
    size: ti.i32,
    n_pieces: ti.i32,
    block: ti.f32,
    mx: ti.i32,
    my: ti.i32,
    mz: ti.i32,
    nodes: I32,  # (count,) node of each entry within its grid
    pieces: F32,  # (n_pieces * 16,)
    lattice: F32,  # (mz * my * mx * 3,) displacements, cells
    sources: F32,  # (4 * size,) symbols and their second differences along x, y, z, each arranged as the values
    values: F32,  # out (size,)
):
    """value = offset + step * (symbols at the origin of each entry)."""
    for i in range(count):
        p = piece_of(i, n_pieces, pieces)
        node, sy, sz, f, _ = origin(i, p, nodes, pieces, block, mx, my, mz, lattice)
        width = ti.cast(pieces[p * 16 + 5], ti.i32)
        base = split_integer(pieces, p, 6)
        step = pieces[p * 16 + 11]
        offset = pieces[p * 16 + 12]
        own = base + nodes[i] * width
        for lane in range(width):
            total = 0.0
            for corner in ti.static(range(8)):
                wx = f[0] if ti.static(corner & 1) else 1.0 - f[0]
                wy = f[1] if ti.static(corner >> 1 & 1) else 1.0 - f[1]
                wz = f[2] if ti.static(corner >> 2) else 1.0 - f[2]
                at = base + (node + (corner & 1) + (corner >> 1 & 1) * sy + (corner >> 2) * sz) * width + lane
                value = sources[at]
                for a in ti.static(range(3)):
                    value -= 0.5 * f[a] * (1.0 - f[a]) * sources[(a + 1) * size + at]
                total += wx * wy * wz * value
            values[own + lane] = offset + step * total


@kernel
def move_bwd(
    count: ti.i32,
    size: ti.i32,
    n_pieces: ti.i32,
    block: ti.f32,
    mx: ti.i32,
    my: ti.i32,
    mz: ti.i32,
    nodes: I32,
    pieces: F32,
    lattice: F32,
    sources: F32,
    gradient: F32,  # (size,) of the values
    pull: F32,  # out (count * 3,) gradient of each entry's displacement, cells
):
    """Adjoint of :func:`move_values` up to the displacement of each entry.

    The change of the second differences from node to node is left out: it is of third order.
    """
    for i in range(count):
        p = piece_of(i, n_pieces, pieces)
        width = ti.cast(pieces[p * 16 + 5], ti.i32)
        base = split_integer(pieces, p, 6)
        own = base + nodes[i] * width
        touched = 0
        for lane in range(width):
            if gradient[own + lane] != 0.0:
                touched = 1
        result = ti.Vector([0.0, 0.0, 0.0])
        if touched == 1:
            node, sy, sz, f, free = origin(i, p, nodes, pieces, block, mx, my, mz, lattice)
            for lane in range(width):
                slope = ti.Vector([0.0, 0.0, 0.0])
                for corner in ti.static(range(8)):
                    w = ti.Vector([1.0 - f[0], 1.0 - f[1], 1.0 - f[2]])
                    sign = ti.Vector([-1.0, -1.0, -1.0])
                    if ti.static(corner & 1):
                        w[0] = f[0]
                        sign[0] = 1.0
                    if ti.static(corner >> 1 & 1):
                        w[1] = f[1]
                        sign[1] = 1.0
                    if ti.static(corner >> 2):
                        w[2] = f[2]
                        sign[2] = 1.0
                    at = base + (node + (corner & 1) + (corner >> 1 & 1) * sy + (corner >> 2) * sz) * width + lane
                    value = sources[at]
                    slope[0] += w[1] * w[2] * sign[0] * value
                    slope[1] += w[0] * w[2] * sign[1] * value
                    slope[2] += w[0] * w[1] * sign[2] * value
                    for a in ti.static(range(3)):
                        bend = sources[(a + 1) * size + at]
                        slope[a] -= (0.5 - f[a]) * w[0] * w[1] * w[2] * bend
                result += gradient[own + lane] * slope
            step = pieces[p * 16 + 11]
            for a in ti.static(range(3)):
                result[a] *= step * free[a] / pieces[p * 16 + 8 + a]
        for a in ti.static(range(3)):
            pull[i * 3 + a] = result[a]


@kernel
def gather_pull(
    count: ti.i32,
    first: I32,  # (count + 1,) where each lattice node's entries begin
    entries: I32,
    weights: F32,  # as entries: the part of the lattice node in the displacement
    pull: F32,
    result: F32,  # out (count * 3,)
):
    """Gradient of the lattice: each node sums over the entries that it moves."""
    for node in range(count):
        total = ti.Vector([0.0, 0.0, 0.0])
        for k in range(first[node], first[node + 1]):
            for a in ti.static(range(3)):
                total[a] += weights[k] * pull[entries[k] * 3 + a]
        for a in ti.static(range(3)):
            result[node * 3 + a] = total[a]
