"""Where in a file an encode stands, and what the frames that are in it tell of themselves."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from taichi_vvc.bitstream import StreamReader
from taichi_vvc.bitstream.poses import CameraTrack
from taichi_vvc.bitstream.syntax import GroupHeader, SequenceHeader
from taichi_vvc.capture.sequence import MultiViewSequence
from taichi_vvc.coding.headers import cameras_of_header
from taichi_vvc.coding.moving_cameras import CameraReader
from taichi_vvc.config import EncoderConfig
from taichi_vvc.decode import Stream
from taichi_vvc.encoder.quality import judged_psnr
from taichi_vvc.encoder.rate_control import Outcome
from taichi_vvc.encoder.targets import outcome_of
from taichi_vvc.encoder.trusted_views import views_of
from taichi_vvc.field.grids import Field
from taichi_vvc.field.workspace import Workspace
from taichi_vvc.fit.prediction import Reference
from taichi_vvc.types import Camera, FrameViews, SymbolFrame


@dataclass(frozen=True)
class Position:
    """Where in a file the next frame goes.

    Attributes:
        number: of the frame.
        reference: what it may be predicted from.
        group: that it is in.
        first_of_group: number of the group's first frame.
        first_with_mlp: number of the first frame whose group has the same MLPs.
    """

    number: int = 0
    reference: Reference | None = None
    group: int = 0
    first_of_group: int = 0
    first_with_mlp: int = 0

    def after(self, reference: Reference, group: GroupHeader | None) -> Position:
        """Behind one more frame, which the decoder has as ``reference``. ``group``: the group that it started."""
        return Position(
            self.number + 1,
            reference,
            self.group if group is None else group.number,
            self.first_of_group if group is None else self.number,
            self.number if group is not None and group.mlp else self.first_with_mlp,
        )


def position_behind(path: Path, done: int) -> Position:
    """Behind the first ``done`` frames of a file."""
    if not done:
        return Position()
    with Stream(path) as stream, StreamReader(path) as reader:
        reference = Reference(stream.symbols(done - 1), stream.parameters(done - 1))
        group = stream.info(done - 1).group
        first, with_mlp = reader.groups[group].first_frame, reader.owner_of_mlp(group).first_frame
        return Position(done, reference, group, first, with_mlp)


def cameras_behind(path: Path, done: int) -> CameraTrack | None:
    """The cameras of the last of the first ``done`` frames of a file, as they are stored; None for the header's."""
    if not done:
        return None
    with StreamReader(path) as reader:
        return CameraReader(reader).track(done - 1)


def file_cameras(path: Path) -> tuple[Camera, ...]:
    """The cameras that a file's header states."""
    with StreamReader(path) as reader:
        return cameras_of_header(reader.header)


def stored_start(path: Path, config: EncoderConfig) -> float:
    """The lambda that a file with this target was begun with; that of ``config`` if it has another target."""
    with StreamReader(path) as reader:
        return same_target_lambda(reader.header, config)


def same_target_lambda(header: SequenceHeader, config: EncoderConfig) -> float:
    """The lambda that a header states; that of ``config`` if the header is of another target."""
    stored = json.loads(header.settings)
    same = (stored.get("bitrate"), stored.get("target_psnr")) == (config.bitrate, config.target_psnr)
    found = stored.get("lambda_rate")
    return float(found) if same and isinstance(found, (int, float)) else config.lambda_rate


def written_outcomes(
    ws: Workspace, sequence: MultiViewSequence, config: EncoderConfig, path: Path, done: int
) -> list[Outcome]:
    """The outcomes of the first ``done`` frames of a file, as they were when they were written."""
    outcomes: list[Outcome] = []
    if not done:
        return outcomes
    with Stream(path) as stream, StreamReader(path) as reader:
        for number in range(done):
            quality = math.nan
            if config.target_psnr is not None:
                field = stream[number]
                views = views_of(sequence, field.layout, number).views
                quality = judged_psnr(ws, field, stream.background, views)
            outcomes.append(outcome_of(number, stream.symbols(number), reader.components(number), quality))
    return outcomes


def written_group(
    sequence: MultiViewSequence, path: Path, position: Position
) -> Iterator[tuple[Field, SymbolFrame, FrameViews]]:
    """The frames in a file that belong to the group at its end: as they are decoded, and what they were fitted to."""
    if position.reference is None:
        return
    with Stream(path) as stream:
        for number in range(position.first_of_group, position.number):
            field = stream[number]
            yield field, stream.symbols(number), views_of(sequence, field.layout, number)
