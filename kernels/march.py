"""March rays through the occupied cells into packed samples.

Samples lie at ``entry + (k + jitter) * step``; those in empty cells are skipped. A coarse lower bound of the density
per cell (``opacity``: optical depth per cell edge, 0 where unknown) ends a ray once nothing behind can be seen, before
any network is evaluated.
"""

from ._taichi import F32, I32, ti
from .geometry import uniform
from .launch import kernel


@ti.func
def cell_at(x: ti.f32, y: ti.f32, z: ti.f32, nx: ti.i32, ny: ti.i32, nz: ti.i32) -> ti.i32:
    """Flat index of the cell that holds a point (cells, x fastest), clamped to the bounds."""
    i = ti.min(ti.max(ti.cast(x, ti.i32), 0), nx - 1)
    j = ti.min(ti.max(ti.cast(y, ti.i32), 0), ny - 1)
    k = ti.min(ti.max(ti.cast(z, ti.i32), 0), nz - 1)
    return (k * ny + j) * nx + i


@kernel
def count_samples(
    count: ti.i32,
    rays: F32,  # (count * 8,) cells
    occupancy: I32,  # (nz * ny * nx,) 1 where samples are taken
    opacity: F32,  # (nz * ny * nx,) lower bound of the optical depth per cell edge
    nx: ti.i32,
    ny: ti.i32,
    nz: ti.i32,
    step: ti.f32,  # cells
    limit: ti.f32,  # optical depth at which a ray ends
    jitter: ti.i32,  # 1: random start offset per ray
    seed: ti.i32,
    iteration: ti.i32,
    counts: I32,  # out (count,)
):
    """Number of samples of each ray."""
    for i in range(count):
        r = i * 8
        offset = 0.5
        if jitter == 1:
            offset = uniform(seed, iteration, i)
        t = rays[r + 6] + offset * step
        far = rays[r + 7]
        depth = 0.0
        found = 0
        while t < far and depth < limit:
            cell = cell_at(
                rays[r] + t * rays[r + 3], rays[r + 1] + t * rays[r + 4], rays[r + 2] + t * rays[r + 5], nx, ny, nz
            )
            if occupancy[cell] != 0:
                found += 1
                depth += opacity[cell] * step
            t += step
        counts[i] = found


@kernel
def write_samples(
    count: ti.i32,
    rays: F32,  # (count * 8,) cells
    occupancy: I32,
    opacity: F32,
    nx: ti.i32,
    ny: ti.i32,
    nz: ti.i32,
    step: ti.f32,
    limit: ti.f32,
    jitter: ti.i32,
    seed: ti.i32,
    iteration: ti.i32,
    starts: I32,  # (count + 1,) first sample of each ray
    samples: F32,  # out (n_samples * 4,) x, y, z (cells), distance along the ray (cells)
    sample_ray: I32,  # out (n_samples,)
):
    """The samples themselves; arguments as :func:`count_samples`."""
    for i in range(count):
        r = i * 8
        offset = 0.5
        if jitter == 1:
            offset = uniform(seed, iteration, i)
        t = rays[r + 6] + offset * step
        far = rays[r + 7]
        at = starts[i]
        end = starts[i + 1]
        while at < end:
            x = rays[r] + t * rays[r + 3]
            y = rays[r + 1] + t * rays[r + 4]
            z = rays[r + 2] + t * rays[r + 5]
            cell = cell_at(x, y, z, nx, ny, nz)
            # A device may round this kernel and count_samples differently: a sample that is not met again is put at the
            # far end, where the loop would never end without it.
            if occupancy[cell] != 0 or t >= far:
                samples[at * 4] = x
                samples[at * 4 + 1] = y
                samples[at * 4 + 2] = z
                samples[at * 4 + 3] = t
                sample_ray[at] = i
                at += 1
            t += step


@kernel
def exclusive_sum(
    count: ti.i32,
    counts: I32,  # (count,)
    starts: I32,  # out (count + 1,)
    chunk: ti.i32,
    partial: I32,  # scratch (ceil(count / chunk),)
):
    """Exclusive prefix sum in two levels; ``chunk`` is about sqrt(count), which bounds every thread's loop."""
    blocks = (count + chunk - 1) // chunk
    for b in range(blocks):
        total = 0
        for i in range(b * chunk, ti.min(count, (b + 1) * chunk)):
            total += counts[i]
        partial[b] = total
    for b in range(blocks):
        total = 0
        for before in range(b):
            total += partial[before]
        for i in range(b * chunk, ti.min(count, (b + 1) * chunk)):
            starts[i] = total
            total += counts[i]
        if b == blocks - 1:
            starts[count] = total


@kernel
def mark_visited(
    count: ti.i32,
    rays: F32,
    occupancy: I32,
    opacity: F32,
    nx: ti.i32,
    ny: ti.i32,
    nz: ti.i32,
    step: ti.f32,
    limit: ti.f32,
    visited: I32,  # in/out (nz * ny * nx,) set to 1 where a ray takes a sample
):
    """Mark the occupied cells that any ray reaches before it ends. All writers store the same value."""
    for i in range(count):
        r = i * 8
        t = rays[r + 6] + 0.5 * step
        far = rays[r + 7]
        depth = 0.0
        while t < far and depth < limit:
            cell = cell_at(
                rays[r] + t * rays[r + 3], rays[r + 1] + t * rays[r + 4], rays[r + 2] + t * rays[r + 5], nx, ny, nz
            )
            if occupancy[cell] != 0:
                visited[cell] = 1
                depth += opacity[cell] * step
            t += step
