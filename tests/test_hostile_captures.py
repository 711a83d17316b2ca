"""Numbers that no capture has, in each place where a capture has numbers: one line, no warning, no other error.

What is not refused must be fit for a file: ``inspect`` and ``encode`` say the same.
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
from test_readers_blender import write_split
from test_readers_colmap import write_model
from test_readers_easyvolcap import write_calibration, write_pictures
from test_readers_studio import write_inf

from taichi_vvc.bitstream import syntax
from taichi_vvc.config import EncoderConfig
from taichi_vvc.errors import LONGEST_LINE, ConfigError, DataError
from taichi_vvc.headers import header_of
from taichi_vvc.sequence import MultiViewSequence, open_capture
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


def _colmap(folder: Path, rig: list) -> None:
    write_model(folder / "sparse/0", rig, [f"{c.name}.png" for c in rig], "OPENCV", "txt")
    _stills(folder, rig, "images/{name}.png")


WRITERS: dict[str, tuple[Callable[[Path, list], Any], list[str]]] = {
    "transforms": (_transforms, ["transforms.json"]),
    "blender": (_blender, ["transforms_train.json"]),
    "easyvolcap": (_easyvolcap, ["intri.yml", "extri.yml"]),
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
    header = header_of(layout, sequence.cameras, config, sequence.fps, sequence.first_index, sequence.downscale)
    assert syntax.parse_header(syntax.pack_header(header)).fps == sequence.fps


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
