"""A capture whose cameras move, zoom and have distorted lenses, in the scene of ``captures.py``."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
from captures import BOUNDS, look_at, opengl, ring_cameras, trace, write_document
from PIL import Image

from taichi_vvc.geometry.projection import project
from taichi_vvc.types import Camera

LENS = {"k1": -0.12, "k2": 0.03, "p1": 0.004, "p2": -0.003}
COUNT = 6


def turned(camera: Camera, angle: float, target: tuple[float, float, float] = (0.0, 0.0, 0.0)) -> Camera:
    """The camera carried around the z axis, looking at ``target``."""
    c, s = math.cos(angle), math.sin(angle)
    position = np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]]) @ camera.position
    return replace(camera, position=position, rotation=look_at(position, np.array(target)))


def cameras_at(frame: int, size: int = 64) -> list[Camera]:
    """One goes around, one shakes, one zooms, one comes nearer; the first and the fifth stand still."""
    still, around, shaking, zooming, other, nearing = ring_cameras(COUNT, size)
    shaken = shaking.position + np.array([0.3, -0.2, 0.25]) * math.sin(1.7 * frame)
    zoom = 1 + 0.05 * frame
    return [
        replace(still, **LENS),
        turned(around, 0.06 * frame + 0.01 * frame * frame),
        replace(shaking, position=shaken, rotation=look_at(shaken, np.array([0, 0, 0.1 * frame]))),
        replace(zooming, fx=zooming.fx * zoom, fy=zooming.fy * zoom, cx=zooming.cx + 0.5 * frame),
        other,
        replace(nearing, position=nearing.position * (1 - 0.05 * frame), **LENS),
    ]


def farthest_apart(a: Camera, b: Camera) -> float:
    """The largest distance, pixels, between two cameras' projections of a point, for a ball that fills the bounds."""
    around = np.random.default_rng(0).normal(size=(400, 3))
    points = 0.9 * around / np.linalg.norm(around, axis=1, keepdims=True)
    found = [project(camera, points)[0] for camera in (a, b)]
    assert np.isfinite(found).all()
    return float(np.linalg.norm(found[0] - found[1], axis=1).max())


def write_moving(
    folder: Path, frames: int = 4, size: int = 64, cameras: Callable[[int, int], list[Camera]] = cameras_at
) -> Path:
    """Write ``frames`` moments of the cameras as ``transforms.json`` and RGBA pictures; the last one is held out."""
    records = []
    for frame in range(frames):
        for camera in cameras(frame, size):
            name = f"images/{camera.name}/{frame:04d}.png"
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(trace(camera, frame)).save(folder / name)
            lens = {key: getattr(camera, key) for key in ("cx", "cy", "k1", "k2", "p1", "p2")}
            records.append(
                {
                    "file_path": name,
                    "camera": camera.name,
                    "time": frame,
                    "split": camera.split,
                    "transform_matrix": opengl(camera),
                    "fl_x": camera.fx,
                    "fl_y": camera.fy,
                    "w": camera.width,
                    "h": camera.height,
                    **lens,
                }
            )
    write_document(folder, {"fps": 25, "aabb": [list(BOUNDS.lower), list(BOUNDS.upper)], "frames": records})
    return folder
