"""The command with its subcommands, and how errors become one line and an exit code."""

from __future__ import annotations

import errno
import importlib.metadata
import sys
import tempfile
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer
from typer.core import TyperGroup

from toolkit.cli import (
    bench,
    check,
    compare,
    evaluate,
    export,
    grid,
    inspect_plugins,
    lr_find,
    predict,
    report,
    resume,
    run,
    summary,
    sweep,
    visualize,
)
from toolkit.cli.options import debug_wanted
from toolkit.errors import ConfigError, PluginError, ResourceError, ToolkitError

_UsageError: Any = typer.BadParameter.__base__  # click's, or Typer's own copy of it


class PluginCommands(TyperGroup):
    """The built-in subcommands and those that other distributions add, which are imported only when called."""

    def list_commands(self, ctx: Any) -> list[str]:
        """Every name, the plugins' last."""
        from toolkit.extension.discovery import command_entry_points

        own = super().list_commands(ctx)
        return own + sorted(command_entry_points().keys() - set(own))

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """The command; a plugin's is a stand-in with the name of its distribution, which is all that `toolkit --help` shows of it."""
        own = super().get_command(ctx, cmd_name)
        if own is not None:
            return own
        from toolkit.extension.discovery import command_entry_points

        entry_point = command_entry_points().get(cmd_name)
        if entry_point is None:
            return None
        distribution = entry_point.dist.name if entry_point.dist else "an unknown distribution"
        return _as_command(cmd_name, lambda: None, f"(from {distribution})")

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """The command that is called, a plugin's now imported."""
        name, command, rest = super().resolve_command(ctx, args)
        if name is None or super().get_command(ctx, name) is not None:
            return name, command, rest
        from toolkit.extension.discovery import command_entry_points

        entry_point = command_entry_points()[name]
        try:
            return name, _as_command(name, entry_point.load()), rest
        except Exception as error:
            fail(PluginError(f"command '{name}' ({entry_point.value}) could not be loaded: {type(error).__name__}: {error}"))


def _as_command(name: str, target: Any, help_text: str | None = None) -> Any:
    """A Typer app or a plain function as a command."""
    if isinstance(target, typer.Typer):
        command = typer.main.get_command(target)
    else:
        single = typer.Typer(add_completion=False, rich_markup_mode=None)
        single.command(name, help=help_text)(target)
        command = typer.main.get_command(single)
    command.name = name
    return command


app = typer.Typer(
    name="toolkit",
    cls=PluginCommands,
    help="Train, evaluate and look at classic vision models; every task is a plugin.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version and exit.", is_eager=True, callback=lambda on: _tell_version(on))
    ] = False,
) -> None:
    pass


def _tell_version(wanted: bool) -> None:
    if wanted:
        print(f"vision-toolkit {importlib.metadata.version('vision-toolkit')}")
        raise typer.Exit


app.command("run")(run.run)
app.command("resume")(resume.resume)
app.command("evaluate")(evaluate.evaluate)
app.command("predict")(predict.predict)
app.command("check")(check.check)
app.command("show")(check.show)
app.command("schema")(check.schema)
app.command("list")(inspect_plugins.list_components)
app.command("plugins")(inspect_plugins.plugins)
app.command("report")(report.report)
app.command("summary")(summary.summary)
app.command("visualize")(visualize.visualize)
app.command("export")(export.export)
app.command("bench")(bench.bench)
app.command("grid")(grid.grid)
app.command("compare")(compare.compare)
app.command("lr-find")(lr_find.lr_find)
app.command("sweep")(sweep.sweep)


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command line and end the process with the exit code of the README's table."""
    try:
        code = app(args=list(arguments) if arguments is not None else None, prog_name="toolkit", standalone_mode=False)
        sys.exit(code if isinstance(code, int) else 0)
    except (KeyboardInterrupt, typer.Abort):
        print("interrupted", file=sys.stderr)
        sys.exit(130)
    except _UsageError as error:
        _fail_usage(error)
    except Exception as error:
        fail(error)


def _fail_usage(error: Any) -> NoReturn:
    """One line instead of Typer's three; `toolkit` alone prints the help."""
    text: str = error.format_message()
    if "\n" in text:
        error.show()
    else:
        command = error.ctx.command_path if error.ctx else "toolkit"
        hint = "" if text.endswith("?") else f"; `{command} --help` lists what there is"
        print(f"error: {text.replace('Value error, ', '').rstrip('.')}{hint}", file=sys.stderr)
    sys.exit(ConfigError.exit_code)


def fail(error: Exception) -> NoReturn:
    """Say what went wrong in one line and exit; the traceback is shown only with --debug."""
    known = as_toolkit_error(error)
    if debug_wanted():
        traceback.print_exception(error)
    if known is not None:
        print(f"error: {known}", file=sys.stderr)
        sys.exit(known.exit_code)
    with tempfile.NamedTemporaryFile("w", prefix="toolkit-bug-", suffix=".log", delete=False) as log:
        traceback.print_exception(error, file=log)
    print(
        f"error: this is a bug in the toolkit or a plugin: {type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}; "
        f"the traceback is in {Path(log.name)}; please report it",
        file=sys.stderr,
    )
    sys.exit(ToolkitError.exit_code)


def as_toolkit_error(error: BaseException) -> ToolkitError | None:
    """The error as one a user can act on, or None for a bug. A full disk or memory can show anywhere, so they are known here."""
    if isinstance(error, ToolkitError):
        return error
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError" or "can't allocate memory" in str(error):
        details = str(error).splitlines()[0] if str(error) else "no details"
        return ResourceError(f"out of memory: {details}; lower fit.batch_size, fit.eval_batch_size (256 unless set) or loader.memory_gib")
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return ResourceError(f"the disk is full: {error}; free some space and `toolkit resume` the run folder")
    if isinstance(error, RuntimeError) and "DataLoader worker" in str(error):  # torch raises this wherever the loop happens to be
        return ResourceError("a worker process that loads pictures was killed, probably for want of memory; use fewer loader.workers")
    if isinstance(error, PermissionError):
        return ConfigError(f"no permission: {error}")
    return None
