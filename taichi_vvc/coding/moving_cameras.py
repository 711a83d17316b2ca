"""Cameras frame by frame: what the encoder stores of them, and what players look through.

A file's header has the cameras of its first frame. Where one moves or zooms, the chunks of frames say how, in integers
(``bitstream/poses.py``).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from taichi_vvc.bitstream import StreamReader
from taichi_vvc.bitstream.poses import (
    CameraState,
    CameraTrack,
    header_states,
    pack_cameras,
    parse_cameras,
    rounded,
    units,
)
from taichi_vvc.bitstream.syntax import SequenceHeader
from taichi_vvc.bitstream.versions import FIRST_WITH_MOVING_CAMERAS
from taichi_vvc.coding.headers import cameras_of_header, colours_of
from taichi_vvc.geometry.rotations import quaternion_of, rotation_of
from taichi_vvc.types import Camera, ColourMap


def states_of(cameras: Sequence[Camera], header: SequenceHeader, start: CameraTrack) -> tuple[CameraState, ...]:
    """Cameras in the units of a file, each rotation as that of its two quaternions which is nearer to ``start``."""
    own = units(header)
    states = []
    for camera, now in zip(cameras, start.now, strict=True):
        quaternion = np.array(quaternion_of(camera.rotation))
        if quaternion @ np.array(now.pose[:4], np.float64) < 0:
            quaternion = -quaternion
        pose = (*map(float, quaternion), *map(float, camera.position))
        lens = (camera.fx, camera.fy, camera.cx, camera.cy, camera.k1, camera.k2, camera.p1, camera.p2)
        states.append(CameraState(rounded(pose, own[:7]), rounded(lens, own[7:])))
    return tuple(states)


def cameras_of_states(
    still: Sequence[Camera], header: SequenceHeader, states: Sequence[CameraState]
) -> tuple[Camera, ...]:
    """The cameras of a frame: those of the header (``still``), but for what has moved or zoomed since the key frame."""
    own = np.array(units(header))
    found = []
    for camera, state in zip(still, states, strict=True):
        if state.moved:
            pose = np.array(state.pose, np.float64) * own[:7]
            camera = replace(camera, rotation=rotation_of(pose[:4]), position=pose[4:])
        if state.zoomed:
            names = ("fx", "fy", "cx", "cy", "k1", "k2", "p1", "p2")
            values = (np.array(state.lens, np.float64) * own[7:]).tolist()
            camera = replace(camera, **dict(zip(names, values, strict=True)))
        found.append(camera)
    return tuple(found)


class CameraCoder:
    """Codes the cameras of one frame after the other, each as the decoder will have the one before."""

    def __init__(self, header: SequenceHeader, track: CameraTrack | None = None) -> None:
        """Begin with frame 0, or behind the frame whose cameras are ``track``."""
        self._header = header
        states = header_states(header)
        self._key = CameraTrack(states, states)
        self._track = track or self._key

    def code(self, cameras: Sequence[Camera], key: bool) -> bytes:
        """What the chunk of the next frame says of its cameras; nothing where all of them stay.

        Raises:
            ConfigError: a camera jumps too far to be stored.
        """
        start = self._key if key else self._track
        payload = pack_cameras(states_of(cameras, self._header, start), start, [camera.name for camera in cameras])
        self._track = parse_cameras(payload, start, key, self._header.rotation_bits, "cameras")
        return payload


class CameraReader:
    """The cameras of any frame of an open file."""

    def __init__(self, reader: StreamReader) -> None:
        self._reader = reader
        self.still = cameras_of_header(reader.header)
        self._key: CameraTrack | None = None
        if reader.version >= FIRST_WITH_MOVING_CAMERAS:
            states = header_states(reader.header)
            self._key = CameraTrack(states, states)
        self._last: tuple[int, CameraTrack] | None = None
        self._made: tuple[tuple[CameraState, ...], tuple[Camera, ...]] | None = None

    def track(self, index: int) -> CameraTrack | None:
        """The integers of frame ``index``; None for a version of the format in which cameras stay.

        Raises:
            CorruptStream: the frame's chunk, or one from its key frame on, is damaged.
        """
        if self._key is None:
            return None
        first = self._reader.groups[self._reader.frames[index].group].first_frame
        track = self._key
        if self._last is not None and first <= self._last[0] <= index:
            first, track = self._last[0] + 1, self._last[1]
        for number in range(first, index + 1):
            place = f"{self._reader.path}: frame {number}"
            frame = self._reader.read_frame(number)
            track = parse_cameras(frame.cameras, track, frame.type == "key", self._reader.header.rotation_bits, place)
            self._last = number, track
        return track

    def looks(self, index: int) -> tuple[ColourMap, ...]:
        """How each of the cameras shows colours in frame ``index``; empty where the file has no colour maps.

        Raises:
            CorruptStream: the chunk that holds the maps, or one that might, is damaged.
        """
        group = self._reader.frames[index].group
        place = f"{self._reader.path}: group {group}"
        return colours_of(self._reader.read_colours(group), len(self.still), place)

    def cameras(self, index: int) -> tuple[Camera, ...]:
        """The cameras of frame ``index``; the same object as for the frame before where none has changed.

        Raises:
            CorruptStream: the frame's chunk, or one from its key frame on, is damaged.
        """
        track = self.track(index)
        if track is None or not any(state.moved or state.zoomed for state in track.now):
            return self.still
        if self._made is None or self._made[0] != track.now:
            self._made = track.now, cameras_of_states(self.still, self._reader.header, track.now)
        return self._made[1]
