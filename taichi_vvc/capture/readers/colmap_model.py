"""Reads the ``cameras`` and ``images`` files of a COLMAP model, binary or text.

Intrinsics are in pixels with the centre of the first pixel at (0.5, 0.5). Poses are world to camera, a quaternion
(w, x, y, z) and a translation, with OpenCV axes. The format is that of COLMAP's documentation, "Output Format". Since
version 3.12 a model has rigs and frames, too; the poses of its images include them already.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np

from taichi_vvc.capture.readers.parse import short
from taichi_vvc.errors import DataError
from taichi_vvc.geometry.rotations import rotation_of

Item = TypeVar("Item")

# COLMAP's camera models by their numbers; for those that can be read, the order of fx, fy, cx, cy, k1, k2, p1, p2.
MODELS = (
    "SIMPLE_PINHOLE PINHOLE SIMPLE_RADIAL RADIAL OPENCV OPENCV_FISHEYE FULL_OPENCV FOV SIMPLE_RADIAL_FISHEYE"
    " RADIAL_FISHEYE THIN_PRISM_FISHEYE RAD_TAN_THIN_PRISM_FISHEYE SIMPLE_DIVISION DIVISION SIMPLE_FISHEYE FISHEYE EUCM"
    " EQUIRECTANGULAR"
).split()
PARAMETERS = {
    "SIMPLE_PINHOLE": (0, 0, 1, 2),
    "PINHOLE": (0, 1, 2, 3),
    "SIMPLE_RADIAL": (0, 0, 1, 2, 3),
    "RADIAL": (0, 0, 1, 2, 3, 4),
    "OPENCV": (0, 1, 2, 3, 4, 5, 6, 7),
}


@dataclass(frozen=True)
class ModelCamera:
    """A lens. ``lens``: fx, fy, cx, cy, then distortion k1, k2, p1, p2 as far as the model has it."""

    width: int
    height: int
    lens: tuple[float, ...]


@dataclass(frozen=True)
class ModelImage:
    """A registered picture. ``rotation`` (3, 3) and ``translation`` (3,): world to camera, OpenCV axes."""

    name: str
    rotation: np.ndarray
    translation: np.ndarray
    camera: ModelCamera


def is_model(folder: Path) -> bool:
    """Whether the file of a model's lenses lies in ``folder``, binary or text."""
    return any((folder / f"cameras.{kind}").is_file() for kind in ("bin", "txt"))


def models_in(folder: Path) -> list[Path]:
    """The models in the numbered folders in ``folder``, unsorted; none if there is no such folder."""
    items = folder.iterdir() if folder.is_dir() else ()
    return [item for item in items if item.name.isdecimal() and is_model(item)]


def read_model(folder: Path) -> list[ModelImage]:
    """The registered images of the model in ``folder``, by name; ``.bin`` files go before ``.txt``.

    Raises:
        DataError: files are missing or damaged, or a lens model is not supported.
    """
    binary = (folder / "cameras.bin").is_file() and (folder / "images.bin").is_file()
    kind = "bin" if binary else "txt"
    cameras_file, images_file = folder / f"cameras.{kind}", folder / f"images.{kind}"
    read_cameras, read_images = (_cameras_bin, _images_bin) if binary else (_cameras_txt, _images_txt)
    images = []
    cameras = dict(_whole(cameras_file, read_cameras))
    for name, pose, number in _whole(images_file, read_images):
        if number not in cameras:
            raise DataError(f"{images_file}: expected a camera of {cameras_file.name}, found number {number} of {name}")
        camera = cameras[number]
        where = f"{images_file}: {name}"
        images.append(ModelImage(name, _rotation(pose[:4], where), np.array(pose[4:]), camera))
    if not images:
        raise DataError(f"{images_file}: expected at least one registered image, found none")
    return sorted(images, key=lambda image: image.name)


def _whole(file: Path, read: Callable[[Path], Iterator[Item]]) -> list[Item]:
    """A list of everything that ``read`` yields. Raises DataError for a file that is missing, cut off or invalid."""
    try:
        return list(read(file))
    except OSError as error:
        raise DataError(
            f"{file}: expected a part of a COLMAP model, cannot read it: {error.strerror or error}"
        ) from None
    except (struct.error, ValueError, IndexError, OverflowError, MemoryError) as error:
        line = " ".join(str(error).split())
        raise DataError(f"{file}: expected a part of a COLMAP model, found a damaged file: {line}") from None


def _camera(file: Path, model: str, width: int, height: int, values: tuple[float, ...]) -> ModelCamera:
    if model not in PARAMETERS:
        raise DataError(
            f"{file}: expected a lens model of {', '.join(PARAMETERS)}, found {model}; undistort with COLMAP's"
            " image_undistorter, or calibrate with OPENCV"
        )
    order = PARAMETERS[model]
    if len(values) != max(order) + 1:
        raise ValueError(f"{model} with {len(values)} parameters")
    return ModelCamera(width, height, tuple(values[i] for i in order))


def _cameras_bin(file: Path) -> Iterator[tuple[int, ModelCamera]]:
    data = file.read_bytes()
    (count,), at = struct.unpack_from("<Q", data), 8
    for _ in range(count):
        number, model, width, height = struct.unpack_from("<iiQQ", data, at)
        at += 24
        name = MODELS[model] if 0 <= model < len(MODELS) else f"number {model}"
        if name not in PARAMETERS:
            _camera(file, name, width, height, ())
        length = max(PARAMETERS[name]) + 1
        yield number, _camera(file, name, width, height, struct.unpack_from(f"<{length}d", data, at))
        at += 8 * length


def _images_bin(file: Path) -> Iterator[tuple[str, tuple[float, ...], int]]:
    data = file.read_bytes()
    (count,), at = struct.unpack_from("<Q", data), 8
    for _ in range(count):
        values = struct.unpack_from("<i7di", data, at)
        end = data.index(b"\0", at + 64)
        name = data[at + 64 : end].decode("utf-8")
        (points,) = struct.unpack_from("<Q", data, end + 1)
        at = end + 9 + 24 * points  # x, y and the number of the 3D point, for each feature
        if at > len(data):
            raise ValueError("it ends within the features of an image")
        yield name, values[1:8], values[8]


def _lines(file: Path) -> Iterator[tuple[int, str]]:
    """The lines that are neither empty nor comments, with their numbers."""
    for number, line in enumerate(file.read_text(encoding="utf-8-sig").split("\n"), 1):
        line = line.strip()
        if line and not line.startswith("#"):
            yield number, line


def _cameras_txt(file: Path) -> Iterator[tuple[int, ModelCamera]]:
    for at, line in _lines(file):
        parts = line.split()
        if len(parts) < 4:
            raise ValueError(f"line {at}: expected a number, a lens model, width, height and parameters")
        number, model, width, height, *values = parts
        yield int(number), _camera(file, model, int(width), int(height), tuple(map(float, values)))


def _images_txt(file: Path) -> Iterator[tuple[str, tuple[float, ...], int]]:
    # An image has two lines. The second one, its features, may be empty, and some programs leave it out or insert empty
    # lines. So lines are told apart by their content and not by their number.
    features = False
    for at, line in _lines(file):
        if features and _are_features(line):
            features = False
            continue
        parts = line.split(maxsplit=9)
        try:
            values, camera, name = tuple(map(float, parts[1:8])), int(parts[8]), parts[9]
        except (ValueError, IndexError):
            raise ValueError(
                f"line {at}: expected an image, which is a number, a quaternion, a translation, the number of a camera"
                f" and a name, found {short(line)}"
            ) from None
        features = True
        yield name, values, camera


def _are_features(line: str) -> bool:
    """Whether a line lists features, each with x, y and the number of a 3D point. A line of an image has 10 words."""
    parts = line.split()
    if len(parts) % 3:
        return False
    try:
        # Checking all words would take long, and a file name with spaces shows among the first ones.
        return all(math.isfinite(float(part)) for part in (*parts[:15], *parts[-3:]))
    except ValueError:
        return False


def _rotation(quaternion: tuple[float, ...], where: str) -> np.ndarray:
    """(3, 3) rotation from a quaternion (w, x, y, z) of any length but 0."""
    q = np.array(quaternion, np.float64)
    length = float(np.linalg.norm(q))
    if not np.isfinite(length) or length < 1e-9:
        raise DataError(f"{where}: expected a rotation as a quaternion, found {quaternion}")
    return rotation_of(q)
