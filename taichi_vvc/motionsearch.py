"""The search for motion: displacements that make the reference look like the frame, found through the renderer.

The reference's symbols are moved, rendered for batches of training rays, and the gradient of the colour error goes
back through the renderer and the interpolation to the displacements. No optical flow and no correspondences are
needed, and what counts is what the fit will start from.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from taichi_vvc.kernels import motion as kernels

from .config import EncoderConfig
from .entropy import encode_grid
from .fields import Field, flat_values
from .live import live_nodes
from .motion import LARGEST, PLACE, UNITS, extent, lattice_shape, live_motion, moved_grids, places, second_differences
from .optimize import Reference, begin_fit, distortion_step
from .problem import FrameProblem
from .quantize import grid_offset
from .render import measure_opacity
from .runtime import Runtime
from .types import FieldLayout
from .workspace import Workspace

_BETA1, _BETA2, _EPSILON = 0.9, 0.97, 1e-12
_SEED = 15485863
_RATE = 0.25  # cells per iteration at first, a tenth of it in the end
_BITS = 3.0  # what a unit of difference between neighbours is taken to cost
_ITERATIONS = 1 / 6  # of those of an inter frame's fit
_CHECKED = 4  # batches that decide whether motion pays
_MEASURE_EVERY = 25


def search_iterations(config: EncoderConfig) -> int:
    """Iterations of the search for one inter frame's motion; 0 without motion."""
    return max(1, round(config.inter_iterations * _ITERATIONS)) if config.motion_blocks else 0


def find_motion(
    ws: Workspace,
    layout: FieldLayout,
    config: EncoderConfig,
    problem: FrameProblem,
    mask: np.ndarray,
    reference: Reference,
    frame: int = 0,
    progress: Callable[[int, float], None] | None = None,
) -> np.ndarray | None:
    """Displacements for an inter frame.

    Minimises the colour error plus lambda times the bits of the displacements, which are taken as proportional to the
    differences between neighbours in the lattice.

    Args:
        ws: scratch arrays.
        problem: the training views.
        mask: (nz, ny, nx) bool, where samples may be taken.
        reference: what is moved; the search begins with its own displacements.
        frame: number of the frame; with ``config.seed`` it fixes all random draws.
        progress: called now and then with the iteration and the mean squared error of its batch.

    Returns:
        int32 of shape :func:`taichi_vvc.motion.lattice_shape`, or None where motion does not pay.
    """
    runtime, shape = ws.runtime, lattice_shape(layout)
    live = live_nodes(layout, mask)
    known = live_motion(layout, live)[..., None]
    state = begin_fit(runtime, layout, config, mask, reference)
    mover = Mover.of(state.field, reference, live)
    seed = (config.seed * 7919 + frame * 104729 + _SEED) % (2**31)
    weight = config.lambda_rate / problem.rays_per_view

    before = reference.frame.motion if reference.frame.motion is not None else np.zeros(shape)

    def step(motion: np.ndarray, iteration: int, look: bool) -> float | None:
        mover.move(motion)
        if look:
            measure_opacity(ws, state.field)
        state.gradient.fill(0)
        return distortion_step(ws, state, config, problem, seed, iteration)

    moved = np.where(known, before / UNITS, 0.0)
    mean, square = np.zeros(shape), np.zeros(shape)
    total = search_iterations(config)
    for iteration in range(total):
        error = step(moved, iteration, iteration % _MEASURE_EVERY == 0)
        if progress is not None and error is not None and iteration % 10 == 0:
            progress(iteration, error)
        slope = mover.gradient(state.gradient) + weight * _BITS * UNITS * _roughness_gradient(moved)
        mean = _BETA1 * mean + (1 - _BETA1) * slope
        square = _BETA2 * square + (1 - _BETA2) * slope * slope
        first = mean / (1 - _BETA1 ** (iteration + 1))
        second = np.sqrt(square / (1 - _BETA2 ** (iteration + 1)))
        moved -= _RATE * 0.1 ** (iteration / total) * np.where(known, first / (second + _EPSILON), 0)
    coded = np.where(known, np.clip(np.rint(moved * UNITS), -LARGEST, LARGEST), 0).astype(np.int32)
    if not coded.any():
        return None

    def cost(motion: np.ndarray) -> float:
        # Every tenth number, so that the error is read back on all backends.
        errors = [step(motion / UNITS, 10 * (total + batch), not batch) for batch in range(_CHECKED)]
        bits = 8 * len(encode_grid(motion, known[..., 0], None).payload)
        return 3 * float(np.mean([e for e in errors if e is not None])) + weight * bits

    return coded if cost(coded) < cost(np.zeros_like(coded)) else None


def _roughness_gradient(moved: np.ndarray) -> np.ndarray:
    """Gradient of the sum of absolute differences between neighbours, smooth within half a unit, over the three axes'
    mean: what a node's bits are taken to depend on."""
    result = np.zeros_like(moved)
    for axis in range(3):
        step = np.diff(moved, axis=axis)
        step /= np.sqrt(step * step + (0.25 / UNITS) ** 2)
        along = (slice(None),) * axis
        result[(*along, slice(1, None))] += step
        result[(*along, slice(None, -1))] -= step
    return result / 3


@dataclass(frozen=True)
class Mover:
    """Moves a reference's symbols on the device; see ``kernels/motion.py`` for the arrays.

    Attributes:
        runtime, field: where the arrays live, and whose values are written.
        shape: of the lattice.
        block: edge of a block, cells.
        count, size, pieces: numbers of entries, values and pieces.
        nodes, table, sources: the kernels' arrays.
        lattice, pull, slope: the displacements, their gradient per entry and per lattice node.
        first, entries, weights: which entries a lattice node moves.
    """

    runtime: Runtime
    field: Field
    shape: tuple[int, int, int, int]
    block: int
    count: int
    pieces: int
    nodes: Any
    table: Any
    sources: Any
    lattice: Any
    pull: Any
    slope: Any
    first: Any
    entries: Any
    weights: Any

    @staticmethod
    def of(field: Field, reference: Reference, live: tuple[np.ndarray, ...]) -> Mover:
        """The arrays for a frame whose ``live`` nodes are moved; ``field`` holds the reference."""
        runtime, layout, shape = field.runtime, field.layout, lattice_shape(field.layout)
        rows, nodes, corners, parts = [], [], [], []
        at = 0
        for grid in moved_grids(layout):
            where = np.nonzero(live[grid])
            flat = np.ravel_multi_index(where, live[grid].shape)
            corner, part = _corners(layout, grid, where)
            nz, ny, nx, channels = layout.grid_shapes[grid]
            spans = (extent(layout, grid, axis) for axis in range(3))
            cells = [a / b / (n - 1) for n, (a, b) in zip((nx, ny, nz), spans, strict=True)]
            bases, widths = field.map.bases[grid]
            scale = reference.parameters.steps[grid], grid_offset(grid)
            channel = 0
            while channel < channels:
                width, base = int(widths[channel]), divmod(int(bases[channel]), kernels.SPLIT)
                rows.append([*divmod(at, kernels.SPLIT), nx, ny, nz, width, *base, *cells, *scale])
                nodes.append(flat)
                corners.append(corner)
                parts.append(part)
                at += flat.size
                channel += width
        table = np.zeros((len(rows), kernels.PIECE), np.float32)
        table[:, : len(rows[0])] = rows
        corner, part = np.concatenate(corners), np.concatenate(parts)
        order = np.argsort(corner, axis=None, kind="stable")
        lattice = shape[0] * shape[1] * shape[2]
        first = np.searchsorted(corner.reshape(-1)[order], np.arange(lattice + 1))
        symbols = [s.astype(np.float32) for s in reference.frame.symbols]
        fields = [symbols, *([second_differences(s, axis) for s in symbols] for axis in (2, 1, 0))]
        sources = np.concatenate([flat_values(field.map, layout, tuple(f)) for f in fields])
        return Mover(
            runtime,
            field,
            shape,
            layout.motion_block,
            at,
            len(rows),
            runtime.upload(np.concatenate(nodes).astype(np.int32)),
            runtime.upload(table.reshape(-1)),
            runtime.upload(sources),
            runtime.zeros(lattice * 3),
            runtime.zeros(at * 3),
            runtime.zeros(lattice * 3),
            runtime.upload(first.astype(np.int32)),
            runtime.upload((order // 8).astype(np.int32)),
            runtime.upload(part.reshape(-1)[order].astype(np.float32)),
        )

    def _where(self) -> tuple[Any, ...]:
        mz, my, mx, _ = self.shape
        numbers = self.count, self.field.map.size, self.pieces, float(self.block), mx, my, mz
        return *numbers, self.nodes, self.table, self.lattice, self.sources

    def move(self, motion: np.ndarray) -> None:
        """Write the values of the field whose symbols have moved by ``motion``, cells."""
        self.runtime.store(self.lattice, motion.astype(np.float32).reshape(-1))
        kernels.move_values(*self._where(), self.field.values)

    def gradient(self, values: Any) -> np.ndarray:
        """Gradient of the displacements last moved by, given that of the values; float64 of the lattice's shape."""
        kernels.move_bwd(*self._where(), values, self.pull)
        count = self.shape[0] * self.shape[1] * self.shape[2]
        kernels.gather_pull(count, self.first, self.entries, self.weights, self.pull, self.slope)
        return self.runtime.download(self.slope, 3 * count).astype(np.float64).reshape(self.shape)


def _corners(layout: FieldLayout, grid: int, where: tuple[np.ndarray, ...]) -> tuple[np.ndarray, np.ndarray]:
    """(n, 8) flat lattice nodes around grid nodes, and their parts in the displacement."""
    _, my, mx, _ = lattice_shape(layout)
    axes = [tuple(of[index] for of in places(layout, grid, 2 - axis)) for axis, index in enumerate(where)]
    (bz, fz), (by, fy), (bx, fx) = ((block, place / PLACE) for block, place in axes)
    corners, parts = [], []
    for corner in range(8):
        z, y, x = corner >> 2, corner >> 1 & 1, corner & 1
        corners.append(((bz + z) * my + by + y) * mx + bx + x)
        parts.append((fx if x else 1 - fx) * (fy if y else 1 - fy) * (fz if z else 1 - fz))
    return np.stack(corners, 1), np.stack(parts, 1)
