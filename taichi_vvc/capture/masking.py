"""Masks for a capture without any; the work of ``tvvc mask``."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from taichi_vvc.capture.bounds import bounds_from_masks
from taichi_vvc.capture.consensus import consensus
from taichi_vvc.capture.convert import record
from taichi_vvc.capture.foreground import SUBJECT, Plate, changed, opencv
from taichi_vvc.capture.readers.footage import VideoPicture
from taichi_vvc.capture.readers.index import ImageEntry
from taichi_vvc.capture.sequence import BOUNDS_FRAMES, BOUNDS_PIXELS, MultiViewSequence
from taichi_vvc.capture.views import read_views
from taichi_vvc.errors import DataError
from taichi_vvc.media.images import area_reduce
from taichi_vvc.media.video import one_line, write_png, write_text
from taichi_vvc.types import Bounds, View
from taichi_vvc.words import some

DOCUMENT, PENDING = "transforms.json", "transforms.json.part"
PARTS = ("masks", "plates", "images")
THREADS = 4

Starter = Callable[[int, np.ndarray], np.ndarray]
"""Camera number and picture (height, width, 3) uint8 to labels as ``changed`` of ``capture/foreground.py`` has them."""


@dataclass(frozen=True)
class Made:
    """What :func:`make_masks` found.

    Attributes:
        frames: number of frames.
        shown: the share of all pixels that the masks show.
        explained: the median over the frames of :attr:`Consensus.explained`; NaN if it was never asked.
        disagreeing: frames, by their number in the capture, in which views did not agree, so that each kept its mask.
        empty: names of the cameras whose masks are all empty.
    """

    frames: int
    shown: float
    explained: float
    disagreeing: tuple[int, ...]
    empty: tuple[str, ...]


def from_plates(plates: Sequence[Plate]) -> Starter:
    """Labels by comparison with what each camera sees without the subject."""
    return lambda number, image: changed(image, plates[number])


def make_masks(
    sequence: MultiViewSequence,
    folder: Path,
    names: Mapping[str, str],
    start: Starter,
    *,
    progress: Callable[[int], None] | None = None,
) -> Made:
    """Writes ``masks/<camera>/<frame>.png``, and a ``transforms.json`` of the capture with these masks at the end.

    The masks have the size of the stored pictures, whatever the sequence is reduced by. Pictures stay where they are;
    those that no ``transforms.json`` can name are written as ``images/<camera>/<frame>.png``.

    Args:
        sequence: the capture; masks that it has are not looked at.
        folder: as :func:`prepare` leaves it.
        names: the folder name of each camera.
        start: makes the masks that each camera has alone.
        progress: called with the number of frames done.

    Raises:
        DataError: a picture cannot be read, has transparent pixels of its own, or a file cannot be written.
    """
    stated = sequence.bounds if sequence.bounds_source in ("file", "argument") else None
    bounds = stated or _bounds(sequence, start) or sequence.bounds
    records: list[dict[str, Any]] = []
    shown = np.zeros(len(sequence.cameras))
    explained, disagreeing = [], []
    for i in range(len(sequence)):
        views = _pictures(sequence.entries[i], sequence.downscale)
        found = consensus([view.camera for view in views], _started(views, start), bounds)
        explained.append(found.explained)
        if not found.agreed:
            disagreeing.append(sequence.indices[i])
        for number, (entry, mask) in enumerate(zip(sequence.entries[i], found.masks, strict=True)):
            shown[number] += mask.mean()
            records.append(_write(folder, names, sequence, i, entry, mask))
        if progress is not None:
            progress(i + 1)
    document: dict[str, Any] = {"camera_model": "OPENCV", "fps": str(sequence.fps)}
    if stated is not None:
        document["aabb"] = [list(stated.lower), list(stated.upper)]
    write_text(folder / DOCUMENT, json.dumps({**document, "frames": records}, indent=1))
    with one_line(folder):
        (folder / PENDING).unlink(missing_ok=True)
    known = [value for value in explained if not np.isnan(value)]
    return Made(
        len(sequence),
        float(shown.mean() / len(sequence)),
        float(np.median(known)) if known else float("nan"),
        tuple(disagreeing),
        tuple(c.name for c, share in zip(sequence.cameras, shown, strict=True) if share == 0.0),
    )


def check_folder(folder: Path, overwrite: bool) -> None:
    """Checks that ``folder`` does not exist, is empty, or holds masks of an earlier run and ``overwrite`` is set.

    Raises:
        DataError: it holds something else, or ``overwrite`` is not set.
    """
    if folder.exists() and not folder.is_dir():
        raise DataError(f"{folder}: expected a folder to write, found a file")
    if not folder.exists() or not any(folder.iterdir()):
        return
    strange = [item.name for item in folder.iterdir() if item.name not in (*PARTS, DOCUMENT, PENDING)]
    ours = (folder / "masks").is_dir() and ((folder / DOCUMENT).is_file() or (folder / PENDING).is_file())
    if strange or not ours:
        raise DataError(f"{folder}: expected an empty folder or masks to replace, found other files; choose another")
    if not overwrite:
        raise DataError(f"{folder}: masks are there already; add -y to replace them")


def prepare(folder: Path, overwrite: bool) -> None:
    """Makes ``folder``, or removes from it what an earlier run wrote.

    Until the masks are whole it has a file ``transforms.json.part`` and no ``transforms.json``, so that no reader takes
    it for a capture.

    Raises:
        DataError: as :func:`check_folder`, or it cannot be written.
    """
    check_folder(folder, overwrite)
    with one_line(folder):
        folder.mkdir(parents=True, exist_ok=True)
        (folder / PENDING).touch()
        (folder / DOCUMENT).unlink(missing_ok=True)
        # Plates stay: they may be those that the caller has mended and gives again.
        for part in ("masks", "images"):
            if (folder / part).is_dir():
                shutil.rmtree(folder / part)
        (folder / "masks").mkdir()


def write_plates(folder: Path, names: Mapping[str, str], sequence: MultiViewSequence, plates: Sequence[Plate]) -> None:
    """Writes ``plates/<camera>.png``, to be looked at, mended and given again.

    Raises:
        DataError: a file cannot be written.
    """
    for camera, plate in zip(sequence.cameras, plates, strict=True):
        write_png(folder / "plates" / f"{names[camera.name]}.png", plate.image)


def has_masks(sequence: MultiViewSequence) -> list[str]:
    """The names of the cameras that have mask files."""
    return [entry.camera.name for entry in sequence.entries[0] if entry.mask is not None]


def check_standing(sequence: MultiViewSequence) -> None:
    """Raises DataError if a camera moves or zooms, so that nothing tells what it sees without the subject."""
    first = sequence.entries[0]
    moving = [
        entry.camera.name
        for number, entry in enumerate(first)
        if any(not row[number].camera.same_as(entry.camera) for row in sequence.entries)
    ]
    if moving:
        raise DataError(
            f"{sequence.path}: expected cameras that stand still, found that {some(moving, 6)} move; their masks can be"
            " started with --rembg"
        )


def _pictures(entries: Sequence[ImageEntry], downscale: int) -> tuple[View, ...]:
    """The pictures of a frame, without masks."""
    views = read_views([replace(entry, mask=None) for entry in entries], downscale)
    for view, entry in zip(views, entries, strict=True):
        if view.has_alpha:
            raise DataError(
                f"{entry.image}: expected a picture without transparent pixels, found some: the capture has masks"
            )
    return views


def _started(views: Sequence[View], start: Starter) -> list[np.ndarray]:
    opencv()
    with ThreadPoolExecutor(max_workers=min(THREADS, os.cpu_count() or 1)) as pool:
        return list(pool.map(lambda item: start(item[0], item[1].image[..., :3]), enumerate(views)))


def _bounds(sequence: MultiViewSequence, start: Starter) -> Bounds | None:
    """The box around what the masks of each camera alone show at moments spread over the capture; None if unknown."""
    count = min(BOUNDS_FRAMES, len(sequence))
    picks = sorted({round(k * (len(sequence) - 1) / max(1, count - 1)) for k in range(count)})

    def masked(i: int) -> list[View]:
        views = []
        entries = sequence.entries[i]
        pictures = _pictures(entries, sequence.downscale)
        for view, labels in zip(pictures, _started(pictures, start), strict=True):
            if view.camera.split == "train":
                image = view.image.copy()
                image[..., 3] = (labels == SUBJECT) * np.uint8(255)
                factor = max(1, -(-max(image.shape[:2]) // BOUNDS_PIXELS))
                image = area_reduce(image, factor)
                views.append(View(view.camera.resized(image.shape[1], image.shape[0]), image))
        return views

    return bounds_from_masks(masked(i) for i in picks)


def _write(
    folder: Path, names: Mapping[str, str], sequence: MultiViewSequence, i: int, entry: ImageEntry, mask: np.ndarray
) -> dict[str, Any]:
    """Writes one mask, and the picture if it must be; returns the picture's record."""
    camera, cv2 = entry.camera, opencv()
    place = f"{names[camera.name]}/{sequence.indices[i]:04d}.png"
    grey = mask.astype(np.uint8) * np.uint8(255)
    if grey.shape != (camera.height, camera.width):
        grey = cv2.resize(grey, (camera.width, camera.height), interpolation=cv2.INTER_LINEAR)
        grey = np.where(grey >= 128, np.uint8(255), np.uint8(0))
    write_png(folder / "masks" / place, grey)
    picture = _reference(entry, folder)
    if picture is None:
        picture = f"images/{place}"
        write_png(folder / picture, read_views([replace(entry, mask=None)], 1)[0].image[..., :3])
    return {"file_path": picture, "mask_path": f"masks/{place}", **record(camera, sequence.times[i])}


def _reference(entry: ImageEntry, folder: Path) -> str | None:
    """The picture's path as a ``transforms.json`` in ``folder`` names it; None if it cannot."""
    if entry.undistortion is not None:
        return None
    if isinstance(entry.image, Path):
        return _relative(entry.image, folder)
    if isinstance(entry.image, VideoPicture):
        return f"{_relative(entry.image.video.path, folder)}#{entry.image.number}"
    return None


def _relative(file: Path, folder: Path) -> str:
    file, folder = file.resolve(), folder.resolve()
    try:
        return Path(os.path.relpath(file, folder)).as_posix()
    except ValueError:  # another drive
        return file.as_posix()
