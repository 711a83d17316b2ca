"""Rotation matrices, quaternions and rotation vectors are each other's."""

from __future__ import annotations

import numpy as np
import pytest

from taichi_vvc.geometry.rotations import flaw_of, nearest_rotation, quaternion_of, rotation_about, rotation_of


def turns() -> list[np.ndarray]:
    """Rotations of which each branch of the way to a quaternion sees some, half turns among them."""
    rng = np.random.default_rng(0)
    vectors = [*rng.uniform(-3, 3, (60, 3)), *(np.pi * np.eye(3)), *(3.1 * np.eye(3)), np.zeros(3)]
    return [rotation_about(vector) for vector in vectors]


def test_quaternions_and_matrices() -> None:
    largest = set()
    for rotation in turns():
        quaternion = np.array(quaternion_of(rotation))
        largest.add(int(np.argmax(np.abs(quaternion))))
        assert np.linalg.norm(quaternion) == pytest.approx(1.0, abs=1e-14) and quaternion[0] >= 0.0
        for scaled in (quaternion, -2.5 * quaternion):
            np.testing.assert_allclose(rotation_of(scaled), rotation, atol=1e-12)
    assert largest == {0, 1, 2, 3}


def test_a_rotation_is_by_twice_the_angle_of_its_quaternion() -> None:
    half = np.array([0.0, 0.0, np.sin(0.25)])
    np.testing.assert_allclose(rotation_of([np.cos(0.25), *half]), rotation_about(np.array([0.0, 0.0, 0.5])))
    np.testing.assert_allclose(quaternion_of(rotation_about(np.array([0.0, 0.0, 0.5]))), [np.cos(0.25), *half])


def test_rotation_vectors() -> None:
    np.testing.assert_allclose(rotation_about(np.zeros(3)), np.eye(3))
    np.testing.assert_allclose(rotation_about(np.array([0, 0, np.pi / 2])) @ [1, 0, 0], [0, 1, 0], atol=1e-12)
    for rotation in turns():
        np.testing.assert_allclose(rotation @ rotation.T, np.eye(3), atol=1e-12)
        assert np.linalg.det(rotation) == pytest.approx(1.0)


def test_what_is_no_rotation() -> None:
    rotation = turns()[0]
    assert flaw_of(rotation) is None and flaw_of(rotation * 1.0003) is None
    assert flaw_of(rotation * np.array([1.0, 1.0, -1.0])) == "a mirroring"
    assert flaw_of(1.1 * rotation) == "R^T R off the identity by 0.21"
    np.testing.assert_allclose(nearest_rotation(1.0003 * rotation), rotation, atol=1e-12)
