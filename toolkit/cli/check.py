"""`toolkit check`, `toolkit show` and `toolkit schema`: configs without running them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from toolkit.cli.options import Config, Debug, Overrides, PluginFiles, Synthetic


def check(
    arguments: Annotated[
        list[str],
        typer.Argument(
            help="Config files (.yaml), with and without their synthetic data; or with options laid over each of them.",
            metavar="CONFIG... [a.b=v]...",
        ),
    ],
    plugin: PluginFiles = None,
    debug: Debug = False,
) -> None:
    """Check configs and print every problem with its place and its fix."""
    from toolkit.config import load_config
    from toolkit.errors import ConfigError
    from toolkit.extension.discovery import load_plugins

    overrides = [argument for argument in arguments if "=" in argument and not Path(argument).exists()]
    configs = [argument for argument in arguments if argument not in overrides]
    if not configs:
        raise ConfigError("name a config file to check before the options laid over it")
    registry = load_plugins(plugin or ()).registry
    problems = []
    for config in configs:
        for synthetic in (False,) if overrides else (False, True):  # options are meant for the run that they are given to
            try:
                load_config(config, overrides=overrides, synthetic=synthetic, registry=registry)
            except ConfigError as error:
                problems.append(str(error))
                break
        else:
            print(f"{config}: ok")
    if problems:
        raise ConfigError("\n".join(problems))


def show(
    config: Config,
    overrides: Overrides = None,
    synthetic: Synthetic = False,
    plugin: PluginFiles = None,
    debug: Debug = False,
) -> None:
    """Print a config with everything filled in."""
    from toolkit.config import dump_config, load_config
    from toolkit.extension.discovery import load_plugins

    resolved, _ = load_config(config, overrides=overrides or (), synthetic=synthetic, registry=load_plugins(plugin or ()).registry)
    print(dump_config(resolved), end="")


def schema(plugin: PluginFiles = None, debug: Debug = False) -> None:
    """Print the JSON Schema of configs, for editors."""
    from toolkit.config import json_schema
    from toolkit.extension.discovery import load_plugins

    print(json.dumps(json_schema(load_plugins(plugin or ()).registry), indent=1))
