"""Device arrays that a batch of rays passes through, kept so that nothing is allocated per step."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from taichi_vvc.runtime import Runtime


@dataclass
class Buffer:
    """A flat device array that a larger one takes the place of when it has to.

    Attributes:
        runtime: where it lives.
        dtype: of its elements.
        spare: whether it gets a third on top, since the number of samples changes from batch to batch.
        array: the array, None before the first :meth:`get`.
        size: its elements.
    """

    runtime: Runtime
    dtype: Any
    spare: bool = True
    array: Any = None
    size: int = -1

    def get(self, count: int) -> Any:
        """The array with at least ``count`` elements; contents survive only while it suffices."""
        if self.size < count:
            self.size = count + (count // 3 + 64 if self.spare else 0)
            self.array = None
            self.runtime.sync()
            self.array = self.runtime.empty(self.size, self.dtype)
        return self.array


class Workspace:
    """Device arrays of a batch of rays and its samples, allocated and grown when needed.

    On the CPU the rows of what passes the MLPs lie in blocks of sixteen, see ``kernels/mlp_cpu.py``.
    """

    def __init__(self, runtime: Runtime) -> None:
        def floats() -> Buffer:
            return Buffer(runtime, np.float32)

        def integers() -> Buffer:
            return Buffer(runtime, np.int32)

        self.runtime = runtime
        # Of a batch's rays.
        self.pixels = integers()  # (rays,) of all cameras, camera after camera
        self.rays = floats()  # rows of ``kernels/columns.py``
        self.targets = floats()  # (rays, 4), see ``targets_of_pixels``
        self.background = floats()  # (rays, 3)
        self.directions = floats()  # (rays, direction features)
        # Of their march.
        self.counts = integers()  # (rays,) samples
        self.partial = integers()  # sums of these
        self.starts = integers()  # (rays + 1,) first sample of each
        self.distances = floats()  # of samples before they are packed
        self.samples = floats()  # (samples, 4) x, y, z and distance along the ray, cells
        self.sample_ray = integers()  # (samples,)
        # Of the samples' densities.
        self.coefficients = floats()  # (samples, channels)
        self.basis = floats()  # (samples, channels)
        self.features = floats()  # (samples, channels), their product
        self.feature_rows = floats()  # the same one by one, on the CPU
        self.hidden = floats()  # (samples, hidden units), on a GPU
        self.projection = floats()  # (samples, 1 + appearance) raw density, appearance
        self.packed_projection: Any = None  # weights of the MLP, on the CPU
        # Of compositing.
        self.weights = floats()  # (samples,)
        self.transmittance = floats()  # (rays,)
        self.depth = floats()  # (rays,) sum of weight times distance, cells
        self.colour = floats()  # (rays, 3)
        self.errors = floats()  # (rays,) squared
        # Of the selected samples' colours.
        self.selected = integers()  # (selected,) samples
        self.counter = integers()  # (1,)
        self.colour_inputs = floats()  # (selected, inputs)
        self.colour_hidden = floats()  # (selected, hidden units), on a GPU
        self.colour_outputs = floats()  # (selected, 3)
        self.packed_colour: Any = None  # weights of the MLP, on the CPU
        self.rgb = floats()  # (samples, 3)
        # Gradients of those, and what is needed for them.
        self.d_rgb = floats()
        self.d_projection = floats()
        self.d_colour_outputs = floats()
        self.d_colour_inputs = floats()
        self.d_features = floats()
        self.d_hidden = floats()  # of either MLP
        self.d_packed = floats()  # of packed weights, spread over tasks and lanes
        self.largest = floats()  # (samples,) magnitude in its row of d_projection
        self.kept_features = floats()  # (kept, channels) of the samples with a gradient that counts
        self.kept_d_projection = floats()  # (kept, 1 + appearance)
        # Of a picture. Whole arrays are what comes back from a GPU.
        self.picture_colour = Buffer(runtime, np.float32, spare=False)  # (pixels, 3)
        self.picture_depth = Buffer(runtime, np.float32, spare=False)  # (pixels,) world units
        self.picture_opacity = Buffer(runtime, np.float32, spare=False)  # (pixels,)
        self.picture_packed = Buffer(runtime, np.int32, spare=False)  # colours as bytes, four to an element
