"""`toolkit predict`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from toolkit.cli.options import Debug, RunFolder


def predict(
    folder: RunFolder,
    images: Annotated[list[Path], typer.Argument(help="Pictures, or folders of them.", metavar="IMAGE...")],
    out: Annotated[
        Path | None, typer.Option("--out", help="Where the drawn pictures go (default: DIR/predictions).", metavar="DIR")
    ] = None,
    debug: Debug = False,
) -> None:
    """Print one JSON line per picture and draw each prediction into a PNG."""
    from toolkit.predictor import load

    for answer in load(folder).predict_files(images, out or folder / "predictions"):
        print(json.dumps(answer))
