"""Settings of several qualities of one capture whose files a player can change between."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from taichi_vvc.capture.sequence import MultiViewSequence
from taichi_vvc.config import EncoderConfig
from taichi_vvc.encoder.poses import with_stored_poses
from taichi_vvc.encoder.resume import file_cameras
from taichi_vvc.encoder.settle import header_for, settle_background
from taichi_vvc.errors import ConfigError


def settings_of(config: EncoderConfig, sequence: MultiViewSequence, weights: Sequence[float]) -> list[EncoderConfig]:
    """Settings with these lambdas whose fields have the same shape, and whose background is the same.

    Larger lambdas have larger cells. All get those of the middle one.

    Raises:
        ConfigError: no setting gives them the same cells.
    """
    config = settle_background(config, sequence)
    middle = replace(config, lambda_rate=weights[len(weights) // 2])
    wanted, found = header_for(sequence, middle).layout, []
    for weight in weights:
        own = replace(config, lambda_rate=weight)
        for cells in sorted(range(2, 4 * config.occupancy_cells), key=lambda n: abs(n - config.occupancy_cells)):
            own = replace(own, occupancy_cells=cells)
            if header_for(sequence, own).layout == wanted:
                found.append(own)
                break
        else:
            line = f"expected qualities whose cells can be alike, found lambda {weight:g}"
            raise ConfigError(f"{line}; choose --crf closer to each other")
    return found


def with_found(
    sequence: MultiViewSequence, path: Path, rows: Sequence[EncoderConfig]
) -> tuple[MultiViewSequence, list[EncoderConfig]]:
    """A sequence whose cameras stand where the first file found them, and settings that look no further."""
    if not rows or rows[0].poses == "off":
        return sequence, list(rows)
    return with_stored_poses(sequence, file_cameras(path)), [replace(own, poses="off") for own in rows]
