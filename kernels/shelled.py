"""March rays through a box and the shell around it that holds the rest of space, contracted.

Inside the box, grid coordinates are cells, as in ``march.py``. Outside, space is contracted into the shell so that a
ray stays straight within each of seven regions, the box and one per face (the piecewise projective contraction of MERF,
arXiv 2302.12249, section 4.1, with a shell of any thickness). In cells from the centre of the box, with a its half
size, b the thickness of the shell, x a point and m = max |x_k| / a_k > 1 at the axis j: g_j = sign(x_j) (a_j +
b_j (1 - 1 / m)) and g_k = x_k / m. Between faces the contraction jumps; zones where two axes lie in the shell hold
nothing.

Samples lie at equal steps of contracted length, so that a step's optical depth is what it is inside. Rays here have
their origin and direction in cells from the lower corner of the *grid*, shell included.
"""

from ._taichi import F32, I32, ti
from .columns import Ray
from .launch import kernel
from .march import AMONG, CELLS, DISTANCES, cell_at, last_step, start_of

# The axis of a point inside the box.
INSIDE = 3


@ti.func
def sizes_along(cells: ti.i32, shell: ti.i32):
    """Along one axis of the grid: its centre, the thickness of the shell, and half the size of the box, cells."""
    centre = 0.5 * ti.cast(cells, ti.f32)
    thickness = ti.cast(shell, ti.f32)
    return centre, thickness, centre - thickness


@ti.func
def region_of(x: ti.f32, y: ti.f32, z: ti.f32, ax: ti.f32, ay: ti.f32, az: ti.f32):
    """Axis of the face that a point (cells from the centre) lies behind, or INSIDE; and its m, at least 1."""
    axis = INSIDE
    m = 1.0
    if ti.abs(x) > m * ax:
        axis = 0
        m = ti.abs(x) / ax
    if ti.abs(y) > m * ay:
        axis = 1
        m = ti.abs(y) / ay
    if ti.abs(z) > m * az:
        axis = 2
        m = ti.abs(z) / az
    return axis, m


@ti.func
def contracted(
    axis: ti.i32,
    m: ti.f32,
    x: ti.f32,
    y: ti.f32,
    z: ti.f32,
    ax: ti.f32,
    ay: ti.f32,
    az: ti.f32,
    bx: ti.f32,
    by: ti.f32,
    bz: ti.f32,
):
    """Grid coordinates, cells from the centre, of a point of a region."""
    part = 1.0 / m
    gx = x * part
    gy = y * part
    gz = z * part
    if axis == 0:
        gx = ti.select(x < 0.0, -1.0, 1.0) * (ax + bx * (1.0 - part))
    if axis == 1:
        gy = ti.select(y < 0.0, -1.0, 1.0) * (ay + by * (1.0 - part))
    if axis == 2:
        gz = ti.select(z < 0.0, -1.0, 1.0) * (az + bz * (1.0 - part))
    return gx, gy, gz


@ti.func
def ahead(
    length: ti.f32,
    axis: ti.i32,
    m: ti.f32,
    x: ti.f32,
    y: ti.f32,
    z: ti.f32,
    dx: ti.f32,
    dy: ti.f32,
    dz: ti.f32,
    ax: ti.f32,
    ay: ti.f32,
    az: ti.f32,
    bx: ti.f32,
    by: ti.f32,
    bz: ti.f32,
) -> ti.f32:
    """How far on along a ray the point lies that is a contracted ``length`` away in the same region, cells.

    With e the rise of m per distance, a point at the distance t has moved by t v / (m (m + t e)) in the grid, where
    v_k = d_k m - e x_k, v_j = b_j e is the same all along the region. Beyond all distances where infinity is nearer.
    """
    result = length
    if axis != INSIDE:
        e = 0.0
        vx = 0.0
        vy = 0.0
        vz = 0.0
        if axis == 0:
            e = ti.select(x < 0.0, -dx, dx) / ax
        if axis == 1:
            e = ti.select(y < 0.0, -dy, dy) / ay
        if axis == 2:
            e = ti.select(z < 0.0, -dz, dz) / az
        vx = bx * e if axis == 0 else dx * m - e * x
        vy = by * e if axis == 1 else dy * m - e * y
        vz = bz * e if axis == 2 else dz * m - e * z
        left = ti.sqrt(vx * vx + vy * vy + vz * vz) - length * m * e
        result = 1e30
        if left > 1e-12:
            result = length * m * m / left
    return result


@kernel
def march_shelled(
    count: ti.i32,
    rays: F32,  # (count * Ray.ROW,)
    occupancy: I32,  # (nz * ny * nx,) as in march.py
    opacity: F32,  # (nz * ny * nx,) lower bound of the optical depth per cell edge
    nx: ti.i32,  # cells of the grid, shell included
    ny: ti.i32,
    nz: ti.i32,
    bx: ti.i32,  # cells of the shell on either side
    by: ti.i32,
    bz: ti.i32,
    step: ti.f32,  # cells
    limit: ti.f32,  # optical depth at which a ray ends
    jitter: ti.i32,  # 1: random start offset per ray
    seed: ti.i32,
    iteration: ti.i32,
    most: ti.i32,  # samples after which a ray ends
    kept: ti.template(),  # NOTHING, DISTANCES, CELLS or AMONG, as in march.py
    between_rays: ti.i32,
    between_samples: ti.i32,
    counts: I32,  # out (count,) samples of each ray
    distances: F32,  # out with DISTANCES, of each sample along its ray, cells
    visited: I32,  # CELLS: in/out, set to 1 where a ray takes a sample; AMONG: 1 or 0, whether samples in a cell count
):
    """As ``march_rays``, ``count_samples``, ``mark_visited`` and ``meet_cells`` of march.py, in a grid with a shell."""
    for i in range(count):
        r = i * Ray.ROW
        cx, sx, ax = sizes_along(nx, bx)
        cy, sy, ay = sizes_along(ny, by)
        cz, sz, az = sizes_along(nz, bz)
        ox = rays[r + Ray.ORIGIN] - cx
        oy = rays[r + Ray.ORIGIN + 1] - cy
        oz = rays[r + Ray.ORIGIN + 2] - cz
        dx = rays[r + Ray.DIRECTION]
        dy = rays[r + Ray.DIRECTION + 1]
        dz = rays[r + Ray.DIRECTION + 2]
        t = rays[r + Ray.ENTRY]
        far = rays[r + Ray.EXIT]
        last = last_step(nx, ny, nz, step)
        steps = start_of(i, jitter, seed, iteration)  # to the next sample
        leap = 0
        depth = 0.0
        found = 0
        k = 0
        while t < far and depth < limit and found < most and k < last:
            x = ox + t * dx
            y = oy + t * dy
            z = oz + t * dz
            axis, m = region_of(x, y, z, ax, ay, az)
            if k > 0:
                gx, gy, gz = contracted(axis, m, x, y, z, ax, ay, az, sx, sy, sz)
                cell = cell_at(gx + cx, gy + cy, gz + cz, nx, ny, nz)
                inside = occupancy[cell]
                steps = 1.0
                leap = 0
                if inside > 0:
                    if ti.static(kept == DISTANCES):
                        distances[i * between_rays + found * between_samples] = t
                    if ti.static(kept == CELLS):
                        # All who write here write the same.
                        visited[cell] = 1
                    if ti.static(kept == AMONG):
                        found += visited[cell]
                    else:
                        found += 1
                    depth += opacity[cell] * step
                elif inside < -2:
                    # A contracted length of so many cells leads no farther along any axis.
                    leap = ti.cast(ti.cast(-inside, ti.f32) / step, ti.i32)
            k += 1
            on = ahead(steps * step, axis, m, x, y, z, dx, dy, dz, ax, ay, az, sx, sy, sz)
            if leap > 1:
                far_on = ahead(ti.cast(leap, ti.f32) * step, axis, m, x, y, z, dx, dy, dz, ax, ay, az, sx, sy, sz)
                then, _ = region_of(x + far_on * dx, y + far_on * dy, z + far_on * dz, ax, ay, az)
                # Regions are convex: between two points of one there is nothing else.
                if far_on < 1e29 and then == axis:
                    on = far_on
            t += on
        counts[i] = found


@kernel
def place_shelled(
    count: ti.i32,
    rays: F32,
    starts: I32,  # (count + 1,) first sample of each ray
    between_rays: ti.i32,
    between_samples: ti.i32,
    distances: F32,
    nx: ti.i32,
    ny: ti.i32,
    nz: ti.i32,
    bx: ti.i32,
    by: ti.i32,
    bz: ti.i32,
    samples: F32,  # out (n_samples * 4,) x, y, z in the grid (cells), distance along the ray (cells, not contracted)
    sample_ray: I32,  # out (n_samples,)
):
    """The samples that :func:`march_shelled` found, packed."""
    for i in range(count):
        r = i * Ray.ROW
        cx, sx, ax = sizes_along(nx, bx)
        cy, sy, ay = sizes_along(ny, by)
        cz, sz, az = sizes_along(nz, bz)
        first = starts[i]
        for k in range(starts[i + 1] - first):
            at = first + k
            t = distances[i * between_rays + k * between_samples]
            x = rays[r + Ray.ORIGIN] - cx + t * rays[r + Ray.DIRECTION]
            y = rays[r + Ray.ORIGIN + 1] - cy + t * rays[r + Ray.DIRECTION + 1]
            z = rays[r + Ray.ORIGIN + 2] - cz + t * rays[r + Ray.DIRECTION + 2]
            axis, m = region_of(x, y, z, ax, ay, az)
            gx, gy, gz = contracted(axis, m, x, y, z, ax, ay, az, sx, sy, sz)
            samples[at * 4] = gx + cx
            samples[at * 4 + 1] = gy + cy
            samples[at * 4 + 2] = gz + cz
            samples[at * 4 + 3] = t
            sample_ray[at] = i
