"""Checks from the cameras' poses whether they were read with the right axis convention.

Cameras of a capture usually look at a common point in front of them. Where they do not, but would with flipped axes or
inverted matrices, the convention is probably wrong. ``capture/sequence.py`` calls this for its messages.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from taichi_vvc.geometry.projection import closest_point
from taichi_vvc.types import Camera

# Reciprocal condition numbers of the system that finds the point nearest to all axes: small where axes are parallel.
FORWARD_FACING = 2e-3  # below: the axes do not meet
SPREAD = 0.02  # below: nearly parallel axes may meet behind the cameras by jitter alone
SURROUND = 0.08  # below: inverted poses may meet by jitter alone, since all lie in about the same direction
SAME_POINT = 1e-6  # cameras nearer together, relative to the size of their coordinates, differ by rounding only
MEETING = 0.25  # median distance of the axes from their common point, as a share of its distance: below, they meet
LOOSE = 0.5  # the same limit for the poses as they were read, which get the benefit of the doubt


def looks_like(cameras: Sequence[Camera]) -> str | None:
    """The convention that the poses seem to have been written in, if it is not the one they were read with.

    Returns:
        ``"flipped"``: the axes meet behind the cameras, as if these looked along -z in place of +z or the reverse.
        ``"inverse"``, ``"inverse flipped"``: the axes meet once every pose is inverted, or inverted and flipped.
        None: the axes meet in front of the cameras as read, or with no convention.
    """
    if len(cameras) < 2:
        return None
    positions = np.stack([camera.position for camera in cameras])
    rotations = np.stack([camera.rotation for camera in cameras])
    axes = rotations[:, :, 2]
    if _meet_ahead(positions, axes, share=0.5, miss=LOOSE):
        return None
    if _meet_ahead(positions, -axes, spread=SPREAD):
        return "flipped"
    if len(cameras) < 3:
        return None
    inverted = -np.einsum("nij,ni->nj", rotations, positions)
    for sign, name in ((1.0, "inverse"), (-1.0, "inverse flipped")):
        if _meet_ahead(inverted, sign * rotations[:, 2, :], spread=SURROUND):
            return name
    return None


def _meet_ahead(
    positions: np.ndarray,
    axes: np.ndarray,
    share: float = 0.9,
    miss: float = MEETING,
    spread: float = FORWARD_FACING,
) -> bool:
    """Whether the lines from ``positions`` (n, 3) along ``axes`` (n, 3) meet in front of a ``share`` of the cameras."""
    point, condition = closest_point(positions, axes)
    if condition < spread:
        return False
    offsets = point - positions
    ahead = np.einsum("ij,ij->i", offsets, axes)
    distance = float(np.median(np.linalg.norm(offsets, axis=1)))
    aside = float(np.median(np.linalg.norm(offsets - ahead[:, None] * axes, axis=1)))
    apart = distance > SAME_POINT * float(np.abs(positions).max())
    return apart and aside <= miss * distance and float(np.mean(ahead > 0.0)) >= share


def describe(found: str, layout: str, convention: str | None) -> str:
    """A clause for a message: what :func:`looks_like` found, and what to do about it.

    Args:
        found: the result of :func:`looks_like`.
        convention: the axes that a ``transform_matrix`` was taken to have, ``"opengl"`` or ``"opencv"``; None for a
            layout without one, whose name is ``layout``.
    """
    where = "behind the cameras" if found == "flipped" else "in front of the cameras once the poses are inverted"
    evidence = f"the axes meet {where}"
    if convention is None:
        what = "look along -z" if found == "flipped" else "are inverted"
        return f"the cameras look as if their poses {what} ({evidence}); docs/capture.md has the axes of {layout}"
    other = "opencv" if convention == "opengl" else "opengl"
    axes = {"flipped": other, "inverse": "opencv", "inverse flipped": "opengl"}[found]
    named = "OpenCV axes (looking along +z)" if axes == "opencv" else "OpenGL axes (looking along -z)"
    kind = "camera to world" if found == "flipped" else "world to camera"
    todo = [] if found == "flipped" else ["write the inverse matrices"]
    if axes != convention:
        todo.append('add "camera_convention": "opencv"' if axes == "opencv" else 'remove "camera_convention"')
    return f'"transform_matrix" looks like {kind} with {named}, as {evidence}: {" and ".join(todo)}'


def advice(layout: str, convention: str | None) -> str:
    """A clause for a message about a camera that does not see the bounds, where :func:`looks_like` finds nothing."""
    if convention is None:
        return f"check the bounds, and the poses against what docs/capture.md says of {layout}"
    axes = "OpenGL axes (looking along -z)" if convention == "opengl" else "OpenCV axes (looking along +z)"
    return f"check the bounds and that poses are camera to world with {axes}"
