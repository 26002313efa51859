"""From a YAML file or a Python mapping to a checked `RunConfig`: base files, the synthetic block, overrides, in this order."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from toolkit.config.check import check_config
from toolkit.config.merge import apply_overrides, component_name, overlay, with_item, without
from toolkit.config.nodes import Node, Position, Problem
from toolkit.config.reader import MAX_DEPTH, read_yaml
from toolkit.config.run_config import RunConfig
from toolkit.errors import ConfigError
from toolkit.extension.leaf import shown
from toolkit.extension.registry import Component, Registry, UnknownNameError

Source = str | os.PathLike[str] | Mapping[str, Any]
"""A path of a YAML file, or the same content as a Python mapping."""


def load_config(source: Source, *, overrides: Iterable[str] = (), synthetic: bool = False, registry: Registry) -> tuple[RunConfig, bool]:
    """The config with everything laid over it, checked, and whether `synthetic` was asked for and its data are indeed built in.

    They are not where an override, or the block itself, names a data set that is no registered stand-in: its scores are of real data.

    Args:
        source: a later layer wins: `extends` < the file itself < its `synthetic:` block < overrides.
        overrides: `fit.batch_size=64`, `fit.phases.0.epochs=5`.
        synthetic: lay the `synthetic:` block over the rest. Where it names no data, the data set's registered stand-in is taken.

    Raises: ConfigError with every problem found; PluginError where a component in use breaks the contract.
    """
    config = check_config(load_node(source, overrides=overrides, synthetic=synthetic, registry=registry), registry)
    return config, synthetic and config.data.name in _stand_ins(registry, config.task.name)


def load_node(source: Source, *, overrides: Iterable[str] = (), synthetic: bool = False, registry: Registry) -> Node:
    """As `load_config`, before the check."""
    file = None if isinstance(source, Mapping) else Path(source)
    root = from_mapping(source) if isinstance(source, Mapping) else read_yaml(source)
    if not isinstance(root.value, dict):
        raise ConfigError(f"{root.position}: a config is a mapping with task, data, model and fit, got {shown(root.plain())}")
    root = _extended(root, file.parent, (file,)) if file else _extended(root, Path(), ())
    if synthetic:
        root = _with_synthetic_data(root, registry)
    return apply_overrides(root, overrides)


def from_mapping(source: Mapping[str, Any]) -> Node:
    """A Python mapping as a document whose file is called `<config>`.

    Raises: ConfigError for a key that is not text, or a value that YAML does not have.

    >>> from_mapping({"seed": 1}).value["seed"]
    Node(value=1, position=Position(file='<config>', line=0, column=0), keys={})
    """
    return _node_of(source, "", depth=1)


def _node_of(value: Any, path: str, depth: int) -> Node:
    position = Position("<config>")
    if depth > MAX_DEPTH:
        raise ConfigError(f"{position}: nested deeper than {MAX_DEPTH} levels")
    if isinstance(value, Mapping):
        for key in value:
            if not isinstance(key, str):
                raise ConfigError(f"{position}: {path + ': ' if path else ''}the key {key!r} is not text")
        nodes = {key: _node_of(item, f"{path}.{key}" if path else key, depth + 1) for key, item in value.items()}
        return Node(nodes, position, dict.fromkeys(nodes, position))
    if isinstance(value, list | tuple):
        return Node([_node_of(item, f"{path}.{i}", depth + 1) for i, item in enumerate(value)], position, {})
    if value is None or type(value) in (bool, int, float, str):
        return Node(value, position, {})
    if isinstance(value, os.PathLike):
        return Node(os.fspath(value), position, {})
    raise ConfigError(f"{position}: {path}: a value is null, a bool, a number, text, a list or a mapping, got {type(value).__name__}")


def _extended(root: Node, folder: Path, chain: tuple[Path, ...]) -> Node:
    """`root` over the file that its `extends` names (relative to `folder`), and so on. `chain`: the files on the way here."""
    if "extends" not in root.value:
        return root
    named, place = root.value["extends"], root.keys["extends"]
    if not isinstance(named.value, str):
        raise _error(place, "extends", f"input should be the path of a config file, got {shown(named.plain())}")
    path = Path(os.path.normpath(folder / named.value))
    if path.resolve() in [file.resolve() for file in chain]:
        raise _error(place, "extends", f"{' -> '.join(map(str, (*chain, path)))} is a cycle")
    try:
        lower = read_yaml(path)
    except ConfigError as error:
        if path.is_file():
            raise
        raise _error(place, "extends", str(error)) from None
    if not isinstance(lower.value, dict):
        raise _error(place, "extends", f"{path} holds no mapping")
    return overlay(_extended(lower, path.parent, (*chain, path)), without(root, "extends"))


def _with_synthetic_data(root: Node, registry: Registry) -> Node:
    block = root.value.get("synthetic")
    place = root.keys.get("synthetic", root.position)
    below = without(root, "synthetic")
    if block is not None and not isinstance(block.value, dict | None):
        raise _error(place, "synthetic", f"input should be a mapping, got {shown(block.plain())}")
    if block is None or block.value is None or "data" not in block.value or component_name(block.value["data"], "data") is None:
        below = _with_stand_in(below, registry)
    return overlay(below, block) if block is not None and block.value is not None else below


def _with_stand_in(root: Node, registry: Registry) -> Node:
    """The data set replaced by the one that its registration names for `--synthetic`."""
    if "data" not in root.value:
        return root
    place = root.keys["data"]
    task = component_name(root.value["task"], "task") if "task" in root.value else None
    dataset = _find(registry, component_name(root.value["data"], "data"), task)
    if dataset is None or dataset.name in _stand_ins(registry, task):  # unknown: the check tells; built-in: already there
        return root
    if dataset.synthetic is None:
        raise _error(place, "data", f"no synthetic data known for dataset '{dataset.name}'; add a 'synthetic:' block that names its data")
    name = Node(dataset.synthetic, root.value["data"].position, {})
    return with_item(root, "data", overlay(root.value["data"], Node({"name": name}, name.position, {"name": place}), "data"), place)


def _find(registry: Registry, name: str | None, task: str | None) -> Component | None:
    try:
        return registry.find("dataset", name, task) if name is not None else None
    except UnknownNameError:
        return None


def _stand_ins(registry: Registry, task: str | None) -> set[str | None]:
    return {component.synthetic for component in registry.components() if component.kind == "dataset" and component.task in (task, None)}


def _error(position: Position, path: str, message: str) -> ConfigError:
    return ConfigError(str(Problem(position, path, message)))
