"""Writes small captures of an analytic scene, two shaded spheres that move, for tests to read back.

The scene fits the box ``BOUNDS``; +z is up. Cameras stand on a ring around it, every picture is ray-traced in NumPy.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from taichi_vvc.geometry.projection import pixel_directions
from taichi_vvc.types import Bounds, Camera

BOUNDS = Bounds((-1.0, -1.0, -1.0), (1.0, 1.0, 1.0))
FOV_X = math.radians(36)
DISTANCE = 4.0


def spheres(time: float) -> list[tuple[np.ndarray, float, np.ndarray]]:
    """(centre, radius, colour) of each sphere; ``time`` counts frames."""
    angle = 0.15 * time
    first = np.array([0.35 * math.cos(angle), 0.35 * math.sin(angle), -0.2])
    second = np.array([-0.4, 0.1, 0.35 + 0.04 * time])
    return [(first, 0.45, np.array([0.9, 0.3, 0.2])), (second, 0.3, np.array([0.2, 0.5, 0.9]))]


def look_at(position: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Camera-to-world rotation with OpenCV axes, +z up."""
    forward = (target - position) / np.linalg.norm(target - position)
    right = np.cross(forward, [0.0, 0.0, 1.0])
    right /= np.linalg.norm(right)
    return np.stack((right, np.cross(forward, right), forward), axis=1)


def ring_cameras(
    count: int, size: int | tuple[int, int], test_cameras: int = 1, lens: Sequence[float] = (0.0, 0.0, 0.0, 0.0)
) -> list[Camera]:
    """Cameras around the origin at alternating heights; the last ``test_cameras`` are held out."""
    width, height = (size, size) if isinstance(size, int) else size
    focal = 0.5 * width / math.tan(0.5 * FOV_X)
    cameras = []
    for i in range(count):
        azimuth, elevation = 2 * math.pi * i / count, math.radians(12 if i % 2 else 35)
        position = DISTANCE * np.array(
            [math.cos(elevation) * math.cos(azimuth), math.cos(elevation) * math.sin(azimuth), math.sin(elevation)]
        )
        rotation = look_at(position, np.zeros(3))
        split = "test" if i >= count - test_cameras else "train"
        name = f"cam{i:02d}"
        cameras.append(
            Camera(name, width, height, focal, focal, width / 2, height / 2, rotation, position, *lens, split=split)
        )
    return cameras


def trace(camera: Camera, time: float, samples: int = 3) -> np.ndarray:
    """(height, width, 4) uint8: the scene with straight alpha, ``samples`` x ``samples`` rays per pixel."""
    offsets = (np.arange(samples) + 0.5) / samples
    x = (np.arange(camera.width)[:, None] + offsets).ravel()
    y = (np.arange(camera.height)[:, None] + offsets).ravel()
    directions = pixel_directions(camera, np.stack(np.meshgrid(x, y), axis=-1))
    nearest = np.full(directions.shape[:2], np.inf)
    rgba = np.zeros((*directions.shape[:2], 4))
    light = np.array([0.4, 0.3, 0.85])
    for centre, radius, colour in spheres(time):
        offset = camera.position - centre
        b = directions @ offset
        inside = b * b - offset @ offset + radius * radius
        distance = -b - np.sqrt(np.maximum(inside, 0.0))
        hit = (inside > 0.0) & (distance > 0.0) & (distance < nearest)
        normal = (camera.position + distance[..., None] * directions - centre) / radius
        shade = 0.45 + 0.55 * np.clip(normal @ light / np.linalg.norm(light), 0.0, 1.0)
        stripes = 0.8 + 0.2 * np.sign(np.sin(9.0 * normal[..., 2]))
        rgba[hit, :3] = (colour * (shade * stripes)[..., None])[hit]
        rgba[hit, 3] = 1.0
        nearest[hit] = distance[hit]
    rgba[..., :3] *= rgba[..., 3:]
    rgba = rgba.reshape(camera.height, samples, camera.width, samples, 4).mean((1, 3))
    rgba[..., :3] /= np.maximum(rgba[..., 3:], 1e-9)
    return np.rint(rgba * 255).astype(np.uint8)


def opengl(camera: Camera) -> list[list[float]]:
    """The camera-to-world matrix as ``transforms.json`` has it."""
    pose = np.eye(4)
    pose[:3, :3] = camera.rotation * np.array([1.0, -1.0, -1.0])
    pose[:3, 3] = camera.position
    return pose.tolist()


def write_capture(
    folder: Path | str,
    cameras: int = 8,
    frames: int = 3,
    size: int | tuple[int, int] = 48,
    masks: str | None = "alpha",
    *,
    test_cameras: int = 1,
    lens: Sequence[float] = (0.0, 0.0, 0.0, 0.0),
    bounds: bool = True,
    fps: float | str | None = 25,
    background: tuple[float, float, float] = (0.25, 0.3, 0.35),
) -> Path:
    """Write a capture as ``transforms.json`` and PNGs, and return its folder.

    Args:
        masks: ``"alpha"`` for RGBA pictures, ``"file"`` for RGB with separate masks, None for RGB without masks; RGB
            pictures show the scene on ``background``.
        test_cameras: how many of the last cameras are held out.
        lens: k1, k2, p1, p2.
        bounds: whether the file states ``aabb``.
    """
    folder = Path(folder)
    rig = ring_cameras(cameras, size, test_cameras, lens)
    records = []
    for camera in rig:
        for time in range(frames):
            rgba = trace(camera, time)
            record: dict[str, Any] = {
                "file_path": f"images/{camera.name}/{time:04d}.png",
                "camera": camera.name,
                "time": time,
                "split": camera.split,
                "transform_matrix": opengl(camera),
            }
            image = folder / record["file_path"]
            image.parent.mkdir(parents=True, exist_ok=True)
            if masks == "alpha":
                Image.fromarray(rgba).save(image)
            else:
                alpha = rgba[..., 3:] / 255.0
                rgb = rgba[..., :3] * alpha + 255.0 * np.array(background) * (1.0 - alpha)
                Image.fromarray(np.rint(rgb).astype(np.uint8)).save(image)
            if masks == "file":
                record["mask_path"] = f"masks/{camera.name}/{time:04d}.png"
                (folder / record["mask_path"]).parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(rgba[..., 3]).save(folder / record["mask_path"])
            records.append(record)
    one = rig[0]
    document: dict[str, Any] = {"fl_x": one.fx, "fl_y": one.fy, "cx": one.cx, "cy": one.cy}
    document |= {"w": one.width, "h": one.height, **dict(zip(("k1", "k2", "p1", "p2"), lens, strict=True))}
    if fps is not None:
        document["fps"] = fps
    if bounds:
        document["aabb"] = [list(BOUNDS.lower), list(BOUNDS.upper)]
    write_document(folder, {**document, "frames": records})
    return folder


def read_document(folder: Path) -> dict[str, Any]:
    """The capture's JSON, to be changed by a test."""
    return json.loads((folder / "transforms.json").read_text(encoding="utf-8"))


def write_document(folder: Path, document: dict[str, Any]) -> None:
    """Write the capture's JSON."""
    (folder / "transforms.json").write_text(json.dumps(document), encoding="utf-8")


class Emptied:
    """An opened capture in which the masks are emptied for which ``empty(frame, view)`` is True."""

    def __init__(self, sequence: Any, empty: Callable[[int, Any], bool]) -> None:
        self.sequence, self.empty = sequence, empty

    def __getattr__(self, name: str) -> Any:
        return getattr(self.sequence, name)

    def __len__(self) -> int:
        return len(self.sequence)

    def frame(self, i: int, split: str | None = None) -> Any:
        """The views of a frame."""
        views = self.sequence.frame(i, split)
        blank = [replace(v, image=np.zeros_like(v.image)) if self.empty(i, v) else v for v in views.views]
        return replace(views, views=tuple(blank))


def plant_colours(folder: Path, gains: dict[str, tuple[float, float, float]]) -> None:
    """Multiplies the colours of cameras in a capture's pictures, as other exposures would."""
    for name, gain in gains.items():
        for file in (folder / "images" / name).iterdir():
            pixels = np.array(Image.open(file))
            pixels[..., :3] = np.clip(np.rint(pixels[..., :3] * np.array(gain)), 0, 255)
            Image.fromarray(pixels).save(file)
