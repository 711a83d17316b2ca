"""The progress lines and the summary of ``tvvc encode``, from the figures of the encoded frames."""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

from taichi_vvc.bitstream import StreamReader
from taichi_vvc.cli.progress import say_result
from taichi_vvc.config import crf_of_lambda
from taichi_vvc.errors import TvvcError
from taichi_vvc.media.metrics import finite_mean
from taichi_vvc.types import FrameStats
from taichi_vvc.words import counted


@dataclass
class Account:
    """The frames of one file: those that this run encoded, and those that a resumed file had before.

    Attributes:
        total: number of frames that the file will have.
        fps: frames per second.
        varies: whether each frame has a lambda of its own (rate control).
        found: bytes of each frame that the file had before this run.
        done: figures of the frames that this run encoded.
    """

    total: int
    fps: Fraction
    varies: bool = False
    found: list[int] = field(default_factory=list)
    done: list[FrameStats] = field(default_factory=list)

    def progress_text(self, progress: Any) -> str:
        """The state of the current frame, for the live line."""
        parts = [f"frame {progress.frame + 1}/{self.total}", f"step {progress.step}/{progress.steps}"]
        if progress.check:
            return f"checking the cameras, fit {progress.check}  {parts[1]}  {progress.psnr:.2f} dB"
        if progress.workers:
            whole, every = progress.parts
            parts = [f"{whole}/{every} parts", f"{counted(progress.workers, 'worker')}", *parts[:1]]
        if progress.probe:
            parts.insert(0, f"trial {progress.probe}")
        if self.varies:
            parts.append(f"crf {crf_of_lambda(progress.lambda_rate):.1f}")
        if self.done:
            parts.append(f"{self._seconds() / len(self.done):.1f} s/frame")
        parts.append(f"{progress.psnr:.2f} dB")
        # The first steps of a fit have no rate term.
        if progress.bits > 0:
            parts.append(f"{progress.bits / 8000:.1f} kB")
        if self.done:
            parts.append(f"{self.bitrate():.0f} kbit/s so far")
        return "  ".join(parts)

    def frame_line(self, frame: FrameStats) -> str:
        """The line about a finished frame, which must be the last of ``done``."""
        control = f"crf {crf_of_lambda(frame.lambda_rate):4.1f}  " if self.varies else ""
        return (
            f"frame {frame.index + 1}/{self.total}  {frame.type:5}  {control}{frame.bytes / 1000:8.1f} kB  "
            f"{frame.psnr:6.2f} dB  {frame.seconds:6.1f} s  {self.bitrate():8.0f} kbit/s so far"
        )

    def bitrate(self) -> float:
        """kbit/s of the file's frames so far; ``done`` must not be empty."""
        # A resumed encode may repeat the last of the frames found.
        before = self.found[: self.done[0].index]
        size = sum(before) + sum(frame.bytes for frame in self.done)
        return size * 8 / 1000 * float(self.fps) / (len(before) + len(self.done))

    def say(self, output: Path) -> None:
        """Prints the summary: figures of the whole file, then figures of this run's frames."""
        size, seconds, psnr = output.stat().st_size, self._seconds(), finite_mean([frame.psnr for frame in self.done])
        fields = {
            "output": str(output),
            "frames": self.total,
            "encoded": len(self.done),
            "bytes": size,
            "seconds": float(seconds),
            "psnr": psnr,
        }
        if not self.done:
            say_result(
                f"{output}: {counted(self.total, 'frame')}, there already, {size / 1000:.1f} kB",
                **fields,
            )
            return
        judged = finite_mean([frame.judged_psnr for frame in self.done])
        run = [
            "exact on training rays" if psnr is None else f"{psnr:.2f} dB on training rays",
            *([] if judged is None else [f"{judged:.2f} dB as tvvc eval measures"]),
            f"{seconds:.0f} s",
        ]
        scope = "," if len(self.done) == self.total else f"; the {counted(len(self.done), 'frame')} of this run:"
        say_result(
            f"{output}: {counted(self.total, 'frame')}, {size / 1000:.1f} kB, {size / 1000 / self.total:.2f} kB/frame, "
            f"{size * 8 / 1000 * float(self.fps) / self.total:.0f} kbit/s{scope} {', '.join(run)}",
            **fields,
        )

    def _seconds(self) -> float:
        return sum(frame.seconds for frame in self.done)


def frame_fields(frame: FrameStats) -> dict[str, Any]:
    """The figures of a finished frame as plain JSON values, for programs."""
    return {
        "frame": frame.index,
        "type": frame.type,
        "bytes": frame.bytes,
        "components": dict(frame.components),
        "lambda": float(frame.lambda_rate),
        "psnr": float(frame.psnr),
        "judged_psnr": float(frame.judged_psnr),
        "seconds": float(frame.seconds),
    }


def frame_sizes(path: Path) -> list[int]:
    """Bytes of each whole frame in a file; an empty list if the file cannot be resumed."""
    try:
        with StreamReader(path) as reader:
            return [reader.frame_size(number) for number in range(len(reader.frames))]
    except TvvcError:
        return []
