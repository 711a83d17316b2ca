"""Reference implementations of the kernels in NumPy ("twins"): simple, float64, one sample, ray or symbol at a time."""

from __future__ import annotations

import numpy as np

from taichi_vvc.types import FieldLayout

DENSITY_SCALE, DENSITY_SHIFT = 50.0, 3.0


# Random numbers


def hash_u32(a: int, b: int, c: int) -> int:
    """The 32-bit mix of three counters, in Python integers."""
    low = 0xFFFFFFFF
    a, b, c = a & low, b & low, c & low
    h = ((a * 0x9E3779B1) & low) ^ (((b + 0x7F4A7C15) & low) * 0x85EBCA6B & low)
    h = ((h ^ (h >> 16)) * 0x7FEB352D) & low
    h ^= (c * 0xC2B2AE35 + 0x165667B1) & low
    h = ((h ^ (h >> 15)) * 0x846CA68B) & low
    h = ((h ^ (h >> 13)) * 0x27D4EB2F) & low
    return h ^ (h >> 16)


def uniform(a: int, b: int, c: int) -> float:
    """The upper 24 bits of the hash as a number in [0, 1)."""
    return (hash_u32(a, b, c) >> 8) / 2**24


# Rays


def distort(x: float, y: float, k1: float, k2: float, p1: float, p2: float) -> tuple[float, float]:
    """Brown-Conrady: where an ideal normalised image point lands."""
    r2 = x * x + y * y
    radial = 1 + k1 * r2 + k2 * r2**2
    return x * radial + 2 * p1 * x * y + p2 * (r2 + 2 * x * x), y * radial + p1 * (r2 + 2 * y * y) + 2 * p2 * x * y


def box_interval(origin: np.ndarray, direction: np.ndarray, size: np.ndarray) -> tuple[float, float]:
    """Entry (not before the origin) and exit distance of the box [0, size]; entry > exit where the ray misses."""
    near, far = 0.0, np.inf
    for o, d, s in zip(origin, direction, size, strict=True):
        if d == 0:
            if not 0 <= o <= s:
                return 1e30, -1e30
            continue
        a, b = sorted((-o / d, (s - o) / d))
        near, far = max(near, a), min(far, b)
    return near, far


def encode_direction(d: np.ndarray, octaves: int) -> np.ndarray:
    """d, then per octave k the sines and the cosines of 2^k d."""
    return np.concatenate([d] + [f(2.0**k * d) for k in range(octaves) for f in (np.sin, np.cos)])


# Marching


def march(
    ray: np.ndarray, mask: np.ndarray, opacity: np.ndarray, step: float, limit: float, offset: float
) -> tuple[list[np.ndarray], list[tuple[int, ...]], float]:
    """Samples (x, y, z, t) of one ray, the cells (z, y, x) that they lie in, and the smallest distance (cells) of any
    visited point from a cell's face or the ray's end, below which float32 may decide differently."""
    origin, direction, near, far = ray[:3], ray[3:6], ray[6], ray[7]
    samples, cells, margin = [], [], np.inf
    t, depth = near + offset * step, 0.0
    while t < far and depth < limit:
        point = origin + t * direction
        cell = tuple(int(np.clip(np.floor(p), 0, n - 1)) for p, n in zip(point[::-1], mask.shape, strict=True))
        margin = min(margin, np.abs(point - np.round(point)).min())
        if mask[cell]:
            samples.append(np.append(point, t))
            cells.append(cell)
            depth += opacity[cell] * step
        t += step
    if near < far:
        margin = min(margin, abs(t - far))
    return samples, cells, margin


# Grids


def trilinear(grid: np.ndarray, u: np.ndarray) -> np.ndarray:
    """Value (channels) of a (nz, ny, nx, channels) grid at grid coordinates u = (x, y, z), clamped to the grid."""
    nodes = np.array(grid.shape[2::-1])
    u = np.clip(u, 0, nodes - 1)
    low = np.minimum(np.floor(u).astype(int), nodes - 2)
    f = u - low
    result = np.zeros(grid.shape[3])
    for dz in (0, 1):
        for dy in (0, 1):
            for dx in (0, 1):
                weight = np.prod([f[a] if d else 1 - f[a] for a, d in enumerate((dx, dy, dz))])
                result += weight * grid[low[2] + dz, low[1] + dy, low[0] + dx]
    return result


def grid_coordinates(layout: FieldLayout, number: int, x: np.ndarray) -> np.ndarray:
    """Grid coordinates of a point (cells): over the bounds for grid 0, else within the tile that repeats."""
    cells = np.array(layout.occupancy, np.float64)
    if number == 0:
        return x / cells * (np.array(layout.coefficients) - 1)
    level = layout.levels[number - 1]
    tile = cells.max() / level.frequency
    return (x - np.floor(x / tile) * tile) / tile * (np.array(level.resolution) - 1)


def lookup(layout: FieldLayout, grids: tuple[np.ndarray, ...], x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Coefficients and basis (channels,) at a point (cells)."""
    coefficients = trilinear(grids[0], grid_coordinates(layout, 0, x))
    basis = [trilinear(g, grid_coordinates(layout, n, x)) for n, g in enumerate(grids) if n > 0]
    return coefficients, np.concatenate(basis)


# Perceptrons, density, compositing


def perceptron(x: np.ndarray, w1: np.ndarray, b1: np.ndarray, w2: np.ndarray, b2: np.ndarray) -> np.ndarray:
    """relu(x w1 + b1) w2 + b2."""
    return np.maximum(x @ w1 + b1, 0) @ w2 + b2


def density(raw: np.ndarray) -> np.ndarray:
    """Density per longest side of the bounds."""
    return DENSITY_SCALE * np.logaddexp(0, raw - DENSITY_SHIFT)


def composite_ray(
    raw: np.ndarray, rgb: np.ndarray, distances: np.ndarray, step: float, background: np.ndarray
) -> tuple[np.ndarray, np.ndarray, float, float]:
    """Colour (3), weights (n), transmittance and weighted distance of one ray; samples front to back."""
    passed, depth, colour = 1.0, 0.0, np.zeros(3)
    weights: list[float] = []
    for h, c, t in zip(raw, rgb, distances, strict=True):
        alpha = 1 - float(np.exp(-density(h) * step))
        weights.append(passed * alpha)
        colour = colour + weights[-1] * c
        depth += weights[-1] * t
        passed *= 1 - alpha
    return colour + passed * background, np.array(weights), passed, depth


# Rates


def table_bits(y: float, lengths: np.ndarray, slope: float) -> float:
    """Code length of a real symbol: linear between the integers -m .. m, and beyond them with a slope."""
    largest = (len(lengths) - 1) // 2
    inside = float(np.interp(y, np.arange(-largest, largest + 1), lengths))
    return inside + slope * max(abs(y) - largest, 0.0)


def laplace_bits(y: float, scale: float) -> float:
    """-log2 of the mass of a Laplace distribution on [y - 1/2, y + 1/2], from its distribution function."""
    low, high = abs(y) - 0.5, abs(y) + 0.5
    if low >= 0:
        # log of exp(-low/b)/2 - exp(-high/b)/2, kept in logarithms so that no mass underflows
        log_mass = -low / scale + np.log(-np.expm1(-1 / scale)) - np.log(2)
        return float(-log_mass / np.log(2))
    return float(-np.log2(1 - 0.5 * np.exp(low / scale) - 0.5 * np.exp(-high / scale)))


# Live set


def touched_nodes(cells: int, cell: int, nodes: int, frequency_256: int | None, longest: int) -> set[int]:
    """Nodes of one axis that a point of a cell, grown by 1/64 of its edge, can touch; one integer point at a time.

    A cell edge is cut into 64 * f units, f = frequency * 256 (1 for the coefficient grid, whose one tile spans the
    bounds), so that a tile is 64 * 256 * longest units long.
    """
    scale = 1 if frequency_256 is None else frequency_256
    tile = 64 * cells if frequency_256 is None else 64 * 256 * longest
    low, high = max(0, 64 * scale * cell - scale), min(64 * scale * cells, 64 * scale * (cell + 1) + scale)
    units = np.arange(low, high)
    found: set[int] = set()
    for end in (units, units + 1):
        # All points of [unit, unit + 1] lie between two nodes, or on either side of one.
        below = (end - units // tile * tile) * (nodes - 1) // tile
        found |= set(below.tolist()) | set(np.minimum(below + 1, nodes - 1).tolist())
    return found


def live_axis(cells: int, nodes: int, frequency_256: int | None, longest: int) -> list[set[int]]:
    """:func:`touched_nodes` of every cell along one axis."""
    return [touched_nodes(cells, cell, nodes, frequency_256, longest) for cell in range(cells)]


def live_grid(mask: np.ndarray, axes: list[list[set[int]]], nodes: tuple[int, int, int]) -> np.ndarray:
    """(nz, ny, nx) bool: nodes touched from any occupied cell; ``axes`` as :func:`live_axis` for x, y and z."""
    live = np.zeros(nodes[::-1], bool)
    for k, j, i in np.argwhere(mask):
        live[np.ix_(sorted(axes[2][k]), sorted(axes[1][j]), sorted(axes[0][i]))] = True
    return live
