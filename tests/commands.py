"""Runs ``tvvc`` with a preset that fits in about a second, in this process or in one of its own."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from captures import write_capture
from conftest import child_environment
from tiny import ONE_LEVEL

# Commands list the presets when they are first imported: not with the tiny one among them.
from taichi_vvc.cli import bench as _bench  # noqa: F401
from taichi_vvc.cli import run
from taichi_vvc.cli.encode import command as encode_command
from taichi_vvc.config import PRESETS, EncoderConfig

FRAMES, CAMERAS, SIZE = 3, 6, 32
TINY: dict[str, Any] = {**ONE_LEVEL, "key_iterations": 60, "inter_iterations": 30, "keyint": 2}
TINY_OPTIONS = ("--preset", "tiny", "--backend", "cpu")
# A child process that knows the tiny preset; the command line itself has only the real ones.
CHILD = (
    "import sys; from taichi_vvc import config; "
    f"config.PRESETS['tiny'] = config.EncoderConfig(**{TINY!r}); "
    "from taichi_vvc.cli import main; main()"
)


@contextmanager
def tiny_preset() -> Iterator[None]:
    """``--preset tiny`` works in this process meanwhile."""
    (option,) = (option for option in encode_command.params if option.name == "preset")
    before = option.type
    PRESETS["tiny"] = EncoderConfig(**TINY)
    option.type = type(before)([*PRESETS])
    try:
        yield
    finally:
        option.type = before
        del PRESETS["tiny"]


def encode_tiny(folder: Path) -> tuple[Path, Path, Path]:
    """(capture, its complete file, the CSV of its encode), all in ``folder``; within ``tiny_preset()``."""
    capture = write_capture(folder / "capture", cameras=CAMERAS, frames=FRAMES, size=SIZE)
    file, table = folder / "a.tvvc", folder / "a.csv"
    assert run(["encode", str(capture), "-o", str(file), *TINY_OPTIONS, "--csv", str(table)]) == 0
    return capture, file, table


def json_of(arguments: Sequence[str]) -> dict:
    """The JSON object that a command prints, read from a child process."""
    done = child(arguments)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def child(arguments: Sequence[str], **options: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", CHILD, *arguments],
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=300,
        env=child_environment(),
        check=False,
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
