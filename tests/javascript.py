"""Runs JavaScript in Node, for the tests of the decoder in ``taichi_vvc/web/``."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from places import ROOT

WEB = ROOT / "taichi_vvc" / "web"
DECODER = WEB / "decoder"
NODE = shutil.which("node")

needs_node = pytest.mark.skipif(NODE is None, reason="Node.js is not installed; JavaScript cannot run")


def node(*arguments: object, timeout: float = 120, stdin: bytes | None = None) -> subprocess.CompletedProcess[str]:
    """Runs ``node *arguments`` and returns its status and output as text."""
    assert NODE is not None
    return subprocess.run(
        [NODE, *map(str, arguments)],
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=timeout,
        check=False,
        cwd=ROOT,
    )


def evaluate(code: str, *arguments: object, timeout: float = 120) -> Any:
    """What a module of JavaScript tells: it has ``arguments`` (JSON) and calls ``tell(value)`` once.

    ``WEB/`` in its imports stands for the folder ``taichi_vvc/web/``.
    """
    head = f"const given = {json.dumps(arguments, default=str)}; const tell = (v) => console.log(JSON.stringify(v));\n"
    text = code.replace("WEB/", WEB.as_uri() + "/")
    done = node("--input-type=module", "-e", head + text, timeout=timeout)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


def hashes(path: Path) -> str:
    """What ``tvvc-hash`` prints of a file: both lines."""
    done = node(WEB / "bin" / "tvvc-hash.js", path)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout
