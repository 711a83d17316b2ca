"""``tvvc help``: the same as ``--help``, as a command."""

from __future__ import annotations

import click
from click.shell_completion import CompletionItem

from taichi_vvc.cli import COMMANDS
from taichi_vvc.cli.options import common_options


class CommandName(click.ParamType):
    """The option type of a command's name. Unknown names are not refused here: the program suggests similar ones."""

    name = "command"

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        """The commands that begin with ``incomplete``."""
        return [CompletionItem(name, help=text) for name, text in COMMANDS.items() if name.startswith(incomplete)]


@click.command(hidden=True, epilog="Example:  tvvc help encode")
@click.argument("name", metavar="[COMMAND]", type=CommandName(), required=False)
@common_options
@click.pass_context
def command(ctx: click.Context, name: str | None) -> None:
    """Show the help of COMMAND, or of the program."""
    program = ctx.parent
    assert program is not None and isinstance(program.command, click.Group)
    if name is None:
        click.echo(program.get_help())
        return
    found = program.command.resolve_command(program, [name])[1]
    assert found is not None
    click.echo(found.get_help(click.Context(found, info_name=name, parent=program)))
