"""Pinhole projection with lens distortion, both ways, in NumPy: what the hull, the bounds and camera checks stand on.

Normalised coordinates are ``(x / z, y / z)`` in the camera's OpenCV axes; distortion is the Brown-Conrady model with
two radial (k1, k2) and two tangential (p1, p2) coefficients as OpenCV's camera calibration writes it.
"""

from __future__ import annotations

import math

import numpy as np

from taichi_vvc.types import Bounds, Camera


def has_distortion(camera: Camera) -> bool:
    """Whether any distortion coefficient differs from zero."""
    return any((camera.k1, camera.k2, camera.p1, camera.p2))


def distort(camera: Camera, u: np.ndarray, v: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Ideal normalised coordinates to those that the lens produces. Any shape, float."""
    s = u * u + v * v
    radial = 1.0 + s * (camera.k1 + s * camera.k2)
    ud = u * radial + 2.0 * camera.p1 * u * v + camera.p2 * (s + 2.0 * u * u)
    vd = v * radial + camera.p1 * (s + 2.0 * v * v) + 2.0 * camera.p2 * u * v
    return ud, vd


def distortion_limit(camera: Camera) -> float:
    """Squared normalised radius up to which the radial polynomial grows; beyond it points fold back into the image."""
    a, b = 5.0 * camera.k2, 3.0 * camera.k1
    roots = [-1.0 / b] if a == 0.0 and b != 0.0 else []
    if a != 0.0 and b * b - 4.0 * a >= 0.0:
        root = math.sqrt(b * b - 4.0 * a)
        roots = [(-b - root) / (2.0 * a), (-b + root) / (2.0 * a)]
    return min((r for r in roots if r > 0.0), default=math.inf)


def undistort(camera: Camera, ud: np.ndarray, vd: np.ndarray, iterations: int = 12) -> tuple[np.ndarray, np.ndarray]:
    """Inverse of :func:`distort` by Newton's method: converges inside :func:`distortion_limit`."""
    if not has_distortion(camera):
        return ud, vd
    k1, k2, p1, p2 = camera.k1, camera.k2, camera.p1, camera.p2
    u, v = np.array(ud, np.float64), np.array(vd, np.float64)
    for _ in range(iterations):
        s = u * u + v * v
        radial = 1.0 + s * (k1 + s * k2)
        slope = 2.0 * (k1 + 2.0 * s * k2)
        a = radial + slope * u * u + 2.0 * p1 * v + 6.0 * p2 * u
        b = slope * u * v + 2.0 * p1 * u + 2.0 * p2 * v
        d = radial + slope * v * v + 6.0 * p1 * v + 2.0 * p2 * u
        eu, ev = distort(camera, u, v)
        eu, ev = eu - ud, ev - vd
        det = a * d - b * b
        det = np.where(np.abs(det) < 1e-9, 1e-9, det)
        u, v = u - (d * eu - b * ev) / det, v - (a * ev - b * eu) / det
    return u, v


def project(camera: Camera, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """World points to pixels.

    Args:
        points: (..., 3) world units.

    Returns:
        pixels (..., 2) as (column, row), NaN where the point is behind the camera or beyond the reach of the
        distortion model; depth (...) along the camera's axis, world units.
    """
    local = (np.asarray(points, np.float64) - camera.position) @ camera.rotation
    depth = local[..., 2]
    with np.errstate(divide="ignore", invalid="ignore"):
        u, v = local[..., 0] / depth, local[..., 1] / depth
        bad = (depth <= 0.0) | ~(u * u + v * v < distortion_limit(camera))
        u, v = distort(camera, u, v)
        pixels = np.stack((camera.fx * u + camera.cx, camera.fy * v + camera.cy), axis=-1)
    pixels[bad] = np.nan
    return pixels, depth


def pixel_directions(camera: Camera, pixels: np.ndarray) -> np.ndarray:
    """Unit world directions (..., 3) float64 of the rays through ``pixels`` (..., 2), (column, row)."""
    pixels = np.asarray(pixels, np.float64)
    u, v = undistort(camera, (pixels[..., 0] - camera.cx) / camera.fx, (pixels[..., 1] - camera.cy) / camera.fy)
    local = np.stack((u, v, np.ones_like(u)), axis=-1)
    local /= np.linalg.norm(local, axis=-1, keepdims=True)
    return local @ camera.rotation.T


def rays_hit(camera: Camera, pixels: np.ndarray, bounds: Bounds) -> np.ndarray:
    """(n,) bool: which rays through ``pixels`` (n, 2), (column, row), cross the box in front of the camera."""
    directions = pixel_directions(camera, pixels)
    directions = np.where(np.abs(directions) < 1e-12, 1e-12, directions)
    a = (np.asarray(bounds.lower) - camera.position) / directions
    b = (np.asarray(bounds.upper) - camera.position) / directions
    enter, leave = np.minimum(a, b).max(1), np.maximum(a, b).min(1)
    return (leave > 0.0) & (leave >= enter)


def inside_image(camera: Camera, pixels: np.ndarray) -> np.ndarray:
    """(...) bool: which pixel positions (..., 2) lie inside the image. NaN positions do not."""
    x, y = pixels[..., 0], pixels[..., 1]
    return (x >= 0.0) & (x <= camera.width) & (y >= 0.0) & (y <= camera.height)


def closest_point(origins: np.ndarray, directions: np.ndarray) -> tuple[np.ndarray, float]:
    """The point nearest to a bundle of lines, by least squares.

    Args:
        origins: (n, 3) a point of each line.
        directions: (n, 3) unit directions.

    Returns:
        the point (3,) and the reciprocal condition number of the system: near 0 when the lines are parallel.
    """
    away = np.eye(3) - directions[:, :, None] * directions[:, None, :]
    matrix = away.sum(0)
    values = np.linalg.eigvalsh(matrix)
    if values[-1] <= 0.0 or values[0] / values[-1] < 1e-12:
        return origins.mean(0), 0.0
    point = np.linalg.solve(matrix, (away @ origins[:, :, None]).sum(0)[:, 0])
    return point, float(values[0] / values[-1])


def dilate(mask: np.ndarray) -> np.ndarray:
    """Grow a 3-D mask by one cell in the 26 directions."""
    for axis in range(3):
        grown = mask.copy()
        lower, upper = [slice(None)] * 3, [slice(None)] * 3
        lower[axis], upper[axis] = slice(None, -1), slice(1, None)
        grown[tuple(lower)] |= mask[tuple(upper)]
        grown[tuple(upper)] |= mask[tuple(lower)]
        mask = grown
    return mask
