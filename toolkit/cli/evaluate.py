"""`toolkit evaluate`."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from toolkit.cli.options import Debug, Json, RunFolder
from toolkit.cli.show_scores import show_scores


def evaluate(
    folder: RunFolder,
    split: Annotated[Literal["validation", "test"], typer.Option(help="The part of the data to read.")] = "test",
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Score a run's chosen checkpoint again."""
    from toolkit import runs

    scores, undefined = runs.evaluate(folder, split)
    show_scores(scores, undefined, as_json=json)
