"""The codec's differentiable kernels as torch functions, to optimise other representations jointly (extra ``torch``).

Every function runs the same Taichi kernels as the codec on contiguous tensors, whose memory the kernels use directly:
CPU tensors with the ``cpu`` backend, tensors of the first CUDA device with the ``cuda`` backend. The device that is
used first starts its backend; a process has one. docs/torch.md shows a whole fit.

All functions raise :class:`~taichi_vvc.errors.ConfigError` for a wrong type, shape or layout and
:class:`~taichi_vvc.errors.BackendError` for a device that does not go with the running backend. Gradients are of first
order.
"""

from __future__ import annotations

try:
    import torch as _torch  # noqa: F401
except ModuleNotFoundError as error:
    raise ModuleNotFoundError(
        'taichi_vvc.torch: expected torch, found none; install it with pip install "taichi_vvc[torch]"', name="torch"
    ) from error

from taichi_vvc.torch.coding import compress, decompress
from taichi_vvc.torch.lookup import grid_lookup
from taichi_vvc.torch.symbols import CoderTables, coder_tables, entropy_bits, laplace_bits, quantize_noise
from taichi_vvc.torch.volume import march_rays, pixel_rays, volume_render

__all__ = [
    "CoderTables",
    "coder_tables",
    "compress",
    "decompress",
    "entropy_bits",
    "grid_lookup",
    "laplace_bits",
    "march_rays",
    "pixel_rays",
    "quantize_noise",
    "volume_render",
]
