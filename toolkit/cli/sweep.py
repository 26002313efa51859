"""`toolkit sweep`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from toolkit.cli.options import Debug, PluginFiles, Synthetic


def sweep(
    file: Annotated[Path, typer.Argument(help="A sweep file (.yaml): config, set, space, trials, metric, direction.", metavar="SWEEP")],
    out: Annotated[Path | None, typer.Option("--out", help="The sweep's folder (default: runs/sweeps/<name>).", metavar="DIR")] = None,
    storage: Annotated[
        str | None, typer.Option(help="An Optuna storage that several machines share (default: study.db in the folder).", metavar="URL")
    ] = None,
    synthetic: Synthetic = False,
    plugin: PluginFiles = None,
    debug: Debug = False,
) -> None:
    """Search for good options with Optuna; needs the extra `sweep`."""
    from toolkit.studies.sweep import run_sweep

    result = run_sweep(file, out=out, storage=storage, synthetic=synthetic, plugin_files=plugin or ())
    print(result.page.with_suffix(".md").read_text(encoding="utf-8"), end="")
    print(f"page: {result.page}")
    if result.best:
        print(f"best, with its test scores: {result.best}")
