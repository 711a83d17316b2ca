"""Pictures of a decoded frame for compositing: colour, opacity and depth in 16-bit PNG or in OpenEXR."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np

from taichi_vvc.errors import DataError
from taichi_vvc.exports.surface import required
from taichi_vvc.field.render import Image
from taichi_vvc.geometry.projection import pixel_directions
from taichi_vvc.media.video import atomic, one_line
from taichi_vvc.types import Camera


def straight(image: Image) -> np.ndarray:
    """(height, width, 4) float32 sRGB in [0, 1] with straight alpha, of an image that was rendered on black."""
    opacity = image.opacity[..., None]
    colour = np.clip(image.colour / np.maximum(opacity, 1e-6), 0.0, 1.0)
    return np.concatenate((colour * (opacity > 0.0), opacity), axis=2).astype(np.float32)


def axial_depth(image: Image, camera: Camera) -> np.ndarray:
    """(height, width) float32: depth along the camera's axis, world units; 0 where nothing is.

    A rendered image has distances along its rays.
    """
    x, y = np.meshgrid(np.arange(camera.width) + 0.5, np.arange(camera.height) + 0.5)
    cosines = pixel_directions(camera, np.stack((x, y), -1)) @ np.asarray(camera.rotation)[:, 2]
    return (image.depth * np.nan_to_num(cosines)).astype(np.float32)


def write_png16(path: str | Path, picture: np.ndarray) -> None:
    """Writes (height, width, 4) values in [0, 1] as a 16-bit RGBA PNG (ISO/IEC 15948), whole or not at all.

    Raises:
        DataError: the file cannot be written.
    """
    values = np.rint(np.clip(picture, 0.0, 1.0) * 65535.0).astype(">u2")
    height, width, channels = values.shape
    if channels != 4:
        raise DataError(f"{path}: expected pictures with four channels, found {channels}")
    # Each row begins with its filter; 1 is the difference to the pixel before, byte by byte.
    rows = values.view(np.uint8).reshape(height, width * 8)
    filtered = np.zeros((height, 1 + width * 8), np.uint8)
    filtered[:, 0] = 1
    filtered[:, 1:] = rows
    filtered[:, 9:] -= rows[:, :-8]
    # Sixteen bits, truecolour with alpha, no interlace; the values are sRGB.
    head = struct.pack(">IIBBBBB", width, height, 16, 6, 0, 0, 0)
    parts = ((b"IHDR", head), (b"sRGB", b"\0"), (b"IDAT", zlib.compress(filtered.tobytes(), 6)), (b"IEND", b""))
    with atomic(path) as temporary, one_line(path), temporary.open("wb") as file:
        file.write(b"\x89PNG\r\n\x1a\n")
        for kind, data in parts:
            file.write(struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)))


def write_exr(path: str | Path, picture: np.ndarray, depth: np.ndarray) -> None:
    """Writes an OpenEXR file as compositors expect it: linear light, premultiplied, and Z.

    Args:
        path: of the file.
        picture: (height, width, 4) sRGB in [0, 1] with straight alpha; written as half floats.
        depth: (height, width) along the camera's axis, world units, 0 where nothing is; written as floats, there as
            infinity.

    Raises:
        ConfigError: the package OpenEXR is not installed.
        DataError: the file cannot be written.
    """
    exr = required("OpenEXR", "OpenEXR")
    srgb, alpha = picture[..., :3].astype(np.float64), picture[..., 3:]
    light = np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4) * alpha
    channels = {
        "RGBA": np.concatenate((light, alpha), 2).astype(np.float16),
        "Z": np.where(depth > 0.0, depth, np.inf).astype(np.float32),
    }
    header = {"compression": exr.ZIP_COMPRESSION, "type": exr.scanlineimage}
    with atomic(path) as temporary, one_line(path):
        try:
            with exr.File(header, channels) as file:
                file.write(str(temporary))
        except RuntimeError as error:  # the library's way to say that a file cannot be written
            raise DataError(f"{path}: cannot write: {error}") from None
