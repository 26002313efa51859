"""The scores of results.json, ordered for reading: main scores first, those of parts gathered below."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

SPLIT_WORDS = {"test": "test", "val": "validation", "train": "training"}
NO_NUMBER = "\N{EN DASH}"


@dataclass(frozen=True)
class Cell:
    """One number as text; `exact` keeps every digit, `bar` is its share of the longest bar in percent."""

    text: str
    exact: str = ""
    bar: float = 0.0


@dataclass(frozen=True)
class ScoreRow:
    """One metric or part, with a cell per split."""

    name: str
    cells: tuple[Cell, ...]


@dataclass(frozen=True)
class ScoreGroup:
    """Scores that belong together: accuracy/<class> of every class, stage1/<metric> of a reading `stage1`, or recall@<t>/<part>.

    spread: "lowest 0.81 (cat), median 0.93, highest 0.99 (ship)", of the first split; empty for few rows.
    splits: words for the columns: the splits that have a number, or the parameters of a metric that has several.
    bars: whether the rows are comparable, so that bars make sense.
    """

    name: str
    splits: tuple[str, ...]
    rows: tuple[ScoreRow, ...]
    spread: str
    bars: bool


@dataclass(frozen=True)
class ScoreTables:
    """All scores. splits: words for the columns, those present, test first."""

    splits: tuple[str, ...]
    main: tuple[ScoreRow, ...]
    groups: tuple[ScoreGroup, ...]


def score_tables(scores: Mapping[str, float], undefined: Iterable[str], first: str | None) -> ScoreTables:
    """Sort `split[/reading]/metric[@parameter][/part]` into tables.

    Args:
        scores: by full name.
        undefined: full names that have a reason instead of a number; their cells show a dash.
        first: the metric (without the split) that stands on top, normally the one that chose the epoch; the loss stands last even so, since
            nobody trains a model for its loss.
    """
    full_names = dict.fromkeys([*scores, *undefined])
    ordered = sorted(full_names, key=lambda name: not name.startswith("test/"))  # metrics in the order of the test scores
    names = dict.fromkeys(name.partition("/")[2] for name in ordered)
    splits = [split for split in SPLIT_WORDS if any(name.startswith(f"{split}/") for name in full_names)]
    main = sorted((name for name in names if "/" not in name), key=lambda name: (name == "loss", name != first))
    grouped: dict[str, list[tuple[str, str]]] = {}
    for name in names:
        if "/" in name:
            group, _, label = name.rpartition("/")
            grouped.setdefault(group, []).append((name, label))
    by_parameter: dict[str, list[str]] = {}
    for title in grouped:
        by_parameter.setdefault(title.partition("@")[0], []).append(title)
    groups = []
    for name, titles in by_parameter.items():
        if len(titles) > 1 and all("@" in title for title in titles):
            members = {title: grouped[title] for title in titles}
            groups += [_matrix(name, members, scores, split) for split in splits if _has_number(members, scores, split)]
        else:
            groups += [_group(title, grouped[title], scores, splits, is_reading=grouped[title][0][1] in main) for title in titles]
    return ScoreTables(
        tuple(SPLIT_WORDS[split] for split in splits),
        tuple(ScoreRow(name, _cells(name, scores, splits, None)) for name in main),
        tuple(groups),
    )


def number(value: float) -> str:
    """A number short enough to read.

    >>> number(0.98765), number(12.3456), number(1234567), number(0.0000321), number(7)
    ('0.9877', '12.35', '1,234,567', '3.2e-05', '7')
    """
    if isinstance(value, int):
        return f"{value:,}"
    size = abs(value)
    if size == 0 or 0.001 <= size < 10:
        return f"{value:.4f}"
    if size < 0.001:
        return f"{value:.1e}"
    return f"{value:.2f}" if size < 1000 else f"{value:,.0f}"


def cell(value: Any) -> Cell:
    """The cell of a number, or a dash."""
    return Cell(number(value), repr(value)) if isinstance(value, int | float) else Cell(NO_NUMBER)


def _group(
    title: str, members: Sequence[tuple[str, str]], scores: Mapping[str, float], all_splits: Sequence[str], *, is_reading: bool
) -> ScoreGroup:
    splits = [split for split in all_splits if any(f"{split}/{name}" in scores for name, _ in members)] or all_splits[:1]
    numbers = {label: scores[f"{splits[0]}/{name}"] for name, label in members if f"{splits[0]}/{name}" in scores}
    comparable = not is_reading and min(numbers.values(), default=-1) >= 0
    longest = max(1.0, *numbers.values()) if comparable else None
    rows = tuple(ScoreRow(label, _cells(name, scores, splits, longest)) for name, label in members)
    words = tuple(SPLIT_WORDS[split] for split in splits)
    return ScoreGroup(title, words, rows, "" if is_reading else _spread(numbers), comparable)


def _matrix(metric: str, groups: Mapping[str, Sequence[tuple[str, str]]], scores: Mapping[str, float], split: str) -> ScoreGroup:
    """A metric with several parameters, metric@0.1/<part>, metric@0.2/<part>, ...: a row per part, a column per parameter."""
    labels = dict.fromkeys(label for members in groups.values() for _, label in members)
    rows = tuple(ScoreRow(label, tuple(cell(scores.get(f"{split}/{title}/{label}")) for title in groups)) for label in labels)
    columns = tuple(f"@{title.partition('@')[2]}" for title in groups)
    return ScoreGroup(f"{metric}, {SPLIT_WORDS[split]}", columns, rows, "", bars=False)


def _has_number(groups: Mapping[str, Sequence[tuple[str, str]]], scores: Mapping[str, float], split: str) -> bool:
    return any(f"{split}/{name}" in scores for members in groups.values() for name, _ in members)


def _cells(name: str, scores: Mapping[str, float], splits: Sequence[str], longest: float | None) -> tuple[Cell, ...]:
    cells = [cell(scores.get(f"{split}/{name}")) for split in splits]
    value = scores.get(f"{splits[0]}/{name}")
    if longest is not None and value is not None:
        cells[0] = Cell(cells[0].text, cells[0].exact, round(100 * value / longest, 1))
    return tuple(cells)


def _spread(numbers: Mapping[str, float]) -> str:
    if len(numbers) < 3:
        return ""
    lowest, highest = min(numbers, key=numbers.__getitem__), max(numbers, key=numbers.__getitem__)
    median = number(statistics.median(numbers.values()))
    return f"lowest {number(numbers[lowest])} ({lowest}), median {median}, highest {number(numbers[highest])} ({highest})"
