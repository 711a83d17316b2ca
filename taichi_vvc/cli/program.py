"""The group of subcommands, and the translation of errors to messages and exit codes."""

from __future__ import annotations

import difflib
import sys
import traceback
from importlib import import_module

import click

from taichi_vvc.cli import COMMANDS, INTERRUPTED, wants_json
from taichi_vvc.cli.options import common_options, print_version, settings
from taichi_vvc.cli.standard import abandon_stdout, interrupted_status, is_output_error, system_error_line
from taichi_vvc.cli.text import printable
from taichi_vvc.errors import DataError, TvvcError


class _LazyGroup(click.Group):
    """Imports ``taichi_vvc.cli.<name>`` when the subcommand runs."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS and cmd_name != "help":
            return None
        return import_module(f"taichi_vvc.cli.{cmd_name}").command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in (*COMMANDS, "help") and not args[0].startswith("-"):
            asked = args[0].lower()
            near = [asked] if asked in COMMANDS else difflib.get_close_matches(asked, COMMANDS, n=2, cutoff=0.5)
            meant = f"did you mean {' or '.join(near)}?" if near else f"there are {', '.join(COMMANDS)}"
            raise click.UsageError(f"no command '{args[0]}'; {meant}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        # Descriptions come from the package's table, since each command's own help would require its import.
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.group(cls=_LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=print_version,
    help="Print the versions that matter and exit.",
)
@common_options
def tvvc() -> None:
    """Volumetric video codec: multi-view capture in, one small file out, any view of any frame back.

    \b
    Example:
      tvvc encode capture/ -o out.tvvc
      tvvc render out.tvvc -o orbit.mp4 --path orbit

    tvvc help COMMAND, which is tvvc COMMAND --help, explains each command.
    """


def run_program(arguments: list[str]) -> int:
    """Runs one command line and returns its exit status; never raises."""
    settings.reset()
    # Usage errors, too, are printed as JSON if the command line asks for it; it may not be parsed completely.
    settings.json = wants_json(arguments)
    try:
        result = tvvc.main(args=arguments, prog_name="tvvc", standalone_mode=False)
        sys.stdout.flush()
        return result if isinstance(result, int) else 0
    except SystemExit as stop:
        return stop.code if isinstance(stop.code, int) else 1
    except (KeyboardInterrupt, click.Abort) as error:
        return _say_error(INTERRUPTED, interrupted_status(error), prefix="")
    except BrokenPipeError:
        # The reader of stdout has closed it (`tvvc info F | head -1`), which is no error.
        abandon_stdout()
        return 1
    except click.ClickException as error:
        return _report_usage(error)
    except Exception as error:
        return _report(error, debug=settings.debug or "--debug" in arguments)


def _report_usage(error: click.ClickException) -> int:
    status = error.exit_code if error.exit_code != 1 else 2
    if type(error).__name__ == "NoArgsIsHelpError":
        error.show()
        return 2
    context = getattr(error, "ctx", None)
    hint = f" (see {context.command_path} --help)" if context is not None else ""
    return _say_error(f"{_one_line(error.format_message())}{hint}", status)


def _report(error: Exception, debug: bool) -> int:
    trace = "".join(traceback.format_exception(error)) if debug else None
    if isinstance(error, TvvcError):
        return _say_error(_one_line(str(error)), error.exit_code, trace)
    if isinstance(error, OSError):
        if is_output_error(error):
            abandon_stdout()
        return _say_error(_one_line(system_error_line(error)), DataError.exit_code, trace)
    hint = "" if debug else "; run with --debug for the traceback"
    what = "out of memory" if isinstance(error, MemoryError) else f"{type(error).__name__}: {_one_line(str(error))}"
    return _say_error(f"{what}{hint}", 1, trace)


def _say_error(message: str, status: int, trace: str | None = None, prefix: str = "error: ") -> int:
    """Prints an error as the last line on stderr; returns ``status``."""
    if settings.json:
        from taichi_vvc.cli.progress import emit

        emit("error", text=message, exit_code=status, **({"traceback": trace} if trace else {}))
    else:
        print(f"{trace or ''}{prefix}{message}", file=sys.stderr)
    return status


def _one_line(message: str) -> str:
    return printable(" ".join(message.split()))
