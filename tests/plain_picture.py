"""Pictures from decoded symbols, written from docs/bitstream.md, section 12, in NumPy; see ``plain_decoder.py``."""

from __future__ import annotations

import numpy as np


class Volume:
    """The field of a frame: what section 12.4 gives at a point (grid coordinates)."""

    def __init__(
        self, header: dict, mask: np.ndarray, symbols: list[np.ndarray], steps: list[float], mlps: list
    ) -> None:
        self.header, self.mask = header, mask
        self.cells = np.array(header["cells"], np.float64)
        self.longest = max(header["cells"])
        self.grids = [
            np.float64(offset) + np.float64(step) * grid
            for offset, step, grid in zip([1] + [0] * len(symbols), steps, symbols, strict=False)
        ]
        self.mlps = [tensor.astype(np.float64) for tensor in mlps]

    def features(self, points: np.ndarray) -> np.ndarray:
        size = np.array(self.header["coefficients"])
        coefficients = interpolated(self.grids[0], points * (size - 1) / self.cells)
        levels = []
        for level, grid in zip(self.header["levels"], self.grids[1:], strict=True):
            tile = self.longest / level["frequency"]
            levels.append(interpolated(grid, np.mod(points, tile) / tile * (np.array(level["resolution"]) - 1)))
        return coefficients * np.concatenate(levels, axis=1)

    def projected(self, points: np.ndarray) -> np.ndarray:
        """Raw density and appearance."""
        return perceptron(self.features(points), *self.mlps[:4])

    def colours(self, appearance: np.ndarray, directions: np.ndarray) -> np.ndarray:
        encoded = [directions]
        for octave in range(self.header["view_frequencies"]):
            encoded += [np.sin(2**octave * directions), np.cos(2**octave * directions)]
        return 1 / (1 + np.exp(-perceptron(np.concatenate([appearance, *encoded], axis=1), *self.mlps[4:])))

    def depths(self) -> np.ndarray:
        """(nz, ny, nx): the depth of each occupied cell."""
        found = np.zeros(self.mask.shape)
        for z, y, x in np.argwhere(self.mask):
            corners = np.array([[x + (c & 1), y + (c >> 1 & 1), z + (c >> 2)] for c in range(8)], np.float64)
            raw = self.projected(np.minimum(corners, self.cells - 1e-3))[:, 0]
            found[z, y, x] = density(raw).min() / self.longest
        return found


def density(raw: np.ndarray) -> np.ndarray:
    return 50 * np.log(1 + np.exp(raw - 3))


def perceptron(rows: np.ndarray, w1: np.ndarray, b1: np.ndarray, w2: np.ndarray, b2: np.ndarray) -> np.ndarray:
    return np.maximum(rows @ w1 + b1, 0) @ w2 + b2


def interpolated(grid: np.ndarray, places: np.ndarray) -> np.ndarray:
    """(points, channels) of a grid (z, y, x, channel) at places (points, 3) as x, y, z in nodes."""
    size = np.array(grid.shape[2::-1])
    below = np.minimum(np.floor(places).astype(int), size - 2)
    above = places - below
    total = np.zeros((len(places), grid.shape[3]))
    for corner in range(8):
        bits = np.array([corner & 1, corner >> 1 & 1, corner >> 2])
        weight = np.where(bits == 1, above, 1 - above).prod(axis=1)
        x, y, z = (below + bits).T
        total += weight[:, None] * grid[z, y, x]
    return total


def lens_shows(x: np.ndarray, y: np.ndarray, lens: list[float]) -> np.ndarray:
    """(2, points): where the lens shows the points (x, y)."""
    k1, k2, p1, p2 = lens
    r = x * x + y * y
    radial = 1 + k1 * r + k2 * r * r
    return np.stack(
        [x * radial + 2 * p1 * x * y + p2 * (r + 2 * x * x), y * radial + p1 * (r + 2 * y * y) + 2 * p2 * x * y]
    )


def limit_of(lens: list[float]) -> float:
    """Squared radius of the disc in which the determinant of the lens's derivatives is positive."""
    k1, k2, p1, p2 = lens
    t, nearest = np.poly1d([1.0, 0.0]), np.inf
    radial, slope = 1 + k1 * t**2 + k2 * t**4, 2 * k1 + 4 * k2 * t**2
    for angle in np.linspace(0, 2 * np.pi, 721):
        x, y = np.cos(angle) * t, np.sin(angle) * t
        a, d = radial + slope * x * x + 2 * p1 * y + 6 * p2 * x, radial + slope * y * y + 6 * p1 * y + 2 * p2 * x
        b = slope * x * y + 2 * p1 * x + 2 * p2 * y
        roots = (a * d - b * b).roots
        nearest = min([nearest, *(root.real for root in roots if abs(root.imag) < 1e-9 and root.real > 0)])
    return nearest**2


def undistorted(targets: np.ndarray, lens: list[float]) -> np.ndarray:
    """(2, points): what the lens shows at ``targets``; NaN where there is nothing.

    Newton's method with numerical slopes, to one place after another on the way from the centre.
    """
    if not any(lens):
        return targets
    limit = limit_of(lens)
    x, y = np.zeros_like(targets)
    h = 1e-6
    with np.errstate(all="ignore"):
        for part in np.linspace(0, 1, 9)[1:]:
            for _ in range(10):
                error = lens_shows(x, y, lens) - part * targets
                a, c = (lens_shows(x + h, y, lens) - lens_shows(x - h, y, lens)) / (2 * h)
                b, d = (lens_shows(x, y + h, lens) - lens_shows(x, y - h, lens)) / (2 * h)
                x, y = (
                    x - (d * error[0] - b * error[1]) / (a * d - b * c),
                    y - (a * error[1] - c * error[0]) / (a * d - b * c),
                )
        found = (np.abs(lens_shows(x, y, lens) - targets).max(axis=0) < 1e-6) & (x * x + y * y < limit)
    return np.where(found, [x, y], np.nan)


def directions(camera: dict) -> np.ndarray:
    """(height, width, 3): the unit direction of each pixel's ray in world axes; NaN where it has none."""
    fx, fy, cx, cy, *lens = camera["lens"]
    row, column = np.mgrid[: camera["height"], : camera["width"]].reshape(2, -1)
    x, y = undistorted(np.stack([(column + 0.5 - cx) / fx, (row + 0.5 - cy) / fy]), lens)
    found = np.stack([x, y, np.ones_like(x)], axis=1) @ camera["rotation"].T
    found /= np.linalg.norm(found, axis=1, keepdims=True)
    return found.reshape(camera["height"], camera["width"], 3)


def render(volume: Volume, camera: dict, numbers: list | None = None, backdrop: int = 0) -> np.ndarray:
    """(height, width, 3): what a camera of ``plain_cameras.camera_values`` sees, in 0..1.

    ``numbers`` and ``backdrop``: its colour map, of ``plain_cameras.colour_maps``.
    """
    header, depths = volume.header, volume.depths()
    background = np.array(header["background"]) / 255
    origin = (camera["position"] - np.array(header["lower"])) / header["cell"]
    rays = directions(camera)
    colours = []
    for ray in rays.reshape(-1, 3):
        own, left = (0.0, 1.0) if np.isnan(ray).any() else ray_colour(volume, depths, origin, ray)
        colour = own + left * background
        if numbers is not None:
            gain, offset = 1 + np.array(numbers[:3]) / 256, np.array(numbers[3:]) / 256
            behind = left * background
            colour = gain * colour + offset if backdrop else gain * own + offset * (1 - left) + behind
        colours.append(colour)
    return np.clip(np.array(colours).reshape(rays.shape), 0, 1)


def region_of(header: dict, point: np.ndarray) -> tuple[int | None, float, np.ndarray]:
    """The region of a point (cells): its axis, None for the inner one; m; and the grid coordinates."""
    shell, cells = np.array(header["shell"], float), np.array(header["cells"], float)
    a = (cells - 2 * shell) / 2
    x = point - a
    parts = np.abs(x) / a
    axis, m = int(parts.argmax()), float(parts.max())
    if m <= 1:
        return None, 1.0, point + shell
    g = x / m
    g[axis] = np.sign(x[axis]) * (a[axis] + shell[axis] * (1 - 1 / m))
    return axis, m, g + cells / 2


def shelled_places(header: dict, origin: np.ndarray, direction: np.ndarray, step: float, start: float) -> np.ndarray:
    """(samples, 3): where a ray may have samples in a grid with a shell, grid coordinates."""
    shell, cells = np.array(header["shell"], float), np.array(header["cells"], float)
    a = (cells - 2 * shell) / 2

    def ahead(t: float, steps: float) -> float:
        point = origin + t * direction
        axis, m, _ = region_of(header, point)
        if axis is None:
            return t + steps * step
        x = point - a
        e = np.sign(x[axis]) * direction[axis] / a[axis]
        v = direction * m - e * x
        v[axis] = shell[axis] * e
        q = np.linalg.norm(v) - steps * step * m * e
        return t + steps * step * m * m / q if q > 0 else np.inf

    found, t = [], ahead(start, 0.5)
    while t < 1000 * cells.max() and len(found) <= int(2 * np.linalg.norm(cells) / step) + 15:
        found.append(region_of(header, origin + t * direction)[2])
        t = ahead(t, 1.0)
    return np.array(found).reshape(-1, 3)


def ray_colour(
    volume: Volume, depths: np.ndarray, origin: np.ndarray, direction: np.ndarray
) -> tuple[np.ndarray | float, float]:
    """Colour of a ray on black, and what is left behind it: ``origin`` in cells, unit ``direction``."""
    header, cells = volume.header, volume.cells
    step, near = volume.longest / header["steps_per_side"], header["near"] / header["cell"]
    if any(header["shell"]):
        points = shelled_places(header, origin, direction, step, near)
    else:
        with np.errstate(divide="ignore"):
            ends = np.stack([-origin / direction, (cells - origin) / direction])
        enter, leave = max(near, ends.min(axis=0).max()), ends.max(axis=0).min()
        distances = enter + (np.arange(max(0, int((leave - enter) / step) + 1)) + 0.5) * step
        points = origin + distances[distances < leave, None] * direction
    x, y, z = np.clip(np.floor(points).astype(int), 0, cells.astype(int) - 1).T
    inside = volume.mask[z, y, x]
    points, reached = points[inside], np.cumsum(step * depths[z, y, x][inside])
    # Those up to the first after which the sum has reached 7.
    points = points[: min(int((reached < 7).sum()) + 1, int(np.linalg.norm(cells) / step) + 2)]
    if not len(points):
        return 0.0, 1.0
    raw = volume.projected(points)
    passed = np.exp(-np.cumsum(density(raw[:, 0])) / header["steps_per_side"])
    weights = np.concatenate([[1.0], passed[:-1]]) - passed
    shown = weights > 1e-3
    colours = volume.colours(raw[shown, 1:], np.repeat(direction[None], shown.sum(), axis=0))
    return weights[shown] @ colours, float(passed[-1])
