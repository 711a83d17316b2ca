"""The capture's cameras in the player's scene: a pyramid for each, which moves as the camera did."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from taichi_vvc.play.viewport import quaternion
from taichi_vvc.types import Camera

_FITTED, _HELD_OUT = (59, 110, 168), (224, 142, 43)


class Markers:
    """Pyramids in a scene of viser. The caller's thread moves them; clicks come in viser's threads."""

    def __init__(self, scene: Any, cameras: Sequence[Camera], distance: float, click: Callable[[Any, Camera], None]):
        """Add the cameras.

        Args:
            scene: of the server.
            cameras: as they stand at first.
            distance: of cameras from the subject, world units, which says how large pyramids are.
            click: called with a browser's handle and the camera that was clicked in it, as it stands then.
        """
        self._cameras = tuple(cameras)
        self._frusta = []
        for number, camera in enumerate(cameras):
            frustum = scene.add_camera_frustum(
                f"/cameras/{camera.name}",
                fov=angle_of_view(camera),
                aspect=camera.width / camera.height,
                scale=0.045 * distance,
                thickness=0.001 * distance,
                color=_HELD_OUT if camera.split == "test" else _FITTED,
                wxyz=quaternion(camera.rotation),
                position=camera.position,
            )
            frustum.on_click(lambda event, number=number: click(event.client, self._cameras[number]))
            self._frusta.append(frustum)

    def show(self, visible: bool) -> None:
        """Show or hide all of them."""
        for frustum in self._frusta:
            frustum.visible = visible

    def move(self, cameras: Sequence[Camera]) -> None:
        """Put them where the same cameras are at another frame."""
        before, self._cameras = self._cameras, tuple(cameras)
        for frustum, old, new in zip(self._frusta, before, cameras, strict=True):
            if not new.same_as(old):
                frustum.wxyz, frustum.position = quaternion(new.rotation), np.asarray(new.position)
                frustum.fov = angle_of_view(new)


def angle_of_view(camera: Camera) -> float:
    """From the lower to the upper edge of a camera's image, radians."""
    return 2 * math.atan(0.5 * camera.height / camera.fy)
