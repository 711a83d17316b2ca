"""What each camera sees without the subject: from pictures of the empty set, or from the median over time."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from taichi_vvc.capture.foreground import NOISE, Plate
from taichi_vvc.capture.readers.footage import images_in
from taichi_vvc.capture.readers.index import ImageEntry
from taichi_vvc.capture.sequence import MultiViewSequence
from taichi_vvc.capture.views import read_views
from taichi_vvc.errors import DataError
from taichi_vvc.media.images import area_reduce, read_rgba
from taichi_vvc.words import counted, some

SAMPLES = 25  # frames, spread over the capture, of which the median is taken
MEMORY = 256 << 20  # bytes of samples of one camera that are held at a time; larger pictures are read more than once
FEWEST = 3  # frames that have a median
LASTING = 0.35  # share of the frames in which a pixel differs from the median: near half, either may be the set
STAYS = 0.35  # share of the changing area with such pixels from which a line says that the subject stays in place
STILL = 1e-4  # share of a picture that must change for anything to have moved


@dataclass(frozen=True)
class Median:
    """The median over time of one camera.

    Attributes:
        plate: what was found.
        moving: the share of the picture in which anything changes.
        lasting: the share of that area in which the change lasts for nearly half the frames.
    """

    plate: Plate
    moving: float
    lasting: float


def read_plates(folder: Path, sequence: MultiViewSequence, names: Mapping[str, str]) -> list[Plate]:
    """One picture per camera from ``folder``, named as the camera, at the sequence's reduced size.

    ``names``: the file name, without suffix, of each camera.

    Raises:
        DataError: pictures are missing, damaged or of another size than the camera's.
    """
    if not folder.is_dir():
        raise DataError(f"{folder}: expected a folder with one picture per camera, found no such folder")
    found = {file.stem: file for file in images_in(folder)}
    files = [found.get(camera.name, found.get(names[camera.name])) for camera in sequence.cameras]
    missing = [camera.name for camera, file in zip(sequence.cameras, files, strict=True) if file is None]
    if missing:
        raise DataError(
            f"{folder}: no plate of {len(missing)} of {counted(len(files), 'camera')}: {some(missing, 6)}; expected one"
            f" picture per camera, named as the camera, such as {names[missing[0]]}.png"
        )
    plates = []
    wrong = []
    for entry, file in zip(sequence.entries[0], files, strict=True):
        assert file is not None
        image = read_rgba(file)
        size, expected = image.shape[1::-1], (entry.camera.width, entry.camera.height)
        if size != expected:
            wrong.append(f"{file.name} {size[0]}x{size[1]} in place of {expected[0]}x{expected[1]}")
            continue
        image = entry.undistortion(image) if entry.undistortion is not None else image
        image[..., 3] = 255
        plates.append(Plate(area_reduce(image, sequence.downscale)[..., :3]))
    if wrong:
        raise DataError(
            f"{folder}: expected plates of the size of the camera's pictures, found {some(wrong, 4)}; take them with"
            " the same camera settings"
        )
    return plates


def median_plates(
    sequence: MultiViewSequence, progress: Callable[[int], None] | None = None
) -> tuple[list[Plate], list[str]]:
    """The median over time of each camera, and lines about cameras where it cannot be the background.

    Raises:
        DataError: there are too few frames, nothing moves in any picture, or a picture cannot be read.
    """
    count = min(SAMPLES, len(sequence))
    count -= 1 - count % 2  # of an even number there is no middle one
    if count < FEWEST:
        raise DataError(
            f"{sequence.path}: expected at least {FEWEST} frames to tell the background by what does not move, found"
            f" {len(sequence)}; give pictures of the empty set by --plate"
        )
    picks = [round((k + 0.5) * len(sequence) / count - 0.5) for k in range(count)]
    found = []
    for number in range(len(sequence.cameras)):
        found.append(_median([_bare(sequence.entries[i][number]) for i in picks], sequence.downscale))
        if progress is not None:
            progress(number + 1)
    if all(one.moving < STILL for one in found):
        raise DataError(
            f"{sequence.path}: nothing moves in {counted(count, 'frame')}: the subject cannot be told from the"
            " background; give pictures of the empty set by --plate"
        )
    stays = [c.name for c, one in zip(sequence.cameras, found, strict=True) if one.lasting > STAYS]
    lines = []
    if stays:
        lines.append(
            f"the background behind the subject cannot be told from {counted(count, 'frame')}: it hardly leaves its"
            f" place in the pictures of {some(stays, 6)}; masks will lack what stays; give pictures of the empty set by"
            " --plate, or a longer capture"
        )
    return [one.plate for one in found], lines


def _bare(entry: ImageEntry) -> ImageEntry:
    return ImageEntry(entry.camera, entry.image, None, entry.undistortion)


def _median(entries: Sequence[ImageEntry], downscale: int) -> Median:
    """The median of one camera's pictures, in as many passes over them as :data:`MEMORY` asks for."""
    height, width = _rgb(entries[:1], downscale)[0].shape[:2]
    rows = max(1, min(height, MEMORY // (len(entries) * width * 3)))
    image = np.empty((height, width, 3), np.uint8)
    changing = lasting = 0
    for top in range(0, height, rows):
        block = image[top : top + rows]
        samples = np.empty((len(entries), *block.shape), np.uint8)
        for number, entry in enumerate(entries):
            samples[number] = _rgb([entry], downscale)[0][top : top + rows]
        middle = len(entries) // 2
        # A few rows at a time, which stay in the cache.
        for first in range(0, len(block), 16):
            part = slice(first, first + 16)
            block[part] = np.partition(samples[:, part], middle, axis=0)[middle]
        away = np.abs(samples[:, ::4, ::4].astype(np.int16) - block[::4, ::4]).max(-1)
        typical = np.median(away, axis=0)
        often = (away > np.maximum(8.0 * NOISE, 4.0 * np.median(typical))).mean(0)
        changing += int((often > 0.0).sum())
        lasting += int((often > LASTING).sum())
    share = changing / max(1, image[::4, ::4].shape[0] * image[::4, ::4].shape[1])
    return Median(Plate(image), share, lasting / max(1, changing))


def _rgb(entries: Sequence[ImageEntry], downscale: int) -> list[np.ndarray]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return [view.image[..., :3] for view in read_views(entries, downscale)]
