"""One stream in several threads, and forked children of a process that has rendered."""

from __future__ import annotations

import os
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from conftest import child_environment
from places import DATA

import taichi_vvc as tv
from taichi_vvc.bitstream import chunks
from taichi_vvc.errors import StreamError

GOLDEN = DATA / "golden_v3.tvvc"
THREADS, READS = 4, 40


def in_threads(work) -> list[BaseException]:
    """Runs ``work(number)`` in four threads at once and returns what they raised."""
    errors: list[BaseException] = []

    def run(number: int) -> None:
        try:
            work(number)
        except BaseException as error:
            errors.append(error)

    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        threads = [threading.Thread(target=run, args=(number,)) for number in range(THREADS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(before)
    return errors


@pytest.mark.parametrize("positioned", [True, False])
def test_one_stream_in_four_threads_gives_what_one_thread_gets(positioned: bool, monkeypatch) -> None:
    if not positioned:
        monkeypatch.delattr(os, "pread", raising=False)
    with tv.open(GOLDEN) as stream:
        expected = [(stream.symbols(i), stream.parameters(i)) for i in range(len(stream))]
    with tv.open(GOLDEN) as shared:

        def read(number: int) -> None:
            order = np.random.default_rng(number).integers(0, len(shared), READS)
            for index in order.tolist():
                frame, parameters = shared.symbols(index), shared.parameters(index)
                for part, wanted in zip(frame.symbols, expected[index][0].symbols, strict=True):
                    np.testing.assert_array_equal(part, wanted)
                for part, wanted in zip(parameters.mlp, expected[index][1].mlp, strict=True):
                    np.testing.assert_array_equal(part, wanted)
                assert shared._reader.read_frame(index).number == index

        assert in_threads(read) == []


def test_a_read_that_the_system_refuses_is_an_error_of_the_stream(monkeypatch) -> None:
    def refuse(*_arguments: object) -> bytes:
        raise OSError(5, "Input/output error")

    with tv.open(GOLDEN) as stream:
        monkeypatch.setattr(os, "pread", refuse, raising=False)
        with pytest.raises(StreamError, match=r"cannot read at byte .*Input/output error"):
            stream.symbols(0)


def test_a_file_that_shrinks_while_it_is_open_is_damaged(tmp_path: Path) -> None:
    path = tmp_path / "a.tvvc"
    path.write_bytes(GOLDEN.read_bytes())
    with tv.open(path) as stream:
        os.truncate(path, stream._reader.frames[1].offset + 3)
        assert chunks.peek(stream._reader._file, stream._reader.frames[1].offset, stream._reader.size) is None
        with pytest.raises(StreamError):
            stream.symbols(1)


FORK = """
import multiprocessing, os, sys
import taichi_vvc as tv
from taichi_vvc.play.playback import Playback
from taichi_vvc.runtime import start

def attempt(work):
    try:
        work()
    except tv.errors.BackendError as error:
        return str(error)
    return "done"

def in_child(work):
    reader, writer = os.pipe()
    if os.fork() == 0:
        os.write(writer, attempt(work).encode())
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as said:
        print(said.read(), flush=True)
    os.wait()

with tv.open(sys.argv[1]) as stream:
    camera = stream.cameras[0].resized(8, 8)
    # Before anything is rendered a child may do what it likes.
    in_child(lambda: (start("cpu"), tv.render(stream[0], camera)))
    start("cpu")
    field = stream[0]
    tv.render(field, camera)
    in_child(lambda: tv.render(field, camera))
    in_child(lambda: start("cpu"))
    in_child(lambda: stream[1])
    with Playback(sys.argv[1]) as playback:
        playback.get(3)
        in_child(lambda: playback.get(1))
    in_child(lambda: stream.symbols(2))
    tv.render(field, camera)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_rendering_in_a_forked_process_is_refused_in_one_line(python) -> None:
    done = python("-c", FORK, GOLDEN, timeout=90, env=child_environment())
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert len(lines) == 6
    assert lines[0] == lines[5] == "done"
    assert all("forked" in line and "spawn" in line for line in lines[1:4])
    assert "forked" in lines[4]


FORK_WHILE_DECODING = """
import os, signal, sys, threading
import taichi_vvc as tv

with tv.open(sys.argv[1]) as stream:
    expected = [stream.symbols(i).occupancy.sum() for i in range(len(stream))]
    inside, leave, read = threading.Event(), threading.Event(), stream._reader.read_frame

    def held(number):
        inside.set()
        leave.wait()
        return read(number)

    stream._reader.read_frame = held
    thread = threading.Thread(target=stream.symbols, args=(0,))
    thread.start()
    inside.wait()
    child = os.fork()
    stream._reader.read_frame = read
    if child == 0:
        signal.alarm(30)
        os._exit([stream.symbols(i).occupancy.sum() for i in range(len(stream))] != expected)
    leave.set()
    thread.join()
    print(os.waitpid(child, 0)[1])
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_a_process_that_is_forked_while_a_thread_decodes_can_decode(python) -> None:
    done = python("-c", FORK_WHILE_DECODING, GOLDEN, timeout=90, env=child_environment())
    assert done.returncode == 0 and done.stdout == "0\n", done.stderr


FORK_WHILE_PLAYING = """
import os, signal, sys, threading
from taichi_vvc.play.playback import Playback

playback = Playback(sys.argv[1])
playback.get(0)
held, leave = threading.Event(), threading.Event()

def hold():
    with playback._change:
        held.set()
        leave.wait()

thread = threading.Thread(target=hold)
thread.start()
held.wait()
child = os.fork()
if child == 0:
    signal.alarm(30)
    playback.close()
    os._exit(0)
leave.set()
thread.join()
playback.close()
print(os.waitpid(child, 0)[1])
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_a_forked_process_can_close_what_its_parent_plays(python) -> None:
    done = python("-c", FORK_WHILE_PLAYING, GOLDEN, timeout=90, env=child_environment())
    assert done.returncode == 0 and done.stdout == "0\n", done.stderr
