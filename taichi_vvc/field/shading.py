"""Densities, colours and compositing of a batch of samples, and the way back to the gradients of grids and MLPs.

Samples pass the MLPs in blocks of sixteen on the CPU (``kernels/mlp_cpu.py``), one by one on a GPU
(``kernels/mlp_gpu.py``).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from taichi_vvc.field.grids import Field
from taichi_vvc.field.mlp import (
    Lanes,
    blocks,
    evaluate_rows,
    from_blocks,
    in_blocks,
    is_wide,
    lanes_backward,
    lanes_forward,
    mlp_backward,
    mlp_forward,
    packed,
    perceptrons,
    shift_of,
    to_blocks,
    vectors,
)
from taichi_vvc.field.workspace import Workspace
from taichi_vvc.kernels import geometry, grids_cpu, mlp_cpu, shade
from taichi_vvc.kernels import grids_gpu as by_channel
from taichi_vvc.kernels.mlp_cpu import LANES

# A sample that contributes less than this to its pixel is not coloured.
WEIGHT_THRESHOLD = 1e-3
# A sample whose density and features change its ray's squared error by less than this per unit is left out of the
# adjoint: between a third and half of them, which hold a ten-thousandth of the gradient.
NEGLIGIBLE = 1e-6


@dataclass(frozen=True)
class Batch:
    """Sizes of the batch that a workspace holds: rays, samples, and samples that were coloured."""

    rays: int
    samples: int
    coloured: int


@dataclass(frozen=True)
class Background:
    """What a fit composites over: the mean of its colour, sRGB in [0, 1], and the sum of the channels' variances.

    Where transparency must not hide behind a background of the subject's colour, the colour is one drawn at random;
    the error expected over all such draws has a closed form, and with it no noise from drawing.
    """

    mean: tuple[float, float, float]
    spread: float = 0.0

    @staticmethod
    def uniform() -> Background:
        """Every colour is as likely as any other."""
        return Background((0.5, 0.5, 0.5), 3 / 12)


def project(ws: Workspace, f: Field, samples: int) -> None:
    """Grid lookups and projection MLP at the workspace's ``samples``: raw density and appearance of each."""
    channels = f.layout.channels
    projection, _ = perceptrons(f.layout)
    out = [ws.get(name, samples * channels) for name in ("coefficients", "basis")]
    if not f.runtime.host_arrays:
        features = ws.get("features", samples * channels)
        by_channel.lookup_fwd_channels(samples, channels, ws.arrays["samples"], f.values, *f.tables, *out, features)
        hidden = ws.get("hidden", samples * projection.hidden)
        raw = ws.get("projection", samples * projection.outputs)
        mlp_forward(samples, projection, f.mlp, features, hidden, raw)
        return
    shape = Lanes.of(projection)
    features = ws.get("features", in_blocks(samples, shape.inputs))
    if _in_fours(f):
        places = _fours(ws.arrays["samples"], samples * 4)
        found = (_fours(array, samples * channels) for array in out)
        grids_cpu.lookup_fwd_fours(
            samples, f.map.groups, shape.inputs, places, _fours(f.values), *f.tables, *found, features
        )
    else:
        rows = ws.get("feature_rows", samples * channels)
        grids_cpu.lookup_fwd(samples, f.map.groups, channels, ws.arrays["samples"], f.values, *f.tables, *out, rows)
        to_blocks(rows[: samples * channels].reshape(samples, channels), features, shape.inputs)
    # The adjoint multiplies what stands behind the last sample by 0, which must give 0.
    blocks(features, samples, shape.inputs)[-1:, :, samples % LANES or LANES :] = 0
    raw = ws.get("projection", in_blocks(samples, shape.outputs))
    ws.arrays["packed_projection"] = weights = packed(f.runtime, projection, f.mlp)
    lanes_forward(projection, samples, weights, features, raw)


def projection_stride(f: Field) -> int:
    """How the projection's rows lie, see ``place`` in ``kernels/shade.py``."""
    projection, _ = perceptrons(f.layout)
    return -in_blocks(LANES, Lanes.of(projection).outputs) if f.runtime.host_arrays else projection.outputs


def _select(ws: Workspace, f: Field, rays: int, samples: int) -> int:
    selected = ws.get("selected", samples, np.int32)
    if f.runtime.host_arrays:
        chosen = np.flatnonzero(ws.arrays["weights"][:samples] > WEIGHT_THRESHOLD)
        selected[: chosen.size] = chosen
        return int(chosen.size)
    counter = ws.get("counter", 1, np.int32)
    counter.fill(0)
    shade.select_samples(rays, ws.arrays["starts"], ws.arrays["weights"], WEIGHT_THRESHOLD, selected, counter)
    return int(counter[0])


def _colours(ws: Workspace, f: Field, samples: int, count: int) -> None:
    """Colours of the ``count`` selected samples; 0 elsewhere."""
    layout, a = f.layout, ws.arrays
    _, colour = perceptrons(layout)
    rgb = ws.get("rgb", samples * 3)
    rgb.fill(0)
    directions, width = a["directions"], layout.direction_features
    if f.runtime.host_arrays:
        shape = Lanes.of(colour)
        x = ws.get("colour_inputs", in_blocks(count, shape.inputs))
        y = ws.get("colour_outputs", in_blocks(count, shape.outputs))
        a["packed_colour"] = weights = packed(f.runtime, colour, f.mlp)
        if is_wide(colour):
            _wide_colours(ws, f, count, weights)
            return
        mlp_cpu.colours_fwd(
            count,
            colour.inputs,
            colour.hidden,
            shape.inputs,
            shape.weights,
            a["selected"],
            a["sample_ray"],
            a["projection"],
            projection_stride(f),
            layout.appearance,
            directions,
            weights,
            x,
            vectors(x),
            y,
            vectors(y),
            rgb,
        )
        return
    inputs = ws.get("colour_inputs", count * colour.inputs)
    shade.colour_inputs_fwd(
        count, a["selected"], a["sample_ray"], a["projection"], projection_stride(f), directions, width, inputs
    )
    hidden, out = ws.get("colour_hidden", count * colour.hidden), ws.get("colour_outputs", count * 3)
    mlp_forward(count, colour, f.mlp, inputs, hidden, out)
    shade.colour_outputs_fwd(count, a["selected"], out, rgb)


def _wide_colours(ws: Workspace, f: Field, count: int, weights: np.ndarray, chunk: int = 4096) -> None:
    """What ``lanes.colours_fwd`` does, for perceptrons that are too wide for it; rendering only."""
    layout, a = f.layout, ws.arrays
    projection, colour = perceptrons(layout)
    width = layout.direction_features
    for first in range(0, count, chunk):
        chosen = a["selected"][first : min(first + chunk, count)]
        rows = blocks(a["projection"], int(chosen.max()) + 1, Lanes.of(projection).outputs)
        appearance = rows[chosen // LANES, 1 : 1 + layout.appearance, chosen % LANES]
        rays = a["sample_ray"][chosen]
        directions = a["directions"][: (int(rays.max()) + 1) * width].reshape(-1, width)[rays]
        raw = evaluate_rows(colour, weights, np.concatenate([appearance, directions], 1))
        a["rgb"].reshape(-1)[: (int(chosen.max()) + 1) * 3].reshape(-1, 3)[chosen] = logistic(raw)


def logistic(values: np.ndarray) -> np.ndarray:
    """1 / (1 + exp(-v)) in float32, without overflow."""
    small = np.exp(-np.abs(values))
    return np.where(values < 0, small, np.float32(1)) / (1 + small)


def shade_samples(ws: Workspace, f: Field, rays: int, samples: int) -> Batch:
    """Weights of all samples and colours of those that carry weight."""
    layout, a = f.layout, ws.arrays
    project(ws, f, samples)
    passed, depth = ws.get("transmittance", rays), ws.get("depth", rays)
    step = 1.0 / layout.steps_per_side
    weights = ws.get("weights", samples)
    shade.weights_fwd(
        rays, a["starts"], a["projection"], a["samples"], projection_stride(f), step, weights, passed, depth
    )
    directions = ws.get("directions", rays * layout.direction_features)
    geometry.encode_directions(rays, a["rays"], layout.view_frequencies, directions)
    count = _select(ws, f, rays, samples)
    _colours(ws, f, samples, count)
    return Batch(rays, samples, count)


def shade_rays(ws: Workspace, f: Field, rays: int, samples: int) -> Batch:
    """:func:`shade_samples`, and the composited ``colour`` of the rays over the workspace's ``background``."""
    batch, a = shade_samples(ws, f, rays, samples), ws.arrays
    colour = ws.get("colour", rays * 3)
    shade.composite_fwd(rays, a["starts"], a["weights"], a["rgb"], a["transmittance"], a["background"], colour)
    return batch


def fit_rays(
    ws: Workspace,
    f: Field,
    rays: int,
    samples: int,
    background: Background,
    gradient: Any,
    mlp_gradient: Any | None,
) -> Any:
    """Render a batch and go back through it.

    Adds the gradient of the mean over the rays of |colour - target|^2, as expected over the backgrounds, to
    ``gradient`` (as ``f.values``) and ``mlp_gradient`` (as ``f.mlp``; None where the MLPs are frozen). The workspace
    holds ``targets`` over ``background.mean``.

    Returns:
        The squared error of each ray, summed over the channels, on the device.
    """
    a, batch = ws.arrays, shade_samples(ws, f, rays, samples)
    errors = ws.get("errors", rays)
    d_rgb, d_projection = _gradients(ws, f, samples)
    shade.composite_loss(
        rays,
        a["starts"],
        a["projection"],
        projection_stride(f),
        1.0 / f.layout.steps_per_side,
        1.0 / rays,
        *background.mean,
        background.spread,
        a["weights"],
        a["rgb"],
        a["transmittance"],
        a["targets"],
        errors,
        d_rgb,
        d_projection,
    )
    _backward(ws, f, batch, gradient, mlp_gradient)
    return errors


def _gradients(ws: Workspace, f: Field, samples: int) -> tuple[Any, Any]:
    """Arrays for the gradients of colours and projection; the latter starts at 0."""
    projection, _ = perceptrons(f.layout)
    size = samples * projection.outputs
    if f.runtime.host_arrays:
        size = in_blocks(samples, Lanes.of(projection).outputs)
    d_projection = ws.get("d_projection", size)
    d_projection.fill(0)
    return ws.get("d_rgb", samples * 3), d_projection


def _backward(ws: Workspace, f: Field, batch: Batch, gradient: Any, mlp_gradient: Any | None) -> None:
    """From the gradients of colours and densities to those of grids and MLPs."""
    if f.runtime.host_arrays:
        _backward_lanes(ws, f, batch, gradient, mlp_gradient)
        return
    layout, a, n, m = f.layout, ws.arrays, batch.samples, batch.coloured
    projection, colour = perceptrons(layout)
    d_out, d_inputs = ws.get("d_colour_outputs", m * 3), ws.get("d_colour_inputs", m * colour.inputs)
    shade.colour_outputs_bwd(m, a["selected"], a["rgb"], a["d_rgb"], d_out)
    scratch = ws.get("d_hidden", max(m * colour.hidden, n * projection.hidden))
    mlp_backward(m, colour, f.mlp, a["colour_inputs"], a["colour_hidden"], d_out, d_inputs, mlp_gradient, scratch)
    shade.colour_inputs_bwd(
        m, a["selected"], projection.outputs, layout.direction_features, d_inputs, a["d_projection"]
    )
    d_features = ws.get("d_features", n * layout.channels)
    mlp_backward(n, projection, f.mlp, a["features"], a["hidden"], a["d_projection"], d_features, mlp_gradient, scratch)
    stored = (a["coefficients"], a["basis"], d_features)
    least = NEGLIGIBLE / batch.rays
    by_channel.lookup_bwd_channels(n, layout.channels, least, a["samples"], *f.tables, *stored, gradient)


def _backward_lanes(ws: Workspace, f: Field, batch: Batch, gradient: Any, mlp_gradient: Any | None) -> None:
    """:func:`_backward` on the CPU."""
    layout, a, n, m = f.layout, ws.arrays, batch.samples, batch.coloured
    projection, colour = perceptrons(layout)
    needed = layout.appearance
    if m:
        shape = Lanes.of(colour)
        d_out = ws.get("d_colour_outputs", in_blocks(m, shape.outputs))
        d_inputs = ws.get("d_colour_inputs", in_blocks(m, shift_of(needed)))
        mlp_cpu.colours_bwd_outputs(m, a["selected"], a["rgb"], a["d_rgb"], d_out)
        lanes_backward(colour, m, needed, a["packed_colour"], a["colour_inputs"], d_out, d_inputs, mlp_gradient, ws.get)
        mlp_cpu.colours_bwd_inputs(
            m, a["selected"], projection_stride(f), needed, shift_of(needed), d_inputs, a["d_projection"]
        )
    channels, shape = layout.channels, Lanes.of(projection)
    kept = _with_gradient(ws, n, batch.rays, projection.outputs)
    k = kept.size
    if not k:
        return
    features = ws.get("kept_features", in_blocks(k, shape.inputs))
    d_projection = ws.get("kept_d_projection", in_blocks(k, shape.outputs))
    of_features = channels, shape.inputs, a["features"], features
    mlp_cpu.gather_blocks(k, kept, *of_features, projection.outputs, shape.outputs, a["d_projection"], d_projection)
    d_features = ws.get("d_features", in_blocks(k, shape.inputs))
    weights = a["packed_projection"]
    lanes_backward(projection, k, channels, weights, features, d_projection, d_features, mlp_gradient, ws.get)
    if _in_fours(f):
        places = _fours(a["samples"], n * 4)
        stored = [_fours(a[name], n * channels) for name in ("coefficients", "basis")]
        grids_cpu.lookup_bwd_fours(
            k, kept, f.map.groups, shape.inputs, places, *f.tables, *stored, d_features, _fours(gradient)
        )
        return
    # Rows of the kept samples, as the general kernel wants them.
    found = [a[name][: n * channels].reshape(n, channels)[kept].reshape(-1) for name in ("coefficients", "basis")]
    places = a["samples"][: n * 4].reshape(n, 4)[kept].reshape(-1)
    rows = from_blocks(d_features, k, shape.inputs)[:, :channels].reshape(-1)
    grids_cpu.lookup_bwd_tasks(k, f.map.groups, channels, places, *f.tables, *found, rows, gradient)


def _with_gradient(ws: Workspace, samples: int, rays: int, columns: int) -> np.ndarray:
    """Samples worth going back through: those behind surfaces and in empty space hardly change the picture."""
    largest = ws.get("largest", in_blocks(samples, 0))
    rows, count = vectors(ws.arrays["d_projection"]), -(-samples // LANES)
    mlp_cpu.largest_of_rows(count, columns, shift_of(columns), rows, vectors(largest))
    return np.flatnonzero(largest[:samples] > NEGLIGIBLE / rays).astype(np.int32)


def _in_fours(f: Field) -> bool:
    """Whether lookups may use vectors: on the CPU, with every group of four channels."""
    return f.runtime.host_arrays and f.layout.channels == 4 * f.map.groups


def _fours(array: np.ndarray, count: int | None = None) -> np.ndarray:
    return array[:count].reshape(-1, 4)
