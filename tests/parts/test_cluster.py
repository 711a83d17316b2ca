"""Parts coded by workers of a local Ray: the file is the one that this process writes, whatever happens to them."""

from __future__ import annotations

import dataclasses
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import captures
import numpy as np
import pytest
from backends import runtime
from commands import CHILD, TINY_OPTIONS, child
from conftest import child_environment
from PIL import Image
from tiny import ONE_LEVEL

import taichi_vvc as tv
from taichi_vvc.bitstream import StreamReader
from taichi_vvc.capture.sequence import MultiViewSequence
from taichi_vvc.cli import run
from taichi_vvc.encoder.progress import Progress
from taichi_vvc.errors import BackendError, ConfigError, DataError, MaskIgnored, WorkerLost
from taichi_vvc.parts import cluster, worker
from taichi_vvc.parts.cluster import Cluster, Workers
from taichi_vvc.parts.folder import PartsFolder
from taichi_vvc.parts.plan import Part

TINY = tv.EncoderConfig(**{**ONE_LEVEL, "keyint": 2, "part_length": 2, "key_iterations": 12, "inter_iterations": 6})
FRAMES = 8

pytest.importorskip("ray")


@pytest.fixture(scope="module")
def capture(tmp_path_factory: pytest.TempPathFactory) -> MultiViewSequence:
    return tv.open_capture(
        captures.write_capture(tmp_path_factory.mktemp("capture"), cameras=5, frames=FRAMES, size=24)
    )


@pytest.fixture(scope="module")
def alone(capture: MultiViewSequence, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The file that this process writes by itself."""
    runtime()
    path = tmp_path_factory.mktemp("alone") / "a.tvvc"
    list(tv.encode(capture, TINY, path))
    return path.read_bytes()


@pytest.fixture(scope="module")
def ray() -> Iterator[object]:
    """One Ray for all tests, with two cores and some to spare: its start takes seconds."""
    module = cluster._ray()
    module.init(address="local", num_cpus=3, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    yield module
    module.shutdown()


def below(pid: int) -> list[int]:
    """The processes that a process has started, and those that these have, on Linux."""
    parents = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                parents[int(name)] = int(Path(f"/proc/{name}/stat").read_text().rpartition(")")[2].split()[1])
            except OSError:
                continue
    found, todo = [], [pid]
    while todo:
        of = todo.pop()
        todo += [child for child, parent in parents.items() if parent == of]
        found += [child for child, parent in parents.items() if parent == of]
    return found


def working() -> list[int]:
    """The workers that code a part."""
    found = []
    for pid in below(os.getpid()):
        try:
            if Path(f"/proc/{pid}/cmdline").read_bytes().startswith(b"ray::code"):
                found.append(pid)
        except OSError:
            continue
    return found


@pytest.mark.parametrize(
    "workers", [Workers(1, cpus=1), Workers(3, cpus=1), Workers(2, cpus=1, ship=True)], ids=["one", "three", "ship"]
)
def test_the_file_does_not_depend_on_the_workers(
    ray, capture: MultiViewSequence, alone: bytes, tmp_path: Path, workers: Workers, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.tvvc"
    # A path that holds only where this process stands is no path for a worker.
    monkeypatch.chdir(capture.path.parent)
    here = tv.open_capture(capture.path.name)
    frames = list(tv.encode(here, TINY, path, workers=workers))
    assert path.read_bytes() == alone
    assert [frame.index for frame in frames] == list(range(FRAMES))
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="finds workers as Linux names them")
def test_a_killed_worker_costs_its_part_only(ray, capture: MultiViewSequence, alone: bytes, tmp_path: Path) -> None:
    path, killed = tmp_path / "a.tvvc", list[int]()
    reports: list[Progress] = []

    def kill(progress: Progress) -> None:
        reports.append(progress)
        if progress.workers and not killed:
            killed.extend(working()[:1])
            for pid in killed:
                os.kill(pid, signal.SIGKILL)

    # Long enough for a word on how far they are.
    longer, some = dataclasses.replace(TINY, key_iterations=150), tv.open_capture(capture.path, frames=slice(0, 4))
    list(tv.encode(some, longer, tmp_path / "b.tvvc"))
    with pytest.warns(WorkerLost, match=r"part \d \(frames \d to \d\): its worker was lost; another one codes it"):
        list(tv.encode(some, longer, path, workers=Workers(2, cpus=1), progress=kill))
    assert killed and path.read_bytes() == (tmp_path / "b.tvvc").read_bytes()
    # All parts are in one display.
    at_work = [progress for progress in reports if progress.workers]
    coded = [progress.coded for progress in at_work]
    assert {progress.parts[1] for progress in at_work} == {2} and max(coded) <= 4 and coded[-1] > coded[0]


def test_a_worker_that_is_lost_again_and_again_is_told_of(
    ray, capture: MultiViewSequence, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lost(*_arguments: object) -> None:
        os._exit(1)

    monkeypatch.setattr(cluster, "code", lost)
    with pytest.warns(WorkerLost), pytest.raises(BackendError, match=r"part 0 .* each of 2 was lost; look at their"):
        list(tv.encode(capture, TINY, tmp_path / "a.tvvc", workers=Workers(1, cpus=1, retries=1)))
    # What is whole stays; here nothing is, and the same command goes on.
    assert PartsFolder(tmp_path / "a.tvvc").exists()


def test_an_encode_that_is_stopped_goes_on_with_what_is_missing(
    ray, capture: MultiViewSequence, alone: bytes, tmp_path: Path
) -> None:
    path, folder = tmp_path / "a.tvvc", PartsFolder(tmp_path / "a.tvvc")
    frames = tv.encode(capture, TINY, path, workers=Workers(2, cpus=1))
    told = [next(frames).index]
    frames.close()
    assert folder.whole(Part(0, 0, 2)) and not folder.whole(Part(3, 6, 8))
    # The beginning plays.
    with tv.open(path) as stream:
        assert len(stream) == 2
    told += [frame.index for frame in tv.encode(capture, TINY, path, workers=Workers(2, cpus=1), resume=True)]
    assert path.read_bytes() == alone and sorted({*told, 1}) == list(range(FRAMES))


@pytest.mark.skipif(os.name == "nt", reason="Windows sends no SIGTERM")
def test_sigterm_to_the_head_is_status_143_and_what_is_whole_is_kept(tmp_path: Path) -> None:
    path, folder = tmp_path / "a.tvvc", PartsFolder(tmp_path / "a.tvvc")
    pictures = captures.write_capture(tmp_path / "capture", cameras=3, frames=10, size=24)
    encode = ["encode", str(pictures), "-o", str(path), *TINY_OPTIONS, "--part-length", "2"]
    process = subprocess.Popen(
        [sys.executable, "-c", CHILD, *encode, "--workers", "1", "--cpus-per-worker", "1"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env=child_environment(),
    )
    assert process.stderr is not None
    next(line for line in process.stderr if line.startswith("frame 2/"))
    # It then waits for Ray, which puts an exception of its own in place of the one of a handler.
    time.sleep(0.3)
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=120)
    assert process.returncode == 143 and "--resume goes on" in err and "Traceback" not in err, err
    whole = [n for n in range(5) if folder.whole(Part(n, 2 * n, 2 * n + 2))]
    assert whole and whole == list(range(len(whole))) and len(whole) < 5
    done = child([*encode, "--resume"])
    assert done.returncode == 0, done.stderr
    told = [line.split("/")[0] for line in done.stderr.splitlines() if line.startswith("frame ")]
    # Frames of parts that were kept are not coded again.
    assert told == [f"frame {number + 1}" for number in range(2 * len(whole), 10)] and not folder.exists()
    with StreamReader(path) as reader:
        assert reader.complete and len(reader.frames) == 10


def test_pictures_that_a_worker_does_not_see_are_told_of_in_a_line(
    ray, capture: MultiViewSequence, tmp_path: Path
) -> None:
    other = Path(shutil.copytree(capture.path, tmp_path / "capture"))
    picture = min(other.rglob("*.png"))
    sizes = {picture: picture.stat().st_size}
    worker.check_files(sizes, "node7")
    picture.write_bytes(picture.read_bytes() + b"more")
    with pytest.raises(
        DataError, match=r"expected the picture of \d+ bytes .*, found a file of \d+ bytes on node7; share"
    ):
        worker.check_files(sizes, "node7")
    picture.unlink()
    with pytest.raises(DataError, match=r"found nothing there on node7; share the folder .*, or use --ship"):
        worker.check_files(sizes, "node7")


def test_what_goes_wrong_on_a_worker_is_raised_here_as_it_was(
    ray, capture: MultiViewSequence, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = Path(shutil.copytree(capture.path, tmp_path / "capture"))
    broken = min(other.rglob("*0003.png"))
    broken.write_bytes(b"no picture")
    with pytest.raises(DataError, match=r"0003\.png") as caught:
        list(tv.encode(tv.open_capture(other), TINY, tmp_path / "a.tvvc", workers=Workers(2, cpus=1)))
    assert type(caught.value) is DataError and "\n" not in str(caught.value)
    monkeypatch.setattr(cluster, "__version__", "9.9")
    with pytest.raises(ConfigError, match=r"expected taichi_vvc 9\.9, as on the machine that began the encode, found"):
        list(tv.encode(capture, TINY, tmp_path / "b.tvvc", workers=Workers(1, cpus=1)))


def test_warnings_of_workers_are_said_once(ray, capture: MultiViewSequence, tmp_path: Path) -> None:
    other = Path(shutil.copytree(capture.path, tmp_path / "capture"))
    for picture in sorted((other / "images" / "cam01").iterdir()):
        Image.fromarray(np.zeros((24, 24, 4), np.uint8)).save(picture)
    sequence = tv.open_capture(other)
    with pytest.warns(MaskIgnored, match="the mask of cam01 is empty") as caught:
        list(tv.encode(sequence, TINY, tmp_path / "a.tvvc", workers=Workers(2, cpus=1)))
    assert len([w for w in caught if w.category is MaskIgnored]) == 1


def test_a_machine_without_ray_says_how_to_get_it(
    capture: MultiViewSequence, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    assert run(["encode", str(capture.path), "-o", str(tmp_path / "a.tvvc"), "--workers", "2"]) == 2
    errors = [line for line in capfd.readouterr().err.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1 and errors[0].endswith('found none: pip install "taichi_vvc[cluster]"')
    assert list(tmp_path.iterdir()) == []


def test_options_of_workers_are_checked(ray, capture: MultiViewSequence, tmp_path: Path, capfd) -> None:
    for values, words in (
        ({"count": -1}, "0 workers (automatic) or more, found -1"),
        ({"gpus": -1.0}, "0 GPUs per worker or more"),
        ({"cpus": float("inf")}, "0 cores per worker or more"),
        ({"retries": -1}, "0 retries or more"),
    ):
        with pytest.raises(ConfigError) as caught:
            Workers(**values)
        assert words in str(caught.value)
    with pytest.raises(ConfigError, match=r"expected 1 GPUs for each of 2 workers, found 0"):
        Cluster(Workers(2, gpus=1))
    encode = ["encode", str(capture.path), "-o", str(tmp_path / "a.tvvc")]
    for options, words in (
        (["--ship"], "--ship needs --workers or --cluster"),
        (["--cpus-per-worker", "2"], "--cpus-per-worker needs --workers"),
        (["--part-length", "0"], "expected frames, such as 250, or seconds, such as 10s"),
        (["--part-length", "x"], "expected frames, such as 250, or seconds, such as 10s"),
        (["--workers", "2", "--preview", str(tmp_path / "p")], "--preview shows what this process fits"),
    ):
        assert run([*encode, *options]) == 2
        assert words in capfd.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_as_many_workers_as_there_are_cores(ray) -> None:
    with Cluster(Workers(0)) as team:
        assert team.count == len(cluster.cores()) and (team.cpus, team.gpus) == (1.0, 0.0)
    with Cluster(Workers(2)) as team:
        assert team.cpus == max(1, len(cluster.cores()) // 2)
    # It was not started there, and goes on.
    assert ray.is_initialized()
