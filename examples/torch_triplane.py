"""Joint optimisation of a tri-plane field, written in torch: three planes of features, multiplied, and a small network.

    python examples/torch_triplane.py [--steps N]

Fits one frame of the packaged capture twice, with the rate in the loss and without, and compares the bytes.
"""

import argparse

import torch
from torch_fit import compare

import taichi_vvc.torch as tvt

CHANNELS = 8
PLANES = ((1, 64, 64, CHANNELS), (96, 1, 64, CHANNELS), (96, 64, 1, CHANNELS))  # z, y, x: an axis of 1 is constant


class TriPlane(torch.nn.Module):
    """Features are products of one lookup per plane (K-Planes, arXiv 2301.10241); symbol 0 stands for the factor 1."""

    rate = 0.2  # learning rate, quantisation steps

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.grids = torch.nn.ParameterList([torch.rand(shape) * 2 - 1 for shape in PLANES])
        self.network = torch.nn.Sequential(torch.nn.Linear(CHANNELS, 32), torch.nn.ReLU(), torch.nn.Linear(32, 4))

    def forward(self, samples: torch.Tensor, grids: list[torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
        """Raw densities (n,) and colours (n, 3) of samples (n, 4), cells."""
        features = 1.0
        for grid in grids:
            features = features * (1.0 + 0.2 * tvt.grid_lookup(grid, samples, size=(30.0, 30.0, 48.0)))
        values = self.network(features)
        return values[:, 0].contiguous(), torch.sigmoid(values[:, 1:]).contiguous()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--weight", type=float, default=5e-4, help="of the rate")
    arguments = parser.parse_args()
    compare(TriPlane, arguments.steps, arguments.weight)
