"""docs/commands.md agrees with the help texts of the commands."""

from __future__ import annotations

import re
from pathlib import Path
from types import ModuleType

import click
import pytest
from places import ROOT, script

from taichi_vvc.cli import COMMANDS, tvvc


@pytest.fixture(scope="module")
def generator() -> ModuleType:
    return script("make_commands")


def test_the_page_is_current(generator) -> None:
    page = generator.PAGE.read_text(encoding="utf-8")
    assert page == generator.reference(), "run python docs/make_commands.py"


@pytest.mark.parametrize("name", COMMANDS)
def test_every_registered_option_is_in_its_section(generator, name: str) -> None:
    command = tvvc.get_command(click.Context(tvvc), name)
    assert command is not None
    page = generator.reference()
    section = page.split(f"\n## tvvc {name}\n")[1].split("\n## ")[0]
    common = page.split("\n## Options of every command\n")[1].split("\n## ")[0]
    for parameter in command.params:
        if isinstance(parameter, click.Option) and not parameter.hidden:
            place = common if parameter.name in generator.COMMON else section
            assert all(f"`{option}`" in place for option in parameter.opts), parameter.name
    rows = [line for line in section.splitlines() if line.startswith("| ")]
    assert all(len(re.findall(r"(?<!\\)\|", row)) == 3 for row in rows), "a cell holds a bar that is not escaped"


@pytest.mark.parametrize(
    "page", [*sorted((ROOT / "docs").rglob("*.md")), ROOT / "README.md"], ids=lambda path: path.name
)
def test_shown_command_lines_use_what_exists(page: Path) -> None:
    """Every ``tvvc ...`` line of a code block names a command, and only options that it has."""
    for block in re.findall(r"```(?:sh|bash)\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL):
        for words in re.findall(r"(?:^|\s|/)tvvc ((?!demo/)[a-z].*)", block):
            words = words.split("#")[0].split("|")[0].split()
            command = tvvc.get_command(click.Context(tvvc), words[0])
            assert command is not None, words[0]
            known = {option for parameter in command.params for option in parameter.opts} | {"--help", "-h"}
            used = {word.split("=")[0] for word in words[1:] if word.startswith("-") and word != "-"}
            assert used <= known, f"tvvc {words[0]}: {used - known}"
