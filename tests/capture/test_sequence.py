"""Captures as they are read: conventions, selections, splits, masks, pictures."""

from __future__ import annotations

import json
import shutil
import struct
import threading
import warnings
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import captures
import numpy as np
import pytest
from opening import changed_copies, fails, small_capture
from PIL import Image

from taichi_vvc.capture.readers.transforms import parse_pose
from taichi_vvc.capture.sequence import open_capture
from taichi_vvc.errors import DataError
from taichi_vvc.geometry.projection import project
from taichi_vvc.media.images import read_rgba


@pytest.fixture(scope="module")
def capture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_capture(tmp_path_factory.mktemp("capture"))


@pytest.fixture
def changed(capture: Path, tmp_path: Path) -> Callable[..., Path]:
    return changed_copies(capture, tmp_path)


def test_reads_what_was_written(capture: Path) -> None:
    sequence = open_capture(capture)
    assert len(sequence) == 3
    assert sequence.times == (0.0, 1.0, 2.0)
    assert sequence.fps == 25
    assert (sequence.bounds, sequence.bounds_source) == (captures.BOUNDS, "file")
    assert sequence.has_alpha and sequence.first_index == 0 and sequence.messages == ()
    rig = captures.ring_cameras(4, (40, 32))
    assert [c.name for c in sequence.cameras] == ["cam00", "cam01", "cam02", "cam03"]
    assert [c.split for c in sequence.cameras] == ["train", "train", "train", "test"]
    for camera, truth in zip(sequence.cameras, rig, strict=True):
        np.testing.assert_allclose(camera.rotation, truth.rotation, atol=1e-12)
        np.testing.assert_allclose(camera.position, truth.position, atol=1e-12)
        assert (camera.fx, camera.fy, camera.cx, camera.cy) == (truth.fx, truth.fy, truth.cx, truth.cy)
    frame = sequence.frame(2)
    assert (frame.index, frame.time) == (2, 2.0)
    for view, truth in zip(frame.views, rig, strict=True):
        np.testing.assert_array_equal(view.image, captures.trace(truth, 2))


def test_the_camera_looks_where_the_scene_is(capture: Path) -> None:
    """A wrong axis convention would put the spheres' centres on transparent pixels."""
    sequence = open_capture(capture / "transforms.json")
    for i, frame in enumerate(sequence):
        for view in frame.views:
            for centre, _, _ in captures.spheres(i):
                (x, y), depth = project(view.camera, centre)
                assert view.image[int(y), int(x), 3] == 255 and depth > 0


def test_a_split_can_be_read_alone(capture: Path) -> None:
    sequence = open_capture(capture)
    assert [v.camera.name for v in sequence.frame(0, split="test").views] == ["cam03"]
    assert len(sequence.frame(-1, split="train").views) == 3
    with pytest.raises(IndexError):
        sequence.frame(3)


def test_frames_are_read_only_when_asked_for(capture: Path, tmp_path: Path) -> None:
    folder = tmp_path / "lazy"
    shutil.copytree(capture, folder)
    broken = folder / "images/cam01/0002.png"
    broken.write_bytes(broken.read_bytes()[:-40])
    sequence = open_capture(folder)
    sequence.frame(1)
    with pytest.raises(DataError, match="damaged"):
        sequence.frame(2)


@pytest.mark.parametrize(
    ("frames", "indices", "fps"),
    [(slice(1, None), [1, 2], 25), (slice(0, 3, 2), [0, 2], Fraction(25, 2)), (slice(-1, None), [2], 25)],
)
def test_selected_frames_keep_their_numbers(capture: Path, frames: slice, indices: list[int], fps: Fraction) -> None:
    sequence = open_capture(capture, frames=frames)
    assert [sequence.frame(i).index for i in range(len(sequence))] == indices
    assert sequence.first_index == indices[0] and sequence.fps == fps
    rig = captures.ring_cameras(4, (40, 32))
    np.testing.assert_array_equal(sequence.frame(0).views[1].image, captures.trace(rig[1], indices[0]))


def test_asking_for_more_frames_than_there_are_is_reported(capture: Path) -> None:
    sequence = open_capture(capture, frames=slice(1, 9))
    assert len(sequence) == 2 and "ends at 3" in sequence.messages[0]
    fails(capture, "3:9", "nothing", frames=slice(3, 9))


def test_images_outside_the_selection_may_be_missing(capture: Path, tmp_path: Path) -> None:
    folder = tmp_path / "part"
    shutil.copytree(capture, folder)
    (folder / "images/cam01/0002.png").unlink()
    assert len(open_capture(folder, frames=slice(0, 2))) == 2
    fails(folder, "1 of 12 images are missing", "0002.png")


@pytest.mark.parametrize("times", [[0.0, 0.04, 0.08], [-7, 3, 1000], [1e9, 1e9 + 1, 1e9 + 2]])
def test_times_are_any_sortable_numbers(changed: Callable[..., Path], times: list[float]) -> None:
    def change(document: dict[str, Any]) -> None:
        for record in document["frames"]:
            record["time"] = times[record["time"]]
        document["frames"].reverse()

    sequence = open_capture(changed(change))
    assert sequence.times == tuple(float(t) for t in times)
    assert [c.name for c in sequence.cameras] == ["cam03", "cam02", "cam01", "cam00"]
    assert [e.image.name for e in sequence.entries[2]] == ["0002.png"] * 4


def test_without_time_there_is_one_frame(changed: Callable[..., Path]) -> None:
    def change(document: dict[str, Any]) -> None:
        document["frames"] = [record for record in document["frames"] if record.pop("time") == 1]

    sequence = open_capture(changed(change))
    assert len(sequence) == 1 and sequence.times == (0.0,)


def test_intrinsics_of_an_image_override_the_shared_ones(changed: Callable[..., Path]) -> None:
    def change(document: dict[str, Any]) -> None:
        for record in document["frames"]:
            if record["camera"] == "cam01":
                record.update(fl_x=70.0, cx=19.5, k1=0.1, p2=0.01)

    cameras = open_capture(changed(change)).cameras
    assert (cameras[1].fx, cameras[1].cx, cameras[1].k1, cameras[1].p2) == (70.0, 19.5, 0.1, 0.01)
    assert cameras[0].k1 == 0.0 and cameras[0].cx == 20.0 and cameras[1].fy == cameras[0].fy


def test_focal_length_from_the_field_of_view(changed: Callable[..., Path]) -> None:
    def change(document: dict[str, Any]) -> None:
        for key in ("fl_x", "fl_y", "cx", "cy", "w", "h"):
            del document[key]
        document["camera_angle_x"] = captures.FOV_X

    camera = open_capture(changed(change)).cameras[0]
    truth = captures.ring_cameras(1, (40, 32))[0]
    assert camera.fx == camera.fy == pytest.approx(truth.fx)
    assert (camera.cx, camera.cy, camera.width, camera.height) == (20.0, 16.0, 40, 32)


@pytest.mark.parametrize(
    ("pattern", "names"),
    [
        ("{camera}/{time:04d}.png", ["cam00", "cam01"]),
        ("frame{time}/{camera}.png", ["cam00", "cam01"]),
        ("all/{camera}_{time:03d}.png", ["cam", "cam"]),
        ("all/view_{camera}_t{time}.png", ["view_cam00_t", "view_cam01_t"]),
        ("all/{time:03d}-{camera}.png", ["cam00", "cam01"]),
    ],
)
def test_cameras_are_told_apart_by_file_path(
    changed: Callable[..., Path], tmp_path: Path, pattern: str, names: list[str]
) -> None:
    def change(document: dict[str, Any]) -> None:
        for record in document["frames"]:
            name, old = record.pop("camera"), record["file_path"]
            record["file_path"] = pattern.format(camera=name, time=record["time"])
            target = tmp_path / "copy" / record["file_path"]
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(tmp_path / "copy" / old, target)

    sequence = open_capture(changed(change))
    assert len(sequence) == 3
    assert [c.name[: len(n)] for c, n in zip(sequence.cameras, names, strict=False)] == names


def test_camera_id_and_split_lists(changed: Callable[..., Path]) -> None:
    def change(document: dict[str, Any]) -> None:
        for record in document["frames"]:
            record["camera_id"] = int(record.pop("camera")[3:])
            del record["split"]
        document["test_cameras"] = [0, 2]

    cameras = open_capture(changed(change)).cameras
    assert [(c.name, c.split) for c in cameras] == [("0", "test"), ("1", "train"), ("2", "test"), ("3", "train")]


def test_train_list_alone_holds_out_the_rest(changed: Callable[..., Path]) -> None:
    def change(document: dict[str, Any]) -> None:
        for record in document["frames"]:
            del record["split"]
        document["train_cameras"] = ["cam01"]

    assert [c.split for c in open_capture(changed(change)).cameras] == ["test", "train", "test", "test"]


def test_mask_files_become_alpha(tmp_path: Path) -> None:
    folder = captures.write_capture(tmp_path, cameras=3, frames=1, size=32, masks="file", test_cameras=0)
    sequence = open_capture(folder)
    assert sequence.has_alpha
    truth = captures.trace(captures.ring_cameras(3, 32, 0)[0], 0)
    np.testing.assert_array_equal(sequence.frame(0).views[0].image[..., 3], truth[..., 3])


def test_mask_of_zero_and_one(tmp_path: Path) -> None:
    Image.fromarray(np.full((4, 5, 3), 9, np.uint8)).save(tmp_path / "a.png")
    mask = np.zeros((4, 5), np.uint8)
    mask[1, 2] = 1
    Image.fromarray(mask).save(tmp_path / "m.png")
    image = read_rgba(tmp_path / "a.png", tmp_path / "m.png")
    np.testing.assert_array_equal(image[..., 3], mask * 255)


def test_no_masks(tmp_path: Path) -> None:
    folder = captures.write_capture(tmp_path, cameras=4, frames=2, size=32, masks=None)
    sequence = open_capture(folder)
    assert not sequence.has_alpha and (sequence.frame(0).views[0].image[..., 3] == 255).all()


def test_a_camera_without_mask_among_masked_ones_is_reported(capture: Path, tmp_path: Path) -> None:
    folder = tmp_path / "mixed"
    shutil.copytree(capture, folder)
    for file in (folder / "images/cam02").iterdir():
        Image.open(file).convert("RGB").save(file)
    sequence = open_capture(folder)
    assert sequence.has_alpha and "cam02" in sequence.messages[0]


@pytest.mark.parametrize("mode", ["L", "LA", "P", "RGB", "RGBA", "1", "CMYK"])
def test_all_kinds_of_images_become_rgba(tmp_path: Path, mode: str) -> None:
    rgb = np.zeros((4, 6, 3), np.uint8)
    rgb[:, 3:] = 255
    name = tmp_path / ("a.jpg" if mode == "CMYK" else "a.png")
    Image.fromarray(rgb).convert(mode).save(name)
    image = read_rgba(name)
    assert image.shape == (4, 6, 4) and image.dtype == np.uint8 and (image[..., 3] == 255).all()
    assert image[0, 0, :3].max() < 60 and image[3, 5, :3].min() > 195


def test_sixteen_bit_images_are_scaled_and_not_clipped(tmp_path: Path) -> None:
    Image.fromarray(np.array([[0, 0x8000, 0xFFFF]], np.uint16)).save(tmp_path / "a.png")
    np.testing.assert_array_equal(read_rgba(tmp_path / "a.png")[0, :, 1], [0, 128, 255])


def test_a_dark_sixteen_bit_image_stays_dark(tmp_path: Path) -> None:
    for name in ("a.png", "a.tif"):
        Image.fromarray(np.array([[0, 1, 255, 256]], np.uint16)).save(tmp_path / name)
        np.testing.assert_array_equal(read_rgba(tmp_path / name)[0, :, 1], [0, 0, 0, 1])


def test_twelve_bit_images_are_scaled(tmp_path: Path) -> None:
    packed = bytes.fromhex("000 123 800 fff".replace(" ", ""))
    shorts = [(256, 4), (257, 1), (258, 12), (259, 1), (262, 1), (273, 8), (277, 1), (278, 1), (279, len(packed))]
    tags = b"".join(struct.pack("<HHIHH", tag, 3, 1, value, 0) for tag, value in shorts)
    tail = struct.pack("<H", len(shorts)) + tags + bytes(4)
    (tmp_path / "a.tif").write_bytes(b"II" + struct.pack("<HI", 42, 8 + len(packed)) + packed + tail)
    assert read_rgba(tmp_path / "a.tif")[0, :, 1].tolist() == [0, 0x12, 0x80, 0xFF]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (np.array([[0.0, 0.25, 1.0]], np.float32), [0, 64, 255]),
        (np.array([[0.0, 0.25, 0.5]], np.float32), [0, 64, 128]),
        (np.array([[0.0, 99.6, 255.0]], np.float32), [0, 100, 255]),
        (np.array([[0, 100, 255]], np.int32), [0, 100, 255]),
        (np.array([[0, 100 * 256, 65535]], np.int32), [0, 100, 255]),
        (np.array([[0, 0, 0]], np.int32), [0, 0, 0]),
    ],
)
def test_images_of_wide_numbers_are_read_by_what_they_hold(
    tmp_path: Path, values: np.ndarray, expected: list[int]
) -> None:
    Image.fromarray(values).save(tmp_path / "a.tif")
    image = read_rgba(tmp_path / "a.tif")
    np.testing.assert_array_equal(image, np.array([[[v, v, v, 255] for v in expected]]))


@pytest.mark.parametrize(
    "values",
    [
        np.array([[0.0, 4.2]], np.float32),
        np.array([[-0.5, 1.0]], np.float32),
        np.array([[0.0, 1e4]], np.float32),
        np.array([[0.0, np.nan]], np.float32),
        np.array([[0, 70000]], np.int32),
        np.array([[-3, 200]], np.int32),
    ],
)
def test_images_whose_white_is_unclear_are_refused(tmp_path: Path, values: np.ndarray) -> None:
    Image.fromarray(values).save(tmp_path / "odd.tif")
    with pytest.raises(DataError, match=r"odd\.tif: expected (floats|whole numbers) of 0 to .*; save it with 8 bits"):
        read_rgba(tmp_path / "odd.tif")


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (np.array([[0, 1]], np.uint16), [0, 255]),
        (np.array([[0, 7, 255]], np.uint16), [0, 7, 255]),
        (np.array([[0, 0x1FF, 0xFFFF]], np.uint16), [0, 1, 255]),
        (np.array([[0, 0x1FF]], np.uint16), [0, 1]),
        (np.array([[0, 1]], np.int32), [0, 255]),
        (np.array([[0, 7, 255]], np.int32), [0, 7, 255]),
        (np.array([[0.0, 0.5, 1.0]], np.float32), [0, 128, 255]),
    ],
)
def test_masks_of_more_than_eight_bits(tmp_path: Path, values: np.ndarray, expected: list[int]) -> None:
    Image.new("RGB", (values.shape[1], 1)).save(tmp_path / "a.png")
    name = tmp_path / ("m.png" if values.dtype == np.uint16 else "m.tif")
    Image.fromarray(values).save(name)
    assert read_rgba(tmp_path / "a.png", name)[0, :, 3].tolist() == expected


def test_fps(changed: Callable[..., Path]) -> None:
    folder = changed(lambda document: document.update(fps="30000/1001"))
    assert open_capture(folder).fps == Fraction(30000, 1001)
    document = captures.read_document(folder)
    document["fps"] = 29.97
    captures.write_document(folder, document)
    assert open_capture(folder).fps == Fraction(2997, 100)
    del document["fps"]
    captures.write_document(folder, document)
    sequence = open_capture(folder)
    assert sequence.fps == 25 and "fps" in sequence.messages[0]


def test_moving_cameras_are_kept_and_reported(changed: Callable[..., Path]) -> None:
    def change(document: dict[str, Any]) -> None:
        for record in document["frames"]:
            record["transform_matrix"][2][3] += 0.01 * record["time"]

    sequence = open_capture(changed(change))
    heights = [sequence.frame(i).views[0].camera.position[2] for i in range(3)]
    np.testing.assert_allclose(np.diff(heights), 0.01)
    assert "move" in sequence.messages[0]


def test_the_demo_capture_is_whole(root: Path) -> None:
    folder = root / "taichi_vvc" / "data" / "walkwave_demo"
    sequence = open_capture(folder)
    assert len(sequence) == 4 and sequence.has_alpha and sequence.bounds_source == "file" and not sequence.messages
    assert {c.split for c in sequence.cameras} == {"train", "test"}
    assert sequence.frame(3).views[0].image.shape == (128, 128, 4)
    files = [file for file in folder.rglob("*") if file.is_file()]
    assert sum(file.stat().st_size for file in files) < 2_000_000
    assert (folder / "LICENSE_VALID_avatars.txt").is_file()
    listed = {record["file_path"] for record in json.loads((folder / "transforms.json").read_text())["frames"]}
    assert listed == {file.relative_to(folder).as_posix() for file in files if file.suffix == ".png"}


def test_the_documented_examples_are_right(root: Path) -> None:
    """The JSON of docs/capture.md parses, its poses are rotations and look at the subject."""
    text = (root / "docs" / "capture.md").read_text(encoding="utf-8")
    blocks = [json.loads(block.split("```")[0]) for block in text.split("```json\n")[1:]]
    poses = [r["transform_matrix"] for block in blocks for r in block.get("frames", block.get("cameras"))]
    assert len(blocks) == 2 and len(poses) == 3
    for pose in poses:
        rotation, position = parse_pose(pose, "docs")
        aim = np.array([0.0, 0.0, position[2]]) - position
        assert rotation[:, 2] @ aim / np.linalg.norm(aim) > 0.99 and rotation[2, 1] == -1.0


def test_only_the_calling_thread_changes_what_warnings_do(capture: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The filters belong to the process: threads that each restored them would leave what another one had set."""
    users = []

    class Watched(warnings.catch_warnings):
        def __enter__(self) -> Any:
            users.append(threading.current_thread())
            return super().__enter__()

    sequence = open_capture(capture)
    before = list(warnings.filters)
    monkeypatch.setattr(warnings, "catch_warnings", Watched)
    sequence.frame(0)
    assert set(users) == {threading.current_thread()} and list(warnings.filters) == before
