"""A set with a patterned floor and backdrop on which a figure walks, with its shadow and the cameras' noise.

The figure, some balls, walks a circle within ``captures.BOUNDS``, so that every place is empty most of the time. Masks
are known: pixels half covered by the figure or more.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import captures
import numpy as np
from layouts import save, write_video

from taichi_vvc.geometry.projection import pixel_directions
from taichi_vvc.types import Camera

FLOOR = -0.8
LIGHT = np.array([1.5, -1.0, 5.0])
DIMMED = 0.6  # what a shadow leaves of the floor's sRGB values
NOISE = 2.0  # 8-bit levels
# Offset from the figure's foot, radius, colour; the third is as grey as the floor's light tiles.
BALLS = (
    ((0.0, 0.0, 0.16), 0.16, (0.75, 0.3, 0.25)),
    ((0.0, 0.0, 0.45), 0.2, (0.3, 0.35, 0.6)),
    ((0.0, 0.0, 0.78), 0.17, (0.62, 0.62, 0.62)),
    ((0.0, 0.0, 1.06), 0.14, (0.85, 0.7, 0.55)),
)


def foot(time: float, frames: int) -> np.ndarray:
    """Where the figure stands, world units: it walks once around the stage."""
    angle = 2.0 * math.pi * time / frames
    return np.array([0.68 * math.cos(angle), 0.68 * math.sin(angle), FLOOR])


class Set:
    """What one camera sees of the empty stage, ready to put the figure into it."""

    def __init__(self, camera: Camera, samples: int = 2) -> None:
        self.camera, self.samples = camera, samples
        offsets = (np.arange(samples) + 0.5) / samples
        x = (np.arange(camera.width)[:, None] + offsets).ravel()
        y = (np.arange(camera.height)[:, None] + offsets).ravel()
        self.rays = pixel_directions(camera, np.stack(np.meshgrid(x, y), axis=-1))
        with np.errstate(divide="ignore"):
            nearest = np.where(self.rays[..., 2] < 0.0, (FLOOR - camera.position[2]) / self.rays[..., 2], np.inf)
        self.ground = nearest < 9.0
        self.nearest = np.where(self.ground, nearest, np.inf)
        self.points = camera.position + np.where(self.ground, nearest, 0.0)[..., None] * self.rays
        self.to_light = LIGHT - self.points
        self.to_light /= np.linalg.norm(self.to_light, axis=-1, keepdims=True)
        self.empty = np.where(self.ground[..., None], _floor(self.points), _backdrop(self.rays))

    def picture(self, at: np.ndarray | None, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """(height, width, 3) uint8; and (height, width) bool, the figure at ``at`` and its shadow; None: nobody."""
        colour, nearest = self.empty.copy(), self.nearest.copy()
        shown, dark = np.zeros(nearest.shape), np.zeros(nearest.shape, bool)
        balls = [] if at is None else [(at + np.array(o), r, np.array(c)) for o, r, c in BALLS]
        for centre, radius, _ in balls:
            dark |= self.ground & _hits(self.points, self.to_light, centre, radius)[0]
        colour[dark] *= DIMMED
        for centre, radius, own in balls:
            hit, distance = _hits(self.camera.position, self.rays, centre, radius)
            hit &= distance < nearest
            normal = (self.camera.position + distance[hit, None] * self.rays[hit] - centre) / radius
            light = 0.6 + 0.4 * np.clip(normal @ (LIGHT / np.linalg.norm(LIGHT)), 0.0, 1.0)
            colour[hit] = light[:, None] * own
            shown[hit], nearest[hit] = 1.0, distance[hit]
        height, width, samples = self.camera.height, self.camera.width, self.samples
        shape = height, samples, width, samples
        colour = 255.0 * colour.reshape(*shape, 3).mean((1, 3))
        colour += np.random.default_rng(seed).normal(0.0, NOISE, colour.shape)
        figure = shown.reshape(shape).mean((1, 3))
        shadow = dark.reshape(shape).all((1, 3)) & (figure == 0.0)
        return np.rint(np.clip(colour, 0, 255)).astype(np.uint8), figure >= 0.5, shadow


def _hits(origins: np.ndarray, rays: np.ndarray, centre: np.ndarray, radius: float) -> tuple[np.ndarray, np.ndarray]:
    offset = origins - centre
    b = (rays * offset).sum(-1)
    inside = b * b - (offset**2).sum(-1) + radius * radius
    distance = -b - np.sqrt(np.maximum(inside, 0.0))
    return (inside > 0.0) & (distance > 0.0), distance


def _floor(points: np.ndarray) -> np.ndarray:
    tiles = np.floor(points[..., :2] / 0.3).astype(int).sum(-1) % 2
    return np.where(tiles[..., None] > 0, np.array([0.72, 0.72, 0.72]), np.array([0.5, 0.42, 0.34]))


def _backdrop(rays: np.ndarray) -> np.ndarray:
    angle = np.arctan2(rays[..., 1], rays[..., 0])
    stripes = 0.5 + 0.5 * np.sin(40.0 * angle) * np.sign(np.sin(30.0 * rays[..., 2]))
    return np.stack((0.35 + 0.2 * stripes, 0.45 + 0.1 * stripes, 0.5 - 0.1 * stripes), axis=-1)


def write_stage(
    folder: Path,
    cameras: int = 8,
    frames: int = 12,
    size: int = 96,
    *,
    video: bool = False,
    still: bool = False,
) -> tuple[list[list[np.ndarray]], list[list[np.ndarray]]]:
    """Writes the capture, and plates in ``folder/empty``; returns ``masks[frame][camera]``, and the shadows so, too.

    The last camera is held out. ``video``: one video per camera; ``still``: the figure stays where it is.
    """
    rig = captures.ring_cameras(cameras, size, 1)
    masks: list[list[np.ndarray]] = [[] for _ in range(frames)]
    shadows: list[list[np.ndarray]] = [[] for _ in range(frames)]
    records = []
    for number, camera in enumerate(rig):
        stage, seed = Set(camera), 1000 * number
        taken = []
        for time in range(frames):
            image, mask, shadow = stage.picture(foot(0 if still else time, frames), seed + time)
            taken.append(image)
            masks[time].append(mask)
            shadows[time].append(shadow)
        shared = {"camera": camera.name, "split": camera.split, "transform_matrix": captures.opengl(camera)}
        if video:
            write_video(folder / f"{camera.name}.mp4", taken, fps=25)
            records.append({"file_path": f"{camera.name}.mp4", **shared})
        else:
            for time, image in enumerate(taken):
                name = f"images/{camera.name}/{time:04d}.png"
                save(folder / name, image)
                records.append({"file_path": name, "time": time, **shared})
        save(folder / "empty" / f"{camera.name}.png", stage.picture(None, seed + 999)[0])
    one = rig[0]
    document: dict[str, Any] = {"fl_x": one.fx, "fl_y": one.fy, "cx": one.cx, "cy": one.cy, "w": size, "h": size}
    document |= {"fps": 25, "frames": records}
    document["aabb"] = [list(captures.BOUNDS.lower), list(captures.BOUNDS.upper)]
    (folder / "transforms.json").write_text(json.dumps(document), encoding="utf-8")
    return masks, shadows


def iou(found: Sequence[Sequence[np.ndarray]], truth: Sequence[Sequence[np.ndarray]]) -> float:
    """Intersection over union of all masks of all frames together."""
    pairs = [pair for a, b in zip(found, truth, strict=True) for pair in zip(a, b, strict=True)]
    return sum(int((a & b).sum()) for a, b in pairs) / max(1, sum(int((a | b).sum()) for a, b in pairs))
