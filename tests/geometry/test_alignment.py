"""Corrections of cameras: derivatives, one step of alignment, and what cameras have moved in common."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from taichi_vvc.geometry.alignment import alignment, displacement, moved, pixel_motion, without_common
from taichi_vvc.geometry.projection import pixel_directions, project
from taichi_vvc.geometry.rotations import rotation_about
from taichi_vvc.types import Camera

RNG = np.random.default_rng(3)


def looking_at(position: np.ndarray, target: np.ndarray, name: str = "cam") -> Camera:
    forward = (target - position) / np.linalg.norm(target - position)
    right = np.cross(forward, [0.0, 0.0, 1.0])
    right /= np.linalg.norm(right)
    rotation = np.stack([right, np.cross(forward, right), forward], 1)
    return Camera(name, 120, 90, 140.0, 150.0, 57.0, 47.0, rotation, position)


def ring(count: int = 7) -> list[Camera]:
    angles = 2 * np.pi * np.arange(count) / count
    places = np.stack([4 * np.cos(angles), 4 * np.sin(angles), 1 + 0.3 * np.arange(count)], 1)
    return [looking_at(place, np.array([0.1, 0.2, 0.9]), f"cam{k}") for k, place in enumerate(places)]


PLACES = RNG.uniform(-0.8, 0.8, (200, 3)) + [0.0, 0.0, 0.9]


@pytest.mark.parametrize("axis", range(6))
def test_pixels_move_as_their_derivative_says(axis: int) -> None:
    camera, small = ring()[2], 1e-5
    motion = np.zeros(6)
    motion[axis] = small
    after = moved(camera, motion, 2.5)
    shift = (project(after, PLACES)[0] - project(camera, PLACES)[0]) / small
    assert np.allclose(shift, pixel_motion(camera, PLACES, 2.5)[..., axis], rtol=1e-3, atol=1e-2)
    assert np.abs(shift).max() > 1


def drawn(camera: Camera) -> tuple[np.ndarray, np.ndarray]:
    """What a camera sees of a smoothly patterned ball of radius 1.2 around (0, 0, 0.9), and the distances; 0 beside."""
    y, x = np.mgrid[: camera.height, : camera.width]
    directions = pixel_directions(camera, np.stack([x, y], -1) + 0.5)
    away = camera.position - [0.0, 0.0, 0.9]
    b = directions @ away
    root = b * b - (away @ away - 1.2**2)
    depth = np.where(root > 0, -b - np.sqrt(np.maximum(root, 0)), 0.0)
    p = camera.position + directions * depth[..., None]
    waves = np.stack([np.sin(5 * p[..., k] + 2 * p[..., k - 1]) for k in range(3)], -1)
    return np.where((depth > 0)[..., None], 0.5 + 0.4 * waves, 1.0), depth


def test_alignment_finds_how_a_camera_was_moved() -> None:
    camera = ring()[1]
    wanted, depth = drawn(camera)
    rows, columns = np.nonzero(depth)
    surface = camera.position + (
        pixel_directions(camera, np.stack([columns, rows], 1) + 0.5) * depth[rows, columns, None]
    )
    wrong = moved(camera, np.array([0.008, -0.012, 0.01, 0.006, 0.004, -0.008]), 4.0)
    before = displacement(camera, wrong, surface)
    for _ in range(4):
        shown, depth = drawn(wrong)
        wrong = moved(wrong, alignment(wrong, wanted, shown, depth, 4.0), 4.0)
    assert 0.5 < before
    assert displacement(camera, wrong, surface) < 0.2 * before


def test_right_cameras_are_not_moved() -> None:
    camera = ring()[4]
    wanted, depth = drawn(camera)
    assert np.abs(alignment(camera, wanted, wanted, depth, 4.0)).max() < 1e-12


def test_what_is_common_is_taken_off() -> None:
    before = ring()
    turn, shift, scale = rotation_about(np.array([0.004, -0.003, 0.006])), np.array([0.01, -0.02, 0.015]), 1.004
    drifted = [
        replace(c, rotation=turn @ c.rotation, position=scale * turn @ (c.position - 0.2) + 0.2 + shift) for c in before
    ]
    assert min(displacement(a, b, PLACES) for a, b in zip(before, drifted, strict=True)) > 0.3
    kept = without_common(before, drifted, PLACES)
    assert max(displacement(a, b, PLACES) for a, b in zip(before, kept, strict=True)) < 0.02


def test_one_camera_alone_keeps_its_motion() -> None:
    before = ring(12)
    after = list(before)
    after[5] = moved(before[5], np.array([0.0, 0.01, 0.0, 0.0, 0.0, 0.0]), 4.0)
    kept = without_common(before, after, PLACES)
    shifts = [displacement(a, b, PLACES) for a, b in zip(before, kept, strict=True)]
    assert shifts[5] > 1.2
    assert max(shifts[:5] + shifts[6:]) < 0.15
