"""Camera paths for free-viewpoint rendering: an orbit and a spiral fitted to a capture, or key cameras from a file.

The file format (``cameras.json``) is described in docs/capture.md: ``{"cameras": [...], "closed": false}`` with
``transform_matrix`` and intrinsics as in ``transforms.json`` and an optional ``time`` per camera.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from taichi_vvc.capture.readers.parse import (
    finite_number,
    load_json,
    parse_convention,
    parse_intrinsics,
    parse_pose,
    short,
    stated_size,
)
from taichi_vvc.capture.storable import check_cameras
from taichi_vvc.errors import ConfigError, DataError
from taichi_vvc.geometry.projection import has_distortion, project
from taichi_vvc.types import Bounds, Camera

WIDE_GAP = math.radians(130)  # where cameras leave a larger gap in azimuth, a path swings to and fro, not around
SINGLE_SWING = math.radians(15)
LEVEL = math.cos(math.radians(15))
FILL = 0.95  # share of the picture that the bounds may fill


def camera_path(
    kind_or_file: str | Path,
    cameras: Sequence[Camera],
    bounds: Bounds,
    count: int,
    size: tuple[int, int],
) -> list[Camera]:
    """``count`` cameras with pictures of ``size`` (width, height) pixels along a path.

    ``"orbit"`` circles the bounds' centre once at the mean distance and elevation of ``cameras``; ``"spiral"`` circles
    twice while it rises from their lowest to their highest elevation and returns. Where the cameras leave a gap of more
    than :data:`WIDE_GAP`, both paths swing to and fro over the filmed side instead. Any other text is the name of a
    ``cameras.json``, whose cameras are joined by a Catmull-Rom curve and spherical interpolation.

    Raises:
        ConfigError: unknown kind, or count or size below 1.
        DataError: the file cannot be used.
    """
    if count < 1 or min(size) < 1:
        raise ConfigError(f"expected a path of 1 or more pictures of 1x1 or more, found {count} of {size[0]}x{size[1]}")
    kind = str(kind_or_file)
    if kind not in ("orbit", "spiral"):
        path = Path(kind_or_file)
        if path.suffix.lower() != ".json":
            raise ConfigError(f"expected a path of orbit, spiral or a cameras.json file, found {kind!r}")
        return keyframe_path(path, count, size)
    if not cameras:
        raise DataError(f"the path {kind} needs the capture's cameras, found none; give a cameras.json file")

    centre = 0.5 * (np.asarray(bounds.lower) + np.asarray(bounds.upper))
    axes, azimuths, elevations, radii = _around(cameras, centre)
    turns = 1 if kind == "orbit" else 2
    phase = np.arange(count) / count  # the curve is closed: the last picture is followed by the first
    azimuth = _azimuths(azimuths, turns * phase)
    elevation = np.full(count, elevations.mean())
    if kind == "spiral":
        middle, swing = 0.5 * (elevations.max() + elevations.min()), 0.5 * np.ptp(elevations)
        elevation = middle - max(swing, math.radians(8)) * np.cos(2 * math.pi * phase)
    elevation = np.clip(elevation, math.radians(-85), math.radians(85))
    local = np.stack((np.cos(elevation) * np.cos(azimuth), np.cos(elevation) * np.sin(azimuth), np.sin(elevation)), 1)
    positions = centre + radii.mean() * (local @ axes)
    rotations = [_look(centre - position, axes[2]) for position in positions]
    return _with_focal(rotations, positions, cameras, bounds, size, kind)


def keyframe_path(path: Path, count: int, size: tuple[int, int]) -> list[Camera]:
    """Cameras interpolated between those of a ``cameras.json``.

    The first picture is that of the first key camera and the last picture that of the last one. A closed path ends one
    picture before the first key camera. ``time`` only spaces the keys; without it they are evenly spaced.
    """
    document = load_json(path)
    keys = document.get("cameras")
    if not isinstance(keys, list) or not keys or not all(isinstance(key, dict) for key in keys):
        raise DataError(f'{path}: expected "cameras" to list at least one camera with a "transform_matrix"')
    convention = parse_convention(document, path)
    width, height = size
    poses, lenses, times = [], [], []
    for number, key in enumerate(keys):
        where = f"{path}: cameras[{number}]"
        poses.append(parse_pose(key.get("transform_matrix"), where, convention))
        times.append(finite_number(key.get("time", number), f'{where}: expected a finite number for "time"'))
        stated = stated_size(key, document, where)
        w, h = stated[0] or width, stated[1] or height
        lens = parse_intrinsics(key, document, (w, h), where)
        # The focal length scales with the height. The pixels' aspect ratio is kept, and the centre stays the centre.
        scale = height / h
        shift = 0.5 * (width - w * scale)
        lenses.append([lens["fx"] * scale, lens["fy"] * scale, lens["cx"] * scale + shift, lens["cy"] * scale])
        lenses[-1] += [lens.get(name, 0.0) for name in ("k1", "k2", "p1", "p2")]
    closed = bool(document.get("closed", False))
    if any(b <= a for a, b in itertools.pairwise(times)):
        raise DataError(f'{path}: expected every "time" to be larger than the one before, found {short(times)}')
    knots = np.array(times)
    rotations = [rotation for rotation, _ in poses]
    values = np.array([np.concatenate((position, lens)) for (_, position), lens in zip(poses, lenses, strict=True)])
    if closed and len(knots) > 1:
        knots = np.append(knots, knots[-1] + (knots[-1] - knots[0]) / (len(knots) - 1))
        values = np.concatenate((values, values[:1]))
        rotations.append(rotations[0])
    last = count if closed else max(1, count - 1)
    out = []
    for k in range(count):
        with np.errstate(all="ignore"):  # infinities and NaN are refused by the check that follows
            time = knots[0] + (knots[-1] - knots[0]) * k / last
            value, rotation = _interpolate(knots, values, rotations, time, closed)
        fx, fy, cx, cy, k1, k2, p1, p2 = (float(v) for v in value[3:])
        out.append(Camera(f"path{k:04d}", width, height, fx, fy, cx, cy, rotation, value[:3], k1, k2, p1, p2))
    check_cameras(out, str(path))
    return out


def path_document(keys: list[Camera], closed: bool = False) -> dict[str, Any]:
    """Recorded cameras as the JSON that ``tvvc render --path`` takes, see docs/capture.md."""
    rows = []
    for camera in keys:
        pose = np.eye(4)
        pose[:3, :3] = camera.rotation * np.array([1.0, -1.0, -1.0])  # OpenGL axes, as transforms.json has them
        pose[:3, 3] = camera.position
        lens = {"fl_x": camera.fx, "fl_y": camera.fy, "cx": camera.cx, "cy": camera.cy}
        if has_distortion(camera):
            lens.update(k1=camera.k1, k2=camera.k2, p1=camera.p1, p2=camera.p2)
        rows.append({"w": camera.width, "h": camera.height, **lens, "transform_matrix": pose.tolist()})
    return {"cameras": rows, "closed": closed}


def _interpolate(
    knots: np.ndarray, values: np.ndarray, rotations: list[np.ndarray], time: float, closed: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Cubic Hermite with Catmull-Rom tangents for ``values`` (keys, n), spherical interpolation for rotations."""
    if len(knots) == 1:
        return values[0], rotations[0]
    i = int(np.clip(np.searchsorted(knots, time, side="right") - 1, 0, len(knots) - 2))
    span = knots[i + 1] - knots[i]
    s = (time - knots[i]) / span
    start, end = _tangent(knots, values, i, closed), _tangent(knots, values, i + 1, closed)
    value = (
        (2 * s**3 - 3 * s**2 + 1) * values[i]
        + (s**3 - 2 * s**2 + s) * span * start
        + (3 * s**2 - 2 * s**3) * values[i + 1]
        + (s**3 - s**2) * span * end
    )
    return value, _slerp(rotations[i], rotations[i + 1], float(s))


def _tangent(knots: np.ndarray, values: np.ndarray, i: int, closed: bool) -> np.ndarray:
    """d value / d time at key ``i``: between its neighbours, one-sided at the ends of an open path."""
    last = len(knots) - 1
    if closed and i in (0, last):
        before, after = knots[last] - knots[last - 1], knots[1] - knots[0]
        return (values[1] - values[last - 1]) / (before + after)
    a, b = max(0, i - 1), min(last, i + 1)
    return (values[b] - values[a]) / (knots[b] - knots[a])


def _slerp(a: np.ndarray, b: np.ndarray, s: float) -> np.ndarray:
    """The rotation a share ``s`` of the way from ``a`` to ``b`` about their common axis (Rodrigues)."""
    between = a.T @ b
    angle = math.acos(float(np.clip(0.5 * (np.trace(between) - 1.0), -1.0, 1.0)))
    if angle < 1e-9:
        return a
    if angle > math.pi - 1e-6:
        # A rotation by 180 degrees: the axis is the eigenvector of eigenvalue 1.
        vectors = np.linalg.svd(between + np.eye(3))[0]
        axis = vectors[:, 0]
    else:
        skew = (between - between.T) / (2.0 * math.sin(angle))
        axis = np.array([skew[2, 1], skew[0, 2], skew[1, 0]])
    x, y, z = axis
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    turn = np.eye(3) + math.sin(s * angle) * cross + (1.0 - math.cos(s * angle)) * cross @ cross
    return a @ turn


def up_direction(cameras: Sequence[Camera]) -> np.ndarray:
    """The up direction of a rig, (3,) unit vector, world: perpendicular to the cameras' x axes, else their mean up.

    If a world axis lies within 15 degrees, that axis is taken: the world is mostly levelled, cameras only nearly so.
    """
    up = -np.mean([camera.rotation[:, 1] for camera in cameras], axis=0)
    if np.linalg.norm(up) < 1e-6:
        return np.array([0.0, 0.0, 1.0])
    _, sizes, axes = np.linalg.svd(np.stack([camera.rotation[:, 0] for camera in cameras]), full_matrices=True)
    if len(sizes) > 1 and sizes[1] > 0.3 * sizes[0]:
        up = axes[2] * (1.0 if axes[2] @ up >= 0.0 else -1.0)
    up /= np.linalg.norm(up)
    nearest = int(np.argmax(np.abs(up)))
    if abs(up[nearest]) > LEVEL:
        up = np.sign(up[nearest]) * np.eye(3)[nearest]
    return up


def _around(cameras: Sequence[Camera], centre: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """The cameras in spherical coordinates around ``centre``.

    Returns (3, 3) the axes of the coordinate frame in rows, the third one up; then azimuths, elevations (radians) and
    distances (world units) of the cameras, (n,) each.
    """
    up = up_direction(cameras)
    arms = np.stack([camera.position for camera in cameras]) - centre
    radii = np.maximum(np.linalg.norm(arms, axis=1), 1e-9)
    first = arms[0] - (arms[0] @ up) * up
    if np.linalg.norm(first) < 1e-6 * radii[0]:
        first = np.eye(3)[int(np.argmin(np.abs(up)))]
        first = first - (first @ up) * up
    first /= np.linalg.norm(first)
    axes = np.stack((first, np.cross(up, first), up))
    local = arms @ axes.T
    azimuths = np.arctan2(local[:, 1], local[:, 0])
    return axes, azimuths, np.arcsin(np.clip(local[:, 2] / radii, -1.0, 1.0)), radii


def _azimuths(filmed: np.ndarray, turns: np.ndarray) -> np.ndarray:
    """Azimuths along a path, (count,) radians: around the subject, or to and fro over the filmed arc.

    Args:
        filmed: (n,) azimuths of the cameras, radians; a wide gap between them makes the path swing.
        turns: (count,) progress along the path, in full turns.
    """
    ordered = np.sort(filmed)
    gaps = np.diff(np.append(ordered, ordered[0] + 2 * math.pi))
    widest = int(np.argmax(gaps))
    if gaps[widest] <= WIDE_GAP:
        return 2 * math.pi * turns
    start = ordered[(widest + 1) % len(ordered)]
    arc = 2 * math.pi - gaps[widest]
    half = max(0.5 * arc, SINGLE_SWING)
    return start + 0.5 * arc + half * np.sin(2 * math.pi * turns)


def _look(direction: np.ndarray, up: np.ndarray) -> np.ndarray:
    """Camera-to-world rotation (OpenCV axes) that looks along ``direction`` with ``up`` towards the picture's top."""
    forward = direction / np.linalg.norm(direction)
    right = np.cross(forward, up)
    right /= np.linalg.norm(right)
    return np.stack((right, np.cross(forward, right), forward), axis=1)


def _with_focal(
    rotations: list[np.ndarray],
    positions: np.ndarray,
    cameras: Sequence[Camera],
    bounds: Bounds,
    size: tuple[int, int],
    kind: str,
) -> list[Camera]:
    """Pinhole cameras with one focal length for the whole path.

    It is the longest with which the bounds stay in all pictures, but at least half of the capture's own focal length,
    since bounds may reach close to the camera, and at most twice that.
    """
    width, height = size
    own = float(np.mean([min(c.fx / c.width * width, c.fy / c.height * height) for c in cameras]))
    corners = np.array([[x, y, z] for x in (0, 1) for y in (0, 1) for z in (0, 1)])
    corners = np.asarray(bounds.lower) + corners * bounds.size
    fit = 2.0 * own
    for rotation, position in zip(rotations, positions, strict=True):
        unit = Camera("unit", 2, 2, 1.0, 1.0, 0.0, 0.0, rotation, position)
        pixels, depth = project(unit, corners)
        if (depth <= 0.0).any():
            fit = own
            break
        reach = np.abs(pixels).max(axis=0)
        fit = min(fit, FILL * 0.5 * width / reach[0], FILL * 0.5 * height / reach[1])
    focal = max(fit, 0.5 * own)
    return [
        Camera(f"{kind}{k:04d}", width, height, focal, focal, width / 2, height / 2, rotation, position)
        for k, (rotation, position) in enumerate(zip(rotations, positions, strict=True))
    ]
