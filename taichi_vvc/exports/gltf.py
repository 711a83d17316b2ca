"""Binary glTF 2.0 files (.glb): meshes with colours, nodes, cameras, and animations that show one node at a time.

Section numbers are those of the Khronos specification, version 2.0.1.
"""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from taichi_vvc._version import __version__
from taichi_vvc.media.video import atomic, one_line
from taichi_vvc.types import Camera

# Component types and targets, sections 3.6.2.2 and 5.11.5.
_TYPES = {np.dtype("<f4"): 5126, np.dtype("<u4"): 5125, np.dtype("<u2"): 5123}
_SHAPES = {1: "SCALAR", 2: "VEC2", 3: "VEC3", 4: "VEC4"}
_VERTICES, _INDICES = 34962, 34963


class Document:
    """A glTF scene that is put together node by node, with the buffer behind it.

    Attributes:
        root: number of the node that all others hang from.
    """

    def __init__(self, to_y_up: np.ndarray) -> None:
        """Begin a scene.

        Args:
            to_y_up: (3, 3) rotation from world coordinates to those of glTF, where +y is up (section 3.4). It is the
                root's, so that all below the root is in the world's own coordinates.
        """
        self._json: dict[str, Any] = {
            "asset": {"version": "2.0", "generator": f"taichi_vvc {__version__}"},
            "scene": 0,
            "scenes": [{"nodes": [0]}],
            "nodes": [{"name": "world", "children": []}],
        }
        matrix = np.eye(4)
        matrix[:3, :3] = to_y_up
        if not np.array_equal(matrix, np.eye(4)):
            # Column by column, section 3.5.3.
            self._json["nodes"][0]["matrix"] = matrix.T.reshape(-1).tolist()
        self.root = 0
        self._parts: list[bytes] = []
        self._size = 0

    def _add(self, name: str, entry: dict[str, Any]) -> int:
        entries = self._json.setdefault(name, [])
        entries.append(entry)
        return len(entries) - 1

    def _accessor(self, values: np.ndarray, target: int | None = None, **more: Any) -> int:
        """Number of an accessor of (n,) or (n, k) values; views begin at multiples of four (section 3.6.2.4)."""
        data = np.ascontiguousarray(values)
        raw = data.tobytes()
        view: dict[str, Any] = {"buffer": 0, "byteOffset": self._size, "byteLength": len(raw)}
        if target is not None:
            view["target"] = target
        self._parts.append(raw + b"\0" * (-len(raw) % 4))
        self._size += len(self._parts[-1])
        accessor = {
            "bufferView": self._add("bufferViews", view),
            "componentType": _TYPES[data.dtype.newbyteorder("<")],
            "count": len(data),
            "type": _SHAPES[1 if data.ndim == 1 else data.shape[1]],
        }
        return self._add("accessors", accessor | more)

    def node(self, name: str, **more: Any) -> int:
        """Number of a new node below the root."""
        number = self._add("nodes", {"name": name, **more})
        self._json["nodes"][self.root]["children"].append(number)
        return number

    def add_mesh(
        self, name: str, places: np.ndarray, normals: np.ndarray, colours: np.ndarray, triangles: np.ndarray
    ) -> int:
        """Number of a new node with a mesh.

        Args:
            name: of mesh and node.
            places: (n, 3) vertices, world.
            normals: (n, 3) unit length.
            colours: (n, 3) sRGB in [0, 1], written as linear 16-bit values, which the format demands (section 3.7.2.1).
            triangles: (m, 3) vertices, counter-clockwise seen from the front.
        """
        places = places.astype("<f4")
        box = {"min": places.min(0).tolist(), "max": places.max(0).tolist()}
        attributes = {
            "POSITION": self._accessor(places, _VERTICES, **box),
            "NORMAL": self._accessor(normals.astype("<f4"), _VERTICES),
            "COLOR_0": self._accessor(_linear16(colours), _VERTICES, normalized=True),
        }
        indices = self._accessor(triangles.astype("<u4").reshape(-1), _INDICES)
        primitive = {"attributes": attributes, "indices": indices, "material": self._material(), "mode": 4}
        mesh = self._add("meshes", {"name": name, "primitives": [primitive]})
        return self.node(name, mesh=mesh)

    def _material(self) -> int:
        """The one material: the colours have the light of the capture in them, so that no other light falls on it."""
        if "materials" not in self._json:
            self._json["extensionsUsed"] = ["KHR_materials_unlit"]
            surface = {"baseColorFactor": [1, 1, 1, 1], "metallicFactor": 0.0, "roughnessFactor": 1.0}
            unlit: dict[str, Any] = {"KHR_materials_unlit": {}}
            self._add("materials", {"name": "captured", "pbrMetallicRoughness": surface, "extensions": unlit})
        return 0

    def add_camera(self, camera: Camera, far: float) -> int:
        """Number of a new node with a camera.

        glTF has no principal point and no lens distortion: pictures of a lens that is off its centre differ. The angle
        of view is that of the focal length.

        Args:
            camera: of the capture.
            far: distance that it sees to, world units.
        """
        lens = {
            "yfov": 2.0 * math.atan(0.5 * camera.height / camera.fy),
            "aspectRatio": camera.width / camera.height * camera.fy / camera.fx,
            "znear": far * 1e-4,
            "zfar": far,
        }
        number = self._add("cameras", {"name": camera.name, "type": "perspective", "perspective": lens})
        pose = np.eye(4)
        # Cameras of glTF look along -z with +y up (section 3.10.1), ours along +z with +y down.
        pose[:3, :3] = np.asarray(camera.rotation) * [1.0, -1.0, -1.0]
        pose[:3, 3] = camera.position
        return self.node(camera.name, camera=number, matrix=pose.T.reshape(-1).tolist())

    def show_in_turn(self, nodes: Sequence[int], times: Sequence[float]) -> None:
        """Animates nodes so that each is shown from its own time to the next one's: others have a scale of 0.

        Args:
            nodes: their numbers.
            times: when each appears, seconds, and when the last one's time is over; ascending, one more than nodes.
        """
        clock = self._accessor(
            np.array(times, "<f4"), min=[float(np.float32(times[0]))], max=[float(np.float32(times[-1]))]
        )
        channels, samplers = [], []
        for position, node in enumerate(nodes):
            scale = np.zeros((len(times), 3), "<f4")
            scale[position] = 1.0
            if position == len(nodes) - 1:
                scale[-1] = 1.0
            samplers.append({"input": clock, "interpolation": "STEP", "output": self._accessor(scale)})
            target = {"node": node, "path": "scale"}
            channels.append({"sampler": len(samplers) - 1, "target": target})
            # What is seen where animations are not played: the first frame.
            self._json["nodes"][node]["scale"] = [1.0] * 3 if position == 0 else [0.0] * 3
        self._add("animations", {"name": "frames", "channels": channels, "samplers": samplers})

    def write(self, path: str | Path) -> None:
        """Writes the file, whole or not at all (section 4.4).

        Raises:
            DataError: it cannot be written.
        """
        if self._size:
            self._json["buffers"] = [{"byteLength": self._size}]
        text = json.dumps(self._json, separators=(",", ":")).encode()
        text += b" " * (-len(text) % 4)
        chunks = [(b"JSON", [text], len(text))]
        if self._size:
            chunks.append((b"BIN\0", self._parts, self._size))
        total = 12 + sum(8 + size for _, _, size in chunks)
        with atomic(path) as temporary, one_line(path), temporary.open("wb") as file:
            file.write(struct.pack("<4sII", b"glTF", 2, total))
            for kind, parts, size in chunks:
                file.write(struct.pack("<I4s", size, kind))
                for part in parts:
                    file.write(part)


def _linear16(colours: np.ndarray) -> np.ndarray:
    """(n, 4) uint16 linear RGBA of (n, 3) sRGB (IEC 61966-2-1); eight bits would show steps in dark places."""
    srgb = np.clip(np.asarray(colours, np.float64), 0.0, 1.0)
    linear = np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)
    result = np.full((len(srgb), 4), 65535, "<u2")
    result[:, :3] = np.rint(linear * 65535.0)
    return result


def y_up(up: np.ndarray) -> np.ndarray:
    """(3, 3) the rotation that takes ``up``, (3,) unit length, to +y by the shortest way."""
    u = np.asarray(up, np.float64)
    axis, cosine = np.cross(u, [0.0, 1.0, 0.0]), float(u[1])
    if cosine < -1.0 + 1e-9:
        return np.diag([1.0, -1.0, -1.0])
    skew = np.array([[0.0, -axis[2], axis[1]], [axis[2], 0.0, -axis[0]], [-axis[1], axis[0], 0.0]])
    return np.eye(3) + skew + skew @ skew / (1.0 + cosine)
