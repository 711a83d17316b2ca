"""The two-layer perceptrons on the CPU: sixteen samples side by side in the lanes of a vector.

A block is sixteen consecutive samples. Vector ``block << shift | k`` holds channel k of a block, one sample per lane,
so that every weight meets sixteen samples at once. Rows are padded to powers of two and indices put together
with ``|``: the compiler turns those into constant distances, which it cannot do with sums of 32-bit integers, since
they might wrap.

Weights come packed (``taichi_vvc/field/mlp.py``): number ``j << shift | i`` of hidden unit j is the weight of input i,
then follow its bias and its weights towards the outputs; the outputs' biases lie behind the last unit.

Arrays of vectors must be aligned to 64 bytes, as all that a :class:`~taichi_vvc.runtime.Runtime` hands out are.
"""

from ._taichi import F32, F32X16, I32, ti
from .launch import kernel
from .shade import logistic, place

LANES = 16
# Taichi never cuts a CPU loop into chunks below 512 iterations; with one task every 512, each can have its own thread.
SPREAD = 512


@ti.func
def evaluate(
    b: ti.i32,
    inputs: ti.template(),
    outputs: ti.template(),
    hidden: ti.i32,
    x_shift: ti.template(),
    y_shift: ti.template(),
    w_shift: ti.template(),
    packed: ti.template(),
    x: ti.template(),
    y: ti.template(),
):
    """One block: y = relu(x w1 + b1) w2 + b2."""
    sums = [ti.Vector([0.0] * 16) + packed[(hidden << w_shift) | o] for o in ti.static(range(outputs))]
    for j in range(hidden):
        h = ti.Vector([0.0] * 16) + packed[(j << w_shift) | inputs]
        for k in ti.static(range(inputs)):
            h += x[(b << x_shift) | k] * packed[(j << w_shift) | k]
        h = ti.max(h, 0.0)
        for o in ti.static(range(outputs)):
            sums[o] += h * packed[(j << w_shift) | (inputs + 1 + o)]
    for o in ti.static(range(outputs)):
        y[(b << y_shift) | o] = sums[o]


@kernel
def perceptron_fwd(
    blocks: ti.i32,
    inputs: ti.template(),
    outputs: ti.template(),
    hidden: ti.i32,
    x_shift: ti.template(),
    y_shift: ti.template(),
    w_shift: ti.template(),
    packed: F32,
    x: F32X16,
    y: F32X16,  # out
):
    """All blocks of a perceptron."""
    for b in range(blocks):
        evaluate(b, inputs, outputs, hidden, x_shift, y_shift, w_shift, packed, x, y)


@kernel
def perceptron_bwd(
    blocks: ti.i32,
    tasks: ti.i32,
    chunk: ti.i32,  # blocks that are worked on together
    inputs: ti.template(),
    needed: ti.template(),  # inputs 0 .. needed - 1 get a gradient
    outputs: ti.template(),
    hidden: ti.i32,
    x_shift: ti.template(),
    d_x_shift: ti.template(),
    y_shift: ti.template(),
    w_shift: ti.template(),
    trained: ti.i32,  # 0: no gradient of the weights
    packed: F32,
    x: F32X16,
    d_y: F32X16,
    d_x: F32X16,  # out
    scratch: F32X16,  # (tasks * hidden * 2 * chunk,)
    gradient: F32X16,  # out ((tasks * (hidden + 1)) << w_shift,) as packed; the sum over tasks and lanes is wanted
):
    """Adjoint of :func:`perceptron_fwd`; hidden activations are computed again rather than stored.

    Per chunk and hidden unit, weights and then their gradients stay in registers.
    """
    size = (blocks + tasks - 1) // tasks
    for spread in range(tasks * 512):
        if spread % 512 == 0:
            task = spread // 512
            own = task * (hidden + 1)
            end = ti.min(blocks, (task + 1) * size)
            if trained == 1:
                for i in range((hidden + 1) << w_shift):
                    gradient[(own << w_shift) + i] = ti.Vector([0.0] * 16)
            first = task * size
            while first < end:
                last = ti.min(end, first + chunk)
                for j in range(hidden):
                    row = j << w_shift
                    deltas = (task * hidden + j) * 2 * chunk - first
                    w_in = [ti.Vector([0.0] * 16) + packed[row | k] for k in ti.static(range(inputs))]
                    w_out = [ti.Vector([0.0] * 16) + packed[row | (inputs + 1 + o)] for o in ti.static(range(outputs))]
                    bias = ti.Vector([0.0] * 16) + packed[row | inputs]
                    for b in range(first, last):
                        h = bias
                        for k in ti.static(range(inputs)):
                            h += x[(b << x_shift) | k] * w_in[k]
                        d = ti.Vector([0.0] * 16)
                        for o in ti.static(range(outputs)):
                            d += d_y[(b << y_shift) | o] * w_out[o]
                        scratch[deltas + b] = ti.select(h > 0.0, d, 0.0)
                        if trained == 1:
                            scratch[deltas + chunk + b] = ti.max(h, 0.0)
                    if trained == 1:
                        mine = (own + j) << w_shift
                        of_in = [ti.Vector([0.0] * 16) for k in ti.static(range(inputs))]
                        of_bias = ti.Vector([0.0] * 16)
                        for b in range(first, last):
                            d = scratch[deltas + b]
                            of_bias += d
                            for k in ti.static(range(inputs)):
                                of_in[k] += x[(b << x_shift) | k] * d
                        for k in ti.static(range(inputs)):
                            gradient[mine | k] = gradient[mine | k] + of_in[k]
                        gradient[mine | inputs] = gradient[mine | inputs] + of_bias
                        of_out = [ti.Vector([0.0] * 16) for o in ti.static(range(outputs))]
                        for b in range(first, last):
                            h = scratch[deltas + chunk + b]
                            for o in ti.static(range(outputs)):
                                of_out[o] += d_y[(b << y_shift) | o] * h
                        for o in ti.static(range(outputs)):
                            at = mine | (inputs + 1 + o)
                            gradient[at] = gradient[at] + of_out[o]
                for b in range(first, last):
                    sums = [ti.Vector([0.0] * 16) for k in ti.static(range(needed))]
                    for j in range(hidden):
                        d = scratch[(task * hidden + j) * 2 * chunk - first + b]
                        for k in ti.static(range(needed)):
                            sums[k] += d * packed[(j << w_shift) | k]
                    for k in ti.static(range(needed)):
                        d_x[(b << d_x_shift) | k] = sums[k]
                    if trained == 1:
                        for o in ti.static(range(outputs)):
                            at = ((own + hidden) << w_shift) | o
                            gradient[at] = gradient[at] + d_y[(b << y_shift) | o]
                first += chunk


@kernel
def colours_fwd(
    count: ti.i32,
    inputs: ti.template(),
    hidden: ti.i32,
    x_shift: ti.template(),
    w_shift: ti.template(),
    selected: I32,  # (count,) samples
    sample_ray: I32,
    projection: F32,
    stride: ti.i32,  # of the projection, see shade.place
    features: ti.i32,  # of its columns 1 .. features are inputs
    directions: F32,  # (rays * (inputs - features),)
    packed: F32,
    x: F32,  # out, inputs by blocks
    x_lanes: F32X16,  # the same memory
    y: F32,  # out, outputs by blocks
    y_lanes: F32X16,  # the same memory
    rgb: F32,  # out (n_samples * 3,) the selected rows
):
    """Colours of the selected samples: appearance features and encoded direction through the network and a sigmoid."""
    width = inputs - features
    for b in range((count + 15) // 16):
        for lane in range(16):
            m = b * 16 + lane
            at = (b << (x_shift + 4)) + lane
            if m < count:
                s = selected[m]
                for k in range(features):
                    x[at + k * 16] = projection[place(s, 1 + k, stride)]
                ray = sample_ray[s] * width
                for k in range(width):
                    x[at + (features + k) * 16] = directions[ray + k]
            else:
                for k in range(inputs):
                    x[at + k * 16] = 0.0
        evaluate(b, inputs, 3, hidden, x_shift, 2, w_shift, packed, x_lanes, y_lanes)
        for lane in range(16):
            m = b * 16 + lane
            if m < count:
                for k in ti.static(range(3)):
                    rgb[selected[m] * 3 + k] = logistic(y[(b << 6) + k * 16 + lane])


@kernel
def colours_bwd_outputs(count: ti.i32, selected: I32, rgb: F32, d_rgb: F32, d_y: F32):
    """Gradient of the colour network's outputs, by blocks of four rows; 0 behind the last selected sample."""
    for m in range((count + 15) // 16 * 16):
        at = ((m >> 4) << 6) + (m & 15)
        for k in ti.static(range(3)):
            value = 0.0
            if m < count:
                i = selected[m] * 3 + k
                value = d_rgb[i] * rgb[i] * (1.0 - rgb[i])
            d_y[at + k * 16] = value


@kernel
def colours_bwd_inputs(
    count: ti.i32,
    selected: I32,
    stride: ti.i32,
    features: ti.i32,
    shift: ti.i32,
    d_x: F32,  # by blocks
    d_projection: F32,  # in/out: columns 1 .. features of the selected samples are overwritten
):
    """Gradient of the appearance features of the selected samples."""
    for m in range(count):
        at = ((m >> 4) << (shift + 4)) + (m & 15)
        for k in range(features):
            d_projection[place(selected[m], 1 + k, stride)] = d_x[at + k * 16]


@ti.func
def move_one(
    m: ti.i32,
    count: ti.i32,
    kept: ti.template(),
    columns: ti.i32,
    shift: ti.i32,
    source: ti.template(),
    target: ti.template(),
):
    """Row m of the target from the m-th kept sample of the source; 0 behind the last."""
    to = ((m >> 4) << (shift + 4)) + (m & 15)
    if m < count:
        s = kept[m]
        at = ((s >> 4) << (shift + 4)) + (s & 15)
        for k in range(columns):
            target[to + k * 16] = source[at + k * 16]
    else:
        for k in range(columns):
            target[to + k * 16] = 0.0


@kernel
def gather_blocks(
    count: ti.i32,
    kept: I32,  # (count,) samples
    inputs: ti.i32,
    x_shift: ti.i32,
    x: F32,  # by blocks
    kept_x: F32,  # out, by blocks
    outputs: ti.i32,
    y_shift: ti.i32,
    d_y: F32,
    kept_d_y: F32,  # out
):
    """Move the inputs of some samples together, and the gradients of their outputs."""
    for m in range((count + 15) // 16 * 16):
        move_one(m, count, kept, inputs, x_shift, x, kept_x)
        move_one(m, count, kept, outputs, y_shift, d_y, kept_d_y)


@kernel
def largest_of_rows(
    blocks: ti.i32,
    columns: ti.template(),
    shift: ti.template(),
    x: F32X16,
    largest: F32X16,  # out (blocks,)
):
    """The largest magnitude in each sample's row."""
    for b in range(blocks):
        high = x[b << shift]
        low = x[b << shift]
        for k in ti.static(range(1, columns)):
            value = x[(b << shift) | k]
            high = ti.select(value > high, value, high)
            low = ti.select(value < low, value, low)
        low = 0.0 - low
        largest[b] = ti.select(high > low, high, low)
