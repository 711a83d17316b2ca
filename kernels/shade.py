"""Density activation, transmittance weights and compositing, front to back, with hand-written adjoints.

Per ray, with optical depth tau_i = sigma_i * step (Max 1995; NeRF eq. 3):
alpha_i = 1 - exp(-tau_i), T_i = prod_{j<i} (1 - alpha_j), w_i = T_i alpha_i,
colour = sum_i w_i c_i + T_end * background.
Projection rows hold the raw density in column 0 and appearance features behind it;
sigma = DENSITY_SCALE * softplus(raw - DENSITY_SHIFT), per longest side of the bounds.
"""

from ._taichi import F32, I32, ti
from .launch import kernel

DENSITY_SCALE = 50.0
DENSITY_SHIFT = 3.0


@ti.func
def softplus(x: ti.f32) -> ti.f32:
    """log(1 + exp(x)) without overflow."""
    return ti.max(x, 0.0) + ti.log(1.0 + ti.exp(-ti.abs(x)))


@ti.func
def logistic(x: ti.f32) -> ti.f32:
    """1 / (1 + exp(-x)) without overflow."""
    e = ti.exp(-ti.abs(x))
    return (1.0 if x >= 0.0 else e) / (1.0 + e)


@ti.func
def place(s: ti.i32, k: ti.i32, stride: ti.i32) -> ti.i32:
    """Index of column k of sample s where rows of ``stride`` floats lie one behind the other.

    Or, for a negative stride, where blocks of ``-stride`` floats hold sixteen samples column by column (the CPU).
    """
    at = s * stride + k
    if stride < 0:
        at = (s >> 4) * -stride + k * 16 + (s & 15)
    return at


@kernel
def weights_fwd(
    rays: ti.i32,
    starts: I32,  # (rays + 1,)
    projection: F32,  # (n_samples, stride), see place
    samples: F32,  # (n_samples * 4,) the fourth number is the distance, cells
    stride: ti.i32,
    step: ti.f32,  # in longest sides of the bounds
    weights: F32,  # out (n_samples,)
    transmittance: F32,  # out (rays,) what passes the whole ray
    depth: F32,  # out (rays,) sum of w_i t_i, cells
):
    """Compositing weights of all samples of each ray."""
    for r in range(rays):
        passed = 1.0
        distance = 0.0
        for s in range(starts[r], starts[r + 1]):
            tau = DENSITY_SCALE * softplus(projection[place(s, 0, stride)] - DENSITY_SHIFT) * step
            remaining = passed * ti.exp(-tau)
            w = passed - remaining
            weights[s] = w
            distance += w * samples[s * 4 + 3]
            passed = remaining
        transmittance[r] = passed
        depth[r] = distance


@kernel
def composite_fwd(
    rays: ti.i32,
    starts: I32,
    weights: F32,
    rgb: F32,  # (n_samples * 3,)
    transmittance: F32,
    background: F32,  # (rays * 3,)
    colour: F32,  # out (rays * 3,)
):
    """Colour of each ray over its background."""
    for r in range(rays):
        passed = transmittance[r]
        red = passed * background[r * 3]
        green = passed * background[r * 3 + 1]
        blue = passed * background[r * 3 + 2]
        for s in range(starts[r], starts[r + 1]):
            w = weights[s]
            red += w * rgb[s * 3]
            green += w * rgb[s * 3 + 1]
            blue += w * rgb[s * 3 + 2]
        colour[r * 3] = red
        colour[r * 3 + 1] = green
        colour[r * 3 + 2] = blue


@ti.func
def sample_bwd(
    s: ti.i32,
    passed: ti.f32,
    behind: ti.f32,
    gr: ti.f32,
    gg: ti.f32,
    gb: ti.f32,
    projection: ti.template(),
    stride: ti.i32,
    step: ti.f32,
    weights: ti.template(),
    rgb: ti.template(),
    d_rgb: ti.template(),
    d_projection: ti.template(),
):
    """One sample's gradients on the way from back to front; what passes, and what lies, behind the next."""
    w = weights[s]
    shown = gr * rgb[s * 3] + gg * rgb[s * 3 + 1] + gb * rgb[s * 3 + 2]
    at = place(s, 0, stride)
    raw = projection[at] - DENSITY_SHIFT
    d_projection[at] = (passed * shown - behind) * step * DENSITY_SCALE * logistic(raw)
    d_rgb[s * 3] = w * gr
    d_rgb[s * 3 + 1] = w * gg
    d_rgb[s * 3 + 2] = w * gb
    return passed + w, behind + w * shown


@kernel
def composite_bwd(
    rays: ti.i32,
    starts: I32,
    projection: F32,
    stride: ti.i32,
    step: ti.f32,
    weights: F32,
    rgb: F32,
    transmittance: F32,
    background: F32,
    d_colour: F32,  # (rays * 3,)
    d_rgb: F32,  # out (n_samples * 3,)
    d_projection: F32,  # out (n_samples * stride,) column 0 only
):
    """Adjoint of :func:`weights_fwd` and :func:`composite_fwd` together.

    With g the gradient of the colour, d/dtau_i = T_{i+1} (g . c_i) - sum_{j>i} w_j (g . c_j) - T_end (g . background):
    walked back to front, so that no division by 1 - alpha occurs.
    """
    for r in range(rays):
        gr = d_colour[r * 3]
        gg = d_colour[r * 3 + 1]
        gb = d_colour[r * 3 + 2]
        passed = transmittance[r]
        behind = passed * (gr * background[r * 3] + gg * background[r * 3 + 1] + gb * background[r * 3 + 2])
        first = starts[r]
        for k in range(starts[r + 1] - first):
            s = starts[r + 1] - 1 - k
            passed, behind = sample_bwd(
                s, passed, behind, gr, gg, gb, projection, stride, step, weights, rgb, d_rgb, d_projection
            )


@kernel
def composite_loss(
    rays: ti.i32,
    starts: I32,
    projection: F32,
    stride: ti.i32,
    step: ti.f32,
    scale: ti.f32,
    red_behind: ti.f32,  # mean colour of the background
    green_behind: ti.f32,
    blue_behind: ti.f32,
    spread: ti.f32,
    weights: F32,
    rgb: F32,
    transmittance: F32,
    targets: F32,  # (rays * 4,) colour over the background, and the part of it that shows through
    errors: F32,  # out (rays,)
    d_rgb: F32,  # out
    d_projection: F32,  # out, column 0 only
):
    """:func:`composite_fwd`, squared errors, and the adjoint of ``scale`` times their sum, in one pass.

    The error is the one expected where the background is drawn at random, with the mean given and variances whose sum
    over the channels is ``spread``: |colour - target|^2 over the mean + spread (what passes - what should)^2.
    """
    for r in range(rays):
        passed = transmittance[r]
        red = passed * red_behind - targets[r * 4]
        green = passed * green_behind - targets[r * 4 + 1]
        blue = passed * blue_behind - targets[r * 4 + 2]
        clear = passed - targets[r * 4 + 3]
        first = starts[r]
        last = starts[r + 1]
        for s in range(first, last):
            w = weights[s]
            red += w * rgb[s * 3]
            green += w * rgb[s * 3 + 1]
            blue += w * rgb[s * 3 + 2]
        errors[r] = red * red + green * green + blue * blue + spread * clear * clear
        gr = 2.0 * scale * red
        gg = 2.0 * scale * green
        gb = 2.0 * scale * blue
        behind = passed * (gr * red_behind + gg * green_behind + gb * blue_behind + 2.0 * scale * spread * clear)
        for k in range(last - first):
            s = last - 1 - k
            passed, behind = sample_bwd(
                s, passed, behind, gr, gg, gb, projection, stride, step, weights, rgb, d_rgb, d_projection
            )


@kernel
def select_samples(
    rays: ti.i32,
    starts: I32,  # (rays + 1,)
    weights: F32,
    threshold: ti.f32,
    selected: I32,  # out, indices of samples whose weight exceeds the threshold, ray by ray in any order
    counter: I32,  # in/out (1,) must be 0
):
    """Compact the samples that carry weight. All of a ray are counted at once: threads of a GPU would queue for it."""
    for r in range(rays):
        found = 0
        for s in range(starts[r], starts[r + 1]):
            if weights[s] > threshold:
                found += 1
        if found > 0:
            at = ti.atomic_add(counter[0], found)
            for s in range(starts[r], starts[r + 1]):
                if weights[s] > threshold:
                    selected[at] = s
                    at += 1


@kernel
def colour_inputs_fwd(
    count: ti.i32,
    selected: I32,  # (count,)
    sample_ray: I32,
    projection: F32,
    stride: ti.i32,
    directions: F32,  # (rays * direction_width,)
    direction_width: ti.i32,
    inputs: F32,  # out (count * (stride - 1 + direction_width),)
):
    """Rows of the colour MLP: appearance features, then the encoded direction of the sample's ray."""
    for m in range(count):
        s = selected[m]
        width = stride - 1 + direction_width
        for k in range(stride - 1):
            inputs[m * width + k] = projection[s * stride + 1 + k]
        r = sample_ray[s]
        for k in range(direction_width):
            inputs[m * width + stride - 1 + k] = directions[r * direction_width + k]


@kernel
def colour_inputs_bwd(
    count: ti.i32,
    selected: I32,
    stride: ti.i32,
    direction_width: ti.i32,
    d_inputs: F32,  # (count * (stride - 1 + direction_width),)
    d_projection: F32,  # in/out: columns 1.. of the selected rows are overwritten
):
    """Adjoint of :func:`colour_inputs_fwd` with respect to the appearance features."""
    for m in range(count):
        s = selected[m]
        width = stride - 1 + direction_width
        for k in range(stride - 1):
            d_projection[s * stride + 1 + k] = d_inputs[m * width + k]


@kernel
def colour_outputs_fwd(
    count: ti.i32,
    selected: I32,
    outputs: F32,  # (count * 3,) before the sigmoid
    rgb: F32,  # out (n_samples * 3,) the selected rows
):
    """Sigmoid, scattered back to the samples."""
    for m in range(count):
        for k in ti.static(range(3)):
            rgb[selected[m] * 3 + k] = logistic(outputs[m * 3 + k])


@kernel
def colour_outputs_bwd(count: ti.i32, selected: I32, rgb: F32, d_rgb: F32, d_outputs: F32):
    """Adjoint of :func:`colour_outputs_fwd`."""
    for m in range(count):
        for k in ti.static(range(3)):
            at = selected[m] * 3 + k
            d_outputs[m * 3 + k] = d_rgb[at] * rgb[at] * (1.0 - rgb[at])


@kernel
def fill(count: ti.i32, array: F32, value: ti.f32):
    """Set the first ``count`` elements."""
    for i in range(count):
        array[i] = value


@kernel
def fill_colour(count: ti.i32, red: ti.f32, green: ti.f32, blue: ti.f32, colours: F32):
    """Set the first ``count`` rows of three."""
    for i in range(count):
        colours[i * 3] = red
        colours[i * 3 + 1] = green
        colours[i * 3 + 2] = blue


@kernel
def place_pixels(
    count: ti.i32,
    each: ti.i32,  # rays of a pixel, one after the other
    first: ti.i32,  # pixel of the picture that the first rays show
    cell: ti.f32,  # world units
    colour: F32,  # (count * each * 3,)
    transmittance: F32,  # (count * each,)
    depth: F32,  # (count * each,) sum of w_i t_i, cells
    colours: F32,  # out (pixels * 3,) the mean over a pixel's rays, clipped to [0, 1] each
    depths: F32,  # out (pixels,) mean distance of all that they meet, world units; 0 where nothing is
    opacities: F32,  # out (pixels,)
):
    """What rays found, at its place in a picture."""
    part = 1.0 / ti.cast(each, ti.f32)
    for i in range(count):
        opacity = 0.0
        distance = 0.0
        red = 0.0
        green = 0.0
        blue = 0.0
        for r in range(i * each, (i + 1) * each):
            opacity += part * (1.0 - transmittance[r])
            distance += part * depth[r]
            red += part * ti.min(ti.max(colour[r * 3], 0.0), 1.0)
            green += part * ti.min(ti.max(colour[r * 3 + 1], 0.0), 1.0)
            blue += part * ti.min(ti.max(colour[r * 3 + 2], 0.0), 1.0)
        opacities[first + i] = opacity
        depths[first + i] = distance * cell / opacity if opacity > 1e-3 else 0.0
        colours[(first + i) * 3] = red
        colours[(first + i) * 3 + 1] = green
        colours[(first + i) * 3 + 2] = blue


@kernel
def pack_bytes(words: ti.i32, count: ti.i32, values: F32, packed: I32):
    """Values in [0, 1] (count,) as bytes, four to a word, the first in the lowest; the last word is filled up by 0."""
    for i in range(words):
        value = 0
        for k in ti.static(range(4)):
            if i * 4 + k < count:
                value |= ti.cast(values[i * 4 + k] * 255.0 + 0.5, ti.i32) << (8 * k)
        packed[i] = value


@kernel
def opacity_of_cells(
    count: ti.i32,
    cells: I32,  # (count * 8,) for each cell the indices of its 8 corner samples
    target: I32,  # (count,) flat cell index
    projection: F32,
    stride: ti.i32,
    step: ti.f32,  # cell edge in longest sides of the bounds
    opacity: F32,  # out, smallest optical depth per cell edge over the corners
    peak: F32,  # out, the largest
):
    """Bounds of the optical depth of a cell from its corners."""
    for i in range(count):
        low = 1e30
        high = 0.0
        for k in range(8):
            raw = projection[place(cells[i * 8 + k], 0, stride)]
            tau = DENSITY_SCALE * softplus(raw - DENSITY_SHIFT) * step
            low = ti.min(low, tau)
            high = ti.max(high, tau)
        opacity[target[i]] = low
        peak[target[i]] = high
