"""The backend of a test process, and helpers for the tests of kernels.

A process has one Taichi backend. The main process tests the CPU; ``test_other_backends.py`` runs the same files again
in a child process for each of the other backends present, which it names in ``TVVC_TEST_BACKEND``.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import numpy as np

from taichi_vvc.field.grids import Field, flat_values, make_field, map_of
from taichi_vvc.field.mlp import flatten
from taichi_vvc.runtime import Runtime, start
from taichi_vvc.types import Bounds, Camera, FieldLayout, GridLevel

VARIABLE = "TVVC_TEST_BACKEND"
BACKEND = os.environ.get(VARIABLE, "cpu")


def runtime() -> Runtime:
    """The backend under test; started by the first test that asks."""
    return start(BACKEND)


def up(values: Any, dtype: Any = np.float32) -> Any:
    """A device array with a copy of ``values`` (an upload may share memory on the CPU)."""
    return runtime().upload(np.array(values, dtype))


def ints(values: Any) -> Any:
    """A device array of int32."""
    return up(values, np.int32)


def unset(count: int) -> Any:
    """A device array of NaN, so that elements that a kernel does not write are noticed."""
    array = runtime().empty(count)
    array.fill(float("nan"))
    return array


def down(array: Any, *shape: int) -> np.ndarray:
    """The first elements of a device array as a NumPy copy of ``shape`` (all of them, flat, without one)."""
    host = np.array(runtime().download(array))
    return host[: int(np.prod(shape))].reshape(shape) if shape else host


def slope(function: Callable[[np.ndarray], float], at: np.ndarray, direction: np.ndarray, width: float) -> float:
    """Central difference of a function of an array along a direction."""
    return float(function(at + width * direction) - function(at - width * direction)) / (2 * width)


def gradient_of(function: Callable[[np.ndarray], float], at: np.ndarray, width: float) -> np.ndarray:
    """Central differences of a function of an array with respect to every element."""
    result = np.zeros(at.shape)
    for index in np.ndindex(*at.shape):
        direction = np.zeros(at.shape)
        direction[index] = 1
        result[index] = slope(function, at, direction, width)
    return result


def small_layout(**changes: Any) -> FieldLayout:
    """A field of a few hundred symbols: unequal axes, groups of width 4 and 2, a frequency that is no integer."""
    settings: dict[str, Any] = {
        "bounds": Bounds((-1.0, 0.5, 2.0), (0.5, 2.5, 3.0)),
        "coefficients": (4, 3, 5),
        "levels": (GridLevel((5, 4, 3), 4, 1.0), GridLevel((3, 4, 4), 6, 2.5)),
        "occupancy": (6, 8, 4),
        "projection_hidden": 8,
        "appearance": 3,
        "colour_hidden": 8,
        "view_frequencies": 1,
        "steps_per_side": 16,
    }
    return FieldLayout(**{**settings, **changes})


def random_grids(layout: FieldLayout, seed: int) -> tuple[np.ndarray, ...]:
    """Float32 grids: coefficients around 1, basis around 0."""
    rng = np.random.default_rng(seed)
    return tuple(
        (rng.standard_normal(shape) * 0.5 + (1.0 if number == 0 else 0.0)).astype(np.float32)
        for number, shape in enumerate(layout.grid_shapes)
    )


def random_mlp(layout: FieldLayout, seed: int) -> tuple[np.ndarray, ...]:
    """Float32 MLP tensors; the density's bias makes a ray opaque after a few samples."""
    rng = np.random.default_rng(seed)
    tensors = [
        (rng.standard_normal(shape) / (np.sqrt(shape[0]) if len(shape) == 2 else 5.0)).astype(np.float32)
        for shape in layout.mlp_shapes
    ]
    tensors[3][0] = 1.5
    return tuple(tensors)


def field_of(
    layout: FieldLayout, grids: tuple[np.ndarray, ...], mlp: tuple[np.ndarray, ...], mask: np.ndarray | None = None
) -> Field:
    """A field on the device under test; occupied everywhere unless a mask is given."""
    x, y, z = layout.occupancy
    if mask is None:
        mask = np.ones((z, y, x), bool)
    return make_field(runtime(), layout, flat_values(map_of(layout), layout, grids), flatten(mlp), mask)


def constant_mlp(layout: FieldLayout, raw_density: float, colour: tuple[float, float, float]) -> tuple[np.ndarray, ...]:
    """MLP tensors that answer the same raw density and the same colour everywhere: all weights 0, only biases."""
    tensors = [np.zeros(shape, np.float32) for shape in layout.mlp_shapes]
    tensors[3][0] = raw_density
    value = np.asarray(colour, np.float64)
    tensors[7][:] = np.log(value / (1 - value))
    return tuple(tensors)


FOG_COLOUR = (0.8, 0.3, 0.55)
FOG_RAW = 3.0 - 4.0  # raw density below the activation's shift of 3: a thin fog


def fog(layout: FieldLayout, raw: float = FOG_RAW, mask: np.ndarray | None = None) -> Field:
    """A field of constant density and colour."""
    return field_of(layout, random_grids(layout, 0), constant_mlp(layout, raw, FOG_COLOUR), mask)


def look_at(position: Any, target: Any, size: tuple[int, int] = (8, 6), focal: float = 8.0, **changes: Any) -> Camera:
    """A camera at ``position`` that looks at ``target``, world units; ``size`` and ``focal`` in pixels."""
    eye = np.asarray(position, np.float64)
    forward = np.asarray(target, np.float64) - eye
    forward /= np.linalg.norm(forward)
    right = np.cross(forward, [0.1, 1.0, 0.2])
    right /= np.linalg.norm(right)
    rotation = np.stack([right, np.cross(forward, right), forward], axis=1)
    width, height = size
    settings: dict[str, Any] = {"cx": width / 2, "cy": height / 2, "fx": focal, "fy": focal, "name": "camera"}
    return Camera(width=width, height=height, rotation=rotation, position=eye, **{**settings, **changes})
