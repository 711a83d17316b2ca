"""Writes a small capture of a hall without masks: walls, floor and ceiling with large patterns, and a ball that rolls.

The hall is far larger than the box that is coded, and the cameras stand in it, around the box. Ray-traced in NumPy.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import captures
import numpy as np
from PIL import Image

from taichi_vvc.geometry.projection import pixel_directions
from taichi_vvc.types import Bounds, Camera

BOUNDS = Bounds((-1.0, -1.0, 0.0), (1.0, 1.0, 1.6))
LOWER, UPPER = np.array([-5.0, -4.0, -0.2]), np.array([5.0, 4.0, 3.5])


def hall_cameras(count: int, width: int = 40, test_cameras: int = 2, height: int | None = None) -> list[Camera]:
    """Cameras in the hall around the box, at two heights; every so many of them is held out."""
    height, focal = height or width * 3 // 4, 0.55 * width
    held_out = {round((k + 0.5) * count / test_cameras) for k in range(test_cameras)} if test_cameras else set()
    cameras = []
    for i in range(count):
        angle = 2 * math.pi * i / count
        position = np.array([3.0 * math.cos(angle), 2.6 * math.sin(angle), 1.0 if i % 2 else 1.9])
        rotation = captures.look_at(position, np.array([0.0, 0.0, 0.7]))
        lens = focal, focal, width / 2, height / 2
        split = "test" if i in held_out else "train"
        cameras.append(Camera(f"cam{i:02d}", width, height, *lens, rotation, position, split=split))
    return cameras


def picture(camera: Camera, time: float, samples: int = 2) -> np.ndarray:
    """(height, width, 3) float, sRGB in [0, 1], ``samples`` x ``samples`` rays per pixel."""
    offsets = (np.arange(samples) + 0.5) / samples
    x = (np.arange(camera.width)[:, None] + offsets).ravel()
    y = (np.arange(camera.height)[:, None] + offsets).ravel()
    d = pixel_directions(camera, np.stack(np.meshgrid(x, y), axis=-1))
    o = camera.position
    with np.errstate(divide="ignore"):
        out = np.where(d > 0, (UPPER - o) / d, (LOWER - o) / d)
    axis, distance = out.argmin(-1), out.min(-1)
    p = o + distance[..., None] * d
    waves = 0.5 + 0.25 * np.sin(1.7 * p @ np.array([1.0, 0.4, 0.3]))[..., None]
    waves = waves + 0.25 * np.sin(1.3 * p[..., [1, 2, 0]] + axis[..., None])
    side = (np.take_along_axis(d, axis[..., None], -1)[..., 0] > 0).astype(float)
    base = np.array([[0.9, 0.6, 0.5], [0.5, 0.8, 0.6], [0.7, 0.7, 0.9]])[axis]
    colour = base * (0.75 + 0.25 * side[..., None]) * np.clip(waves, 0.0, 1.0)
    centre = np.array([-0.5 + 0.1 * time, 0.1, 0.45])
    b = d @ (o - centre)
    inside = b * b - (o - centre) @ (o - centre) + 0.45**2
    hit = inside > 0
    normal = (o + (-b - np.sqrt(np.maximum(inside, 0.0)))[..., None] * d - centre) / 0.45
    ball = np.array([0.95, 0.75, 0.1]) * (0.6 + 0.4 * normal[..., 2:]) * (0.85 + 0.15 * np.sign(normal[..., :1]))
    colour = np.where(hit[..., None], ball, colour)
    return np.asarray(colour.reshape(camera.height, samples, camera.width, samples, 3).mean((1, 3)))


def write_hall(
    folder: Path | str,
    cameras: int = 14,
    frames: int = 2,
    width: int = 40,
    *,
    height: int | None = None,
    test_cameras: int = 2,
    bounds: bool = True,
    time: Callable[[int], float] = float,
) -> Path:
    """Write a capture as ``transforms.json`` and PNGs, and return its folder.

    ``time``: where the ball is in each frame, in frames of its movement.
    """
    folder = Path(folder)
    records = []
    for camera in hall_cameras(cameras, width, test_cameras, height):
        for number in range(frames):
            record: dict[str, Any] = {
                "file_path": f"images/{camera.name}/{number:04d}.png",
                "camera": camera.name,
                "time": number,
                "split": camera.split,
                "transform_matrix": captures.opengl(camera),
            }
            path = folder / record["file_path"]
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(np.rint(255 * picture(camera, time(number))).astype(np.uint8)).save(path)
            records.append(record)
    one = replace(camera, name="")
    document: dict[str, Any] = {"fl_x": one.fx, "fl_y": one.fy, "cx": one.cx, "cy": one.cy, "w": one.width}
    document |= {"h": one.height, "fps": 25, "frames": records}
    if bounds:
        document["aabb"] = [list(BOUNDS.lower), list(BOUNDS.upper)]
    captures.write_document(folder, document)
    return folder
