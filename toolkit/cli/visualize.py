"""`toolkit visualize`."""

from __future__ import annotations

import json as json_module
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from toolkit.cli.options import Debug, Json, PluginFiles, Synthetic


def visualize(
    source: Annotated[str, typer.Argument(help="A run folder, or a config file (.yaml), whose network is not trained yet.", metavar="DIR")],
    words: Annotated[
        list[str] | None, typer.Argument(help="Pictures; for a config options laid over it, a.b=v.", metavar="[PICTURE]...")
    ] = None,
    layer: Annotated[str | None, typer.Option("--layer", help="Layer of the feature maps and of Grad-CAM.", metavar="NAME")] = None,
    out: Annotated[
        Path | None, typer.Option("--out", help="Where pictures go (default: DIR/inside; runs/inside/<config>).", metavar="DIR")
    ] = None,
    synthetic: Synthetic = False,
    json: Json = False,
    plugin: PluginFiles = None,
    debug: Debug = False,
) -> None:
    """Draw filters, feature maps, saliency, Grad-CAM and the scale of signals and gradients of every layer.

    Of a config only the scales, as the network's first step meets them.
    """
    from toolkit.errors import ConfigError
    from toolkit.reporting.network_pictures import scale_table
    from toolkit.visualize import visualize as look
    from toolkit.visualize import visualize_untrained

    if Path(source).suffix in (".yaml", ".yml"):
        if layer is not None:
            raise ConfigError("--layer is of no use for a config: feature maps are drawn of a run")
        folder = out or Path("runs") / "inside" / Path(source).stem
        made = visualize_untrained(source, words or (), synthetic=synthetic, out=folder, plugin_files=plugin or ())
    else:
        if synthetic or plugin:
            raise ConfigError("a run folder knows its own data and plugins; leave out --synthetic and --plugin")
        made = look(source, [Path(word) for word in words or ()], layer=layer, out=out)
    if json:
        print(json_module.dumps({"files": [str(file) for file in made.files], "scales": [asdict(scale) for scale in made.scales]}))
        return
    if made.scales:
        print(scale_table(made.scales))
    for file in made.files:
        print(file)
