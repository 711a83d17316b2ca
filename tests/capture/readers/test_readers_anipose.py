"""Calibrations in TOML, as aniposelib and Pose2Sim write them, and the TOML that they are written in."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import layouts
import numpy as np
import pytest
from opening import fails
from test_readers_easyvolcap import rotation_vector

from taichi_vvc.capture.readers.anipose import match_names
from taichi_vvc.capture.readers.toml import read_toml
from taichi_vvc.capture.sequence import open_capture
from taichi_vvc.errors import DataError
from taichi_vvc.types import Camera

LENS = (-0.1, 0.03, 0.004, -0.003)


def row(values: Sequence[float], comma: str) -> str:
    return "[ " + ", ".join(repr(float(v)) for v in values) + comma + "]"


def aniposelib(number: int, name: str, camera: Camera, comma: str = ",", k3: tuple[float, ...] = (0.0,)) -> str:
    """A table as aniposelib dumps it; OpenCV counts pixels from the centre of the first."""
    rotation, translation = layouts.world_to_camera(camera)
    k = layouts.intrinsics(camera)
    k[:2, 2] -= 0.5
    lens = (camera.k1, camera.k2, camera.p1, camera.p2, *k3)
    return (
        f'[cam_{number}]\nname = "{name}"\nsize = [ {camera.width}, {camera.height}{comma}]\n'
        f"matrix = [ {', '.join(row(r, comma) for r in k)}{comma}]\ndistortions = {row(lens, comma)}\n"
        f"rotation = {row(rotation_vector(rotation), comma)}\ntranslation = {row(translation, comma)}\n\n"
    )


def pose2sim(number: int, name: str, camera: Camera) -> str:
    """As Pose2Sim writes it: sizes as floats, four distortions, no last commas; the table bears the camera's name."""
    text = aniposelib(number, name, camera, comma="", k3=()).replace(f"[cam_{number}]", f"[{name}]")
    text = text.replace(f"size = [ {camera.width}, {camera.height}]", f"size = [ {camera.width}.0, {camera.height}.0]")
    return text.rstrip() + "\nfisheye = false\n\n"


METADATA = "[metadata]\nadjusted = false\nerror = 0.0\n"


def write(
    folder: Path,
    rig: Sequence[Camera],
    *,
    file: str = "calibration.toml",
    name: Callable[[int], str] = "ABCDEFGHIJKL".__getitem__,
    table: Callable[[int, str, Camera], str] = aniposelib,
) -> Path:
    (folder / file).parent.mkdir(parents=True, exist_ok=True)
    text = "".join(table(number, name(number), camera) for number, camera in enumerate(rig)) + METADATA
    (folder / file).write_text(text, encoding="utf-8")
    return folder / file


def film(folder: Path, rig: Sequence[Camera], name: Callable[[int], str], masks: str | None = None) -> None:
    for number, camera in enumerate(rig):
        frames = layouts.pictures(camera)
        layouts.write_video(folder / f"{name(number)}.mp4", [layouts.on_background(f) for f in frames])
        if masks:
            drawn = [np.repeat(f[..., 3:], 3, 2) for f in frames]
            layouts.write_video(folder.parent / masks / f"{name(number)}.mp4", drawn)


def photograph(folder: Path, rig: Sequence[Camera], name: Callable[[int], str]) -> None:
    for number, camera in enumerate(rig):
        for time, frame in enumerate(layouts.pictures(camera)):
            layouts.save(folder / "images" / name(number) / f"{time:04d}.png", layouts.on_background(frame))


def test_anipose_session(tmp_path: Path) -> None:
    """Names are what a regular expression found in those of the videos; calibration videos are not the capture."""
    rig = layouts.rig(LENS)
    write(tmp_path, rig, file="calibration/calibration.toml")
    film(tmp_path / "videos-raw", rig, lambda n: f"2019-08-02-vid01-cam{'ABCD'[n]}")
    (tmp_path / "calibration/calib-camA.mp4").write_bytes(b"")
    for path in (tmp_path, tmp_path / "calibration", tmp_path / "calibration/calibration.toml"):
        sequence = layouts.opened(path)
        layouts.assert_reads_back(sequence, rig, layout="anipose", masks=False, tolerance=4.0)
    assert [camera.name for camera in sequence.cameras] == ["A", "B", "C", "D"]
    assert any("A to 2019-08-02-vid01-camA" in message for message in sequence.messages)
    assert sequence.fps == 30


def test_pose2sim_trial(tmp_path: Path) -> None:
    """The table has the name of the folder of the intrinsic calibration."""
    rig = layouts.rig(LENS)
    names = [f"int_cam{n + 8:02d}_img" for n in range(4)]
    write(tmp_path, rig, file="calibration/Calib_scene.toml", name=names.__getitem__, table=pose2sim)
    film(tmp_path / "videos", rig, lambda n: f"cam{n + 8}", masks="masks")
    sequence = layouts.opened(tmp_path)
    layouts.assert_reads_back(sequence, rig, layout="anipose", masks=True, tolerance=4.0)
    assert [camera.name for camera in sequence.cameras] == names


@pytest.mark.parametrize("named", ["name", "table"])
def test_folders_of_pictures(tmp_path: Path, named: str) -> None:
    rig = layouts.rig(LENS)
    name = (lambda n: f"view {n}") if named == "name" else (lambda n: f"cam_{n}")
    write(tmp_path, rig, name=lambda n: f"view {n}")
    photograph(tmp_path, rig, name)
    sequence = layouts.opened(tmp_path)
    layouts.assert_reads_back(sequence, rig, layout="anipose", masks=False, tolerance=0.01)
    assert not any("names" in message for message in sequence.messages)


def test_the_pixel_of_a_point_is_that_of_opencv(tmp_path: Path) -> None:
    """By hand: a camera at (0, 0, -2) that looks along +z, turned by a quarter about its axis."""
    text = (
        '[cam_0]\nname = "c"\nsize = [ 48, 40,]\n'
        "matrix = [ [ 50.0, 0.0, 23.5,], [ 0.0, 60.0, 19.5,], [ 0.0, 0.0, 1.0,],]\n"
        f"distortions = [ 0.0, 0.0, 0.0, 0.0, 0.0,]\nrotation = [ 0.0, 0.0, {math.pi / 2},]\n"
        "translation = [ 0.0, 0.0, 2.0,]\n"
    )
    (tmp_path / "calibration.toml").write_text(text, encoding="utf-8")
    photograph(tmp_path, layouts.rig()[:1], lambda n: "c")
    camera = layouts.opened(tmp_path).cameras[0]
    np.testing.assert_allclose(camera.position, [0, 0, -2], atol=1e-12)
    # World x is the camera's y: (0.2, 0.1, 0) is seen at 23.5 - 50 * 0.05, 19.5 + 60 * 0.1, from the first centre.
    x, y, z = camera.rotation.T @ (np.array([0.2, 0.1, 0.0]) - camera.position)
    assert camera.fx * x / z + camera.cx == pytest.approx(23.5 - 2.5 + 0.5)
    assert camera.fy * y / z + camera.cy == pytest.approx(19.5 + 6.0 + 0.5)


def test_cameras_without_pictures_or_calibration_are_named(tmp_path: Path) -> None:
    rig = layouts.rig()
    file = write(tmp_path, rig)
    photograph(tmp_path, [*rig[:3], rig[0]], lambda n: "ABCX"[n])
    text = file.read_text(encoding="utf-8")
    file.write_text(text.replace("translation", "offset", 1), encoding="utf-8")
    sequence = layouts.opened(tmp_path)
    assert [camera.name for camera in sequence.cameras] == ["B", "C"]
    told = " | ".join(sequence.messages)
    assert "lacks a key: cam_0 (no translation)" in told
    assert "calibrated but without pictures: D" in told and "not calibrated and left out: A, X" in told
    file.write_text(text.replace("translation", "offset"), encoding="utf-8")
    fails(tmp_path, "every one lacks a key: cam_0 (no translation), cam_1 (no translation)")


@pytest.mark.parametrize(
    ("change", "parts"),
    [
        (("[metadata]", "fisheye = true\n[metadata]"), ["camera D", "fisheye", "undistort"]),
        (("distortions = [ 0.0, 0.0, 0.0, 0.0, 0.0,]", "distortions = [ 0, 0, 0, 0, 0, 0.2,]"), ["more coefficients"]),
        (("matrix = [ [", "matrix = [ [ 1.0,"), ["camera A", '"matrix" to be 3x3']),
        (("0.0, 0.0, 1.0,],]", "0.0, 0.0, 2.0,],]"), ["camera A", "[[fx, 0, cx]", "0, 0, 2"]),
        (("rotation = [", "rotation = [ 1.0,"), ["camera A", '"rotation" to be 3 finite numbers']),
        (("rotation = [", "rotation = [ nan,"), ["camera A", '"rotation" to be 3 finite numbers']),
        (("rotation = [", "rotation = 5 # ["), ["camera A", '"rotation" to be 3 finite numbers', "5.0"]),
        (("rotation = [", "rotation = ["), []),
        (("size = [ 48,", "size = [ 96,"), ["camera A", "96x40", "48x40"]),
        (("size = [ 48,", "size = [ wide,"), ['"size" of [cam_0]', "wide"]),
        (("[cam_1]", "[cam_1"), ["line 9", "a bracket that is closed", "cam_1"]),
        (("[cam_1]", "[cam_1] x"), ["line 9", "a table's name in brackets", "cam_1"]),
        (("[cam_1]", "cam_1"), ["line 9", "a key, = and a value"]),
        (("matrix = [ [", "matrix = [ [ ["), ["line 4", "a bracket that is closed", "matrix"]),
        (('name = "B"', 'name = "A"'), ["named like its cameras cam_0, cam_1"]),
        (("[cam_1]", "[cam_0]"), []),
    ],
)
def test_damaged_calibrations_get_one_line(tmp_path: Path, change: tuple[str, str], parts: list[str]) -> None:
    rig = layouts.rig()
    file = write(tmp_path, rig)
    photograph(tmp_path, rig, "ABCD".__getitem__)
    text = file.read_text(encoding="utf-8")
    assert change[0] in text
    file.write_text(text.replace(*change, 1), encoding="utf-8")
    if parts:
        fails(tmp_path, *parts)
    else:
        layouts.opened(tmp_path)


def test_lenses_without_poses_are_refused(tmp_path: Path) -> None:
    rig = layouts.rig()[:3]
    photograph(tmp_path, rig, "ABC".__getitem__)
    text = "".join(aniposelib(n, "ABC"[n], c) for n, c in enumerate([rig[0], rig[1], rig[0]]))
    (tmp_path / "calibration.toml").write_text(text, encoding="utf-8")
    assert "cameras of the same pose: A, C" in layouts.opened(tmp_path).messages
    text = re.sub(r"(rotation|translation) = .*", r"\1 = [ 0.0, 0.0, 0.0,]", text)
    (tmp_path / "calibration.toml").write_text(text, encoding="utf-8")
    fails(tmp_path, "expected a pose for each camera, found the same of all 3")


def test_what_is_recognised(tmp_path: Path) -> None:
    (tmp_path / "Config_calibration.toml").write_text("[project]\nx = 1\n", encoding="utf-8")
    fails(tmp_path, "unknown capture layout", "calibration.toml")
    fails(tmp_path / "Config_calibration.toml", "tables of cameras", "found none")
    rig = layouts.rig()
    photograph(tmp_path, rig, "ABCD".__getitem__)
    write(tmp_path, rig, file="calibration/Calib_a.toml")
    assert layouts.opened(tmp_path).layout == "anipose"
    file = write(tmp_path, rig, file="calibration/Calib_b.toml")
    fails(tmp_path, "several calibrations in TOML", "name the one")
    assert len(layouts.opened(file).cameras) == 4
    fails(tmp_path, "several", format="anipose")


def test_pictures_named_otherwise(tmp_path: Path) -> None:
    rig = layouts.rig()
    write(tmp_path, rig)
    fails(tmp_path, "expected one video per camera")
    photograph(tmp_path, rig, "WXYZ".__getitem__)
    fails(tmp_path, "named like its cameras A, B, C and 1 more", "found W, X, Y and 1 more")


@pytest.mark.parametrize(
    ("cameras", "clips", "found"),
    [
        (["A", "B"], ["vid-camB", "vid-camA"], ["vid-camA", "vid-camB"]),
        (["int_cam9_img", "int_cam10_img"], ["cam09", "cam10"], ["cam09", "cam10"]),
        (
            ["0", "1"],
            ["Camera_000_synchronized", "Camera_001_synchronized"],
            ["Camera_000_synchronized", "Camera_001_"],
        ),
        (["left", "right"], ["trial_left", "trial_right"], ["trial_left", "trial_right"]),
        (["0", "1"], ["cam10", "cam11"], None),  # numbers are not cut
        (["10", "20"], ["cam1", "cam2"], None),
        (["A", "B"], ["v1-camA", "v1-camB", "v2-camA", "v2-camB"], None),  # several trials
        (["A", "B"], ["x"], None),
        (["x1", "x2"], ["y1", "y01"], None),
    ],
)
def test_names_are_matched_by_what_tells_them_apart(
    cameras: list[str], clips: list[str], found: list[str] | None
) -> None:
    matched, how = match_names({name: f"table{n}" for n, name in enumerate(cameras)}, clips)
    assert how == (found is not None)
    assert [matched[name][:11] for name in cameras] == [f[:11] for f in found] if found else matched == {}
    if found:
        assert all(matched[name].startswith(f) for name, f in zip(cameras, found, strict=True))


# ---- TOML


TEXT = """
title = "top" # a comment
[a]
i = 12
f = -1.5e-3
u = 1_000.5
t = true
s = 'lite\\ral # no comment'
e = "a \\"quoted\\" \\u00e9 [ ] = \\\\ end"
list = [ [ 1, 2.0,], # first
  [ 3, 4 ],
]
empty = []
mixed = [ "x", false ]
big = inf
["b c"]
multi = '''two
lines'''
[d.e]
key = 1
"""


def test_toml_is_read_as_python_reads_it(tmp_path: Path) -> None:
    tomllib = pytest.importorskip("tomllib", reason="Python reads TOML from 3.11 on")
    (tmp_path / "a.toml").write_text(TEXT, encoding="utf-8")
    tables = {table.name: table for table in read_toml(tmp_path / "a.toml")}
    truth = tomllib.loads(TEXT)
    assert list(tables) == ["", "a", "b c", "d.e"]
    for key, value in truth["a"].items():
        assert tables["a"].get(key) == value, key
    assert tables[""].get("title") == "top" and tables["d.e"].get("key") == 1
    assert tables["a"].get("none") is None


@pytest.mark.parametrize("value", ["1979-05-27", "{ x = 1 }", "[ 1 2 ]", "[ 1,, 2 ]", "1 ]", "yes", "0x1F", "1.", "]"])
def test_values_of_another_kind_do_no_harm_until_asked_for(tmp_path: Path, value: str) -> None:
    (tmp_path / "a.toml").write_text(f"[a]\nx = 1\nodd = {value}\n", encoding="utf-8")
    table = read_toml(tmp_path / "a.toml")[1]
    assert table.get("x") == 1
    with pytest.raises(DataError, match=r'a value for "odd" of .a., a number, text') as caught:
        table.get("odd")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "text", ["[" * 100_000, '"' * 50_001, "a = " + "[" * 9999 + "]" * 9999, "\x00", "=", "a =", "a = [\n" * 999]
)
def test_hostile_toml_gets_one_short_line(tmp_path: Path, text: str) -> None:
    (tmp_path / "calib.toml").write_text(text, encoding="utf-8")
    with pytest.raises(DataError) as caught:
        for table in read_toml(tmp_path / "calib.toml"):
            for key in table.entries:
                table.get(key)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 400


def test_toml_that_is_no_text(tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_bytes(b"\xff\xfe\x00")
    fails(tmp_path / "a.toml", "UTF-8")
    (tmp_path / "b.toml").write_bytes(b"# " + b"x" * 4_000_001)
    fails(tmp_path / "b.toml", "over 4000000 bytes")


def test_random_toml_raises_nothing_else(tmp_path: Path) -> None:
    whole = write(tmp_path, layouts.rig()).read_bytes()
    photograph(tmp_path, layouts.rig()[:2], "AB".__getitem__)
    for seed in range(120):
        random = np.random.default_rng(seed)
        damaged = bytearray(whole[: random.integers(1, len(whole))] if seed % 2 else whole)
        for _ in range(random.integers(1, 6)):
            damaged[random.integers(len(damaged))] = random.integers(256)
        (tmp_path / "calibration.toml").write_bytes(bytes(damaged))
        error: Any = None
        try:
            open_capture(tmp_path / "calibration.toml")
        except DataError as caught:
            error = caught
        assert error is None or "\n" not in str(error)
