"""`toolkit compare`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from toolkit.cli.options import Debug


def compare(
    folders: Annotated[list[Path], typer.Argument(help="Run folders, or `latest` beside them.", metavar="RUN...")],
    out: Annotated[Path, typer.Option("--out", help="Where compare.md, .csv, .html and .png go.", metavar="DIR")] = Path("runs/compare"),
    score: Annotated[
        list[str] | None,
        typer.Option("--score", help="A score to show; may be given again. The first is set against the parameters."),
    ] = None,
    debug: Debug = False,
) -> None:
    """Scores, parameters, times and curves of several runs side by side."""
    from toolkit.studies.compare import compare as write_comparison

    page = write_comparison(folders, out=out, scores=score or ())
    print(page.with_suffix(".md").read_text(encoding="utf-8"), end="")
    print(f"page: {page}")
