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
    fours,
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
from taichi_vvc.kernels import compact, geometry, grids_cpu, grids_gpu, mlp_cpu, shade
from taichi_vvc.kernels.mlp_cpu import LANES

# A sample that contributes less than this to its pixel is not coloured.
WEIGHT_THRESHOLD = 1e-3
# A sample whose density and features change its ray's squared error by less than this per unit is left out of the
# adjoint: between a third and half of them, which hold a ten-thousandth of the gradient.
NEGLIGIBLE = 1e-6
# How much less near places of a whole scene are believed than far ones, see ``kernels/compact.py``.
_AWAY = 0.1


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
    out = [buffer.get(samples * channels) for buffer in (ws.coefficients, ws.basis)]
    if not f.runtime.host_arrays:
        features = ws.features.get(samples * channels)
        grids_gpu.lookup_fwd_channels(samples, channels, ws.samples.array, f.values, *f.tables, *out, features)
        hidden = ws.hidden.get(samples * projection.hidden)
        raw = ws.projection.get(samples * projection.outputs)
        mlp_forward(samples, projection, f.mlp, features, hidden, raw)
        return
    shape = Lanes.of(projection)
    features = ws.features.get(in_blocks(samples, shape.inputs))
    if _in_fours(f):
        places = fours(ws.samples.array, samples * 4)
        found = (fours(array, samples * channels) for array in out)
        grids_cpu.lookup_fwd_fours(
            samples, f.map.groups, shape.inputs, places, fours(f.values), *f.tables, *found, features
        )
    else:
        rows = ws.feature_rows.get(samples * channels)
        grids_cpu.lookup_fwd(samples, f.map.groups, channels, ws.samples.array, f.values, *f.tables, *out, rows)
        to_blocks(rows[: samples * channels].reshape(samples, channels), features, shape.inputs)
    # The adjoint multiplies what stands behind the last sample by 0, which must give 0.
    blocks(features, samples, shape.inputs)[-1:, :, samples % LANES or LANES :] = 0
    raw = ws.projection.get(in_blocks(samples, shape.outputs))
    ws.packed_projection = weights = packed(f.runtime, projection, f.mlp)
    lanes_forward(projection, samples, weights, features, raw)


def projection_stride(f: Field) -> int:
    """How the projection's rows lie, see ``place`` in ``kernels/shade.py``."""
    projection, _ = perceptrons(f.layout)
    return -in_blocks(LANES, Lanes.of(projection).outputs) if f.runtime.host_arrays else projection.outputs


def _select(ws: Workspace, f: Field, rays: int, samples: int) -> int:
    selected = ws.selected.get(samples)
    if f.runtime.host_arrays:
        chosen = np.flatnonzero(ws.weights.array[:samples] > WEIGHT_THRESHOLD)
        selected[: chosen.size] = chosen
        return int(chosen.size)
    counter = ws.counter.get(1)
    counter.fill(0)
    shade.select_samples(rays, ws.starts.array, ws.weights.array, WEIGHT_THRESHOLD, selected, counter)
    return int(counter[0])


def _colours(ws: Workspace, f: Field, samples: int, count: int) -> None:
    """Colours of the ``count`` selected samples; 0 elsewhere."""
    layout = f.layout
    _, colour = perceptrons(layout)
    rgb = ws.rgb.get(samples * 3)
    rgb.fill(0)
    directions, width = ws.directions.array, layout.direction_features
    if f.runtime.host_arrays:
        shape = Lanes.of(colour)
        x = ws.colour_inputs.get(in_blocks(count, shape.inputs))
        y = ws.colour_outputs.get(in_blocks(count, shape.outputs))
        ws.packed_colour = weights = packed(f.runtime, colour, f.mlp)
        if is_wide(colour):
            _wide_colours(ws, f, count, weights)
            return
        mlp_cpu.colours_fwd(
            count,
            colour.inputs,
            colour.hidden,
            shape.inputs,
            shape.weights,
            ws.selected.array,
            ws.sample_ray.array,
            ws.projection.array,
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
    inputs = ws.colour_inputs.get(count * colour.inputs)
    shade.colour_inputs_fwd(
        count,
        ws.selected.array,
        ws.sample_ray.array,
        ws.projection.array,
        projection_stride(f),
        directions,
        width,
        inputs,
    )
    hidden, out = ws.colour_hidden.get(count * colour.hidden), ws.colour_outputs.get(count * 3)
    mlp_forward(count, colour, f.mlp, inputs, hidden, out)
    shade.colour_outputs_fwd(count, ws.selected.array, out, rgb)


def _wide_colours(ws: Workspace, f: Field, count: int, weights: np.ndarray, chunk: int = 4096) -> None:
    """What ``mlp_cpu.colours_fwd`` does, for perceptrons that are too wide for it; rendering only."""
    layout = f.layout
    projection, colour = perceptrons(layout)
    width = layout.direction_features
    for first in range(0, count, chunk):
        chosen = ws.selected.array[first : min(first + chunk, count)]
        rows = blocks(ws.projection.array, int(chosen.max()) + 1, Lanes.of(projection).outputs)
        appearance = rows[chosen // LANES, 1 : 1 + layout.appearance, chosen % LANES]
        rays = ws.sample_ray.array[chosen]
        directions = ws.directions.array[: (int(rays.max()) + 1) * width].reshape(-1, width)[rays]
        raw = evaluate_rows(colour, weights, np.concatenate([appearance, directions], 1))
        ws.rgb.array.reshape(-1)[: (int(chosen.max()) + 1) * 3].reshape(-1, 3)[chosen] = logistic(raw)


def logistic(values: np.ndarray) -> np.ndarray:
    """1 / (1 + exp(-v)) in float32, without overflow."""
    small = np.exp(-np.abs(values))
    return np.where(values < 0, small, np.float32(1)) / (1 + small)


def shade_samples(ws: Workspace, f: Field, rays: int, samples: int) -> Batch:
    """Weights of all samples and colours of those that carry weight."""
    layout = f.layout
    project(ws, f, samples)
    passed, depth = ws.transmittance.get(rays), ws.depth.get(rays)
    step = 1.0 / layout.steps_per_side
    weights = ws.weights.get(samples)
    shade.weights_fwd(
        rays, ws.starts.array, ws.projection.array, ws.samples.array, projection_stride(f), step, weights, passed, depth
    )
    directions = ws.directions.get(rays * layout.direction_features)
    geometry.encode_directions(rays, ws.rays.array, layout.view_frequencies, directions)
    count = _select(ws, f, rays, samples)
    _colours(ws, f, samples, count)
    return Batch(rays, samples, count)


def shade_rays(ws: Workspace, f: Field, rays: int, samples: int) -> Batch:
    """:func:`shade_samples`, and the composited ``colour`` of the rays over the workspace's ``background``."""
    batch = shade_samples(ws, f, rays, samples)
    colour = ws.colour.get(rays * 3)
    shade.composite_fwd(
        rays, ws.starts.array, ws.weights.array, ws.rgb.array, ws.transmittance.array, ws.background.array, colour
    )
    return batch


def fit_rays(
    ws: Workspace,
    f: Field,
    rays: int,
    samples: int,
    background: Background,
    gradient: Any,
    mlp_gradient: Any | None,
    compactness: float = 0.0,
) -> Any:
    """Render a batch and go back through it.

    Adds the gradient of the mean over the rays of |colour - target|^2, as expected over the backgrounds, to
    ``gradient`` (as ``f.values``) and ``mlp_gradient`` (as ``f.mlp``; None where the MLPs are frozen). The workspace
    holds ``targets`` over ``background.mean``. With a ``compactness`` above 0 the gradient of that times what
    ``kernels/compact.py`` measures, a mean over the rays, is added, too.

    Returns:
        The squared error of each ray, summed over the channels, on the device.
    """
    batch = shade_samples(ws, f, rays, samples)
    errors = ws.errors.get(rays)
    d_rgb, d_projection = _gradients(ws, f, samples)
    shade.composite_loss(
        rays,
        ws.starts.array,
        ws.projection.array,
        projection_stride(f),
        1.0 / f.layout.steps_per_side,
        1.0 / rays,
        *background.mean,
        background.spread,
        ws.weights.array,
        ws.rgb.array,
        ws.transmittance.array,
        ws.targets.array,
        errors,
        d_rgb,
        d_projection,
    )
    if compactness:
        layout = f.layout
        compact.compact_bwd(
            rays,
            ws.starts.array,
            ws.projection.array,
            ws.samples.array,
            projection_stride(f),
            1.0 / layout.steps_per_side,
            compactness / rays,
            _AWAY,
            0.5 * max(layout.inner),
            ws.weights.array,
            ws.transmittance.array,
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
    d_projection = ws.d_projection.get(size)
    d_projection.fill(0)
    return ws.d_rgb.get(samples * 3), d_projection


def _backward(ws: Workspace, f: Field, batch: Batch, gradient: Any, mlp_gradient: Any | None) -> None:
    """From the gradients of colours and densities to those of grids and MLPs."""
    if f.runtime.host_arrays:
        _backward_lanes(ws, f, batch, gradient, mlp_gradient)
        return
    layout, n, m = f.layout, batch.samples, batch.coloured
    projection, colour = perceptrons(layout)
    d_out, d_inputs = ws.d_colour_outputs.get(m * 3), ws.d_colour_inputs.get(m * colour.inputs)
    shade.colour_outputs_bwd(m, ws.selected.array, ws.rgb.array, ws.d_rgb.array, d_out)
    scratch = ws.d_hidden.get(max(m * colour.hidden, n * projection.hidden))
    mlp_backward(
        m, colour, f.mlp, ws.colour_inputs.array, ws.colour_hidden.array, d_out, d_inputs, mlp_gradient, scratch
    )
    shade.colour_inputs_bwd(
        m, ws.selected.array, projection.outputs, layout.direction_features, d_inputs, ws.d_projection.array
    )
    d_features = ws.d_features.get(n * layout.channels)
    mlp_backward(
        n,
        projection,
        f.mlp,
        ws.features.array,
        ws.hidden.array,
        ws.d_projection.array,
        d_features,
        mlp_gradient,
        scratch,
    )
    stored = (ws.coefficients.array, ws.basis.array, d_features)
    least = NEGLIGIBLE / batch.rays
    grids_gpu.lookup_bwd_channels(n, layout.channels, least, ws.samples.array, *f.tables, *stored, gradient)


def _backward_lanes(ws: Workspace, f: Field, batch: Batch, gradient: Any, mlp_gradient: Any | None) -> None:
    """:func:`_backward` on the CPU."""
    layout, n, m = f.layout, batch.samples, batch.coloured
    projection, colour = perceptrons(layout)
    needed = layout.appearance
    if m:
        shape = Lanes.of(colour)
        d_out = ws.d_colour_outputs.get(in_blocks(m, shape.outputs))
        d_inputs = ws.d_colour_inputs.get(in_blocks(m, shift_of(needed)))
        mlp_cpu.colours_bwd_outputs(m, ws.selected.array, ws.rgb.array, ws.d_rgb.array, d_out)
        lanes_backward(colour, m, needed, ws.packed_colour, ws.colour_inputs.array, d_out, d_inputs, mlp_gradient, ws)
        mlp_cpu.colours_bwd_inputs(
            m, ws.selected.array, projection_stride(f), needed, shift_of(needed), d_inputs, ws.d_projection.array
        )
    channels, shape = layout.channels, Lanes.of(projection)
    kept = _with_gradient(ws, n, batch.rays, projection.outputs)
    k = kept.size
    if not k:
        return
    features = ws.kept_features.get(in_blocks(k, shape.inputs))
    d_projection = ws.kept_d_projection.get(in_blocks(k, shape.outputs))
    of_features = channels, shape.inputs, ws.features.array, features
    mlp_cpu.gather_blocks(k, kept, *of_features, projection.outputs, shape.outputs, ws.d_projection.array, d_projection)
    d_features = ws.d_features.get(in_blocks(k, shape.inputs))
    weights = ws.packed_projection
    lanes_backward(projection, k, channels, weights, features, d_projection, d_features, mlp_gradient, ws)
    if _in_fours(f):
        places = fours(ws.samples.array, n * 4)
        stored = [fours(buffer.array, n * channels) for buffer in (ws.coefficients, ws.basis)]
        grids_cpu.lookup_bwd_fours(
            k, kept, f.map.groups, shape.inputs, places, *f.tables, *stored, d_features, fours(gradient)
        )
        return
    # Rows of the kept samples, as the general kernel wants them.
    whole = ws.coefficients.array, ws.basis.array
    found = [array[: n * channels].reshape(n, channels)[kept].reshape(-1) for array in whole]
    places = ws.samples.array[: n * 4].reshape(n, 4)[kept].reshape(-1)
    rows = from_blocks(d_features, k, shape.inputs)[:, :channels].reshape(-1)
    grids_cpu.lookup_bwd_tasks(k, f.map.groups, channels, places, *f.tables, *found, rows, gradient)


def _with_gradient(ws: Workspace, samples: int, rays: int, columns: int) -> np.ndarray:
    """Samples worth going back through: those behind surfaces and in empty space hardly change the picture."""
    largest = ws.largest.get(in_blocks(samples, 0))
    rows, count = vectors(ws.d_projection.array), -(-samples // LANES)
    mlp_cpu.largest_of_rows(count, columns, shift_of(columns), rows, vectors(largest))
    return np.flatnonzero(largest[:samples] > NEGLIGIBLE / rays).astype(np.int32)


def _in_fours(f: Field) -> bool:
    """Whether lookups may use vectors: on the CPU, with every group of four channels."""
    return f.runtime.host_arrays and f.layout.channels == 4 * f.map.groups
