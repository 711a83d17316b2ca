"""Absurd numbers in every place where a capture has numbers: a one-line error, no warning, no other exception.

A capture that is not refused must be storable in a file: ``inspect`` and ``encode`` give the same result.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import captures
import layouts
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from test_readers_actorshq import FIRST, write_boxes
from test_readers_actorshq import write as write_actorshq
from test_readers_anipose import write as write_toml
from test_readers_blender import write_split
from test_readers_colmap import write_model
from test_readers_easyvolcap import write_calibration, write_pictures
from test_readers_studio import write_inf

from taichi_vvc.bitstream import versions
from taichi_vvc.capture.sequence import MultiViewSequence, open_capture
from taichi_vvc.coding.headers import header_of
from taichi_vvc.coding.moving_cameras import CameraCoder
from taichi_vvc.config import EncoderConfig
from taichi_vvc.errors import LONGEST_LINE, ConfigError, DataError
from taichi_vvc.types import FieldLayout, GridLevel

NUMBER = re.compile(r"(?<![\w.])-?\d+(?:\.\d*)?(?:[eE][+-]?\d+)?(?![\w.])")
LONG = "9" * 5000
VALUES = [
    *("0", "-1", "1e-320", "1e30", "-1e30", "1e200", "1e308", "-1e308", "1e12", "1e9", "1e-6", "1e6", "-1e6"),
    *("1e999999999", "1e-999999999", "NaN", "Infinity", "nan", "-inf", ".Inf", "0x10", "1_0", "9223372036854775808"),
    *(LONG, f"-{LONG[:4000]}", f"0.{LONG}", f'"{LONG}"', '"1e999999999"', "null", "true", "x", '""', "{}", "[]"),
    *("[" * 900 + "]" * 900, '"a\\u0000b"', '"\\ud800"', '"a\\nb"'),
]


def _stills(folder: Path, rig: list, names: str) -> None:
    for number, camera in enumerate(rig):
        frame = layouts.pictures(camera, 1)[0]
        layouts.save(folder / names.format(name=camera.name, number=number), frame)


def _transforms(folder: Path, rig: list) -> None:
    captures.write_capture(folder, cameras=len(rig), frames=2, size=layouts.SIZE)


def _blender(folder: Path, rig: list) -> None:
    write_split(folder, "train", rig, [0.0, 1.0])


def _easyvolcap(folder: Path, rig: list) -> None:
    write_calibration(folder, rig)
    write_pictures(folder, rig, ".png", masks=False)


def _nhr(folder: Path, rig: list) -> None:
    write_inf(folder, rig)
    _stills(folder, rig, "img/0/img_{number:04d}.png")
    (folder / "bbox.json").write_text('{"xyz_min": [-1.5, -1.5, -1.5], "xyz_max": [1.5, 1.5, 1.5]}', encoding="utf-8")


def _anipose(folder: Path, rig: list) -> None:
    write_toml(folder, rig)
    for number, camera in enumerate(rig):
        layouts.save(folder / f"images/{'ABC'[number]}/0.png", layouts.on_background(layouts.pictures(camera, 1)[0]))


def _actorshq(folder: Path, rig: list) -> None:
    write_actorshq(folder, rig)
    write_boxes(folder / "aabbs.csv", dict.fromkeys(range(FIRST, FIRST + layouts.FRAMES), ((-1.5,) * 3, (1.5,) * 3)))


def _colmap(folder: Path, rig: list) -> None:
    write_model(folder / "sparse/0", rig, [f"{c.name}.png" for c in rig], "OPENCV", "txt")
    _stills(folder, rig, "images/{name}.png")


WRITERS: dict[str, tuple[Callable[[Path, list], Any], list[str]]] = {
    "transforms": (_transforms, ["transforms.json"]),
    "blender": (_blender, ["transforms_train.json"]),
    "easyvolcap": (_easyvolcap, ["intri.yml", "extri.yml"]),
    "anipose": (_anipose, ["calibration.toml"]),
    "actorshq": (_actorshq, ["calibration.csv", "aabbs.csv"]),
    "nhr": (_nhr, ["CamPose.inf", "Intrinsic.inf", "bbox.json"]),
    "colmap": (_colmap, ["sparse/0/cameras.txt", "sparse/0/images.txt"]),
}


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A good capture of each layout that is text, each opened once."""
    rig = layouts.rig((-0.1, 0.03, 0.004, -0.003), count=3)
    folders = {}
    for name, (write, _) in WRITERS.items():
        folders[name] = tmp_path_factory.mktemp(name)
        write(folders[name], rig)
        assert open_capture(folders[name]).layout == name
    return folders


def is_storable(sequence: MultiViewSequence) -> None:
    """The header of a file with these cameras, these bounds and this rate can be written."""
    cells = np.maximum(1, np.rint(16 * sequence.bounds.size / sequence.bounds.largest_side)).astype(int).tolist()
    layout = FieldLayout(sequence.bounds, (4, 4, 4), (GridLevel((4, 4, 4), 2, 1.0),), tuple(cells))
    config = EncoderConfig(background=(0, 0, 0))
    s = sequence
    header = header_of(layout, s.cameras, config, s.fps, s.first_index, s.downscale, s.frame_step)
    assert versions.parse_header(versions.pack_header(header)).fps == sequence.fps
    for keys in (False, True):
        coder = CameraCoder(header)
        for number in range(len(sequence)):
            coder.code(sequence.cameras_at(number), keys or number == 0)


def is_refused_in_one_line_or_read(path: Path, **options: Any) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            sequence = open_capture(path, strict=False, **options)
        except (DataError, ConfigError) as error:
            text = str(error)
            assert text.isprintable() and len(text) < LONGEST_LINE + 200, text
            return
        is_storable(sequence)
    assert all(message.isprintable() for message in sequence.messages)


@pytest.mark.parametrize(
    "lens", ["0,0,0,0,1e308", "1e308,1e308,0,0,1e308", "0,0,1e308,0,1e-3", "0,0,0,0,1e-320", "1e-320,1e-320,1e-320,0,0"]
)
def test_lenses_of_any_strength(written: dict[str, Path], lens: str) -> None:
    file = written["easyvolcap"] / "intri.yml"
    good = file.read_text(encoding="utf-8")
    before, _, behind = good.partition("D_00:")
    head, _, rest = behind.partition("[")
    try:
        file.write_text(f"{before}D_00:{head}[{lens}]{rest.partition(']')[2]}", encoding="utf-8")
        is_refused_in_one_line_or_read(file.parent)
    finally:
        file.write_text(good, encoding="utf-8")


JUMPS: dict[str, tuple[Callable[[dict[str, Any]], Any], str | None]] = {
    "far away": (lambda d: d["transform_matrix"][0].__setitem__(3, 1e11), "jumps too far"),
    "a lens of another world": (lambda d: d.update(fl_x=1e9, fl_y=1e9), "zooms too much"),
    "a lens of nothing": (lambda d: d.update(fl_x=1e-5, fl_y=1e-5), "zooms too much"),
    "some steps": (lambda d: d["transform_matrix"][0].__setitem__(3, 300.0), None),
}


@pytest.mark.parametrize("what", JUMPS)
def test_how_far_cameras_may_move(tmp_path: Path, what: str) -> None:
    """What the chunks of a format with moving cameras cannot hold is refused when the capture is opened."""
    change, message = JUMPS[what]
    folder = captures.write_capture(tmp_path, cameras=3, frames=3, size=32)
    document = captures.read_document(folder)
    for record in document["frames"]:
        if record["camera"] == "cam01" and record["time"] > 1:
            change(record)
    captures.write_document(folder, document)
    if message is None:
        is_storable(open_capture(folder, strict=False))
    else:
        with pytest.raises(DataError, match=f"camera cam01: .*{re.escape(message)}.* frame 2") as raised:
            open_capture(folder, strict=False)
        assert str(raised.value).isprintable()


@pytest.mark.parametrize("layout", WRITERS)
@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
@given(data=st.data())
def test_numbers_as_text(written: dict[str, Path], layout: str, data: st.DataObject) -> None:
    folder = written[layout]
    file = folder / data.draw(st.sampled_from(WRITERS[layout][1]))
    good = file.read_text(encoding="utf-8")
    places = list(NUMBER.finditer(good))
    changed = good
    for at in sorted(data.draw(st.lists(st.sampled_from(range(len(places))), min_size=1, max_size=3)), reverse=True):
        value = data.draw(st.sampled_from(VALUES))
        changed = changed[: places[at].start()] + value + changed[places[at].end() :]
    try:
        file.write_text(changed, encoding="utf-8")
        is_refused_in_one_line_or_read(folder)
    finally:
        file.write_text(good, encoding="utf-8")
