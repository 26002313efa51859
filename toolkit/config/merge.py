"""Laying one config over another: `extends`, the `synthetic` block, and `a.b=v` overrides.

Mappings merge key by key; lists and scalars are replaced. Where both sides name a component and the names differ, the upper
one replaces the lower one whole, because its options belong to another component.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from toolkit.config.nodes import Node, Position
from toolkit.config.reader import read_value
from toolkit.errors import ConfigError
from toolkit.extension.leaf import shown

COMMAND_LINE = Position("command line")
COMPOSED_MODEL = "composed"
"""The model that a `model:` mapping without a name means."""

_KEPT_WITH_ANOTHER_NAME = {"data": ("validation",)}  # the core's keys, beside the component's own options


def mapping(values: dict[str, Node], keys: dict[str, Position], position: Position) -> Node:
    """A mapping node."""
    return Node(values, position, keys)


def with_item(node: Node, key: str, value: Node, place: Position) -> Node:
    """The mapping `node` with `key` set; a key that was there keeps its rank."""
    return replace(node, value={**node.value, key: value}, keys={**node.keys, key: place})


def without(node: Node, *removed: str) -> Node:
    """The mapping `node` without some keys."""
    return replace(
        node,
        value={key: value for key, value in node.value.items() if key not in removed},
        keys={key: place for key, place in node.keys.items() if key not in removed},
    )


def overlay(lower: Node, upper: Node, key: str = "") -> Node:
    """`upper` laid over `lower`; `key` is the one under which both stand."""
    if isinstance(upper.value, dict) and isinstance(lower.value, str):
        lower = _named(lower)
    if isinstance(upper.value, str) and isinstance(lower.value, dict) and component_name(lower, key) == upper.value:
        upper = _named(upper)
    if not (isinstance(upper.value, dict) and isinstance(lower.value, dict)):
        return upper if not _keeps(lower, upper, key) else overlay(lower, _named(upper), key)
    if _is_another_component(lower, upper, key):
        lower = without(lower, *(lower.value.keys() - set(_KEPT_WITH_ANOTHER_NAME.get(key, ()))))
    merged = replace(lower, position=upper.position)
    for name, value in upper.value.items():
        below = lower.value.get(name)
        merged = with_item(merged, name, value if below is None else overlay(below, value, name), upper.keys[name])
    return merged


def component_name(node: Node, key: str) -> str | None:
    """The name of the component that a node under `key` stands for, as far as the node tells it."""
    if isinstance(node.value, str):
        return node.value
    if not isinstance(node.value, dict):
        return None
    name = node.value.get("name")
    if name is None:
        return COMPOSED_MODEL if key == "model" and node.value.keys() & {"backbone", "head"} else None
    return name.value if isinstance(name.value, str) else None


def apply_overrides(root: Node, overrides: Iterable[str]) -> Node:
    """`root` with every `a.b.0.c=value` laid over it, in order; the value is YAML.

    Raises: ConfigError for text without `=`, a path through something that is no mapping or list, an index out of range.
    """
    for text in overrides:
        path, equals, value = text.partition("=")
        steps = path.strip().split(".")
        if not equals or not all(steps):
            raise ConfigError(f"{COMMAND_LINE}: '{text}' is no override; write key.key=value, such as fit.batch_size=64")
        try:
            node = read_value(value, COMMAND_LINE)
        except ConfigError as error:
            raise ConfigError(str(error).replace(f"{COMMAND_LINE}: ", f"{COMMAND_LINE}: {path}: ", 1)) from error
        root = _set(root, steps, node, "", text)
    return root


def _set(node: Node, steps: list[str], value: Node, path: str, text: str) -> Node:
    """`node`, which stands at `path`, with `value` laid over what is at `steps` below it."""
    if not steps:
        return overlay(node, value, path.rpartition(".")[2])
    if isinstance(node.value, list):
        return _set_in_list(node, steps, value, path, text)
    if isinstance(node.value, str):
        node = _named(node)
    if node.value is None:
        node = mapping({}, {}, COMMAND_LINE)
    if not isinstance(node.value, dict):
        raise ConfigError(f"{COMMAND_LINE}: {text}: {path} is {shown(node.plain())}, nothing stands below it")
    return _set_in_mapping(node, steps, value, path, text)


def _set_in_mapping(node: Node, steps: list[str], value: Node, path: str, text: str) -> Node:
    step, rest = steps[0], steps[1:]
    if step == "name" and not rest and isinstance(value.value, str):
        return overlay(node, _named(value), path.rpartition(".")[2])
    below = node.value.get(step, Node(None, COMMAND_LINE, {}))
    place = node.keys[step] if rest and step in node.keys else COMMAND_LINE
    return with_item(node, step, _set(below, rest, value, f"{path}.{step}" if path else step, text), place)


def _set_in_list(node: Node, steps: list[str], value: Node, path: str, text: str) -> Node:
    step, rest = steps[0], steps[1:]
    count = len(node.value)
    if not (step.isascii() and step.isdigit()):
        raise ConfigError(f"{COMMAND_LINE}: {text}: {path} is a list; write a number from 0 instead of '{step}'")
    if len(step) > 9 or int(step) >= count:
        there = f"has {count} items, numbered from 0" if count != 1 else "has 1 item, number 0"
        raise ConfigError(f"{COMMAND_LINE}: {text}: {path} {there}; there is no {step}")
    index = int(step)
    items = list(node.value)
    items[index] = _set(items[index], rest, value, f"{path}.{step}", text)
    return replace(node, value=items)


def _named(node: Node) -> Node:
    """`cnn` as `{name: cnn}`."""
    return mapping({"name": node}, {"name": node.position}, node.position)


def _keeps(lower: Node, upper: Node, key: str) -> bool:
    """A bare name laid over a mapping that has keys of the core beside the component's options."""
    return (
        isinstance(upper.value, str) and isinstance(lower.value, dict) and bool(lower.value.keys() & _KEPT_WITH_ANOTHER_NAME.get(key, ()))
    )


def _is_another_component(lower: Node, upper: Node, key: str) -> bool:
    above, below = component_name(upper, key), component_name(lower, key)
    explicit = "name" in upper.value
    return explicit and below is not None and above != below
