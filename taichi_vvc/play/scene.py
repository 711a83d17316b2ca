"""Several qualities of one capture as a scene: which files belong together, and the manifest that a player reads."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from taichi_vvc.bitstream import StreamReader
from taichi_vvc.bitstream.common import differences, stand_alike
from taichi_vvc.bitstream.numbering import capture_frames
from taichi_vvc.errors import ConfigError

MANIFEST = "scene.json"
FORMAT = "tvvc scene"
VERSION = 1


def manifest_of(readers: Sequence[StreamReader]) -> dict[str, Any]:
    """The manifest of files that show the same: lowest bitrate first, and the frames where a player may change over.

    ``segments`` are the frames that are key frames in all files; the first is frame 0.

    Raises:
        ConfigError: the files do not belong together; the line names the file and what differs.
    """
    ordered = sorted(readers, key=lambda reader: reader.size)
    first = ordered[0]
    for reader in ordered:
        if not reader.frames or not reader.complete:
            raise ConfigError(f"{reader.path}: expected a whole file with frames, found another one; encode it again")
    for reader in ordered[1:]:
        found = _other(first, reader)
        if found:
            raise ConfigError(
                f"{reader.path}: expected another quality of {first.path}, found other {'; '.join(found)}; tvvc "
                "ladder makes files that go together"
            )
    keys = [{group.first_frame for group in reader.groups} for reader in ordered]
    names = [reader.path.name for reader in ordered]
    if len(set(names)) != len(names):
        raise ConfigError(f"expected files of distinct names, found {', '.join(names)}; rename some")
    fps = first.header.fps
    duration = len(first.frames) / fps
    return {
        "format": FORMAT,
        "version": VERSION,
        "fps": [fps.numerator, fps.denominator],
        "frames": len(first.frames),
        "duration": float(duration),
        "segments": sorted(set.intersection(*keys)),
        "files": [
            {"file": quote(reader.path.name), "bytes": reader.size, "bitrate": float(reader.size * 8 / duration)}
            for reader in ordered
        ],
    }


def _other(a: StreamReader, b: StreamReader) -> list[str]:
    """What makes file ``b`` show something else than ``a``."""
    found = differences(a.header, b.header)
    if not found and not stand_alike(a.header, b.header):
        found.append("places of cameras")
    counts = len(a.frames), len(b.frames)
    numbers = [capture_frames(reader.header, len(reader.frames)) for reader in (a, b)]
    if counts[0] != counts[1]:
        found.append(f"frames {counts[1]} (there {counts[0]})")
    elif numbers[0] != numbers[1]:
        found.append("frames of the capture")
    return found


def manifest_text(manifest: dict[str, Any]) -> str:
    """The manifest as a file's text."""
    return json.dumps(manifest, indent=1) + "\n"


def check_scene(paths: Sequence[Path]) -> dict[str, Any]:
    """The manifest of some files; see :func:`manifest_of`.

    Raises:
        ConfigError: they do not belong together.
        StreamError: one of them cannot be read.
    """
    readers = []
    for path in paths:
        # What a reader knows of its file stays when it is closed.
        with StreamReader(path) as reader:
            readers.append(reader)
    return manifest_of(readers)
