"""Markers of the capture's cameras in the player's scene: a pyramid for each, which moves as the camera did."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from taichi_vvc.play.viewport import quaternion
from taichi_vvc.types import Camera

_FITTED, _HELD_OUT = (59, 110, 168), (224, 142, 43)


class Markers:
    """Camera pyramids in a scene of viser. The caller's thread moves them; clicks arrive in viser's threads."""

    def __init__(self, scene: Any, cameras: Sequence[Camera], distance: float, click: Callable[[Any, Camera], None]):
        """Adds the pyramids.

        Args:
            scene: the scene of the viser server.
            cameras: the cameras of the first frame.
            distance: distance of the cameras from the subject, world units, to which the pyramids' size is relative.
            click: called with a browser's handle and the clicked camera, with its pose of that moment.
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
        """Shows or hides all pyramids."""
        for frustum in self._frusta:
            frustum.visible = visible

    def move(self, cameras: Sequence[Camera]) -> None:
        """Moves the pyramids to the cameras' poses at another frame; ``cameras`` in the same order."""
        before, self._cameras = self._cameras, tuple(cameras)
        for frustum, old, new in zip(self._frusta, before, cameras, strict=True):
            if not new.same_as(old):
                frustum.wxyz, frustum.position = quaternion(new.rotation), np.asarray(new.position)
                frustum.fov = angle_of_view(new)


def angle_of_view(camera: Camera) -> float:
    """The vertical angle of view of a camera, radians."""
    return 2 * math.atan(0.5 * camera.height / camera.fy)
