"""Captures as they are read: conventions, every wrong input's line, downscaling, bounds."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import captures
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from taichi_vvc.bounds import bounds_from_cameras, bounds_from_masks
from taichi_vvc.errors import ConfigError, DataError
from taichi_vvc.geometry import pixel_directions, project
from taichi_vvc.io.images import area_reduce, read_rgba, reduced_size
from taichi_vvc.io.transforms import parse_pose
from taichi_vvc.sequence import open_capture
from taichi_vvc.types import Bounds, Camera, View


@pytest.fixture(scope="module")
def capture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """4 cameras (the last held out), 3 frames, RGBA; not to be changed."""
    return captures.write_capture(tmp_path_factory.mktemp("capture"), cameras=4, frames=3, size=(40, 32))


@pytest.fixture
def changed(capture: Path, tmp_path: Path) -> Callable[..., Path]:
    """A copy of the capture with its JSON changed by a function."""

    def make(change: Callable[[dict[str, Any]], object]) -> Path:
        folder = tmp_path / "copy"
        shutil.copytree(capture, folder)
        document = captures.read_document(folder)
        change(document)
        captures.write_document(folder, document)
        return folder

    return make


def fails(path: Path, *parts: str, error: type[Exception] = DataError, **options: Any) -> str:
    """Opening must fail with one line that has all ``parts``; returns it."""
    with pytest.raises(error) as caught:
        open_capture(path, **options)
    line = str(caught.value)
    assert "\n" not in line and len(line) < 400
    for part in parts:
        assert part in line, f"{part!r} is not in {line!r}"
    return line


# ---- what is read -------------------------------------------------------------------------------------------------


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


# ---- what is refused ----------------------------------------------------------------------------------------------


def _first(**values: Any) -> Callable[[dict[str, Any]], object]:
    return lambda document: document["frames"][0].update(values)


def _matrix(change: Callable[[list[list[float]]], object]) -> Callable[[dict[str, Any]], object]:
    return lambda document: change(document["frames"][0]["transform_matrix"])


def _scale(matrix: list[list[float]]) -> None:
    for row in matrix[:3]:
        row[:3] = [2.0 * value for value in row[:3]]


def _mirror(matrix: list[list[float]]) -> None:
    for row in matrix[:3]:
        row[0] = -row[0]


WRONG: list[tuple[str, Callable[[dict[str, Any]], object], list[str]]] = [
    ("no frames", lambda d: d.update(frames=[]), ['"frames"', "an empty list"]),
    ("frames missing", lambda d: d.pop("frames"), ['"frames"', "nothing"]),
    ("frames are no objects", lambda d: d.update(frames=[3]), ["frames[0]", "file_path"]),
    ("missing image", _first(file_path="images/nowhere.png"), ["1 of 12 images are missing", "nowhere.png"]),
    ("size differs", lambda d: d.update(w=80, h=64), ["80x64", "40x32", "cam00"]),
    ("scaled rotation", _matrix(_scale), ["rotation", "R^T R", "cam00"]),
    ("mirrored", _matrix(_mirror), ["rotation", "mirroring"]),
    ("NaN", _matrix(lambda m: m[0].__setitem__(0, math.nan)), ["finite", "NaN", "0000.png"]),
    ("NaN position", _matrix(lambda m: m[1].__setitem__(3, math.inf)), ["finite", "transform_matrix"]),
    ("3x3 matrix", _first(transform_matrix=[[1, 0, 0], [0, 1, 0], [0, 0, 1]]), ["4x4", "(3, 3)"]),
    ("ragged matrix", _first(transform_matrix=[[1, 0], [1]]), ["4x4"]),
    ("no matrix", lambda d: d["frames"][0].pop("transform_matrix"), ["transform_matrix", "none"]),
    ("sees nothing", lambda d: d.update(aabb=[[50, 50, 50], [51, 51, 51]]), ["camera cam00", "nothing", "OpenGL"]),
    ("image count differs", lambda d: d["frames"].pop(1), ["expected 4", "found 3", "time 1", "cam00"]),
    ("no focal length", lambda d: (d.pop("fl_x"), d.pop("fl_y")), ["no focal length", "camera_angle_x"]),
    ("negative focal length", lambda d: d.update(fl_x=-3), ["positive focal", "-3"]),
    ("text as number", lambda d: d.update(cx="20"), ["finite number", '"cx"', "'20'"]),
    ("NaN intrinsics", lambda d: d.update(cy=math.nan), ["finite number", '"cy"', "nan"]),
    ("fisheye", lambda d: d.update(camera_model="OPENCV_FISHEYE"), ["OPENCV_FISHEYE", "undistort"]),
    ("k3", lambda d: d.update(k3=0.1), ["k3 = 0.1", "undistort"]),
    ("field of view", lambda d: (d.pop("fl_x"), d.update(camera_angle_x=4)), ["camera_angle_x", "4"]),
    ("time on some", lambda d: d["frames"][5].pop("time"), ['"time"', "cam01/0002.png", "1 of 12"]),
    ("time is text", _first(time="one"), ['"time"', "'one'"]),
    ("time is huge", _first(time=10**400), ['"time"', "finite"]),
    ("camera on some", lambda d: d["frames"][4].pop("camera"), ['"camera"', "cam01/0001.png"]),
    ("two images at one time", lambda d: d["frames"][1].update(time=0), ["cam00", "two images", "time 0"]),
    ("unknown split", _first(split="holdout"), ["holdout", "train or test"]),
    ("split changes", _first(split="test"), ["cam00", "split by camera"]),
    ("no training camera", lambda d: [r.update(split="test") for r in d["frames"]], ["at least one training"]),
    ("unknown held-out camera", lambda d: d.update(test_cameras=["cam9"]), ["'cam9'", "test_cameras"]),
    ("camera in both lists", lambda d: d.update(test_cameras=["cam0" + "1"], train_cameras=["cam01"]), ["both"]),
    ("camera in neither", lambda d: d.update(test_cameras=["cam00"], train_cameras=["cam01"]), ["cam02", "neither"]),
    ("bad bounds", lambda d: d.update(aabb=[[0, 0, 0], [1, 1, 0]]), ["aabb", "lower"]),
    ("bounds of text", lambda d: d.update(aabb="big"), ["aabb", "big"]),
    ("bad fps", lambda d: d.update(fps=0), ["fps", "positive", "0"]),
    ("fps is text", lambda d: d.update(fps="fast"), ["fps", "'fast'"]),
    ("mask missing", _first(mask_path="masks/none.png"), ["mask", "none.png", "missing"]),
    ("mask is a number", _first(mask_path=7), ["mask_path", "7"]),
]


@pytest.mark.parametrize(("change", "parts"), [w[1:] for w in WRONG], ids=[w[0] for w in WRONG])
def test_wrong_input_gets_one_clear_line(
    changed: Callable[..., Path], change: Callable[[dict[str, Any]], object], parts: list[str]
) -> None:
    fails(changed(change), "transforms.json", *parts)


def test_cameras_that_file_paths_do_not_tell_apart(changed: Callable[..., Path]) -> None:
    def change(document: dict[str, Any]) -> None:
        for number, record in enumerate(document["frames"]):
            del record["camera"]
            record["file_path"] = f"all/{number:04d}.png"

    fails(changed(change), "which camera", '"camera"')


@pytest.mark.parametrize("text", ["", "{", '{"frames": [', "[1, 2]", "null", "\x00"])
def test_broken_json(tmp_path: Path, text: str) -> None:
    (tmp_path / "transforms.json").write_text(text, encoding="utf-8")
    fails(tmp_path, "transforms.json", "JSON")


def test_json_that_is_not_text(tmp_path: Path) -> None:
    (tmp_path / "transforms.json").write_bytes(b"\xff\xfe\x00\xd8")
    fails(tmp_path, "transforms.json", "UTF-8")


def test_unknown_layout_says_what_was_looked_for(tmp_path: Path) -> None:
    (tmp_path / "footage").mkdir()
    (tmp_path / "notes.txt").write_bytes(b"")
    fails(tmp_path, "looked for transforms.json", "poses_bounds.npy", "notes.txt", "footage/")
    fails(tmp_path / "notes.txt", "expected a capture folder")
    fails(tmp_path, "no capture of the layout nhr", "CamPose.inf", format="nhr")
    fails(tmp_path, "transforms", "colmap", "'maya'", format="maya", error=ConfigError)
    fails(tmp_path / "nowhere", "nothing there")


def test_an_image_that_is_none(changed: Callable[..., Path]) -> None:
    folder = changed(lambda document: None)
    (folder / "images/cam00/0001.png").write_text("not a picture", encoding="utf-8")
    fails(folder, "0001.png", "expected an image")


def test_one_image_of_another_size(changed: Callable[..., Path]) -> None:
    folder = changed(lambda document: (document.pop("w"), document.pop("h")))
    Image.new("RGBA", (20, 16)).save(folder / "images/cam02/0001.png")
    fails(folder, "cam02", "20x16", "40x32")


def test_mask_of_another_size(tmp_path: Path) -> None:
    folder = captures.write_capture(tmp_path, cameras=3, frames=1, size=32, masks="file", test_cameras=0)
    Image.new("L", (16, 16)).save(folder / "masks/cam01/0000.png")
    fails(folder, "masks", "32x32", "16x16")


@pytest.mark.parametrize("downscale", [0, -1, 1.5, True])
def test_downscale_out_of_range(capture: Path, downscale: Any) -> None:
    fails(capture, "downscale", error=ConfigError, downscale=downscale)


def test_bounds_argument(capture: Path) -> None:
    box = Bounds((-0.5, -0.5, -0.5), (0.5, 0.5, 0.5))
    sequence = open_capture(capture, bounds=box)
    assert (sequence.bounds, sequence.bounds_source) == (box, "argument")
    fails(capture, "lower < upper", error=ConfigError, bounds=Bounds((0, 0, 0), (1, 0, 1)))
    fails(capture, "lower < upper", error=ConfigError, bounds=Bounds((0, 0, 0), (1, math.nan, 1)))
    fails(capture, "sees nothing", bounds=Bounds((60, 0, 0), (61, 1, 1)))


def test_tiny_and_huge_bounds_are_seen(capture: Path) -> None:
    open_capture(capture, bounds=Bounds((0.1, 0.1, 0.1), (0.101, 0.101, 0.101)))
    open_capture(capture, bounds=Bounds((-500, -500, -500), (500, 500, 500)))


# ---- downscaling --------------------------------------------------------------------------------------------------


def test_downscale_keeps_the_rays(capture: Path) -> None:
    """A reduced camera's pixel corners see what the full camera's corresponding points see."""
    for factor in (2, 3, 4):
        full, small = open_capture(capture).cameras[1], open_capture(capture, downscale=factor).cameras[1]
        assert (small.width, small.height) == reduced_size(40, 32, factor)
        corners = np.array([[0, 0], [small.width, small.height], [1, 2]], float)
        scaled = corners * [40 / small.width, 32 / small.height]
        np.testing.assert_allclose(pixel_directions(small, corners), pixel_directions(full, scaled), atol=1e-12)


def test_downscaled_pictures_are_alpha_weighted_averages(capture: Path) -> None:
    image = open_capture(capture).frame(0).views[0].image.astype(float)
    small = open_capture(capture, downscale=2).frame(0).views[0].image
    blocks = image.reshape(16, 2, 20, 2, 4).transpose(0, 2, 1, 3, 4).reshape(16, 20, 4, 4)
    alpha = blocks[..., 3].sum(-1)
    rgb = (blocks[..., :3] * blocks[..., 3:]).sum(2) / np.maximum(alpha, 1)[..., None]
    assert np.abs(small[..., :3] - rgb)[small[..., 3] > 0].max() <= 0.5 + 1e-4
    assert np.abs(small[..., 3] - alpha / 4).max() <= 0.5


def test_transparent_pixels_do_not_bleed() -> None:
    image = np.zeros((2, 2, 4), np.uint8)
    image[0, 0] = (200, 100, 50, 255)
    image[1, 1] = (255, 255, 255, 0)
    np.testing.assert_array_equal(area_reduce(image, 2), [[[200, 100, 50, 64]]])


@given(st.integers(1, 23), st.integers(1, 19), st.integers(1, 7), st.integers(0, 2**32 - 1))
@settings(max_examples=60, deadline=None)
def test_reduction_matches_a_dense_average(width: int, height: int, factor: int, seed: int) -> None:
    """Against an average over a raster so fine that it divides by both sizes."""
    image = np.random.default_rng(seed).integers(0, 256, (height, width, 4)).astype(np.uint8)
    w, h = reduced_size(width, height, factor)
    planes = np.concatenate((image[..., :3] * (image[..., 3:] / 255.0), image[..., 3:] / 255.0), axis=2)
    dense = planes.repeat(h, 0).repeat(w, 1).reshape(h, height, w, width, 4).mean((1, 3))
    out = area_reduce(image, factor)
    assert out.shape == (h, w, 4)
    if factor > 1:
        assert np.abs(out[..., 3] - 255 * dense[..., 3]).max() <= 0.51
        visible = out[..., 3] > 0
        rgb = dense[..., :3] / np.maximum(dense[..., 3:], 1e-9)
        assert np.abs(out[..., :3] - rgb)[visible].max(initial=0) <= 0.51


# ---- bounds -------------------------------------------------------------------------------------------------------


def _box_of_spheres(times: range) -> tuple[np.ndarray, np.ndarray]:
    ends = [(centre - radius, centre + radius) for t in times for centre, radius, _ in captures.spheres(t)]
    return np.min([e[0] for e in ends], axis=0), np.max([e[1] for e in ends], axis=0)


@pytest.mark.parametrize("lens", [(0, 0, 0, 0), (-0.12, 0.05, 0.003, -0.002)])
def test_bounds_from_masks_hold_the_subject_closely(tmp_path: Path, lens: tuple[float, ...]) -> None:
    folder = captures.write_capture(tmp_path, cameras=10, frames=3, size=96, bounds=False, lens=lens)
    sequence = open_capture(folder)
    assert sequence.bounds_source == "masks" and "masks of 3 frames" in sequence.messages[0]
    lower, upper = _box_of_spheres(range(3))
    assert (np.asarray(sequence.bounds.lower) <= lower).all() and (np.asarray(sequence.bounds.upper) >= upper).all()
    assert (sequence.bounds.size < 1.45 * (upper - lower)).all()


def test_bounds_from_masks_of_close_ups() -> None:
    """Half the cameras see the upper part of the subject and half the lower one; the box must hold both."""
    views = []
    for number, camera in enumerate(captures.ring_cameras(12, 64, 0)):
        cut = 24.0 if number // 2 % 2 else 0.0
        crop = Camera(**{**camera.__dict__, "height": 40, "cy": camera.cy - cut})
        views.append(View(crop, captures.trace(crop, 0)))
    assert any(view.image[0, :, 3].any() for view in views) and any(view.image[-1, :, 3].any() for view in views)
    box = bounds_from_masks([views])
    assert box is not None
    lower, upper = _box_of_spheres(range(1))
    assert (np.asarray(box.lower) <= lower).all() and (np.asarray(box.upper) >= upper).all()
    assert (box.size < 2.5 * (upper - lower)).all()


def test_bounds_from_cameras_without_masks(tmp_path: Path) -> None:
    folder = captures.write_capture(tmp_path, cameras=8, frames=1, size=32, masks=None, bounds=False)
    sequence = open_capture(folder)
    assert sequence.bounds_source == "cameras" and "aabb" in sequence.messages[-1]
    lower, upper = np.asarray(sequence.bounds.lower), np.asarray(sequence.bounds.upper)
    assert (lower < -0.8).all() and (upper > 0.8).all(), "the scene is inside"
    assert (upper - lower < 2 * captures.DISTANCE).all(), "the cameras are outside"


def test_inconsistent_masks_fall_back_to_the_cameras(capture: Path, tmp_path: Path) -> None:
    folder = tmp_path / "odd"
    shutil.copytree(capture, folder)
    document = captures.read_document(folder)
    del document["aabb"]
    captures.write_document(folder, document)
    for number, name in enumerate(("cam00", "cam01", "cam02", "cam03")):
        for file in (folder / "images" / name).iterdir():
            image = np.zeros((32, 40, 4), np.uint8)
            image[1:4, 1:4] = 255
            Image.fromarray(np.rot90(image, 2) if number % 2 else image).save(file)
    sequence = open_capture(folder)
    assert sequence.bounds_source == "cameras" and "no common visual hull" in sequence.messages[-1]


def test_parallel_cameras_need_stated_bounds(tmp_path: Path) -> None:
    folder = captures.write_capture(tmp_path, cameras=3, frames=1, size=32, masks=None, bounds=False, test_cameras=0)
    document = captures.read_document(folder)
    for number, record in enumerate(document["frames"]):
        record["transform_matrix"] = [[1, 0, 0, 0.1 * number], [0, 1, 0, 0], [0, 0, 1, 4], [0, 0, 0, 1]]
    captures.write_document(folder, document)
    fails(folder, "cannot find bounds", "aabb")
    assert bounds_from_cameras(captures.ring_cameras(6, 32)) is not None


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
