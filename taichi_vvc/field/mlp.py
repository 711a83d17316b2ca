"""The two-layer perceptrons of the field, forward and adjoint: one pair of functions for the CPU, one for a GPU.

y = relu(x w1 + b1) w2 + b2, rows are samples. The tensors w1, b1, w2, b2 lie behind each other in a flat array.
"""

from __future__ import annotations

from dataclasses import astuple, dataclass
from typing import Any

import numpy as np

from taichi_vvc.field.workspace import Workspace
from taichi_vvc.kernels import mlp_cpu, mlp_gpu
from taichi_vvc.kernels.mlp_cpu import LANES
from taichi_vvc.runtime import Runtime
from taichi_vvc.types import FieldLayout

# Wider perceptrons are evaluated by NumPy on the CPU: the kernels write out all inputs and outputs, which takes the
# compiler minutes where a file asks for hundreds, in native code that nothing interrupts.
_MOST_INPUTS, _MOST_OUTPUTS = 128, 32
_ROWS = 4096  # that NumPy takes at a time
# Parts of the adjoint on the CPU, fixed so that sums do not depend on the number of threads; blocks per pass.
_TASKS, _CHUNK = 8, 16


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


@dataclass(frozen=True)
class Lanes:
    """How a perceptron's rows lie in blocks of sixteen samples (``kernels/mlp_cpu.py``): powers of two of vectors."""

    inputs: int
    outputs: int
    weights: int

    @staticmethod
    def of(p: Perceptron) -> Lanes:
        """The blocks of a perceptron."""
        return Lanes(shift_of(p.inputs), shift_of(p.outputs), shift_of(p.inputs + 1 + p.outputs))


def shift_of(width: int) -> int:
    """Logarithm of the power of two that rows of so many columns are padded to."""
    return max(0, width - 1).bit_length()


def in_blocks(samples: int, shift: int) -> int:
    """Floats that rows of 2^shift columns of so many samples take in blocks."""
    return -(-samples // LANES) * LANES << shift


def blocks(array: np.ndarray, samples: int, shift: int) -> np.ndarray:
    """A view (blocks, columns, lanes) of an array of blocks."""
    return array[: in_blocks(samples, shift)].reshape(-1, 1 << shift, LANES)


def to_blocks(rows: np.ndarray, array: np.ndarray, shift: int) -> None:
    """Write rows (samples, columns) into blocks."""
    count, columns = rows.shape
    padded = np.zeros((-(-count // LANES) * LANES, columns), np.float32)
    padded[:count] = rows
    blocks(array, count, shift)[:, :columns] = padded.reshape(-1, LANES, columns).transpose(0, 2, 1)


def from_blocks(array: np.ndarray, samples: int, shift: int) -> np.ndarray:
    """Rows (samples, 2^shift) of an array of blocks."""
    return blocks(array, samples, shift).transpose(0, 2, 1).reshape(-1, 1 << shift)[:samples]


def packed(runtime: Runtime, p: Perceptron, weights: np.ndarray) -> np.ndarray:
    """Weights of a flat host array as ``kernels/mlp_cpu.py`` reads them."""
    result = np.zeros((p.hidden + 1, 1 << Lanes.of(p).weights), np.float32)
    w1, b1, w2, b2 = p.views(weights)
    result[:-1, : p.inputs], result[:-1, p.inputs] = w1.T, b1
    result[:-1, p.inputs + 1 : p.inputs + 1 + p.outputs], result[-1, : p.outputs] = w2, b2
    return np.asarray(runtime.upload(result))


def add_unpacked(p: Perceptron, gradient: np.ndarray, target: np.ndarray) -> None:
    """Add a gradient of :func:`packed` weights, still spread over (tasks, weights, lanes), to the flat ``target``."""
    # Tasks first, in long rows. No matrix product with ones: BLAS threads stall where another program has a core.
    spread = gradient.reshape(_TASKS, -1).sum(axis=0)
    total = spread.reshape(-1, LANES).sum(axis=1).reshape(p.hidden + 1, -1)
    w1, b1, w2, b2 = p.views(target)
    w1 += total[:-1, : p.inputs].T
    b1 += total[:-1, p.inputs]
    w2 += total[:-1, p.inputs + 1 : p.inputs + 1 + p.outputs]
    b2 += total[-1, : p.outputs]


def is_wide(p: Perceptron) -> bool:
    """Whether a perceptron is too wide for the kernels of the CPU."""
    return p.inputs > _MOST_INPUTS or p.outputs > _MOST_OUTPUTS


def evaluate_rows(p: Perceptron, weights: np.ndarray, x: np.ndarray) -> np.ndarray:
    """A perceptron of any width by NumPy: (rows, outputs) of (rows, inputs); ``weights`` packed."""
    rows = weights[: (p.hidden + 1) << Lanes.of(p).weights].reshape(p.hidden + 1, -1)
    hidden = np.maximum(x @ rows[:-1, : p.inputs].T + rows[:-1, p.inputs], 0)
    return hidden @ rows[:-1, p.inputs + 1 : p.inputs + 1 + p.outputs] + rows[-1, : p.outputs]


def lanes_forward(p: Perceptron, rows: int, weights: np.ndarray, x: np.ndarray, y: np.ndarray) -> None:
    """Evaluate ``rows`` samples on the CPU; ``weights`` packed, ``x`` and ``y`` in blocks."""
    shape = Lanes.of(p)
    if is_wide(p):
        for first in range(0, rows, _ROWS):
            chosen = slice(first // LANES, -(-min(rows, first + _ROWS) // LANES))
            given = blocks(x, rows, shape.inputs)[chosen]
            plain = given.transpose(0, 2, 1).reshape(-1, 1 << shape.inputs)[:, : p.inputs]
            found = evaluate_rows(p, weights, plain)
            blocks(y, rows, shape.outputs)[chosen, : p.outputs] = found.reshape(-1, LANES, p.outputs).transpose(0, 2, 1)
        return
    mlp_cpu.perceptron_fwd(
        -(-rows // LANES), p.inputs, p.outputs, p.hidden, *astuple(shape), weights, vectors(x), vectors(y)
    )


def lanes_backward(
    p: Perceptron,
    rows: int,
    needed: int,
    weights: np.ndarray,
    x: np.ndarray,
    d_y: np.ndarray,
    d_x: np.ndarray,
    gradient: np.ndarray | None,
    ws: Workspace,
) -> None:
    """Adjoint of :func:`lanes_forward`.

    Args:
        needed: how many inputs, from the first one, get a gradient.
        x, d_y: in blocks; what stands behind the last sample must be 0 in both.
        d_x: receives the gradient, in blocks of ``needed`` columns.
        gradient: of the weights, flat, added to; None where the network is frozen.
        ws: scratch arrays.
    """
    shape = Lanes.of(p)
    own = ws.d_packed.get(_TASKS * (p.hidden + 1) * LANES << shape.weights)
    mlp_cpu.perceptron_bwd(
        -(-rows // LANES),
        _TASKS,
        _CHUNK,
        p.inputs,
        needed,
        p.outputs,
        p.hidden,
        shape.inputs,
        shift_of(needed),
        shape.outputs,
        shape.weights,
        0 if gradient is None else 1,
        weights,
        vectors(x),
        vectors(d_y),
        vectors(d_x),
        vectors(ws.d_hidden.get(_TASKS * p.hidden * 2 * _CHUNK * LANES)),
        vectors(own),
    )
    if gradient is not None:
        add_unpacked(p, own[: _TASKS * (p.hidden + 1) * LANES << shape.weights], gradient)


def vectors(array: np.ndarray) -> np.ndarray:
    """A flat host array as vectors of sixteen."""
    whole = array[: array.size // LANES * LANES].reshape(-1, LANES)
    # Kernels load whole vectors, which ends the process where they are not aligned.
    assert whole.ctypes.data % (4 * LANES) == 0
    return whole


def fours(array: np.ndarray, count: int | None = None) -> np.ndarray:
    """A flat host array, or its first ``count`` numbers, as vectors of four."""
    return array[: array.size // 4 * 4 if count is None else count].reshape(-1, 4)


def mlp_forward(rows: int, p: Perceptron, weights: Any, x: Any, hidden: Any, y: Any) -> None:
    """Evaluate ``rows`` rows on a GPU; ``hidden`` keeps the activations for the adjoint.

    Args:
        weights: flat device array of all tensors.
        x, hidden, y: flat device arrays of at least rows * width elements.
    """
    a, b, c, d = p.offsets
    mlp_gpu.dense_fwd(rows, p.inputs, p.hidden, 1, x, weights, a, b, hidden)
    mlp_gpu.dense_fwd(rows, p.hidden, p.outputs, 0, hidden, weights, c, d, y)


def mlp_backward(
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
        scratch: device array for the gradient of the hidden layer, rows * hidden elements.
    """
    a, b, c, d = p.offsets
    mlp_gpu.dense_bwd_input(rows, p.hidden, p.outputs, 1, hidden, weights, c, d_y, scratch)
    mlp_gpu.dense_bwd_input(rows, p.inputs, p.hidden, 0, x, weights, a, scratch, d_x)
    if gradient is not None:
        mlp_gpu.dense_bwd_weight(rows, p.hidden, p.outputs, 256, hidden, d_y, gradient, c, d)
        mlp_gpu.dense_bwd_weight(rows, p.inputs, p.hidden, 256, x, scratch, gradient, a, b)
