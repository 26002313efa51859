"""Arguments and options that several subcommands share."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

Config = Annotated[str, typer.Argument(help="A config file (.yaml).", metavar="CONFIG")]
Overrides = Annotated[list[str] | None, typer.Argument(help="Options laid over the file, such as fit.batch_size=64.", metavar="[a.b=v]...")]
RunFolder = Annotated[Path, typer.Argument(help="A run folder, or `latest` beside it.", metavar="DIR")]
Synthetic = Annotated[bool, typer.Option("--synthetic", help="Use the built-in data of the task and a budget of minutes.")]
PluginFiles = Annotated[list[Path] | None, typer.Option("--plugin", help="Load a one-file plugin.", metavar="FILE")]
Debug = Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def debug_wanted() -> bool:
    """Whether --debug was given; read from the command line, since an error may come before options are parsed."""
    return "--debug" in sys.argv
