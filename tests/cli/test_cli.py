"""The command line without a file: parsing, help, usage errors and exit codes."""

from __future__ import annotations

import dataclasses
import json
import math
import sys
from fractions import Fraction
from pathlib import Path

import click
import pytest
from captures import write_capture
from commands import child, expect_error

import taichi_vvc
from taichi_vvc.cli import COMMANDS, run
from taichi_vvc.cli.account import Account
from taichi_vvc.cli.capture import describe_capture
from taichi_vvc.cli.options import FrameRange, select_frames, settings
from taichi_vvc.cli.output import file_names
from taichi_vvc.cli.shots import timeline
from taichi_vvc.types import FrameStats


def test_version_names_what_matters(capfd) -> None:
    assert run(["--version"]) == 0
    lines = dict(line.split(" ", 1) for line in capfd.readouterr().out.splitlines())
    assert list(lines) == ["tvvc", "bitstream", "taichi", "constriction", "numpy", "python"]
    assert lines["tvvc"] == taichi_vvc.__version__ and int(lines["bitstream"]) >= 1


@pytest.mark.parametrize("command", COMMANDS)
def test_help_of_each_command_shows_an_example(capfd, command: str) -> None:
    assert run([command, "--help"]) == 0
    out = capfd.readouterr().out
    assert f"Example:  tvvc {command}" in out and "--debug" in out


def test_help_lists_the_commands(capfd) -> None:
    assert run(["--help"]) == 0
    out = capfd.readouterr().out
    assert all(command in out for command in COMMANDS) and "Example:" in out


def test_no_arguments_is_a_usage_error(capfd) -> None:
    assert run([]) == 2
    assert "Usage: tvvc" in "".join(capfd.readouterr())


def test_module_can_be_run(python, tmp_path) -> None:
    done = python("-m", "taichi_vvc", "--version", cwd=tmp_path)
    assert done.returncode == 0 and done.stdout.startswith(f"tvvc {taichi_vvc.__version__}\n")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("3:7", slice(3, 7)),
        ("3:", slice(3, None)),
        (":7", slice(0, 7)),
        ("5", slice(5, 6)),
        ("0", slice(0, 1)),
        ("1:9:2", slice(1, 9, 2)),
        ("::3", slice(0, None, 3)),
        (":8:1", slice(0, 8, 1)),
        ("2::4", slice(2, None, 4)),
    ],
)
def test_frame_ranges(text: str, expected: slice) -> None:
    assert FrameRange(strides=True).convert(text, None, None) == expected
    if text.count(":") < 2:
        assert FrameRange().convert(text, None, None) == expected
    else:
        with pytest.raises(click.BadParameter, match="expected A:B, A:, :B or N with"):
            FrameRange().convert(text, None, None)


@pytest.mark.parametrize(
    "text",
    [
        "",
        ":",
        "a",
        "3:3",
        "7:3",
        "-1",
        "1:-1",
        "1:2:0",
        "1:2:-1",
        "::",
        "3:3:2",
        "1:2:3:4",
        "1.5",
        "٣",
        "1,2",
        "9" * 30,
    ],
)
def test_bad_frame_ranges_are_usage_errors(capfd, tmp_path, text: str) -> None:
    expect_error(capfd, ["encode", tmp_path, "-o", tmp_path / "a", f"--frames={text}"], 2, "--frames")


def test_ranges_beyond_the_file_are_usage_errors() -> None:
    assert select_frames(None, 4, "f") == range(4)
    assert select_frames(slice(1, None), 4, "f") == range(1, 4)
    for wrong in (slice(4, None), slice(4, 5), slice(2, 5)):
        with pytest.raises(click.UsageError, match=r"has 4 frames \(0:4\)"):
            select_frames(wrong, 4, "f")


@pytest.mark.parametrize(
    "arguments",
    [
        ["nothing"],
        ["encode"],
        ["encode", "c"],
        ["encode", "c", "-o", "o", "--preset", "turbo"],
        ["encode", "c", "-o", "o", "--lambda", "-1"],
        ["encode", "c", "-o", "o", "--lambda", "nan"],
        ["encode", "c", "-o", "o", "--lambda", "inf"],
        ["encode", "c", "-o", "o", "--downscale", "0"],
        ["encode", "c", "-o", "o", "--keyint", "0"],
        ["encode", "c", "-o", "o", "--seed", "-1"],
        ["encode", "c", "-o", "o", "--backend", "opengl"],
        ["encode", "c", "-o", "o", "--resume", "-y"],
        ["encode", "c", "-o", "missing/folder/o"],
        ["encode", "c", "-o", "."],
        ["encode", "c", "-o", "o", "--csv", "o"],
        ["encode", "c", "-o", "o", "--threads", "0"],
        ["encode", "c", "-o", "o", "--fps", "1e999999999"],
        ["encode", "c", "-o", "o", "--fps", "9" * 5000],
        ["decode", "f"],
        ["decode", "f", "--verify", "-o", "d"],
        ["render", "f"],
        ["render", "f", "-o", "d", "--path", "orbit", "--size", "0x10"],
        ["render", "f", "-o", "d", "--path", "orbit", "--size", "640"],
        ["render", "f", "-o", "d", "--path", "orbit", "--fps", "0"],
        ["render", "f", "-o", "d", "--path", "orbit", "--fps", "nan"],
        ["eval", "f"],
        ["eval", "f", "c", "--split", "some"],
        ["info"],
        ["--nonsense"],
    ],
    ids=lambda arguments: " ".join(arguments)[:60],
)
def test_wrong_usage_is_one_line_and_status_2(capfd, tmp_path, monkeypatch, arguments: list[str]) -> None:
    monkeypatch.chdir(tmp_path)
    expect_error(capfd, arguments, 2)
    assert list(tmp_path.iterdir()) == []


def test_missing_and_foreign_files_have_their_status(capfd, tmp_path) -> None:
    foreign = tmp_path / "foreign.tvvc"
    foreign.write_bytes(b"something else entirely" * 10)
    for name in ("missing.tvvc", "foreign.tvvc"):
        for command in (["info"], ["decode", "--verify"], ["decode", "-o", tmp_path / "d"]):
            expect_error(capfd, [command[0], tmp_path / name, *command[1:]], 4, name)
    expect_error(capfd, ["encode", tmp_path, "-o", tmp_path / "o"], 3, "transforms.json")
    assert not (tmp_path / "o").exists() and not (tmp_path / "d").exists()


def test_a_missing_backend_is_status_5(tmp_path) -> None:
    capture = write_capture(tmp_path / "capture", cameras=3, frames=1, size=16)
    backend = "metal" if sys.platform != "darwin" else "cuda"
    done = child(["encode", str(capture), "-o", str(tmp_path / "o.tvvc"), "--backend", backend])
    assert done.returncode == 5 and not (tmp_path / "o.tvvc").exists()
    assert done.stderr.splitlines()[-1].startswith(f"error: backend '{backend}'")


def test_unexpected_errors_are_one_line_unless_debug(capfd, monkeypatch, tmp_path) -> None:
    def fail(*_arguments, **_options):
        raise RuntimeError("first\nsecond")

    monkeypatch.setattr("taichi_vvc.cli.doctor.diagnose", fail)
    expect_error(capfd, ["doctor"], 1, "RuntimeError: first second; run with --debug")
    for arguments in (["--debug", "doctor"], ["doctor", "--debug"]):
        assert run(arguments) == 1
        assert "Traceback" in capfd.readouterr().err


@pytest.mark.parametrize("module", ["click", "taichi_vvc.measure.doctor", "taichi_vvc.cli.doctor"])
@pytest.mark.parametrize("form", ["text", "json"])
def test_ctrl_c_while_modules_load_is_status_130(python, module: str, form: str) -> None:
    code = f"""
import sys
class Finder:
    def find_spec(self, name, path=None, target=None):
        if name == {module!r}:
            raise KeyboardInterrupt
sys.meta_path.insert(0, Finder())
from taichi_vvc.cli import main
main()
"""
    done = python("-c", code, "--progress", form, "doctor")
    assert done.returncode == 130 and done.stdout == "", done.stderr
    # Click ends the line of the terminal that shows ^C.
    (line,) = done.stderr.strip().splitlines()
    if form == "json":
        event = json.loads(line)
        assert (event["event"], event["exit_code"]) == ("error", 130)
        line = event["text"]
    assert line.startswith("interrupted; ")


@pytest.mark.parametrize("where", ["before", "after"])
def test_quiet_works_before_and_after_the_command(capfd, monkeypatch, where: str) -> None:
    report = {
        "versions": {"tvvc": "1"},
        "system": {"os": "x", "machine": "y", "cpus": 1},
        "memory": {"total_bytes": None, "available_bytes": None},
        "backends": {},
        "self_test": {"works": True, "backend": "cpu", "seconds": 0.0, "message": "fine"},
        "works": True,
        "hints": [],
    }
    monkeypatch.setattr("taichi_vvc.cli.doctor.diagnose", lambda timeout: report)
    assert run(["doctor"]) == 0
    assert "trying" in capfd.readouterr().err
    assert run(["--quiet", "doctor"] if where == "before" else ["doctor", "--quiet"]) == 0
    out, err = capfd.readouterr()
    assert err == "" and "self-test" in out


def test_the_sizes_of_all_cameras_are_said(tmp_path) -> None:
    sequence = taichi_vvc.open_capture(write_capture(tmp_path, cameras=5, frames=1, size=16))
    assert "5 cameras" not in describe_capture(sequence) and ", 16x16, bounds" in describe_capture(sequence)

    def of_sizes(*sizes: tuple[int, int]) -> str:
        cameras = tuple(c.resized(*size) for c, size in zip(sequence.cameras, sizes, strict=True))
        return describe_capture(dataclasses.replace(sequence, cameras=cameras))

    three = of_sizes((128, 97), (75, 131), (101, 101), (75, 131), (128, 97))
    assert "4 cameras and 1 held out, 75x131, 101x101, 128x97, bounds" in three
    assert ", 9x9 to 200x3, bounds" in of_sizes((9, 10), (200, 3), (9, 9), (9, 11), (9, 12))


def figures(index: int, psnr: float, judged: float = math.nan) -> FrameStats:
    return FrameStats(index, "key", 1000, psnr=psnr, seconds=2.0, judged_psnr=judged)


def summary(capfd, output: Path, *done: FrameStats, total: int) -> str:
    settings.reset()
    Account(total, Fraction(25), done=list(done)).say(output)
    return capfd.readouterr().err


def test_frames_that_are_exact_leave_their_psnr_to_the_others(tmp_path, capfd) -> None:
    output = tmp_path / "a.tvvc"
    output.write_bytes(bytes(4000))
    said = summary(capfd, output, figures(0, math.inf, math.inf), figures(1, 30.0, 31.0), total=2)
    assert said == (
        f"{output}: 2 frames, 4.0 kB, 2.00 kB/frame, 400 kbit/s, 30.00 dB on training rays, "
        "31.00 dB as tvvc eval measures, 4 s\n"
    )
    assert ", exact on training rays, 2 s" in summary(capfd, output, figures(0, math.inf), total=1)
    said = summary(capfd, output, figures(3, 30.0), total=4)
    assert "4 frames, 4.0 kB, 1.00 kB/frame, 200 kbit/s; the 1 frame of this run: 30.00 dB on training rays" in said


def test_the_rate_so_far_counts_what_was_there_before() -> None:
    account = Account(5, Fraction(25), found=[3000, 2000, 700])
    account.done.append(figures(2, 30.0))
    # The third frame that was found is done again.
    assert account.bitrate() == pytest.approx(6000 * 8 / 1000 * 25 / 3)
    assert account.frame_line(account.done[0]).endswith(" 400 kbit/s so far")


def test_names_of_cameras_become_safe_and_distinct_file_names() -> None:
    names = file_names(["a/b", "a_b", "A_B", "..", "x.y-1", "ü", ""])
    assert len({name.lower() for name in names.values()}) == len(names)
    assert names["x.y-1"] == "x.y-1" and not any("/" in name or name in (".", "..", "") for name in names.values())


def test_a_path_takes_as_long_as_the_frames_do() -> None:
    assert timeline(range(100), Fraction(25), Fraction(25)) == list(range(100))
    assert timeline(range(200), Fraction(25), Fraction(50))[:5] == [0, 0, 1, 1, 2]
    assert timeline(range(2, 5), Fraction(25), Fraction(25)) == [2, 3, 4]
    assert timeline(range(2, 5), Fraction(25), Fraction(25), 0.2) == [2, 3, 4, 2, 3]
    assert timeline(range(2, 5), Fraction(25), Fraction(1)) == [2]
