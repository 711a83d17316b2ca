"""Gaussian splats of a surface, in the PLY layout that viewers of splats read.

The layout is that of the reference implementation of "3D Gaussian Splatting" (arXiv 2308.04079,
``scene/gaussian_model.py``): colours as spherical harmonics, opacity before the logistic function, scales as
logarithms, rotations as quaternions with w first.
"""

from __future__ import annotations

import math

import numpy as np

from taichi_vvc.exports.shapes import Points

# The zeroth spherical harmonic, 1 / (2 sqrt(pi)).
HARMONIC0 = 0.28209479177387814

# Measured on rendered captures: discs this wide cover the surface without gaps, and their soft rims add up to more than
# the subject's outline unless they stand behind the surface. docs/notes/exports.md has the trials.
OPACITY = 0.95
"""Of every splat at its centre."""
ACROSS = 0.5
"""Standard deviation of a splat along the surface, in edges of the lattice's cells."""
ALONG = 0.1
"""The same along its normal: a disc."""
SUNK = 0.8
"""How far behind the surface the centres lie, in the same unit."""


def splat_columns(points: Points) -> dict[str, np.ndarray]:
    """The columns of a PLY file of splats, one disc per point: (n,) float32 each, world units."""
    count = len(points.places)

    def all_of(value: float) -> np.ndarray:
        return np.full(count, value, np.float32)

    centres = points.places - SUNK * points.spacing * points.normals
    columns = dict(zip("xyz", centres.astype(np.float32).T, strict=True))
    columns |= dict(zip(("nx", "ny", "nz"), points.normals.astype(np.float32).T, strict=True))
    harmonics = (points.colours - 0.5) / HARMONIC0
    columns |= {f"f_dc_{channel}": harmonics[:, channel].astype(np.float32) for channel in range(3)}
    columns["opacity"] = all_of(math.log(OPACITY / (1.0 - OPACITY)))
    scales = ACROSS, ACROSS, ALONG
    columns |= {f"scale_{axis}": all_of(math.log(scale * points.spacing)) for axis, scale in enumerate(scales)}
    turns = turned_to(points.normals)
    return columns | {f"rot_{part}": turns[:, part].astype(np.float32) for part in range(4)}


def turned_to(normals: np.ndarray) -> np.ndarray:
    """(n, 4) unit quaternions, w first, of the shortest rotations that take +z to unit vectors (n, 3)."""
    x, y, z = np.asarray(normals, np.float64).T
    # Half way between the two; straight down, a half turn about x.
    turns = np.stack((1.0 + z, -y, x, np.zeros_like(x)), 1)
    turns[1.0 + z < 1e-9] = [0.0, 1.0, 0.0, 0.0]
    return turns / np.linalg.norm(turns, axis=1, keepdims=True)
