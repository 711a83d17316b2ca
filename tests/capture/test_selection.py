"""Selection of used and held-out cameras of a capture, and its frame rate."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import captures
import numpy as np
import pytest

import taichi_vvc as tv
from taichi_vvc.capture.frame_rates import frame_rate
from taichi_vvc.capture.selection import NoSuchCamera, find_cameras
from taichi_vvc.errors import ConfigError
from taichi_vvc.types import Bounds

NAMES = ["cam00", "cam01", "cam02", "cam10", "side*", "a,b", "-x"]


@pytest.fixture(scope="module")
def capture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight cameras, of which the capture holds out cam07; four frames at 25 per second."""
    return captures.write_capture(tmp_path_factory.mktemp("capture"), cameras=8, frames=4, size=24)


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        ("cam01", ["cam01"]),
        ("cam10, cam00,cam10", ["cam00", "cam10"]),
        ("cam0*", ["cam00", "cam01", "cam02"]),
        ("cam?0", ["cam00", "cam10"]),
        ("cam[01]1", ["cam01"]),
        ("side*", ["side*"]),
        ("a,b", ["a,b"]),
        ("-x", ["-x"]),
        (["a,b", "cam02"], ["cam02", "a,b"]),
        ("0:2", ["cam00", "cam01"]),
        (":4:3", ["cam00", "cam10"]),
        ("4:", ["side*", "a,b", "-x"]),
        ("-cam01,-3:", ["cam00", "cam02"]),
        ("cam*,-cam01", ["cam00", "cam02", "cam10"]),
        ("none", []),
        ("", []),
        ([], []),
    ],
)
def test_names_patterns_and_positions(wanted: str | list[str], found: list[str]) -> None:
    assert find_cameras(NAMES, wanted, "cameras") == found


@pytest.mark.parametrize(
    "wanted", ["cam03", "0", "CAM00", "dam*", "700:", "0:4:0", "cam00,who", "-who", "0:1:2:3", "1:-1"]
)
def test_what_fits_no_camera_is_an_error_that_lists_them(wanted: str) -> None:
    with pytest.raises(
        NoSuchCamera, match=r"^test cameras: no camera \S+( \(.*\))?; there are cam00, cam01, cam02, cam10, "
    ):
        find_cameras(NAMES, wanted, "test cameras")
    with pytest.raises(NoSuchCamera, match=r" and 60 more$"):
        find_cameras([f"camera{i}" for i in range(100)], wanted, "cameras")


def test_a_number_that_is_no_name_is_told_how_positions_are_written() -> None:
    with pytest.raises(NoSuchCamera, match=r"no camera 7 \(position 7 is written 7:8\); there are cam00"):
        find_cameras(NAMES, "7", "cameras")
    assert find_cameras(["7", "07"], "7", "cameras") == ["7"]


def test_a_camera_called_none_can_be_named() -> None:
    assert find_cameras(["none", "some"], "none", "cameras") == ["none"]


def splits(sequence: tv.MultiViewSequence) -> dict[str, str]:
    return {camera.name: camera.split for camera in sequence.cameras}


def test_cameras_of_a_capture(capture: Path) -> None:
    whole = tv.open_capture(capture)
    some = tv.open_capture(capture, cameras="cam00,cam05,7:")
    assert splits(some) == {"cam00": "train", "cam05": "train", "cam07": "test"} and some.stated_test == ("cam07",)
    pictures = some.frame(2).views
    assert [view.camera.name for view in pictures] == ["cam00", "cam05", "cam07"]
    np.testing.assert_array_equal(pictures[1].image, whole.frame(2).views[5].image)
    assert [view.camera.name for view in some.frame(1, split="train").views] == ["cam00", "cam05"]


def test_held_out_cameras_of_a_capture(capture: Path) -> None:
    sequence = tv.open_capture(capture, test_cameras=["cam01", "cam04"])
    assert [name for name, split in splits(sequence).items() if split == "test"] == ["cam01", "cam04"]
    assert [view.camera.split for view in sequence.frame(3).views].count("test") == 2
    assert sequence.stated_test == ("cam07",)
    assert "test" not in splits(tv.open_capture(capture, test_cameras="none")).values()
    # Cameras that stand still are not taken for moving ones.
    assert not any("move" in message for message in sequence.messages)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"cameras": "cam09"}, "cameras: no camera cam09; there are cam00, cam01"),
        ({"cameras": "none"}, "expected at least one of 8, found none"),
        ({"cameras": "cam07"}, "the capture holds out all of these"),
        ({"test_cameras": "*"}, "one must be left for training, found 8: all of them are held out"),
        ({"cameras": "cam00,cam01", "test_cameras": "cam02"}, "test cameras: no camera cam02; there are cam00, cam01"),
        ({"fps": 0}, "expected fps above 0"),
        ({"fps": "1e999999999"}, "expected fps above 0"),
        ({"fps": 10**5000}, "found a far larger number"),
        ({"fps": "9" * 5000}, "expected fps above 0"),
    ],
)
def test_what_cannot_be_chosen(capture: Path, options: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as raised:
        tv.open_capture(capture, **options)
    assert len(str(raised.value)) < 200


def test_the_rate_that_is_given_counts_and_a_step_divides_it(tmp_path: Path) -> None:
    folder = captures.write_capture(tmp_path, cameras=3, frames=4, size=16, fps=None)
    assert any('no "fps"' in message for message in tv.open_capture(folder).messages)
    told = tv.open_capture(folder, fps="30000/1001", frames=slice(0, 4, 2))
    assert (told.fps, len(told), told.frame_step) == (Fraction(15000, 1001), 2, 2)
    assert not any("fps" in message for message in told.messages)
    single = tv.open_capture(folder, fps=30, frames=slice(1, 2, 3))
    assert (single.fps, len(single), single.frame_step) == (30, 1, 1)


def test_bounds_are_found_with_what_is_fitted(tmp_path: Path) -> None:
    folder = captures.write_capture(tmp_path, cameras=8, frames=1, size=32, bounds=False)

    def volume(bounds: Bounds) -> float:
        return float(np.prod(bounds.size))

    usual, few = (tv.open_capture(folder, **options) for options in ({}, {"test_cameras": "2:"}))
    assert usual.bounds_source == few.bounds_source == "masks"
    # Two cameras alone carve less away.
    assert volume(few.bounds) > 1.2 * volume(usual.bounds)


@pytest.mark.parametrize(
    ("value", "rate"),
    [
        (25, Fraction(25)),
        (29.97, Fraction(2997, 100)),
        ("29.97", Fraction(2997, 100)),
        (" 30000 / 1001 ", Fraction(30000, 1001)),
        (".5", Fraction(1, 2)),
        (Fraction(1, 3), Fraction(1, 3)),
        (np.int64(24), Fraction(24)),
        (10_000, Fraction(10_000)),
        *((wrong, None) for wrong in (0, -1, 10_001, True, None, [25], float("nan"), float("inf"), 1e-300, 10**5000)),
        *((wrong, None) for wrong in ("", "1/0", "-5", "1e5", "1e-999999999", "9" * 5000, "25fps", "nan", "1/2/3")),
    ],
    ids=lambda value: type(value).__name__,
)
def test_frame_rates(value: object, rate: Fraction | None) -> None:
    assert frame_rate(value) == rate


def test_what_is_big_names_itself_in_one_line(capture: Path) -> None:
    sequence = tv.open_capture(capture, cameras="0:2,cam07", frames=slice(0, 1))
    assert repr(sequence) == (
        f"<MultiViewSequence {str(capture)!r}: 1 frame at 25 fps, 2 cameras and 1 held out, layout transforms>"
    )
    views = sequence.frame(0)
    assert repr(views.views[2]) == "<View of 'cam07' (test), 24x24>" and len(repr(views)) < 300
