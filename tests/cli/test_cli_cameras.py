"""Encodes of selected cameras and frames, their evaluation, and resuming with the same or another selection."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Iterator
from pathlib import Path

import captures
import pytest
from commands import CHILD, TINY_OPTIONS, expect_error, tiny_preset
from conftest import child_environment

import taichi_vvc as tv
from taichi_vvc.cli import run
from taichi_vvc.cli.decode import select_cameras
from taichi_vvc.errors import BackendError, ConfigError, OtherCameras
from taichi_vvc.measure.evaluate import coded_part, evaluate
from taichi_vvc.runtime import start

CHOICE = ("--frames", "1:5:3", "--cameras=-cam00", "--test-cameras", "cam01,cam04", "--fps", "60")


@pytest.fixture(scope="module", autouse=True)
def preset() -> Iterator[None]:
    with tiny_preset():
        yield


@pytest.fixture(scope="module")
def capture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Seven cameras, none held out, without masks; five frames."""
    folder = tmp_path_factory.mktemp("capture")
    return captures.write_capture(folder, cameras=7, frames=5, size=24, masks=None, test_cameras=0, fps=None)


@pytest.fixture(scope="module")
def part(capture: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of some of the capture."""
    file = tmp_path_factory.mktemp("part") / "part.tvvc"
    assert run(["encode", str(capture), "-o", str(file), *TINY_OPTIONS, *CHOICE]) == 0
    return file


@pytest.fixture(scope="module")
def whole(capture: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of the capture's first frame."""
    file = tmp_path_factory.mktemp("whole") / "whole.tvvc"
    assert run(["encode", str(capture), "-o", str(file), *TINY_OPTIONS, "--frames", "0"]) == 0
    return file


def test_the_file_holds_what_was_chosen(part: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with tv.open(part) as stream:
        assert (len(stream), stream.first_frame, stream.frame_step, stream.fps) == (2, 1, 3, 20)
        assert [(camera.name, camera.split) for camera in stream.cameras] == [
            (f"cam{i:02d}", "test" if i in (1, 4) else "train") for i in range(1, 7)
        ]
        assert repr(stream) == f"<Stream {str(part)!r}: 2 frames at 20 fps, 6 cameras>"
        field = stream[0]
        assert repr(field).startswith("<Field of 16x16x16 cells, ") and repr(field).endswith(" % occupied, on cpu>")
        assert repr(tv.render(field, stream.cameras[0])) == "<Image 24x24>"
    assert run(["info", str(part)]) == 0
    lines = capfd.readouterr().out.splitlines()
    assert "capture     from frame 1, every 3rd, at full size" in lines
    # Names and values in columns, each setting once.
    table = lines[next(i for i, line in enumerate(lines) if line.startswith("settings    ")) :]
    expected = dataclasses.replace(tv.PRESETS["tiny"], detail="off").settings() | {"frame_step": 3}
    for name, value in expected.items():
        shown = "/".join(map(str, value)) if isinstance(value, list) else str(value)
        assert sum(bool(re.search(rf" {name} +{re.escape(shown)}( |$)", line)) for line in table) == 1, name
    # Two columns; the background was found.
    assert len(table) == -(-(len(expected) + 1) // 2)
    assert max(map(len, table)) < 100


def test_eval_takes_the_same_part_again(part: Path, capture: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with tv.open(part) as stream:
        sequence = coded_part(stream, capture)
    assert list(sequence.indices) == [1, 4]
    assert run(["eval", str(part), str(capture), "--json", "--backend", "cpu"]) == 0
    out, err = capfd.readouterr()
    figures = json.loads(out)
    assert (figures["split"], figures["cameras"], figures["held_out"]) == ("test", ["cam01", "cam04"], 2)
    assert "warning" not in err, "the capture says nothing that the file contradicts"
    assert run(["eval", str(part), str(capture), "--split", "all", "--backend", "cpu"]) == 0
    assert "2 frames, 6 cameras (2 held out and 4 fitted), " in capfd.readouterr().out


def test_encode_and_inspect_agree(capture: Path, part: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert run(["inspect", str(capture), "--json", *CHOICE]) == 0
    found = json.loads(capfd.readouterr().out)
    with tv.open(part) as stream:
        assert [(c["name"], c["split"]) for c in found["cameras"]] == [(c.name, c.split) for c in stream.cameras]
        assert (found["frames"], found["first_frame"], found["fps"]) == (2, 1, 20.0)


def test_inspect_lists_the_names(capture: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert run(["inspect", str(capture), "--cameras", "2:5"]) == 0
    assert "\nnames       cam02, cam03, cam04\n" in capfd.readouterr().out


def test_cameras_of_a_file_are_named_in_the_same_way(part: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with tv.open(part) as stream:
        for choice, names in {
            "test": ["cam01", "cam04"],
            "all": [f"cam{i:02d}" for i in range(1, 7)],
            "cam0[12],5:": ["cam01", "cam02", "cam06"],
            "cam06,cam03": ["cam03", "cam06"],
            "-cam02,-cam04": ["cam01", "cam03", "cam05", "cam06"],
        }.items():
            assert [camera.name for camera in select_cameras(stream.cameras, choice)] == names, choice
    for wrong in ("cam00", "none", "who"):
        expect_error(capfd, ["decode", part, "-o", part.parent / "x", "--cameras", wrong], 2, "cam01, cam02")


def test_encode_repeats_what_inspect_warns_of(capture: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert run(["encode", str(capture), "-o", str(tmp_path / "a.tvvc"), *TINY_OPTIONS, "--frames", "0"]) == 0
    err = capfd.readouterr().err
    assert "warning: no masks: all that is inside the bounds is coded" in err
    assert "warning: no held-out cameras: " in err and "; --test-cameras holds some out" in err
    assert "1 frame at 25 fps, 7 cameras, " in err and "a.tvvc: 1 frame, " in err
    options = ["--test-cameras", "cam03", "--frames", "0"]
    assert run(["encode", str(capture), "-o", str(tmp_path / "b.tvvc"), *TINY_OPTIONS, *options]) == 0
    assert "held-out" not in capfd.readouterr().err


def test_eval_falls_back_to_what_there_is(capture: Path, whole: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert run(["eval", str(whole), str(capture), "--split", "test", "--backend", "cpu"]) == 0
    out, err = capfd.readouterr()
    assert f"warning: no camera of {whole} was held out: comparing all of them, which were fitted" in err
    assert "1 frame, 7 cameras (fitted), " in out
    assert run(["eval", str(whole), str(capture), "--backend", "cpu"]) == 0
    assert "warning" not in capfd.readouterr().err
    with pytest.warns(OtherCameras):
        assert evaluate(whole, capture, split="test")["split"] == "all"


def test_the_file_knows_what_was_held_out(tmp_path: Path, part: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """A capture whose split was changed after the encode: the cameras that it holds out now were fitted."""
    other = captures.write_capture(tmp_path, cameras=7, frames=5, size=24, masks=None, test_cameras=1, fps=None)
    assert run(["eval", str(part), str(other), "--json", "--backend", "cpu"]) == 0
    out, err = capfd.readouterr()
    assert json.loads(out)["cameras"] == ["cam01", "cam04"]
    (line,) = (line for line in err.splitlines() if line.startswith("warning: "))
    assert f"the capture holds out cam06, the encode of {part} held out cam01, cam04" in line


def test_a_capture_without_a_camera_of_the_file(tmp_path: Path, part: Path, capfd: pytest.CaptureFixture[str]) -> None:
    other = captures.write_capture(tmp_path, cameras=4, frames=5, size=24, masks=None, test_cameras=0)
    expect_error(capfd, ["eval", part, other, "--backend", "cpu"], 3, "no camera cam04; there are", "that was encoded")


@pytest.mark.parametrize(
    ("changed", "found"),
    [
        (("--test-cameras", "cam01"), "found other cameras (held out: cam01, in the file cam01, cam04);"),
        (("--cameras", "*"), "found other cameras (with cam00);"),
        (("--cameras", "2:", "--test-cameras", "cam04"), "found other cameras (without cam01);"),
        (("--fps", "30"), "found other fps (10, the file has 20);"),
        (("--frames", "1:3:1", "--fps", "20"), "found other frame_step;"),
        (("--frames", "1:4:2", "--fps", "40"), "found other frame_step;"),
    ],
)
def test_resuming_with_another_part_is_refused(
    capture: Path, part: Path, capfd: pytest.CaptureFixture[str], changed: tuple[str, ...], found: str
) -> None:
    before = part.read_bytes()
    arguments = ["encode", capture, "-o", part, *TINY_OPTIONS, *CHOICE, *changed, "--resume"]
    expect_error(capfd, arguments, 2, found)
    assert part.read_bytes() == before
    assert run(["encode", str(capture), "-o", str(part), *TINY_OPTIONS, *CHOICE, "--resume"]) == 0


@pytest.mark.parametrize("command", ["encode", "inspect", "mask", "convert", "bench"])
def test_wrong_cameras_are_wrong_usage_everywhere(
    capture: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str], command: str
) -> None:
    output = tmp_path / ("o.png" if command == "inspect" else "o")
    for options in (["--cameras", "cam9*"], ["--test-cameras", "who"]):
        expect_error(capfd, [command, capture, "-o", output, *options], 2, "there are cam00, cam01, ")
    expect_error(capfd, [command, capture, "-o", output, "--test-cameras", "*"], 2, "all of them are held out")
    assert list(tmp_path.iterdir()) == []


def test_threads_bound_kernels_and_products(capture: Path, whole: Path, tmp_path: Path, python) -> None:
    """And the file is the same: no sum depends on how many share the work."""
    code = CHILD.replace(
        "from taichi_vvc.cli import main; main()",
        "from taichi_vvc.cli import run; status = run(sys.argv[1:]); from taichi_vvc.runtime import start; "
        "from threadpoolctl import threadpool_info; "
        "print(start().threads, {p['num_threads'] for p in threadpool_info() if p['user_api'] == 'blas'}); "
        "sys.exit(status)",
    )
    file = tmp_path / "one.tvvc"
    arguments = ["encode", capture, "-o", file, *TINY_OPTIONS, "--frames", "0", "--threads", "1"]
    done = python("-c", code, *arguments, env=child_environment())
    assert done.returncode == 0, done.stderr
    assert done.stdout.split(" ", 1) == ["1", "{1}\n"]
    assert file.read_bytes() == whole.read_bytes()


def test_a_running_backend_keeps_its_threads() -> None:
    running = start("cpu")
    assert start("cpu", running.threads) is running
    with pytest.raises(BackendError, match=f"expected {running.threads + 1} threads, but the backend runs with"):
        start("cpu", running.threads + 1)
    for wrong in (0, -1, True, 1.5):
        with pytest.raises(ConfigError, match="expected threads of 1 or more"):
            start("cpu", wrong)
