"""The command line with existing, cut-off and damaged files, and resumed encodes."""

from __future__ import annotations

import csv
import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import streams
from captures import write_capture
from commands import CHILD, FRAMES, TINY_OPTIONS, child, encode_tiny, expect_error, json_of, tiny_preset
from conftest import child_environment

from taichi_vvc.bitstream import StreamReader, StreamWriter
from taichi_vvc.cli import run

LONG = 5


@pytest.fixture(scope="module", autouse=True)
def preset() -> Iterator[None]:
    with tiny_preset():
        yield


@pytest.fixture(scope="module")
def encoded(preset, tmp_path_factory) -> tuple[Path, Path, Path]:
    return encode_tiny(tmp_path_factory.mktemp("coded"))


@pytest.fixture(scope="module")
def capture(encoded) -> Path:
    return encoded[0]


@pytest.fixture(scope="module")
def coded(encoded) -> tuple[Path, Path]:
    """A complete file of the capture, and the CSV of its encode."""
    return encoded[1:]


@pytest.fixture
def cut(coded, tmp_path) -> Path:
    """The same file as after a power cut: without its index and the end of its last frame."""
    data = coded[0].read_bytes()
    last = json_of(["info", str(coded[0]), "--json", "--frames"])["frame_list"][-1]["bytes"]
    path = tmp_path / "cut.tvvc"
    path.write_bytes(data[: len(data) - last])
    return path


@pytest.fixture(scope="module")
def long_capture(tmp_path_factory) -> Path:
    return write_capture(tmp_path_factory.mktemp("long"), cameras=4, frames=LONG, size=24)


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


def test_resume_completes_a_cut_file_and_tells_its_run_from_the_file(coded, cut, capture, capfd) -> None:
    capfd.readouterr()
    assert run(["encode", str(capture), "-o", str(cut), *TINY_OPTIONS, "--resume"]) == 0
    *_, last, summary = capfd.readouterr().err.splitlines()
    rows, size = json_of(["info", str(cut), "--json", "--frames"])["frame_list"], cut.stat().st_size
    rate = 25 * 8 / 1000 / FRAMES
    assert last.startswith("frame 3/3") and f" {sum(row['bytes'] for row in rows) * rate:.0f} kbit/s so far" in last
    assert f": {FRAMES} frames, {size / 1000:.1f} kB" in summary
    assert f"{size * rate:.0f} kbit/s; the 1 frame of this run: " in summary
    assert run(["encode", str(capture), "-o", str(cut), *TINY_OPTIONS, "--resume"]) == 0
    assert "3 frames, there already" in capfd.readouterr().err
    assert run(["decode", str(cut), "--verify"]) == 0
    info = json_of(["info", str(cut), "--json", "--frames"])
    assert info["complete"] is True and [row["type"] for row in info["frame_list"]] == ["key", "inter", "key"]


def fill_up(monkeypatch, after: int) -> None:
    """Writers find the disk full at the sync behind ``after`` others."""
    syncs = iter(range(10**6))
    real = os.fsync

    def fsync(number: int) -> None:
        if next(syncs) >= after:
            raise OSError(errno.ENOSPC, "No space left on device")
        real(number)

    monkeypatch.setattr("taichi_vvc.bitstream.writer.os.fsync", fsync)


def test_a_full_disk_is_said_and_resumed_from(capture, tmp_path, monkeypatch, capfd) -> None:
    file = tmp_path / "a.tvvc"
    arguments = ["encode", str(capture), "-o", str(file), *TINY_OPTIONS]
    with monkeypatch.context() as patch:
        fill_up(patch, after=3)  # the header and two frames
        expect_error(
            capfd,
            arguments,
            3,
            f"{file}: cannot write: No space left on device; it is playable, it holds 2 whole frames; --resume goes on",
        )
    assert json_of(["info", str(file), "--json"])["frames"] >= 2
    assert run([*arguments, "--resume"]) == 0
    assert run(["decode", str(file), "--verify"]) == 0
    # No header, no file: there is nothing to go on with.
    fill_up(monkeypatch, after=0)
    arguments[3] = str(tmp_path / "b.tvvc")
    expect_error(capfd, arguments, 3, "b.tvvc: cannot write: No space left on device")
    assert not (tmp_path / "b.tvvc").exists()


@pytest.mark.skipif(os.name == "nt", reason="Windows has no limit of file sizes")
def test_a_file_that_cannot_grow_keeps_its_whole_frames(tmp_path) -> None:
    """The system itself refuses, in the middle of a chunk; that closing the file fails as well hides nothing."""
    code = (
        "import resource, sys, streams; from taichi_vvc.bitstream import StreamWriter; path = sys.argv[1]\n"
        "writer = StreamWriter.create(path, streams.header())\n"
        "with writer:\n"
        "    writer.add_group(streams.group(0, 0)); writer.add_frame(streams.frame(0, 0, True))\n"
        "    size = writer._file.tell() + 20\n"
        "    resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))\n"
        "    writer.add_frame(streams.frame(1, 0, False))\n"
    )
    path = tmp_path / "a.tvvc"
    done = subprocess.run(
        [sys.executable, "-c", code, str(path)],
        capture_output=True,
        text=True,
        timeout=120,
        env=child_environment() | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        check=False,
    )
    last = done.stderr.splitlines()[-1]
    assert last.startswith(f"taichi_vvc.errors.DataError: {path}: cannot write: ") and "holds 1 whole frame;" in last
    with StreamReader(path) as reader:
        assert len(reader.frames) == 1 and not reader.complete
    writer, there = StreamWriter.resume(path, streams.header())
    with writer:
        assert there == 1
        writer.add_frame(streams.frame(1, 0, False))
        writer.finish()
    assert path.read_bytes() == streams.write(tmp_path / "b.tvvc", frames=2)


def test_a_csv_that_cannot_be_written_is_said(capture, tmp_path, capfd) -> None:
    full = Path("/dev/full")
    if not full.exists():
        pytest.skip("this system has no device that is always full")
    file = tmp_path / "a.tvvc"
    arguments = ["encode", capture, "-o", file, *TINY_OPTIONS, "--csv", full, "-y"]
    expect_error(capfd, arguments, 3, "/dev/full: cannot write: No space left on device", "frames 0 to 0 are whole")
    assert json_of(["info", str(file), "--json"])["frames"] == 1


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


@pytest.mark.slow
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


def test_encoding_twice_gives_a_file_that_decodes_alike(coded, capture, tmp_path) -> None:
    """Not the same bytes (the fit may differ by rounding), but the same frames, groups and settings."""
    copy = tmp_path / "b.tvvc"
    shutil.copy(coded[0], copy)
    assert run(["encode", str(capture), "-o", str(copy), *TINY_OPTIONS, "-y", "--quiet"]) == 0
    first, second = (json_of(["info", str(path), "--json"]) for path in (coded[0], copy))
    for key in ("frames", "gops", "settings", "bounds", "fps"):
        assert [first[key]] == [second[key]]


@pytest.mark.parametrize("name", ["code_frame", "check_start", "outcome_of"])
def test_what_is_said_after_ctrl_c_is_so(coded, capture, tmp_path, monkeypatch, capfd, name: str) -> None:
    """Interrupted before the first frame, before the file exists, and after a frame is written but not yet reported."""

    def interrupt(*_arguments: object) -> None:
        raise KeyboardInterrupt

    module = sys.modules["taichi_vvc.encode" if name == "check_start" else "taichi_vvc.encoder.frames"]
    old, new = Path(shutil.copy(coded[0], tmp_path / "old.tvvc")), tmp_path / "new.tvvc"
    table = Path(shutil.copy(coded[1], tmp_path / "old.csv"))
    # With a target there is something between the frame and the word of it.
    options = [*TINY_OPTIONS, "--target-psnr", "20"] if name == "outcome_of" else TINY_OPTIONS
    if name == "outcome_of":
        monkeypatch.setattr(sys.modules["taichi_vvc.encode"], "probed_start", lambda *_arguments: 5e-4)
    monkeypatch.setattr(module, name, interrupt)
    before = old.read_bytes(), table.read_bytes()
    capfd.readouterr()
    assert run(["encode", str(capture), "-o", str(old), *options, "-y", "--csv", str(table)]) == 130
    said = capfd.readouterr().err
    assert ("is as it was" in said) == (old.read_bytes() == before[0]) == (name != "outcome_of")
    assert ("holds 1 whole frame" in said) == (name == "outcome_of")
    # The figures are those of the file that is there.
    assert name == "outcome_of" or table.read_bytes() == before[1]
    assert run(["encode", str(capture), "-o", str(new), *options]) == 130
    said = capfd.readouterr().err
    assert ("there is no" in said) == (not new.exists()) == (name == "check_start")
