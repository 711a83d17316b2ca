"""Commands in unusual environments: closed streams, full disks, a deleted working directory, signals."""

from __future__ import annotations

import errno
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from captures import write_capture
from commands import CHILD, TINY, TINY_OPTIONS
from conftest import child_environment

import taichi_vvc as tv
from taichi_vvc.bitstream import StreamReader
from taichi_vvc.cli import run, standard

pytestmark = pytest.mark.skipif(os.name == "nt", reason="shells of Windows close no streams, and send no SIGTERM")
FULL = Path("/dev/full")
needs_full = pytest.mark.skipif(not FULL.exists(), reason="this system has no device that is always full")


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A capture and a file of two frames made of it."""
    folder = tmp_path_factory.mktemp("world")
    capture = write_capture(folder / "capture", cameras=3, frames=2, size=16)
    list(tv.encode(tv.open_capture(capture), tv.EncoderConfig(**TINY), folder / "a.tvvc"))
    return folder


def shell(command: str, cwd: Path, **places: object) -> tuple[int, str, str]:
    """Runs a line of sh in which ``tvvc`` is the command line: status, stdout, stderr."""
    tvvc = f"'{sys.executable}' -m taichi_vvc"
    line = command.replace("tvvc ", f"{tvvc} ", 1)
    done = subprocess.run(
        ["sh", "-c", line],
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=300,
        env=child_environment(**places),
        check=False,
    )
    return done.returncode, done.stdout, done.stderr


def one_error_line(text: str, *words: str) -> None:
    assert text.count("\n") == 1 and text.startswith("error: "), text
    for word in words:
        assert word in text


@pytest.mark.parametrize("command", ["info a.tvvc", "info a.tvvc --json", "decode a.tvvc --verify", "--version"])
@pytest.mark.parametrize("where", [">&-", pytest.param("> /dev/full", marks=needs_full)])
def test_results_that_cannot_be_written_are_an_error_of_one_line(folder: Path, command: str, where: str) -> None:
    status, _, err = shell(f"tvvc {command} {where}", folder)
    assert status == 3
    one_error_line(err, "stdout: cannot write: ")


@pytest.mark.parametrize("where", ["2>&-", pytest.param("2> /dev/full", marks=needs_full)])
def test_messages_that_nobody_reads_change_nothing(folder: Path, where: str) -> None:
    assert shell(f"tvvc info missing.tvvc {where}", folder)[:2] == (4, "")
    status, out, _ = shell(f"tvvc info a.tvvc --json {where}", folder)
    assert status == 0 and out.startswith("{")
    assert shell(f"tvvc decode a.tvvc -o pictures{len(where)} --backend cpu {where} >&-", folder)[0] == 0
    assert len(list((folder / f"pictures{len(where)}").rglob("*.png"))) == 6


def test_a_file_does_not_take_the_number_of_a_closed_stream(folder: Path, tmp_path: Path) -> None:
    """With stdout and stderr closed the next file that is opened would be number 1 or 2, and be printed into."""
    shutil.copy(folder / "a.tvvc", tmp_path)
    before = (tmp_path / "a.tvvc").read_bytes()
    command = f"encode '{folder}/capture' -o b.tvvc --preset ultrafast --frames 0 -v"
    assert shell(f"tvvc {command} <&- >&- 2>&-", tmp_path)[0] == 0
    with StreamReader(tmp_path / "b.tvvc") as reader:
        reader.scan()  # raises where a byte is not what it was
        assert reader.complete and len(reader.frames) == 1
    assert (tmp_path / "a.tvvc").read_bytes() == before


def test_a_folder_that_is_gone_is_said(folder: Path, tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    status, _, err = shell(f"rmdir '{gone}'; tvvc decode '{folder}/a.tvvc' -o d --backend cpu", gone)
    assert status == 3, err
    one_error_line(err.splitlines(keepends=True)[-1], "working directory")
    assert "Traceback" not in err
    assert shell(f"mkdir -p '{gone}'; cd '{gone}'; rmdir '{gone}'; tvvc --version", tmp_path)[0] == 0


@pytest.mark.parametrize(
    "command", ["decode a.tvvc -o {out} --backend cpu", "inspect capture -o {out}.png", "render a.tvvc -o {out}.mp4"]
)
def test_a_full_disk_is_one_line_and_leaves_no_halves(folder: Path, tmp_path: Path, command: str) -> None:
    """A limit of file sizes refuses what a full disk refuses, in the same place of the libraries."""
    out = tmp_path / "out"
    extra = ["--path", "orbit", "--size", "64x64", "--backend", "cpu"] if command.startswith("render") else []
    code = (
        "import resource; from taichi_vvc.runtime import start; start('cpu'); "
        "resource.setrlimit(resource.RLIMIT_FSIZE, (40, 40)); from taichi_vvc.cli import main; main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *command.format(out=out).split(), *extra],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=300,
        env=child_environment(TI_OFFLINE_CACHE="0"),
        check=False,
    )
    status, err = done.returncode, done.stderr
    assert status == 3, err
    lines = [line for line in err.splitlines() if not line.startswith("warning: ")]
    one_error_line(lines[-1] + "\n", "cannot write: ")
    assert "Traceback" not in err and "Exception ignored" not in err
    assert not any(path.is_file() for path in tmp_path.rglob("*"))


def start(capture: Path, output: Path) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-c", CHILD, "encode", str(capture), "-o", str(output), *TINY_OPTIONS],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env=child_environment(),
    )


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_says_what_is_there(tmp_path: Path, number: signal.Signals, status: int) -> None:
    capture = write_capture(tmp_path / "capture", cameras=3, frames=30, size=24)
    process = start(capture, tmp_path / "a.tvvc")
    for line in process.stderr:
        if line.startswith("frame 1/"):
            break
    process.send_signal(number)
    _, err = process.communicate(timeout=120)
    assert process.returncode == status, err
    assert "is playable, it holds" in err and "--resume goes on" in err and "Traceback" not in err
    with StreamReader(tmp_path / "a.tvvc") as reader:
        assert 1 <= len(reader.frames) < 30


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_before_the_first_frame_nothing_playable_is_promised(tmp_path: Path, number: signal.Signals) -> None:
    capture = write_capture(tmp_path / "capture", cameras=3, frames=2, size=24)
    process = start(capture, tmp_path / "a.tvvc")
    next(line for line in process.stderr if " frames at " in line)  # what the capture is; then the first fit begins
    process.send_signal(number)
    _, err = process.communicate(timeout=120)
    assert process.returncode == (143 if number == signal.SIGTERM else 130)
    assert "playable" not in err and "interrupted" in err and "Traceback" not in err, err


@pytest.mark.parametrize(("kind", "status"), [(standard.Terminated, 143), (KeyboardInterrupt, 130)])
@pytest.mark.parametrize("module", ["decode", "info"])
def test_the_status_is_that_of_the_signal_in_any_command(folder, monkeypatch, capfd, module, kind, status) -> None:
    def interrupt(*_arguments: object) -> None:
        raise kind

    arguments = {"decode": ["decode", str(folder / "a.tvvc"), "--verify"], "info": ["info", str(folder / "a.tvvc")]}
    monkeypatch.setattr(StreamReader, "__init__", interrupt)
    assert run(arguments[module]) == status
    assert capfd.readouterr().err.strip().startswith("interrupted")


def test_lines_for_what_the_system_refuses() -> None:
    assert standard.system_error_line(OSError(errno.ENOSPC, "No space")) == "stdout: cannot write: No space"
    assert standard.system_error_line(OSError(errno.EACCES, "Denied", "f")) == "f: Denied"
    assert standard.system_error_line(FileNotFoundError(errno.ENOENT, "None")) == "the system refused: None"
    assert not standard.is_output_error(OSError(errno.ENOSPC, "No space", "f"))
    assert not standard.is_output_error(ValueError())
