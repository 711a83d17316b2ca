"""Pictures in files elsewhere, and entries of a capture that are sent to another process."""

from __future__ import annotations

import pickle
import shutil
from dataclasses import replace
from pathlib import Path

import captures
import numpy as np
import pytest

import taichi_vvc as tv
from taichi_vvc.capture.readers.footage import VideoFile, VideoPicture
from taichi_vvc.capture.relocation import close_videos, files_of, relocated
from taichi_vvc.media.images import KnownMask, LabelMask


def test_pictures_are_read_from_where_they_are_moved_to(tmp_path: Path) -> None:
    first = tmp_path / "first"
    sequence = tv.open_capture(captures.write_capture(first, cameras=3, frames=2, size=16, masks="file"))
    files = list(files_of(sequence.entries))
    assert len(files) == len(set(files)) == 2 * 3 * 2 and all(path.is_file() for path in files)
    before = [sequence.frame(n) for n in range(2)]
    second = Path(shutil.move(first, tmp_path / "second"))
    moved = replace(
        sequence, entries=relocated(sequence.entries, lambda path: second / path.relative_to(sequence.path))
    )
    for number in range(2):
        for ours, theirs in zip(before[number].views, moved.frame(number).views, strict=True):
            assert (ours.image == theirs.image).all()
    # As it arrives in another process.
    sent = pickle.loads(pickle.dumps(moved))
    assert (sent.frame(1).views[2].image == before[1].views[2].image).all()


def test_videos_and_label_masks_are_opened_anew(tmp_path: Path) -> None:
    from taichi_vvc.media.video import VideoWriter

    path = tmp_path / "a.mp4"
    with VideoWriter(path, 25) as writer:
        for level in (10, 200):
            writer.add(np.full((16, 32, 3), level, np.uint8))
    video = VideoFile(path, turned=False)
    entry = tv.open_capture(captures.write_capture(tmp_path / "c", cameras=2, frames=1, size=16)).entries[0][0]
    labels = tmp_path / "labels.png"
    row = tuple(replace(entry, image=VideoPicture(video, n), mask=KnownMask(LabelMask(labels), "luma")) for n in (0, 1))
    assert list(files_of([row])) == [path, labels]
    other = Path(shutil.copy(path, tmp_path / "b.mp4"))
    moved = relocated((row,), lambda file: other if file == path else file)[0]
    assert moved[0].image.video is moved[1].image.video and moved[0].image.video.path == other
    sent = pickle.loads(pickle.dumps(moved))
    assert sent[0].image.video is sent[1].image.video and not sent[0].image.video.turned
    assert (sent[1].image.read() == row[1].image.read()).all()
    assert [entry.mask.source.path for entry in sent] == [labels, labels]
    # The decoder is let go of, and opened where it is needed again.
    assert video._container is not None
    close_videos((row,))
    assert video._container is None and (row[1].image.read() == sent[1].image.read()).all()


def test_smc_files_are_sent_by_their_place(tmp_path: Path) -> None:
    pytest.importorskip("h5py")
    from taichi_vvc.capture.readers.dna import SmcFile, SmcPicture

    picture = pickle.loads(pickle.dumps(SmcPicture(SmcFile(tmp_path / "a.smc"), "Camera/0")))
    assert (picture.file.path, picture.item) == (tmp_path / "a.smc", "Camera/0")
