"""Sound within a file: written ahead of the frames that it is heard with, a run at a time."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from taichi_vvc.bitstream import versions
from taichi_vvc.bitstream.reader import StreamReader
from taichi_vvc.bitstream.sound import MAX_PACKETS, Sound, SoundData
from taichi_vvc.bitstream.writer import StreamWriter
from taichi_vvc.errors import ConfigError

_NUMBERS = 24  # bytes of a chunk besides its packets, framing included


@dataclass
class SoundWriter:
    """Appends a sound to a file, run by run.

    Attributes:
        sound: from the first frame on; what is heard after the last one is left out.
        fps: frames per second.
        frames: of the whole file.
        period: frames whose sound makes a run.
        sent: packets that are in the file.
    """

    sound: Sound
    fps: Fraction
    frames: int
    period: int
    sent: int = 0

    def before_frame(self, writer: StreamWriter, number: int) -> None:
        """Appends a run, if there is something left to be heard by the end of frame ``number``, which comes next."""
        if self.sound.packets_until((number + 1) / self.fps) <= self.sent:
            return
        end = self.sound.packets_until(min(number + self.period, self.frames) / self.fps)
        while self.sent < end:
            packets = self.sound.packets[self.sent : min(end, self.sent + MAX_PACKETS)]
            writer.add_sound(SoundData(self.sent, self.sound.channels, self.sound.skip, packets))
            self.sent += len(packets)

    @property
    def size(self) -> int:
        """Bytes that the whole sound takes in the file, or a few more."""
        packets = self.sound.packets[: self.sound.packets_until(self.frames / self.fps)]
        # Few packets are of 128 bytes or less, whose length takes one byte and not two.
        return sum(len(packet) + 2 for packet in packets) + _NUMBERS * -(-self.frames // self.period)


def stored_packets(path: Path, sound: Sound | None) -> int:
    """How many packets of a ``sound`` stand in a file before the end of its last frame.

    Raises:
        ConfigError: the file was begun without sound and there is some now, the other way round, or with another one.
        StreamError: the file cannot be read or is damaged.
    """
    with StreamReader(path) as reader:
        # What was stopped before anything was written may go on with or without.
        there = bool(reader.sounds) or (sound is not None and not reader.frames)
        if there != (sound is not None):
            expected, found = ("the sound", "none") if there else ("no sound", "some")
            line = f"expected {expected}, as it was begun, found {found}; set --audio so, or start anew"
            raise ConfigError(f"{path}: {line}")
        if sound is None:
            return 0
        end = reader.frames[-1].offset if reader.frames else 0
        count = 0
        for index, entry in enumerate(reader.sounds):
            if entry.offset > end:
                break
            run = reader.read_sound(index)
            own = sound.packets[run.number : run.number + len(run.packets)]
            same = (run.channels, run.skip, run.packets) == (sound.channels, sound.skip, own)
            if run.number != count or not same:
                raise ConfigError(f"{path}: expected the sound that it was begun with, found another one; start anew")
            count += len(run.packets)
        return count


def sound_writer(sound: Sound | None, fps: Fraction, frames: int, version: int) -> tuple[SoundWriter | None, int]:
    """What writes a sound with so many frames, about a second at a time; and the version of a file with it.

    Args:
        sound: from the first frame on; None for none.
        fps, frames: of the file.
        version: that the file would have without it.
    """
    if sound is None or not sound.samples:
        # Version 7 differs from the one before it by sound alone.
        return None, version - 1 if version == versions.FIRST_WITH_SOUND else version
    return SoundWriter(sound, fps, frames, max(1, round(fps))), max(version, versions.FIRST_WITH_SOUND)
