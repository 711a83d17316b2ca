"""One video per camera: exact random access, and the calibrations that go with it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import captures
import layouts
import numpy as np
import pytest

from taichi_vvc.capture.readers.footage import VideoFile
from taichi_vvc.capture.sequence import open_capture
from taichi_vvc.errors import DataError
from taichi_vvc.types import Camera

LENS = (-0.08, 0.02, 0.003, -0.002)


def numbered(count: int) -> list[np.ndarray]:
    """Pictures whose grey tells their number."""
    return [np.full((32, 48, 3), 20 + 7 * number, np.uint8) for number in range(count)]


def number_of(picture: np.ndarray) -> int:
    return round((float(picture[..., :3].mean()) - 20) / 7)


@pytest.fixture(scope="module", params=["open groups", "no b-frames", "mkv"])
def clip(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """30 frames, a key frame every 8; b-frames make the order of packets differ from that of frames."""
    file = tmp_path_factory.mktemp("clip") / ("a.mkv" if request.param == "mkv" else "a.mp4")
    options = {"bf": "0"} if request.param == "no b-frames" else {"bf": "3", "x264-params": "open-gop=1:b-adapt=0"}
    layouts.write_video(file, numbered(30), g="8", sc_threshold="0", **options)
    return file


def test_every_access_gives_the_right_frame(clip: Path) -> None:
    video = VideoFile(clip)
    assert len(video) == 30 and video.size == (48, 32) and video.fps == 30
    order = [*range(30), 3, 29, 0, 1, 17, 16, 15, 24, 8, 7, 7, 22, *np.random.default_rng(0).integers(0, 30, 30)]
    assert [number_of(video.read(int(number))) for number in order] == order
    assert number_of(video[-1].read()) == 29
    with pytest.raises(IndexError):
        _ = video[30]


def test_sequential_reading_decodes_each_frame_once(clip: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    video = VideoFile(clip)
    starts: list[int] = []
    restart = VideoFile._restart
    monkeypatch.setattr(VideoFile, "_restart", lambda self, key: (starts.append(key), restart(self, key))[1])
    for number in range(30):
        video.read(number)
        video.read(number)
    assert starts == [0]
    video.read(1)
    assert starts == [0, 0], "backwards means from a key frame again"
    video.read(20)
    assert len(starts) == 3, "a jump over a key frame goes to that key frame"


def test_what_is_no_video_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").write_bytes(b"no video at all")
    for name, expected in (("a.mp4", "cannot read it"), ("b.mp4", "no such file")):
        with pytest.raises(DataError, match=expected) as caught:
            VideoFile(tmp_path / name)
        assert "\n" not in str(caught.value)


def write_transforms(folder: Path, rig: list[Camera], masks: bool) -> None:
    records = []
    for camera in rig:
        frames = layouts.pictures(camera)
        record = {"file_path": f"videos/{camera.name}.mp4", "transform_matrix": captures.opengl(camera)}
        layouts.write_video(folder / record["file_path"], [layouts.on_background(frame) for frame in frames])
        if masks:
            record["mask_path"] = f"masks/{camera.name}.mp4"
            layouts.write_video(
                folder / record["mask_path"], [np.repeat(frame[..., 3:], 3, axis=2) for frame in frames]
            )
        records.append(record)
    one = rig[0]
    document = {"fl_x": one.fx, "fl_y": one.fy, "cx": one.cx, "cy": one.cy, "w": one.width, "h": one.height}
    document |= dict(zip(("k1", "k2", "p1", "p2"), LENS, strict=True))
    document |= {"test_cameras": ["cam03"], "frames": records}
    (folder / "transforms.json").write_text(json.dumps(document), encoding="utf-8")


@pytest.mark.parametrize("masks", [True, False], ids=["mask videos", "no masks"])
def test_transforms_that_name_videos(tmp_path: Path, masks: bool) -> None:
    rig = layouts.rig(LENS)
    write_transforms(tmp_path, rig, masks)
    sequence = layouts.opened(tmp_path)
    layouts.assert_reads_back(sequence, rig, layout="transforms", masks=masks, tolerance=4.0)
    assert sequence.fps == 30 and [camera.split for camera in sequence.cameras] == ["train"] * 3 + ["test"]
    if masks:
        assert (sequence.frame(0).views[0].image[:3, :3, 3] == 0).all(), "noise of the coding is not subject"
    part = layouts.opened(tmp_path, frames=slice(2, 3))
    np.testing.assert_array_equal(part.frame(0).views[1].image, sequence.frame(2).views[1].image)
    assert part.first_index == 2 and part.times == (2.0,)


def test_videos_of_different_lengths_and_mixed_entries(tmp_path: Path) -> None:
    rig = layouts.rig(LENS)
    write_transforms(tmp_path, rig, masks=False)
    layouts.write_video(tmp_path / "videos/cam01.mp4", [layouts.on_background(f) for f in layouts.pictures(rig[1])[:2]])
    sequence = layouts.opened(tmp_path)
    assert len(sequence) == 2 and any("differ in length" in m and "cam01" in m for m in sequence.messages)
    document = captures.read_document(tmp_path)
    document["frames"][0]["file_path"] = "videos/cam00.png"
    captures.write_document(tmp_path, document)
    with pytest.raises(DataError, match="videos in all entries or in none"):
        layouts.opened(tmp_path)


def write_llff(folder: Path, rig: list[Camera], scale: int = 1) -> None:
    """Rows as the conversion from COLMAP writes them: camera to world, columns down, right, backwards."""
    rows = []
    for camera in rig:
        right, down, forward = camera.rotation.T
        matrix = np.stack((down, right, -forward, camera.position), axis=1)
        hwf = scale * np.array([[camera.height], [camera.width], [camera.fx]])
        rows.append([*np.concatenate((matrix, hwf), axis=1).ravel(), 2.5, 5.5])
        layouts.write_video(
            folder / f"{camera.name}.mp4", [layouts.on_background(frame) for frame in layouts.pictures(camera)]
        )
    np.save(folder / "poses_bounds.npy", np.array(rows))


@pytest.mark.parametrize("scale", [1, 2])
def test_poses_bounds(tmp_path: Path, scale: int) -> None:
    rig = layouts.rig()
    write_llff(tmp_path, rig, scale)
    sequence = layouts.opened(tmp_path)
    layouts.assert_reads_back(sequence, rig, layout="llff", masks=False, tolerance=4.0)
    assert [camera.split for camera in sequence.cameras] == ["test", "train", "train", "train"]
    (tmp_path / "cam03.mp4").unlink()
    with pytest.raises(DataError, match="4 rows and 3 cameras"):
        layouts.opened(tmp_path)


def test_poses_bounds_of_parallel_cameras_fall_back_to_the_depths(tmp_path: Path) -> None:
    first = layouts.rig()[0]
    side = first.rotation[:, 0]
    rig = [replace(first, name=f"cam{i:02d}", position=first.position + 0.2 * i * side) for i in range(3)]
    write_llff(tmp_path, rig)
    sequence = open_capture(tmp_path)
    assert sequence.bounds_source == "cameras" and any("depths" in message for message in sequence.messages)
    middle = 0.5 * (np.array(sequence.bounds.lower) + sequence.bounds.upper)
    assert np.linalg.norm(middle - first.position) < 6.0


def test_poses_bounds_that_would_run_code_are_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "poses_bounds.npy", np.array([{"a": 1}], object), allow_pickle=True)
    with pytest.raises(DataError, match="array of numbers"):
        layouts.opened(tmp_path)
