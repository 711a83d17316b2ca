"""Sound of commands: what ``tvvc encode --audio`` takes, and what videos of ``decode`` and ``render`` get."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

from taichi_vvc.bitstream import Sound, StreamReader
from taichi_vvc.bitstream.sound import joined
from taichi_vvc.cli.output import Output
from taichi_vvc.cli.progress import say, warn
from taichi_vvc.errors import CorruptStream, DataError

if TYPE_CHECKING:
    from taichi_vvc.capture.sequence import MultiViewSequence

AUTO = "auto"
_SLIGHT = 0.02  # s by which a sound may be longer or shorter than the pictures without a word


def sound_for(sequence: MultiViewSequence, source: str, shift: float) -> Sound:
    """The sound of a capture's selected frames; says where it is from, and where it ends early or is cut.

    Args:
        sequence: the capture.
        source: a file, whose sound begins with frame 0 of the capture; or ``auto``: that of a camera's video.
        shift: seconds of the sound that come before frame 0.

    Raises:
        DataError: the file has no sound there, or no camera has any.
    """
    from taichi_vvc.media.sound import BITRATE, read_sound

    duration = Fraction(len(sequence)) / sequence.fps
    if source == AUTO:
        path, begin, whose = _of_a_camera(sequence)
    else:
        path, whose = Path(source), ""
        begin = Fraction(sequence.first_index) / (sequence.fps * sequence.frame_step)
    begin += Fraction(shift).limit_denominator(1_000_000)
    found = read_sound(path, begin, duration)
    sound, kind = found.sound, "mono" if found.sound.channels == 1 else "stereo"
    how = "copied" if found.copied else f"{found.codec} as Opus of {BITRATE * sound.channels // 1000} kbit/s"
    parts = [f"sound of {path.name}{whose}: {kind}, {how}"]
    if begin:
        parts.append(f"from {float(begin):.3f} s on")
    if found.more > _SLIGHT:
        parts.append(f"{found.more:.2f} s longer than the frames, cut")
    elif found.more < -_SLIGHT:
        parts.append(f"{-found.more:.2f} s shorter than the frames, then silence")
    say(", ".join(parts))
    return sound


def _of_a_camera(sequence: MultiViewSequence) -> tuple[Path, Fraction, str]:
    """The video of the first camera with sound, the time of the first frame in it, and a clause that says whose."""
    from taichi_vvc.capture.readers.footage import VideoPicture
    from taichi_vvc.media.sound import has_sound

    with_sound = []
    for entry in sequence.entries[0]:
        if isinstance(entry.image, VideoPicture) and has_sound(entry.image.video.path):
            with_sound.append(entry)
    if not with_sound:
        raise DataError(
            f"{sequence.path}: --audio auto: expected a camera whose video has sound, found none; give --audio FILE"
        )
    entry, picture = with_sound[0], with_sound[0].image
    assert isinstance(picture, VideoPicture)
    times = picture.video.times
    if times is not None:
        begin = Fraction(float(times[picture.number] - times[0])).limit_denominator(1_000_000)
    else:
        begin = Fraction(picture.number) / (picture.video.fps or sequence.fps * sequence.frame_step)
    return picture.video.path, begin, f" (camera {entry.camera.name}, of {len(with_sound)} with sound)"


def clip_sound(file: Path, output: Output, frames: range, fps: Fraction, rate: Fraction, pictures: int) -> Sound | None:
    """The sound of a video of a file's frames, None without any.

    Args:
        file: the .tvvc file.
        output: where pictures go.
        frames: of the file, repeated as often as needed.
        fps: of the file.
        rate: pictures per second.
        pictures: of the video.
    """
    if not output.is_video or not frames:
        return None
    try:
        with StreamReader(file) as reader:
            sound = reader.sound()
    except CorruptStream as error:
        warn(f"{error}; {output} has no sound")
        return None
    duration, whole = Fraction(pictures) / rate, Fraction(len(frames)) / fps
    if sound is None or (len(frames) == 1 and duration > whole):
        return None
    begin, pieces = Fraction(frames[0]) / fps, []
    while duration > 0:
        pieces.append((sound, begin, min(whole, duration)))
        duration -= whole
    found = joined(pieces)
    return found if found is not None and found.samples else None
