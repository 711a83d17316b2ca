"""Joint optimisation of a plain voxel grid, written in torch: density and colour at every node, no network.

    python examples/torch_voxels.py [--steps N]

Fits one frame of the packaged capture twice, with the rate in the loss and without, and compares the bytes.
"""

import argparse

import torch
from torch_fit import compare

import taichi_vvc.torch as tvt

NODES = (64, 40, 40)  # z, y, x
SIZE = (30.0, 30.0, 48.0)  # x, y, z, cells of the scene


class Voxels(torch.nn.Module):
    """A grid of raw density and three colours before a logistic function; symbol 0 is nearly empty grey."""

    rate = 0.4  # learning rate, quantisation steps

    def __init__(self) -> None:
        super().__init__()
        self.grids = torch.nn.ParameterList([torch.zeros(*NODES, 4)])
        self.step = 0.5

    def forward(self, samples: torch.Tensor, grids: list[torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
        """Raw densities (n,) and colours (n, 3) of samples (n, 4), cells."""
        values = tvt.grid_lookup(grids[0], samples, size=SIZE) * self.step
        return (values[:, 0] - 1.0).contiguous(), torch.sigmoid(values[:, 1:]).contiguous()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--weight", type=float, default=5e-4, help="of the rate")
    arguments = parser.parse_args()
    compare(Voxels, arguments.steps, arguments.weight)
