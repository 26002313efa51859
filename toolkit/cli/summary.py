"""`toolkit summary`."""

from __future__ import annotations

import json as json_module
from pathlib import Path
from typing import Annotated

import typer

from toolkit.cli.options import Config, Debug, Json, Overrides, PluginFiles, Synthetic


def summary(
    config: Config,
    overrides: Overrides = None,
    synthetic: Synthetic = False,
    picture: Annotated[Path | None, typer.Option("--picture", help="Draw the architecture into this PNG.", metavar="FILE")] = None,
    json: Json = False,
    plugin: PluginFiles = None,
    debug: Debug = False,
) -> None:
    """Layers of a config's network: shapes, parameters, multiplications, memory and exact receptive fields."""
    from toolkit.summary import summarise

    found = summarise(config, overrides or (), synthetic=synthetic, plugin_files=plugin or ())
    print(json_module.dumps(found.as_json()) if json else found)
    if picture is not None:
        found.save_picture(picture)
        if not json:
            print(f"picture: {picture}")
