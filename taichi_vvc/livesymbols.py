"""The live symbols of a frame as flat vectors on the device: what the fit optimises."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from .fields import GridMap
from .runtime import Runtime
from .types import FieldLayout


@dataclass
class LiveSymbols:
    """Parameters of a fit, in symbol units, grid by grid, live nodes in C order, channels last.

    Attributes:
        live: per grid, (nz, ny, nx) bool.
        ranges: per grid, first and last + 1 position in the vectors.
        parameters: real-valued residuals; gradient, moment1, moment2, quantized: same length.
        reference: reference symbols as float32.
        place: index into the flat grid values.
    """

    live: tuple[np.ndarray, ...]
    ranges: tuple[tuple[int, int], ...]
    parameters: Any
    gradient: Any
    moment1: Any
    moment2: Any
    quantized: Any
    reference: Any
    place: Any

    @property
    def count(self) -> int:
        """Number of live symbols."""
        return self.ranges[-1][1]


def gather_live(grids: tuple[np.ndarray, ...], live: tuple[np.ndarray, ...]) -> np.ndarray:
    """Values of dense grids (nz, ny, nx, channels) at their live nodes, as one vector in the order of the symbols."""
    return np.concatenate([g[m].reshape(-1) for g, m in zip(grids, live, strict=True)])


def scatter_live(
    layout: FieldLayout, live: tuple[np.ndarray, ...], ranges: tuple[tuple[int, int], ...], values: np.ndarray
) -> tuple[np.ndarray, ...]:
    """Inverse of :func:`gather_live`: dense grids of the vector's type, 0 where not live."""
    grids = []
    for shape, mask, (a, b) in zip(layout.grid_shapes, live, ranges, strict=True):
        grid = np.zeros(shape, values.dtype)
        grid[mask] = values[a:b].reshape(-1, shape[3])
        grids.append(grid)
    return tuple(grids)


def make_live(
    runtime: Runtime,
    layout: FieldLayout,
    grid_map: GridMap,
    live: tuple[np.ndarray, ...],
    parameters: tuple[np.ndarray, ...],
    reference: tuple[np.ndarray, ...],
    moments: tuple[tuple[np.ndarray, ...], tuple[np.ndarray, ...]] | None = None,
) -> LiveSymbols:
    """Gather dense grids into the vectors of a fit; ``moments`` of Adam start at zero unless given (dense)."""
    places, ranges, at = [], [], 0
    for number, mask in enumerate(live):
        place = grid_map.places(number, np.flatnonzero(mask)).reshape(-1)
        places.append(place)
        ranges.append((at, at + place.size))
        at += place.size

    def vector(grids: tuple[np.ndarray, ...] | None) -> Any:
        return runtime.zeros(at) if grids is None else runtime.upload(gather_live(grids, live).astype(np.float32))

    first, second = moments or (None, None)
    return LiveSymbols(
        live,
        tuple(ranges),
        vector(parameters),
        runtime.zeros(at),
        vector(first),
        vector(second),
        runtime.zeros(at),
        vector(reference),
        runtime.upload(np.concatenate(places).astype(np.int32)),
    )


def shrink_live(
    runtime: Runtime, layout: FieldLayout, grid_map: GridMap, old: LiveSymbols, live: tuple[np.ndarray, ...]
) -> LiveSymbols:
    """Keep the fit's state on a smaller live set."""

    def dense(vector: Any) -> tuple[np.ndarray, ...]:
        return scatter_live(layout, old.live, old.ranges, runtime.download(vector, old.count))

    return make_live(
        runtime,
        layout,
        grid_map,
        live,
        dense(old.parameters),
        dense(old.reference),
        (dense(old.moment1), dense(old.moment2)),
    )
