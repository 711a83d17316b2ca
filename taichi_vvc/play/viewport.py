"""Cameras and pictures for the player: a browser's view as a camera, picture sizes, and display modes."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from taichi_vvc.field.grids import Field
from taichi_vvc.field.render import Image, finished, finished_rgb8, render_parts
from taichi_vvc.field.workspace import Workspace
from taichi_vvc.types import Camera

SHOWN = ("colour", "depth", "opacity")
SMALLEST = 64  # pixels of the longer side of a moving picture
START_TURN = math.radians(32)  # angle around the up axis between a capture's camera and the first view


def camera_of_view(name: str, position: Any, wxyz: Any, fov: float, width: int, height: int) -> Camera:
    """A camera of a browser's view.

    Args:
        name: the camera's name.
        position: (3,) world units.
        wxyz: (4,) camera-to-world quaternion, OpenCV axes.
        fov: vertical angle of view, radians.
        width, height: pixels.
    """
    w, x, y, z = np.asarray(wxyz, np.float64) / np.linalg.norm(wxyz)
    rotation = np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
            [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
            [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
        ]
    )
    focal = 0.5 * height / math.tan(0.5 * fov)
    return Camera(name, width, height, focal, focal, width / 2, height / 2, rotation, np.asarray(position, np.float64))


def quaternion(rotation: np.ndarray) -> np.ndarray:
    """(4,) w, x, y, z of a rotation matrix (3, 3); w is not negative."""
    m = np.asarray(rotation, np.float64)
    # The quaternion is the eigenvector of the largest eigenvalue of this symmetric matrix. The formula has no cases.
    k = np.array(
        [
            [m[0, 0] + m[1, 1] + m[2, 2], m[2, 1] - m[1, 2], m[0, 2] - m[2, 0], m[1, 0] - m[0, 1]],
            [m[2, 1] - m[1, 2], m[0, 0] - m[1, 1] - m[2, 2], m[0, 1] + m[1, 0], m[0, 2] + m[2, 0]],
            [m[0, 2] - m[2, 0], m[0, 1] + m[1, 0], m[1, 1] - m[0, 0] - m[2, 2], m[1, 2] + m[2, 1]],
            [m[1, 0] - m[0, 1], m[0, 2] + m[2, 0], m[1, 2] + m[2, 1], m[2, 2] - m[0, 0] - m[1, 1]],
        ]
    )
    q = np.linalg.eigh(k)[1][:, -1]
    return q if q[0] >= 0 else -q


def start_position(camera: np.ndarray, centre: np.ndarray, up: np.ndarray) -> np.ndarray:
    """The position of the first view, (3,) world: beside a capture's camera and nearer to the subject.

    From there no camera marker hides the subject.

    Args:
        camera, centre: (3,) positions of the camera and of the subject, world units.
        up: (3,) unit vector.
    """
    arm = np.asarray(camera, np.float64) - centre
    side = np.cross(up, arm)
    turned = math.cos(START_TURN) * arm + math.sin(START_TURN) * side + (1 - math.cos(START_TURN)) * (up @ arm) * up
    return centre + 0.8 * turned + 0.08 * float(np.linalg.norm(arm)) * np.asarray(up)


def fitted_size(width: int, height: int, pixels: float) -> tuple[int, int]:
    """A (width, height) of about ``pixels`` in all, with the given aspect ratio.

    It is at least :data:`SMALLEST` along the longer side, and at most ``width`` x ``height``.
    """
    scale = math.sqrt(max(pixels, 1.0) / (width * height))
    scale = min(1.0, max(scale, SMALLEST / max(width, height)))
    return max(1, round(width * scale)), max(1, round(height * scale))


def as_picture(image: Image, shown: str) -> np.ndarray:
    """(height, width, 3) uint8: colour, or opacity as grey, or depth as grey (near is light, nothing is black)."""
    if shown == "colour":
        values = image.colour
    elif shown == "opacity":
        values = np.repeat(image.opacity[..., None], 3, axis=2)
    else:
        hit = image.opacity > 0.5
        near, far = (image.depth[hit].min(), image.depth[hit].max()) if hit.any() else (0.0, 1.0)
        grey = 1.0 - 0.8 * np.clip((image.depth - near) / max(far - near, 1e-9), 0.0, 1.0)
        values = np.repeat(np.where(hit, grey, 0.0)[..., None], 3, axis=2)
    return np.rint(np.clip(values, 0.0, 1.0) * 255.0).astype(np.uint8)


def draw(
    workspace: Workspace,
    shown: Field,
    camera: Camera,
    background: tuple[float, ...],
    mode: str,
    stale: Callable[[], bool],
) -> np.ndarray | None:
    """Renders a picture in a display ``mode``, see :func:`as_picture`.

    Returns None if ``stale()`` becomes True before the picture is finished.
    """
    for _ in render_parts(workspace, shown, camera, background):
        if stale():
            return None
    return finished_rgb8(workspace, camera) if mode == "colour" else as_picture(finished(workspace, camera), mode)
