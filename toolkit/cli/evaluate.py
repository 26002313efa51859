"""`toolkit evaluate`."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from toolkit.cli.options import Debug, Json, Overrides, RunFolder
from toolkit.cli.show_scores import show_scores


def evaluate(
    folder: RunFolder,
    overrides: Overrides = None,
    split: Annotated[Literal["validation", "test"], typer.Option(help="The part of the data to read.")] = "test",
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Score a run's chosen checkpoint again, or on other data (data.root=...)."""
    from toolkit import runs

    scores, undefined = runs.evaluate(folder, split, overrides or ())
    show_scores(scores, undefined, as_json=json)
