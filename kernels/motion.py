"""Symbols moved by a lattice of displacements, in floats and with an adjoint: what the search for motion needs.

What a decoder does is the integer arithmetic of ``taichi_vvc/coding/motion.py``; this is the same interpolation without
its rounding. An entry is a node of a moved grid. Its row, that of its grid and those of the grid's pieces are
``Entry``, ``MovedGrid`` and ``Piece`` of ``columns.py``. ``sources`` holds four numbers for each value: for node after
node of a piece the symbols of its channels, then their second differences along x, y and z.
"""

from ._taichi import F32, F32X4, F32X16, I32, ti
from .columns import Entry, MovedGrid, Piece
from .launch import kernel


@ti.func
def source_axis(node: ti.f32, moved: ti.f32, size: ti.f32):
    """Node below the origin along one axis, the fraction above it, and 1 where the origin is free to move (else 0)."""
    place = node + moved
    kept = ti.min(ti.max(place, 0.0), size - 1.0)
    below = ti.min(ti.floor(kept), size - 2.0)
    free = 1.0 if place == kept else 0.0
    return ti.cast(below, ti.i32), kept - below, free


@ti.func
def corner_weight(corner: ti.template(), f: ti.template()) -> ti.f32:
    """Trilinear weight of corner 0 .. 7 (x in bit 0, y in bit 1, z in bit 2)."""
    wx = f[0] if ti.static(corner & 1) else 1.0 - f[0]
    wy = f[1] if ti.static(corner >> 1 & 1) else 1.0 - f[1]
    wz = f[2] if ti.static(corner >> 2) else 1.0 - f[2]
    return wx * wy * wz


@ti.func
def corner_slope(corner: ti.template(), f: ti.template(), axis: ti.template()) -> ti.f32:
    """Derivative of :func:`corner_weight` by the fraction along an axis."""
    result = 1.0 if ti.static(corner >> axis & 1) else -1.0
    for a in ti.static(range(3)):
        if ti.static(a != axis):
            result *= f[a] if ti.static(corner >> a & 1) else 1.0 - f[a]
    return result


@ti.func
def origin(
    i: ti.i32,
    g: ti.i32,
    mx: ti.i32,
    my: ti.i32,
    entries: ti.template(),
    grids: ti.template(),
    lattice: ti.template(),
    four: ti.template(),
):
    """Where an entry's symbols come from: lowest corner, strides, fractions, and where it is free to move."""
    e = i * Entry.ROW
    at_grid = g * MovedGrid.ROW
    first = ti.cast(entries[e + Entry.BELOW], ti.i32)
    f = ti.Vector([entries[e + Entry.ABOVE], entries[e + Entry.ABOVE + 1], entries[e + Entry.ABOVE + 2]])
    moved = ti.Vector([0.0, 0.0, 0.0, 0.0])
    for corner in ti.static(range(8)):
        weight = corner_weight(corner, f)
        at = first + ((corner >> 2) * my + (corner >> 1 & 1)) * mx + (corner & 1)
        if ti.static(four):
            moved += weight * lattice[at]
        else:
            for a in ti.static(range(3)):
                moved[a] += weight * lattice[at * 4 + a]
    nodes = at_grid + MovedGrid.NODES
    scale = at_grid + MovedGrid.PER_CELL
    nx, ny = ti.cast(grids[nodes], ti.i32), ti.cast(grids[nodes + 1], ti.i32)
    ix, fx, free_x = source_axis(entries[e + Entry.NODE], moved[0] * grids[scale], grids[nodes])
    iy, fy, free_y = source_axis(entries[e + Entry.NODE + 1], moved[1] * grids[scale + 1], grids[nodes + 1])
    iz, fz, free_z = source_axis(entries[e + Entry.NODE + 2], moved[2] * grids[scale + 2], grids[nodes + 2])
    return (iz * ny + iy) * nx + ix, nx, nx * ny, ti.Vector([fx, fy, fz]), ti.Vector([free_x, free_y, free_z])


@ti.func
def entry_node(i: ti.i32, g: ti.i32, entries: ti.template(), grids: ti.template()) -> ti.i32:
    """An entry's node within its grid."""
    at = i * Entry.ROW + Entry.NODE
    nodes = g * MovedGrid.ROW + MovedGrid.NODES
    x, y, z = ti.cast(entries[at], ti.i32), ti.cast(entries[at + 1], ti.i32), ti.cast(entries[at + 2], ti.i32)
    return (z * ti.cast(grids[nodes + 1], ti.i32) + y) * ti.cast(grids[nodes], ti.i32) + x


@ti.func
def grid_of(i: ti.i32, entries: ti.template()) -> ti.i32:
    """The grid that an entry is a node of."""
    return ti.cast(entries[i * Entry.ROW + Entry.GRID], ti.i32)


@ti.func
def pieces_of(g: ti.i32, grids: ti.template()):
    """First and last + 1 piece of a grid."""
    row = g * MovedGrid.ROW
    first = ti.cast(grids[row + MovedGrid.FIRST_PIECE], ti.i32)
    return first, first + ti.cast(grids[row + MovedGrid.PIECES], ti.i32)


@kernel
def move_values(
    count: ti.i32,
    mx: ti.i32,
    my: ti.i32,
    entries: F32,  # (count * Entry.ROW,)
    grids: F32,  # (moved grids * MovedGrid.ROW,)
    pieces: I32,  # (pieces * Piece.ROW,)
    lattice: F32,  # (mz * my * mx * 4,) displacements, cells, and a number that is not read
    sources: F32,  # (4 * size,)
    values: F32,  # out (size,)
):
    """value = offset + step * (symbols at the origin of each entry)."""
    for i in range(count):
        g = grid_of(i, entries)
        node, sy, sz, f, _ = origin(i, g, mx, my, entries, grids, lattice, False)
        own = entry_node(i, g, entries, grids)
        first, last = pieces_of(g, grids)
        step, offset = grids[g * MovedGrid.ROW + MovedGrid.STEP], grids[g * MovedGrid.ROW + MovedGrid.OFFSET]
        for p in range(first, last):
            base = pieces[p * Piece.ROW + Piece.FIRST]
            width = pieces[p * Piece.ROW + Piece.CHANNELS]
            for lane in range(width):
                total = 0.0
                for corner in ti.static(range(8)):
                    at = node + (corner & 1) + (corner >> 1 & 1) * sy + (corner >> 2) * sz
                    at = (base + at * width) * 4 + lane
                    value = sources[at]
                    for a in ti.static(range(3)):
                        value -= 0.5 * f[a] * (1.0 - f[a]) * sources[at + (a + 1) * width]
                    total += corner_weight(corner, f) * value
                values[base + own * width + lane] = offset + step * total


@kernel
def move_bwd(
    count: ti.i32,
    mx: ti.i32,
    my: ti.i32,
    entries: F32,
    grids: F32,
    pieces: I32,
    lattice: F32,
    sources: F32,
    gradient: F32,  # (size,) of the values
    pull: F32,  # out (count * 4,) gradient of each entry's displacement, cells, and 0
):
    """Adjoint of :func:`move_values` up to the displacement of each entry.

    The change of the second differences from node to node is left out: it is of third order.
    """
    for i in range(count):
        g = grid_of(i, entries)
        own = entry_node(i, g, entries, grids)
        first, last = pieces_of(g, grids)
        touched = 0
        for p in range(first, last):
            base = pieces[p * Piece.ROW + Piece.FIRST]
            width = pieces[p * Piece.ROW + Piece.CHANNELS]
            for k in range(width):
                if gradient[base + own * width + k] != 0.0:
                    touched = 1
        result = ti.Vector([0.0, 0.0, 0.0])
        if touched == 1:
            node, sy, sz, f, free = origin(i, g, mx, my, entries, grids, lattice, False)
            for p in range(first, last):
                base = pieces[p * Piece.ROW + Piece.FIRST]
                width = pieces[p * Piece.ROW + Piece.CHANNELS]
                for lane in range(width):
                    slope = ti.Vector([0.0, 0.0, 0.0])
                    for corner in ti.static(range(8)):
                        at = node + (corner & 1) + (corner >> 1 & 1) * sy + (corner >> 2) * sz
                        at = (base + at * width) * 4 + lane
                        for a in ti.static(range(3)):
                            slope[a] += corner_slope(corner, f, a) * sources[at]
                            slope[a] -= (0.5 - f[a]) * corner_weight(corner, f) * sources[at + (a + 1) * width]
                    result += gradient[base + own * width + lane] * slope
            step = grids[g * MovedGrid.ROW + MovedGrid.STEP]
            for a in ti.static(range(3)):
                result[a] *= free[a] * step * grids[g * MovedGrid.ROW + MovedGrid.PER_CELL + a]
        for a in ti.static(range(3)):
            pull[i * 4 + a] = result[a]
        pull[i * 4 + 3] = 0.0


@kernel
def gather_pull(
    count: ti.i32,
    first: I32,  # (count + 1,) where each lattice node's entries begin
    entries: I32,
    weights: F32,  # as entries: the part of the lattice node in the displacement
    pull: F32,
    result: F32,  # out (count * 4,)
):
    """Gradient of the lattice: each node sums over the entries that it moves."""
    for node in range(count):
        total = ti.Vector([0.0, 0.0, 0.0])
        for k in range(first[node], first[node + 1]):
            for a in ti.static(range(3)):
                total[a] += weights[k] * pull[entries[k] * 4 + a]
        for a in ti.static(range(3)):
            result[node * 4 + a] = total[a]
        result[node * 4 + 3] = 0.0


@ti.func
def four_of(values: ti.template(), k: ti.template()):
    """The k-th four of sixteen."""
    return ti.Vector([values[4 * k], values[4 * k + 1], values[4 * k + 2], values[4 * k + 3]])


@kernel
def move_values_fours(
    count: ti.i32,
    mx: ti.i32,
    my: ti.i32,
    entries: F32,
    grids: F32,
    pieces: I32,
    lattice: F32X4,  # (mz * my * mx,)
    sources: F32X16,  # (size / 4,)
    values: F32X4,  # out (size / 4,)
):
    """:func:`move_values` for the CPU where all pieces have four channels, each four read at once."""
    for i in range(count):
        g = grid_of(i, entries)
        node, sy, sz, f, _ = origin(i, g, mx, my, entries, grids, lattice, True)
        own = entry_node(i, g, entries, grids)
        first, last = pieces_of(g, grids)
        step, offset = grids[g * MovedGrid.ROW + MovedGrid.STEP], grids[g * MovedGrid.ROW + MovedGrid.OFFSET]
        curve = 0.5 * f * (1.0 - f)
        for p in range(first, last):
            base = pieces[p * Piece.ROW + Piece.FIRST] >> 2
            total = ti.Vector([0.0] * 16)
            for corner in ti.static(range(8)):
                at = base + node + (corner & 1) + (corner >> 1 & 1) * sy + (corner >> 2) * sz
                total += corner_weight(corner, f) * sources[at]
            bend = curve[0] * four_of(total, 1) + curve[1] * four_of(total, 2) + curve[2] * four_of(total, 3)
            values[base + own] = offset + step * (four_of(total, 0) - bend)


@kernel
def move_bwd_fours(
    count: ti.i32,
    mx: ti.i32,
    my: ti.i32,
    entries: F32,
    grids: F32,
    pieces: I32,
    lattice: F32X4,
    sources: F32X16,
    gradient: F32X4,
    pull: F32X4,  # out (count,)
):
    """:func:`move_bwd` for the CPU where all pieces have four channels."""
    for i in range(count):
        g = grid_of(i, entries)
        own = entry_node(i, g, entries, grids)
        first, last = pieces_of(g, grids)
        touched = 0
        for p in range(first, last):
            d = gradient[(pieces[p * Piece.ROW + Piece.FIRST] >> 2) + own]
            if d[0] != 0.0 or d[1] != 0.0 or d[2] != 0.0 or d[3] != 0.0:
                touched = 1
        result = ti.Vector([0.0, 0.0, 0.0, 0.0])
        if touched == 1:
            node, sy, sz, f, free = origin(i, g, mx, my, entries, grids, lattice, True)
            slope_x, slope_y, slope_z = result, result, result
            for p in range(first, last):
                base = pieces[p * Piece.ROW + Piece.FIRST] >> 2
                d = gradient[base + own]
                total = ti.Vector([0.0] * 16)
                along_x, along_y, along_z = ti.Vector([0.0] * 4), ti.Vector([0.0] * 4), ti.Vector([0.0] * 4)
                for corner in ti.static(range(8)):
                    at = base + node + (corner & 1) + (corner >> 1 & 1) * sy + (corner >> 2) * sz
                    near = sources[at]
                    total += corner_weight(corner, f) * near
                    symbols = four_of(near, 0)
                    along_x += corner_slope(corner, f, 0) * symbols
                    along_y += corner_slope(corner, f, 1) * symbols
                    along_z += corner_slope(corner, f, 2) * symbols
                slope_x += d * (along_x - (0.5 - f[0]) * four_of(total, 1))
                slope_y += d * (along_y - (0.5 - f[1]) * four_of(total, 2))
                slope_z += d * (along_z - (0.5 - f[2]) * four_of(total, 3))
            step = grids[g * MovedGrid.ROW + MovedGrid.STEP]
            scale = g * MovedGrid.ROW + MovedGrid.PER_CELL
            result[0] = slope_x.sum() * free[0] * step * grids[scale]
            result[1] = slope_y.sum() * free[1] * step * grids[scale + 1]
            result[2] = slope_z.sum() * free[2] * step * grids[scale + 2]
        pull[i] = result


@kernel
def gather_pull_fours(
    count: ti.i32,
    first: I32,
    entries: I32,
    weights: F32,
    pull: F32X4,
    result: F32X4,  # out (count,)
):
    """:func:`gather_pull` for the CPU."""
    for node in range(count):
        total = ti.Vector([0.0, 0.0, 0.0, 0.0])
        for k in range(first[node], first[node + 1]):
            total += weights[k] * pull[entries[k]]
        result[node] = total
