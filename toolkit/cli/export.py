"""`toolkit export`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from toolkit.cli.options import Debug, RunFolder

Format = Literal["onnx", "safetensors", "keras"]


def export(
    folder: RunFolder,
    format: Annotated[Format, typer.Option("--format", metavar="FORMAT", help="onnx, safetensors or keras.")],
    out: Annotated[Path | None, typer.Option("--out", help="The file (default: DIR/export/model.FORMAT).", metavar="FILE")] = None,
    debug: Debug = False,
) -> None:
    """Write a run's model for other programs, checked against the original, with JSON beside it that says how to use it."""
    from toolkit.exporting.export import export as write

    for file in write(folder, format, out):
        print(file)
