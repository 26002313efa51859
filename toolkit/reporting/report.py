"""`write_report`: a run folder told on one page, in one HTML file that needs nothing beside it."""

from __future__ import annotations

import base64
import json
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import jinja2
import yaml

from toolkit.errors import DataError
from toolkit.reporting.facts import duration, fact_tables, words
from toolkit.reporting.files import read_jsonl, write_text_atomic
from toolkit.reporting.run_dir import RunDir
from toolkit.reporting.scores import SPLIT_WORDS, ScoreTables, cell, score_tables

_CURVES = "curves.png"
_LOG_LINES = 200
_WIDE, _TALL = 2.0, 1.5
"""From these ratios of its sides on a picture has a row of its own, or its labels would be too small."""


def write_report(run_dir: RunDir) -> Path:
    """Read everything in the run folder and write its `report.html`.

    A folder without results.json (an interrupted run) gives a report that says so; other missing files leave out their part.

    Returns: the report's path.
    Raises: DataError naming a file that is damaged; ResourceError if the report cannot be written.
    """
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    template = environment.from_string(files("toolkit.reporting").joinpath("report.html.j2").read_text(encoding="utf-8"))
    page = _page(run_dir, _read(run_dir))
    write_text_atomic(run_dir.report_html, template.render(page=page))
    return run_dir.report_html


@dataclass(frozen=True)
class _Files:
    """The run folder as it was read; what is missing is empty."""

    config_text: str
    config: Mapping[str, Any]
    environment: Mapping[str, Any]
    metrics: Sequence[Mapping[str, Any]]
    timings: Sequence[Mapping[str, Any]]
    results: Mapping[str, Any]
    plots: Sequence[Path]
    log: Sequence[str]


@dataclass(frozen=True)
class _Card:
    """A headline: a number with a word above and a remark below."""

    label: str
    value: str
    remark: str
    exact: str = ""


@dataclass(frozen=True)
class _Picture:
    """A plot as a data URL; a wide or tall one gets a row of its own."""

    caption: str
    url: str
    wide: bool


@dataclass(frozen=True)
class _Page:
    """Everything the template shows, as text; empty parts are left out."""

    title: str
    run_name: str
    subtitle: str
    synthetic: bool
    notice: str
    caveats: Sequence[str]
    cards: Sequence[_Card]
    tables: ScoreTables
    undefined: Mapping[str, Sequence[str]]
    choice: str
    curves: _Picture | None
    pictures: Sequence[_Picture]
    facts: Mapping[str, Mapping[str, str]]
    commands: Mapping[str, str]
    config_text: str
    log: str


def _page(run_dir: RunDir, read: _Files) -> _Page:
    results = read.results
    select = _mapping(results.get("select"))
    finished = bool(results)
    last_row = read.metrics[-1] if read.metrics else {}
    scores = _mapping(results.get("scores")) if finished else {name: value for name, value in last_row.items() if "/" in name}
    undefined = _mapping(results.get("undefined"))
    chosen_metric = str(select.get("metric", "")).partition("/")[2] or None
    tables = score_tables(scores, undefined, chosen_metric)
    pictures = [_picture(path) for path in read.plots if not _is_curve(path)]
    curves = next((_picture(path) for path in read.plots if path.name == _CURVES), None)
    return _Page(
        title=str(results.get("config") or _name_of(run_dir.path)),
        run_name=_run_name(run_dir.path),
        subtitle=_subtitle(read),
        synthetic=bool(results.get("synthetic", read.environment.get("synthetic"))),
        notice="" if finished else _notice(read),
        caveats=[str(caveat) for caveat in results.get("caveats", ())],
        cards=_cards(tables, read),
        tables=tables,
        undefined=_by_reason(undefined),
        choice=_choice(select, len(read.metrics)) if finished else "",
        curves=curves,
        pictures=sorted(pictures, key=lambda picture: picture.wide),
        facts={title: facts for title, facts in fact_tables(read.results, read.environment, read.timings).items() if facts},
        commands=_commands(run_dir, read, finished),
        config_text=read.config_text,
        log="\n".join(read.log),
    )


def _read(run_dir: RunDir) -> _Files:
    config_text = _text(run_dir.config_yaml)
    try:
        config = yaml.safe_load(config_text)
    except (yaml.YAMLError, ValueError):  # shown as text all the same
        config = None
    return _Files(
        config_text=config_text,
        config=_mapping(config),
        environment=_json(run_dir.environment_json),
        metrics=read_jsonl(run_dir.metrics_jsonl),
        timings=read_jsonl(run_dir.timings_jsonl),
        results=_json(run_dir.results_json),
        plots=sorted(run_dir.plots.glob("*.png")),
        log=_text(run_dir.log_txt).splitlines()[-_LOG_LINES:],
    )


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8", errors="replace") if path.exists() else ""


def _json(path: Path) -> Mapping[str, Any]:
    if not path.exists():
        return {}
    try:
        value = json.loads(path.read_bytes())
    except ValueError as error:
        raise DataError(f"{path}: not JSON: {error}; delete it, and the report is written without it") from error
    return _mapping(value)


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _name_of(path: Path) -> str:
    """The config's name for `<config name>/<time>-<id>`, else the folder's own."""
    absolute = path.absolute()
    return absolute.parent.name if re.fullmatch(r"\d{8}-\d{6}-[0-9a-f]+", absolute.name) else absolute.name


def _run_name(path: Path) -> str:
    name = path.absolute().name
    return "" if name == _name_of(path) else name


def _subtitle(read: _Files) -> str:
    """Task, data and model in one line."""
    data, model = _mapping(read.results.get("data")), _mapping(read.results.get("model"))
    parts = [
        read.results.get("task") or _component(read.config.get("task")),
        data.get("name") or _component(read.config.get("data")),
        model.get("name") or _component(read.config.get("model")),
    ]
    return " · ".join(str(part) for part in parts if part)


def _component(node: Any) -> str:
    """The name in `{name: ...}` or its short form."""
    return str(_mapping(node).get("name", "")) if not isinstance(node, str) else node


def _notice(read: _Files) -> str:
    done = int(read.metrics[-1].get("epoch", len(read.metrics))) if read.metrics else 0
    planned = sum(
        phase["epochs"] for phase in _mapping(read.config.get("fit")).get("phases") or () if isinstance(_mapping(phase).get("epochs"), int)
    )
    of = f" of {planned}" if planned else ""
    scores = "The scores below are those of the last whole epoch, before any choice of a best one." if done else "No epoch has ended yet."
    return f"This run has not finished: {done}{of} epochs are done, and there are no test scores. {scores}"


def _choice(select: Mapping[str, Any], epochs: int) -> str:
    """Why these weights were tested."""
    if not select:
        return ""
    epoch, metric, use = select.get("epoch"), select.get("metric"), select.get("use", "best")
    value = f" ({cell(select['value']).text})" if "value" in select else ""
    best = f"epoch {epoch} has the best {metric}{value} of {epochs} epochs, and is kept as checkpoints/best"
    answer = f" Without a prefix they are those of {select['answer']}, which was best on validation." if "answer" in select else ""
    if use == "best":
        return f"The scores are those of checkpoints/best: {best}.{answer}"
    return f"The scores are those of checkpoints/{use}, as the config asks; {best}.{answer}"


def _cards(tables: ScoreTables, read: _Files) -> list[_Card]:
    """The leading metric on every split but training, further metrics of the first split up to three cards, and the time."""
    cards: list[_Card] = []
    rows = [row for row in tables.main if row.cells[0].exact]
    for row in rows[:1]:
        shown = [pair for pair in zip(tables.splits, row.cells, strict=True) if pair[0] != "training" and pair[1].exact]
        cards += [_Card(f"{split} {row.name}", value.text, "", value.exact) for split, value in shown]
    others = rows[1 : 1 + max(0, 3 - len(cards))]
    cards += [_Card(f"{tables.splits[0]} {row.name}", row.cells[0].text, "", row.cells[0].exact) for row in others]
    if isinstance(seconds := read.results.get("seconds"), int | float):
        device = str(read.results.get("device", ""))
        cards.append(_Card("time", duration(seconds), f"on {device}" if device else ""))
    return cards


def _commands(run_dir: RunDir, read: _Files, finished: bool) -> dict[str, str]:
    commands = {}
    if not finished:
        commands["Go on where it stopped"] = f"toolkit resume {_shown_path(run_dir.path)}"
    if command := read.environment.get("command"):
        commands["Run it again from the start"] = re.sub(r" --out[ =](?:'[^']*'|\S+)", "", str(command))  # there is this run
    return commands


def _shown_path(path: Path) -> str:
    relative = os.path.relpath(path)
    return str(path) if relative.startswith("..") else relative


def _by_reason(undefined: Mapping[str, Any]) -> dict[str, list[str]]:
    """Reason -> the scores it keeps from being computed."""
    reasons: dict[str, list[str]] = {}
    for name, reason in undefined.items():
        reasons.setdefault(str(reason), []).append(name)
    return reasons


def _is_curve(path: Path) -> bool:
    return path.name == _CURVES or path.name.startswith("curve_")


def _picture(path: Path) -> _Picture:
    png = path.read_bytes()
    if not png.startswith(b"\x89PNG\r\n\x1a\n") or len(png) < 24:
        raise DataError(f"{path} is no PNG picture; delete it, and the report is written without it")
    width, height = (int.from_bytes(png[start : start + 4]) for start in (16, 20))  # the first chunk of every PNG, IHDR
    url = "data:image/png;base64," + base64.b64encode(png).decode("ascii")
    return _Picture(_caption(path.stem), url, wide=width > _WIDE * height or height > _TALL * width)


def _caption(stem: str) -> str:
    """
    >>> _caption("test_confusion_matrix"), _caption("examples")
    ('Confusion matrix, test', 'Examples')
    """
    split, _, rest = stem.partition("_")
    return f"{words(rest)}, {SPLIT_WORDS[split]}" if rest and split in SPLIT_WORDS else words(stem)
