"""`toolkit run`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from toolkit.cli.options import Config, Debug, Overrides, PluginFiles, Synthetic
from toolkit.cli.show_scores import show_result


def run(
    config: Config,
    overrides: Overrides = None,
    synthetic: Synthetic = False,
    out: Annotated[
        Path | None, typer.Option("--out", help="The run folder itself (default: runs/<config>/<time>-<id>).", metavar="DIR")
    ] = None,
    plugin: PluginFiles = None,
    debug: Debug = False,
) -> None:
    """Train, evaluate and report one config."""
    from toolkit import runs

    show_result(runs.run(config, overrides or (), synthetic=synthetic, out=out, plugin_files=plugin or ()))
