"""The same field, renderer and loss in plain torch: grid_sample, nn.Linear, autograd and torch.optim.Adam.

It is given the batch's rays ready-made (and, if asked, the samples), keeps only live symbols as parameters, evaluates
colours only where a sample carries weight, composites packed samples with a cumulative sum, and updates with the fused
Adam: nothing is done in a needlessly slow way. Its rate is a Laplace distribution per channel with given scales.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from fitting import Case
from taichi_vvc.kernels import shade
from taichi_vvc.kernels.rate import LOG2E
from torch import Tensor, nn
from torch.nn import functional

from taichi_vvc.coding.quantize import grid_offset
from taichi_vvc.field.mlp import unflatten
from taichi_vvc.field.render import DEPTH_LIMIT
from taichi_vvc.field.shading import WEIGHT_THRESHOLD
from taichi_vvc.fit import colour_error, optimize


@dataclass(frozen=True)
class TorchBatch:
    """Rays (rays, 8) as the encoder makes them, samples (n, 3) in cells, the ray of each, starts (rays + 1,)."""

    rays: Tensor
    samples: Tensor
    sample_ray: Tensor
    starts: Tensor
    background: Tensor  # (3,) mean colour
    targets: Tensor  # (rays, 4) colour over it, and the part of it that shows through


def batch_of(case: Case, device: str = "cpu") -> TorchBatch:
    """The batch that the case has just rendered."""
    rays, n = case.config.rays, case.samples

    def tensor(name: str, count: int, width: int) -> Tensor:
        host = np.array(case.runtime.download(getattr(case.ws, name).array, count * width))
        return torch.from_numpy(host.reshape(count, width) if width > 1 else host).to(device)

    return TorchBatch(
        tensor("rays", rays, 8),
        tensor("samples", n, 4)[:, :3].contiguous(),
        tensor("sample_ray", n, 1).long(),
        tensor("starts", rays + 1, 1).long(),
        torch.tensor(colour_error.backdrop(case.config, case.training).mean, device=device),
        tensor("targets", rays, 4),
    )


class TorchField(nn.Module):
    """The model of a case with its present parameters."""

    def __init__(self, case: Case) -> None:
        super().__init__()
        self.layout, config = case.layout, case.config
        state, s = case.state, case.state.symbols
        device = "cuda" if case.runtime.backend == "cuda" and torch.cuda.is_available() else "cpu"
        host = case.runtime.download(s.parameters, s.count)
        self.symbols = nn.ParameterList()
        for n, ((a, b), live) in enumerate(zip(s.ranges, s.live, strict=True)):
            channels = self.layout.grid_shapes[n][3]
            self.symbols.append(nn.Parameter(torch.from_numpy(host[a:b].reshape(-1, channels).T.copy())))
            self.register_buffer(f"place{n}", torch.from_numpy(np.flatnonzero(live)))
        self.log_steps = nn.Parameter(torch.from_numpy(np.log(state.steps)))
        size = sum(int(np.prod(shape)) for shape in self.layout.mlp_shapes)
        tensors = [
            torch.from_numpy(t.copy()) for t in unflatten(self.layout, case.runtime.download(state.field.mlp, size))
        ]
        layers = []
        for w, b in zip(tensors[::2], tensors[1::2], strict=True):
            layer = nn.Linear(*w.shape)
            layer.weight.data, layer.bias.data = w.T.contiguous(), b.reshape(-1)
            layers.append(layer)
        self.projection = nn.Sequential(layers[0], nn.ReLU(), layers[1])
        self.colour = nn.Sequential(layers[2], nn.ReLU(), layers[3])
        cells = torch.tensor(self.layout.occupancy, dtype=torch.float32)
        self.register_buffer("cells", cells)
        self.register_buffer("octaves", 2.0 ** torch.arange(self.layout.view_frequencies))
        self.register_buffer("scales", torch.cat([q.detach().abs().mean(1).clamp_min(0.05) for q in self.symbols]))
        field = state.field
        self.register_buffer("occupied", torch.from_numpy(field.mask.reshape(-1).copy()))
        opacity = np.array(case.runtime.download(field.opacity, field.mask.size))
        self.register_buffer("opacity", torch.from_numpy(opacity))
        self.rate_weight = config.lambda_rate / case.training.rays_per_view
        self.spread = colour_error.backdrop(case.config, case.training).spread
        self.to(device)

    @torch.no_grad()
    def marched(self, batch: TorchBatch) -> TorchBatch:
        """The batch with samples of its own: all steps of all rays at once, then those that count."""
        step = float(self.cells.max()) / self.layout.steps_per_side
        near, far = batch.rays[:, 6:7], batch.rays[:, 7:8]
        most = int(((far - near).max() / step).ceil().clamp_min(1))
        steps = torch.arange(most, device=near.device) + torch.rand_like(near)
        t = near + steps * step
        places = batch.rays[:, None, :3] + t[..., None] * batch.rays[:, None, 3:6]
        i, j, k = places.int().clamp_min(0).minimum(self.cells.int() - 1).unbind(2)
        nx, ny, _ = self.layout.occupancy
        cell = (k * ny + j) * nx + i
        taken = self.occupied[cell] & (t < far)
        depth = (self.opacity[cell] * taken * step).cumsum(1)
        taken[:, 1:] &= depth[:, :-1] < DEPTH_LIMIT
        starts = functional.pad(taken.sum(1).cumsum(0), (1, 0))
        return replace(batch, samples=places[taken], sample_ray=taken.nonzero()[:, 0], starts=starts)

    def grids(self, noise: bool) -> list[Tensor]:
        """Dense grids (1, channels, nz, ny, nx) of the (noisy) symbols."""
        result = []
        for n, (q, step) in enumerate(zip(self.symbols, self.log_steps.exp(), strict=True)):
            nz, ny, nx, channels = self.layout.grid_shapes[n]
            if noise:
                q = q + (torch.rand_like(q) - 0.5)
            values = q.new_zeros(channels, nz * ny * nx).index_copy(1, getattr(self, f"place{n}"), step * q)
            result.append((values + grid_offset(n)).view(1, channels, nz, ny, nx))
        return result

    def features(self, x: Tensor, noise: bool) -> Tensor:
        """Coefficients times basis (n, channels)."""
        coefficients, *levels = self.grids(noise)
        basis = []
        for level, grid in zip(self.layout.levels, levels, strict=True):
            tile = self.cells.max() / level.frequency
            basis.append(_sampled(grid, torch.remainder(x, tile) / tile * 2 - 1))
        return _sampled(coefficients, x / self.cells * 2 - 1) * torch.cat(basis, dim=1)

    def encoded(self, directions: Tensor) -> Tensor:
        """Directions, then sine and cosine of each octave."""
        angles = directions[:, None] * self.octaves[:, None]
        return torch.cat([directions, torch.stack([angles.sin(), angles.cos()], 2).flatten(1)], dim=1)

    def forward(self, batch: TorchBatch, noise: bool = True) -> Tensor:
        """Colours and what passes (rays, 4)."""
        raw = self.projection(self.features(batch.samples, noise))
        tau = functional.softplus(raw[:, 0] - shade.DENSITY_SHIFT) * shade.DENSITY_SCALE / self.layout.steps_per_side
        # Double precision, since the sum runs over all rays before each ray's own part is taken out of it.
        depth = functional.pad(tau.double().cumsum(0), (1, 0))
        before = (depth[:-1] - depth[batch.starts[:-1]][batch.sample_ray]).float()
        weights = torch.exp(-before) * -torch.expm1(-tau)
        shown = torch.nonzero(weights.detach() > WEIGHT_THRESHOLD)[:, 0]
        rays = batch.sample_ray[shown]
        inputs = torch.cat([raw[shown, 1:], self.encoded(batch.rays[:, 3:6])[rays]], dim=1)
        rgb = torch.sigmoid(self.colour(inputs))
        passed = torch.exp(-(depth[batch.starts[1:]] - depth[batch.starts[:-1]])).float()
        colours = (passed[:, None] * batch.background).index_add(0, rays, weights[shown, None] * rgb)
        return torch.cat([colours, passed[:, None]], dim=1)

    def error(self, batch: TorchBatch, noise: bool = True) -> Tensor:
        """Mean over the rays of the squared error, as expected over the backgrounds."""
        weight = batch.targets.new_tensor([1.0, 1.0, 1.0, self.spread])
        return (weight * (self(batch, noise) - batch.targets).square()).sum(1).mean()

    def bits(self) -> Tensor:
        """Bits of all symbols under one Laplace distribution per channel."""
        total: Any = 0.0
        for q, b in zip(self.symbols, self.scales.split([len(q) for q in self.symbols]), strict=True):
            magnitude, inverse = q.abs(), 1 / b[:, None]
            tail = (magnitude - 0.5) * inverse * LOG2E - torch.log2(0.5 * (1 - torch.exp(-inverse)))
            inner = magnitude.clamp_max(0.5)
            outside = torch.exp((inner - 0.5) * inverse) + torch.exp((-inner - 0.5) * inverse)
            central = -torch.log2((1 - 0.5 * outside).clamp_min(1e-12))
            total = total + torch.where(magnitude >= 0.5, tail, central).sum()
        return total

    def optimizer(self, case: Case) -> torch.optim.Optimizer:
        """Adam with the encoder's learning rates."""
        config = case.config
        groups: list[dict[str, Any]] = [
            {"params": [q], "lr": config.grid_rate / float(step)}
            for q, step in zip(self.symbols, case.state.steps, strict=True)
        ]
        mlps = [*self.projection.parameters(), *self.colour.parameters()]
        groups += [{"params": mlps, "lr": config.mlp_rate}, {"params": [self.log_steps], "lr": 0.005}]
        return torch.optim.Adam(groups, betas=(optimize._BETA1, optimize._BETA2), eps=1e-15, fused=True)


def _sampled(grid: Tensor, place: Tensor) -> Tensor:
    found = functional.grid_sample(grid, place[None, None, None], padding_mode="border", align_corners=True)
    return found[0, :, 0, 0].T


def torch_step(field: TorchField, optimizer: torch.optim.Optimizer, batch: TorchBatch, march: bool = True) -> Tensor:
    """One optimisation step, with samples of its own or (``march`` False) those of the batch; returns the loss."""
    optimizer.zero_grad(set_to_none=True)
    loss = field.error(field.marched(batch) if march else batch) + field.rate_weight * field.bits()
    loss.backward()
    optimizer.step()
    return loss.detach()
