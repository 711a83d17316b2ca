"""Writes ``docs/commands.md`` from the commands as they are registered: ``python docs/make_commands.py``.

``tests/test_reference.py`` fails while the page differs from what this makes.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import click

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "commands.md"
# Every command takes these; they are described once.
COMMON = ("help", "verbose", "quiet", "progress", "debug")


def reference() -> str:
    """The page as text, ending in a newline."""
    from taichi_vvc.cli import COMMANDS, tvvc

    context = click.Context(tvvc, info_name="tvvc")
    lines = [
        "# Commands",
        "",
        "Generated from the commands themselves by `python docs/make_commands.py`; the same as `tvvc COMMAND --help`.",
        "",
        "| Command | What it does |",
        "|---|---|",
        *(f"| [`tvvc {name}`](#tvvc-{name}) | {text} |" for name, text in COMMANDS.items()),
        "",
        "Results go to stdout, everything else to stderr. Exit codes: 0 done, 1 unexpected, 2 wrong usage, 3 unusable",
        "capture, or an output that cannot be written (a full disk), 4 unusable file, 5 no such backend, 130",
        "interrupted, 143 terminated. [quickstart.md](quickstart.md) describes shell completion and `--progress json`.",
        "",
        "## Options of every command",
        "",
        *_table(option for option in tvvc.params if option.name in COMMON),
        "| `-h`, `--help` | Show this message and exit. |",
        "",
        "`tvvc --version` prints the versions that matter.",
    ]
    for name in COMMANDS:
        command = tvvc.get_command(context, name)
        assert command is not None
        lines += ["", *_section(name, command)]
    return "\n".join(lines) + "\n"


def _section(name: str, command: click.Command) -> Iterator[str]:
    arguments = [_argument(p) for p in command.params if isinstance(p, click.Argument)]
    required = [f"{p.opts[0]} {_value(p)}" for p in command.params if isinstance(p, click.Option) and p.required]
    yield f"## tvvc {name}"
    yield ""
    yield f"`{' '.join(['tvvc', name, *arguments, *required, '[OPTIONS]'])}`"
    yield ""
    # Click keeps a paragraph that begins with \b as it is, and ends the text at \f.
    for paragraph in (command.help or "").split("\f")[0].split("\n\n"):
        if paragraph.lstrip().startswith("\b"):
            yield from ("```", *paragraph.strip().splitlines()[1:], "```")
        else:
            yield _escape(" ".join(paragraph.split()))
        yield ""
    options = [p for p in command.params if isinstance(p, click.Option) and p.name not in COMMON and not p.hidden]
    if options:
        yield from _table(iter(options))
        yield ""
    if command.epilog:
        yield f"Example: `{command.epilog.split(':', 1)[1].strip()}`"


def _table(options: Iterator[click.Parameter]) -> Iterator[str]:
    yield "| Option | |"
    yield "|---|---|"
    for option in options:
        assert isinstance(option, click.Option)
        names = ", ".join(f"`{name}`" for name in sorted([*option.opts, *option.secondary_opts], key=len))
        value = _value(option)
        notes = ["required"] if option.required else []
        if option.show_default and not option.required and not isinstance(option.show_default, str):
            notes.append(f"default `{option.default}`")
        text = " ".join(
            [*([_escape(option.help)] if option.help else []), *([f"({', '.join(notes)})"] if notes else [])]
        )
        cells = (f"{names} `{value}`" if value else names, text)
        yield "| {} | {} |".format(*(cell.replace("|", "\\|") for cell in cells))


def _escape(text: str) -> str:
    """Angle brackets would be HTML."""
    return text.replace("<", "\\<")


def _argument(argument: click.Argument) -> str:
    name = argument.metavar or (argument.name or "").upper()
    name += "..." if argument.nargs != 1 else ""
    return name if argument.required else f"[{name}]"


def _value(option: click.Option) -> str:
    """What follows the option's name; empty for a flag. Click's own text depends on its version."""
    if option.is_flag or option.count:
        return ""
    kind = option.type
    if option.metavar:
        return option.metavar
    if isinstance(kind, click.Choice):
        return "|".join(map(str, kind.choices))
    limits = ""
    if isinstance(kind, (click.IntRange, click.FloatRange)):
        low = "" if kind.min is None else f"{kind.min}{'<' if kind.min_open else '<='}"
        high = "" if kind.max is None else f"{'<' if kind.max_open else '<='}{kind.max}"
        limits = f" {low}x{high}" if low or high else ""
    return (kind.name if any(c.isupper() for c in kind.name) else kind.name.upper()).replace(" RANGE", "") + limits


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    PAGE.write_text(reference(), encoding="utf-8", newline="\n")
