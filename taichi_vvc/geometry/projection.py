"""Pinhole projection with lens distortion, both ways, in NumPy: what the hull, the bounds and camera checks stand on.

Normalised coordinates are ``(x / z, y / z)`` in the camera's OpenCV axes; distortion is the Brown-Conrady model with
two radial (k1, k2) and two tangential (p1, p2) coefficients as OpenCV's camera calibration writes it.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np

from taichi_vvc.types import Bounds, Camera, View

LANDING = 1e-9  # how far from a place its ray may land, in normalised coordinates and as a part of its radius
DEVICE_LANDING = 4e-6  # the same in float32; as in kernels/geometry.py
DESCENT = 60  # steps at the most
FIXED_POINTS = 20  # iterations of the device
NEGLIGIBLE = 1e-60  # a coefficient below it does nothing at any radius, and quotients by it overflow
RASTER = 33  # positions along each side of a picture at which a lens is tried


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


def distortion_limit(camera: Camera, k3: float = 0.0) -> float:
    """Squared normalised radius of the largest disc around the centre on which the distortion can be inverted.

    Inside it the determinant of the Jacobian of :func:`distort` is positive. The Jacobian is symmetric and the disc
    convex, so that no two points of it share a pixel; beyond it points fold back into the image. ``k3``: the
    coefficient of the sixth power of the radius, which only ``capture/readers/lens.py`` has. Infinite without a fold.
    """
    return _limit(camera.k1, camera.k2, k3, math.hypot(camera.p1, camera.p2))


@lru_cache(maxsize=256)
def _limit(k1: float, k2: float, k3: float, tilt: float) -> float:
    """See :func:`distortion_limit`; ``tilt`` is the length of (p1, p2), whose direction does not matter."""
    k1, k2, k3, tilt = (value if abs(value) >= NEGLIGIBLE else 0.0 for value in (k1, k2, k3, tilt))
    if tilt == 0.0 and k3 == 0.0:
        a, b = 5.0 * k2, 3.0 * k1
        roots = [-1.0 / b] if a == 0.0 and b != 0.0 else []
        if a != 0.0 and b * b - 4.0 * a >= 0.0:
            root = math.sqrt(b * b - 4.0 * a)
            roots = [(-b - root) / (2.0 * a), (-b + root) / (2.0 * a)]
        return min((r for r in roots if r > 0.0), default=math.inf)
    # Polynomials in the radius t. Without tilt a point moves outwards by `along` and sideways by `across` per unit.
    # At an angle whose cosine to (p2, p1) is c, with x = tilt * t, the determinant is
    # along * across - 4 x^2 + (2 along + 6 across) x c + 16 x^2 c^2: least at c = -1, where it is
    # (along - 6 x) (across - 2 x), unless x > (along + 3 across) / 16: then between.
    along = np.poly1d([7.0 * k3, 0.0, 5.0 * k2, 0.0, 3.0 * k1, 0.0, 1.0])
    across = np.poly1d([k3, 0.0, k2, 0.0, k1, 0.0, 1.0])
    x = np.poly1d([tilt, 0.0])
    at_end = [*_positive_roots(along - 6.0 * x), *_positive_roots(across - 2.0 * x)]
    between = _positive_roots((along - across) * (along - 9.0 * across) + 64.0 * x * x)
    found = at_end + [t for t in between if 16.0 * x(t) > along(t) + 3.0 * across(t)]
    return float(min(found, default=math.inf)) ** 2


def _positive_roots(polynomial: np.poly1d) -> list[float]:
    roots = polynomial.roots
    return [float(r.real) for r in roots if r.real > 0.0 and abs(r.imag) <= 1e-7 * abs(r)]


def undistort(camera: Camera, ud: np.ndarray, vd: np.ndarray, iterations: int = 12) -> tuple[np.ndarray, np.ndarray]:
    """Inverse of :func:`distort` by Newton's method: the point within :func:`distortion_limit` that lands there.

    NaN where there is none: the lens model has no ray for such a place in the picture.
    """
    if not has_distortion(camera):
        return ud, vd
    ud, vd = np.asarray(ud, np.float64), np.asarray(vd, np.float64)
    u, v = np.array(ud), np.array(vd)
    with np.errstate(all="ignore"):
        for _ in range(iterations):
            du, dv = _newton_step(camera, u, v, ud, vd)
            u, v = u - du, v - dv
        bad = ~_lands_there(camera, u, v, ud, vd)
        if bad.any():
            u, v = np.where(bad, np.nan, u), np.where(bad, np.nan, v)
            # Where Newton's own steps have run out of the disc, and a ray is possible at all.
            again = bad & (ud * ud + vd * vd <= _reach(camera)[1] ** 2)
            u[again], v[again] = _descend(camera, ud[again], vd[again])
    return u, v


def _newton_step(
    camera: Camera, u: np.ndarray, v: np.ndarray, ud: np.ndarray, vd: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    k1, k2, p1, p2 = camera.k1, camera.k2, camera.p1, camera.p2
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
    return (d * eu - b * ev) / det, (a * ev - b * eu) / det


def _lands_there(
    camera: Camera, u: np.ndarray, v: np.ndarray, ud: np.ndarray, vd: np.ndarray, landing: float = LANDING
) -> np.ndarray:
    """(...) bool: whether points lie within the limit and :func:`distort` takes them to (ud, vd)."""
    eu, ev = distort(camera, u, v)
    off = np.hypot(eu - ud, ev - vd)
    return np.asarray((off <= landing * (1.0 + np.hypot(ud, vd))) & (u * u + v * v < distortion_limit(camera)))


def _descend(camera: Camera, ud: np.ndarray, vd: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """As :func:`undistort`, for (n,) places, by Newton's steps from the centre, halved where they lead away."""
    limit = distortion_limit(camera)
    u, v = np.zeros_like(ud), np.zeros_like(vd)
    off, part = np.hypot(ud, vd), np.ones_like(ud)
    for _ in range(DESCENT):
        du, dv = _newton_step(camera, u, v, ud, vd)
        tu, tv = u - part * du, v - part * dv
        eu, ev = distort(camera, tu, tv)
        then = np.hypot(eu - ud, ev - vd)
        nearer = (then < off) & (tu * tu + tv * tv < limit)
        u, v, off = np.where(nearer, tu, u), np.where(nearer, tv, v), np.where(nearer, then, off)
        part = np.where(nearer, np.minimum(1.0, 2.0 * part), 0.5 * part)
    bad = ~_lands_there(camera, u, v, ud, vd)
    return np.where(bad, np.nan, u), np.where(bad, np.nan, v)


def _reach(camera: Camera) -> tuple[float, float]:
    """Distorted radii within which every place has a ray, and beyond which none has; infinite without a fold."""
    limit = distortion_limit(camera)
    if not math.isfinite(limit):
        return math.inf, math.inf
    edge = math.sqrt(limit) * (1.0 + limit * (camera.k1 + limit * camera.k2))
    shift = 3.0 * math.hypot(camera.p1, camera.p2) * limit
    return edge - shift, edge + shift


def pixels_with_rays(camera: Camera) -> np.ndarray | None:
    """(height, width) bool: which pixel centres have a ray; None where all have, as in ordinary captures.

    The others lie where the polynomial of the lens has folded back: they take part in nothing.
    """
    if not has_distortion(camera) or not math.isfinite(distortion_limit(camera)):
        return None
    lens = camera.k1, camera.k2, camera.p1, camera.p2
    bits = _with_rays(camera.width, camera.height, camera.fx, camera.fy, camera.cx, camera.cy, lens)
    if bits is None:
        return None
    return np.unpackbits(bits, count=camera.width * camera.height).reshape(camera.height, camera.width).view(bool)


@lru_cache(maxsize=256)
def _with_rays(
    width: int, height: int, fx: float, fy: float, cx: float, cy: float, lens: tuple[float, float, float, float]
) -> np.ndarray | None:
    camera = Camera("", width, height, fx, fy, cx, cy, np.eye(3), np.zeros(3), *lens)
    inner, outer = _reach(camera)
    ud, vd = (np.arange(width) + 0.5 - cx) / fx, (np.arange(height) + 0.5 - cy) / fy
    if max(ud[0] ** 2, ud[-1] ** 2) + max(vd[0] ** 2, vd[-1] ** 2) < max(inner, 0.0) ** 2:
        return None
    s = ud * ud + (vd * vd)[:, None]
    found = s < max(inner, 0.0) ** 2
    rows, columns = np.nonzero(~found & (s <= outer**2))
    found[rows, columns] = np.isfinite(undistort(camera, ud[columns], vd[rows])[0])
    return None if found.all() else np.packbits(found)


def is_strong(camera: Camera) -> bool:
    """Whether the lens asks for more than the fixed-point iteration that the device inverts distortion by.

    So it is where it folds inside the picture, and where the iteration does not converge at some pixel.
    """
    if not has_distortion(camera):
        return False
    lens = camera.k1, camera.k2, camera.p1, camera.p2
    return _is_strong(camera.width, camera.height, camera.fx, camera.fy, camera.cx, camera.cy, lens)


@lru_cache(maxsize=1024)
def _is_strong(
    width: int, height: int, fx: float, fy: float, cx: float, cy: float, lens: tuple[float, float, float, float]
) -> bool:
    camera = Camera("", width, height, fx, fy, cx, cy, np.eye(3), np.zeros(3), *lens)
    if pixels_with_rays(camera) is not None:
        return True
    ud, vd = np.meshgrid((np.linspace(0, width, RASTER) - cx) / fx, (np.linspace(0, height, RASTER) - cy) / fy)
    u, v = ud, vd
    with np.errstate(all="ignore"):
        for _ in range(FIXED_POINTS):
            s = u * u + v * v
            radial = 1.0 + s * (camera.k1 + s * camera.k2)
            along, across = distort(camera, u, v)
            u, v = (ud - (along - u * radial)) / radial, (vd - (across - v * radial)) / radial
        return not _lands_there(camera, u, v, ud, vd, DEVICE_LANDING).all()


def with_rays(camera: Camera, chosen: np.ndarray) -> np.ndarray:
    """(height, width) bool: those of the ``chosen`` pixels for which the camera's lens has a ray."""
    rays = pixels_with_rays(camera)
    return chosen if rays is None else chosen & rays


def seen_subject(view: View) -> np.ndarray:
    """(height, width) bool: the pixels of a picture that have a ray and are not transparent."""
    return with_rays(view.camera, view.image[..., 3] > 0)


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
    """Unit world directions (..., 3) float64 of the rays through ``pixels`` (..., 2), (column, row).

    NaN where the lens has none, see :func:`pixels_with_rays`.
    """
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
