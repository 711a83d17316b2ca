"""The distortion of one step: rays are drawn, rendered and compared with their pixels; and the adjoint of that."""

from __future__ import annotations

from typing import Any

from taichi_vvc.config import EncoderConfig
from taichi_vvc.field.grids import Field
from taichi_vvc.field.render import make_rays, trace
from taichi_vvc.field.shading import Background, fit_rays
from taichi_vvc.field.workspace import Workspace
from taichi_vvc.fit.training_rays import TrainingRays
from taichi_vvc.kernels import geometry


def backdrop(config: EncoderConfig, training: TrainingRays, spread: float = 0.0) -> Background:
    """What the fit composites over. ``spread``: variance of the colour behind a scene without masks."""
    if config.random_background and training.has_alpha:
        return Background.uniform()
    return Background(config.backdrop, spread)


def distortion_step(
    ws: Workspace,
    f: Field,
    config: EncoderConfig,
    training: TrainingRays,
    gradient: Any,
    mlp_gradient: Any | None,
    seed: int,
    iteration: int,
    compactness: float = 0.0,
    spread: float = 0.0,
) -> float | None:
    """Draw rays, render them, and add the distortion's gradient to ``gradient`` (as ``f.values``).

    ``mlp_gradient`` (as ``f.mlp``; None where the MLPs are frozen) is set to theirs. Returns the mean squared error; on
    a GPU only now and then, since reading it back waits for the device. ``compactness``: see
    :func:`taichi_vvc.field.shading.fit_rays`; ``spread``: see :func:`backdrop`.
    """
    rays, background = config.rays, backdrop(config, training, spread)
    pixels = ws.pixels.get(rays)
    # Where ``images`` has these pixels only, the same draw tells their places in it.
    among = training.drawn if training.places is None else training.places
    geometry.draw_pixels(rays, among, training.count, seed, iteration, pixels)
    geometry.targets_of_pixels(rays, pixels, training.images, *background.mean, ws.targets.get(rays * 4))
    if training.places is not None:
        geometry.draw_pixels(rays, training.drawn, training.count, seed, iteration, pixels)
    make_rays(ws, f.layout, training.finest, pixels, rays)
    samples = trace(ws, f, rays, seed, iteration)
    if mlp_gradient is not None:
        mlp_gradient.fill(0)
    errors = fit_rays(ws, f, rays, samples, background, gradient, mlp_gradient, compactness)
    if f.runtime.host_arrays or iteration % 10 == 0:
        return float(f.runtime.download(errors, rays).mean()) / 3
    return None
