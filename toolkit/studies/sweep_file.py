"""Sweep files: what is searched, how, and for which score."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from annotated_types import Ge

from toolkit.config import Node, Position, RunConfig, plain_config
from toolkit.errors import ConfigError
from toolkit.extension.leaf import closest, did_you_mean, shown
from toolkit.extension.registry import Registry
from toolkit.studies.settings import Choice, Setting, StudyFile, checked_config, problem_lines, study_base, tell, without_data

_KEYS = ("config", "set", "space", "trials", "metric", "direction", "sampler", "pruner", "storage")
_Count = Annotated[int, Ge(0)]
_SAMPLERS: Mapping[str, Mapping[str, Any]] = {"tpe": {"seed": _Count, "startup_trials": _Count}, "random": {"seed": _Count}}
_PRUNERS: Mapping[str, Mapping[str, Any]] = {
    "none": {},
    "median": {"startup_trials": _Count, "warmup_epochs": _Count},
    "hyperband": {"reduction_factor": Annotated[int, Ge(2)]},
}


UNTESTED = (Setting("test", False, Position("sweep")),)
"""Laid over every trial before the file's own settings: trials leave the test data unread."""


@dataclass(frozen=True)
class Range:
    """Numbers from low to high, both of which may come; whole ones where both are."""

    low: int | float
    high: int | float
    log: bool
    place: Position

    def setting(self, path: str, value: float) -> Setting:
        """The override with a number of the range."""
        return Setting(path, value, self.place)


Space = Mapping[str, Range | tuple[Choice, ...]]
"""What is searched, by path."""


@dataclass(frozen=True)
class Named:
    """A sampler or pruner with the options that were given."""

    name: str
    options: Mapping[str, Any]


@dataclass(frozen=True)
class Sweep:
    """A checked sweep file.

    space: by path; a tuple of choices where its values are listed. direction_place: where the file says it.
    stand_in: the data set of all trials where `--synthetic` made the file's settings of data void, else None.
    """

    path: Path
    config: Path
    common: tuple[Setting, ...]
    space: Space
    trials: int
    metric: str
    direction: Literal["maximize", "minimize"]
    sampler: Named
    pruner: Named
    storage: str | None
    base: RunConfig
    direction_place: Position
    stand_in: str | None

    def definition(self) -> dict[str, Any]:
        """What may not change while trials are added, as JSON values."""
        space = {
            path: {"low": values.low, "high": values.high, "log": values.log}
            if isinstance(values, Range)
            else {choice.label: {setting.path: setting.value for setting in choice.settings} for choice in values}
            for path, values in self.space.items()
        }
        return {"config": plain_config(self.base), "space": space, "metric": self.metric, "direction": self.direction}

    def check_direction(self, lower_is_better: Collection[str]) -> None:
        """Hold the direction against what the first finished trial tells: which scores, without their part, are better lower.

        Raises: ConfigError where the sweep would look for the worst.
        """
        lower = self.metric.removeprefix("val/") in lower_is_better
        right = "minimize" if lower else "maximize"
        if self.direction != right:
            raise ConfigError(
                f"{self.direction_place}: direction: {self.metric} is better {'lower' if lower else 'higher'}, but direction is "
                f"{self.direction}; write {right}, and begin a new study under another file name or with --out"
            )


def read_sweep(path: Path, *, synthetic: bool, registry: Registry) -> Sweep:
    """The sweep in the file, with the config checked at the ends of every range and at every choice.

    Args:
        synthetic: every trial uses the stand-in of the config's data set; the file's settings of data are left out.

    Raises: ConfigError with every problem.
    """
    file = StudyFile(path, _KEYS)
    config = file.config()
    space: Space = {name: _values(file, name, node, place) for name, (node, place) in file.mapping("space").items()}
    if not space:
        file.problem(file.root.keys.get("space", file.root.position), "space", "nothing is searched; write {path: {low, high}}")
    trials = file.value("trials", Annotated[int, Ge(1)])
    metric = file.value("metric", str)
    if isinstance(metric, str) and not metric.startswith("val/"):
        file.problem(file.root.keys["metric"], "metric", f"input should be a validation score (val/...), got {shown(metric)}")
    judged = Setting("fit.select.metric", metric, file.root.keys.get("metric", file.root.position))  # so that a misspelt one is told early
    common = (*UNTESTED, judged, *file.settings("set"))
    direction = file.value("direction", Literal["maximize", "minimize"])
    sampler, pruner = _named(file, "sampler", _SAMPLERS, "tpe"), _named(file, "pruner", _PRUNERS, "none")
    storage = file.value("storage", str, None)
    file.finish()
    root, stand_in = study_base(config, synthetic=synthetic, registry=registry)
    if stand_in is not None:
        kept, searched = without_data(common), _space_without_data(space)
        if (kept, searched) == (common, space):
            stand_in = None
        common, space = kept, searched
    if not space:
        raise ConfigError(f"{file.root.keys['space']}: space: only options of data are searched, which --synthetic leaves out")
    base = _checked_base(root, common, space, registry, path)
    place = file.root.keys["direction"]
    return Sweep(path, config, common, space, trials, metric, direction, sampler, pruner, storage, base, place, stand_in)


def _checked_base(root: Node, common: Sequence[Setting], space: Space, registry: Registry, path: Path) -> RunConfig:
    """The config that trials share. Raises: ConfigError with what is wrong with it, at the end of a range or at a choice."""
    problems: list[str] = []
    configs: list[RunConfig] = []
    for settings in [(), *(ends for name, values in space.items() for ends in _ends(name, values))]:
        try:
            configs.append(checked_config(root, (*common, *settings), registry))
        except ConfigError as error:
            problems += problem_lines(error)
    tell(problems, path)
    return configs[0]


def _space_without_data(space: Space) -> Space:
    """What is left of a space on a stand-in; an option that sets nothing any more is not searched."""
    left: dict[str, Range | tuple[Choice, ...]] = {}
    for path, values in space.items():
        if isinstance(values, Range):
            if without_data([values.setting(path, values.low)]):
                left[path] = values
        else:
            choices = tuple(Choice(choice.label, without_data(choice.settings)) for choice in values)
            if any(choice.settings for choice in choices):
                left[path] = choices
    return left


def _ends(name: str, values: Range | tuple[Choice, ...]) -> list[tuple[Setting, ...]]:
    if isinstance(values, Range):
        return [(values.setting(name, end),) for end in (values.low, values.high)]
    return [choice.settings for choice in values]


def _values(file: StudyFile, name: str, node: Node, place: Position) -> Range | tuple[Choice, ...]:
    path = f"space.{name}"
    items = file.items(node, place, path)
    if "choices" in items and len(items) == 1:
        return file.choices(name, items["choices"][0], items["choices"][1], f"{path}.choices")
    wrong = [key for key in items if key not in ("low", "high", "log")]
    if wrong or not {"low", "high"} <= items.keys():
        found = f"got {', '.join(items) or 'nothing'}"
        file.problem(place, path, f"input should be {{low, high}} or {{low, high, log}} or {{choices}}, {found}")
        return ()
    low, high = (file.checked(*items[end], f"{path}.{end}", int | float) for end in ("low", "high"))
    log = file.checked(*items["log"], f"{path}.log", bool) if "log" in items else False
    if low is None or high is None or log is None:
        return ()
    if not low < high:
        file.problem(place, path, f"low must be below high, got {shown(low)} and {shown(high)}")
    if log and low <= 0:
        file.problem(place, path, f"low must be above 0 where log is true, got {shown(low)}")
    return Range(low, high, log, place)


def _named(file: StudyFile, key: str, known: Mapping[str, Mapping[str, Any]], default: str) -> Named:
    """`tpe`, or `{name: tpe, seed: 0}`."""
    if key not in file.root.value:
        return Named(default, {})
    node, place = file.root.value[key], file.root.keys[key]
    items: dict[str, tuple[Node, Position]] = {"name": (node, place)} if isinstance(node.value, str) else dict(file.items(node, place, key))
    name_node, name_place = items.pop("name", (node, place))
    if not isinstance(name_node.value, str) or name_node.value not in known:
        hint = did_you_mean(closest(str(name_node.value), known)) if isinstance(name_node.value, str) else ""
        file.problem(name_place, key, f"there is no such {key}: {shown(name_node.plain())}; there are: {', '.join(known)}{hint}")
        return Named(default, {})
    options = known[name_node.value]
    for option, (_, at) in items.items():
        if option not in options:
            file.problem(at, f"{key}.{option}", f"{key} '{name_node.value}' has no such option; it has: {', '.join(options) or 'none'}")
    checked = {option: file.checked(*items[option], f"{key}.{option}", options[option]) for option in options if option in items}
    return Named(name_node.value, checked)
