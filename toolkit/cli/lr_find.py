"""`toolkit lr-find`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from toolkit.cli.options import Debug, Overrides, PluginFiles, Synthetic


def lr_find(
    config: Annotated[Path, typer.Argument(help="A config file (.yaml).", metavar="CONFIG")],
    overrides: Overrides = None,
    low: Annotated[float, typer.Option(help="The learning rate of the first step.")] = 1e-5,
    high: Annotated[float, typer.Option(help="The learning rate of the last step.")] = 1.0,
    steps: Annotated[int, typer.Option(min=10, help="Batches to train on.")] = 200,
    out: Annotated[
        Path | None, typer.Option("--out", help="Folder of the results (default: runs/lr_find/<config>).", metavar="DIR")
    ] = None,
    synthetic: Synthetic = False,
    plugin: PluginFiles = None,
    debug: Debug = False,
) -> None:
    """Find a learning rate by a range test: train while it rises, and see where the loss falls and where it diverges."""
    from toolkit.studies.lr_find import lr_find as find

    test, folder = find(config, overrides or (), low=low, high=high, steps=steps, out=out, synthetic=synthetic, plugin_files=plugin or ())
    if test.suggested is None or test.tenth_of_lowest is None:
        print(f"no suggestion: the loss did not fall between {low:g} and {test.rates[-1]:g}")
    else:
        print(f"suggested      {test.suggested:.2g}  (the loss falls most steeply)")
        print(f"second rule    {test.tenth_of_lowest:.2g}  (a tenth of the rate where it is lowest)")
    print(f"{'diverged at' if test.diverged else 'tried up to'}    {test.rates[-1]:.2g}")
    print(f"picture: {folder / 'lr_find.png'}")
