"""Sound of any file that FFmpeg reads, as Opus packets; and packets into videos."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from taichi_vvc.bitstream.sound import PACKET, PREROLL, RATE, Sound, packet_samples, piece, samples_of
from taichi_vvc.errors import DataError
from taichi_vvc.media.ogg import ogg_of

BITRATE = 48_000
"""Bits per second and channel of sound that is coded here."""

_NEAR = Fraction(1, 500)  # s: how far packets may stand from a regular 20 ms and still be copied
_JITTER = RATE // 25  # samples by which times of a file may be off
_ATTACHED = 0x400  # FFmpeg's flag of a track that is a cover picture


@dataclass(frozen=True)
class Recording:
    """The sound of a file, cut to what is needed.

    Attributes:
        sound: from the beginning that was asked for; it may end early.
        copied: whether the file's own packets were taken.
        codec: FFmpeg's name of the file's codec.
        more: seconds of the file's sound behind what was needed, where that is known; negative: that are missing.
    """

    sound: Sound
    copied: bool
    codec: str
    more: float


def has_sound(path: Path) -> bool:
    """Whether a file has a track of sound; False for one that cannot be read."""
    import av

    try:
        with av.open(str(path)) as container:
            return bool(container.streams.audio)
    except (av.FFmpegError, OSError, ValueError):
        return False


def read_sound(path: Path, begin: Fraction, duration: Fraction) -> Recording:
    """The sound of a file from ``begin`` on for ``duration``, both in seconds.

    Time 0 is the first picture of a file that has pictures, else the beginning of the sound. Opus packets of 20 ms
    in one or two channels are copied; all else is coded at :data:`BITRATE`, more than two channels as two. The packets
    up to any time do not depend on the ``duration``.

    Raises:
        DataError: the file cannot be read, has no track of sound, or none there.
    """
    import av

    try:
        found = _copied(path, begin, duration)
        if found is None:
            found = _coded(path, begin, duration)
    except FileNotFoundError:
        raise DataError(f"{path}: expected a file with sound, found no such file") from None
    except (av.FFmpegError, OSError, ValueError) as error:
        line = " ".join(str(error).split())[:200]
        raise DataError(f"{path}: expected a file with sound, cannot read it: {line}") from None
    if not found.sound.samples:
        raise DataError(f"{path}: expected sound from {float(begin):g} s on, found none; it ends before")
    return found


def _opened(path: Path) -> tuple[Any, Any, Fraction | None]:
    """The container, its first track of sound, and the time of its first picture in seconds, None without any."""
    import av

    container = av.open(str(path))
    if not container.streams.audio:
        container.close()
        raise DataError(f"{path}: expected a track of sound, found none")
    zero = None
    for video in container.streams.video:
        if not int(video.disposition) & _ATTACHED:
            zero = Fraction(video.start_time or 0) * (video.time_base or 1)
            break
    return container, container.streams.audio[0], zero


def _copied(path: Path, begin: Fraction, duration: Fraction) -> Recording | None:
    """The file's own packets, where they are Opus of 20 ms without gaps; else None."""
    container, stream, zero = _opened(path)
    with container:
        context = stream.codec_context
        if context.name not in ("opus", "libopus") or context.channels > 2:
            return None
        packets: list[bytes] = []
        first = Fraction(0)
        for packet in container.demux(stream):
            if not packet.size:
                continue
            data = bytes(packet)
            if packet.pts is None or packet_samples(data) != PACKET:
                return None
            time = packet.pts * packet.time_base
            if not packets:
                first = time
            elif abs(time - first - Fraction(len(packets) * PACKET, RATE)) > _NEAR:
                return None
            packets.append(data)
        head = bytes(context.extradata or b"")
        if not packets or len(head) < 12:
            return None
        # Packets whose times are rounded to milliseconds stand where the header says.
        skip = int.from_bytes(head[10:12], "little")
        if zero is None:
            zero = first + Fraction(skip, RATE)
        # Whatever comes before time 0 is skipped.
        place = samples_of(zero + begin - first)
        if place < 0:
            return None
        whole = Sound(context.channels, place, tuple(packets))
        more = whole.seconds - float(duration)
        return Recording(piece(whole, Fraction(0), duration), True, "opus", more) if whole.samples else None


def _coded(path: Path, begin: Fraction, duration: Fraction) -> Recording:
    """The file's sound, decoded and coded anew."""
    import av

    container, stream, zero = _opened(path)
    with container:
        channels = min(2, stream.codec_context.channels)
        layout = ("mono", "stereo")[channels - 1]
        encoder: Any = av.CodecContext.create("libopus", "w")
        encoder.sample_rate, encoder.layout, encoder.format = RATE, layout, "flt"
        encoder.bit_rate, encoder.time_base = BITRATE * channels, Fraction(1, RATE)
        encoder.options = {"frame_duration": "20", "application": "audio"}
        encoder.open()
        delay = int.from_bytes(bytes(encoder.extradata or b"")[10:12], "little")
        # What comes before the beginning lets a decoder settle, as in a file that was cut.
        lead = PREROLL
        count = -(-(samples_of(duration) + lead + delay) // PACKET)
        packets: list[bytes] = []
        heard = 0
        for number, (block, there) in enumerate(_blocks(container, stream, zero, begin, lead, channels)):
            if number < count:
                frame = av.AudioFrame.from_ndarray(block.reshape(1, -1), format="flt", layout=layout)
                frame.sample_rate, frame.pts, frame.time_base = RATE, number * PACKET, Fraction(1, RATE)
                packets += [bytes(packet) for packet in encoder.encode(frame)]
            heard += there
        silence = np.zeros((1, PACKET * channels), np.float32)
        needed = min(count, -(-(heard + delay) // PACKET))
        while len(packets) < needed:
            frame = av.AudioFrame.from_ndarray(silence, format="flt", layout=layout)
            frame.sample_rate, frame.pts, frame.time_base = RATE, len(packets) * PACKET, Fraction(1, RATE)
            packets += [bytes(packet) for packet in encoder.encode(frame)]
        sound = Sound(channels, lead + delay, tuple(packets[:needed]))
        more = (heard - lead) / RATE - float(duration)
        return Recording(sound, False, stream.codec_context.name, more)


def _blocks(
    container: Any, stream: Any, zero: Fraction | None, begin: Fraction, lead: int, channels: int
) -> Iterator[tuple[np.ndarray, int]]:
    """The sound from ``lead`` samples before ``begin`` on in blocks of (960, channels) float32, with silence where the
    file has none; and how many samples of each are the file's, or stand before one that is."""
    import av

    resampler = av.AudioResampler(format="flt", layout=("mono", "stereo")[channels - 1], rate=RATE)

    def parts() -> Iterator[tuple[int | None, np.ndarray]]:
        """Samples, and where they begin by the file's times, in samples; None: where the ones before end."""
        origin = zero
        for frame in container.decode(stream):
            time = None if frame.pts is None or not frame.time_base else frame.pts * frame.time_base
            origin = time if origin is None else origin
            place = None if time is None else samples_of(time - (origin or 0) - begin) + lead
            # The resampler would fill gaps in its own way.
            frame.pts = None
            for part in resampler.resample(frame):
                yield place, part.to_ndarray().reshape(-1, channels)
                place = None
        for part in resampler.resample(None):
            yield None, part.to_ndarray().reshape(-1, channels)

    kept = np.zeros((0, channels), np.float32)
    at: int | None = None  # where the next samples belong, in samples from the beginning of the first block
    made = 0  # samples so far, those in ``kept`` included
    for place, samples in parts():
        if at is None or (place is not None and abs(place - at) > _JITTER):
            at = place or 0
            gap = max(0, at - made)
            kept, made = np.concatenate([kept, np.zeros((gap, channels), np.float32)]), made + gap
        # What lies before the first block, or where others were already, is dropped.
        kept = np.concatenate([kept, samples[max(0, made - at) :]])
        at += len(samples)
        made = max(made, at)
        whole = len(kept) // PACKET * PACKET
        for k in range(0, whole, PACKET):
            yield np.ascontiguousarray(kept[k : k + PACKET]), PACKET
        kept = kept[whole:]
    if len(kept):
        block = np.zeros((PACKET, channels), np.float32)
        block[: len(kept)] = kept
        yield block, len(kept)


class SoundTrack:
    """The track of sound of a video that PyAV writes; made before the first picture, filled as pictures come.

    Args:
        container: an open output of PyAV.
        suffix: of the video: ``.mov`` gets AAC, which players of that container know, all others the packets.
        sound: from the first picture on.
    """

    def __init__(self, container: Any, suffix: str, sound: Sound) -> None:
        import av

        self._container = container
        self._source: Any = av.open(io.BytesIO(ogg_of(sound)))
        source: Any = self._source.streams.audio[0]
        if suffix == ".mov":
            self._stream = container.add_stream("aac", rate=RATE)
            self._stream.layout = source.codec_context.layout
            self._stream.bit_rate = 2 * BITRATE * sound.channels
            self._packets = self._coded(source)
        else:
            self._stream = container.add_stream_from_template(source)
            self._packets = self._copied(source)
        self._next: Any = None

    def fill(self, until: Fraction) -> None:
        """Writes what is heard up to a time, seconds."""
        while True:
            self._next = next(self._packets, None) if self._next is None else self._next
            if self._next is None or (self._next.pts or 0) * self._next.time_base >= until:
                return
            self._container.mux(self._next)
            self._next = None

    def close(self) -> None:
        """Closes what the sound is read from."""
        self._source.close()

    def _copied(self, source: Any) -> Iterator[Any]:
        for packet in self._source.demux(source):
            if packet.size:
                packet.stream = self._stream
                yield packet

    def _coded(self, source: Any) -> Iterator[Any]:
        import av

        for packet in self._source.demux(source):
            frames: list[Any] = []
            # What is no sound, though the file says so, is silent.
            with suppress(av.FFmpegError):
                frames = packet.decode()
            for frame in frames:
                yield from self._stream.encode(frame)
        yield from self._stream.encode(None)
