"""The field and its renderer in torch (float64, autograd), the reference for the hand-written adjoints."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import reference
import torch

from taichi_vvc.types import FieldLayout


def doubles(arrays: Sequence[np.ndarray]) -> list[torch.Tensor]:
    """Float64 leaves that require gradients."""
    return [torch.from_numpy(a.astype(np.float64)).requires_grad_() for a in arrays]


def gradients(tensors: Sequence[torch.Tensor]) -> list[np.ndarray]:
    """Gradients of leaves as arrays; 0 where a leaf took no part."""
    return [np.zeros(t.shape) if t.grad is None else t.grad.numpy() for t in tensors]


def sampled(grid: torch.Tensor, place: torch.Tensor) -> torch.Tensor:
    """torch's trilinear interpolation of a (nz, ny, nx, channels) grid at places in [-1, 1] (n, 3)."""
    result = torch.nn.functional.grid_sample(
        grid.permute(3, 0, 1, 2)[None], place[None, None, None], padding_mode="border", align_corners=True
    )
    return result[0, :, 0, 0].T


def features(layout: FieldLayout, grids: Sequence[torch.Tensor], x: np.ndarray) -> torch.Tensor:
    """Coefficients times basis (n, channels) at points (n, 3), cells."""
    position = torch.from_numpy(x.astype(np.float64))
    cells = torch.tensor(layout.occupancy, dtype=torch.float64)
    basis = []
    for level, grid in zip(layout.levels, grids[1:], strict=True):
        tile = cells.max() / level.frequency
        basis.append(sampled(grid, torch.remainder(position, tile) / tile * 2 - 1))
    return sampled(grids[0], position / cells * 2 - 1) * torch.cat(basis, dim=1)


def composited(
    raw: torch.Tensor, rgb: torch.Tensor, starts: np.ndarray, step: float, background: np.ndarray
) -> torch.Tensor:
    """Colours (rays, 3) of packed samples with raw densities (n,) and colours (n, 3); ``step`` in longest sides."""
    colours = []
    for r, behind in enumerate(torch.from_numpy(background.astype(np.float64))):
        own = slice(int(starts[r]), int(starts[r + 1]))
        tau = reference.DENSITY_SCALE * torch.nn.functional.softplus(raw[own] - reference.DENSITY_SHIFT) * step
        passed = torch.exp(-torch.cumsum(torch.cat([torch.zeros(1, dtype=torch.float64), tau]), dim=0))
        weights = passed[:-1] * -torch.expm1(-tau)
        colours.append(weights @ rgb[own] + passed[-1] * behind)
    return torch.stack(colours)


def rendered(
    layout: FieldLayout,
    grids: Sequence[torch.Tensor],
    mlp: Sequence[torch.Tensor],
    directions: np.ndarray,
    samples: np.ndarray,
    sample_ray: np.ndarray,
    starts: np.ndarray,
    background: np.ndarray,
    coloured: np.ndarray | None = None,
) -> torch.Tensor:
    """Colours (rays, 3) of the whole model; ``directions`` (rays, 3), ``samples`` (n, 3) in cells.

    Samples that are not ``coloured`` (n,) are black: what the renderer leaves out.
    """
    w1, b1, w2, b2, w3, b3, w4, b4 = mlp
    projection = torch.relu(features(layout, grids, samples) @ w1 + b1) @ w2 + b2
    encoded = np.stack([reference.encode_direction(d, layout.view_frequencies) for d in directions.astype(np.float64)])
    inputs = torch.cat([projection[:, 1:], torch.from_numpy(encoded)[torch.from_numpy(sample_ray.astype(np.int64))]], 1)
    rgb = torch.sigmoid(torch.relu(inputs @ w3 + b3) @ w4 + b4)
    if coloured is not None:
        rgb = rgb * torch.from_numpy(coloured.astype(np.float64))[:, None]
    return composited(projection[:, 0], rgb, starts, 1 / layout.steps_per_side, background)
