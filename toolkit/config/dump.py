"""A `RunConfig` as YAML text that loads back to an equal one."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from typing import Any, assert_never

import yaml

from toolkit.config.reader import resolve_scalar
from toolkit.config.run_config import ComponentConfig, RunConfig
from toolkit.extension.leaf import Leaf, shown
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

_LINE_CHARACTERS = 100  # what fits here stays in one line


def dump_config(config: RunConfig) -> str:
    """YAML with every default and every automatic choice written out; numbers keep every digit."""
    return yaml.dump(plain_config(config), Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=sys.maxsize)


def plain_config(config: RunConfig) -> dict[str, Any]:
    """The config as mappings, lists and scalars, laid out as in the YAML."""
    plain = _plain_options(section_options(RunConfig), vars(config))
    validation = plain.pop("validation")
    return {key: {**value, "validation": validation} if key == "data" else value for key, value in plain.items()}


def _plain_options(options: Mapping[str, Option], values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: _plain(values[name], option.shape) for name, option in options.items()}


def _plain(value: Any, shape: Shape) -> Any:
    match shape:
        case Leaf():
            return shape.plain(value)
        case ComponentShape():
            return _plain_component(value)
        case SectionShape():
            return _plain_options(section_options(shape.cls, shape.owner), vars(value))
        case ListShape():
            return [_plain(item, shape.item) for item in value]
        case OptionalShape():
            return None if value is None else _plain(value, shape.inner)
        case _:
            assert_never(shape)


def _plain_component(config: ComponentConfig) -> dict[str, Any]:
    if option_check(config.component):
        return {"name": config.name, **config.options}
    return {"name": config.name, **_plain_options(component_options(config.component), config.options)}


class _Dumper(yaml.SafeDumper):
    """Quotes text that our reader or one of YAML 1.1 takes for something else (`3e-4`, `no`), and keeps short things in one line."""

    def ignore_aliases(self, data: Any) -> bool:
        return True

    def resolve(self, kind: type[yaml.Node], value: str | None, implicit: Any) -> str:
        """What a reader would take an unquoted scalar for; where that is not what it is, it is quoted."""
        ours = type(resolve_scalar(value)) if kind is yaml.ScalarNode and value is not None and implicit[0] else str
        return _TAGS.get(ours) or str(super().resolve(kind, value, implicit))  # type: ignore[no-untyped-call]

    def represent_mapping(self, tag: str, mapping: Any, flow_style: bool | None = None) -> yaml.MappingNode:
        return super().represent_mapping(tag, mapping, _fits(mapping))

    def represent_sequence(self, tag: str, sequence: Any, flow_style: bool | None = None) -> yaml.SequenceNode:
        return super().represent_sequence(tag, sequence, _fits(sequence))


def _fits(value: Any) -> bool:
    return len(json.dumps(value, ensure_ascii=False)) <= _LINE_CHARACTERS


def _represent_float(dumper: yaml.SafeDumper, value: float) -> yaml.ScalarNode:
    text = shown(value)
    if "e" in text and "." not in text:
        text = text.replace("e", ".0e")  # 1e-08 is text to YAML 1.1 readers
    return dumper.represent_scalar("tag:yaml.org,2002:float", text)


_TAGS: dict[type, str] = {
    type(None): "tag:yaml.org,2002:null",
    bool: "tag:yaml.org,2002:bool",
    int: "tag:yaml.org,2002:int",
    float: "tag:yaml.org,2002:float",
}
_Dumper.add_representer(float, _represent_float)
