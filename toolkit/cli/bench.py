"""`toolkit bench`."""

from __future__ import annotations

import json as json_module
from typing import Annotated

import typer

from toolkit.cli.options import Config, Debug, Json, Overrides, PluginFiles, Synthetic


def bench(
    config: Config,
    overrides: Overrides = None,
    synthetic: Synthetic = False,
    seconds: Annotated[float, typer.Option(help="How long each loop is timed, per round.")] = 5.0,
    rounds: Annotated[int, typer.Option(help="Rounds; the loops take turns, and the median is quoted.")] = 5,
    phase: Annotated[int, typer.Option(help="Which phase of the fit is timed, counted from 1.")] = 1,
    json: Json = False,
    plugin: PluginFiles = None,
    debug: Debug = False,
) -> None:
    """Images per second of the real training loop beside a bare one, and the trainer's efficiency."""
    from toolkit.bench import bench as measure

    files = plugin or ()
    result = measure(config, overrides or (), synthetic=synthetic, seconds=seconds, rounds=rounds, phase=phase, plugin_files=files)
    print(json_module.dumps(result.as_json()) if json else str(result))
