"""Device arrays that a batch of rays passes through, kept so that nothing is allocated per step."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np

from taichi_vvc.runtime import Runtime


@dataclass
class Buffer:
    """A flat device array that a larger one takes the place of when it has to.

    Attributes:
        dtype: of its elements.
        spare: whether it gets a third on top, since the number of samples changes from batch to batch.
        array: the array, None before the first :meth:`get`.
        size: its elements.
        runtime: where it lives.
    """

    dtype: Any = np.float32
    spare: bool = True
    array: Any = None
    size: int = -1
    runtime: Runtime | None = None

    def get(self, count: int) -> Any:
        """The array with at least ``count`` elements; contents survive only while it suffices."""
        if self.size < count:
            assert self.runtime is not None, "a buffer gets its runtime from its workspace"
            self.size = count + (count // 3 + 64 if self.spare else 0)
            self.array = None
            self.runtime.sync()
            self.array = self.runtime.empty(self.size, self.dtype)
        return self.array


def _floats(spare: bool = True) -> Any:
    return field(default_factory=lambda: Buffer(np.float32, spare), init=False, repr=False)


def _integers(spare: bool = True) -> Any:
    return field(default_factory=lambda: Buffer(np.int32, spare), init=False, repr=False)


@dataclass
class Workspace:
    """Device arrays of a batch of rays and its samples, allocated and grown when needed.

    On the CPU the rows of what passes the MLPs lie in blocks of sixteen, see ``kernels/mlp_cpu.py``.
    """

    runtime: Runtime
    # Of a batch's rays.
    pixels: Buffer = _integers()  # (rays,) of all cameras, camera after camera
    rays: Buffer = _floats()  # rows of ``kernels/columns.py``
    targets: Buffer = _floats()  # (rays, 4), see ``targets_of_pixels``
    background: Buffer = _floats()  # (rays, 3)
    directions: Buffer = _floats()  # (rays, direction features)
    # Of their march.
    counts: Buffer = _integers()  # (rays,) samples
    partial: Buffer = _integers()  # sums of these
    starts: Buffer = _integers()  # (rays + 1,) first sample of each
    distances: Buffer = _floats()  # of samples before they are packed
    samples: Buffer = _floats()  # (samples, 4) x, y, z and distance along the ray, cells
    sample_ray: Buffer = _integers()  # (samples,)
    # Of the samples' densities.
    coefficients: Buffer = _floats()  # (samples, channels)
    basis: Buffer = _floats()  # (samples, channels)
    features: Buffer = _floats()  # (samples, channels), their product
    feature_rows: Buffer = _floats()  # the same one by one, on the CPU
    hidden: Buffer = _floats()  # (samples, hidden units), on a GPU
    projection: Buffer = _floats()  # (samples, 1 + appearance) raw density, appearance
    packed_projection: Any = None  # weights of the MLP, on the CPU
    # Of compositing.
    weights: Buffer = _floats()  # (samples,)
    transmittance: Buffer = _floats()  # (rays,)
    depth: Buffer = _floats()  # (rays,) sum of weight times distance, cells
    colour: Buffer = _floats()  # (rays, 3)
    errors: Buffer = _floats()  # (rays,) squared
    # Of the selected samples' colours.
    selected: Buffer = _integers()  # (selected,) samples
    counter: Buffer = _integers()  # (1,)
    colour_inputs: Buffer = _floats()  # (selected, inputs)
    colour_hidden: Buffer = _floats()  # (selected, hidden units), on a GPU
    colour_outputs: Buffer = _floats()  # (selected, 3)
    packed_colour: Any = None  # weights of the MLP, on the CPU
    rgb: Buffer = _floats()  # (samples, 3)
    # Gradients of those, and what is needed for them.
    d_rgb: Buffer = _floats()
    d_projection: Buffer = _floats()
    d_colour_outputs: Buffer = _floats()
    d_colour_inputs: Buffer = _floats()
    d_features: Buffer = _floats()
    d_hidden: Buffer = _floats()  # of either MLP
    d_packed: Buffer = _floats()  # of packed weights, spread over tasks and lanes
    largest: Buffer = _floats()  # (samples,) magnitude in its row of d_projection
    kept_features: Buffer = _floats()  # (kept, channels) of the samples with a gradient that counts
    kept_d_projection: Buffer = _floats()  # (kept, 1 + appearance)
    # Of a picture. Whole arrays are what comes back from a GPU.
    picture_colour: Buffer = _floats(spare=False)  # (pixels, 3)
    picture_depth: Buffer = _floats(spare=False)  # (pixels,) world units
    picture_opacity: Buffer = _floats(spare=False)  # (pixels,)
    picture_packed: Buffer = _integers(spare=False)  # colours as bytes, four to an element

    def __post_init__(self) -> None:
        for entry in fields(self):
            buffer = getattr(self, entry.name)
            if isinstance(buffer, Buffer):
                buffer.runtime = self.runtime
