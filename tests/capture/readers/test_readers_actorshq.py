"""ActorsHQ's layout, as HumanRF's own code writes and reads it."""

from __future__ import annotations

import csv
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import captures
import layouts
import numpy as np
import pytest
from opening import fails
from test_readers_easyvolcap import rotation_vector

from taichi_vvc.capture.sequence import open_capture
from taichi_vvc.types import Camera

COLUMNS = ["name", "w", "h", "rx", "ry", "rz", "tx", "ty", "tz", "fx", "fy", "px", "py"]
FIRST = 15  # ActorsHQ is downloaded in parts: frames need not begin with 0


def values(camera: Camera, name: str) -> dict[str, Any]:
    """A row of calibration.csv: camera to world, lengths in units of width and height."""
    turn, place = rotation_vector(camera.rotation), camera.position
    row: dict[str, Any] = {"name": name, "w": camera.width, "h": camera.height}
    row |= dict(zip(("rx", "ry", "rz", "tx", "ty", "tz"), [*turn, *place], strict=True))
    row |= {"fx": camera.fx / camera.width, "fy": camera.fy / camera.height}
    return {**row, "px": camera.cx / camera.width, "py": camera.cy / camera.height}


def write_table(file: Path, columns: Sequence[str], rows: Sequence[dict[str, Any]]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, columns)
        writer.writeheader()
        writer.writerows(rows)


def write(folder: Path, rig: Sequence[Camera], masks: range | None = None) -> None:
    names = [f"Cam{number + 1:03d}" for number in range(len(rig))]
    write_table(folder / "calibration.csv", COLUMNS, [values(c, n) for c, n in zip(rig, names, strict=True)])
    for name, camera in zip(names, rig, strict=True):
        for time, frame in enumerate(layouts.pictures(camera)):
            number = FIRST + time
            black = layouts.on_background(frame, (0, 0, 0))
            layouts.save(folder / f"rgbs/{name}/{name}_rgb{number:06d}.jpg", black)
        for number in masks or range(FIRST, FIRST + layouts.FRAMES):
            drawn = captures.trace(camera, number - FIRST)[..., 3]
            layouts.save(folder / f"masks/{name}/{name}_mask{number:06d}.png", drawn)


def write_boxes(file: Path, boxes: dict[int, tuple[tuple[float, ...], tuple[float, ...]]]) -> None:
    columns = ["frame_number", *(f"aabb_{end}_{axis}" for end in ("min", "max") for axis in "xyz")]
    write_table(file, columns, [dict(zip(columns, [n, *a, *b], strict=True)) for n, (a, b) in boxes.items()])


def shifted() -> list[Camera]:
    """Principal points that are not in the middle, and pixels that are not square."""
    return [Camera(**{**c.__dict__, "cx": c.cx + 2.5, "cy": c.cy - 1.5, "fy": 1.1 * c.fy}) for c in layouts.rig()]


def test_actorshq(tmp_path: Path) -> None:
    rig = shifted()
    write(tmp_path / "4x", rig)
    for path in (tmp_path, tmp_path / "4x", tmp_path / "4x/calibration.csv"):
        sequence = layouts.opened(path)
        layouts.assert_reads_back(sequence, rig, layout="actorshq", masks=True, tolerance=4.0)
    assert [camera.name for camera in sequence.cameras] == ["Cam001", "Cam002", "Cam003", "Cam004"]
    assert {camera.split for camera in sequence.cameras} == {"train"}


def test_more_masks_than_pictures(tmp_path: Path) -> None:
    """Masks of other frames are there, too: by order, every mask would be that of another moment."""
    rig = shifted()
    write(tmp_path, rig, masks=range(FIRST - 2, FIRST + 6))
    layouts.assert_reads_back(layouts.opened(tmp_path), rig, layout="actorshq", masks=True, tolerance=4.0)


def test_the_documented_example(tmp_path: Path) -> None:
    """The row of HumanRF's README, with its spaces: turned by pi about x, so that y and z are reversed."""
    text = "name, w, h, rx, ry, rz, tx, ty, tz, fx, fy, px, py\n"
    text += "Cam001, 48, 40, 3.14159265359, 0.0, 0.0, 1.0, 0.0, 230.0, 1.773863, 1.773863, 0.5, 0.5\n"
    (tmp_path / "calibration.csv").write_text(text, encoding="utf-8")
    layouts.save(tmp_path / "rgbs/Cam001/Cam001_rgb000000.jpg", np.zeros((40, 48, 3), np.uint8))
    camera = open_capture(tmp_path, bounds=captures.BOUNDS).cameras[0]
    np.testing.assert_allclose(camera.rotation, np.diag([1, -1, -1]), atol=1e-9)
    np.testing.assert_array_equal(camera.position, [1, 0, 230])
    assert (camera.fx, camera.fy) == pytest.approx((48 * 1.773863, 40 * 1.773863))
    assert (camera.cx, camera.cy) == (24, 20)


def test_boxes_of_the_selected_frames_are_the_bounds(tmp_path: Path) -> None:
    write(tmp_path / "4x", shifted())
    boxes = {FIRST + n: ((-1.0 - n, -1.0, -1.0), (1.0, 1.0, 1.0 + n)) for n in range(layouts.FRAMES)}
    write_boxes(tmp_path / "aabbs.csv", {**boxes, 3: ((-50.0,) * 3, (50.0,) * 3)})
    whole, part = open_capture(tmp_path / "4x"), open_capture(tmp_path / "4x", frames=slice(0, 2))
    assert whole.bounds_source == "file" == part.bounds_source
    assert (whole.bounds.lower, whole.bounds.upper) == ((-3, -1, -1), (1, 1, 3))
    assert (part.bounds.lower, part.bounds.upper) == ((-2, -1, -1), (1, 1, 2))
    del boxes[FIRST + 1]
    write_boxes(tmp_path / "aabbs.csv", boxes)
    assert open_capture(tmp_path / "4x", frames=slice(0, 1)).bounds_source == "file"
    found = open_capture(tmp_path / "4x")
    assert found.bounds_source == "masks" and any("aabbs.csv has not a box" in message for message in found.messages)
    write_boxes(tmp_path / "aabbs.csv", {FIRST: ((1.0, 0.0, 0.0), (0.0, 1.0, 1.0))})
    fails(tmp_path / "4x", "aabbs.csv", "expected a box for frame 15", "lower then upper")


def test_boxes_are_those_of_frames_that_all_cameras_have(tmp_path: Path) -> None:
    """Every tenth frame, of which the first camera has one more than another one."""
    rig = shifted()
    write(tmp_path / "4x", rig)
    black = layouts.on_background(layouts.pictures(rig[0])[0], (0, 0, 0))
    for name in [f"Cam{n + 1:03d}" for n in range(len(rig))]:
        shutil.rmtree(tmp_path / "4x/rgbs" / name)
        shutil.rmtree(tmp_path / "4x/masks" / name)
        for number in range(0, 80, 10):
            if (name, number) != ("Cam002", 10):
                layouts.save(tmp_path / f"4x/rgbs/{name}/{name}_rgb{number:06d}.jpg", black)
    boxes = {n: ((-1.0, -1.0, -1.0), (1.0, 1.0, 1.0 + n)) for n in range(0, 80, 10) if n != 10}
    write_boxes(tmp_path / "aabbs.csv", boxes)
    found = open_capture(tmp_path / "4x", frames=slice(0, 2))
    assert [entry.image.name[-7:-4] for row in found.entries for entry in row[:1]] == ["000", "020"]
    assert found.bounds_source == "file" and found.bounds.upper == (1, 1, 21)


def test_cameras_without_pictures_are_named_and_several_scales_are_refused(tmp_path: Path) -> None:
    rig = shifted()
    write(tmp_path / "4x", rig)
    for item in (tmp_path / "4x/rgbs/Cam002").iterdir():
        item.unlink()
    sequence = layouts.opened(tmp_path)
    assert [camera.name for camera in sequence.cameras] == ["Cam001", "Cam003", "Cam004"]
    assert "calibrated but without pictures: Cam002" in sequence.messages
    (tmp_path / "4x/rgbs/Cam003/Cam003_rgb000016.jpg").unlink()
    fails(tmp_path, "same number of pictures of every camera", "Cam003")
    write(tmp_path / "2x", rig[:1])
    fails(tmp_path, "calibration.csv in several folders", "name the folder")


def _cell(column: str, value: Any) -> Callable[[list[dict[str, Any]]], object]:
    return lambda rows: rows[1].update({column: value})


@pytest.mark.parametrize(
    ("change", "parts"),
    [
        (_cell("rx", "nan"), ["Cam002", '"rx"', "nan"]),
        (_cell("tx", ""), ["Cam002", '"tx"', "''"]),
        (_cell("fx", "wide"), ["Cam002", '"fx"', "wide"]),
        (_cell("fx", -1), ["Cam002", "positive focal lengths"]),
        (_cell("w", 96), ["Cam002", "96x40", "48x40"]),
        (_cell("name", "../Cam002"), ["a folder's name", "../Cam002"]),
        (_cell("name", "..\\Cam002"), ["a folder's name"]),
        (_cell("name", ".."), ["a folder's name"]),
        (_cell("name", ""), ["a folder's name"]),
        (_cell("name", "Cam001"), ["each camera once"]),
        (lambda rows: rows.clear(), ["a row for each camera"]),
    ],
)
def test_damaged_calibrations_get_one_line(tmp_path: Path, change: Any, parts: list[str]) -> None:
    rig = shifted()
    write(tmp_path, rig)
    rows = [values(camera, f"Cam{number + 1:03d}") for number, camera in enumerate(rig)]
    change(rows)
    write_table(tmp_path / "calibration.csv", COLUMNS, rows)
    fails(tmp_path, "calibration.csv", *parts, bounds=captures.BOUNDS)


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("", ["expected columns name, w, h"]),
        ("name,w\nCam001,1\n", ["found none of the name h, rx, ry and 8 more"]),
        (",".join(COLUMNS) + "\nCam001,1,2\n", ["expected 13 values in row 2, found 3"]),
        (",".join(COLUMNS) + "\nCam001" + ",1" * 12 + "\n", ["expected pictures of its cameras in rgbs/Cam001/"]),
        (",".join(COLUMNS) + "\n" + "x" * 200_000 + "\n", ["comma-separated", "limit"]),
    ],
)
def test_tables_that_are_none(tmp_path: Path, text: str, parts: list[str]) -> None:
    (tmp_path / "calibration.csv").write_text(text, encoding="utf-8")
    fails(tmp_path, *parts)


def test_lenses_that_are_not_read_are_refused(tmp_path: Path) -> None:
    rig = shifted()
    write(tmp_path, rig)
    rows = [{**values(camera, f"Cam{n + 1:03d}"), "k1": "", "k2": 0.0} for n, camera in enumerate(rig)]
    write_table(tmp_path / "calibration.csv", [*COLUMNS, "k1", "k2"], rows)
    assert len(layouts.opened(tmp_path).cameras) == 4
    rows[2]["k2"] = 0.1
    write_table(tmp_path / "calibration.csv", [*COLUMNS, "k1", "k2"], rows)
    fails(tmp_path, "Cam003", "without distortion", "k2 = 0.1")
    (tmp_path / "calibration.csv").write_bytes(b"\xff\xfe\x00")
    fails(tmp_path, "UTF-8")
