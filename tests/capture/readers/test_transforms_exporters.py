"""``transforms.json`` as other programs write it: their keys and forms of times, masks, splits, numbers and paths."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import captures
import layouts
import numpy as np
import pytest
from opening import changed_copies, fails, small_capture

from taichi_vvc.capture.camera_paths import keyframe_path
from taichi_vvc.capture.sequence import open_capture
from taichi_vvc.errors import DataError
from taichi_vvc.types import Camera


@pytest.fixture(scope="module")
def capture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_capture(tmp_path_factory.mktemp("capture"))


@pytest.fixture
def changed(capture: Path, tmp_path: Path) -> Callable[..., Path]:
    return changed_copies(capture, tmp_path)


def splits_of(folder: Path) -> dict[str, str]:
    return {camera.name: camera.split for camera in open_capture(folder).cameras}


# ---- head captures: timestep_index, camera_index, fg_mask_path


def write_head_capture(folder: Path, rig: list[Camera], times: range = range(layouts.FRAMES)) -> dict[str, Any]:
    """As VHAP's NeRFDatasetWriter exports it, before it is split."""
    records = []
    for time in times:
        for number, camera in enumerate(rig):
            rgba = captures.trace(camera, time)
            name = f"{time:05d}_{number:02d}.png"
            layouts.save(folder / "images" / name, layouts.on_background(rgba))
            layouts.save(folder / "fg_masks" / name, rgba[..., 3])
            lens = {"cx": camera.cx, "cy": camera.cy, "fl_x": camera.fx, "fl_y": camera.fy}
            lens |= {"h": camera.height, "w": camera.width, "camera_angle_x": 2 * math.atan(0.5 * 48 / camera.fx)}
            records.append(
                {
                    "timestep_index": time,
                    "timestep_index_original": 7 * time,
                    "timestep_id": f"{7 * time:04d}",
                    "camera_index": number,
                    "camera_id": f"2222000{number}",
                    **lens,
                    "transform_matrix": captures.opengl(camera),
                    "file_path": f"images/{name}",
                    "fg_mask_path": f"fg_masks/{name}",
                    "flame_param_path": f"flame_param/{time:05d}.npz",
                }
            )
    document = {"frames": records, **lens, "timestep_indices": list(times), "camera_indices": list(range(len(rig)))}
    captures.write_document(folder, document)
    return document


@pytest.mark.parametrize("dropped", [(), ("camera_id",), ("camera_id", "camera_index")], ids=len)
def test_a_head_capture_has_its_moments_cameras_and_masks(tmp_path: Path, dropped: tuple[str, ...]) -> None:
    rig = layouts.rig()
    document = write_head_capture(tmp_path, rig)
    for record in document["frames"]:
        for key in dropped:
            del record[key]
    captures.write_document(tmp_path, document)
    sequence = layouts.opened(tmp_path)
    layouts.assert_reads_back(sequence, rig, layout="transforms", masks=True, tolerance=0.01)
    assert sequence.times == (0.0, 1.0, 2.0)
    assert sequence.cameras[0].name == ["22220000", "0", "00"][len(dropped)]
    assert not any("move" in message for message in sequence.messages), sequence.messages


def test_a_split_head_capture_holds_one_camera_out(tmp_path: Path) -> None:
    """VHAP's split_json: all but a camera, that camera at the same times, all cameras at the times after."""
    rig = layouts.rig()
    document = write_head_capture(tmp_path, rig, range(layouts.FRAMES + 1))
    for name, wanted in {
        "train": lambda r: r["timestep_index"] < layouts.FRAMES and r["camera_index"] != 3,
        "val": lambda r: r["timestep_index"] < layouts.FRAMES and r["camera_index"] == 3,
        "test": lambda r: r["timestep_index"] == layouts.FRAMES,
    }.items():
        part = {**document, "frames": [record for record in document["frames"] if wanted(record)]}
        (tmp_path / f"transforms_{name}.json").write_text(json.dumps(part), encoding="utf-8")
    whole = layouts.opened(tmp_path)
    assert whole.layout == "transforms" and len(whole) == layouts.FRAMES + 1
    assert any("transforms_train.json" in message for message in whole.messages), "its split is not used: that is said"
    sequence = layouts.opened(tmp_path / "transforms_train.json")
    layouts.assert_reads_back(sequence, rig, layout="blender", masks=True, tolerance=0.01)
    assert [camera.split for camera in sequence.cameras] == ["train"] * 3 + ["test"]
    assert any("transforms_test.json" in message and "other times" in message for message in sequence.messages)


def test_held_out_views_that_are_trained_on_are_not_held_out(tmp_path: Path) -> None:
    document = write_head_capture(tmp_path, layouts.rig())
    (tmp_path / "transforms.json").rename(tmp_path / "transforms_train.json")
    part = {**document, "frames": [record for record in document["frames"] if record["camera_index"] > 1]}
    (tmp_path / "transforms_test.json").write_text(json.dumps(part), encoding="utf-8")
    sequence = layouts.opened(tmp_path)
    assert [camera.split for camera in sequence.cameras] == ["train"] * 4
    assert any("22220002, 22220003" in message and "trained on" in message for message in sequence.messages)


# ---- moments without a time


def _without(document: dict[str, Any], *keys: str) -> None:
    for record in document["frames"]:
        for key in keys:
            record.pop(key, None)


def test_repeated_poses_without_a_time_are_refused(changed: Callable[..., Path]) -> None:
    folder = changed(lambda d: _without(d, "time", "camera", "split"))
    fails(folder, "8 of 12 images have the pose of another", "cam00/0000.png and images/cam00/0001.png", 'add "time"')


def test_repeated_poses_without_a_time_are_refused_in_blenders_layout(
    changed: Callable[..., Path],
) -> None:
    folder = changed(lambda d: _without(d, "time", "camera", "split"))
    (folder / "transforms.json").rename(folder / "transforms_train.json")
    fails(folder, "8 of 12 images have the pose of another", 'add "time"')


def test_a_moment_of_distinct_poses_needs_no_time(changed: Callable[..., Path]) -> None:
    def first_moment(document: dict[str, Any]) -> None:
        document["frames"] = document["frames"][::3]
        _without(document, "time", "camera", "split")

    assert len(open_capture(changed(first_moment)).cameras) == 4


def test_cameras_that_are_named_may_share_a_pose(changed: Callable[..., Path]) -> None:
    def zoomed(document: dict[str, Any]) -> None:
        document["frames"] = [r for r in document["frames"] if r["camera"] == "cam00"]
        _without(document, "time", "split")
        for number, record in enumerate(document["frames"]):
            record.update(camera=f"zoom{number}", fl_x=50.0 + number)

    assert len(open_capture(changed(zoomed)).cameras) == 3


def test_a_time_on_some_images_only(changed: Callable[..., Path]) -> None:
    def change(document: dict[str, Any]) -> None:
        for record in document["frames"]:
            record["timestep_index"] = record.pop("time")
        del document["frames"][5]["timestep_index"]

    fails(changed(change), '"timestep_index" on every image', "cam01/0002.png")


def test_what_else_an_image_states_does_not_move_its_camera(changed: Callable[..., Path]) -> None:
    def change(document: dict[str, Any]) -> None:
        for number, record in enumerate(document["frames"]):
            record["sharpness"] = 0.1 * number  # instant-ngp's scripts write it

    assert not any("move" in message for message in open_capture(changed(change)).messages)


# ---- nerfstudio's lists of files, and lists of cameras


def _files(document: dict[str, Any], *names: str) -> list[str]:
    return [record["file_path"] for record in document["frames"] if record["camera"] in names]


def _lists(**lists: tuple[str, ...]) -> Callable[[dict[str, Any]], None]:
    def change(document: dict[str, Any]) -> None:
        _without(document, "split")
        for key, names in lists.items():
            document[f"{key}_filenames"] = _files(document, *names)

    return change


def test_lists_of_files_are_honoured(changed: Callable[..., Path]) -> None:
    held = _lists(train=("cam00", "cam02"), val=("cam01",), test=("cam03", "cam01"))
    assert splits_of(changed(held)) == {"cam00": "train", "cam01": "test", "cam02": "train", "cam03": "test"}


def test_an_images_own_split_goes_before_lists_of_files(changed: Callable[..., Path]) -> None:
    def change(document: dict[str, Any]) -> None:
        _lists(train=("cam00", "cam01", "cam02", "cam03"))(document)
        for record in document["frames"][3:6]:
            record["split"] = "test"

    assert splits_of(changed(change)) == {"cam00": "train", "cam01": "test", "cam02": "train", "cam03": "train"}


@pytest.mark.parametrize("only", ["train", "test"])
def test_one_list_of_files_says_it_of_the_others(changed: Callable[..., Path], only: str) -> None:
    other = "test" if only == "train" else "train"
    found = splits_of(changed(_lists(**{only: ("cam01", "cam02")})))
    assert found == {"cam00": other, "cam01": only, "cam02": only, "cam03": other}


def test_files_that_no_list_names_are_left_out(changed: Callable[..., Path]) -> None:
    folder = changed(_lists(train=("cam00", "cam02"), test=("cam01",)))
    sequence = open_capture(folder)
    assert [camera.name for camera in sequence.cameras] == ["cam00", "cam01", "cam02"]
    assert any("left out (3): images/cam03/0000.png" in message for message in sequence.messages)


def test_names_in_lists_of_files_need_not_be_spelt_alike(changed: Callable[..., Path]) -> None:
    def change(document: dict[str, Any]) -> None:
        _lists(train=("cam00", "cam01", "cam02"), test=("cam03",))(document)
        names = document["test_filenames"]
        names[0], names[1] = "./" + names[0], names[1].replace("/", "\\")

    assert splits_of(changed(change))["cam03"] == "test"


@pytest.mark.parametrize(
    ("change", "parts"),
    [
        (lambda d: d.update(test_filenames=["images/cam09/0000.png"]), ["test_filenames", "cam09", "no image"]),
        (lambda d: d.update(test_filenames="images/cam00/0000.png"), ["test_filenames", "list of file paths"]),
        (lambda d: d.update(val_filenames=[7]), ["val_filenames", "list of file paths", "7"]),
        (_lists(train=("cam00",), test=("cam00",)), ["cam00/0000.png", "both", "train_filenames", "test_filenames"]),
        (lambda d: d.update(test_filenames=_files(d, "cam00")[:1]) or _without(d, "split"), ["cam00", "by camera"]),
        (lambda d: d.update(test_cameras=True), ["test_cameras", "list of camera names"]),
        (lambda d: d.update(test_cameras={"cam00": 1}), ["test_cameras", "an object"]),
        (lambda d: d.update(train_cameras=[["cam00"]]), ["train_cameras", "a list in it"]),
        (lambda d: d.update(test_cameras=[1.5]), ["test_cameras", "1.5"]),
        (lambda d: d["frames"][0].update(camera=["cam00"]), ['"camera"', "cam00/0000.png", "a list"]),
    ],
)
def test_lists_that_cannot_be_meant(changed: Callable[..., Path], change: Any, parts: list[str]) -> None:
    fails(changed(change), "transforms.json", *parts)


@pytest.mark.parametrize(
    ("stated", "held"), [(12, "12"), ("12", "12"), ([12], "12"), (["12"], "12"), (["1", 2], "1 2"), ([], "")]
)
def test_a_single_held_out_camera_is_one_camera(changed: Callable[..., Path], stated: Any, held: str) -> None:
    def change(document: dict[str, Any]) -> None:
        names = {"cam00": 12, "cam01": 1, "cam02": 2, "cam03": 0}
        for record in document["frames"]:
            record["camera"] = names[record["camera"]]
        _without(document, "split")
        document["test_cameras"] = stated

    found = splits_of(changed(change))
    assert sorted(name for name, split in found.items() if split == "test") == sorted(held.split())


# ---- numbers as text, paths of another system


def test_numbers_may_be_text(changed: Callable[..., Path]) -> None:
    def change(document: dict[str, Any]) -> None:
        for key in ("w", "h", "fl_x", "fl_y", "cx", "cy"):
            document[key] = str(document[key])
        for record in document["frames"]:
            record["time"] = f"{record['time']:04d}"
        document["frames"][0]["w"] = " 4e1 "

    sequence = open_capture(changed(change))
    assert sequence.times == (0.0, 1.0, 2.0)
    layouts.assert_same_rays(sequence.cameras[1], captures.ring_cameras(4, (40, 32))[1])


@pytest.mark.parametrize("text", ["", "wide", "nan", "inf", "1_0", "0x28", "4 0", "9" * 5000, "1e99999"])
def test_text_that_is_no_number(changed: Callable[..., Path], text: str) -> None:
    fails(changed(lambda d: d.update(w=text)), "transforms.json", '"w"', "whole number of pixels")


@pytest.mark.parametrize("value", [True, [40], 40.5, 0, -40])
def test_sizes_that_are_none(changed: Callable[..., Path], value: Any) -> None:
    fails(changed(lambda d: d.update(w=value)), '"w"', "whole number of pixels")


def test_videos_may_state_their_size_as_text(tmp_path: Path) -> None:
    rig = layouts.rig()
    records = []
    for camera in rig:
        frames = [layouts.on_background(frame) for frame in layouts.pictures(camera)]
        layouts.write_video(tmp_path / f"videos/{camera.name}.mp4", frames)
        record = {"file_path": f"videos\\{camera.name}.mp4", "transform_matrix": captures.opengl(camera)}
        records.append({**record, "fl_x": f"{camera.fx:.12g}", "w": "48", "h": "40"})
    document = {"frames": records, "test_filenames": ["videos/cam01.mp4"]}
    captures.write_document(tmp_path, document)
    sequence = layouts.opened(tmp_path)
    layouts.assert_reads_back(sequence, rig, layout="transforms", masks=False, tolerance=4.0)
    assert [(camera.name, camera.split) for camera in sequence.cameras][1] == ("cam01", "test")
    records[0]["w"] = "96"
    captures.write_document(tmp_path, document)
    fails(tmp_path, "96x40", "48x40")


@pytest.mark.parametrize("masks", ["alpha", "file"])
def test_paths_of_windows_without_a_suffix(tmp_path: Path, masks: str) -> None:
    folder = captures.write_capture(tmp_path / "a", cameras=3, frames=2, size=32, masks=masks, test_cameras=0)
    for kind in ("images", "masks"):
        for item in sorted(folder.glob(f"{kind}/*")):
            item.rename(item.with_name(item.name.replace("cam", "cam ")))
    document = captures.read_document(folder)
    _without(document, "camera")
    for record in document["frames"]:
        for key in ("file_path", "mask_path"):
            if key in record:
                record[key] = record[key].replace("cam", "cam ").replace("/", "\\").removesuffix(".png")
    assert document["frames"][0]["file_path"] == "images\\cam 00\\0000"
    captures.write_document(folder, document)
    sequence = open_capture(folder)
    assert [camera.name for camera in sequence.cameras] == ["cam 00", "cam 01", "cam 02"]
    assert sequence.has_alpha and len(sequence.frame(1).views) == 3


def test_numbers_behind_a_dot_are_no_suffix(tmp_path: Path) -> None:
    folder = captures.write_capture(tmp_path / "a", cameras=3, frames=2, size=32, test_cameras=0)
    document = captures.read_document(folder)
    _without(document, "camera")
    (folder / "all").mkdir()
    for record in document["frames"]:
        old = folder / record["file_path"]
        record["file_path"] = f"all/{old.parent.name}.{old.stem}"
        shutil.move(old, folder / f"{record['file_path']}.png")
    captures.write_document(folder, document)
    assert [camera.name for camera in open_capture(folder).cameras] == ["cam00", "cam01", "cam02"]


# ---- the axes that a file states


def opencv(camera: Camera) -> list[list[float]]:
    pose = np.eye(4)
    pose[:3, :3], pose[:3, 3] = camera.rotation, camera.position
    return pose.tolist()


@pytest.mark.parametrize("stated", ["opencv", "OpenCV", "opengl"])
def test_a_stated_convention_is_used(changed: Callable[..., Path], stated: str) -> None:
    rig = captures.ring_cameras(4, (40, 32))

    def change(document: dict[str, Any]) -> None:
        document["camera_convention"] = stated
        for record in document["frames"]:
            camera = rig[int(record["camera"][3:])]
            record["transform_matrix"] = captures.opengl(camera) if stated == "opengl" else opencv(camera)

    for found, truth in zip(open_capture(changed(change)).cameras, rig, strict=True):
        layouts.assert_same_rays(found, truth)


def test_a_camera_path_may_state_its_convention(tmp_path: Path) -> None:
    truth = captures.ring_cameras(4, (40, 32))[1]
    document: dict[str, Any] = {"fl_x": truth.fx, "w": "40", "h": 32, "cameras": [{"transform_matrix": opencv(truth)}]}
    document["camera_convention"] = "opencv"
    (tmp_path / "cameras.json").write_text(json.dumps(document), encoding="utf-8")
    layouts.assert_same_rays(keyframe_path(tmp_path / "cameras.json", 1, (40, 32))[0], truth)
    document["h"] = 0
    (tmp_path / "cameras.json").write_text(json.dumps(document), encoding="utf-8")
    with pytest.raises(DataError, match='whole number of pixels for "h"'):
        keyframe_path(tmp_path / "cameras.json", 1, (40, 32))


@pytest.mark.parametrize("stated", ["blender", 7, None, ["opencv"]])
def test_other_conventions_are_refused(changed: Callable[..., Path], stated: Any) -> None:
    fails(changed(lambda d: d.update(camera_convention=stated)), "camera_convention", "opengl", "opencv")
