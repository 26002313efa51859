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
    json: Json = False,
    plugin: PluginFiles = None,
    debug: Debug = False,
) -> None:
    """Images per second of the real training loop beside a bare one, and the trainer's efficiency."""
    from toolkit.bench import bench as measure

    result = measure(config, overrides or (), synthetic=synthetic, seconds=seconds, rounds=rounds, plugin_files=plugin or ())
    print(json_module.dumps(result.as_json()) if json else str(result))
