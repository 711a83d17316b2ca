"""Pictures from disk as straight-alpha RGBA, and their exact reduction by area averaging."""

from __future__ import annotations

import io
import logging
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from PIL import Image, UnidentifiedImageError
from PIL.TiffImagePlugin import TiffImageFile

from taichi_vvc.errors import DataError
from taichi_vvc.media.mattes import Drawn, decide, drawn_of_palette, evidence_of, weight_of
from taichi_vvc.media.pictures import nearest_bytes, to_bytes

# What Pillow logs of damaged files is in our errors; without a handler the interpreter would print it.
logging.getLogger("PIL").addHandler(logging.NullHandler())

# What Pillow may try to read. It knows some forty more formats, and one of them (EPS) starts another program.
FORMATS = ("PNG", "JPEG", "WEBP", "TIFF", "BMP", "PPM")
MOST_PIXELS = 1 << 27  # of one picture: 512 MiB as RGBA
LOSSY_SUFFIXES = (".jpg", ".jpeg")
UNIT_SLACK = 1e-3  # of 1: how far floats from 0 to 1 may miss it by rounding
UNCLEAR = 16.0  # floats whose largest value is between 1 and this may be bright ones of 0 to 1 or dark ones of 0 to 255
BITS_PER_SAMPLE = 258  # TIFF's tag
ORIENTATION = 274  # EXIF's tag


class Picture(Protocol):
    """A picture that is no image file of its own: a frame of a video, an item of a container. ``str()`` says where.

    ``lossy`` tells whether values near 0 and 255 may be noise of the coding.
    """

    @property
    def lossy(self) -> bool: ...

    @property
    def name(self) -> str: ...

    def size(self) -> tuple[int, int]: ...

    def read(self) -> np.ndarray: ...


Source = Path | Picture


@dataclass(frozen=True)
class LabelMask:
    """A mask file whose pixels are labels, such as body parts: everything but 0 is subject. See :class:`Picture`."""

    path: Path
    lossy = False

    @property
    def name(self) -> str:
        """The file's name."""
        return self.path.name

    def __str__(self) -> str:
        return str(self.path)

    def size(self) -> tuple[int, int]:
        """(width, height), pixels."""
        return image_size(self.path)

    def read(self) -> np.ndarray:
        """(height, width, 4) uint8: 255 where the label is not 0."""
        # The labels themselves, not the colours of a palette: its first colour need not be black.
        with _open(self.path) as picture, _decoding(self.path):
            labels = np.asarray(picture)
        subject = labels.reshape(*labels.shape[:2], -1)[..., :3].max(axis=2) > 0
        return np.repeat(subject[..., None].astype(np.uint8) * np.uint8(255), 4, axis=2)


@dataclass(frozen=True)
class KnownMask:
    """A mask whose kind is known, see :func:`taichi_vvc.media.mattes.decide`. See :class:`Picture`."""

    source: Source
    kind: str

    @property
    def lossy(self) -> bool:
        """Whether values near 0 and 255 may be noise of the coding."""
        return is_lossy(self.source)

    @property
    def name(self) -> str:
        """The file's name."""
        return self.source.name

    def __str__(self) -> str:
        return str(self.source)

    def size(self) -> tuple[int, int]:
        """(width, height), pixels."""
        return image_size(self.source)

    def read(self) -> np.ndarray:
        """(height, width, 4) uint8, grey: how much of each pixel is subject."""
        return np.repeat(weight_of(draw(self.source), self.kind)[..., None], 4, axis=2)


def is_lossy(source: Source) -> bool:
    """Whether values near 0 and 255 may be noise of the coding."""
    return source.suffix.lower() in LOSSY_SUFFIXES if isinstance(source, Path) else source.lossy


def image_size(source: Source) -> tuple[int, int]:
    """(width, height) in pixels from the file's header; nothing is decoded.

    Raises:
        DataError: the file is missing, is no image in one of :data:`FORMATS`, or has more than :data:`MOST_PIXELS`.
    """
    if not isinstance(source, Path):
        return _checked(source.size(), source)
    with _open(source) as picture:
        return picture.size


def is_turned(source: Source) -> bool:
    """Whether a picture file has an EXIF orientation, which is not applied; of a damaged one it cannot be told."""
    if not isinstance(source, Path):
        return False
    with suppress(DataError), _open(source) as picture, _decoding(source):
        # A PNG's own method decodes the whole picture to look behind its pixels, where hardly any has it.
        return Image.Image.getexif(picture).get(ORIENTATION, 1) not in (0, 1)
    return False


def read_rgba(source: Source, mask: Source | None = None) -> np.ndarray:
    """One picture as (height, width, 4) uint8, sRGB with straight alpha.

    Pictures without alpha get 255. A mask multiplies the alpha: by its brightness (its largest channel), as labels or
    by its own alpha, see :mod:`taichi_vvc.media.mattes`; unless it is a :class:`KnownMask`, it decides for itself. From
    JPEG and video masks, values within 16 of black and white are taken for black and white. 16-bit pictures are reduced
    to 8 bit, grey ones of 32-bit numbers by what they hold; 16-bit masks without a value above 255 count as 8-bit ones.
    EXIF orientation is not applied: the calibration belongs to the pixels as stored.

    Raises:
        DataError: a file is missing, damaged or no image, its range of values is unclear, or the mask's size differs
            from the picture's.
    """
    rgba = _read(source)
    if mask is not None:
        drawn = draw(mask.source if isinstance(mask, KnownMask) else mask)
        if drawn.rgba.shape != rgba.shape:
            raise DataError(
                f"{mask}: expected a mask of the size of its picture {source.name}, {_wh(rgba)}, found"
                f" {_wh(drawn.rgba)}"
            )
        weight = weight_of(drawn, mask.kind if isinstance(mask, KnownMask) else decide(evidence_of(drawn)))
        alpha = rgba[..., 3].astype(np.uint16) * weight
        rgba[..., 3] = (alpha + 127) // 255
    return rgba


def encoded_size(data: bytes, where: str) -> tuple[int, int]:
    """As :func:`image_size`, of an encoded picture (PNG, JPEG ...) in memory; ``where`` names it in errors."""
    with _open(io.BytesIO(data), where) as picture:
        return picture.size


def decode_rgba(data: bytes, where: str) -> np.ndarray:
    """As :func:`read_rgba`, of an encoded picture (PNG, JPEG ...) in memory; ``where`` names it in errors."""
    return _decode(io.BytesIO(data), where)


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
    height, width = image.shape[:2]
    return image if factor == 1 else area_resize(image, *reduced_size(width, height, factor))


def area_resize(image: np.ndarray, new_width: int, new_height: int) -> np.ndarray:
    """As :func:`area_reduce`, to a given size. A picture that has that size stays as it is."""
    if image.shape[:2] == (new_height, new_width):
        return image
    alpha = image[..., 3:].astype(np.float32)
    planes = np.concatenate((image[..., :3] * alpha, alpha), axis=2)
    planes = _average(_average(planes, new_height, 0), new_width, 1)
    covered = planes[..., 3:]
    planes[..., :3] /= np.where(covered > 0.0, covered, 1.0)
    out = nearest_bytes(planes)
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


def _read(source: Source) -> np.ndarray:
    return _decode(source, source) if isinstance(source, Path) else source.read()


def draw(source: Source) -> Drawn:
    """The pixels of a mask, for :mod:`taichi_vvc.media.mattes`.

    Raises:
        DataError: as :func:`read_rgba`.
    """
    if not isinstance(source, Path):
        return Drawn(source.read(), lossy=source.lossy)
    with _open(source) as picture, _decoding(source):
        if picture.mode == "P":
            index = np.asarray(picture)
            return drawn_of_palette(index, np.array(picture.convert("RGBA")))
        if not _is_wide(picture):
            return Drawn(np.array(picture.convert("RGBA")), lossy=is_lossy(source))
        values, bits = np.asarray(picture), _bits(picture)
    rgba = _grey(_eight_bits(values, bits, source, True))
    if values.dtype.kind == "f":
        return Drawn(rgba)
    deep = (values.astype(np.int64) >> (min(bits, 16) - 8)).astype(np.uint8)
    return Drawn(rgba, deep=deep, above=bool(values.max(initial=0) > 255))


def _open(file: Path | io.BytesIO, where: object = None) -> Image.Image:
    where = file if where is None else where
    try:
        picture = Image.open(file, formats=FORMATS)
    except FileNotFoundError:
        raise DataError(f"{where}: expected an image, found no such file") from None
    except Image.DecompressionBombError as error:
        raise DataError(f"{where}: expected at most {MOST_PIXELS} pixels, found more: {_line(error)}") from None
    except UnidentifiedImageError:
        raise DataError(f"{where}: expected an image in {_some_formats()}, found none of them") from None
    except Exception as error:  # damaged headers can raise nearly anything
        raise DataError(f"{where}: expected an image in {_some_formats()}, cannot read it: {_line(error)}") from None
    try:
        _checked(picture.size, where)
    except DataError:
        picture.close()
        raise
    return picture


def _checked(size: tuple[int, int], where: object) -> tuple[int, int]:
    """``size`` (width, height), if pictures may be that large. Raises DataError."""
    if size[0] * size[1] > MOST_PIXELS:
        raise DataError(
            f"{where}: expected at most {MOST_PIXELS} pixels, found {size[0]}x{size[1]}; reduce the pictures and their"
            " calibration"
        )
    return size


def _some_formats() -> str:
    return f"{', '.join(FORMATS[:-1])} or {FORMATS[-1]}"


@contextmanager
def _decoding(where: object) -> Iterator[None]:
    try:
        yield
    except DataError:
        raise
    except Exception as error:  # damaged data can raise nearly anything
        raise DataError(f"{where}: expected a whole image, found a damaged one: {_line(error):.200}") from None


def _decode(file: Path | io.BytesIO, where: object) -> np.ndarray:
    with _open(file, where) as picture, _decoding(where):
        if not _is_wide(picture):
            return np.array(picture.convert("RGBA"))
        values, bits = np.asarray(picture), _bits(picture)
    return _grey(_eight_bits(values, bits, where, False))


def _is_wide(picture: Image.Image) -> bool:
    """Whether a grey picture has more than 8 bits per value."""
    return picture.mode in ("F", "I") or picture.mode.startswith("I;16")


def _grey(grey: np.ndarray) -> np.ndarray:
    """(height, width, 4) of (height, width) uint8."""
    rgba = np.full((*grey.shape, 4), 255, np.uint8)
    rgba[..., :3] = grey[..., None]
    return rgba


def _bits(picture: Image.Image) -> int:
    """Bits per value of a grey picture of more than 8. Pillow's modes may be wider than what the file holds."""
    if isinstance(picture, TiffImageFile):
        return max(picture.tag_v2.get(BITS_PER_SAMPLE, (16,)))
    return 32 if picture.mode == "I" and picture.format not in ("PNG", "PPM") else 16


def _eight_bits(values: np.ndarray, bits: int, where: object, mask: bool) -> np.ndarray:
    """Grey values of more than 8 bits as uint8.

    The depth of a file of up to 16 bits says what white is, and a dark picture stays dark. Wider ones, and masks, are
    read by their largest value.
    """
    low, high = float(values.min(initial=0)), float(values.max(initial=0))
    if values.dtype.kind == "f":
        if -UNIT_SLACK <= low and high <= 1.0 + UNIT_SLACK:
            return to_bytes(values)
        if low >= 0.0 and UNCLEAR <= high <= 255.0:
            return nearest_bytes(values)
        expected = "floats of 0 to 1 or of 0 to 255"
    elif low >= 0.0 and high <= 65535.0:
        if high <= 255.0 and (mask or bits > 16):
            return values.astype(np.uint8)
        return (values.astype(np.int64) >> (min(bits, 16) - 8)).astype(np.uint8)
    else:
        expected = "whole numbers of 0 to 255 or of 0 to 65535"
    raise DataError(f"{where}: expected {expected}, found {low:g} to {high:g}; save it with 8 bits per channel")


def _line(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__
