"""Scores on the terminal."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from toolkit.runs import RunResult


def show_result(result: RunResult) -> None:
    """The main scores of a finished run and where its report lies."""
    if not _is_main_process():
        return
    scores = {name: value for name, value in result.scores.items() if _is_main_score(name)}
    undefined = {name: reason for name, reason in result.undefined.items() if _is_main_score(name)}
    show_scores(scores, undefined)
    print(f"report: {result.report}")


def show_scores(scores: Mapping[str, float], undefined: Mapping[str, str], *, as_json: bool = False) -> None:
    """One line per score and per reason that leaves scores undefined; with `as_json` one JSON object."""
    if not _is_main_process():
        return
    if as_json:
        print(json.dumps({"scores": dict(scores), "undefined": dict(undefined)}))
        return
    width = max(map(len, scores), default=0)
    for name, value in scores.items():
        print(f"{name:<{width}}  {value:,}" if isinstance(value, int) else f"{name:<{width}}  {value:.4f}")
    for reason in dict.fromkeys(undefined.values()):
        names = [name for name, its_reason in undefined.items() if its_reason == reason]
        print(f"undefined, since {reason}: {', '.join(names)}")


def _is_main_score(name: str) -> bool:
    """Scores of the test part (or of validation) as a whole, not of one class: test/accuracy, not test/accuracy/cat."""
    return name.count("/") <= 1


def _is_main_process() -> bool:
    return os.environ.get("RANK", "0") == "0"
