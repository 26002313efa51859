from __future__ import annotations

import json
from typing import Any

from toolkit.config import json_schema
from toolkit.extension import Registry


def component(schema: Any, kind: str, name: str) -> Any:
    return next(item for item in schema["$defs"][kind]["anyOf"] if item.get("title") == name)


def references(schema: Any) -> set[str]:
    if isinstance(schema, dict):
        own = {schema["$ref"]} if "$ref" in schema else set()
        return own.union(*map(references, schema.values()))
    return set().union(*map(references, schema)) if isinstance(schema, list) else set()


def test_it_is_json_and_every_reference_leads_somewhere(registry: Registry) -> None:
    schema = json.loads(json.dumps(json_schema(registry)))
    assert {reference.removeprefix("#/$defs/") for reference in references(schema)} <= schema["$defs"].keys()


def test_the_top_level_is_the_sections_of_a_config(registry: Registry) -> None:
    schema = json_schema(registry)
    assert set(schema["properties"]) == {
        *(
            "task",
            "data",
            "model",
            "loss",
            "metrics",
            "plots",
            "fit",
            "transforms",
            "loader",
            "runtime",
            "pretrained",
            "test",
            "seed",
            "extends",
            "synthetic",
        )
    }
    assert schema["additionalProperties"] is False
    assert schema["anyOf"] == [{"required": ["extends"]}, {"required": ["task", "data", "model", "fit"]}]


def test_sections_have_types_bounds_defaults_and_descriptions(registry: Registry) -> None:
    fit = json_schema(registry)["properties"]["fit"]
    assert fit["description"] == "How the model is trained."
    assert fit["properties"]["batch_size"] == {
        "type": "integer",
        "minimum": 1,
        "default": 128,
        "description": "samples per optimizer step, over all processes and accumulation steps together.",
    }
    assert fit["properties"]["phases"]["items"]["properties"]["schedule"] == {"anyOf": [{"$ref": "#/$defs/schedule"}, {"type": "null"}]}


def test_a_component_is_a_name_or_an_object_with_its_options(registry: Registry) -> None:
    schema = json_schema(registry)
    assert schema["$defs"]["model"]["anyOf"][0] == {"type": "string", "enum": ["composed", "deeppose", "cascade"]}
    deeppose = component(schema, "model", "deeppose")
    assert deeppose["description"] == "Keypoint regression refined by a cascade of crops."
    assert deeppose["properties"]["name"] == {"const": "deeppose"}
    assert deeppose["properties"]["backbone"] == {"description": "from crops to features.", "$ref": "#/$defs/backbone"}
    assert deeppose["properties"]["dropout"]["exclusiveMaximum"] == 1
    assert deeppose["properties"]["betas"]["default"] == [0.9, 0.999]
    assert deeppose["required"] == ["name"]
    assert deeppose["additionalProperties"] is False


def test_the_composed_model_needs_no_name(registry: Registry) -> None:
    assert "required" not in component(json_schema(registry), "model", "composed")


def test_a_family_offers_its_names_and_takes_others(registry: Registry) -> None:
    name = {"anyOf": [{"enum": ["HorizontalFlip"]}, {"type": "string", "pattern": "^"}]}
    assert json_schema(registry)["$defs"]["transform"]["anyOf"] == [
        name,
        {"type": "object", "properties": {"name": name}, "required": ["name"]},
    ]


def test_a_data_set_may_say_how_validation_is_cut(registry: Registry) -> None:
    schema = json_schema(registry)
    assert component(schema, "dataset", "lsp")["properties"].keys() == {"name", "root", "validation"}
    validation = schema["$defs"]["data"]["anyOf"][1]["properties"]["validation"]
    assert validation["properties"]["share"]["exclusiveMaximum"] == 1


def test_a_kind_that_nobody_registered_takes_nothing() -> None:
    assert json_schema(Registry())["$defs"]["head"] == {"not": {}}
