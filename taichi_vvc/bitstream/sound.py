"""Sound: Opus packets of 20 ms, numbered through the file; cutting them, and putting them one behind the other.

Normative text: ``docs/bitstream.md``, section 4.2. Standard library only; ``media/sound.py`` makes packets from files
and puts them into videos.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction

from taichi_vvc.bitstream.elements import Blob, Count, Several, Structure

RATE = 48000
"""Samples per second that Opus counts in, whatever was recorded."""

PACKET = 960
"""Samples of a packet: 20 ms."""

PREROLL = 3840
"""Samples that a decoder needs before what it plays is right: 80 ms (RFC 7845, section 4.6)."""

MAX_SKIP = 1 << 16  # samples
MAX_NUMBER = 1 << 24  # of a packet; 93 hours
MAX_PACKETS = 1 << 16  # of a chunk
MAX_PACKET = 1 << 14  # bytes

SILENCE = {1: b"\xf8\xff\xfe", 2: b"\xfc\xff\xfe"}
"""A packet of silence, by the number of channels."""

# Samples of a frame within a packet, by the upper five bits of its first byte (RFC 6716, section 3.1).
_FRAMES = (*(480, 960, 1920, 2880) * 3, *(480, 960) * 2, *(120, 240, 480, 960) * 4)


@dataclass(frozen=True)
class SoundData:
    """A run of the file's Opus packets; see :class:`taichi_vvc.bitstream.sound.Sound`.

    Attributes:
        number: of the first of them within the file.
        channels, skip: of the file's sound, the same in all runs.
        packets: of 20 ms each.
    """

    number: int
    channels: int
    skip: int
    packets: tuple[bytes, ...]


@dataclass(frozen=True)
class Sound:
    """A piece of sound.

    Attributes:
        channels: 1 or 2.
        skip: samples at the beginning of what the packets decode to that come before the first frame.
        packets: of 20 ms each.
    """

    channels: int
    skip: int
    packets: tuple[bytes, ...]

    @property
    def samples(self) -> int:
        """How many samples are heard, at 48 kHz; at least 0."""
        return max(0, PACKET * len(self.packets) - self.skip)

    @property
    def seconds(self) -> float:
        """How long it is."""
        return self.samples / RATE

    @property
    def size(self) -> int:
        """Bytes of all packets."""
        return sum(map(len, self.packets))

    def packets_until(self, time: Fraction) -> int:
        """How many packets, from the first on, hold what is heard before ``time``, seconds from the first frame."""
        needed = -(-(samples_of(time) + self.skip) // PACKET)
        return min(max(0, needed), len(self.packets))


def samples_of(time: Fraction) -> int:
    """A time in seconds in samples, rounded."""
    return round(time * RATE)


def packet_samples(packet: bytes) -> int:
    """How many samples a packet decodes to; 0 for no Opus packet."""
    if not packet:
        return 0
    code = packet[0] & 3
    if code < 3:
        return _FRAMES[packet[0] >> 3] * (1 if code == 0 else 2)
    return _FRAMES[packet[0] >> 3] * (packet[1] & 63) if len(packet) > 1 else 0


def packets_problem(packets: Sequence[bytes]) -> str:
    """What is wrong with the packets of a file, or ""."""
    for packet in packets:
        if packet_samples(packet) != PACKET:
            return f"expected Opus packets of {PACKET} samples, found one of {packet_samples(packet)}"
    return ""


def _problem(sound: SoundData) -> str:
    return packets_problem(sound.packets)


SOUND = Structure(
    SoundData,
    (
        ("number", Count(MAX_NUMBER)),
        ("channels", Count(2, 1)),
        ("skip", Count(MAX_SKIP)),
        ("packets", Several(Blob(MAX_PACKET), MAX_PACKETS, 1)),
    ),
    _problem,
)


def joined(pieces: Iterable[tuple[Sound | None, Fraction, Fraction]]) -> Sound | None:
    """Pieces of sound one behind the other; None where there is no sound in any of them.

    A piece after the first begins at whichever packet is nearest, at most 10 ms off; these do not add up. A piece
    without sound, or one whose sound ends early, is silence. Sounds of one and of two channels become one of two.

    Args:
        pieces: (sound, begin, duration) of each; begin, from the sound's first frame, and duration in seconds.
    """
    listed = list(pieces)
    there = [sound for sound, _, _ in listed if sound is not None]
    if not there:
        return None
    channels = max(sound.channels for sound in there)
    packets: list[bytes] = []
    skip, at = 0, Fraction(0)
    for number, (sound, begin, duration) in enumerate(listed):
        if number == 0 and sound is not None:
            # What decodes before the beginning lets the decoder settle.
            place = samples_of(begin) + sound.skip
            first = max(0, (place - PREROLL) // PACKET)
            skip = place - first * PACKET
        elif sound is not None:
            ahead = len(packets) * PACKET - skip - samples_of(at)
            first = max(0, round(Fraction(samples_of(begin) + sound.skip + ahead, PACKET)))
        at += duration
        end = -(-(samples_of(at) + skip) // PACKET)
        if number < len(listed) - 1:
            end = max(len(packets), round(Fraction(samples_of(at) + skip, PACKET)))
        if sound is not None:
            packets += sound.packets[first : first + end - len(packets)]
        if number < len(listed) - 1:
            packets += [SILENCE[channels]] * (end - len(packets))
    return Sound(channels, skip, tuple(packets))


def piece(sound: Sound, begin: Fraction, duration: Fraction) -> Sound:
    """The part of a sound from ``begin`` on, both in seconds from its first frame."""
    found = joined([(sound, begin, duration)])
    assert found is not None
    return found
