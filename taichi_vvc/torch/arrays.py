"""Tensors as kernel arguments: checks of types and shapes, access to their memory, and launches."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from taichi_vvc.errors import BackendError, ConfigError
from taichi_vvc.runtime import Runtime, start

_WARM: set[str] = set()


def runtime_of(device: torch.device) -> Runtime:
    """The backend whose kernels can use the memory of a device's tensors; starts it if needed.

    Raises:
        BackendError: there is no such backend, or another one is running.
    """
    if device.type not in ("cpu", "cuda") or device.index:
        raise BackendError(f"expected tensors on cpu or cuda:0, found {device}; move them with .to('cpu')")
    try:
        return start(device.type)
    except BackendError as error:
        raise BackendError(f"tensors on {device} need the {device.type} backend: {error}") from error


def check(name: str, tensor: Any, shape: str, like: Tensor | None = None, dtype: torch.dtype = torch.float32) -> None:
    """Checks a tensor's type, device, memory layout and shape.

    Args:
        name: the argument's name, for the message.
        tensor: the argument.
        shape: a word per dimension, such as ``"n 4"``; numbers are exact, other words match any size.
        like: a tensor whose device this one must share.
        dtype: the expected element type.

    Raises:
        ConfigError: a check fails.
    """
    if not isinstance(tensor, Tensor):
        raise ConfigError(f"{name}: expected a tensor, found {type(tensor).__name__}")
    words = shape.split()
    if shape != "..." and (
        tensor.ndim != len(words) or any(w.isdigit() and int(w) != s for w, s in zip(words, tensor.shape, strict=True))
    ):
        raise ConfigError(f"{name}: expected shape ({', '.join(words)}), found {tuple(tensor.shape)}")
    if tensor.dtype != dtype:
        raise ConfigError(f"{name}: expected {dtype}, found {tensor.dtype}; convert it with .to({dtype})")
    if like is not None and tensor.device != like.device:
        raise BackendError(f"{name}: expected a tensor on {like.device} as the others, found one on {tensor.device}")
    if tensor.layout != torch.strided or not tensor.is_contiguous():
        raise ConfigError(f"{name}: expected a contiguous tensor, found strides; call .contiguous()")
    if tensor.numel() >= 2**29:
        raise ConfigError(f"{name}: expected fewer than 2^29 elements, found {tensor.numel()}; split the batch")


def raw(tensor: Tensor) -> Any:
    """The tensor's own memory as a flat tensor for a kernel; detached, since Taichi allocates ``.grad`` otherwise."""
    flat = tensor.detach().view(-1)
    return flat.numpy() if flat.device.type == "cpu" else flat


def launch(device: torch.device, kernel: Any, *arguments: Any) -> Any:
    """Runs a kernel in order with torch's current stream; Taichi itself uses the default stream only."""
    if device.type == "cpu":
        return kernel(*arguments)
    torch.cuda.current_stream(device).synchronize()
    result = kernel(*arguments)
    runtime_of(device).sync()
    return result


def warm(device: torch.device, kernel: Any, *arguments: Any) -> None:
    """Compiles a backward kernel in advance: torch calls backward in its own threads, where Taichi cannot compile."""
    name = f"{kernel.__name__} {device.type}"
    if name not in _WARM:
        launch(device, kernel, 0, *arguments)
        _WARM.add(name)
