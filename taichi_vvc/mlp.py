"""The two-layer perceptrons of the field, forward and adjoint: BLAS in cache-sized chunks on the CPU, kernels on a GPU.

y = relu(x w1 + b1) w2 + b2, rows are samples. The tensors w1, b1, w2, b2 lie behind each other in a flat array.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from taichi_vvc.kernels import dense

from .runtime import Runtime
from .types import FieldLayout

_CHUNK = 2048


@dataclass(frozen=True)
class Perceptron:
    """Widths of a two-layer perceptron and the offset ``start`` of its tensors in the flat weight array."""

    inputs: int
    hidden: int
    outputs: int
    start: int

    @property
    def offsets(self) -> tuple[int, int, int, int]:
        """Offsets of w1, b1, w2, b2."""
        b1 = self.start + self.inputs * self.hidden
        w2 = b1 + self.hidden
        return self.start, b1, w2, w2 + self.hidden * self.outputs

    @property
    def end(self) -> int:
        """Offset behind the last tensor."""
        return self.offsets[3] + self.outputs

    def views(self, flat: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """The four tensors as views of a flat host array; biases as (1, n)."""
        i, h, o = self.inputs, self.hidden, self.outputs
        a, b, c, d = self.offsets
        return (
            flat[a:b].reshape(i, h),
            flat[b:c].reshape(1, h),
            flat[c:d].reshape(h, o),
            flat[d : self.end].reshape(1, o),
        )


def perceptrons(layout: FieldLayout) -> tuple[Perceptron, Perceptron]:
    """The projection MLP (features to density and appearance) and the colour MLP, as they lie in the flat array."""
    projection = Perceptron(layout.channels, layout.projection_hidden, 1 + layout.appearance, 0)
    inputs = layout.appearance + layout.direction_features
    return projection, Perceptron(inputs, layout.colour_hidden, 3, projection.end)


def flatten(tensors: tuple[np.ndarray, ...]) -> np.ndarray:
    """All MLP tensors of a field as one float32 vector."""
    return np.concatenate([t.reshape(-1) for t in tensors]).astype(np.float32)


def unflatten(layout: FieldLayout, flat: np.ndarray) -> tuple[np.ndarray, ...]:
    """Inverse of :func:`flatten`."""
    tensors, at = [], 0
    for shape in layout.mlp_shapes:
        size = int(np.prod(shape))
        tensors.append(flat[at : at + size].reshape(shape))
        at += size
    return tuple(tensors)


def mlp_forward(runtime: Runtime, rows: int, p: Perceptron, weights: Any, x: Any, hidden: Any, y: Any) -> None:
    """Evaluate ``rows`` rows; ``hidden`` keeps the activations for the adjoint.

    Args:
        weights: flat device array of all tensors.
        x, hidden, y: flat device arrays of at least rows * width elements.
    """
    if not runtime.host_arrays:
        a, b, c, d = p.offsets
        dense.dense_fwd(rows, p.inputs, p.hidden, 1, x, weights, a, b, hidden)
        dense.dense_fwd(rows, p.hidden, p.outputs, 0, hidden, weights, c, d, y)
        return
    w1, b1, w2, b2 = p.views(weights)
    x, hidden, y = _rows(x, rows, p.inputs), _rows(hidden, rows, p.hidden), _rows(y, rows, p.outputs)

    def work(first: int, last: int) -> None:
        for start in range(first, last, _CHUNK):
            part = slice(start, min(last, start + _CHUNK))
            h = hidden[part]
            np.matmul(x[part], w1, out=h)
            h += b1
            np.maximum(h, 0, out=h)
            np.matmul(h, w2, out=y[part])
            y[part] += b2

    _share(runtime, rows, work)


def mlp_backward(
    runtime: Runtime,
    rows: int,
    p: Perceptron,
    weights: Any,
    x: Any,
    hidden: Any,
    d_y: Any,
    d_x: Any,
    gradient: Any | None,
    scratch: Any,
) -> None:
    """Adjoint of :func:`mlp_forward`.

    Args:
        d_x: receives the gradient of the input.
        gradient: of the weights, flat, added to; None where the network is frozen.
        scratch: device array for the gradient of the hidden layer, rows * hidden elements (unused on the CPU).
    """
    if not runtime.host_arrays:
        a, b, c, d = p.offsets
        dense.dense_bwd_input(rows, p.hidden, p.outputs, 1, hidden, weights, c, d_y, scratch)
        dense.dense_bwd_input(rows, p.inputs, p.hidden, 0, x, weights, a, scratch, d_x)
        if gradient is not None:
            dense.dense_bwd_weight(rows, p.hidden, p.outputs, 256, hidden, d_y, gradient, c, d)
            dense.dense_bwd_weight(rows, p.inputs, p.hidden, 256, x, scratch, gradient, a, b)
        return
    w1, _, w2, _ = p.views(weights)
    w1t, w2t = np.ascontiguousarray(w1.T), np.ascontiguousarray(w2.T)
    x, hidden = _rows(x, rows, p.inputs), _rows(hidden, rows, p.hidden)
    d_y, d_x = _rows(d_y, rows, p.outputs), _rows(d_x, rows, p.inputs)
    ones = np.ones((1, min(rows, _CHUNK)), np.float32)

    def work(first: int, last: int) -> np.ndarray | None:
        d_hidden = np.empty((min(last - first, _CHUNK), p.hidden), np.float32)
        total = None if gradient is None else np.zeros(p.end, np.float32)
        for start in range(first, last, _CHUNK):
            part = slice(start, min(last, start + _CHUNK))
            d_h = d_hidden[: part.stop - start]
            np.matmul(d_y[part], w2t, out=d_h)
            d_h *= hidden[part] > 0
            np.matmul(d_h, w1t, out=d_x[part])
            if total is not None:
                one = ones[:, : part.stop - start]
                g_w1, g_b1, g_w2, g_b2 = p.views(total)
                g_w1 += x[part].T @ d_h
                g_b1 += one @ d_h
                g_w2 += hidden[part].T @ d_y[part]
                g_b2 += one @ d_y[part]
        return total

    # Summed in the order of the shares, so that the result does not depend on which thread was first.
    for total in _share(runtime, rows, work):
        if gradient is not None and total is not None:
            gradient[p.start : p.end] += total[p.start :]


def _share(runtime: Runtime, rows: int, work: Callable[[int, int], Any]) -> list[Any]:
    """Run ``work(first, last)`` on one share of the rows per thread.

    Each share calls single-threaded BLAS. BLAS threads of its own would meet after every small product, which stalls
    whenever another program has one of the cores.
    """
    count = max(1, min(runtime.threads, rows // _CHUNK))
    ends = [rows * k // count for k in range(count + 1)]
    with runtime.single_threaded_blas():
        if count == 1:
            return [work(0, rows)]
        jobs = [runtime.pool.submit(work, a, b) for a, b in zip(ends[1:-1], ends[2:], strict=True)]
        return [work(0, ends[1]), *(job.result() for job in jobs)]


def _rows(flat: np.ndarray, rows: int, width: int) -> np.ndarray:
    return flat[: rows * width].reshape(rows, width)
