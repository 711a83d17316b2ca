"""A field on the device: grids, MLPs and occupancy in the layout that the kernels read."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from taichi_vvc.coding.memory import Budget, field_need, held_by
from taichi_vvc.coding.quantize import grid_values
from taichi_vvc.field.mlp import flatten
from taichi_vvc.geometry.projection import dilate
from taichi_vvc.kernels.columns import Group, GroupScale
from taichi_vvc.runtime import Runtime, aligned
from taichi_vvc.types import DETAIL, Camera, FieldLayout, GroupParameters, SymbolFrame


@dataclass(frozen=True)
class GridMap:
    """Where each grid node lies in the flat value array.

    The channels of a field are split into groups of 4 (then of 2 and of 1 where a level's count asks for it) that are
    looked up together; a group's nodes are contiguous, which keeps the writers of the adjoint apart.

    Attributes:
        size: length of the flat array.
        groups: number of groups.
        ints, floats: the kernels' group tables, :class:`Group` and :class:`GroupScale` of ``kernels/columns.py``.
        bases: per grid, the flat index of node 0 of each channel, and the stride between nodes.
    """

    size: int
    groups: int
    ints: np.ndarray
    floats: np.ndarray
    bases: tuple[tuple[np.ndarray, np.ndarray], ...]

    def places(self, grid: int, nodes: np.ndarray) -> np.ndarray:
        """Flat index of each (node, channel), int32 (len(nodes), channels), for flat node numbers of one grid."""
        base, stride = self.bases[grid]
        return (base[None, :] + nodes[:, None] * stride[None, :]).astype(np.int32)


def map_of(layout: FieldLayout) -> GridMap:
    """The flat layout of all grids of a field."""
    cells = np.array(layout.occupancy, np.float64)
    longest = cells.max()
    rows: list[tuple[np.ndarray, np.ndarray]] = []
    bases = [(np.zeros(s[3], np.int64), np.zeros(s[3], np.int64)) for s in layout.grid_shapes]
    c_nodes = math.prod(layout.coefficients)
    at = feature = 0
    for number, level in enumerate(layout.levels, 1):
        channel = 0
        while channel < level.channels:
            left = level.channels - channel
            width = 4 if left >= 4 else 2 if left >= 2 else 1
            c_base, b_base = at, at + c_nodes * width
            at = b_base + math.prod(level.resolution) * width
            tile = longest / level.frequency
            per_cell = (np.array(layout.coefficients) - 1) / cells
            of_basis = ((np.array(level.resolution) - 1) / tile).tolist()
            coefficients = c_base, layout.coefficients, per_cell.tolist()
            rows.append(group_rows(width, feature, coefficients, (b_base, level.resolution, of_basis), tile))
            bases[0][0][feature : feature + width] = c_base + np.arange(width)
            bases[0][1][feature : feature + width] = width
            bases[number][0][channel : channel + width] = b_base + np.arange(width)
            bases[number][1][channel : channel + width] = width
            channel += width
            feature += width
    ints, floats = (np.concatenate(of) for of in zip(*rows, strict=True))
    return GridMap(at, len(rows), ints, floats, tuple(bases))


def group_rows(
    width: int,
    feature: int,
    coefficients: tuple[int, Sequence[int], Sequence[float]],
    basis: tuple[int, Sequence[int], Sequence[float]],
    tile: float,
) -> tuple[np.ndarray, np.ndarray]:
    """A row of each of the kernels' group tables, :class:`Group` (int32) and :class:`GroupScale` (float32).

    Args:
        width: channels of the group.
        feature: the first of its features.
        coefficients, basis: of either grid where it begins in the flat values, its nodes and its nodes per cell along
            x, y, z.
        tile: length of the basis grid's tile, cells.
    """
    ints, floats = np.zeros(Group.ROW, np.int32), np.zeros(GroupScale.ROW, np.float32)
    ints[Group.CHANNELS], ints[Group.FEATURE], floats[GroupScale.TILE] = width, feature, tile
    ints[Group.COEFFICIENTS], ints[Group.BASIS] = coefficients[0], basis[0]
    ints[Group.COEFFICIENT_NODES : Group.COEFFICIENT_NODES + 3] = coefficients[1]
    ints[Group.BASIS_NODES : Group.BASIS_NODES + 3] = basis[1]
    floats[GroupScale.COEFFICIENTS : GroupScale.COEFFICIENTS + 3] = coefficients[2]
    floats[GroupScale.BASIS : GroupScale.BASIS + 3] = basis[2]
    return ints, floats


@dataclass
class Field:
    """A radiance field resident on a device, ready to be rendered.

    Attributes:
        runtime: where the arrays live.
        layout: the shape of grids and MLPs.
        map: the flat arrangement of the grids.
        values: all grids, flat.
        mlp: all MLP tensors in one flat array, in the order of :attr:`FieldLayout.mlp_shapes`.
        mask: (nz, ny, nx) bool on the host, True where samples are taken.
        occupancy: :func:`occupancy_numbers` of the mask on the device, (cells,) int32.
        opacity: (cells,) float32 lower bound of the optical depth per cell edge, 0 where unknown.
        tables: the group tables on the device (ints, floats).
        measured: whether ``opacity`` is up to date.
        budget: what drawing it may take of memory; None: whatever it takes.
        focal: focal length, pixels, of the pictures whose detail it was fitted to; 0 where those of the coded size
            were.
    """

    runtime: Runtime
    layout: FieldLayout
    map: GridMap
    values: Any
    mlp: Any
    mask: np.ndarray
    occupancy: Any
    opacity: Any
    tables: tuple[Any, Any]
    measured: bool = False
    budget: Budget | None = None
    focal: float = 0.0

    def __repr__(self) -> str:
        cells = "x".join(map(str, self.layout.occupancy))
        return f"<Field of {cells} cells, {100 * self.mask.mean():.1f} % occupied, on {self.runtime.backend}>"


# How many empty cells a ray passes at once, at most.
_FARTHEST = 6


def occupancy_numbers(mask: np.ndarray) -> np.ndarray:
    """What ``kernels/march.py`` reads of a (nz, ny, nx) bool mask: int32 of the same shape."""
    numbers, near = mask.astype(np.int8), mask
    for _ in range(_FARTHEST):
        near = dilate(near)
        numbers -= ~near
    return numbers.astype(np.int32)


def occupy(f: Field, mask: np.ndarray) -> None:
    """Take samples of a field in the cells of ``mask``, (nz, ny, nx) bool, from now on."""
    f.mask = mask
    f.runtime.store(f.occupancy, occupancy_numbers(mask))


def make_field(
    runtime: Runtime,
    layout: FieldLayout,
    values: np.ndarray,
    mlp: np.ndarray,
    mask: np.ndarray,
) -> Field:
    """Upload a field given by its flat values, flat MLP weights (both float32) and (nz, ny, nx) bool occupancy."""
    grid_map = map_of(layout)
    return Field(
        runtime,
        layout,
        grid_map,
        runtime.upload(values),
        runtime.upload(mlp),
        mask,
        runtime.upload(occupancy_numbers(mask)),
        runtime.zeros(mask.size),
        (runtime.upload(grid_map.ints), runtime.upload(grid_map.floats)),
    )


def flat_values(grid_map: GridMap, layout: FieldLayout, grids: tuple[np.ndarray, ...]) -> np.ndarray:
    """Grids of shapes ``layout.grid_shapes`` (float32) as one flat array."""
    flat = aligned(grid_map.size, np.dtype(np.float32))
    for number, grid in enumerate(grids):
        for channels, part in _flat_parts(grid_map, number, grid, flat):
            part[:] = channels
    return flat


def _flat_parts(
    grid_map: GridMap, number: int, grid: np.ndarray, flat: np.ndarray
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """(nodes, channels) of a grid that lie side by side in the flat array, and their places in it."""
    bases, strides = grid_map.bases[number]
    rows = grid.reshape(-1, grid.shape[3])
    channel = 0
    while channel < rows.shape[1]:
        base, width = bases[channel], strides[channel]
        yield rows[:, channel : channel + width], flat[base : base + len(rows) * width].reshape(-1, width)
        channel += width


def detail_focal(cameras: Sequence[Camera]) -> float:
    """The focal length (pixels) of the detail behind the pictures of cameras, as :attr:`Field.focal` has it."""
    return DETAIL * max((camera.fx for camera in cameras), default=0.0)


def field_of_symbols(
    runtime: Runtime,
    layout: FieldLayout,
    parameters: GroupParameters,
    frame: SymbolFrame,
    budget: Budget | None = None,
    focal: float = 0.0,
) -> Field:
    """Dequantise a decoded frame into a field on the device. Opacity bounds are left unknown.

    ``focal``: see :attr:`Field.focal`.

    Raises:
        MemoryLimitExceeded: that would take more than the ``budget``, which holds for drawing the field, too.
    """
    grid_map = map_of(layout)
    if budget is not None:
        need = held_by(frame) + field_need(layout, grid_map.size, runtime.host_arrays)
        budget.check(need, "a frame on the device")
    flat = aligned(grid_map.size, np.dtype(np.float32))
    for number, (symbols, step) in enumerate(zip(frame.symbols, parameters.steps, strict=True)):
        for channels, part in _flat_parts(grid_map, number, symbols, flat):
            grid_values(channels, step, number, part)
    field = make_field(runtime, layout, flat, flatten(parameters.mlp), frame.occupancy)
    field.budget, field.focal = budget, focal
    return field
