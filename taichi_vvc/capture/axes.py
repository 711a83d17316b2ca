"""Tells from where cameras look whether their poses were read with the right convention."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from taichi_vvc.geometry.projection import closest_point
from taichi_vvc.types import Camera

FORWARD_FACING = 2e-3  # reciprocal condition of the cameras' axes below which they do not meet
SAME_POINT = 1e-6  # cameras nearer together, by the size of their coordinates, are in one point but for rounding
SPREAD = 0.02  # the same, below which jitter alone may make the axes of cameras that look forward meet behind them
SURROUND = 0.08  # and below which it may make inverted poses meet: then all of them lie in about the same direction
MEETING = 0.25  # axes that meet pass by their common point at less than this share of its distance
LOOSE = 0.5  # and so much is granted to the poses as they stand


def looks_like(cameras: Sequence[Camera]) -> str | None:
    """What the poses look like if the cameras' axes do not meet in front of them but would with another convention.

    Returns:
        ``"flipped"``: they meet behind the cameras, as if these looked along -z in place of +z or the reverse.
        ``"inverse"``, ``"inverse flipped"``: they meet once every pose is inverted, as it stands or flipped.
        None: the poses make sense as they are, or neither way.
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
    """What :func:`looks_like` found, as a clause that says what to do.

    Args:
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
    """What to check where a camera does not see what it should, if :func:`looks_like` finds nothing."""
    if convention is None:
        return f"check the bounds, and the poses against what docs/capture.md says of {layout}"
    axes = "OpenGL axes (looking along -z)" if convention == "opengl" else "OpenCV axes (looking along +z)"
    return f"check the bounds and that poses are camera to world with {axes}"
