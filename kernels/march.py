"""March rays through the occupied cells into packed samples.

Samples lie at ``entry + (k + jitter) * step``; those in empty cells are skipped. A coarse lower bound of the density
per cell (``opacity``: optical depth per cell edge, 0 where unknown) ends a ray once nothing behind can be seen, before
any network is evaluated.

In ``occupancy`` an occupied cell has the number 1. An empty one has 0, or -v where all cells up to v away along every
axis are empty: steps within them are passed over.
"""

from ._taichi import F32, I32, ti
from .columns import Ray
from .geometry import uniform
from .launch import kernel

# What a march keeps of its samples.
NOTHING = 0
DISTANCES = 1
CELLS = 2
AMONG = 3


@ti.func
def cell_at(x: ti.f32, y: ti.f32, z: ti.f32, nx: ti.i32, ny: ti.i32, nz: ti.i32) -> ti.i32:
    """Flat index of the cell that holds a point (cells, x fastest), clamped to the bounds."""
    i = ti.min(ti.max(ti.cast(x, ti.i32), 0), nx - 1)
    j = ti.min(ti.max(ti.cast(y, ti.i32), 0), ny - 1)
    k = ti.min(ti.max(ti.cast(z, ti.i32), 0), nz - 1)
    return (k * ny + j) * nx + i


@ti.func
def last_step(nx: ti.i32, ny: ti.i32, nz: ti.i32, step: ti.f32) -> ti.i32:
    """Steps that are more than any ray takes through the bounds, twice their diagonal.

    Loops count up to it besides, since a distance need not grow: that of a camera too far away for 32 bits does not,
    and one that is no number is never beyond the far end.
    """
    x = ti.cast(nx, ti.f32)
    y = ti.cast(ny, ti.f32)
    z = ti.cast(nz, ti.f32)
    return ti.cast(2.0 * ti.sqrt(x * x + y * y + z * z) / step, ti.i32) + 16


@ti.func
def march(
    i: ti.i32,
    rays: ti.template(),
    occupancy: ti.template(),
    opacity: ti.template(),
    nx: ti.i32,
    ny: ti.i32,
    nz: ti.i32,
    step: ti.f32,
    limit: ti.f32,
    offset: ti.f32,  # of the first sample from the entry, steps
    most: ti.i32,  # samples after which it ends
    summed: ti.template(),  # whether distances are sums of steps
    kept: ti.template(),  # NOTHING, DISTANCES, CELLS or AMONG
    # DISTANCES: (first + k * along) gets that of sample k; CELLS: 1 where a sample is taken; AMONG: 1 or 0, whether
    # samples in a cell count
    target: ti.template(),
    first: ti.i32,
    along: ti.i32,
) -> ti.i32:
    """Walk along one ray; returns how many samples it takes.

    Sums of steps round differently. Which pixels a fit draws and which cells it drops are chosen by them: its stream
    depends on every one.
    """
    r = i * Ray.ROW
    ox = rays[r + Ray.ORIGIN]
    oy = rays[r + Ray.ORIGIN + 1]
    oz = rays[r + Ray.ORIGIN + 2]
    dx = rays[r + Ray.DIRECTION]
    dy = rays[r + Ray.DIRECTION + 1]
    dz = rays[r + Ray.DIRECTION + 2]
    near = rays[r + Ray.ENTRY] + offset * step
    far = rays[r + Ray.EXIT]
    # Steps that it takes to pass one cell along the axis on which the ray is quickest.
    steps = 1.0 / (step * ti.max(ti.abs(dx), ti.max(ti.abs(dy), ti.abs(dz))))
    t = near
    k = 0
    last = last_step(nx, ny, nz, step)
    depth = 0.0
    found = 0
    while t < far and depth < limit and found < most and k < last:
        cell = cell_at(ox + t * dx, oy + t * dy, oz + t * dz, nx, ny, nz)
        inside = occupancy[cell]
        if inside > 0:
            if ti.static(kept == DISTANCES):
                target[first + found * along] = t
            if ti.static(kept == CELLS):
                # All who write here write the same.
                target[cell] = 1
            if ti.static(kept == AMONG):
                found += target[cell]
            else:
                found += 1
            depth += opacity[cell] * step
        if ti.static(summed):
            k += 1
            t += step
        else:
            # A processor foresees what follows a single step, not how far a leap goes: short ones do not pay.
            if inside < -2:
                # At least one, however long steps are.
                k += ti.max(1, ti.cast(ti.cast(-inside, ti.f32) * steps, ti.i32))
            else:
                k += 1
            # Not a sum of steps: what is passed over must not change where the next sample lies.
            t = near + ti.cast(k, ti.f32) * step
    return found


@ti.func
def start_of(i: ti.i32, jitter: ti.i32, seed: ti.i32, iteration: ti.i32) -> ti.f32:
    """Offset of a ray's first sample from its entry, steps: at random with ``jitter``, else half a step."""
    offset = 0.5
    if jitter == 1:
        offset = uniform(seed, iteration, i)
    return offset


@kernel
def march_rays(
    count: ti.i32,
    rays: F32,  # (count * Ray.ROW,)
    occupancy: I32,  # (nz * ny * nx,) see above
    opacity: F32,  # (nz * ny * nx,) lower bound of the optical depth per cell edge
    nx: ti.i32,
    ny: ti.i32,
    nz: ti.i32,
    step: ti.f32,  # cells
    limit: ti.f32,  # optical depth at which a ray ends
    jitter: ti.i32,  # 1: random start offset per ray
    seed: ti.i32,
    iteration: ti.i32,
    most: ti.i32,  # samples per ray that there is room for
    between_rays: ti.i32,  # distances in ``distances`` from a ray to the next, and from a sample to the next
    between_samples: ti.i32,
    counts: I32,  # out (count,) samples of each ray
    distances: F32,  # out, of each sample along its ray, cells
):
    """How many samples each ray has, and where; :func:`place_samples` packs them."""
    for i in range(count):
        offset = start_of(i, jitter, seed, iteration)
        first = i * between_rays
        counts[i] = march(
            i,
            rays,
            occupancy,
            opacity,
            nx,
            ny,
            nz,
            step,
            limit,
            offset,
            most,
            False,
            DISTANCES,
            distances,
            first,
            between_samples,
        )


@kernel
def place_samples(
    count: ti.i32,
    rays: F32,
    starts: I32,  # (count + 1,) first sample of each ray
    between_rays: ti.i32,  # see march_rays
    between_samples: ti.i32,
    distances: F32,
    samples: F32,  # out (n_samples * 4,) x, y, z (cells), distance along the ray (cells)
    sample_ray: I32,  # out (n_samples,)
):
    """The samples that :func:`march_rays` found, packed."""
    for i in range(count):
        r = i * Ray.ROW
        first = starts[i]
        for k in range(starts[i + 1] - first):
            at = first + k
            t = distances[i * between_rays + k * between_samples]
            samples[at * 4] = rays[r + Ray.ORIGIN] + t * rays[r + Ray.DIRECTION]
            samples[at * 4 + 1] = rays[r + Ray.ORIGIN + 1] + t * rays[r + Ray.DIRECTION + 1]
            samples[at * 4 + 2] = rays[r + Ray.ORIGIN + 2] + t * rays[r + Ray.DIRECTION + 2]
            samples[at * 4 + 3] = t
            sample_ray[at] = i


@kernel
def count_samples(
    count: ti.i32,
    rays: F32,  # arguments as those of march_rays
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
    most: ti.i32,  # samples after which a ray ends
    summed: ti.template(),  # see march
    counts: I32,  # out (count,)
):
    """How many samples each ray has, without room for them."""
    for i in range(count):
        offset = start_of(i, jitter, seed, iteration)
        counts[i] = march(
            i, rays, occupancy, opacity, nx, ny, nz, step, limit, offset, most, summed, NOTHING, counts, 0, 0
        )


@kernel
def exclusive_sum(
    count: ti.i32,
    counts: I32,  # (count,)
    starts: I32,  # out (count + 1,)
    chunk: ti.i32,
    partial: I32,  # scratch (ceil(count / chunk) + ceil(count / chunk^2),)
):
    """Exclusive prefix sum in three levels; ``chunk`` is about the cube root of ``count``, which bounds all loops."""
    blocks = (count + chunk - 1) // chunk
    for b in range(blocks):
        total = 0
        for i in range(b * chunk, ti.min(count, (b + 1) * chunk)):
            total += counts[i]
        partial[b] = total
    for large in range((blocks + chunk - 1) // chunk):
        total = 0
        for b in range(large * chunk, ti.min(blocks, (large + 1) * chunk)):
            total += partial[b]
        partial[blocks + large] = total
    for b in range(blocks):
        total = 0
        for large in range(b // chunk):
            total += partial[blocks + large]
        for before in range(b // chunk * chunk, b):
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
    """Mark the occupied cells that any ray reaches before it ends."""
    for i in range(count):
        # More samples than a ray has steps.
        most = last_step(nx, ny, nz, step)
        march(i, rays, occupancy, opacity, nx, ny, nz, step, limit, 0.5, most, True, CELLS, visited, 0, 0)


@kernel
def meet_cells(
    count: ti.i32,
    rays: F32,
    occupancy: I32,
    opacity: F32,
    nx: ti.i32,
    ny: ti.i32,
    nz: ti.i32,
    step: ti.f32,
    limit: ti.f32,
    among: I32,  # (nz * ny * nx,) 1 for the cells that are looked for, else 0
    met: I32,  # out (count,) 1 for rays that take a sample in one of them before they end, else 0
):
    """Which rays meet some of the occupied cells."""
    for i in range(count):
        met[i] = march(i, rays, occupancy, opacity, nx, ny, nz, step, limit, 0.5, 1, True, AMONG, among, 0, 0)
