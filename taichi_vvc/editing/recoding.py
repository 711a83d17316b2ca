"""Frames of a group coded again from their symbols, so that a group may begin in the middle of another.

The first one becomes a key frame, whose residual is its symbols; the others follow as differences to the frame before,
as they did. Symbols that pictures depend on stay the same, to the integer. A node that is not live may have other
symbols than in the file: it had some from earlier frames, which nothing sees.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from taichi_vvc.bitstream import FrameData, StreamReader
from taichi_vvc.bitstream.poses import CameraTrack, header_states, pack_cameras, parse_cameras
from taichi_vvc.bitstream.versions import FIRST_WITH_MOVED_MASKS
from taichi_vvc.coding import displacements, motion_contexts
from taichi_vvc.coding.entropy import encode_mask, encode_moved_mask
from taichi_vvc.coding.grid_encoder import encode_grid
from taichi_vvc.coding.known import known_grids
from taichi_vvc.coding.live_set import live_nodes
from taichi_vvc.coding.motion import live_motion, moved_symbols
from taichi_vvc.coding.moved_masks import coded_nodes, filled, moved_mask
from taichi_vvc.coding.moving_cameras import CameraReader
from taichi_vvc.decode import Stream, decode_symbols, previous_residuals
from taichi_vvc.errors import CorruptStream
from taichi_vvc.types import FieldLayout, SymbolFrame


def recoded_frames(reader: StreamReader, stream: Stream, start: int, stop: int) -> Iterator[FrameData]:
    """Frames ``start`` to ``stop - 1`` of a file, which are in one group, as frames of a group that begins with them.

    Args:
        reader: the file.
        stream: the same file, whose memory limit holds.

    Raises:
        StreamError: the file is damaged, or decoding takes more than its memory limit.
    """
    layout, cameras = stream.header.layout, _Cameras(reader)
    before: SymbolFrame | None = None
    for number in range(start, stop):
        wanted = stream.symbols(number)
        try:
            data = _coded(layout, reader.read_frame(number), wanted, before, reader.version)
        except ValueError as error:
            raise CorruptStream(f"{reader.path}: frame {number}: cannot be coded again: {error}") from error
        data = replace(data, cameras=cameras.code(number, key=number == start))
        before = decode_symbols(layout, data, before, stream.budget)
        yield data


def _coded(
    layout: FieldLayout, data: FrameData, wanted: SymbolFrame, before: SymbolFrame | None, version: int
) -> FrameData:
    """A frame with the ``wanted`` symbols as a difference to the one ``before`` it, or as a key frame."""
    live = live_nodes(layout, wanted.occupancy)
    motion, payload, predicted = None, b"", None
    if before is not None:
        predicted = before.symbols
        if wanted.motion is not None:
            motion, payload = _moved(layout, wanted.motion, live, before, version)
        if motion is not None:
            predicted = moved_symbols(layout, before.symbols, motion, live)
    known = known_grids(len(live), previous_residuals(before), predicted)
    grids = []
    for k, (symbols, nodes) in enumerate(zip(wanted.symbols, live, strict=True)):
        residual = symbols if predicted is None else symbols - predicted[k]
        grids.append(encode_grid(np.where(nodes[..., None], residual, 0).astype(np.int32), nodes, known[k]).payload)
    if before is None:
        mask = encode_mask(wanted.occupancy, None)
    elif version < FIRST_WITH_MOVED_MASKS:
        mask = encode_mask(wanted.occupancy, before.occupancy)
    else:
        mask = encode_moved_mask(wanted.occupancy, before.occupancy, moved_mask(layout, before.occupancy, motion))
    return replace(data, type="key" if before is None else "inter", occupancy=mask, motion=payload, grids=tuple(grids))


def _moved(
    layout: FieldLayout, wanted: np.ndarray, live: tuple[np.ndarray, ...], before: SymbolFrame, version: int
) -> tuple[np.ndarray | None, bytes]:
    """Displacements as a decoder will have them, None where nothing moves; and their payload."""
    if version < FIRST_WITH_MOVED_MASKS:
        moving = live_motion(layout, live)
        motion = np.where(moving[..., None], wanted, 0)
        payload = displacements.encode_motion(motion, moving, before.motion)
    else:
        coded = coded_nodes(layout, before.occupancy)
        motion = filled(wanted, coded)
        payload = motion_contexts.encode_motion(motion, coded, before.motion)
    return (motion if payload else None), payload


class _Cameras:
    """Codes the cameras of frames that follow each other exactly as a file has them."""

    def __init__(self, reader: StreamReader) -> None:
        self._reader, self._cameras = reader, CameraReader(reader)
        states = header_states(reader.header)
        self._key = self._here = CameraTrack(states, states)

    def code(self, number: int, key: bool) -> bytes:
        """What frame ``number`` is to say of its cameras."""
        track = self._cameras.track(number)
        if track is None:
            return b""
        header, start = self._reader.header, self._key if key else self._here
        payload = pack_cameras(track.now, start, [camera.name for camera in header.cameras], tolerance=0)
        place = f"{self._reader.path}: frame {number}"
        self._here = parse_cameras(payload, start, key, header.rotation_bits, place)
        return payload
