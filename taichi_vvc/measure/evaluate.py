"""``tvvc eval``: decodes a file, renders the capture's cameras and compares them with the capture's pictures."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from taichi_vvc.bitstream import StreamReader
from taichi_vvc.bitstream.numbering import has_pieces
from taichi_vvc.capture.selection import NoSuchCamera
from taichi_vvc.capture.sequence import MultiViewSequence, open_capture
from taichi_vvc.decode import Stream
from taichi_vvc.decode import open as open_stream
from taichi_vvc.encoder.poses import with_stored_poses
from taichi_vvc.errors import ConfigError, DataError, OtherCameras, TruncatedStream
from taichi_vvc.field.render import render
from taichi_vvc.field.workspace import Workspace
from taichi_vvc.geometry.projection import pixels_with_rays, seen_subject
from taichi_vvc.measure.flicker import Flicker, StillChange
from taichi_vvc.media.colour_maps import looks_of, shown, with_looks
from taichi_vvc.media.metrics import SSIM_WINDOW, finite_mean, psnr, psnr_foreground, ssim, ssim_with_rays
from taichi_vvc.media.pictures import composite
from taichi_vvc.runtime import start
from taichi_vvc.types import View
from taichi_vvc.words import some


@dataclass(frozen=True)
class Figures:
    """The quality of one picture.

    Attributes:
        psnr: PSNR, dB.
        psnr_foreground: PSNR of the foreground, dB; NaN without a mask or with an empty one.
        ssim: SSIM; NaN for a picture smaller than its window.
        psnr_plain: PSNR without the camera's colour map, dB; the same where it has none.
    """

    psnr: float
    psnr_foreground: float
    ssim: float
    psnr_plain: float


def evaluate(
    file: str | Path,
    capture: str | Path,
    *,
    split: str | None = None,
    format: str | None = None,
    backend: str = "auto",
    progress: Callable[[float, int], None] | None = None,
    observe: Callable[[int, View, Figures], None] | None = None,
    memory_limit: int | None = None,
) -> dict[str, Any]:
    """Compares a file with the capture that it was made from, at the coded size, over the frames of the file.

    Both pictures are composited on the file's background and compared in floats. A camera with a colour map is compared
    as it shows the scene; held-out cameras have none. PSNR is over all pixels of a picture, ``psnr_foreground`` over
    the capture's mask grown by two pixels; figures are averaged over pictures. Left out of an
    average are pictures without a mask or foreground and pictures of infinite PSNR. Pixels for which the lens has no
    ray are not compared. An incomplete file is compared up to its last whole frame. ``flicker`` is how much
    pixels change from frame to frame where the capture stands still, see :mod:`taichi_vvc.measure.flicker`.

    Args:
        file: the .tvvc file.
        capture: the capture, see :func:`taichi_vvc.capture.sequence.open_capture`.
        split: ``"test"`` (cameras that were held out when the file was made), ``"train"`` or ``"all"``. None means
            ``"test"`` if there are such cameras, else ``"all"``. Where there are no cameras of the split, all are
            compared, with an :class:`OtherCameras` warning. The warning also comes where the capture's own split is
            not the file's.
        format: the capture's layout, see :func:`taichi_vvc.capture.sequence.open_capture`.
        backend: the backend for rendering, see :func:`taichi_vvc.runtime.start`.
        progress: called with (frames done, frames in all); fractions count pictures.
        observe: called with the frame's number, the view and the figures of every picture.
        memory_limit: bytes that decoding and rendering may take, see :func:`taichi_vvc.open`.

    Returns:
        JSON values, with None for undefined figures: ``psnr`` (dB), ``psnr_plain`` (dB, without colour maps; None for a
        file without them), ``psnr_foreground`` (dB), ``ssim``, ``bytes`` (of
        the file), ``frames`` (count), ``bytes_per_frame``, ``bitrate_kbps``, ``per_frame`` (list of ``frame``,
        ``type``, ``bytes``, ``psnr``, ``psnr_foreground``, ``ssim``, ``flicker``, ``flicker_capture``), ``flicker``
        (8-bit grey levels), ``flicker_capture`` (the same of the capture's pictures), ``flicker_key`` and
        ``flicker_key_capture`` (of key frames alone), ``split``, ``cameras`` (names of those that were
        compared), ``held_out`` (how many of these were held out), ``background`` (sRGB in [0, 1]).

    Raises:
        StreamError: the file cannot be decoded.
        DataError: the capture cannot be read or is not the one that was encoded.
        ConfigError: there is no such split.
        BackendError: the backend does not start.
    """
    if split not in (None, "test", "train", "all"):
        raise ConfigError(f"expected the split test, train or all, found {split!r}")
    with open_stream(file, memory_limit) as stream, StreamReader(file) as reader:
        count, fps, background = len(stream), stream.fps, stream.background
        if not count:
            raise TruncatedStream(f"{file}: expected at least one whole frame, found none; encode it again")
        sequence = coded_part(stream, capture, format)
        splits = {camera.name: camera.split for camera in stream.cameras}
        _warn_of_other_split(sequence, splits, str(file))
        found = set(splits.values())
        if split in ("test", "train") and split not in found:
            kind, other = ("held out", "fitted") if split == "test" else ("fitted", "held out")
            message = f"no camera of {file} was {kind}: comparing all of them, which were {other}"
            warnings.warn(message, OtherCameras, stacklevel=2)
            split = "all"
        split = split or ("test" if "test" in found else "all")
        chosen = [i for i, camera in enumerate(sequence.cameras) if split in ("all", splits[camera.name])]
        workspace = Workspace(start(backend))
        per_frame: list[dict[str, Any]] = []
        plain: list[float] = []
        mapped = False
        flicker, changes = Flicker(background), {"key": StillChange(), "inter": StillChange()}
        for number, field in enumerate(stream.frames()):
            views = views_with_looks(stream, sequence, number)
            figures, change = [], StillChange()
            for done, i in enumerate(chosen):
                image, look = render(field, views[i].camera, background, workspace=workspace), views[i].look
                picture = shown(image.colour, image.opacity, background, look)
                figures.append(compare(views[i], picture, background, None if look is None else image.colour))
                change += flicker.observe(views[i], picture)
                if observe is not None:
                    observe(number, views[i], figures[-1])
                if progress is not None:
                    progress(number + (done + 1) / len(chosen), count)
            size = sum(reader.components(number).values())
            kind = stream.info(number).type
            per_frame.append({"frame": number, "type": kind, "bytes": size, **means(figures), **change.values()})
            changes[kind] += change
            plain += [found.psnr_plain for found in figures]
            mapped = mapped or bool(stream.looks_at(number))
    size = Path(file).stat().st_size
    return {
        **{key: finite_mean([row[key] for row in per_frame]) for key in ("psnr", "psnr_foreground", "ssim")},
        "psnr_plain": finite_mean(plain) if mapped else None,
        **(changes["key"] + changes["inter"]).values(),
        **{key.replace("flicker", "flicker_key"): value for key, value in changes["key"].values().items()},
        "bytes": size,
        "frames": count,
        "bytes_per_frame": size / count,
        "bitrate_kbps": size * 8 / 1000 * float(fps) / count,
        "per_frame": per_frame,
        "split": split,
        "cameras": [sequence.cameras[i].name for i in chosen],
        "held_out": sum(sequence.cameras[i].split == "test" for i in chosen),
        "background": [float(value) for value in background],
    }


def coded_part(stream: Stream, capture: str | Path, format: str | None = None) -> MultiViewSequence:
    """Opens ``capture`` with the frames, cameras, size, split and corrected poses that a file was made from.

    Raises:
        DataError: the capture cannot be read or does not have the cameras, the frames or the size that the file states.
    """
    first, count, step = stream.first_frame, len(stream), stream.frame_step
    if has_pieces(stream.header.record):
        raise DataError(
            f"{capture}: expected a file whose frames follow each other in the capture, found one joined from pieces; "
            "cut out a piece with 'tvvc cut' and compare that"
        )
    held_out = [camera.name for camera in stream.cameras if camera.split == "test"]
    try:
        sequence = open_capture(
            capture,
            frames=slice(first, first + (count - 1) * step + 1, step),
            downscale=stream.downscale,
            format=format,
            # The file's bounds save a search, and the encode may have been given --bounds that the capture lacks.
            bounds=stream.header.layout.bounds,
            cameras=[camera.name for camera in stream.cameras],
            test_cameras=held_out if len(held_out) < len(stream.cameras) else None,
        )
    except NoSuchCamera as error:
        raise DataError(
            f"{capture}: expected the cameras of the file: {error}; give the capture that was encoded"
        ) from error
    if len(sequence) != count:
        asked = f"{first}:{first + (count - 1) * step + 1}" + (f":{step}" if step > 1 else "")
        raise DataError(
            f"{capture}: expected the coded frames {asked}, found only {len(sequence)} of them; "
            "give the capture that was encoded"
        )
    theirs = {camera.name: camera for camera in sequence.cameras}
    for camera in stream.cameras:
        other = theirs.get(camera.name)
        if other is None or (other.width, other.height) != (camera.width, camera.height):
            found = "none" if other is None else f"{other.width}x{other.height}"
            raise DataError(
                f"{capture}: expected a camera {camera.name} of {camera.width}x{camera.height} as in the file, "
                f"found {found}; give the capture that was encoded"
            )
    return with_stored_poses(sequence, stream.cameras)


def _warn_of_other_split(sequence: MultiViewSequence, splits: dict[str, str], file: str) -> None:
    """Issues an :class:`OtherCameras` warning where the capture holds out other cameras than the file does."""
    held_out = [name for name, split in splits.items() if split == "test"]
    if sequence.stated_test and set(sequence.stated_test) != set(held_out):
        theirs, ours = (some(list(names), 6) or "none" for names in (sequence.stated_test, held_out))
        message = f"the capture holds out {theirs}, the encode of {file} held out {ours}: the latter counts"
        warnings.warn(message, OtherCameras, stacklevel=3)


def views_with_looks(stream: Stream, sequence: MultiViewSequence, number: int) -> tuple[View, ...]:
    """The views of frame ``number`` of the ``sequence`` that a file was made from, with the file's colour maps."""
    names = [camera.name for camera in stream.cameras]
    return with_looks(sequence.frame(number).views, looks_of(names, stream.looks_at(number)))


def compare(
    view: View, picture: np.ndarray, background: tuple[float, ...], unmapped: np.ndarray | None = None
) -> Figures:
    """Figures of a rendered ``picture`` (height, width, 3) in [0, 1] against the capture's picture in ``view``.

    Pixels for which the lens has no ray do not count. Without a mask there is no foreground. ``unmapped``: the picture
    without the camera's colour map, where it has one.
    """
    truth, rays = composite(view.image, background), pixels_with_rays(view.camera)
    similar = math.nan
    if min(truth.shape[:2]) >= SSIM_WINDOW:
        similar = ssim(truth, picture) if rays is None else ssim_with_rays(truth, picture, rays)
    foreground = psnr_foreground(truth, picture, seen_subject(view), rays=rays) if view.has_alpha else math.nan
    found = psnr(truth, picture, rays)
    return Figures(found, foreground, similar, found if unmapped is None else psnr(truth, unmapped, rays))


def means(figures: list[Figures]) -> dict[str, float | None]:
    """``psnr``, ``psnr_foreground`` and ``ssim`` averaged over pictures, None where no picture has a finite one."""
    return {key: finite_mean([getattr(f, key) for f in figures]) for key in ("psnr", "psnr_foreground", "ssim")}
