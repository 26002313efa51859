"""Grid files -> cells: every combination of the axes' values, once per seed, and per fold of a cross-validation."""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from annotated_types import Ge, MinLen

from toolkit.config import Position, RunConfig
from toolkit.errors import ConfigError
from toolkit.extension.registry import Registry
from toolkit.studies.settings import Choice, Setting, StudyFile, checked_config, problem_lines, study_base, tell, without_data

_KEYS = ("config", "set", "axes", "folds", "seeds", "scores")


@dataclass(frozen=True)
class Cell:
    """One run of a grid.

    name: of its folder, from its settings. values: label by axis. settings: what is laid over the config, the seed last.
    """

    name: str
    values: Mapping[str, str]
    seed: int
    settings: tuple[Setting, ...]
    config: RunConfig


@dataclass(frozen=True)
class Grid:
    """A checked grid file.

    axes: their short names in order. folds: of the cross-validation, None for none. cells: seeds vary fastest.
    stand_in: the data set of all cells where `--synthetic` made the file's settings of data void, else None.
    """

    path: Path
    config: Path
    axes: tuple[str, ...]
    folds: int | None
    seeds: tuple[int, ...]
    scores: tuple[str, ...]
    cells: tuple[Cell, ...]
    stand_in: str | None


def read_grid(path: Path, *, synthetic: bool, registry: Registry) -> Grid:
    """The grid in the file, with every cell's config checked.

    Args:
        synthetic: every cell uses the stand-in of the config's data set; the file's settings of data are left out.

    Raises: ConfigError with every problem of the file and of all cells.
    """
    file = StudyFile(path, _KEYS)
    config = file.config()
    common = file.settings("set")
    axes = {name: file.choices(name, node, place, f"axes.{name}") for name, (node, place) in file.mapping("axes").items()}
    folds = file.value("folds", Annotated[int, Ge(2)], None)
    seeds = file.value("seeds", Annotated[tuple[Annotated[int, Ge(0)], ...], MinLen(1)], (0,))
    scores = file.value("scores", Annotated[tuple[str, ...], MinLen(1)])
    if isinstance(seeds, tuple) and len(set(seeds)) < len(seeds):
        file.problem(file.root.keys["seeds"], "seeds", f"a seed stands there twice: {', '.join(map(str, seeds))}")
    written = (*common, *(setting for choices in axes.values() for choice in choices for setting in choice.settings))
    for setting in written:
        if setting.path == "seed":
            file.problem(setting.place, "seed", "seeds are no setting, the table shows their spread; list them under 'seeds'")
    names = _short_names(list(axes))
    folder_names = {name: _file_names(file, axis, choices) for (axis, choices), name in zip(axes.items(), names, strict=True)}
    file.finish()
    root, stand_in = study_base(config, synthetic=synthetic, registry=registry)
    if without_data(written) == written:
        stand_in = None
    cells, problems = [], []
    place = file.root.keys.get("seeds", file.root.position)
    parts_of_data = _folds(folds, file.root.keys.get("folds", file.root.position))
    for combination in itertools.product(*axes.values()):
        chosen = [setting for choice in combination for setting in choice.settings]
        for (fold, cut), seed in itertools.product(parts_of_data, seeds):
            settings = (*common, *chosen, *cut, Setting("seed", seed, place))
            if stand_in is not None:
                settings = without_data(settings)
            try:
                checked = checked_config(root, settings, registry)
            except ConfigError as error:
                problems += problem_lines(error)
                continue
            labels = {name: choice.label for name, choice in zip(names, combination, strict=True)}
            parts = [f"{name}={folder_names[name][label]}" for name, label in labels.items()]
            cells.append(Cell(",".join([*parts, *fold, f"seed={seed}"]), labels, seed, settings, checked))
    tell(problems, path)
    return Grid(path, config, tuple(names), folds, seeds, scores, tuple(cells), stand_in)


def _folds(folds: int | None, place: Position) -> list[tuple[list[str], list[Setting]]]:
    """What each fold adds to a cell's name and to its settings; without a cross-validation one that adds nothing."""
    if folds is None:
        return [([], [])]
    return [([f"fold={fold}"], [Setting("data.validation", {"fold": fold, "folds": folds}, place)]) for fold in range(folds)]


def _short_names(paths: list[str]) -> list[str]:
    """The last step of each path; the whole path where two would be called the same.

    >>> _short_names(["model.hidden", "fit.phases.0.optimizer.lr", "fit.phases.1.optimizer.lr"])
    ['hidden', 'fit.phases.0.optimizer.lr', 'fit.phases.1.optimizer.lr']
    """
    last = [path.rpartition(".")[2] for path in paths]
    return [short if last.count(short) == 1 else path for short, path in zip(last, paths, strict=True)]


def _file_names(file: StudyFile, axis: str, choices: tuple[Choice, ...]) -> dict[str, str]:
    """Label -> how a folder may be called."""
    names = {choice.label: re.sub(r"[^\w.+-]+", "-", choice.label).strip("-") or "empty" for choice in choices}
    taken: dict[str, Any] = {}
    for label, name in names.items():
        if name in taken:
            place = file.root.value["axes"].keys[axis]
            file.problem(
                place,
                f"axes.{axis}",
                f"{taken[name]} and {label} would share a folder; give them labels: {{label: {{{axis}: value}}}}",
            )
        taken[name] = label
    return names
