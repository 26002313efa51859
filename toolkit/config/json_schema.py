"""JSON Schema of the config files, from which editors complete and explain keys."""

from __future__ import annotations

import re
from typing import Any, assert_never

from toolkit.config.merge import COMPOSED_MODEL
from toolkit.config.run_config import RunConfig
from toolkit.extension.docstrings import summary
from toolkit.extension.leaf import Leaf
from toolkit.extension.registry import KINDS, Component, Family, Registry
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

Schema = dict[str, Any]

_DIRECTIVES: Schema = {
    "extends": {"type": "string", "description": "Another config file, relative to this one, that this one is laid over."},
    "synthetic": {"$ref": "#/$defs/sections", "description": "What --synthetic lays over this file."},
}


def json_schema(registry: Registry) -> Schema:
    """Draft 2020-12 schema of a config file, with the components of all tasks.

    A component may be used wherever its kind is asked for, whatever its task, and options that it needs may be absent, because a
    file that extends another gives only what differs: `toolkit check` knows better, and says so.

    Raises: PluginError where a registered component breaks the contract.
    """
    definitions: Schema = {}
    sections = _sections(definitions)
    definitions["sections"] = {"type": "object", "properties": sections, "additionalProperties": False}
    for kind in KINDS:
        definitions[kind] = _kind(kind, registry, definitions)
    required = [name for name, option in section_options(RunConfig).items() if option.required and name not in ("loss", "metrics", "plots")]
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "vision-toolkit config",
        "type": "object",
        "properties": {**sections, **_DIRECTIVES},
        "additionalProperties": False,
        "anyOf": [{"required": ["extends"]}, {"required": required}],
        "$defs": definitions,
    }


def _sections(definitions: Schema) -> Schema:
    """The top-level keys; those that a task has a default for may be null, and `validation` stands under `data`."""
    properties = {name: _option(option, f"config.{name}", definitions) for name, option in section_options(RunConfig).items()}
    validation = properties.pop("validation")
    data = {"type": "object", "properties": {"validation": validation}}
    definitions["data"] = {"anyOf": [{"$ref": "#/$defs/dataset"}, data]}
    properties["data"] = {"$ref": "#/$defs/data"}
    return {name: _described(schema, section_options(RunConfig)[name].shape) for name, schema in properties.items()}


def _described(schema: Schema, shape: Shape) -> Schema:
    if isinstance(shape, SectionShape) and shape.cls.__doc__:
        return {"description": shape.cls.__doc__.splitlines()[0], **schema}
    return schema


def _kind(kind: str, registry: Registry, definitions: Schema) -> Schema:
    """Any component of a kind: a bare name, or an object with its options."""
    components = [component for component in registry.components() if component.kind == kind]
    families = [family for family in registry.families() if family.kind == kind]
    names = list(dict.fromkeys([component.name for component in components]))
    alternatives: list[Schema] = [{"type": "string", "enum": names}] if names else []
    alternatives += [_component(component, definitions) for component in components]
    alternatives += [alternative for family in families for alternative in _family(family)]
    return {"anyOf": alternatives} if alternatives else {"not": {}}


def _component(component: Component, definitions: Schema) -> Schema:
    name: Schema = {"const": component.name}
    schema: Schema = {"type": "object", "title": component.name, "description": summary(component.factory), "properties": {"name": name}}
    if not (component.kind == "model" and component.name == COMPOSED_MODEL):
        schema["required"] = ["name"]
    if option_check(component) is None:
        scope = ".".join(filter(None, (component.task, component.kind, component.name)))
        schema["properties"] |= _options(component_options(component), scope, definitions)
        schema["additionalProperties"] = False
    if component.kind == "dataset":
        schema["properties"].setdefault("validation", True)
    return schema


def _family(family: Family) -> list[Schema]:
    """Names are offered, others with the prefix taken; their options are not known before one is looked up."""
    names = [family.prefix + name for name in family.names()]
    name: Schema = {"anyOf": [{"enum": names}, {"type": "string", "pattern": f"^{re.escape(family.prefix)}"}]}
    return [name, {"type": "object", "properties": {"name": name}, "required": ["name"]}]


def _options(options: dict[str, Option], scope: str, definitions: Schema) -> Schema:
    return {name: _option(option, f"{scope}.{name}", definitions) for name, option in options.items()}


def _option(option: Option, scope: str, definitions: Schema) -> Schema:
    schema = _shape(option.shape, scope, definitions)
    if option.doc:
        schema = {"description": option.doc, **schema}
    if isinstance(option.shape, Leaf) and not option.required:
        schema = {**schema, "default": option.shape.plain(option.default)}
    return schema


def _shape(shape: Shape, scope: str, definitions: Schema) -> Schema:
    match shape:
        case Leaf():
            return _leaf(shape, scope, definitions)
        case ComponentShape():
            return {"$ref": f"#/$defs/{shape.kind}"}
        case SectionShape():
            properties = _options(section_options(shape.cls, shape.owner), scope, definitions)
            return {"type": ["object", "null"], "properties": properties, "additionalProperties": False}
        case ListShape():
            return {"type": "array", "items": _shape(shape.item, scope, definitions), "minItems": shape.min_items}
        case OptionalShape():
            return {"anyOf": [_shape(shape.inner, scope, definitions), {"type": "null"}]}
        case _:
            assert_never(shape)


def _leaf(leaf: Leaf, scope: str, definitions: Schema) -> Schema:
    """Pydantic's schema; its shared definitions move to the top under names that begin with where they are used."""
    schema = leaf.json_schema(f"#/$defs/{scope}.{{model}}")
    definitions.update({f"{scope}.{name}": definition for name, definition in schema.pop("$defs", {}).items()})
    return schema
