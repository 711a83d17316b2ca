"""Frames of videos that are decoded ahead: the same pictures, one frame ahead, errors where they belong."""

from __future__ import annotations

import json
import threading
import warnings
from pathlib import Path
from typing import Any

import captures
import layouts
import numpy as np
import pytest

from taichi_vvc.capture.ahead import ReadAhead
from taichi_vvc.capture.sequence import MultiViewSequence
from taichi_vvc.errors import DataError
from taichi_vvc.types import FrameViews

FRAMES = 4


@pytest.fixture(params=["mp4", "png"])
def sequence(tmp_path: Path, request: pytest.FixtureRequest) -> MultiViewSequence:
    rig, records = layouts.rig(count=3), []
    for camera in rig:
        pictures = [layouts.on_background(frame) for frame in layouts.pictures(camera, FRAMES)]
        pose = {"transform_matrix": captures.opengl(camera)}
        if request.param == "mp4":
            layouts.write_video(tmp_path / f"{camera.name}.mp4", pictures)
            records.append({"file_path": f"{camera.name}.mp4", **pose})
        else:
            for time, picture in enumerate(pictures):
                layouts.save(tmp_path / f"{camera.name}_{time}.png", picture)
                records.append({"file_path": f"{camera.name}_{time}.png", "camera": camera.name, "time": time, **pose})
    one = rig[0]
    document: dict[str, Any] = {"fl_x": one.fx, "fl_y": one.fy, "cx": one.cx, "cy": one.cy}
    document |= {"w": one.width, "h": one.height, "frames": records}
    (tmp_path / "transforms.json").write_text(json.dumps(document), encoding="utf-8")
    return layouts.opened(tmp_path)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, bool]]:
    """The frames that are read, and whether the main thread reads them."""
    found: list[tuple[int, bool]] = []
    read = MultiViewSequence.frame

    def frame(self: MultiViewSequence, i: int, split: str | None = None, quiet: bool = True) -> FrameViews:
        main = threading.current_thread() is threading.main_thread()
        assert quiet == main, "filters of warnings belong to the process"
        found.append((i, main))
        return read(self, i, split, quiet)

    monkeypatch.setattr(MultiViewSequence, "frame", frame)
    return found


def test_pictures_are_those_of_the_sequence(sequence: MultiViewSequence, asked: list[tuple[int, bool]]) -> None:
    expected = [sequence.frame(i) for i in range(FRAMES)]
    asked.clear()
    filters = list(warnings.filters)
    with ReadAhead(sequence, FRAMES) as ahead:
        # Again, back, and ahead of what is coming.
        for number in (0, 1, 1, 2, 0, 3):
            views = ahead.frame(number)
            assert (views.index, views.time) == (expected[number].index, expected[number].time)
            for view, other in zip(views.views, expected[number].views, strict=True):
                np.testing.assert_array_equal(view.image, other.image)
                assert view.camera.same_as(other.camera)
    assert warnings.filters == filters
    if isinstance(sequence.entries[0][0].image, Path):
        assert asked == [(number, True) for number in (0, 1, 1, 2, 0, 3)]
    else:
        # Nothing beyond the last frame, and one frame ahead of the one that was asked for.
        main = [number for number, in_main in asked if in_main]
        behind = [number for number, in_main in asked if not in_main]
        assert main == [0, 1, 0, 3] and behind == [1, 2, 2, 3, 1][: len(behind)] and len(behind) >= 4


@pytest.mark.parametrize("sequence", ["mp4"], indirect=True)
def test_damage_ahead_is_told_when_its_frame_is_asked_for(
    sequence: MultiViewSequence, monkeypatch: pytest.MonkeyPatch
) -> None:
    video = sequence.entries[0][1].image.video
    read = type(video).read

    def broken(self: Any, number: int) -> np.ndarray:
        if self is video and number == 2:
            raise DataError("frame 2 cannot be decoded")
        return read(self, number)

    monkeypatch.setattr(type(video), "read", broken)
    with ReadAhead(sequence, FRAMES) as ahead:
        ahead.frame(0)
        ahead.frame(1)
        with pytest.raises(DataError, match="frame 2 cannot be decoded"):
            ahead.frame(2)
    # Damage beyond the frames that are asked for stays untold.
    with ReadAhead(sequence, 2) as ahead:
        ahead.frame(1)
    with ReadAhead(sequence, FRAMES) as ahead:
        ahead.frame(1)
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("read-ahead")]
