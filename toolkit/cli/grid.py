"""`toolkit grid`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from toolkit.cli.options import Debug, PluginFiles, Synthetic


def grid(
    file: Annotated[Path, typer.Argument(help="A grid file (.yaml): config, set, axes, folds, seeds, scores.", metavar="GRID")],
    out: Annotated[Path | None, typer.Option("--out", help="The grid's folder (default: runs/grids/<name>).", metavar="DIR")] = None,
    jobs: Annotated[int, typer.Option("--jobs", min=1, help="Cells at the same time, each in its own process.", metavar="N")] = 1,
    synthetic: Synthetic = False,
    plugin: PluginFiles = None,
    debug: Debug = False,
) -> None:
    """Run every combination of a grid that is not finished yet, and write one table; ends with the code of the first that failed."""
    from toolkit.studies.grid import run_grid

    result = run_grid(file, out=out, jobs=jobs, synthetic=synthetic, plugin_files=plugin or ())
    _, markdown, html = result.table
    print(markdown.read_text(encoding="utf-8"), end="")
    print(f"table: {html}")
    if result.failures:
        total = result.finished + len(result.failures)
        print(f"error: {len(result.failures)} of {total} cells failed, see the table; the same command tries them again", file=sys.stderr)
        raise typer.Exit(result.exit_code)
