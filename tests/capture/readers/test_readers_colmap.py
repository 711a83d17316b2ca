"""Scenes calibrated with COLMAP, in both of its formats and the ways to lay out pictures beside it."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import layouts
import numpy as np
import pytest

from taichi_vvc.errors import DataError
from taichi_vvc.types import Camera

MODELS = ["SIMPLE_PINHOLE", "PINHOLE", "SIMPLE_RADIAL", "RADIAL", "OPENCV"]
LENSES = {
    "SIMPLE_PINHOLE": (0.0, 0.0, 0.0, 0.0),
    "PINHOLE": (0.0, 0.0, 0.0, 0.0),
    "SIMPLE_RADIAL": (-0.1, 0.0, 0.0, 0.0),
    "RADIAL": (-0.1, 0.03, 0.0, 0.0),
    "OPENCV": (-0.1, 0.03, 0.004, -0.003),
}


def parameters(camera: Camera, model: str) -> list[float]:
    k = [camera.k1, camera.k2, camera.p1, camera.p2]
    one, two = [camera.fx, camera.cx, camera.cy], [camera.fx, camera.fy, camera.cx, camera.cy]
    return {
        "SIMPLE_PINHOLE": one,
        "PINHOLE": two,
        "SIMPLE_RADIAL": one + k[:1],
        "RADIAL": one + k[:2],
        "OPENCV": two + k,
    }[model]


def write_model(folder: Path, rig: Sequence[Camera], names: Sequence[str], model: str, kind: str) -> None:
    folder.mkdir(parents=True)
    poses = []
    for camera in rig:
        rotation, translation = layouts.world_to_camera(camera)
        poses.append([*layouts.quaternion(rotation), *translation])
    if kind == "txt":
        lines = ["# Camera list with one line of data per camera:"]
        for number, c in enumerate(rig, 1):
            values = " ".join(repr(float(v)) for v in parameters(c, model))
            lines.append(f"{number} {model} {c.width} {c.height} {values}")
        (folder / "cameras.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
        lines = ["# Image list with two lines of data per image:"]
        for number, (pose, name) in enumerate(zip(poses, names, strict=True), 1):
            lines.append(f"{number} {' '.join(repr(float(v)) for v in pose)} {number} {name}")
            lines.append("1.5 2.5 -1 3.5 4.5 17" if number % 2 else "")  # images without features have an empty line
        (folder / "images.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
        return
    data = struct.pack("<Q", len(rig))
    for number, c in enumerate(rig, 1):
        values = parameters(c, model)
        data += struct.pack(f"<iiQQ{len(values)}d", number, MODELS.index(model), c.width, c.height, *values)
    (folder / "cameras.bin").write_bytes(data)
    data = struct.pack("<Q", len(rig))
    for number, (pose, name) in enumerate(zip(poses, names, strict=True), 1):
        data += struct.pack("<i7di", number, *pose, number) + name.encode() + b"\0"
        points = number % 3
        data += struct.pack("<Q", points) + points * struct.pack("<ddq", 1.5, 2.5, -1)
    (folder / "images.bin").write_bytes(data)


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("kind", ["bin", "txt"])
def test_folders_per_camera(tmp_path: Path, model: str, kind: str) -> None:
    rig = layouts.rig(LENSES[model])
    write_model(tmp_path / "sparse/0", rig, [f"{c.name}/0000.png" for c in rig], model, kind)
    for camera in rig:
        for time, frame in enumerate(layouts.pictures(camera)):
            layouts.save(tmp_path / f"images/{camera.name}/{time:04d}.png", layouts.on_background(frame))
            layouts.save(tmp_path / f"masks/{camera.name}/{time:04d}.png", frame[..., 3])
    sequence = layouts.opened(tmp_path)
    layouts.assert_reads_back(sequence, rig, layout="colmap", masks=True, tolerance=0.01)
    assert [camera.name for camera in sequence.cameras] == [camera.name for camera in rig]


@pytest.mark.parametrize("place", ["frame000000/sparse/0", "sparse/0"])
def test_folders_per_frame(tmp_path: Path, place: str) -> None:
    rig = layouts.rig()
    write_model(tmp_path / place, rig, [f"{c.name}.png" for c in rig], "PINHOLE", "bin")
    for camera in rig:
        for time, frame in enumerate(layouts.pictures(camera)):
            layouts.save(tmp_path / f"frame{time:06d}/images/{camera.name}.png", layouts.on_background(frame))
            layouts.save(tmp_path / f"frame{time:06d}/masks/{camera.name}.png", frame[..., 3])
    layouts.assert_reads_back(layouts.opened(tmp_path), rig, layout="colmap", masks=True, tolerance=0.01)
    (tmp_path / "frame000001/images/cam02.png").unlink()
    with pytest.raises(DataError, match=r"expected 3 pictures of every camera.*found 2 of camera cam02"):
        layouts.opened(tmp_path)


def test_one_video_per_camera(tmp_path: Path) -> None:
    rig = layouts.rig(LENSES["OPENCV"])
    write_model(tmp_path / "sparse/0", rig, [f"{c.name}.png" for c in rig], "OPENCV", "bin")
    for camera in rig:
        frames = [layouts.on_background(frame) for frame in layouts.pictures(camera)]
        layouts.write_video(tmp_path / f"{camera.name}.mp4", frames)
    layouts.assert_reads_back(layouts.opened(tmp_path), rig, layout="colmap", masks=False, tolerance=4.0)


def test_a_still_scene(tmp_path: Path) -> None:
    rig = layouts.rig()
    write_model(tmp_path / "sparse", rig, [f"{c.name}.jpg" for c in rig], "PINHOLE", "txt")
    for camera in rig:
        layouts.save(tmp_path / f"images/{camera.name}.jpg", layouts.on_background(layouts.pictures(camera, 1)[0]))
    layouts.assert_reads_back(layouts.opened(tmp_path), rig, layout="colmap", masks=False, tolerance=4.0, frames=1)


def test_cameras_that_were_not_registered_are_left_out_and_named(tmp_path: Path) -> None:
    rig = layouts.rig()
    names = ["cam00.png", "cam01.png", "other/cam02.png", "cam99.png"]
    write_model(tmp_path / "sparse/0", rig, names, "PINHOLE", "bin")
    for camera in rig:
        layouts.save(tmp_path / f"images/{camera.name}/0000.png", layouts.pictures(camera, 1)[0])
    sequence = layouts.opened(tmp_path)
    assert [camera.name for camera in sequence.cameras] == ["cam00", "cam01", "cam02"]
    assert "cam03" in sequence.messages[0] and "cam99" in sequence.messages[1]


def test_the_first_of_several_poses_counts_and_is_reported(tmp_path: Path) -> None:
    rig = layouts.rig()
    names = ["cam00/0000.png", "cam01/0000.png", "cam01/0001.png", "cam02/0000.png"]
    write_model(tmp_path / "sparse/0", rig, names, "PINHOLE", "bin")
    for name in names:
        layouts.save(tmp_path / "images" / name, layouts.pictures(rig[0], 1)[0])
    for name in ("cam00", "cam02"):
        layouts.save(tmp_path / f"images/{name}/0001.png", layouts.pictures(rig[0], 1)[0])
    sequence = layouts.opened(tmp_path)
    assert any("more than one pose" in m and "cam01" in m for m in sequence.messages)
    layouts.assert_same_rays(sequence.cameras[1], rig[1])


def test_lens_models_that_are_not_supported(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a/cameras.txt").write_text("1 FULL_OPENCV 4 4 1 1 2 2 0 0 0 0 0 0 0 0\n", encoding="utf-8")
    (tmp_path / "a/images.txt").write_text("", encoding="utf-8")
    (tmp_path / "b").mkdir()
    (tmp_path / "b/cameras.bin").write_bytes(struct.pack("<QiiQQ8d", 1, 1, 5, 4, 4, *range(8)))
    (tmp_path / "b/images.bin").write_bytes(struct.pack("<Q", 0))
    for name, model in (("a", "FULL_OPENCV"), ("b", "OPENCV_FISHEYE")):
        with pytest.raises(DataError, match=f"lens model of SIMPLE_PINHOLE.*found {model}"):
            layouts.opened(tmp_path / name)


@pytest.mark.parametrize("kind", ["bin", "txt"])
def test_damaged_models_get_one_line(tmp_path: Path, kind: str) -> None:
    rig = layouts.rig()
    write_model(tmp_path / "sparse/0", rig, [f"{c.name}.png" for c in rig], "PINHOLE", kind)
    for name in ("cameras", "images"):
        file = tmp_path / f"sparse/0/{name}.{kind}"
        whole = file.read_bytes()
        for end in np.linspace(1, len(whole) - 30, 9).astype(int):
            file.write_bytes(whole[:end])
            with pytest.raises(DataError) as caught:
                layouts.opened(tmp_path)
            assert "\n" not in str(caught.value)
        file.write_bytes(whole)
    file.write_bytes(struct.pack("<Q", 1 << 60) + whole[8:])
    with pytest.raises(DataError):
        layouts.opened(tmp_path)


def test_a_dropped_frame_is_named_even_if_the_counts_agree(tmp_path: Path) -> None:
    rig = layouts.rig()
    write_model(tmp_path / "sparse/0", rig, [f"{c.name}.png" for c in rig], "PINHOLE", "bin")
    for camera in rig:
        for time in (0, 1, 2) if camera.name != "cam02" else (0, 1, 3):
            layouts.save(
                tmp_path / f"images/{camera.name}/{camera.name}_{time:04d}.png", np.zeros((40, 48, 3), np.uint8)
            )
    with pytest.raises(DataError, match="found 2 of camera cam00 where camera cam02 has 3"):
        layouts.opened(tmp_path)
    (tmp_path / "images/cam01/cam01_0002.png").unlink()
    with pytest.raises(DataError, match="found 3 of most and 2 of camera cam01"):
        layouts.opened(tmp_path)


@pytest.mark.parametrize("scene", ["colmap", "sparse", "0", "frame000007"])
def test_a_scene_may_be_called_like_a_part_of_one(tmp_path: Path, scene: str) -> None:
    rig = layouts.rig()
    folder = tmp_path / scene
    write_model(folder / "sparse/0", rig, [f"{c.name}.png" for c in rig], "PINHOLE", "bin")
    for camera in rig:
        for time, frame in enumerate(layouts.pictures(camera)):
            layouts.save(folder / f"images/{camera.name}/{time:04d}.png", frame)
    layouts.assert_reads_back(layouts.opened(folder), rig, layout="colmap", masks=True, tolerance=0.01)


def test_the_largest_of_several_models_is_read_and_named(tmp_path: Path) -> None:
    """COLMAP numbers models as it makes them; the first may be that of a few pictures which nothing connects."""
    rig = layouts.rig()
    write_model(tmp_path / "sparse/0", rig[:1], ["cam00.png"], "PINHOLE", "bin")
    write_model(tmp_path / "sparse/1", rig, [f"{c.name}.png" for c in rig], "PINHOLE", "bin")
    write_model(tmp_path / "sparse/10", rig[2:], [f"{c.name}.png" for c in rig[2:]], "PINHOLE", "txt")
    (tmp_path / "sparse/2").mkdir()  # no model
    for camera in rig:
        layouts.save(tmp_path / f"images/{camera.name}/0.png", layouts.pictures(camera, 1)[0])
    sequence = layouts.opened(tmp_path)
    layouts.assert_reads_back(sequence, rig, layout="colmap", masks=True, tolerance=0.01, frames=1)
    (line,) = [message for message in sequence.messages if "several COLMAP models" in message]
    assert f"1 is read, which has most pictures ({len(rig)}), and not 0 with 1, 10 with {len(rig) - 2};" in line
    # One that is named is read, whatever its size.
    few = layouts.opened(tmp_path / "sparse/10")
    assert [camera.name for camera in few.cameras] == [camera.name for camera in rig[2:]]
    assert not any("several COLMAP models" in message for message in few.messages)


def test_a_model_that_is_not_number_0(tmp_path: Path) -> None:
    rig = layouts.rig()
    write_model(tmp_path / "sparse/3", rig, [f"{c.name}.png" for c in rig], "PINHOLE", "bin")
    for camera in rig:
        layouts.save(tmp_path / f"images/{camera.name}/0.png", layouts.pictures(camera, 1)[0])
    sequence = layouts.opened(tmp_path)
    layouts.assert_reads_back(sequence, rig, layout="colmap", masks=True, tolerance=0.01, frames=1)
    assert not any("several COLMAP models" in message for message in sequence.messages)


def test_the_model_itself_may_be_named(tmp_path: Path) -> None:
    rig = layouts.rig()
    write_model(tmp_path / "sparse/0", rig, [f"{c.name}.png" for c in rig], "PINHOLE", "bin")
    for camera in rig:
        layouts.save(tmp_path / f"images/{camera.name}/0.png", layouts.pictures(camera, 1)[0])
    for path in (tmp_path / "sparse/0", tmp_path / "sparse/0/cameras.bin"):
        layouts.assert_reads_back(layouts.opened(path), rig, layout="colmap", masks=True, tolerance=0.01, frames=1)


@pytest.mark.parametrize("form", ["every line doubled", "features left out", "more between", "spaces", "comments"])
def test_a_line_of_images_txt_is_told_by_what_it_holds(tmp_path: Path, form: str) -> None:
    rig = layouts.rig()
    names = [f"the {c.name}/0000.png" for c in rig] if form == "spaces" else [f"{c.name}.png" for c in rig]
    write_model(tmp_path / "sparse/0", rig, names, "PINHOLE", "txt")
    file = tmp_path / "sparse/0/images.txt"
    lines = file.read_text(encoding="utf-8").split("\n")
    head, lines = lines[:1], lines[1:]
    if form == "every line doubled":  # as line ends that were converted twice are read
        lines = [line for pair in lines for line in (pair, "")]
    elif form == "features left out":
        lines = lines[::2]
    elif form == "more between":
        lines = ["", "", *[line for k in range(0, len(lines) - 1, 2) for line in (*lines[k : k + 2], "", "  ")]]
    elif form == "comments":
        lines = [line for pair in lines for line in ("  # a comment", pair)]
    file.write_text("\n".join(head + lines), encoding="utf-8")
    for camera in rig:
        folder = f"the {camera.name}" if form == "spaces" else camera.name
        layouts.save(tmp_path / f"images/{folder}/0000.png", layouts.pictures(camera, 1)[0])
    layouts.assert_reads_back(layouts.opened(tmp_path), rig, layout="colmap", masks=True, tolerance=0.01, frames=1)


def test_a_line_of_images_txt_that_is_none_is_named(tmp_path: Path) -> None:
    rig = layouts.rig()
    write_model(tmp_path / "sparse/0", rig, [f"{c.name}.png" for c in rig], "PINHOLE", "txt")
    file = tmp_path / "sparse/0/images.txt"
    lines = file.read_text(encoding="utf-8").split("\n")
    lines[3] = " ".join(lines[3].split()[:9])
    file.write_text("\n".join(lines), encoding="utf-8")
    with pytest.raises(DataError, match=r"images\.txt: .*line 4: expected an image"):
        layouts.opened(tmp_path)


@pytest.mark.parametrize("place", ["images/{}.png", "images/{}/0000.png", "frame000000/images/{}.png"])
def test_masks_that_are_called_as_colmap_calls_them(tmp_path: Path, place: str) -> None:
    rig = layouts.rig()
    write_model(tmp_path / "sparse/0", rig, [f"{c.name}.png" for c in rig], "PINHOLE", "bin")
    for camera in rig:
        frame = layouts.pictures(camera, 1)[0]
        picture = tmp_path / place.format(camera.name)
        layouts.save(picture, layouts.on_background(frame))
        mask = Path(str(picture).replace("/images/", "/masks/"))
        layouts.save(mask.with_name(mask.name + ".png"), frame[..., 3])
    layouts.assert_reads_back(layouts.opened(tmp_path), rig, layout="colmap", masks=True, tolerance=0.01, frames=1)


def test_masks_of_no_cameras_name_are_reported(tmp_path: Path) -> None:
    rig = layouts.rig()
    write_model(tmp_path / "sparse/0", rig, [f"{c.name}.png" for c in rig], "PINHOLE", "bin")
    for camera in rig:
        layouts.save(tmp_path / f"images/{camera.name}.png", layouts.on_background(layouts.pictures(camera, 1)[0]))
        layouts.save(tmp_path / f"masks/{camera.name}_mask.png", layouts.pictures(camera, 1)[0][..., 3])
    assert any("masks of no camera's name" in m and "cam00_mask" in m for m in layouts.opened(tmp_path).messages)


@pytest.mark.parametrize("prefix", ["", "images/"])
@pytest.mark.parametrize("folders", [("left", "left", "right", "right"), ("all/in/one",) * 4, tuple("abcc")])
def test_a_still_scene_in_subfolders(tmp_path: Path, folders: tuple[str, ...], prefix: str) -> None:
    """Folders sort pictures here; they are no cameras, whose pictures would be of several times."""
    rig = layouts.rig()
    names = [f"{folder}/{number:04d}.png" for number, folder in enumerate(folders)]
    write_model(tmp_path / "sparse/0", rig, [prefix + name for name in names], "PINHOLE", "txt")
    for camera, name in zip(rig, names, strict=True):
        frame = layouts.pictures(camera, 1)[0]
        layouts.save(tmp_path / "images" / name, layouts.on_background(frame))
        layouts.save(tmp_path / "masks" / f"{name}.png", frame[..., 3])
    sequence = layouts.opened(tmp_path)
    layouts.assert_reads_back(sequence, rig, layout="colmap", masks=True, tolerance=0.01, frames=1)
    assert [camera.name for camera in sequence.cameras] == [name[:-4] for name in names]
    assert any("still scene" in message for message in sequence.messages)


def test_folders_are_cameras_if_their_pictures_have_one_pose(tmp_path: Path) -> None:
    """Every frame was registered, with some noise: the scene moves and the cameras stand."""
    rig = layouts.rig()
    several = [camera for camera in rig for _ in range(2)]
    moved = [replace(c, position=c.position + 1e-4 * (k % 2)) for k, c in enumerate(several)]
    names = [f"{camera.name}/{k % 2:04d}.png" for k, camera in enumerate(several)]
    write_model(tmp_path / "sparse/0", moved, names, "PINHOLE", "bin")
    for camera in rig:
        for time, frame in enumerate(layouts.pictures(camera, 2)):
            layouts.save(tmp_path / f"images/{camera.name}/{time:04d}.png", frame)
    layouts.assert_reads_back(layouts.opened(tmp_path), rig, layout="colmap", masks=True, tolerance=0.01, frames=2)


def test_rigs_and_frames_of_newer_models_and_their_lenses(tmp_path: Path) -> None:
    rig = layouts.rig()
    write_model(tmp_path / "sparse/0", rig, [f"{c.name}.png" for c in rig], "PINHOLE", "bin")
    for name in ("rigs.bin", "frames.bin"):
        (tmp_path / "sparse/0" / name).write_bytes(b"\xff" * 40)
    for camera in rig:
        layouts.save(tmp_path / f"images/{camera.name}.png", layouts.pictures(camera, 1)[0])
    layouts.assert_reads_back(layouts.opened(tmp_path), rig, layout="colmap", masks=True, tolerance=0.01, frames=1)
    for number, model in ((13, "DIVISION"), (16, "EUCM"), (99, "number 99")):
        (tmp_path / "sparse/0/cameras.bin").write_bytes(struct.pack("<QiiQQ8d", 1, 1, number, 4, 4, *range(8)))
        with pytest.raises(DataError, match=f"found {model}; undistort"):
            layouts.opened(tmp_path)


@pytest.mark.parametrize("name", ["a.b.{}.png", "a.b.{}.png.png", "a.b.{}.jpg.png"])
def test_masks_are_found_by_name_where_names_have_dots(tmp_path: Path, name: str) -> None:
    """In reverse order, so that only their names can tell which is whose."""
    rig = layouts.rig()
    write_model(tmp_path / "sparse/0", rig, [f"{c.name}/a.b.0.png" for c in rig], "PINHOLE", "bin")
    for camera in rig:
        for time, frame in enumerate(layouts.pictures(camera)):
            layouts.save(tmp_path / f"images/{camera.name}/a.b.{time}.png", layouts.on_background(frame))
            layouts.save(tmp_path / f"masks/{camera.name}" / name.format(time), frame[..., 3])
        layouts.save(tmp_path / f"masks/{camera.name}/a.a.png", np.zeros((40, 48), np.uint8))
    layouts.assert_reads_back(layouts.opened(tmp_path), rig, layout="colmap", masks=True, tolerance=0.01)


@pytest.mark.parametrize("name", ["/", "images/"])
def test_an_image_without_a_name_is_one_without_a_picture(tmp_path: Path, name: str) -> None:
    rig = layouts.rig()
    write_model(tmp_path / "sparse/0", [*rig, rig[0]], [*(f"{c.name}.png" for c in rig), name], "PINHOLE", "bin")
    for camera in rig:
        layouts.save(tmp_path / f"images/{camera.name}.png", layouts.pictures(camera, 1)[0])
    sequence = layouts.opened(tmp_path)
    assert len(sequence.cameras) == len(rig)
    assert any("without pictures" in line for line in sequence.messages)
