"""One frame of the packaged capture for torch_voxels.py and torch_triplane.py: rays, colours, picture quality."""

import dataclasses

import numpy as np
import torch

import taichi_vvc as tv
import taichi_vvc.torch as tvt
from taichi_vvc.capture.hull import visual_hull
from taichi_vvc.capture.packaged import capture_path
from taichi_vvc.config import layout_of

STEP = 0.75  # distance of samples, cells


class Scene:
    """All pixels of the first frame as rays, in cells of the bounds, with the colours that they should show."""

    def __init__(self, cells: int) -> None:
        capture = tv.open_capture(capture_path(), frames=slice(0, 1))
        layout = layout_of(dataclasses.replace(tv.PRESETS["fast"], occupancy_cells=cells), capture.bounds)
        self.cells, self.step = layout.occupancy, STEP / cells
        views = {split: capture.frame(0, split).views for split in ("train", "test")}
        self.occupancy = torch.from_numpy(visual_hull(views["train"], layout.bounds, self.cells))
        self.rays, self.rgba = {}, {}
        for split, some in views.items():
            self.rays[split] = tvt.pixel_rays([view.camera for view in some], layout.bounds, self.cells)
            pixels = np.concatenate([view.image.reshape(-1, 4) for view in some])
            self.rgba[split] = torch.from_numpy(pixels.astype(np.float32) / 255)
        _, _, starts = tvt.march_rays(self.rays["train"], self.occupancy, STEP)
        self.useful = torch.nonzero(starts.diff())[:, 0]  # rays that meet the hull
        self.per_view = len(self.useful) / len(views["train"])

    def errors(self, model, grids, split, which, background, **jitter) -> torch.Tensor:
        """Squared errors (rays, 3) of some rays over background colours (rays, 3)."""
        samples, _, starts = tvt.march_rays(self.rays[split][which], self.occupancy, STEP, **jitter)
        density, colours = model(samples, grids)
        shown, _, _ = tvt.volume_render(density, colours, samples, starts, background, self.step)
        rgb, alpha = self.rgba[split][which].split((3, 1), dim=1)
        return (shown - rgb * alpha - background * (1 - alpha)).square()

    @torch.no_grad()
    def psnr(self, model, grids) -> float:
        """Of the held-out views on white, dB."""
        parts = torch.arange(len(self.rays["test"])).split(8192)
        total = sum(self.errors(model, grids, "test", part, torch.ones(len(part), 3)).sum() for part in parts)
        return float(-10 * torch.log10(total / (3 * len(self.rays["test"]))))
