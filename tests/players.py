"""A player in a process of its own, for tests to connect to."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from conftest import child_environment


def free_port() -> int:
    """A port that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextmanager
def running_player(file: Path, *options: str) -> Iterator[str]:
    """The address of ``tvvc view file``; at the end it has to end on Ctrl-C, having said nothing of its own accord.

    ``options``: by default those with which the server draws.
    """
    if not options:
        pytest.importorskip("viser", reason='no package viser: pip install "taichi_vvc[view]"')
        options = "--render", "server", "--backend", "cpu"
    command = [sys.executable, "-m", "taichi_vvc", "view", str(file), *options, "--port", str(free_port())]
    # A group of its own on Windows, where Ctrl-C would reach the tests too.
    flags = {"creationflags": subprocess.CREATE_NEW_PROCESS_GROUP} if sys.platform == "win32" else {}
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=child_environment(), **flags
    )
    try:
        url = process.stdout.readline().strip()
        assert url.startswith("http://127.0.0.1:"), process.stderr.read()
        yield url
        assert process.poll() is None, process.stderr.read()
        if sys.platform != "win32":
            process.send_signal(signal.SIGINT)
            out, err = process.communicate(timeout=60)
            assert process.returncode == 0 and out == "", err
            assert "Traceback" not in err and "Warning" not in err and err.count("\n") == 1, err
    finally:
        process.kill()
        process.communicate()
