"""Nodes -> `RunConfig`, against the schemas of the registered components. Every problem is found before any is told."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any, assert_never

from toolkit.config.merge import COMPOSED_MODEL, without
from toolkit.config.nodes import Node, Position, Problem
from toolkit.config.run_config import ComponentConfig, RunConfig
from toolkit.errors import ConfigError, PluginError
from toolkit.extension.leaf import Leaf, closest, did_you_mean, shown
from toolkit.extension.registry import Component, Registry, UnknownNameError
from toolkit.extension.schema import (
    ComponentShape,
    ListShape,
    Option,
    OptionalShape,
    SectionShape,
    Shape,
    component_options,
    option_check,
    section_options,
)

DIRECTIVES = ("extends", "synthetic")
"""Keys at the top that say how the config is put together; the `RunConfig` does not hold them."""

_TASK_DEFAULTS = {"loss": "default_loss", "metrics": "default_metrics", "plots": "default_plots"}
_ELSEWHERE = {"validation": "; it stands under 'data'"}


def check_config(node: Node, registry: Registry) -> RunConfig:
    """The config that `node` describes, with every default filled in.

    Raises:
        ConfigError: with all problems, sorted by position.
        PluginError: a component in use breaks the contract, or two plugins registered one name.
    """
    checker = _Checker(registry)
    config = checker.run_config(_Spot(node, node.position, ""))
    if checker.problems:
        raise ConfigError(_told(checker.problems, node.position.file))
    assert isinstance(config, RunConfig)
    object.__setattr__(config, "document", node)
    return config


def _told(problems: Iterable[Problem], file: str) -> str:
    """One problem as its line, several below a heading; those of other files and of the command line come last."""
    ordered = sorted(problems, key=lambda p: (p.position.file != file, p.position.file, p.position.line, p.position.column))
    lines = list(dict.fromkeys(map(str, ordered)))
    return lines[0] if len(lines) == 1 else "\n  ".join([f"{len(lines)} problems in {file}", *lines])


@dataclass(frozen=True)
class _Spot:
    """A node with its path and the place that messages about it name: its key, or the item itself in a list."""

    node: Node
    place: Position
    path: str

    def at(self, step: str | int) -> _Spot:
        """The spot below, where there is one."""
        below = self.node.value[step]
        place = self.node.keys[step] if isinstance(step, str) else below.position
        return _Spot(below, place, f"{self.path}.{step}" if self.path else str(step))

    def deepest(self, steps: Iterable[str | int]) -> _Spot:
        """The spot at the end of `steps`, or the last one on the way that exists; the path is whole in either case."""
        spot, whole = self, ".".join(map(str, (self.path, *steps))).strip(".")
        for step in steps:
            value = spot.node.value
            if isinstance(value, list) and str(step).isdecimal() and int(step) < len(value):
                spot = spot.at(int(step))
            elif isinstance(value, dict) and step in value:
                spot = spot.at(step)
            else:
                break
        return replace(spot, path=whole)


class _Checker:
    """Turns nodes into values and collects problems; once there is one, values no longer matter."""

    def __init__(self, registry: Registry) -> None:
        self.problems: list[Problem] = []
        self._registry = registry
        self._task: str | None = None

    def run_config(self, root: _Spot) -> RunConfig | None:
        if not isinstance(root.node.value, dict):
            self._problem(root, f"a config is a mapping with task, data, model and fit, got {shown(root.node.plain())}")
            return None
        if "config" in root.node.value and not {"task", "fit"} & root.node.value.keys():
            verb = "sweep" if "space" in root.node.value else "grid"
            self._problem(root, f"this is no config but a study of one; run it with `toolkit {verb}`")
            return None
        sections = section_options(RunConfig)
        validation = sections.pop("validation")
        misspelt = self._check_keys(root, [*sections, *DIRECTIVES], "unknown section", _ELSEWHERE)
        self._check_synthetic_block(root, [*sections])
        values: dict[str, Any] = {}
        if "task" in root.node.value:
            values["task"] = self._value(root.at("task"), sections["task"].shape)
        task: ComponentConfig | None = values.get("task")
        self._task = task.name if task else self._probable_task(root)
        root, values = self._with_task_defaults(root, task), self._validation(root, validation) | values
        if task is None:
            misspelt |= _TASK_DEFAULTS.keys()  # whether they are needed is not known then
        values = self._options(root, sections, "a config needs", misspelt, values)
        return None if self.problems else self._fitting(root, RunConfig(**values))

    def _fitting(self, root: _Spot, config: RunConfig) -> RunConfig:
        """The config, once its task has told what does not go together in it."""
        task = config.task.component
        problems_of = getattr(task.factory, "config_problems", None)
        try:
            problems = list(problems_of(config)) if problems_of else []
        except Exception as error:
            what = f"config_problems failed: {type(error).__name__}: {error}"
            raise PluginError(f"{config.task.position}: task '{task.name}' of {task.origin}: {what}") from error
        for path, message in problems:
            self._problem(root.deepest(path.split(".")), message)
        return config

    def _probable_task(self, root: _Spot) -> str | None:
        """The task that a misspelt name probably means, so that the problems below it are told at once too."""
        value = root.node.value["task"].plain() if "task" in root.node.value else None
        name = value.get("name") if isinstance(value, dict) else value
        return closest(name, self._registry.names("task"), cutoff=0.8) if isinstance(name, str) else None

    def _check_synthetic_block(self, root: _Spot, sections: list[str]) -> None:
        """It is laid over the rest only with --synthetic, but its spelling is checked always."""
        block = root.at("synthetic") if "synthetic" in root.node.value else None
        if block is None or block.node.value is None:
            return
        if isinstance(block.node.value, dict):
            self._check_keys(block, sections, "unknown section")
        else:
            self._problem(block, f"input should be a mapping, got {shown(block.node.plain())}")

    def _with_task_defaults(self, root: _Spot, task: ComponentConfig | None) -> _Spot:
        """Loss, metrics and plots that are absent or empty become the task's own, standing where the task stands."""
        values, keys = dict(root.node.value), dict(root.node.keys)
        for section, attribute in _TASK_DEFAULTS.items():
            default = getattr(task.component.factory, attribute, None) if task else None
            absent = section not in values or values[section].value is None
            if absent and default is not None and task is not None:
                values[section], keys[section] = _node_of_names(default, task.position), task.position
        return replace(root, node=replace(root.node, value=values, keys=keys))

    def _validation(self, root: _Spot, option: Option) -> dict[str, Any]:
        data = root.at("data") if "data" in root.node.value else None
        if data is None or not isinstance(data.node.value, dict) or "validation" not in data.node.value:
            return {}
        return {"validation": self._value(data.at("validation"), option.shape)}

    def _value(self, spot: _Spot, shape: Shape) -> Any:
        match shape:
            case Leaf():
                return self._leaf(spot, shape)
            case ComponentShape():
                return self._component(spot, shape.kind)
            case SectionShape():
                return self._section(spot, shape)
            case ListShape():
                return self._list(spot, shape)
            case OptionalShape():
                return None if spot.node.value is None else self._value(spot, shape.inner)
            case _:
                assert_never(shape)

    def _leaf(self, spot: _Spot, leaf: Leaf) -> Any:
        value, problems = leaf.check(spot.node.plain())
        for steps, message in problems:
            self._problem(spot.deepest(steps), message)
        return value

    def _list(self, spot: _Spot, shape: ListShape) -> tuple[Any, ...] | None:
        if not isinstance(spot.node.value, list):
            self._problem(spot, f"input should be a list, got {shown(spot.node.plain())}")
            return None
        if len(spot.node.value) < shape.min_items:
            self._problem(spot, f"needs at least {shape.min_items} item{'s' if shape.min_items > 1 else ''}")
            return None
        return tuple(self._value(spot.at(index), shape.item) for index in range(len(spot.node.value)))

    def _section(self, spot: _Spot, shape: SectionShape) -> Any:
        """An instance of the section's dataclass; an empty section (null) has all defaults."""
        if spot.node.value is None:
            spot = replace(spot, node=Node({}, spot.node.position, {}))
        if not isinstance(spot.node.value, dict):
            self._problem(spot, f"input should be a mapping, got {shown(spot.node.plain())}")
            return None
        options = section_options(shape.cls, shape.owner)
        before = len(self.problems)
        misspelt = self._check_keys(spot, options, "unknown key")
        values = self._options(spot, options, "needs", misspelt)
        if len(self.problems) > before:
            return None
        try:
            return shape.cls(**values)
        except ValueError as error:  # fields that contradict each other
            self._problem(spot, str(error))
            return None

    def _component(self, spot: _Spot, kind: str) -> ComponentConfig | None:
        component = self._named_component(spot, kind)
        if component is None:
            return None
        node = spot.node if isinstance(spot.node.value, dict) else Node({}, spot.node.position, {})
        of_core = ["validation"] if spot.path == "data" else []
        spot = replace(spot, node=without(node, "name", *of_core))
        if check := option_check(component):
            return self._component_that_checks_itself(spot, component, check(spot.node.plain()))
        options = component_options(component)
        title = f"{kind} '{component.name}'"
        misspelt = self._check_keys(spot, [*options, *of_core], f"{title} has no option")
        return ComponentConfig(component, self._options(spot, options, f"{title} needs option", misspelt), spot.place)

    def _component_that_checks_itself(self, spot: _Spot, component: Component, problems: list[tuple[str, str]]) -> ComponentConfig:
        for path, message in problems:
            self._problem(spot.deepest(path.split(".") if path else []), message)
        return ComponentConfig(component, spot.node.plain(), spot.place)

    def _named_component(self, spot: _Spot, kind: str) -> Component | None:
        name, value = spot, spot.node.value
        if isinstance(value, dict) and "name" in value:
            name = spot.at("name")
        elif isinstance(value, dict) and kind == "model":
            name = replace(spot, node=Node(COMPOSED_MODEL, spot.node.position, {}))
        elif isinstance(value, dict):
            self._problem(spot, f"a {kind} needs a name: {{name: ..., option: ...}}")
            return None
        if not isinstance(name.node.value, str):
            wanted = "text" if name is not spot else f"the name of a {kind} or {{name: ..., option: ...}}"
            self._problem(name, f"input should be {wanted}, got {shown(name.node.plain())}")
            return None
        try:
            return self._registry.find(kind, name.node.value, self._task)
        except UnknownNameError as error:
            if kind == "task" or self._task is not None:  # without a task nobody knows its names
                self._problem(replace(name, path=""), str(error))
            return None

    def _options(
        self,
        spot: _Spot,
        options: dict[str, Option],
        needs: str,
        misspelt: Collection[str],
        given: Mapping[str, Any] = MappingProxyType({}),
    ) -> dict[str, Any]:
        """Every option's value, default or problem.

        Args:
            misspelt: options whose absence has been told already.
            given: values that were checked before.
        """
        values = dict(given)
        for name, option in options.items():
            if name in values:
                continue
            if name in spot.node.value:
                values[name] = self._value(spot.at(name), option.shape)
            elif not option.required:
                values[name] = option.default
            elif name not in misspelt:
                self._problem(spot, f"{needs} '{name}'")
        return values

    def _check_keys(
        self, spot: _Spot, known: Collection[str], unknown: str, elsewhere: Mapping[str, str] = MappingProxyType({})
    ) -> set[str]:
        """Tells every key that is not known; gives the known ones that were probably meant."""
        meant = set()
        for key in (key for key in spot.node.value if key not in known):
            close = closest(key, known)
            meant.add(close or "")
            hint = elsewhere.get(key) or did_you_mean(close) or (f"; there are: {', '.join(known)}" if known else "; it has none")
            self._problem(spot.at(key), f"{unknown} '{key}'{hint}")
        return meant

    def _problem(self, spot: _Spot, message: str) -> None:
        self.problems.append(Problem(spot.place, spot.path, message))


def _node_of_names(names: str | Collection[str], position: Position) -> Node:
    if isinstance(names, str):
        return Node(names, position, {})
    return Node([Node(name, position, {}) for name in names], position, {})
