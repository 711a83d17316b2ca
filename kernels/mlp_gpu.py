"""Fully connected layers for a GPU; on the CPU the same layers run as BLAS calls (see ``taichi_vvc/field/mlp.py``).

All weights of a field lie in one flat array: ``w`` and ``b`` are the offsets of a layer's matrix (inputs * outputs,
row-major) and bias (outputs) in it.
"""

from ._taichi import F32, ti
from .launch import kernel


@kernel
def dense_fwd(
    rows: ti.i32,
    inputs: ti.i32,
    outputs: ti.i32,
    relu: ti.i32,
    x: F32,  # (rows * inputs,)
    weights: F32,
    w: ti.i32,
    b: ti.i32,
    y: F32,  # out (rows * outputs,)
):
    """y = x w + b, with ReLU if asked."""
    for i in range(rows * outputs):
        r = i // outputs
        c = i - r * outputs
        total = weights[b + c]
        for k in range(inputs):
            total += x[r * inputs + k] * weights[w + k * outputs + c]
        if relu == 1:
            total = ti.max(total, 0.0)
        y[i] = total


@kernel
def dense_bwd_input(
    rows: ti.i32,
    inputs: ti.i32,
    outputs: ti.i32,
    relu: ti.i32,  # 1: x itself is a ReLU output, and the gradient is cut where it is 0
    x: F32,
    weights: F32,
    w: ti.i32,
    d_y: F32,
    d_x: F32,  # out
):
    """d_x = d_y w^T."""
    for i in range(rows * inputs):
        r = i // inputs
        k = i - r * inputs
        total = 0.0
        if relu == 0 or x[i] > 0.0:
            for c in range(outputs):
                total += d_y[r * outputs + c] * weights[w + k * outputs + c]
        d_x[i] = total


@kernel
def dense_bwd_weight(
    rows: ti.i32,
    inputs: ti.i32,
    outputs: ti.i32,
    chunk: ti.i32,  # rows per thread
    x: F32,
    d_y: F32,
    gradient: F32,  # in/out, as weights
    w: ti.i32,
    b: ti.i32,
):
    """Add x^T d_y to the gradient of the matrix and the column sums of d_y to that of the bias."""
    chunks = (rows + chunk - 1) // chunk
    for i in range(chunks * inputs * outputs):
        part = i // (inputs * outputs)
        k = (i // outputs) % inputs
        c = i % outputs
        total = 0.0
        for r in range(part * chunk, ti.min(rows, (part + 1) * chunk)):
            total += x[r * inputs + k] * d_y[r * outputs + c]
        ti.atomic_add(gradient[w + k * outputs + c], total)
    for i in range(chunks * outputs):
        part = i // outputs
        c = i % outputs
        total = 0.0
        for r in range(part * chunk, ti.min(rows, (part + 1) * chunk)):
            total += d_y[r * outputs + c]
        ti.atomic_add(gradient[b + c], total)
