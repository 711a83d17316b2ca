"""Pictures from disk as straight-alpha RGBA, and their exact reduction by area averaging."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from taichi_vvc.errors import DataError


def image_size(path: Path) -> tuple[int, int]:
    """(width, height) in pixels from the file's header; nothing is decoded.

    Raises:
        DataError: the file is missing or is no image.
    """
    with _open(path) as picture:
        return picture.size


def read_rgba(path: Path, mask: Path | None = None) -> np.ndarray:
    """One picture as (height, width, 4) uint8, sRGB with straight alpha.

    Pictures without alpha get 255. A mask file's brightness (its largest channel; 0 and 1 count as 0 and 255)
    multiplies the alpha. 16-bit pictures are reduced to 8 bit. EXIF orientation is not applied: the calibration
    belongs to the pixels as they are stored.

    Raises:
        DataError: a file is missing, damaged or no image, or the mask's size differs from the picture's.
    """
    rgba = _decode(path)
    if mask is not None:
        drawn = _decode(mask)
        if drawn.shape != rgba.shape:
            raise DataError(
                f"{mask}: expected a mask of the size of its picture {path.name}, {_wh(rgba)}, found {_wh(drawn)}"
            )
        weight = drawn[..., :3].max(axis=2)
        if weight.max(initial=0) == 1:
            weight = weight * np.uint8(255)
        alpha = rgba[..., 3].astype(np.uint16) * weight
        rgba[..., 3] = (alpha + 127) // 255
    return rgba


def reduced_size(width: int, height: int, factor: int) -> tuple[int, int]:
    """The size of a picture reduced by ``factor``: each side divided and rounded to the nearest whole, at least 1."""
    return max(1, (2 * width + factor) // (2 * factor)), max(1, (2 * height + factor) // (2 * factor))


def area_reduce(image: np.ndarray, factor: int) -> np.ndarray:
    """Reduce a picture by averaging areas, weighted by alpha.

    The result has :func:`reduced_size` pixels and covers exactly the same field of view, nothing is cropped: where a
    side is not divisible by ``factor``, every output pixel covers the same slightly larger or smaller area and input
    pixels on a border count by the part that is covered. ``Camera.resized`` gives the matching camera.

    Args:
        image: (height, width, 4) uint8, straight alpha.
        factor: 1 or more.

    Returns:
        (height', width', 4) uint8, straight alpha; RGB is 0 where alpha is 0.
    """
    if factor == 1:
        return image
    height, width = image.shape[:2]
    new_width, new_height = reduced_size(width, height, factor)
    alpha = image[..., 3:].astype(np.float32)
    planes = np.concatenate((image[..., :3] * alpha, alpha), axis=2)
    planes = _average(_average(planes, new_height, 0), new_width, 1)
    covered = planes[..., 3:]
    planes[..., :3] /= np.where(covered > 0.0, covered, 1.0)
    out = np.clip(np.rint(planes), 0, 255).astype(np.uint8)
    out[out[..., 3] == 0] = 0
    return out


def _average(planes: np.ndarray, count: int, axis: int) -> np.ndarray:
    """Means over ``count`` equal intervals of one axis (0 or 1), fractional at the borders."""
    length = planes.shape[axis]
    if length % count == 0:
        shape = planes.shape[:axis] + (count, length // count) + planes.shape[axis + 1 :]
        return planes.reshape(shape).mean(axis=axis + 1)
    # The integral of the row as a piecewise linear function, read at the interval ends.
    padding = [(1, 0) if a == axis else (0, 0) for a in range(planes.ndim)]
    integral = np.pad(np.cumsum(planes, axis=axis, dtype=np.float64), padding)
    ends = np.arange(count + 1) * (length / count)
    low = np.minimum(ends.astype(int), length - 1)
    part = np.expand_dims(ends - low, (1, 2) if axis == 0 else (0, 2))
    at_ends = np.take(integral, low, axis) * (1.0 - part) + np.take(integral, low + 1, axis) * part
    return (np.diff(at_ends, axis=axis) * (count / length)).astype(np.float32)


def _wh(image: np.ndarray) -> str:
    return f"{image.shape[1]}x{image.shape[0]}"


def _open(path: Path) -> Image.Image:
    try:
        return Image.open(path)
    except FileNotFoundError:
        raise DataError(f"{path}: expected an image, found no such file") from None
    except (UnidentifiedImageError, OSError, ValueError, Image.DecompressionBombError) as error:
        raise DataError(f"{path}: expected an image (PNG, JPEG ...), cannot read it: {_line(error)}") from None


def _decode(path: Path) -> np.ndarray:
    with _open(path) as picture, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            if picture.mode in ("I", "I;16", "I;16B", "I;16L", "I;16N"):
                grey = (np.asarray(picture).astype(np.int64) >> 8).clip(0, 255).astype(np.uint8)
                rgba = np.full((*grey.shape, 4), 255, np.uint8)
                rgba[..., :3] = grey[..., None]
                return rgba
            return np.array(picture.convert("RGBA"))
        except (OSError, ValueError, SyntaxError) as error:
            raise DataError(f"{path}: expected a whole image, found a damaged one: {_line(error)}") from None


def _line(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__
