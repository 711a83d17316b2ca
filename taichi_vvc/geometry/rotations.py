"""Rotations: matrices, quaternions and rotation vectors.

A rotation matrix is (3, 3) float64 and is applied from the left, ``x' = rotation @ x``; those of cameras map camera to
world coordinates. A quaternion is (w, x, y, z), Hamilton's convention; q and -q are the same rotation.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

TOLERANCE = 1e-3
"""What entries of R^T R may be off the identity by: files often carry four to eight decimals."""


def quaternion_of(rotation: np.ndarray) -> tuple[float, float, float, float]:
    """Unit quaternion (w, x, y, z) of a (3, 3) rotation matrix, w >= 0; the stable branch of Shepperd's method."""
    m = np.asarray(rotation, np.float64)
    traces = np.array([m.trace(), 2 * m[0, 0] - m.trace(), 2 * m[1, 1] - m.trace(), 2 * m[2, 2] - m.trace()])
    q = np.empty(4)
    k = int(np.argmax(traces))
    q[k] = 1 + traces[k]
    if k == 0:
        q[1:] = m[2, 1] - m[1, 2], m[0, 2] - m[2, 0], m[1, 0] - m[0, 1]
    else:
        a, b, c = k - 1, k % 3, (k + 1) % 3
        q[0] = m[c, b] - m[b, c]
        q[1 + b] = m[b, a] + m[a, b]
        q[1 + c] = m[c, a] + m[a, c]
    q /= np.linalg.norm(q)
    q = q if q[0] >= 0 else -q
    return tuple(float(v) for v in q)  # type: ignore[return-value]


def rotation_of(quaternion: Sequence[float] | np.ndarray) -> np.ndarray:
    """(3, 3) float64 rotation matrix of a quaternion (w, x, y, z) of any length but 0; it is normalised first."""
    w, x, y, z = np.asarray(quaternion, np.float64) / np.linalg.norm(quaternion)
    return np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
            [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
            [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
        ]
    )


def rotation_about(vector: np.ndarray) -> np.ndarray:
    """The rotation matrix (3, 3) of a rotation vector (3,): axis times angle in radians (Rodrigues' formula)."""
    angle = float(np.linalg.norm(vector))
    if angle < 1e-12:
        return np.eye(3)
    x, y, z = vector / angle
    cross = np.array([[0.0, -z, y], [z, 0.0, -x], [-y, x, 0.0]])
    return np.eye(3) + np.sin(angle) * cross + (1.0 - np.cos(angle)) * (cross @ cross)


def flaw_of(matrix: np.ndarray) -> str | None:
    """What keeps a finite (3, 3) matrix from being a rotation to within :data:`TOLERANCE`, in words; None: nothing."""
    off = float(np.abs(matrix.T @ matrix - np.eye(3)).max())
    if off > TOLERANCE:
        return f"R^T R off the identity by {off:.2g}"
    return "a mirroring" if np.linalg.det(matrix) < 0.0 else None


def nearest_rotation(matrix: np.ndarray) -> np.ndarray:
    """The exact rotation (3, 3) nearest to one whose digits are rounded, see :func:`flaw_of`."""
    u, _, vt = np.linalg.svd(matrix)
    return u @ vt
