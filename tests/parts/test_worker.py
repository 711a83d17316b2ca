"""What is sent to workers, and what they keep of the parts before: nothing."""

from __future__ import annotations

import platform
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import captures
import layouts
import numpy as np
import pytest
from backends import runtime
from conftest import child_environment

import taichi_vvc as tv
from taichi_vvc._version import __version__
from taichi_vvc.capture.readers.footage import VideoFile
from taichi_vvc.encoder.settle import header_for
from taichi_vvc.parts import worker
from taichi_vvc.parts.coding import Work
from taichi_vvc.parts.plan import Part, piece

# MB of the process that lie in memory: before, with blocks, and when these are given back.
GIVE_BACK = """
from pathlib import Path
from taichi_vvc.parts import worker

def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096 / 1e6

found = [resident()]
blocks = [bytearray(100_000) for _ in range(2000)]
# The last block stays, so that the allocator cannot simply end its heap before it.
last, ring = blocks.pop(), list(blocks)
ring.append(ring)
found.append(resident())
del blocks, ring
worker.release_memory()
print(*found, resident())
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other allocators give memory back by themselves")
def test_memory_that_nothing_uses_is_given_back() -> None:
    # A process of its own: what others have freed before would take the blocks.
    command = [sys.executable, "-c", GIVE_BACK]
    found = subprocess.run(command, check=True, capture_output=True, text=True, env=child_environment()).stdout
    before, taken, after = map(float, found.split())
    assert taken - before > 150 and after - before < 50


def test_a_worker_begins_without_what_the_part_before_took(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    released: list[bool] = []
    monkeypatch.setattr(worker, "release_memory", lambda: released.append(True))
    sequence = tv.open_capture(captures.write_capture(tmp_path, cameras=3, frames=1, size=16))
    running = runtime()
    for _ in range(2):
        with worker._ready(worker.Order(__version__, running.backend, running.threads, 0), sequence):
            pass
    assert released == [True, True]


def test_videos_are_opened_once_for_all_parts_and_closed_where_they_are_not_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    layouts.write_video(Path("a.mp4"), [np.full((16, 16, 3), 50 * n, np.uint8) for n in range(5)])
    video = VideoFile(Path("a.mp4"))
    sequence = tv.open_capture(captures.write_capture(tmp_path / "capture", cameras=2, frames=5, size=16))
    rows = tuple(tuple(replace(e, image=video[n]) for e in row) for n, row in enumerate(sequence.entries))
    sequence = replace(sequence, entries=rows)
    picture = sequence.entries[0][0].image.read()
    config = tv.EncoderConfig(background=(0, 0, 0))
    header = header_for(sequence, config)
    parts = (Part(0, 0, 2), Part(1, 2, 5))
    of = worker.placed([Work(p, piece(sequence, p), config, header, None, 5) for p in parts])
    assert video._container is None
    sent = [entry.image for number in (0, 1) for row in of[number].sequence.entries for entry in row]
    assert [image.number for image in sent] == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4] and len(of[1].sequence) == 3
    assert len({id(image.video) for image in sent}) == 1 and sent[0].video.path == tmp_path / "a.mp4"
    assert (sent[0].read() == picture).all()
