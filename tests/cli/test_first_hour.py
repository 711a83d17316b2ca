"""The commands in README and quickstart, on a typical capture: no held-out cameras, no masks, few frames."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import captures
import pytest
from commands import tiny_preset
from places import ROOT

from taichi_vvc.cli import run

# Replacements that make the commands fast enough for a test.
QUICKLY = {"--preset fast": "--preset tiny", "--size 640x480": "--size 32x24"}


@pytest.fixture(scope="module", autouse=True)
def preset() -> Iterator[None]:
    with tiny_preset():
        yield


def shown_commands(page: Path) -> list[str]:
    """The lines with a capture or its file in the page's blocks of commands, without the player."""
    blocks = re.findall(r"```sh\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)
    lines = [line for block in blocks for line in block.splitlines() if line.startswith("tvvc ")]
    return [line for line in lines if re.search(r"capture/|out\.tvvc", line) and not line.startswith("tvvc view")]


@pytest.mark.parametrize("page", ["README.md", "docs/quickstart.md"])
def test_the_pages_own_commands_work(page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd) -> None:
    folder = tmp_path / "capture"
    captures.write_capture(folder, 7, 3, (40, 32), None, test_cameras=0, fps=None, bounds=False)
    monkeypatch.chdir(tmp_path)
    # The page of a file comes first in the README, before there is one.
    lines = sorted(shown_commands(ROOT / page), key=lambda line: line.split()[1] == "web")
    assert [line.split()[1] for line in lines if line.split()[1] != "inspect"][:3] == ["encode", "eval", "render"]
    for line in lines:
        command = line.split(" 2> ")[0]
        for slow, quick in QUICKLY.items():
            command = command.replace(slow, quick)
        # The last block of the quickstart writes the same file again.
        again = ["-y"] if "--progress" in command else []
        backend = ["--backend", "cpu"] if command.split()[1] not in ("inspect", "info") else []
        preset = ["--preset", "tiny"] if command.split()[1] == "encode" and "--preset" not in command else []
        assert run([*command.split()[1:], *backend, *preset, *again]) == 0, (line, capfd.readouterr().err)
    out = capfd.readouterr().out
    assert "3 frames, 7 cameras (fitted), " in out
