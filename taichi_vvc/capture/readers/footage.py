"""The pictures of one camera as a sequence: the frames of a video, decoded on demand, or the files of a folder."""

from __future__ import annotations

import bisect
import re
import threading
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from taichi_vvc.capture.readers.rotation_flags import Turn, display_matrix, turn_of
from taichi_vvc.errors import DataError
from taichi_vvc.media.images import Source

VIDEO_SUFFIXES = (".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi")
PREDICTED_BOTH_WAYS = 3  # FFmpeg's type of B pictures
HELD = 8  # largest number of frames that are decoded ahead
IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff", ".bmp")


def is_video(name: str | Path) -> bool:
    """Whether a file is a video, by its suffix."""
    return Path(name).suffix.lower() in VIDEO_SUFFIXES


def natural(name: str) -> list[tuple[int, int, str]]:
    """A sort key for natural order: ``cam2`` comes before ``cam10``."""
    # int() refuses text of thousands of digits.
    parts = [part for part in re.split(r"(\d+)", name) if part]
    return [(0, int(part), "") if part.isdecimal() and len(part) < 600 else (1, 0, part) for part in parts]


@dataclass(frozen=True)
class Clip:
    """The pictures of one camera in order of time.

    Attributes:
        pictures: image files, or a :class:`VideoFile`.
        stems: the file names without suffix; empty for a video.
        fps: frame rate that a video states; None if unknown, or for image files.
    """

    pictures: Sequence[Source]
    stems: tuple[str, ...] = ()
    fps: Fraction | None = None


def mask_stem(file: Path) -> str:
    """The stem of the picture that a mask belongs to: some programs append ``.png`` to the picture's whole name."""
    stem = Path(file.stem)
    return stem.stem if stem.suffix.lower() in IMAGE_SUFFIXES + VIDEO_SUFFIXES else file.stem


def video_clip(path: Path) -> Clip:
    """The clip of a video file. Raises DataError if it cannot be read as a video."""
    video = VideoFile(path)
    return Clip(video, (), video.fps)


def as_calibrated(clip: Clip, size: tuple[float, float]) -> Clip:
    """The clip with its video turned, or not, to match a calibration.

    Videos are normally turned as their rotation flag says. With a flag of 90 or 270 degrees the stored and the turned
    pictures differ in orientation, landscape or portrait, and the calibration's ``size`` (width, height) shows which of
    the two it belongs to. The principal point can be given in place of the size, since it lies near the middle.
    """
    video = clip.pictures
    if not isinstance(video, VideoFile) or not video.flag.swaps or size[0] == size[1]:
        return clip
    width, height = video.stored_size
    stored = width != height and (width > height) == (size[0] > size[1])
    return clip if stored != video.turned else replace(clip, pictures=VideoFile(video.path, turned=not stored))


def folder_clip(folder: Path) -> Clip | None:
    """The clip of the image files that lie in ``folder``, in natural order; None if there are none."""
    return image_clip(sorted(images_in(folder), key=lambda file: natural(file.name)))


def image_clip(files: Sequence[Path]) -> Clip | None:
    """The clip of image files in the order given; None for no files."""
    return Clip(tuple(files), tuple(file.stem for file in files)) if files else None


def images_in(folder: Path) -> list[Path]:
    """The image files in ``folder``, unsorted; none if there is no such folder."""
    return [file for file in _content(folder) if file.suffix.lower() in IMAGE_SUFFIXES and file.is_file()]


def find_clips(folder: Path) -> dict[str, Clip]:
    """One clip per camera by name, in natural order: the videos in ``folder``, else its subfolders with images."""
    videos = [file for file in _content(folder) if is_video(file) and file.is_file()]
    if videos:
        return {file.stem: video_clip(file) for file in sorted(videos, key=lambda file: natural(file.name))}
    folders = sorted((item for item in _content(folder) if item.is_dir()), key=lambda item: natural(item.name))
    return {item.name: clip for item in folders if (clip := folder_clip(item)) is not None}


def _content(folder: Path) -> list[Path]:
    return [item for item in folder.iterdir() if not item.name.startswith(".")] if folder.is_dir() else []


@dataclass(frozen=True)
class VideoPicture:
    """One frame of a video, counted from 0; see :class:`taichi_vvc.media.images.Picture`."""

    video: VideoFile
    number: int
    lossy = True

    @property
    def name(self) -> str:
        """The video's file name and the frame's number."""
        return f"{self.video.path.name}#{self.number}"

    def __str__(self) -> str:
        return f"{self.video.path}#{self.number}"

    def size(self) -> tuple[int, int]:
        """(width, height), pixels."""
        return self.video.size

    def read(self) -> np.ndarray:
        """(height, width, 4) uint8; alpha is 255 unless the video has alpha."""
        return self.video.read(self.number)


@dataclass(frozen=True)
class _Timeline:
    """The frames of a video.

    Attributes:
        count: number of frames.
        times: presentation times in order, in units of ``unit`` seconds; empty if the container lacks some.
        keys: numbers of the key frames.
    """

    count: int
    times: tuple[int, ...]
    keys: tuple[int, ...]
    unit: float = 0.0


class VideoFile(Sequence["VideoPicture"]):
    """The frames of a video as pictures, with random access.

    The decoder is opened by the first read and stays at the frame read last, which can be read again at no cost. The
    next frame costs one decoding step; any other frame costs the steps from the key frame before it. Frames are
    numbered in order of presentation time, for which all packets are read once. May be used from several threads.

    Args:
        path: the file.
        turned: whether pictures are turned according to the container's rotation flag.

    Attributes:
        size: (width, height) of the pictures.
        stored_size: (width, height) as stored, before any turn.
        flag: the container's rotation flag.
        fps: mean frame rate, or None if the container does not state it.

    Raises:
        DataError: the file is missing, is no video or is damaged, or its rotation is no multiple of 90 degrees.
    """

    def __init__(self, path: Path, turned: bool = True) -> None:
        self.path, self.turned = path, turned
        self._lock = threading.Lock()
        self._container: Any = None
        self._frames: Iterator[tuple[Any, bool]] = iter(())
        self._at = -1  # number of the frame in self._frame
        self._frame: Any = None
        self._from = 0  # number of the key frame that decoding began at
        self._damaged = -1  # number of the last damaged frame that the decoder returned, -1 for none
        with self._open() as container:
            stream = container.streams.video[0]
            self.stored_size: tuple[int, int] = (stream.codec_context.width, stream.codec_context.height)
            rate = stream.average_rate or stream.guessed_rate
            self.fps: Fraction | None = Fraction(rate).limit_denominator(100_000) if rate else None
            self.flag = self._flag(container)
        self.size = self.flag.size(*self.stored_size) if turned else self.stored_size

    def __reduce__(self) -> tuple[Any, ...]:
        """For other processes, which open the file for themselves."""
        return VideoFile, (self.path, self.turned)

    def __len__(self) -> int:
        return self._timeline.count

    def __getitem__(self, number: Any) -> Any:
        if isinstance(number, slice):
            return [VideoPicture(self, i) for i in range(len(self))[number]]
        return VideoPicture(self, range(len(self))[number])

    def read(self, number: int) -> np.ndarray:
        """Frame ``number`` as (height, width, 4) uint8. Raises DataError if it cannot be decoded."""
        with self._lock:
            if number != self._at:
                self._go_to(number)
            image = self._frame.to_ndarray(format="rgba")
        return self.flag(image) if self.turned else image

    def close(self) -> None:
        """Lets go of the decoder, which holds some ten pictures. The next read opens it again."""
        with self._lock:
            self._drop()

    @property
    def times(self) -> np.ndarray | None:
        """(frames,) float64, presentation times in seconds; None if the container does not state all of them."""
        timeline = self._timeline
        return np.array(timeline.times, np.float64) * timeline.unit if timeline.times else None

    def _flag(self, container: Any) -> Turn:
        """The rotation flag, which the first decoded frame carries.

        A first frame that cannot be decoded counts as one without a flag here, and raises an error when it is read.
        """
        import av

        matrix = None
        with suppress(av.FFmpegError, OSError, ValueError, StopIteration):
            matrix = display_matrix(next(container.decode(container.streams.video[0])))
        if matrix is None:
            return Turn()
        turn = turn_of(matrix)
        if turn is None:
            raise DataError(
                f"{self.path}: expected a rotation flag of 0, 90, 180 or 270 degrees, found the matrix"
                f" {matrix[:5].tolist()}; remove the flag, or turn the pictures and write the video anew"
            )
        return turn

    def _open(self) -> Any:
        import av  # slow to import, and needed for videos only

        try:
            container = av.open(str(self.path))
        except FileNotFoundError:
            raise DataError(f"{self.path}: expected a video, found no such file") from None
        except (av.FFmpegError, OSError, ValueError) as error:
            raise DataError(f"{self.path}: expected a video, cannot read it: {_line(error)}") from None
        if not container.streams.video:
            container.close()
            raise DataError(f"{self.path}: expected a video, found a file without a picture track")
        # Cameras are decoded in parallel threads already; more threads within each decoder would slow them down.
        container.streams.video[0].codec_context.thread_count = 1
        return container

    @cached_property
    def _timeline(self) -> _Timeline:
        times: list[int] = []
        keys: list[int] = []
        count, complete = 0, True
        with self._open() as container:
            unit = float(container.streams.video[0].time_base or 0)
            for packet in container.demux(container.streams.video[0]):
                if packet.size == 0 or packet.is_discard:
                    continue
                count += 1
                if packet.pts is None:
                    complete = False
                    continue
                times.append(packet.pts)
                if packet.is_keyframe:
                    keys.append(packet.pts)
        if count == 0:
            raise DataError(f"{self.path}: expected a video with at least one frame, found none")
        if not complete or len(set(times)) != count:
            return _Timeline(count, (), (0,))
        times.sort()
        number = {time: i for i, time in enumerate(times)}
        return _Timeline(count, tuple(times), tuple(sorted(number[key] for key in keys)) or (0,), unit)

    def _go_to(self, number: int) -> None:
        import av

        timeline = self._timeline
        self._damaged = -1
        key = bisect.bisect_right(timeline.keys, number) - 1  # the last key frame at or before the frame
        skips = number != self._at + 1 and key >= 0 and timeline.keys[key] > self._at
        try:
            if self._container is not None and number > self._at and not skips and self._forward(number):
                return
            while key >= 0:
                self._restart(timeline.keys[key])
                if self._forward(number):
                    return
                key -= 1  # frames after a stated key frame may need frames before it: try an earlier one
            self._restart(0)
            if self._forward(number):
                return
        except (av.FFmpegError, OSError, ValueError) as error:
            self._drop()
            raise DataError(
                f"{self.path}: frame {number} cannot be decoded: {_line(error)}; write the video anew, or choose other"
                " frames"
            ) from None
        self._drop()
        if self._damaged >= 0:
            raise DataError(
                f"{self.path}: frame {number} cannot be decoded: expected whole picture data, found them damaged in"
                f" frame {self._damaged}; write the video anew, or choose other frames"
            )
        raise DataError(
            f"{self.path}: frame {number} cannot be decoded: expected {timeline.count} frames, found none with that"
            " number; write the video anew, or choose other frames"
        )

    def _restart(self, key: int) -> None:
        """Sets the decoder to the key frame ``key``."""
        timeline = self._timeline
        if key == 0 or not timeline.times:
            self._drop()
            self._container = self._open()
        else:
            if self._container is None:
                self._container = self._open()
            stream = self._container.streams.video[0]
            self._container.seek(timeline.times[key], stream=stream, backward=True)
        self._at, self._frame, self._from = -1, None, key
        self._frames = _with_damage(self._container.decode(self._container.streams.video[0]))

    def _forward(self, number: int) -> bool:
        """Decodes up to frame ``number``; False if the decoder does not return it undamaged."""
        timeline = self._timeline
        for frame, damaged in self._frames:
            at = self._at + 1
            if timeline.times:
                at = bisect.bisect_left(timeline.times, frame.pts) if frame.pts is not None else -1
            if at > number:
                return False
            if damaged and at >= self._from:
                # Frames before the key frame of the restart lack their references and count as damaged; skip these.
                self._damaged = at
                return False
            if at == number and (not timeline.times or frame.pts == timeline.times[number]):
                self._at, self._frame = number, frame
                return True
            self._at = at
        return False

    def _drop(self) -> None:
        if self._container is not None:
            self._container.close()
        self._container, self._frame, self._at, self._frames = None, None, -1, iter(())


def _with_damage(frames: Iterator[Any]) -> Iterator[tuple[Any, bool]]:
    """Decoded frames in order of time, and whether a frame or its later reference was damaged.

    Bidirectionally predicted frames are held back, at most ``HELD`` of them, until the frame after them is decoded:
    if that one is damaged, so are they. Damage inherited from earlier frames is not reported; the caller has seen it.
    """
    held: list[Any] = []
    for frame in frames:
        held.append(frame)
        if int(frame.pict_type) == PREDICTED_BOTH_WAYS and len(held) < HELD:
            continue
        yield from _judged(held)
        held = []
    yield from _judged(held)


def _judged(held: Sequence[Any]) -> Iterator[tuple[Any, bool]]:
    corrupt = [bool(frame.is_corrupt) for frame in held]
    return ((frame, any(corrupt[i:])) for i, frame in enumerate(held))


def _line(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__
