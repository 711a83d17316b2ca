"""Decodes a file, renders the capture's cameras and compares: the figures of ``tvvc eval``."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from .bitstream import StreamReader
from .decode import Stream
from .decode import open as open_stream
from .errors import DataError, TruncatedStream
from .metrics import SSIM_WINDOW, composite, finite_mean, psnr, psnr_foreground, ssim
from .render import Workspace, render
from .runtime import start
from .sequence import MultiViewSequence, open_capture
from .types import View


@dataclass(frozen=True)
class Figures:
    """Quality of one picture: dB, dB over the foreground (NaN without one or a mask), SSIM (NaN if too small)."""

    psnr: float
    psnr_foreground: float
    ssim: float


def evaluate(
    file: str | Path,
    capture: str | Path,
    *,
    split: str | None = None,
    format: str | None = None,
    backend: str = "auto",
    progress: Callable[[float, int], None] | None = None,
    observe: Callable[[int, View, Figures], None] | None = None,
) -> dict[str, Any]:
    """Compares a file with the capture it was made from, at the coded size, over the frames it holds.

    Frame range and size come from the file. PSNR is over all pixels of each picture, in floats, both composited on
    the file's background, and averaged over pictures; ``psnr_foreground`` is over the capture's mask grown by two
    pixels. Pictures without mask or foreground, and pictures that agree exactly (infinite PSNR), are left out of the
    averages concerned. An incomplete file is compared up to its last whole frame.

    Args:
        file: the .tvvc file.
        capture: the capture, see :func:`taichi_vvc.sequence.open_capture`.
        split: ``"test"`` (held-out cameras), ``"train"`` or ``"all"``; None means test if there are such, else all.
        format: the capture's layout, see :func:`taichi_vvc.sequence.open_capture`.
        backend: what renders, see :func:`taichi_vvc.runtime.start`.
        progress: called with (frames done, frames in all); fractions count pictures.
        observe: called with the frame's number, the view and the figures of every picture.

    Returns:
        JSON values, numbers that cannot be told being None: ``psnr`` (dB), ``psnr_foreground`` (dB), ``ssim``,
        ``bytes`` (of the file), ``frames`` (count), ``bytes_per_frame``, ``bitrate_kbps``, ``per_frame`` (list of
        ``frame``, ``type``, ``bytes``, ``psnr``, ``psnr_foreground``, ``ssim``), ``split``, ``background`` (sRGB in
        [0, 1]).

    Raises:
        StreamError: the file cannot be decoded.
        DataError: the capture cannot be read, has no cameras of the split, or is not the one that was encoded.
        BackendError: the backend does not start.
    """
    with open_stream(file) as stream, StreamReader(file) as reader:
        count, fps, background = len(stream), stream.fps, stream.background
        if not count:
            raise TruncatedStream(f"{file}: expected at least one whole frame, found none; encode it again")
        sequence = coded_part(stream, capture, format)
        split = split or ("test" if any(camera.split == "test" for camera in sequence.cameras) else "all")
        chosen = [i for i, camera in enumerate(sequence.cameras) if split in ("all", camera.split)]
        if not chosen:
            raise DataError(f"{capture}: expected cameras of the split {split!r}, found none; choose another --split")
        workspace = Workspace(start(backend))
        per_frame: list[dict[str, Any]] = []
        for number, field in enumerate(stream.frames()):
            views = sequence.frame(number).views
            figures = []
            for done, i in enumerate(chosen):
                picture = render(field, views[i].camera, background, workspace=workspace).colour
                figures.append(compare(views[i], picture, background))
                if observe is not None:
                    observe(number, views[i], figures[-1])
                if progress is not None:
                    progress(number + (done + 1) / len(chosen), count)
            size = sum(reader.components(number).values())
            per_frame.append({"frame": number, "type": stream.info(number).type, "bytes": size, **means(figures)})
    size = Path(file).stat().st_size
    return {
        **{key: finite_mean([row[key] for row in per_frame]) for key in ("psnr", "psnr_foreground", "ssim")},
        "bytes": size,
        "frames": count,
        "bytes_per_frame": size / count,
        "bitrate_kbps": size * 8 / 1000 * float(fps) / count,
        "per_frame": per_frame,
        "split": split,
        "background": [float(value) for value in background],
    }


def coded_part(stream: Stream, capture: str | Path, format: str | None = None) -> MultiViewSequence:
    """The frames and the size of ``capture`` that a file was made from.

    Raises:
        DataError: the capture cannot be read or does not have the cameras, the frames or the size that the file states.
    """
    first, count, downscale = stream.first_frame, len(stream), stream.downscale
    # The file's own bounds spare a search; captures that do not state any were encoded with --bounds, perhaps.
    bounds = stream.header.layout.bounds
    sequence = open_capture(
        capture, frames=slice(first, first + count), downscale=downscale, format=format, bounds=bounds
    )
    if len(sequence) != count:
        raise DataError(
            f"{capture}: expected the coded frames {first}:{first + count}, found only {len(sequence)} of them; "
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
    return sequence


def compare(view: View, picture: np.ndarray, background: tuple[float, ...]) -> Figures:
    """Figures of a rendered ``picture`` (height, width, 3) in [0, 1] against what the camera saw."""
    truth = composite(view.image, background)
    small = min(truth.shape[:2]) < SSIM_WINDOW
    return Figures(
        psnr(truth, picture),
        # Without a mask nothing tells the subject from the rest.
        psnr_foreground(truth, picture, view.image[..., 3] > 0) if view.has_alpha else math.nan,
        math.nan if small else ssim(truth, picture),
    )


def means(figures: list[Figures]) -> dict[str, float | None]:
    """``psnr``, ``psnr_foreground`` and ``ssim`` averaged over pictures, None where no picture has a finite one."""
    return {key: finite_mean([getattr(f, key) for f in figures]) for key in ("psnr", "psnr_foreground", "ssim")}
