"""Captures with a flash and sounds with a click, and when a video shows the one and plays the other."""

from __future__ import annotations

import io
from fractions import Fraction
from pathlib import Path

import captures
import numpy as np
from PIL import Image

from taichi_vvc.bitstream.sound import RATE

LOUD = 0.2


def click(seconds: float, at: float, channels: int = 1, rate: int = RATE) -> np.ndarray:
    """(samples, channels) float32: silence but for 10 ms of 2 kHz that begin at ``at`` seconds."""
    samples = np.zeros((round(seconds * rate), channels), np.float32)
    first, count = round(at * rate), rate // 100
    samples[first : first + count] = 0.8 * np.cos(2 * np.pi * 2000 * np.arange(count) / rate)[:, None]
    return samples


def write_sound(path: Path, samples: np.ndarray, codec: str, rate: int = RATE, pictures: float | None = None) -> Path:
    """Writes samples of (count, channels) by FFmpeg; ``pictures``: also a black video that begins at this time."""
    import av

    layout = ("mono", "stereo")[samples.shape[1] - 1]
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=rate)
        stream.layout = layout
        video = None
        if pictures is not None:
            video = container.add_stream("libx264", rate=25)
            video.width = video.height = 32
            video.pix_fmt = "yuv420p"
        resampler = av.AudioResampler(format=stream.format.name, layout=layout, rate=rate)
        for first in range(0, len(samples), 960):
            block = np.ascontiguousarray(samples[first : first + 960]).reshape(1, -1)
            frame = av.AudioFrame.from_ndarray(block, format="flt", layout=layout)
            frame.sample_rate, frame.pts, frame.time_base = rate, first, Fraction(1, rate)
            for part in resampler.resample(frame):
                container.mux(stream.encode(part))
        container.mux(stream.encode(None))
        for number in range(0 if video is None else 10):
            picture = av.VideoFrame.from_ndarray(np.zeros((32, 32, 3), np.uint8), format="rgb24")
            picture.pts, picture.time_base = number + round(25 * (pictures or 0)), Fraction(1, 25)
            container.mux(video.encode(picture))
        if video is not None:
            container.mux(video.encode(None))
    return path


def click_time(source: Path | bytes, channel: int = 0) -> float:
    """When the click of a file is heard, seconds, as FFmpeg decodes it; infinity where it is not."""
    import av

    with av.open(io.BytesIO(source) if isinstance(source, bytes) else str(source)) as container:
        for frame in container.decode(audio=0):
            block = frame.to_ndarray()
            level = np.abs(block[channel] if len(block) > 1 else block.reshape(frame.samples, -1)[:, channel])
            level = level / 32768 if frame.format.name.startswith("s16") else level
            loud = np.flatnonzero(level > LOUD)
            if loud.size:
                return float(frame.pts * frame.time_base) + int(loud[0]) / frame.sample_rate
    return float("inf")


def flash_time(path: Path) -> float:
    """When the first picture of a video that is brighter than half of the brightest is shown, seconds."""
    import av

    with av.open(str(path)) as container:
        shown = [(f.pts * f.time_base, f.to_ndarray(format="rgb24").mean()) for f in container.decode(video=0)]
    brightest, darkest = max(level for _, level in shown), min(level for _, level in shown)
    return float(next(time for time, level in shown if level > 0.5 * (brightest + darkest)))


def write_flash(folder: Path, frames: int, flash: int, fps: int, size: int = 32) -> Path:
    """A capture on white whose subject is black in all frames but ``flash``, in which it is white, too."""
    captures.write_capture(folder, cameras=6, frames=frames, size=size, fps=fps)
    for file in folder.rglob("*.png"):
        pixels = np.array(Image.open(file))
        pixels[..., :3] = 255 * (int(file.stem) == flash)
        Image.fromarray(pixels).save(file)
    return folder
