"""The command line: parsing, exit codes, outputs, and the whole way from a capture to pictures."""

from __future__ import annotations

import csv
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from captures import write_capture
from conftest import child_environment
from PIL import Image
from tiny import ONE_LEVEL

import taichi_vvc
from taichi_vvc.cli import COMMANDS, run
from taichi_vvc.cli.encode import command as encode_command
from taichi_vvc.cli.options import FrameRange, select_frames
from taichi_vvc.cli.output import file_names
from taichi_vvc.cli.render import timeline
from taichi_vvc.config import PRESETS, EncoderConfig

FRAMES, CAMERAS, SIZE = 3, 6, 32
TINY = {**ONE_LEVEL, "key_iterations": 60, "inter_iterations": 30, "keyint": 2}
# A child process that knows the tiny preset; the command line itself has only the real ones.
CHILD = (
    "import sys; from taichi_vvc import config; "
    f"config.PRESETS['tiny'] = config.EncoderConfig(**{TINY!r}); "
    "from taichi_vvc.cli import main; main()"
)


@pytest.fixture(scope="module", autouse=True)
def tiny_preset():
    (option,) = (option for option in encode_command.params if option.name == "preset")
    before = option.type
    PRESETS["tiny"] = EncoderConfig(**TINY)
    option.type = type(before)([*PRESETS])
    yield
    option.type = before
    del PRESETS["tiny"]


@pytest.fixture(scope="module")
def capture(tmp_path_factory) -> Path:
    return write_capture(tmp_path_factory.mktemp("capture"), cameras=CAMERAS, frames=FRAMES, size=SIZE)


@pytest.fixture(scope="module")
def coded(capture, tmp_path_factory) -> tuple[Path, Path]:
    """A complete file of the capture, and the CSV of its encode."""
    folder = tmp_path_factory.mktemp("coded")
    status = run(["encode", str(capture), "-o", str(folder / "a.tvvc"), *TINY_OPTIONS, "--csv", str(folder / "a.csv")])
    assert status == 0
    return folder / "a.tvvc", folder / "a.csv"


TINY_OPTIONS = ("--preset", "tiny", "--backend", "cpu")


@pytest.fixture
def cut(coded, tmp_path) -> Path:
    """The same file as after a power cut: without its index and the end of its last frame."""
    data = coded[0].read_bytes()
    last = json_of(["info", str(coded[0]), "--json", "--frames"])["frame_list"][-1]["bytes"]
    path = tmp_path / "cut.tvvc"
    path.write_bytes(data[: len(data) - last])
    return path


def json_of(arguments: list[str]) -> dict:
    """The JSON object that a command prints, read from a child process."""
    done = child(arguments)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def child(arguments: list[str], **options) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", CHILD, *arguments],
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=300,
        env=child_environment(),
        **options,
    )


def expect_error(capfd, arguments: list, status: int, *parts: str) -> None:
    """The command ends with ``status`` and says why in one line on stderr."""
    capfd.readouterr()
    assert run([str(argument) for argument in arguments]) == status
    out, err = capfd.readouterr()
    errors = [line for line in err.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1 and "Traceback" not in err and out == "", err
    for part in parts:
        assert part in errors[0]


# ---- what needs no file


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
    ],
)
def test_frame_ranges(text: str, expected: slice) -> None:
    assert FrameRange().convert(text, None, None) == expected


@pytest.mark.parametrize("text", ["", ":", "a", "3:3", "7:3", "-1", "1:-1", "1:2:3", "1.5", "٣", "1,2", "9" * 30])
def test_bad_frame_ranges_are_usage_errors(capfd, tmp_path, text: str) -> None:
    expect_error(capfd, ["encode", tmp_path, "-o", tmp_path / "a", f"--frames={text}"], 2, "--frames")


def test_ranges_beyond_the_file_are_usage_errors() -> None:
    import click

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
        ["decode", "f"],
        ["decode", "f", "--verify", "-o", "d"],
        ["render", "f", "-o", "d"],
        ["render", "f", "-o", "d", "--path", "orbit", "--size", "0x10"],
        ["render", "f", "-o", "d", "--path", "orbit", "--size", "640"],
        ["render", "f", "-o", "d", "--path", "orbit", "--fps", "0"],
        ["render", "f", "-o", "d", "--path", "orbit", "--fps", "nan"],
        ["eval", "f"],
        ["eval", "f", "c", "--split", "some"],
        ["info"],
        ["--nonsense"],
    ],
    ids=" ".join,
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


def test_a_missing_backend_is_status_5(capfd, capture, tmp_path) -> None:
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


def test_a_closed_pipe_is_quiet(coded) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", CHILD, "info", str(coded[0]), "--json", "--frames"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=child_environment(),
    )
    process.stdout.close()
    err = process.stderr.read()
    process.stderr.close()
    assert process.wait(60) == 1 and err == b""


def test_names_of_cameras_become_safe_and_distinct_file_names() -> None:
    names = file_names(["a/b", "a_b", "A_B", "..", "x.y-1", "ü", ""])
    assert len({name.lower() for name in names.values()}) == len(names)
    assert names["x.y-1"] == "x.y-1" and not any("/" in name or name in (".", "..", "") for name in names.values())


def test_a_path_takes_as_long_as_the_frames_do() -> None:
    from fractions import Fraction

    assert timeline(range(0, 100), Fraction(25), Fraction(25)) == list(range(100))
    assert timeline(range(0, 200), Fraction(25), Fraction(50))[:5] == [0, 0, 1, 1, 2]
    short = timeline(range(2, 5), Fraction(25), Fraction(25))
    assert len(short) >= 4 * 25 and len(short) % 3 == 0 and short[:4] == [2, 3, 4, 2]


# ---- from a capture to pictures


def test_info_matches_the_file_and_needs_nothing_heavy(coded, python) -> None:
    code = (
        "import sys; from taichi_vvc.cli import run; status = run(['info', sys.argv[1], '--json', '--frames']); "
        "assert not {'taichi', 'torch', 'constriction', 'av', 'skimage'} & set(sys.modules); sys.exit(status)"
    )
    done = python("-c", code, coded[0])
    assert done.returncode == 0, done.stderr
    info = json.loads(done.stdout)
    assert info["frames"] == FRAMES and info["complete"] is True and info["bytes"] == coded[0].stat().st_size
    assert info["fps"] == 25 and info["duration"] == pytest.approx(FRAMES / 25)
    assert [gop["first"] for gop in info["gops"]] == [0, 2]
    assert len(info["bounds"]) == 2 and all(len(corner) == 3 for corner in info["bounds"])
    assert [camera["name"] for camera in info["cameras"]] == [f"cam{i:02d}" for i in range(CAMERAS)]
    assert {camera["split"] for camera in info["cameras"]} == {"train", "test"}
    assert info["settings"]["preset"] == "tiny" and info["settings"]["keyint"] == 2
    rows = info["frame_list"]
    assert [row["type"] for row in rows] == ["key", "inter", "key"]
    for row in rows:
        parts = sum(value for name, value in row.items() if name.startswith("bytes_"))
        assert parts == row["bytes"] > 0
    assert sum(row["bytes"] for row in rows) < info["bytes"]


def test_info_as_text_fits_a_screen(coded, capfd) -> None:
    assert run(["info", str(coded[0])]) == 0
    out, err = capfd.readouterr()
    assert "3 frames" in out and "tiny" in out and len(out.splitlines()) < 40 and err == ""


def test_csv_holds_every_frame(coded) -> None:
    with coded[1].open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    names = list(rows[0])
    assert names[:3] == ["frame", "type", "bytes"]
    assert names[-4:] == ["estimated_bits", "actual_bits", "psnr", "seconds"]
    assert {"bytes_coefficients", "bytes_level1", "bytes_mlp", "bytes_occupancy", "bytes_overhead"} <= set(names)
    assert [int(row["frame"]) for row in rows] == list(range(FRAMES))
    for row in rows:
        assert sum(int(row[name]) for name in names if name.startswith("bytes_")) == int(row["bytes"])
        assert float(row["psnr"]) > 10 and float(row["seconds"]) > 0


def test_verify_prints_the_hash_of_the_symbols(coded, capfd) -> None:
    assert run(["decode", str(coded[0]), "--verify"]) == 0
    words = capfd.readouterr().out.split()
    assert words[:2] == ["symbols", "sha256"] and len(words) == 3
    assert words[2] == taichi_vvc.open(coded[0]).symbol_hash()
    assert len(bytes.fromhex(words[2])) == hashlib.sha256().digest_size


def test_decode_writes_a_picture_per_camera_and_frame(coded, capture, tmp_path, capfd) -> None:
    out = tmp_path / "pictures"
    assert (
        run(["decode", str(coded[0]), "-o", str(out), "--cameras", "test", "--frames", "1:", "--backend", "cpu"]) == 0
    )
    found = sorted(path.relative_to(out).as_posix() for path in out.rglob("*"))
    assert found == ["cam05", "cam05/0001.png", "cam05/0002.png"]
    picture = np.asarray(Image.open(out / "cam05" / "0001.png"))
    assert picture.shape == (SIZE, SIZE, 3) and picture.std() > 5
    expect_error(capfd, ["decode", coded[0], "-o", out], 2, "-y")
    expect_error(capfd, ["decode", coded[0], "-o", tmp_path / "x", "--cameras", "cam00,who"], 2, "who", "cam05")
    expect_error(capfd, ["decode", coded[0], "-o", tmp_path / "x", "--frames", "1:9"], 2, "has 3 frames")
    assert not (tmp_path / "x").exists()


def test_decode_writes_one_video_per_camera(coded, tmp_path) -> None:
    arguments = ["decode", str(coded[0]), "-o", str(tmp_path / "v.mp4"), "--backend", "cpu"]
    assert run([*arguments, "--cameras", "cam00,cam02"]) == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["v_cam00.mp4", "v_cam02.mp4"]
    assert run([*arguments, "--cameras", "cam01"]) == 0
    assert frames_of_video(tmp_path / "v.mp4") == (FRAMES, SIZE, SIZE)


def frames_of_video(path: Path) -> tuple[int, int, int]:
    """(pictures, width, height)."""
    import av

    with av.open(str(path)) as container:
        pictures = list(container.decode(video=0))
    return len(pictures), pictures[0].width, pictures[0].height


def test_render_along_a_path(coded, tmp_path, capfd) -> None:
    video = tmp_path / "orbit.mp4"
    arguments = ["render", str(coded[0]), "--path", "orbit", "--size", "24x16", "--fps", "5", "--backend", "cpu"]
    assert run([*arguments, "-o", str(video)]) == 0
    count, width, height = frames_of_video(video)
    assert (width, height) == (24, 16) and count >= 20
    expect_error(capfd, [*arguments, "-o", video], 2, "exists", "-y")
    depth = tmp_path / "depth"
    assert run([*arguments, "-o", str(depth), "--depth", "--frames", "0"]) == 0
    pictures = sorted(depth.iterdir())
    assert pictures[0].name == "0000.png" and len(pictures) >= 20
    assert np.asarray(Image.open(pictures[0])).dtype == np.uint16 and np.asarray(Image.open(pictures[0])).max() > 0
    expect_error(capfd, ["render", coded[0], "-o", tmp_path / "x.mp4", "--path", "zigzag"], 2, "zigzag")


def test_eval_compares_with_the_capture(coded, capture, capfd) -> None:
    capfd.readouterr()
    assert run(["eval", str(coded[0]), str(capture), "--json", "--backend", "cpu"]) == 0
    out, _ = capfd.readouterr()
    figures = json.loads(out)
    assert set(figures) == {
        "psnr",
        "psnr_foreground",
        "ssim",
        "bytes",
        "frames",
        "bytes_per_frame",
        "bitrate_kbps",
        "per_frame",
        "split",
        "background",
    }
    assert figures["split"] == "test" and figures["frames"] == FRAMES
    size = coded[0].stat().st_size
    assert figures["bytes"] == size and figures["bytes_per_frame"] == pytest.approx(size / FRAMES)
    assert figures["bitrate_kbps"] == pytest.approx(size * 8 / 1000 / (FRAMES / 25))
    assert 10 < figures["psnr_foreground"] < figures["psnr"] < 60 and 0 < figures["ssim"] <= 1
    rows = figures["per_frame"]
    assert [row["frame"] for row in rows] == list(range(FRAMES))
    assert all(set(row) == {"frame", "type", "bytes", "psnr", "psnr_foreground", "ssim"} for row in rows)
    assert figures["psnr"] == pytest.approx(np.mean([row["psnr"] for row in rows]))


def test_eval_computes_what_it_says(coded, capture, capfd) -> None:
    """The PSNR of the held-out camera, recomputed here from the capture's files and the Python API."""
    capfd.readouterr()
    assert run(["eval", str(coded[0]), str(capture), "--json", "--backend", "cpu", "--split", "test"]) == 0
    figures = json.loads(capfd.readouterr().out)
    stream = taichi_vvc.open(coded[0])
    (camera,) = (camera for camera in stream.cameras if camera.split == "test")
    for number, row in enumerate(figures["per_frame"]):
        rgba = np.asarray(Image.open(capture / "images" / camera.name / f"{number:04d}.png")) / 255.0
        truth = rgba[..., :3] * rgba[..., 3:] + np.array(figures["background"]) * (1 - rgba[..., 3:])
        shown = taichi_vvc.render(stream[number], camera, stream.background).colour
        assert row["psnr"] == pytest.approx(-10 * np.log10(np.mean((truth - shown) ** 2)), abs=1e-3)


def test_eval_refuses_another_capture(coded, tmp_path, capfd) -> None:
    other = write_capture(tmp_path / "other", cameras=4, frames=1, size=SIZE)
    expect_error(capfd, ["eval", coded[0], other, "--backend", "cpu"], 3)


# ---- overwriting, incomplete and damaged files


def test_encode_refuses_to_overwrite(coded, capture, capfd) -> None:
    before = coded[0].read_bytes()
    expect_error(capfd, ["encode", capture, "-o", coded[0]], 2, "exists", "-y", "--resume")
    expect_error(capfd, ["encode", capture, "-o", coded[0].with_name("b"), "--csv", coded[1]], 2, "exists")
    assert coded[0].read_bytes() == before and not coded[0].with_name("b").exists()


def test_an_incomplete_file_plays_with_a_warning(cut, capture, tmp_path, capfd) -> None:
    info = json_of(["info", str(cut), "--json"])
    assert info["complete"] is False and info["frames"] == FRAMES - 1
    capfd.readouterr()
    cpu = ["--backend", "cpu"]
    assert run(["decode", str(cut), "-o", str(tmp_path / "d"), "--cameras", "cam00", *cpu]) == 0
    assert [path.name for path in sorted((tmp_path / "d" / "cam00").iterdir())] == ["0000.png", "0001.png"]
    assert run(["render", str(cut), "-o", str(tmp_path / "r.mp4"), "--path", "spiral", "--size", "16x16", *cpu]) == 0
    assert run(["eval", str(cut), str(capture), "--json", *cpu]) == 0
    out, err = capfd.readouterr()
    assert err.count("warning: ") == 3 and json.loads(out)["frames"] == FRAMES - 1


def test_verify_of_an_incomplete_file_fails_and_says_what_is_good(cut, capfd) -> None:
    assert run(["decode", str(cut), "--verify"]) == 4
    out, err = capfd.readouterr()
    assert out == "" and "first 2 frames are good" in err and err.count("error: ") == 1


def test_damage_in_the_middle_keeps_the_frames_before_it(coded, tmp_path, capfd) -> None:
    rows = json_of(["info", str(coded[0]), "--json", "--frames"])["frame_list"]
    damaged = bytearray(coded[0].read_bytes())
    middle = rows[1]["offset"] + rows[1]["bytes"] // 2
    damaged[middle] ^= 0x40
    path = tmp_path / "damaged.tvvc"
    path.write_bytes(damaged)
    expect_error(capfd, ["decode", path, "--verify"], 4)
    expect_error(capfd, ["decode", path, "-o", tmp_path / "d", "--cameras", "cam00", "--backend", "cpu"], 4)
    assert [file.name for file in (tmp_path / "d" / "cam00").iterdir()] == ["0000.png"]


def test_resume_completes_a_cut_file(coded, cut, capture, capfd) -> None:
    assert run(["encode", str(capture), "-o", str(cut), *TINY_OPTIONS, "--resume"]) == 0
    assert run(["decode", str(cut), "--verify"]) == 0
    info = json_of(["info", str(cut), "--json", "--frames"])
    assert info["complete"] is True and [row["type"] for row in info["frame_list"]] == ["key", "inter", "key"]


def test_resume_refuses_other_settings(cut, capture, capfd) -> None:
    before = cut.read_bytes()
    expect_error(capfd, ["encode", capture, "-o", cut, *TINY_OPTIONS, "--resume", "--lambda", "0.5"], 2)
    expect_error(capfd, ["encode", capture, "-o", cut, *TINY_OPTIONS, "--resume", "--downscale", "2"], 2)
    assert cut.read_bytes() == before


def start_encode(capture: Path, output: Path, extra: list[str] = ()) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-c", CHILD, "encode", str(capture), "-o", str(output), *TINY_OPTIONS, *extra],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        encoding="utf-8",
        env=child_environment(),
        # On Windows only a new group can be sent Ctrl-C without sending it to the tests as well.
        creationflags=getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0),
    )


def wait_for_frame(process: subprocess.Popen, number: int) -> None:
    for line in process.stderr:
        if line.startswith(f"frame {number}/"):
            return
    pytest.fail(f"the encode ended with {process.wait()} before frame {number}")


@pytest.mark.skipif(os.name == "nt", reason="a child process cannot be sent Ctrl-C alone on Windows")
def test_ctrl_c_leaves_a_playable_file(long_capture, tmp_path, capfd) -> None:
    file = tmp_path / "a.tvvc"
    process = start_encode(long_capture, file)
    wait_for_frame(process, 1)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=120)
    assert process.returncode == 130 and "playable" in err and "Traceback" not in err
    info = json_of(["info", str(file), "--json"])
    assert 1 <= info["frames"] < LONG and info["complete"] is False
    assert run(["decode", str(file), "-o", str(tmp_path / "d"), "--cameras", "cam00", "--backend", "cpu"]) == 0
    assert len(list((tmp_path / "d" / "cam00").iterdir())) == info["frames"]


def test_a_killed_encode_can_be_resumed(long_capture, tmp_path, capfd) -> None:
    file = tmp_path / "a.tvvc"
    process = start_encode(long_capture, file, ["--csv", str(tmp_path / "a.csv")])
    wait_for_frame(process, 2)
    time.sleep(0.05)
    process.kill()
    process.communicate(timeout=60)
    before = json_of(["info", str(file), "--json"])
    assert 2 <= before["frames"] < LONG and before["complete"] is False
    done = child(
        ["encode", str(long_capture), "-o", str(file), *TINY_OPTIONS, "--resume", "--csv", str(tmp_path / "a.csv")]
    )
    assert done.returncode == 0, done.stderr
    assert json_of(["info", str(file), "--json"])["frames"] == LONG
    assert run(["decode", str(file), "--verify"]) == 0
    with (tmp_path / "a.csv").open(encoding="utf-8", newline="") as rows:
        assert [int(row["frame"]) for row in csv.DictReader(rows)] == list(range(LONG))


LONG = 5


@pytest.fixture(scope="module")
def long_capture(tmp_path_factory) -> Path:
    return write_capture(tmp_path_factory.mktemp("long"), cameras=4, frames=LONG, size=24)


def test_encoding_twice_gives_a_file_that_decodes_alike(coded, capture, tmp_path) -> None:
    """Not the same bytes (the fit may differ by rounding), but the same frames, groups and settings."""
    copy = tmp_path / "b.tvvc"
    shutil.copy(coded[0], copy)
    assert run(["encode", str(capture), "-o", str(copy), *TINY_OPTIONS, "-y", "--quiet"]) == 0
    first, second = (json_of(["info", str(path), "--json"]) for path in (coded[0], copy))
    for key in ("frames", "gops", "settings", "bounds", "fps"):
        assert [first[key]] == [second[key]]
