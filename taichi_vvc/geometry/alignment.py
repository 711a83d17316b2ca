"""Small corrections of cameras: what a picture says of its camera's pose, and what cameras have moved in common.

A *motion* of a camera is six numbers: a rotation vector in its own axes (radians), then a shift of the scene along
these axes, in units of a distance that is given. Direct alignment after Lucas and Kanade (1981), with a depth for each
pixel.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from taichi_vvc.geometry.projection import inside_image, pixel_directions, project
from taichi_vvc.geometry.rotations import rotation_about
from taichi_vvc.types import Camera

# Difference of a colour (0..1) from which on a pixel counts less: there something else is wrong than the pose.
_ROBUST = 0.1
# What stands against motions that the picture says little of, as a part of the mean of those that it says much of.
_DAMPING = 1e-3
# What seems to be nearer, in parts of the distance, is haze.
_NEAR = 0.2
# As _ROBUST, for pixels of displacement.
_ROBUST_PIXELS = 0.5
_ROUNDS = 5


def pixel_motion(camera: Camera, points: np.ndarray, distance: float) -> np.ndarray:
    """How the pixels that show ``points`` (n, 3), world, move with a motion: (n, 2, 6), pixels per unit.

    ``distance``: unit of the shift, world units. The lens is taken to be without distortion, which the few pixels that
    a motion takes allow.
    """
    x, y, z = ((points - camera.position) @ camera.rotation).T
    u, v, none = x / z, y / z, np.zeros_like(x)
    inverse = distance / z
    along = np.stack([-u * v, 1 + u * u, -v, inverse, none, -u * inverse], 1)
    across = np.stack([-(1 + v * v), u * v, u, none, inverse, -v * inverse], 1)
    return np.stack([camera.fx * along, camera.fy * across], 1)


def moved(camera: Camera, motion: np.ndarray, distance: float) -> Camera:
    """The camera after a ``motion`` (6,) of the scene in its picture."""
    rotation = camera.rotation @ rotation_about(motion[:3]).T
    return replace(camera, rotation=rotation, position=camera.position - rotation @ (motion[3:] * distance))


def alignment(camera: Camera, wanted: np.ndarray, shown: np.ndarray, depth: np.ndarray, distance: float) -> np.ndarray:
    """The motion (6,) after which ``shown`` looks most like ``wanted``, to first order.

    Args:
        camera: that both pictures belong to.
        wanted: (height, width, 3) in 0..1, the camera's own picture.
        shown: (height, width, 3), a rendered one.
        depth: (height, width) distance along each pixel's ray, world units; 0 where nothing is known.
        distance: unit of the shift, world units.
    """
    rows, columns = np.nonzero(depth > _NEAR * distance)
    pixels = np.stack([columns, rows], 1) + 0.5
    points = camera.position + pixel_directions(camera, pixels) * depth[rows, columns, None]
    slopes = [np.gradient(shown, axis=axis)[rows, columns] for axis in (1, 0)]
    motion = pixel_motion(camera, points, distance)
    change = -sum(slope[:, :, None] * motion[:, None, k] for k, slope in enumerate(slopes))
    error = (wanted - shown)[rows, columns]
    known = np.isfinite(motion).all((1, 2))
    weight = np.where(known, 1 / (1 + (error**2).mean(1) / _ROBUST**2), 0.0)
    change[~known] = 0.0
    normal = np.einsum("n,nci,ncj->ij", weight, change, change)
    right = np.einsum("n,nci,nc->i", weight, change, error)
    damping = _DAMPING * np.trace(normal) / 6 + 1e-12
    return np.asarray(np.linalg.solve(normal + damping * np.eye(6), right))


def displacement(before: Camera, after: Camera, points: np.ndarray) -> float:
    """By how many pixels the picture of ``points`` (n, 3), world, has moved: the median; 0 if none is seen."""
    pixels = project(before, points)[0]
    shifts = np.linalg.norm(project(after, points)[0] - pixels, axis=1)[inside_image(before, pixels)]
    shifts = shifts[np.isfinite(shifts)]
    return float(np.median(shifts)) if len(shifts) else 0.0


def without_common(before: Sequence[Camera], after: Sequence[Camera], points: np.ndarray) -> list[Camera]:
    """The cameras ``after`` without what they have moved in common, as a rigid body that may be scaled.

    Pictures do not say where in the world a scene is, so that cameras that follow a fit drift away with it, and those
    that were not in the fit, and every path, would be left behind.

    Args:
        before: the cameras as they were, in the same order.
        points: (n, 3) places of the scene, world units.
    """
    centre = points.mean(0)
    extent = float(np.linalg.norm(points - centre, axis=1).mean()) or 1.0
    local = (points - centre) / extent
    x, y, z = local.T
    none = np.zeros_like(x)
    # How the points move with a rotation vector, a shift and a scale.
    field = np.stack(
        [
            np.stack([none, z, -y, none + 1, none, none, x], 1),
            np.stack([-z, none, x, none, none + 1, none, y], 1),
            np.stack([y, -x, none, none, none, none + 1, z], 1),
        ],
        1,
    )
    rows, sides = [], []
    for old, new in zip(before, after, strict=True):
        pixels = project(old, points)[0]
        shift = project(new, points)[0] - pixels
        seen = inside_image(old, pixels) & np.isfinite(shift).all(1)
        # A shift of the scene along world axes is one along the camera's.
        slope = pixel_motion(old, points, extent)[:, :, 3:] @ old.rotation.T
        rows.append((slope @ field)[seen].reshape(-1, 7))
        sides.append(shift[seen].reshape(-1))
    a, b = np.concatenate(rows), np.concatenate(sides)
    motion = np.zeros(7)
    for _ in range(_ROUNDS):
        weight = 1 / (1 + np.abs(b - a @ motion) / _ROBUST_PIXELS)
        # Few cameras do not tell all seven apart: then as little as possible counts as common.
        normal = (a * weight[:, None]).T @ a
        damped = normal + 1e-6 * np.trace(normal) / 7 * np.eye(7) + 1e-12 * np.eye(7)
        motion = np.linalg.solve(damped, (a * weight[:, None]).T @ b)
    turn, shift, scale = rotation_about(motion[:3]), motion[3:6] * extent, 1.0 + motion[6]
    return [
        replace(c, rotation=turn @ c.rotation, position=centre + scale * turn @ (c.position - centre) + shift)
        for c in after
    ]
