"""The search for motion: displacements that make the reference look like the frame, found through the renderer.

The reference's symbols are moved, rendered for batches of training rays, and the gradient of the colour error goes
back through the renderer and the interpolation to the displacements. No optical flow and no correspondences are
needed, and what counts is what the fit will start from.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from taichi_vvc.coding.live_set import live_nodes
from taichi_vvc.coding.motion import (
    LARGEST,
    PLACE,
    UNITS,
    extent,
    lattice_shape,
    moved_grids,
    places,
    second_differences,
)
from taichi_vvc.coding.motion_contexts import encode_motion
from taichi_vvc.coding.moved_masks import coded_nodes, filled
from taichi_vvc.coding.quantize import grid_offset
from taichi_vvc.config import EncoderConfig
from taichi_vvc.field.grids import Field, field_of_symbols
from taichi_vvc.field.mlp import fours, vectors
from taichi_vvc.field.workspace import Workspace
from taichi_vvc.fit.colour_error import distortion_step
from taichi_vvc.fit.occupancy import watch_solid
from taichi_vvc.fit.prediction import Reference
from taichi_vvc.fit.schedule import frame_seed
from taichi_vvc.fit.training_rays import TrainingRays
from taichi_vvc.kernels import motion as kernels
from taichi_vvc.kernels.columns import Entry, MovedGrid
from taichi_vvc.runtime import aligned
from taichi_vvc.types import FieldLayout

_BETA1, _BETA2, _EPSILON = 0.9, 0.97, 1e-12
_SEED = 15485863
_RATE = 0.25  # cells per iteration at first, a tenth of it in the end
_BITS = 12.0  # what a unit of difference between neighbours' changes is taken to cost
_ITERATIONS = 1 / 6  # of those of an inter frame's fit
_CHECKED = 4  # batches that decide whether motion pays
_SMOOTH = 0.4  # of the iterations: neighbours move together at first, which finds larger motion
_MEASURE_EVERY = 10  # iterations, between which samples are taken only where something was


def search_iterations(config: EncoderConfig) -> int:
    """Iterations of the search for one inter frame's motion; 0 without motion."""
    return max(1, round(config.inter_iterations * _ITERATIONS)) if config.motion_blocks else 0


def find_motion(
    ws: Workspace,
    config: EncoderConfig,
    training: TrainingRays,
    reference: Reference,
    frame: int = 0,
    progress: Callable[[int, float], None] | None = None,
) -> np.ndarray | None:
    """Displacements for an inter frame.

    Minimises the colour error plus lambda times the bits of the displacements, which are taken as proportional to how
    much neighbours in the lattice differ in their change since the frame before.

    Args:
        ws: scratch arrays.
        config: the settings.
        training: the training views, and where samples may be taken.
        reference: what is moved; the search begins with its own displacements.
        frame: number of the frame; with ``config.seed`` it fixes all random draws.
        progress: called now and then with the iteration and the mean squared error of its batch.

    Returns:
        int32 of shape :func:`taichi_vvc.coding.motion.lattice_shape`, or None where motion does not pay.
    """
    search = _Search(ws, config, training, reference, frame)
    known, before = search.known[..., None], search.before
    moved = before.copy()
    mean, square = np.zeros_like(moved), np.zeros_like(moved)
    total = search_iterations(config)
    for iteration in range(total):
        error = search.step(moved, iteration, iteration % _MEASURE_EVERY == 0)
        if progress is not None and error is not None and iteration % 10 == 0:
            progress(iteration, error)
        slope = search.slope(moved)
        if iteration < _SMOOTH * total:
            slope = _smoothed(slope)
        mean = _BETA1 * mean + (1 - _BETA1) * slope
        square = _BETA2 * square + (1 - _BETA2) * slope * slope
        first = mean / (1 - _BETA1 ** (iteration + 1))
        second = np.sqrt(square / (1 - _BETA2 ** (iteration + 1)))
        moved -= _RATE * 0.1 ** (iteration / total) * np.where(known, first / (second + _EPSILON), 0)
        moved = filled(moved, search.known)
    coded = np.clip(np.rint(moved * UNITS), -LARGEST, LARGEST).astype(np.int32)
    coded = filled(coded, search.known)
    if not coded.any():
        return None
    return coded if search.cost(coded) < search.cost(np.zeros_like(coded)) else None


class _Search:
    """The reference as it is moved and rendered for one frame's search.

    Attributes:
        known: (mz, my, mx) bool, lattice nodes whose displacements are coded; those next to them go with them.
        before: (mz, my, mx, 3), displacements of the reference itself, in cells.
    """

    def __init__(
        self, ws: Workspace, config: EncoderConfig, training: TrainingRays, reference: Reference, frame: int
    ) -> None:
        layout, live = training.layout, live_nodes(training.layout, training.mask)
        self._ws, self._config, self._training = ws, config, training
        shown = replace(reference.frame, occupancy=training.mask)
        self._field = field_of_symbols(ws.runtime, layout, reference.parameters, shown)
        self._gradient = ws.runtime.zeros(self._field.map.size)
        self._mover = Mover.of(self._field, reference, live)
        self._near = self._mover.entries
        self._seed = frame_seed(config, frame, _SEED)
        self._weight = config.lambda_rate / training.rays_per_view
        self._stated = reference.frame.motion
        self.known = coded_nodes(layout, reference.frame.occupancy)
        stated = np.zeros(lattice_shape(layout)) if self._stated is None else self._stated / UNITS
        self.before = filled(stated, self.known)

    def step(self, motion: np.ndarray, iteration: int, look: bool) -> float | None:
        """Render a batch of the reference moved by ``motion``, cells, and go back through it.

        With ``look`` all of the reference is moved, and what is moved from then on is what lies where something is now.
        Returns the mean squared error; on a GPU only now and then.
        """
        self._mover.move(motion, None if look else self._near)
        if look:
            solid = watch_solid(self._ws, self._field, self._training.mask)
            self._near = self._mover.entries_of(live_nodes(self._training.layout, solid))
        self._gradient.fill(0)
        batch = self._ws, self._field, self._config, self._training
        return distortion_step(*batch, self._gradient, None, self._seed, iteration)

    def slope(self, motion: np.ndarray) -> np.ndarray:
        """Gradient of what is minimised, at the ``motion`` of the last step."""
        rough = _roughness_gradient(motion - self.before)
        return self._mover.gradient(self._gradient) + self._weight * _BITS * UNITS * rough

    def cost(self, motion: np.ndarray) -> float:
        """What is minimised, with the bytes that integer displacements really take."""
        total = search_iterations(self._config)
        # Every tenth number, so that the error is read back on all backends.
        errors = [self.step(motion / UNITS, 10 * (total + batch), not batch) for batch in range(_CHECKED)]
        bits = 8 * len(encode_motion(motion, self.known, self._stated))
        return 3 * float(np.mean([e for e in errors if e is not None])) + self._weight * bits


def _smoothed(values: np.ndarray) -> np.ndarray:
    """(mz, my, mx, 3): each node's value averaged with its neighbours', weights 1, 2, 1 along each axis, 0 outside."""
    for axis in range(3):
        along = (slice(None),) * axis
        result = 2 * values
        result[(*along, slice(1, None))] += values[(*along, slice(None, -1))]
        result[(*along, slice(None, -1))] += values[(*along, slice(1, None))]
        values = result / 4
    return values


def _roughness_gradient(change: np.ndarray) -> np.ndarray:
    """Gradient of the sum of absolute differences between neighbours, smooth within half a unit, over the three axes'
    mean: what a node's bits are taken to depend on."""
    result = np.zeros_like(change)
    for axis in range(3):
        step = np.diff(change, axis=axis)
        step /= np.sqrt(step * step + (0.25 / UNITS) ** 2)
        along = (slice(None),) * axis
        result[(*along, slice(1, None))] += step
        result[(*along, slice(None, -1))] -= step
    return result / 3


@dataclass(frozen=True)
class Entries:
    """Nodes of moved grids on the device: how many, and their rows for ``kernels/motion.py``."""

    count: int
    rows: Any


@dataclass(frozen=True)
class Mover:
    """Moves a reference's symbols on the device; see ``kernels/motion.py`` for the arrays.

    Attributes:
        field: whose values are written.
        shape: of the lattice.
        fours: whether the kernels for four channels at a time serve.
        rows: the entries on the host.
        entries, grids, pieces, lattice, sources, values: the kernels' arrays.
        pull, slope: the gradient of the displacements, per entry and per lattice node.
        first, moved, weights: which entries a lattice node moves.
    """

    field: Field
    shape: tuple[int, int, int, int]
    fours: bool
    rows: np.ndarray
    entries: Entries
    grids: Any
    pieces: Any
    lattice: Any
    sources: Any
    values: Any
    pull: Any
    slope: Any
    first: Any
    moved: Any
    weights: Any

    @staticmethod
    def of(field: Field, reference: Reference, live: tuple[np.ndarray, ...]) -> Mover:
        """The arrays for a frame whose ``live`` nodes are moved; ``field`` holds the reference."""
        runtime, layout, shape = field.runtime, field.layout, lattice_shape(field.layout)
        entries, corners, parts = [], [], []
        grids: list[np.ndarray] = []
        pieces: list[list[int]] = []
        sources = aligned(4 * field.map.size, np.dtype(np.float32))
        for grid in moved_grids(layout):
            z, y, x = where = np.nonzero(live[grid])
            first, within, corner, part = _corners(layout, grid, where)
            rows = np.zeros((x.size, Entry.ROW), np.float32)
            rows[:, Entry.NODE : Entry.NODE + 3] = np.stack([x, y, z], 1)
            rows[:, Entry.BELOW], rows[:, Entry.GRID] = first, len(grids)
            rows[:, Entry.ABOVE : Entry.ABOVE + 3] = np.stack(within, 1)
            entries.append(rows)
            corners.append(corner)
            parts.append(part)
            nz, ny, nx, channels = layout.grid_shapes[grid]
            spans = (extent(layout, grid, axis) for axis in range(3))
            per_cell = [(n - 1) * b / a for n, (a, b) in zip((nx, ny, nz), spans, strict=True)]
            symbols = reference.frame.symbols[grid].astype(np.float32)
            fields = [symbols, *(second_differences(symbols, axis) for axis in (2, 1, 0))]
            bases, widths = field.map.bases[grid]
            channel, of_grid = 0, len(pieces)
            while channel < channels:
                base, width = int(bases[channel]), int(widths[channel])
                of_piece = sources[4 * base : 4 * (base + nx * ny * nz * width)].reshape(-1, 4, width)
                for number, values in enumerate(fields):
                    of_piece[:, number] = values.reshape(-1, channels)[:, channel : channel + width]
                pieces.append([base, width])
                channel += width
            row = np.zeros(MovedGrid.ROW, np.float32)
            row[MovedGrid.NODES : MovedGrid.NODES + 3] = nx, ny, nz
            row[MovedGrid.PER_CELL : MovedGrid.PER_CELL + 3] = per_cell
            row[MovedGrid.STEP], row[MovedGrid.OFFSET] = reference.parameters.steps[grid], grid_offset(grid)
            row[MovedGrid.FIRST_PIECE], row[MovedGrid.PIECES] = of_grid, len(pieces) - of_grid
            grids.append(row)
        rows = np.concatenate(entries)
        corner, part = np.concatenate(corners).reshape(-1), np.concatenate(parts).reshape(-1)
        lattice, count = shape[0] * shape[1] * shape[2], corner.size // 8
        # Small integers are sorted much faster.
        order = np.argsort(corner.astype(np.min_scalar_type(lattice)), kind="stable")
        in_fours = runtime.host_arrays and all(width == 4 for _, width in pieces)
        shaped = fours if in_fours else _as_it_is
        return Mover(
            field,
            shape,
            in_fours,
            rows,
            Entries(count, runtime.upload(rows)),
            runtime.upload(np.concatenate(grids)),
            runtime.upload(np.array(pieces, np.int32)),
            runtime.zeros(lattice * 4),
            vectors(runtime.upload(sources)) if in_fours else runtime.upload(sources),
            shaped(field.values),
            shaped(runtime.zeros(count * 4)),
            runtime.zeros(lattice * 4),
            runtime.upload(np.append(0, np.cumsum(np.bincount(corner, minlength=lattice))).astype(np.int32)),
            runtime.upload((order // 8).astype(np.int32)),
            runtime.upload(part[order].astype(np.float32)),
        )

    def _where(self, entries: Entries) -> tuple[Any, ...]:
        _, my, mx, _ = self.shape
        lattice = fours(self.lattice) if self.fours else self.lattice
        return entries.count, mx, my, entries.rows, self.grids, self.pieces, lattice, self.sources

    def entries_of(self, live: tuple[np.ndarray, ...]) -> Entries:
        """The entries of ``live`` nodes, some of those that the mover was made with."""
        columns = [Entry.NODE + 2, Entry.NODE + 1, Entry.NODE, Entry.GRID]
        places = self.rows[:, columns].astype(np.int32)
        ends = np.searchsorted(places[:, 3], np.arange(len(moved_grids(self.field.layout)) + 1))
        kept = [
            live[grid][tuple(places[low:high, :3].T)]
            for grid, low, high in zip(moved_grids(self.field.layout), ends[:-1], ends[1:], strict=True)
        ]
        rows = self.rows[np.concatenate(kept)]
        return Entries(len(rows), self.field.runtime.upload(rows))

    def move(self, motion: np.ndarray, entries: Entries | None = None) -> None:
        """Write the values of the field, all or some, whose symbols have moved by ``motion``, cells."""
        padded = np.zeros((*self.shape[:3], 4), np.float32)
        padded[..., :3] = motion
        self.field.runtime.store(self.lattice, padded)
        move = kernels.move_values_fours if self.fours else kernels.move_values
        move(*self._where(self.entries if entries is None else entries), self.values)

    def gradient(self, values: Any) -> np.ndarray:
        """Gradient of the displacements last moved by, given that of the values; float64 of the lattice's shape."""
        mz, my, mx, _ = self.shape
        where = mz * my * mx, self.first, self.moved, self.weights, self.pull
        if self.fours:
            kernels.move_bwd_fours(*self._where(self.entries), fours(values), self.pull)
            kernels.gather_pull_fours(*where, fours(self.slope))
        else:
            kernels.move_bwd(*self._where(self.entries), values, self.pull)
            kernels.gather_pull(*where, self.slope)
        slope = self.field.runtime.download(self.slope, 4 * mz * my * mx)
        return slope.reshape(mz, my, mx, 4)[..., :3].astype(np.float64)


def _as_it_is(array: Any) -> Any:
    return array


def _corners(
    layout: FieldLayout, grid: int, where: tuple[np.ndarray, ...]
) -> tuple[np.ndarray, tuple[np.ndarray, ...], np.ndarray, np.ndarray]:
    """Of grid nodes: the lattice node below, how far above it along x, y, z, the eight around, their parts (n, 8)."""
    _, my, mx, _ = lattice_shape(layout)
    axes = [tuple(of[index] for of in places(layout, grid, 2 - axis)) for axis, index in enumerate(where)]
    (bz, fz), (by, fy), (bx, fx) = ((block, (place / PLACE).astype(np.float32)) for block, place in axes)
    first = (bz * my + by) * mx + bx
    corners, parts = np.empty((first.size, 8), np.int64), np.empty((first.size, 8), np.float32)
    for corner in range(8):
        z, y, x = corner >> 2, corner >> 1 & 1, corner & 1
        corners[:, corner] = first + (z * my + y) * mx + x
        parts[:, corner] = (fx if x else 1 - fx) * (fy if y else 1 - fy) * (fz if z else 1 - fz)
    return first, (fx, fy, fz), corners, parts
