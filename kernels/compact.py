"""A regulariser of rays: what a ray shows should lie in one place along it (Mip-NeRF 360, arXiv 2111.12077, eq. 15)."""

from ._taichi import F32, I32, ti
from .launch import kernel
from .shade import DENSITY_SCALE, DENSITY_SHIFT, logistic, place


@ti.func
def place_along(distance: ti.f32, half: ti.f32) -> ti.f32:
    """A distance as a number of 0 to 1, which is a half at the distance ``half``."""
    return distance / (distance + half)


@kernel
def compact_bwd(
    rays: ti.i32,
    starts: I32,  # (rays + 1,)
    projection: F32,  # (n_samples, stride), see place of shade.py
    samples: F32,  # (n_samples * 4,) the fourth number is the distance, cells
    stride: ti.i32,
    step: ti.f32,  # in longest sides of the grid
    scale: ti.f32,  # of the sum over rays
    away: ti.f32,  # weight of the second part
    half: ti.f32,  # see place_along, cells
    weights: F32,  # (n_samples,)
    transmittance: F32,  # (rays,)
    d_projection: F32,  # in/out, column 0 only
):
    """Adds the gradient of ``scale`` times the sum over rays of sum_ij w_i w_j |m_i - m_j| + away sum_i w_i (1 - m_i).

    The second part says that of places which explain the pictures equally well the farther one is to be believed: a
    plain wall looks the same as a haze of its colour in the middle of the room. m is a sample's place along its ray, w its compositing weight. Walked back to front like ``composite_bwd``, with the
    sums of w and w m behind the sample and those before it.
    """
    for r in range(rays):
        first = starts[r]
        last = starts[r + 1]
        before = 0.0
        moment_before = 0.0
        for s in range(first, last):
            before += weights[s]
            moment_before += weights[s] * place_along(samples[s * 4 + 3], half)
        behind = 0.0
        moment_behind = 0.0
        passed = transmittance[r]
        pulled = 0.0
        for k in range(last - first):
            s = last - 1 - k
            w = weights[s]
            m = place_along(samples[s * 4 + 3], half)
            before -= w
            moment_before -= w * m
            pull = 2.0 * scale * (m * before - moment_before + moment_behind - m * behind) + scale * away * (1.0 - m)
            at = place(s, 0, stride)
            slope = step * DENSITY_SCALE * logistic(projection[at] - DENSITY_SHIFT)
            d_projection[at] += (passed * pull - pulled) * slope
            passed += w
            pulled += w * pull
            behind += w
            moment_behind += w * m
