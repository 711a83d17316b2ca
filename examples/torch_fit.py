"""The fit that torch_voxels.py and torch_triplane.py share: the same loop with the rate in the loss, and without.

A model has ``grids``, parameters (nz, ny, nx, C) in units of a quantisation step, and turns samples and grids into raw
densities and colours; its other parameters are a network's. Both fits end as bytes of the codec's entropy coder.
"""

from collections.abc import Callable

import torch
from torch_scene import Scene

import taichi_vvc.torch as tvt

RAYS = 1024  # per iteration
NETWORK_STEP = 1 / 64

torch.set_num_threads(1)  # with arrays as small as here more threads cost more than they save


def fit(scene: Scene, model: torch.nn.Module, steps: int, weight: float) -> None:
    """Minimise the colour error plus ``weight`` times the bits per ray of one view; weight 0 leaves the rate out."""
    groups = [{"params": list(model.grids), "lr": model.rate}, {"params": networks(model), "lr": 0.01}]
    optimiser = torch.optim.Adam(groups)
    decay = torch.optim.lr_scheduler.ExponentialLR(optimiser, 0.1 ** (1 / steps))
    tables = None
    torch.manual_seed(0)
    for i in range(steps):
        grids = list(model.grids)
        if weight:
            # Noise stands for rounding at first; in the end the symbols are rounded as they will be coded.
            late = i > 0.6 * steps
            grids = [tvt.quantize_noise(g, seed=k, iteration=i, rounded=late) for k, g in enumerate(model.grids)]
        which = scene.useful[torch.randint(len(scene.useful), (RAYS,))]
        loss = scene.errors(model, grids, "train", which, torch.rand(RAYS, 3), seed=0, iteration=i).sum(1).mean()
        if weight and i >= steps // 20:  # tables of a grid of zeros would keep it there
            if tables is None or i % 40 == 0:
                tables = [tvt.coder_tables(g) for g in model.grids]
            loss = loss + weight / scene.per_view * sum(map(tvt.entropy_bits, model.grids, tables))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        decay.step()


def networks(model: torch.nn.Module) -> list[torch.nn.Parameter]:
    """What is not a grid."""
    return [p for name, p in model.named_parameters() if not name.startswith("grids")]


@torch.no_grad()
def coded(scene: Scene, model: torch.nn.Module, factor: float = 1.0) -> tuple[float, int]:
    """PSNR and bytes with the grids rounded to multiples of ``factor`` steps, and the network rounded too."""
    symbols = [torch.floor(g / factor + 0.5) for g in model.grids]
    for p in networks(model):
        p.copy_(torch.round(p / NETWORK_STEP) * NETWORK_STEP)
        symbols.append(p / NETWORK_STEP)
    size = sum(len(tvt.compress(s.to(torch.int32))) for s in symbols)
    return scene.psnr(model, [s * factor for s in symbols[: len(model.grids)]]), size


def compare(make: Callable[[], torch.nn.Module], steps: int, weight: float, cells: int = 48) -> None:
    """Print quality and bytes with the rate in the fit, and quantised afterwards as coarsely as quality allows."""
    scene = Scene(cells)
    with_rate, without = make(), make()
    fit(scene, with_rate, steps, weight)
    quality, size = coded(scene, with_rate)
    print(f"jointly optimised:    {quality:.2f} dB, {size} bytes")
    fit(scene, without, steps, 0.0)
    # The coarsest quantiser that is as good: finer ones of a bracket are good, coarser ones are not.
    fine, coarse = 2.0**-4, 2.0**4
    for _ in range(8):
        middle = (fine * coarse) ** 0.5
        good = coded(scene, without, middle)[0] >= quality
        fine, coarse = (middle, coarse) if good else (fine, middle)
    other, most = coded(scene, without, fine)
    print(f"quantised afterwards: {other:.2f} dB, {most} bytes: {100 * (1 - size / most):.0f} % saved jointly")
