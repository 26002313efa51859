"""Study files: YAML that names a config and what to vary in it. Problems carry the place in the study file."""

from __future__ import annotations

import json
import os
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from toolkit.config import Node, Position, Problem, RunConfig, check_config, load_node, read_yaml
from toolkit.config.merge import COMMAND_LINE, apply_overrides, component_name
from toolkit.errors import ConfigError
from toolkit.extension.leaf import closest, did_you_mean, leaf_of, shown
from toolkit.extension.registry import Registry


@dataclass(frozen=True)
class Setting:
    """One override of the config, such as `fit.phases.0.epochs` with the value 3; `place` is where it was written."""

    path: str
    value: Any
    place: Position

    def __str__(self) -> str:
        """As `toolkit run` takes it.

        >>> str(Setting("model.hidden", [10, 1e-5], Position("grid.yaml")))
        'model.hidden=[10, 1e-05]'
        """
        return f"{self.path}={json.dumps(self.value, ensure_ascii=False)}"


@dataclass(frozen=True)
class Choice:
    """One value of an axis: what tables and folders call it, and what it sets."""

    label: str
    settings: tuple[Setting, ...]


class StudyFile:
    """A study's YAML, read key by key; every problem is kept until `finish`.

    Args:
        known: its keys.

    Raises: ConfigError where the file is none or holds no mapping.
    """

    def __init__(self, path: Path, known: Collection[str]) -> None:
        self.path = path
        self.problems: list[Problem] = []
        root = read_yaml(path)
        if not isinstance(root.value, dict):
            raise ConfigError(f"{root.position}: a study is a mapping with {', '.join(known)}, got {shown(root.plain())}")
        self.root = root
        for key, place in root.keys.items():
            if key not in known:
                hint = did_you_mean(closest(key, known)) or f"; there are: {', '.join(known)}"
                self.problem(place, "", f"unknown key '{key}'{hint}")

    def value(self, key: str, annotation: Any, default: Any = ...) -> Any:
        """The value of a key as its type wants it; the default (none: the key is needed) where it is absent, None after a problem."""
        node = self.root.value.get(key)
        if node is None:
            if default is ...:
                self.problem(self.root.position, "", f"a study needs '{key}'")
                return None
            return default
        return self.checked(node, self.root.keys[key], key, annotation)

    def checked(self, node: Node, place: Position, path: str, annotation: Any) -> Any:
        """The value of any node below; None after a problem."""
        value, problems = leaf_of(annotation).check(node.plain())
        for steps, message in problems:
            self.problem(place, ".".join(map(str, (path, *steps))), message)
        return value

    def config(self) -> Path:
        """The config's file, which the study names relative to itself."""
        named = self.value("config", str)
        if not isinstance(named, str):
            return self.path
        config = Path(os.path.normpath(self.path.parent / named))
        try:
            read_yaml(config)
        except ConfigError as error:
            if config.is_file():  # its own problems name their own places
                raise
            self.problem(self.root.keys["config"], "config", str(error))
        return config

    def mapping(self, key: str) -> Mapping[str, tuple[Node, Position]]:
        """A key's mapping, each value with the place of its own key; empty where it is absent."""
        return self.items(self.root.value[key], self.root.keys[key], key) if key in self.root.value else {}

    def items(self, node: Node, place: Position, path: str) -> Mapping[str, tuple[Node, Position]]:
        """A node's mapping, each value with the place of its key; empty after a problem."""
        if node.value is None:
            return {}
        if not isinstance(node.value, dict):
            self.problem(place, path, f"input should be a mapping, got {shown(node.plain())}")
            return {}
        return {name: (item, node.keys[name]) for name, item in node.value.items()}

    def settings(self, key: str) -> tuple[Setting, ...]:
        """The overrides under a key."""
        return _settings(self.mapping(key))

    def choices(self, name: str, node: Node, place: Position, path: str) -> tuple[Choice, ...]:
        """An axis: a list of values for the path `name`, or a mapping of labels to the overrides that each stands for."""
        if isinstance(node.value, dict):
            labelled = self.items(node, place, path)
            choices = [Choice(label, _settings(self.items(item, at, f"{path}.{label}"))) for label, (item, at) in labelled.items()]
        elif isinstance(node.value, list) and not any(_holds_mapping(item) for item in node.value):
            choices = [Choice(_label(item.plain()), (Setting(name, item.plain(), item.position),)) for item in node.value]
        else:
            self.problem(place, path, "an axis is a list of plain values, or a mapping of labels to overrides: {label: {path: value}}")
            return ()
        if not choices:
            self.problem(place, path, "an axis needs at least one value")
        labels = [choice.label for choice in choices]
        for label in dict.fromkeys(label for label in labels if labels.count(label) > 1):
            self.problem(place, path, f"value {label} stands there twice; leave one out")
        return tuple(choices)

    def problem(self, place: Position, path: str, message: str) -> None:
        """Keep a problem."""
        self.problems.append(Problem(place, path, message))

    def finish(self) -> None:
        """Raises: ConfigError with every problem so far."""
        tell(map(str, self.problems), self.path)


def tell(problems: Iterable[str], path: Path) -> None:
    """Raises: ConfigError with the problems, each once, where there is one."""
    lines = list(dict.fromkeys(problems))
    if lines:
        raise ConfigError(lines[0] if len(lines) == 1 else "\n  ".join([f"{len(lines)} problems in {path}", *lines]))


def study_base(config: Path, *, synthetic: bool, registry: Registry) -> tuple[Node, str | None]:
    """The config that a study's settings are laid over, and the built-in data set that `synthetic` put in place of its own, if it did.

    Raises: ConfigError.
    """
    root = load_node(config, synthetic=synthetic, registry=registry)
    plain = load_node(config, registry=registry)
    own, used = (component_name(node.value["data"], "data") if "data" in node.value else None for node in (plain, root))
    return root, used if used != own else None


def without_data(settings: Iterable[Setting]) -> tuple[Setting, ...]:
    """The settings for a study on a stand-in: less those of `data`, which are another data set's; how validation is cut stays.

    >>> place = Position("grid.yaml")
    >>> fashion = Setting("data", {"name": "fashion_mnist", "validation": {"share": 0.2}}, place)
    >>> [str(setting) for setting in without_data([fashion, Setting("data.limit", 9, place), Setting("seed", 1, place)])]
    ['data.validation={"share": 0.2}', 'seed=1']
    """
    kept: list[Setting] = []
    for setting in settings:
        steps = setting.path.split(".")
        if steps[0] != "data" or steps[1:2] == ["validation"]:
            kept.append(setting)
        elif setting.path == "data" and isinstance(setting.value, dict) and "validation" in setting.value:
            kept.append(Setting("data.validation", setting.value["validation"], setting.place))
    return tuple(kept)


def checked_config(root: Node, settings: Sequence[Setting], registry: Registry) -> RunConfig:
    """The config with the settings laid over it, as `toolkit run` would have it; `root` is what `load_node` gives.

    Raises: ConfigError; what comes from a setting names the setting's place.
    """
    for setting in settings:
        try:
            root = _placed(apply_overrides(root, [str(setting)]), setting.place)
        except ConfigError as error:
            raise ConfigError(str(error).replace(f"{COMMAND_LINE}: ", f"{setting.place}: ", 1)) from None
    return check_config(root, registry)


def problem_lines(error: ConfigError) -> list[str]:
    """The lines of an error without its heading."""
    lines = str(error).split("\n  ")
    return lines[1:] if len(lines) > 1 else lines


def differences(before: Any, now: Any, path: str = "") -> Iterator[tuple[str, Any, Any]]:
    """Where two plain configs differ: path, old and new value; what is absent is None.

    >>> list(differences({"fit": {"ema": None, "phases": [{"epochs": 3}]}}, {"fit": {"ema": None, "phases": [{"epochs": 5}]}}))
    [('fit.phases.0.epochs', 3, 5)]
    """
    if isinstance(before, list) and isinstance(now, list) and len(before) == len(now):
        before, now = dict(enumerate(before)), dict(enumerate(now))
    if isinstance(before, dict) and isinstance(now, dict):
        for key in dict.fromkeys([*before, *now]):
            yield from differences(before.get(key), now.get(key), f"{path}.{key}" if path else str(key))
    elif before != now:
        yield path, before, now


def _placed(node: Node, place: Position) -> Node:
    """What the command line would have set, as set at `place`."""

    def moved(position: Position) -> Position:
        return place if position == COMMAND_LINE else position

    value = node.value
    if isinstance(value, dict):
        value = {key: _placed(item, place) for key, item in value.items()}
    elif isinstance(value, list):
        value = [_placed(item, place) for item in value]
    return replace(node, value=value, position=moved(node.position), keys={key: moved(at) for key, at in node.keys.items()})


def _settings(items: Mapping[str, tuple[Node, Position]]) -> tuple[Setting, ...]:
    return tuple(Setting(path, node.plain(), place) for path, (node, place) in items.items())


def _holds_mapping(node: Node) -> bool:
    return isinstance(node.value, dict) or (isinstance(node.value, list) and any(map(_holds_mapping, node.value)))


def _label(value: Any) -> str:
    """
    >>> _label("normal"), _label([10, 100]), _label(None), _label(1e-3)
    ('normal', '[10, 100]', 'null', '0.001')
    """
    return value if isinstance(value, str) else shown(value)
