"""One writer per file at a time, and valid files that stay valid whatever fails."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import streams
from commands import FRAMES, TINY_OPTIONS, encode_tiny, expect_error, json_of, tiny_preset
from conftest import child_environment

from taichi_vvc.bitstream import StreamReader, StreamWriter, locks
from taichi_vvc.cli import run
from taichi_vvc.errors import ConfigError, DataError

HOLD = (
    "import sys, streams; from taichi_vvc.bitstream import StreamWriter\n"
    "writer = StreamWriter.create(sys.argv[1], streams.header(), overwrite=True)\n"
    "writer.add_group(streams.group(0, 0)); writer.add_frame(streams.frame(0, 0, True))\n"
    "print('writing', flush=True); sys.stdin.read()\n"
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "a.tvvc"


@pytest.fixture
def elsewhere(path: Path) -> Iterator[subprocess.Popen]:
    """Another process that is writing the file, one frame being whole."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=child_environment() | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
    )
    assert process.stdout is not None and process.stdout.readline() == "writing\n"
    yield process
    process.kill()
    process.communicate(timeout=60)


def test_a_file_that_another_process_writes_is_left_alone(elsewhere, path: Path) -> None:
    before = path.read_bytes()
    for attempt in (
        lambda: StreamWriter.resume(path, streams.header()),
        lambda: StreamWriter.create(path, streams.header(), overwrite=True),
        lambda: StreamWriter.create(path, streams.header()),
    ):
        with pytest.raises(ConfigError, match=r"another process is writing|expected no such file"):
            attempt()
    assert path.read_bytes() == before and os.listdir(path.parent) == [path.name]
    with StreamReader(path) as reader:
        assert len(reader.frames) == 1
    # A lock ends with its process, however that ends.
    elsewhere.kill()
    elsewhere.wait(timeout=60)
    writer, there = StreamWriter.resume(path, streams.header())
    with writer:
        assert there == 1
        writer.add_frame(streams.frame(1, 0, False))
        writer.finish()


def test_two_writers_of_one_process_exclude_each_other(path: Path) -> None:
    with StreamWriter.create(path, streams.header()) as writer:
        with pytest.raises(ConfigError, match="another process is writing this file"):
            StreamWriter.resume(path, streams.header())
        writer.add_group(streams.group(0, 0))
        writer.add_frame(streams.frame(0, 0, True))
        # Readers come and go meanwhile, and take no lock with them.
        with StreamReader(path) as reader:
            assert len(reader.frames) == 1
        with pytest.raises(ConfigError, match="another process is writing this file"):
            StreamWriter.resume(path, streams.header())
        writer.finish()
    StreamWriter.resume(path, streams.header())[0].close()


@pytest.mark.parametrize("finish", [True, False])
def test_going_on_changes_nothing_until_something_is_appended(path: Path, finish: bool) -> None:
    whole = streams.write(path, frames=4)
    writer, there = StreamWriter.resume(path, streams.header())
    with writer:
        assert there == 4
        if finish:
            assert writer.finish() == 0
    assert path.read_bytes() == whole
    cut = whole[:-5]
    path.write_bytes(cut)
    writer, there = StreamWriter.resume(path, streams.header())
    with writer:
        assert there == 4 and path.read_bytes() == cut
        if finish:
            assert writer.finish() > 0
    assert path.read_bytes() == (whole if finish else cut)


def test_a_new_file_takes_the_place_of_an_old_one_with_its_first_frame(path: Path) -> None:
    old = streams.write(path, frames=4)
    with StreamWriter.create(path, streams.header(seed=1), overwrite=True) as writer:
        writer.add_group(streams.group(0, 0))
        assert path.read_bytes() == old
    assert path.read_bytes() == old and os.listdir(path.parent) == [path.name]
    with StreamWriter.create(path, streams.header(seed=1), overwrite=True) as writer:
        writer.add_group(streams.group(0, 0))
        writer.add_frame(streams.frame(0, 0, True))
        assert os.listdir(path.parent) == [path.name]
        with StreamReader(path) as reader:
            assert len(reader.frames) == 1 and "seed" in reader.header.settings
        with pytest.raises(ConfigError, match="another process"):
            StreamWriter.create(path, streams.header(), overwrite=True)
        writer.finish()


@pytest.mark.skipif(os.name == "nt", reason="Windows does not remove a file that is open")
@pytest.mark.parametrize("with_another", [True, False])
def test_no_success_is_reported_on_a_file_that_is_gone(path: Path, with_another: bool) -> None:
    with StreamWriter.create(path, streams.header()) as writer:
        writer.add_group(streams.group(0, 0))
        writer.add_frame(streams.frame(0, 0, True))
        path.unlink()
        if with_another:
            path.write_bytes(b"another")
        with pytest.raises(DataError, match="removed or replaced"):
            writer.finish()
    assert not with_another or path.read_bytes() == b"another"


def test_a_file_system_without_locks_is_written_to(path: Path, monkeypatch) -> None:
    fcntl = pytest.importorskip("fcntl")

    def refuse(*_arguments: object) -> None:
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(fcntl, "flock", refuse)
    assert len(streams.write(path, frames=2)) == path.stat().st_size
    with path.open("rb") as file:
        assert locks.lock(file) and locks.is_at(file, path) and not locks.is_at(file, path.with_name("b"))


@pytest.fixture(scope="module")
def encoded(tmp_path_factory) -> Iterator[tuple[Path, Path]]:
    with tiny_preset():
        capture, file, _ = encode_tiny(tmp_path_factory.mktemp("coded"))
        yield capture, file


@pytest.fixture
def coded(encoded, tmp_path: Path) -> tuple[Path, Path]:
    return encoded[0], Path(shutil.copy(encoded[1], tmp_path / "a.tvvc"))


def test_resume_with_fewer_frames_leaves_a_complete_file(coded, capfd) -> None:
    capture, file = coded
    before = file.read_bytes()
    arguments = ["encode", capture, "-o", file, *TINY_OPTIONS, "--resume", "--frames", "0:2"]
    expect_error(capfd, arguments, 2, "at most the 2 frames", f"found {FRAMES}")
    assert file.read_bytes() == before
    assert run(["decode", str(file), "--verify"]) == 0
    # As many as there are: nothing to do, and nothing is done.
    assert run(["encode", str(capture), "-o", str(file), *TINY_OPTIONS, "--resume"]) == 0
    assert file.read_bytes() == before


@pytest.mark.parametrize("error", [DataError("no picture"), KeyboardInterrupt()])
@pytest.mark.parametrize("option", ["--resume", "-y"])
def test_what_fails_before_its_first_frame_leaves_a_good_file(coded, error, option, monkeypatch, capfd) -> None:
    capture, file = coded
    some = file.with_name("b.tvvc")
    assert run(["encode", str(capture), "-o", str(some), *TINY_OPTIONS, "--frames", "0:2"]) == 0
    before = some.read_bytes()

    def fail(*_arguments: object) -> None:
        raise error

    monkeypatch.setattr(sys.modules["taichi_vvc.encoder.frames"], "code_frame", fail)
    capfd.readouterr()
    status = run(["encode", str(capture), "-o", str(some), *TINY_OPTIONS, option])
    assert status == (3 if isinstance(error, DataError) else 130)
    assert some.read_bytes() == before and len(os.listdir(some.parent)) == 2
    said = capfd.readouterr().err
    if status == 130:
        assert ("is as it was" in said) == (option == "-y")
    assert json_of(["info", str(some), "--json"])["complete"] is True


@pytest.mark.skipif(os.name == "nt", reason="links and modes as POSIX has them")
def test_a_link_stays_one_and_a_file_as_private_as_it_was(path: Path, tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    real = disk / "real.tvvc"
    path.symlink_to(real)
    # A link to nothing yet, with and without the word that something may be replaced.
    for overwrite in (True, False):
        with StreamWriter.create(path, streams.header(), overwrite=overwrite) as writer:
            writer.finish()
        assert path.is_symlink() and real.is_file()
        real.unlink()
    streams.write(real, frames=4)
    real.chmod(0o600)
    with StreamWriter.create(path, streams.header(seed=1), overwrite=True) as writer:
        writer.add_group(streams.group(0, 0))
        writer.add_frame(streams.frame(0, 0, True))
        writer.finish()
    assert path.is_symlink() and not real.is_symlink() and real.stat().st_mode & 0o777 == 0o600
    with StreamReader(real) as reader:
        assert len(reader.frames) == 1
    assert os.listdir(disk) == [real.name]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
def test_what_is_no_file_is_not_replaced_by_one(path: Path, tmp_path: Path) -> None:
    os.mkfifo(path)
    link = tmp_path / "null.tvvc"
    link.symlink_to(os.devnull)
    for place in (path, link):
        with pytest.raises(ConfigError, match="expected a file, or nothing there, found a device, a pipe or a folder"):
            StreamWriter.create(place, streams.header(), overwrite=True)
    assert path.is_fifo() and link.is_char_device() and sorted(os.listdir(tmp_path)) == [path.name, link.name]
