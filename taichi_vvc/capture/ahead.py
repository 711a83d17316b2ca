"""Frames of videos decoded ahead, while the one before is fitted.

One frame is decoded ahead and no more, so that memory does not grow. Pictures in files are read when they are asked
for: their decoders warn, and filters of warnings belong to the process and not to a thread.
"""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType

from taichi_vvc.capture.readers.footage import VideoPicture
from taichi_vvc.capture.readers.index import ImageEntry
from taichi_vvc.capture.sequence import MultiViewSequence
from taichi_vvc.media.images import KnownMask
from taichi_vvc.types import FrameViews


class ReadAhead:
    """The frames of a sequence up to ``stop - 1``, one after the other; use as a context manager.

    A thread decodes the frame behind the one that was asked for last, where all of its pictures come from videos.
    """

    def __init__(self, sequence: MultiViewSequence, stop: int) -> None:
        self._sequence, self._stop = sequence, stop
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="read-ahead")
        self._coming: tuple[int, Future[FrameViews]] | None = None

    def frame(self, number: int) -> FrameViews:
        """The views of a frame. The next one is decoded from now on.

        Raises:
            DataError: a picture or mask of this frame is damaged.
        """
        coming, self._coming = self._coming, None
        if coming is not None and coming[0] == number:
            views = coming[1].result()
        else:
            views = self._sequence.frame(number)
        if number + 1 < self._stop and all(map(_from_videos, self._sequence.entries[number + 1])):
            self._coming = number + 1, self._thread.submit(self._sequence.frame, number + 1, quiet=False)
        return views

    def close(self) -> None:
        """Waits for what is being decoded, and forgets it."""
        self._thread.shutdown(cancel_futures=True)
        self._coming = None

    def __enter__(self) -> ReadAhead:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _from_videos(entry: ImageEntry) -> bool:
    mask = entry.mask.source if isinstance(entry.mask, KnownMask) else entry.mask
    return isinstance(entry.image, VideoPicture) and (mask is None or isinstance(mask, VideoPicture))
