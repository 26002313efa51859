"""`toolkit summary` of configs."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import pytest
import yaml
from PIL import Image

from toolkit.errors import ConfigError
from toolkit.summary import summarise


def written(config: dict[str, Any], folder: Path) -> Path:
    file = folder / "config.yaml"
    file.write_text(yaml.safe_dump(config))
    return file


def test_a_config_is_summarised_from_its_data_and_eval_transforms(
    tiny: dict[str, Any], tmp_path: Path, command: Callable[..., Any]
) -> None:
    config = written(tiny | {"transforms": {"eval": [{"name": "Resize", "height": 20, "width": 20}]}}, tmp_path)
    done: CompletedProcess[str] = command("summary", config, "model.filters=[6]", "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert (found["model"], found["input_shape"]) == ("cnn", [3, 20, 20])
    first = found["layers"][0]
    assert (first["kind"], first["output_shape"], first["parameters"]) == ("Conv2d", [6, 18, 18], 6 * 27 + 6)
    assert found["layers"][-1]["output_shape"] == [10]


def test_the_table_is_printed_and_the_picture_drawn(tiny: dict[str, Any], tmp_path: Path, command: Callable[..., Any]) -> None:
    done: CompletedProcess[str] = command("summary", written(tiny, tmp_path), "--picture", tmp_path / "drawn" / "network.png")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[0].split()[:4] == ["layer", "kind", "output", "parameters"]
    with Image.open(tmp_path / "drawn" / "network.png") as picture:
        assert picture.width > 400


def test_a_composed_network_is_named_by_its_parts(tiny: dict[str, Any]) -> None:
    found = summarise(tiny | {"model": {"backbone": "torchvision/squeezenet1_1", "head": "linear"}}, ["data.image_size=32"])
    assert found.model == "torchvision/squeezenet1_1 + linear"
    assert found.inspection.layers[0].name == "backbone.body.0"
    assert found.as_json()["parameters"] == found.inspection.parameters


def test_a_data_set_made_of_others_is_no_hindrance() -> None:
    people = {"name": "synthetic_people", "size": 4, "image_size": 64}
    config = {
        "task": "pose",
        "data": {"name": "joined", "parts": [people, people | {"seed": 1}]},
        "model": {"name": "pose_net", "backbone": "timm/test_resnet", "head": "keypoints"},
        "fit": {"phases": [{"epochs": 1, "optimizer": "sgd"}]},
    }
    assert summarise(config).as_json()["input_shape"] == [3, 64, 64]


def test_a_wrong_config_is_told_as_by_run(tiny: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=r"no model named 'cnnn'"):
        summarise(tiny | {"model": "cnnn"})
