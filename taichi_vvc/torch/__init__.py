"""The codec's kernels as differentiable torch functions, for fits of other representations (extra ``torch``).

Every function runs the Taichi kernels of the codec on contiguous tensors. The kernels use the tensors' memory
directly: CPU tensors with the ``cpu`` backend, tensors of the first CUDA device with the ``cuda`` backend. The first
call starts the backend of its device, and a process can have only one. docs/torch.md shows a whole fit.

All functions raise :class:`~taichi_vvc.errors.ConfigError` for a wrong type, shape or memory layout and
:class:`~taichi_vvc.errors.BackendError` for a device other than that of the running backend. Gradients are of first
order only. The room imports from ``fit/``, ``field/``, ``coding/``, ``geometry/``, ``kernels/`` and ``runtime``; no
other room imports it.
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
