"""Pictures, depth maps and videos to disk. A file appears under its name only when it is whole."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO

import imageio.v3 as imageio
import numpy as np
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from taichi_vvc.bitstream.sound import Sound
from taichi_vvc.errors import ConfigError, DataError
from taichi_vvc.media.pictures import to_bytes
from taichi_vvc.media.sound import SoundTrack


@dataclass(frozen=True)
class VideoCodec:
    """A video codec as it is written here.

    Attributes:
        encoder: FFmpeg's name of the encoder.
        pixels: pixel format of opaque videos; all are of BT.709.
        containers: suffixes that it is put into.
        alpha: pixel format with alpha, None where the codec has none.
        crf: (least, usual, largest) value of the encoder's constant rate factor, None where it has none.
        options: further options of the encoder.
    """

    encoder: str
    pixels: str
    containers: tuple[str, ...]
    alpha: str | None = None
    crf: tuple[int, int, int] | None = None
    options: dict[str, str] = field(default_factory=dict)


# The usual quality of each is hard to tell from the original.
CODECS: dict[str, VideoCodec] = {
    "h264": VideoCodec("libx264", "yuv420p", (".mp4", ".mov", ".mkv"), crf=(0, 17, 51), options={"preset": "medium"}),
    "h265": VideoCodec(
        "libx265",
        "yuv420p",
        (".mp4", ".mov", ".mkv"),
        crf=(0, 20, 51),
        options={"preset": "medium", "x265-params": "log-level=none"},
    ),
    "vp9": VideoCodec(
        "libvpx-vp9", "yuv420p", (".webm", ".mkv"), "yuva420p", (0, 20, 63), {"b": "0", "row-mt": "1", "cpu-used": "4"}
    ),
    # Profile 4444.
    "prores": VideoCodec("prores_ks", "yuv444p10le", (".mov", ".mkv"), "yuva444p10le", options={"profile": "4"}),
}
# Pictures up to which a video may end before x265 knows when to decode its first one.
_REORDERED = 4
CONTAINERS = (".mp4", ".mov", ".mkv", ".webm")
# What a container gets when nobody asks, without and with alpha.
_USUAL = {".mp4": ("h264", None), ".mov": ("h264", "prores"), ".mkv": ("h264", "vp9"), ".webm": ("vp9", "vp9")}


def video_codec(suffix: str, name: str | None = None, alpha: bool = False) -> VideoCodec:
    """The codec of a video with this suffix (lower case).

    Args:
        name: of :data:`CODECS`; None takes the usual one.
        alpha: whether it has to hold transparency.

    Raises:
        ConfigError: there is no such container or codec, or they do not go together; the line says what does.
    """
    if suffix not in CONTAINERS:
        raise ConfigError(f"expected a video name ending in {', '.join(CONTAINERS)}, found '{suffix}'")
    name = name or _USUAL[suffix][alpha]
    if name is not None and name not in CODECS:
        raise ConfigError(f"expected a codec of {', '.join(CODECS)}, found '{name}'")
    if name is None or (alpha and CODECS[name].alpha is None):
        raise ConfigError(
            f"expected a video that holds transparency, {suffix} with {name or 'its codecs'} does not; write .mov "
            "(ProRes 4444), .webm (VP9) or PNG pictures"
        )
    if suffix not in CODECS[name].containers:
        raise ConfigError(f"expected {name} in {', '.join(CODECS[name].containers)}, found {suffix}")
    return CODECS[name]


DEPTH_KEY = "depth_unit"


@contextmanager
def atomic(path: str | Path) -> Iterator[Path]:
    """A temporary name beside ``path`` (same suffix), renamed to it on success and removed on failure.

    Raises:
        DataError: the folder cannot be made or the file cannot be renamed.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.stem}.part{path.suffix}")
    try:
        with one_line(path):
            path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        with one_line(path):
            os.replace(temporary, path)
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


@contextmanager
def one_line(path: str | Path) -> Iterator[None]:
    """Turns the system's errors about writing ``path`` into a DataError of one line."""
    try:
        yield
    except OSError as error:
        raise DataError(f"{path}: cannot write: {error.strerror or error}") from None


def write_png(path: str | Path, image: np.ndarray) -> None:
    """Write (H, W), (H, W, 3) or (H, W, 4) values in [0, 1], or uint8, as an 8-bit PNG.

    Raises:
        DataError: the file cannot be written.
    """
    _write(path, imageio.imwrite("<bytes>", to_bytes(image), plugin="pillow", extension=".png"))


def write_jpeg(path: str | Path, image: np.ndarray) -> None:
    """Write (H, W, 3) values in [0, 1], or uint8, as a JPEG of quality 95.

    Raises:
        DataError: the file cannot be written.
    """
    _write(path, imageio.imwrite("<bytes>", to_bytes(image), plugin="pillow", extension=".jpg", quality=95))


def write_text(path: str | Path, text: str) -> None:
    """Write a whole text file, UTF-8.

    Raises:
        DataError: the file cannot be written.
    """
    _write(path, text.encode())


def _write(path: str | Path, data: bytes) -> None:
    """Writes a whole file. The libraries only make its bytes: on a full disk they print tracebacks of their own."""
    with atomic(path) as temporary, one_line(path):
        temporary.write_bytes(data)


def depth_unit(farthest: float) -> float:
    """The power of ten that fits depths up to ``farthest`` into 16 bits: 5 m gives 0.0001 m, i.e. 0.1 mm."""
    if not farthest > 0.0 or not np.isfinite(farthest):
        raise ConfigError(f"expected a positive farthest depth, found {farthest}")
    exponent = int(np.ceil(np.log10(farthest / 65535.0)))
    return float(f"1e{exponent}")


def write_depth_png(path: str | Path, depth: np.ndarray, unit: float) -> None:
    """Write depth as a 16-bit grey PNG: value = depth / ``unit``, rounded.

    0 means nothing was hit (a depth that is not finite or not positive); 65535 also holds all that is farther. The
    unit, in world units per step, stands in the PNG's text chunk ``depth_unit``.

    Args:
        depth: (H, W) world units.
        unit: as from :func:`depth_unit`, the same for all pictures of a sequence.
    """
    hit = np.isfinite(depth) & (depth > 0.0)
    steps = np.where(hit, np.clip(np.rint(np.where(hit, depth, 1.0) / unit), 1, 65535), 0).astype(np.uint16)
    note = PngInfo()
    note.add_text(DEPTH_KEY, repr(float(unit)))
    data = io.BytesIO()
    Image.fromarray(steps).save(data, format="PNG", pnginfo=note)
    _write(path, data.getvalue())


def read_depth_png(path: str | Path) -> np.ndarray:
    """(H, W) float32 depth in world units as :func:`write_depth_png` wrote it; 0 where nothing was hit."""
    with Image.open(path) as picture:
        unit = picture.info.get(DEPTH_KEY)
        if unit is None:
            raise DataError(f'{path}: expected a PNG with the text "{DEPTH_KEY}", found none')
        return np.asarray(picture).astype(np.float32) * np.float32(unit)


def video_size(width: int, height: int) -> tuple[int, int]:
    """The (width, height) of a video of such pictures: its pixel format needs even ones."""
    return width + width % 2, height + height % 2


class VideoWriter:
    """A video of 8-bit sRGB pictures, BT.709: ``with VideoWriter("out.mp4", fps) as video: video.add(image)``.

    Pictures of odd size get their last row or column doubled, see :func:`video_size`. The file appears
    when the block ends without an exception; otherwise nothing is left behind.

    Args:
        path: .mp4, .mov, .mkv or .webm; or a binary stream, such as a pipe, which gets Matroska and is not closed.
        fps: frames per second.
        crf: constant rate factor of the encoder; None: the codec's usual one. 0 is best.
        codec: of :data:`CODECS`; None: the container's usual one.
        alpha: pictures have a fourth channel, straight alpha, which is kept.
        sound: what is heard from the first picture on; cut where the pictures end.

    Raises:
        ConfigError: container, codec and alpha do not go together, ``crf`` is out of range, or this installation's
            FFmpeg has no such encoder.
        DataError: the file cannot be written, or pictures differ in size.
        OSError: the binary stream cannot be written to.
    """

    def __init__(
        self,
        path: str | Path | BinaryIO,
        fps: Fraction | float,
        crf: int | None = None,
        codec: str | None = None,
        alpha: bool = False,
        sound: Sound | None = None,
    ) -> None:
        self._sound, self._count = sound, 0
        self._track: SoundTrack | None = None
        self._pipe = None if isinstance(path, (str, Path)) else _Pipe(path)
        self.path = Path(path) if isinstance(path, (str, Path)) else Path("-")
        self._alpha = alpha
        self._codec = video_codec(".mkv" if self._pipe else self.path.suffix.lower(), codec, alpha)
        self._fps = Fraction(fps).limit_denominator(100_000)
        if self._fps <= 0:
            raise ConfigError(f"{path}: expected a positive frame rate, found {fps}")
        self._crf = checked_crf(self._codec, crf)
        self._shape: tuple[int, ...] | None = None
        self._container: Any = None
        self._stream: Any = None
        self._session = self._open()

    def __enter__(self) -> VideoWriter:
        return self._session.__enter__()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._session.__exit__(kind, error, trace)

    @contextmanager
    def _open(self) -> Iterator[VideoWriter]:
        import av  # heavy, and only wanted here

        place: Any = atomic(self.path) if self._pipe is None else nullcontext(self._pipe)
        with place as target:
            with self._writing():
                if self._pipe is None:
                    self._container = av.open(str(target), mode="w")
                else:
                    self._container = av.open(target, mode="w", format="matroska")
            try:
                self._stream = self._add_stream()
                if self._sound is not None:
                    self._track = SoundTrack(self._container, self.path.suffix.lower(), self._sound)
                yield self
                if self._shape is None:
                    raise DataError(f"{self.path}: a video needs at least one picture")
                with self._writing():
                    last = self._stream.encode(None)
                    if self._codec.encoder == "libx265" and len(last) == self._count <= _REORDERED:
                        with_decoding_times(last)
                    self._container.mux(last)
            finally:
                with self._writing():
                    self._container.close()
                if self._track is not None:
                    self._track.close()

    def _add_stream(self) -> Any:
        options = dict(self._codec.options)
        if self._crf is not None:
            options["crf"] = str(self._crf)
        try:
            return self._container.add_stream(self._codec.encoder, rate=self._fps, options=options)
        except (ValueError, LookupError):  # PyAV's ways to say that a codec is unknown
            raise ConfigError(
                f"{self.path}: no {self._codec.encoder} encoder in this FFmpeg; install PyAV from its wheels (pip "
                "install av), or write PNG pictures into a folder instead"
            ) from None

    def add(self, image: np.ndarray) -> None:
        """Append one picture, (H, W, 3), or (H, W, 4) where the video has alpha; values in [0, 1] or uint8."""
        import av

        pixels = to_bytes(image)
        layout, target = ("rgba", self._codec.alpha) if self._alpha else ("rgb24", self._codec.pixels)
        if pixels.ndim != 3 or pixels.shape[2] != len(layout.rstrip("24")):
            raise DataError(f"{self.path}: expected pictures of {layout}, found an array of shape {pixels.shape}")
        if self._shape is None:
            self._shape = pixels.shape
            height, width = pixels.shape[:2]
            self._stream.width, self._stream.height = video_size(width, height)
            self._stream.pix_fmt = target
            context = self._stream.codec_context
            context.colorspace, context.color_primaries, context.color_trc, context.color_range = 1, 1, 1, 1
        elif pixels.shape != self._shape:
            raise DataError(f"{self.path}: expected pictures of one shape, found {pixels.shape} after {self._shape}")
        height, width = pixels.shape[:2]
        columns, rows = video_size(width, height)
        pixels = np.pad(pixels, ((0, rows - height), (0, columns - width), (0, 0)), mode="edge")
        frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), format=layout)
        frame = frame.reformat(format=target, dst_colorspace="ITU709", dst_color_range="MPEG")
        with self._writing():
            self._container.mux(self._stream.encode(frame))
            self._count += 1
            if self._track is not None:
                self._track.fill(self._count / self._fps)

    def _writing(self) -> Any:
        """What is around every write: a pipe's errors stay what they are, so that its closed end can be told."""
        return one_line(self.path) if self._pipe is None else self._pipe.own_errors()


def with_decoding_times(packets: Sequence[Any]) -> None:
    """Gives packets of a whole video, in coding order, decoding times that lie before those at which they are shown.

    x265 takes these times from a later picture, and leaves them undefined in a video that ends before it.
    """
    for number, packet in enumerate(packets):
        packet.dts = packets[0].pts + number - (len(packets) - 1)


def checked_crf(codec: VideoCodec, crf: int | None) -> int | None:
    """The constant rate factor to encode with: the one asked for, or the codec's usual one.

    Raises:
        ConfigError: it is out of the codec's range, or the codec has none.
    """
    if codec.crf is None:
        if crf is not None:
            raise ConfigError(f"expected no constant rate factor for {codec.encoder}, which has none, found {crf}")
        return None
    least, usual, largest = codec.crf
    if crf is not None and not least <= crf <= largest:
        raise ConfigError(f"expected a constant rate factor of {least} to {largest} for {codec.encoder}, found {crf}")
    return usual if crf is None else crf


class _Pipe:
    """The writing side of a binary stream, without a ``seek`` that a pipe would not stand by."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._error: OSError | None = None

    def write(self, data: bytes) -> int:
        """Writes all of ``data``."""
        try:
            return self._stream.write(data)
        except OSError as error:
            self._error = self._error or error
            raise

    @contextmanager
    def own_errors(self) -> Iterator[None]:
        """Raises what the stream raised, for which PyAV has an error of its own when a video ends."""
        try:
            yield
        except Exception:
            if self._error is None:
                raise
            raise self._error from None
