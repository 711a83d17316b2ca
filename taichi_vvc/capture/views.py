"""Reading the pictures of some cameras: decoded in threads, with masks, undistorted and reduced."""

from __future__ import annotations

import os
import warnings
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

from taichi_vvc.capture.readers.index import ImageEntry
from taichi_vvc.errors import DataError
from taichi_vvc.media.images import area_reduce, area_resize, read_rgba, reduced_size
from taichi_vvc.types import DETAIL, Camera, View


def read_views(
    entries: Sequence[ImageEntry], downscale: int, quiet: bool = True, detailed: bool = False
) -> tuple[View, ...]:
    """Decode and reduce some pictures, a few at a time in threads (the decoders release the interpreter lock).

    ``quiet``: leave out warnings of decoders. Their filters belong to the process, so that this is for the main thread.
    ``detailed``: training views keep the detail of pictures that are reduced.

    Raises:
        DataError: a picture or mask is damaged or has another size than its camera.
    """

    def read(entry: ImageEntry) -> View:
        image = read_rgba(entry.image, entry.mask)
        height, width = image.shape[:2]
        if (width, height) != (entry.camera.width, entry.camera.height):
            raise DataError(
                f"{entry.image}: expected {entry.camera.width}x{entry.camera.height} pixels as when the capture was"
                f" opened, found {width}x{height}"
            )
        if entry.undistortion is not None:
            image = entry.undistortion(image)
        camera, detail = reduced_camera(entry.camera, downscale), None
        if detailed and downscale > 1 and camera.split == "train":
            detail = area_resize(image, DETAIL * camera.width, DETAIL * camera.height)
        return View(camera, area_reduce(image, downscale), detail=detail)

    with ExitStack() as stack:
        if quiet:
            # Warnings of the decoders are of no use to the user. The filters are changed here and not in the threads,
            # which could restore each other's changes.
            stack.enter_context(warnings.catch_warnings())
            warnings.simplefilter("ignore")
        pool = stack.enter_context(ThreadPoolExecutor(max_workers=min(8, os.cpu_count() or 1)))
        return tuple(pool.map(read, entries))


def reduced_camera(camera: Camera, factor: int) -> Camera:
    """The camera of pictures that are reduced by ``factor``."""
    return camera if factor == 1 else camera.resized(*reduced_size(camera.width, camera.height, factor))
