"""Where the files of a capture's pictures are, and the same pictures in files elsewhere.

A worker on another machine reads pictures by absolute paths, or from copies that were sent to it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path

from taichi_vvc.capture.readers.dna import SmcFile, SmcPicture
from taichi_vvc.capture.readers.footage import VideoFile, VideoPicture
from taichi_vvc.capture.readers.index import ImageEntry
from taichi_vvc.media.images import KnownMask, LabelMask, Source

Rows = tuple[tuple[ImageEntry, ...], ...]


def files_of(rows: Iterable[Iterable[ImageEntry]]) -> dict[Path, None]:
    """The files that pictures and masks are read from, each once, in the order of their first use."""
    sources = (source for row in rows for entry in row for source in (entry.image, entry.mask) if source is not None)
    return dict.fromkeys(map(_file_of, sources))


def relocated(rows: Rows, where: Callable[[Path], Path]) -> Rows:
    """The same pictures, each file being at ``where(file)``."""
    videos: dict[int, VideoFile] = {}
    stores: dict[int, SmcFile] = {}

    def moved(source: Source) -> Source:
        if isinstance(source, Path):
            return where(source)
        if isinstance(source, KnownMask):
            return replace(source, source=moved(source.source))
        if isinstance(source, LabelMask):
            return replace(source, path=where(source.path))
        if isinstance(source, VideoPicture):
            video = source.video
            if id(video) not in videos:
                videos[id(video)] = VideoFile(where(video.path), video.turned)
            return replace(source, video=videos[id(video)])
        assert isinstance(source, SmcPicture)
        if id(source.file) not in stores:
            stores[id(source.file)] = SmcFile(where(source.file.path))
        return replace(source, file=stores[id(source.file)])

    def placed(entry: ImageEntry) -> ImageEntry:
        return replace(entry, image=moved(entry.image), mask=None if entry.mask is None else moved(entry.mask))

    return tuple(tuple(map(placed, row)) for row in rows)


def close_videos(rows: Rows) -> None:
    """Lets go of the decoders of all videos, see :meth:`taichi_vvc.capture.readers.footage.VideoFile.close`."""
    sources = (source for row in rows for entry in row for source in (entry.image, entry.mask))
    pictures = (source.source if isinstance(source, KnownMask) else source for source in sources)
    videos = {id(picture.video): picture.video for picture in pictures if isinstance(picture, VideoPicture)}
    for video in videos.values():
        video.close()


def _file_of(source: Source) -> Path:
    if isinstance(source, Path):
        return source
    if isinstance(source, KnownMask):
        return _file_of(source.source)
    if isinstance(source, LabelMask):
        return source.path
    if isinstance(source, VideoPicture):
        return source.video.path
    assert isinstance(source, SmcPicture)
    return source.file.path
