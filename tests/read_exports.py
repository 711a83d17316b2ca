"""Reads exports by packages that others wrote (trimesh, plyfile, SciPy), and draws them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import plyfile
import trimesh
from rasters import draw_splats, draw_triangles
from scipy.spatial.transform import Rotation

from taichi_vvc.types import Camera

# Of the zeroth spherical harmonic.
HARMONIC = 0.28209479177387814


def read_mesh(path: Path) -> trimesh.Trimesh:
    """The one mesh of a .glb, below its root node: in the coordinates of the capture."""
    scene = trimesh.load_scene(path)
    (name,) = scene.geometry
    return scene.geometry[name]


def mesh_colours(part: trimesh.Trimesh) -> np.ndarray:
    """(n, 3) sRGB in [0, 1]; the file has linear values of 16 bits."""
    stored = part.visual.vertex_attributes["color"]
    assert stored.dtype == np.uint16
    linear = stored[:, :3] / 65535.0
    return np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * np.maximum(linear, 1e-9) ** (1 / 2.4) - 0.055)


def read_points(path: Path) -> np.ndarray:
    """The vertices of a .ply, a structured array."""
    return plyfile.PlyData.read(path)["vertex"].data


def columns(table: np.ndarray, *names: str) -> np.ndarray:
    """(n, names) float64: some columns of :func:`read_points`."""
    return np.stack([table[name].astype(float) for name in names], 1)


def turns_of(table: np.ndarray) -> np.ndarray:
    """(n, 3, 3) rotations of splats. SciPy has w last, the files first."""
    return Rotation.from_quat(columns(table, "rot_1", "rot_2", "rot_3", "rot_0")).as_matrix()


def draw_export(path: Path, camera: Camera) -> tuple[np.ndarray, np.ndarray]:
    """Premultiplied colours and coverage of a mesh (.glb) or of splats (.ply), see ``rasters.py``."""
    if path.suffix == ".glb":
        part = read_mesh(path)
        return draw_triangles(camera, part.vertices, part.faces, mesh_colours(part))
    table = read_points(path)
    return draw_splats(
        camera,
        columns(table, "x", "y", "z"),
        turns_of(table),
        np.exp(columns(table, "scale_0", "scale_1", "scale_2")),
        1.0 / (1.0 + np.exp(-table["opacity"].astype(float))),
        np.clip(0.5 + HARMONIC * columns(table, "f_dc_0", "f_dc_1", "f_dc_2"), 0.0, 1.0),
    )
