"""EasyMocap's and EasyVolcap's layout, and the YAML that OpenCV writes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import captures
import layouts
import numpy as np
import pytest
from PIL import Image

from taichi_vvc.capture.readers.opencv_yaml import read_filestorage
from taichi_vvc.capture.readers.rig import rodrigues
from taichi_vvc.capture.sequence import open_capture
from taichi_vvc.errors import DataError
from taichi_vvc.types import Camera

LENS = (-0.1, 0.03, 0.004, -0.003)


def yaml_matrix(key: str, values: np.ndarray) -> str:
    """As OpenCV writes it, data broken over lines."""
    values = np.atleast_2d(values)
    items = [f"{value:.12g}" + ("." if float(value).is_integer() else "") for value in values.ravel()]
    lines = [", ".join(items[i : i + 3]) for i in range(0, len(items), 3)]
    return (
        f"{key}: !!opencv-matrix\n   rows: {values.shape[0]}\n   cols: {values.shape[1]}\n   dt: d\n"
        f"   data: [ {(',' + chr(10) + '       ').join(lines)} ]\n"
    )


def rotation_vector(rotation: np.ndarray) -> np.ndarray:
    """The axis times the angle, by way of the quaternion."""
    w, *axis = layouts.quaternion(rotation)
    length = np.linalg.norm(axis)
    return np.array(axis) / length * 2.0 * np.arctan2(length, w)


def write_calibration(folder: Path, rig: Sequence[Camera], rotations: str = "R", distortion: str = "D") -> None:
    names = "names:\n" + "".join(f'   - "{c.name[3:]}"\n' for c in rig)
    intri = extri = "%YAML:1.0\n---\n" + names
    for c in rig:
        name = c.name[3:]
        rotation, translation = layouts.world_to_camera(c)
        intri += yaml_matrix(f"K_{name}", layouts.intrinsics(c))
        intri += f"H_{name}: {float(c.height)}\nW_{name}: {c.width}\n"
        intri += yaml_matrix(f"{distortion}_{name}", np.array([[c.k1], [c.k2], [c.p1], [c.p2], [0.0]]))
        if "R" in rotations.split("+"):
            extri += yaml_matrix(f"R_{name}", rotation_vector(rotation)[:, None])
        if "Rot" in rotations.split("+"):
            extri += yaml_matrix(f"Rot_{name}", rotation)
        extri += yaml_matrix(f"T_{name}", translation[:, None]) + f"t_{name}: 0.\n"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "intri.yml").write_text(intri, encoding="utf-8")
    (folder / "extri.yml").write_text(extri, encoding="utf-8")


def write_pictures(folder: Path, rig: Sequence[Camera], suffix: str = ".jpg", masks: bool = True) -> None:
    for camera in rig:
        for time, frame in enumerate(layouts.pictures(camera)):
            name = f"{camera.name[3:]}/{time:06d}"
            layouts.save(folder / f"images/{name}{suffix}", layouts.on_background(frame))
            if masks:
                layouts.save(folder / f"masks/{name}{suffix}", frame[..., 3])


@pytest.mark.parametrize(("rotations", "distortion"), [("R", "D"), ("Rot", "dist"), ("R+Rot", "D")])
def test_easyvolcap(tmp_path: Path, rotations: str, distortion: str) -> None:
    rig = layouts.rig(LENS)
    write_calibration(tmp_path, rig, rotations, distortion)
    write_pictures(tmp_path, rig)
    sequence = layouts.opened(tmp_path)
    layouts.assert_reads_back(sequence, rig, layout="easyvolcap", masks=True, tolerance=4.0)
    assert [camera.name for camera in sequence.cameras] == ["00", "01", "02", "03"]
    corner = sequence.frame(0).views[0].image[:3, :3, 3]
    assert (corner == 0).all(), "noise of the coding is not subject"


def test_videos_in_place_of_images(tmp_path: Path) -> None:
    rig = layouts.rig(LENS)
    write_calibration(tmp_path, rig)
    for camera in rig:
        frames = layouts.pictures(camera)
        layouts.write_video(tmp_path / f"videos/{camera.name[3:]}.mp4", [layouts.on_background(f) for f in frames])
        layouts.write_video(tmp_path / f"masks/{camera.name[3:]}.mp4", [np.repeat(f[..., 3:], 3, 2) for f in frames])
    layouts.assert_reads_back(layouts.opened(tmp_path), rig, layout="easyvolcap", masks=True, tolerance=4.0)


def test_bounds_of_the_file_are_used_and_the_placeholder_is_not(tmp_path: Path) -> None:
    rig = layouts.rig()
    write_calibration(tmp_path, rig)
    write_pictures(tmp_path, rig, ".png")
    plain = (tmp_path / "extri.yml").read_text(encoding="utf-8")
    box = np.array([captures.BOUNDS.lower, captures.BOUNDS.upper])
    for scale, source in ((1.0, "file"), (1e6, "masks")):
        boxes = "".join(yaml_matrix(f"bounds_{c.name[3:]}", scale * box) for c in rig)
        (tmp_path / "extri.yml").write_text(plain + boxes, encoding="utf-8")
        sequence = open_capture(tmp_path)
        assert sequence.bounds_source == source
        if source == "file":
            assert sequence.bounds == captures.BOUNDS


def test_cameras_without_pictures_and_pictures_without_cameras_are_named(tmp_path: Path) -> None:
    rig = layouts.rig()
    write_calibration(tmp_path, rig[1:])
    write_pictures(tmp_path, rig[:3], ".png")
    sequence = layouts.opened(tmp_path)
    assert [camera.name for camera in sequence.cameras] == ["01", "02"]
    assert "03" in sequence.messages[0] and "00" in sequence.messages[1]


@pytest.mark.parametrize(
    ("file", "key", "told"),
    [("intri.yml", "K_01", "K_01"), ("extri.yml", "T_01", "T_01"), ("extri.yml", "Rot_01", "R_01")],
)
def test_a_camera_whose_calibration_lacks_a_key_is_left_out(tmp_path: Path, file: str, key: str, told: str) -> None:
    rig = layouts.rig()
    write_calibration(tmp_path, rig, rotations="Rot")
    write_pictures(tmp_path, rig, ".png", masks=False)
    whole = (tmp_path / file).read_text(encoding="utf-8")
    assert f"\n{key}:" in whole
    (tmp_path / file).write_text(whole.replace(f"\n{key}:", f"\nX{key}:"), encoding="utf-8")
    sequence = layouts.opened(tmp_path)
    layouts.assert_reads_back(sequence, [rig[0], *rig[2:]], layout="easyvolcap", masks=False, tolerance=0.01)
    assert any(f"left out, as their calibration lacks a key: 01 (no {told})" == m for m in sequence.messages)
    (tmp_path / file).write_text(whole.replace(f"\n{key[:-2]}", f"\nX{key[:-2]}"), encoding="utf-8")
    with pytest.raises(DataError, match=rf"every one lacks a key: 00 \(no {told[:-2]}00\)"):
        layouts.opened(tmp_path)


def test_masks_are_matched_by_their_numbers_where_names_differ(tmp_path: Path) -> None:
    """More masks than pictures, under names of their own: by order, each mask would be that of another moment."""
    rig = layouts.rig()
    write_calibration(tmp_path, rig)
    write_pictures(tmp_path, rig, ".png")
    for camera in rig:
        (tmp_path / f"images/{camera.name[3:]}/000000.png").unlink()
        for file in sorted((tmp_path / f"masks/{camera.name[3:]}").iterdir()):
            file.rename(file.with_name(f"mask_{file.name}"))
    sequence = layouts.opened(tmp_path)
    for i in range(2):
        for view, camera in zip(sequence.frame(i).views, rig, strict=True):
            np.testing.assert_array_equal(view.image[..., 3], captures.trace(camera, i + 1)[..., 3])


def test_masks_that_are_too_few_are_not_used_and_reported(tmp_path: Path) -> None:
    rig = layouts.rig()
    write_calibration(tmp_path, rig)
    write_pictures(tmp_path, rig, ".png")
    (tmp_path / "masks/01/000002.png").unlink()
    sequence = layouts.opened(tmp_path)
    assert any("camera 01" in message and "2 masks" in message for message in sequence.messages)
    assert (sequence.frame(0).views[1].image[..., 3] == 255).all()


@pytest.mark.parametrize("strength", [(-1.2, 0.4, 0.01, -0.02, 6.0), (0.9, -0.3, -0.02, 0.01, 2.0)], ids=["in", "out"])
def test_a_lens_that_needs_resampling(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, strength: tuple[float, ...]
) -> None:
    """k3 is no part of Camera: pictures are undistorted when read, and must show what the returned camera sees."""
    k1, k2, p1, p2, k3 = strength
    rig = captures.ring_cameras(3, (96, 80), test_cameras=0)
    plain = captures.pixel_directions

    def through_the_lens(camera: Camera, pixels: np.ndarray) -> np.ndarray:
        ud, vd = (pixels[..., 0] - camera.cx) / camera.fx, (pixels[..., 1] - camera.cy) / camera.fy
        u, v = ud, vd
        for _ in range(60):
            s = u * u + v * v
            radial = 1 + k1 * s + k2 * s**2 + k3 * s**3
            u, v = (
                (ud - 2 * p1 * u * v - p2 * (s + 2 * u * u)) / radial,
                (vd - p1 * (s + 2 * v * v) - 2 * p2 * u * v) / radial,
            )
        return plain(camera, np.stack((u * camera.fx + camera.cx, v * camera.fy + camera.cy), axis=-1))

    write_calibration(tmp_path, rig)
    text = (tmp_path / "intri.yml").read_text(encoding="utf-8")
    lens = yaml_matrix("X", np.array([k1, k2, p1, p2, k3])[:, None]).partition("\n")[2]
    nothing = yaml_matrix("X", np.zeros((5, 1))).partition("\n")[2]
    (tmp_path / "intri.yml").write_text(text.replace(nothing, lens), encoding="utf-8")
    monkeypatch.setattr(captures, "pixel_directions", through_the_lens)
    write_pictures(tmp_path, rig, ".png")
    monkeypatch.setattr(captures, "pixel_directions", plain)
    for view in layouts.opened(tmp_path).frame(0).views:
        assert (view.camera.k1, view.camera.k2, view.camera.p1, view.camera.p2) == (0, 0, 0, 0)
        expected = captures.trace(view.camera, 0)
        subject = expected[..., 3] > 127
        assert ((view.image[..., 3] > 127) != subject).mean() < 0.002
        inside = (expected[..., 3] == 255) & (view.image[..., 3] == 255)
        assert np.abs(view.image[inside][:, :3].astype(int) - expected[inside][:, :3]).mean() < 4.0
        stored = np.asarray(Image.open(tmp_path / f"masks/{view.camera.name}/000000.png"))
        assert ((stored > 127) != subject).mean() > 0.01, "the lens matters in this test"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("cols: 3", "cols: 2"), "expected 3x2 numbers, found 9"),
        (("data: [ ", "data: [ x, "), "expected numbers in the matrix"),
        (("rows: 3", "rows: three"), "rows, cols and data"),
        (("H_00: 40.0", "H_00: 41"), "expected 48x41 pixels"),
        (("H_00: 40.0", "H_00: tall"), "H_00 to be a number"),
        (("D_00: !!opencv-matrix", "D_00: 7"), "D_00 to be a matrix"),
    ],
)
def test_damaged_calibrations_get_one_line(tmp_path: Path, change: tuple[str, str], message: str) -> None:
    rig = layouts.rig()[:2]
    write_calibration(tmp_path, rig)
    write_pictures(tmp_path, rig, ".png", masks=False)
    text = (tmp_path / "intri.yml").read_text(encoding="utf-8")
    assert change[0] in text
    (tmp_path / "intri.yml").write_text(text.replace(*change, 1), encoding="utf-8")
    with pytest.raises(DataError, match=message) as caught:
        layouts.opened(tmp_path)
    assert "\n" not in str(caught.value)


def test_filestorage_forms(tmp_path: Path) -> None:
    text = '%YAML:1.0\n---\nnames: [ \'00\', "b c", x ]\nlist:\n- one\n- "two"\nf: 3.5 \ns: "a: b"\n'
    text += "m: !!opencv-matrix\n   rows: 1\n   cols: 3\n   dt: f\n   data: [ .Nan, -.Inf, 1.5e-03 ]\n"
    (tmp_path / "a.yml").write_text(text, encoding="utf-8")
    found = read_filestorage(tmp_path / "a.yml")
    assert found["names"] == ["00", "b c", "x"] and found["list"] == ["one", "two"]
    assert (found["f"], found["s"]) == ("3.5", "a: b")
    np.testing.assert_array_equal(found["m"], [[np.nan, -np.inf, 0.0015]])


def test_rodrigues() -> None:
    np.testing.assert_allclose(rodrigues(np.zeros(3)), np.eye(3))
    np.testing.assert_allclose(rodrigues(np.array([0, 0, np.pi / 2])) @ [1, 0, 0], [0, 1, 0], atol=1e-12)


def test_a_camera_that_is_named_twice_is_one(tmp_path: Path) -> None:
    rig = layouts.rig()
    write_calibration(tmp_path, rig)
    write_pictures(tmp_path, rig)
    file = tmp_path / "intri.yml"
    line = f'   - "{rig[0].name[3:]}"\n'
    file.write_text(file.read_text(encoding="utf-8").replace(line, line + line), encoding="utf-8")
    sequence = open_capture(tmp_path)
    assert len(sequence.cameras) == len(rig) and not any("same pose" in m for m in sequence.messages)
