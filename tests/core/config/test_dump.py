from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import yaml

from toolkit.config import RunConfig, check_config, dump_config, load_config, plain_config, read_text
from toolkit.extension import Origin, Registrar, Registry

CONFIG: dict[str, Any] = {
    "task": {"name": "pose", "flip": True},
    "data": {"name": "lsp", "root": "a/b", "validation": {"fold": 2}},
    "model": {"name": "cascade", "parts": ["vgg16_bn"], "names": {"no": 3e-4, "12:30": 1.0, "3e-4": 0.1 + 0.2}},
    "transforms": {"train": [{"name": "Affine", "rotate": [-40, 40], "note": "3e-4"}, {"name": "OneOf", "transforms": [{"name": "Blur"}]}]},
    "fit": {"phases": [{"epochs": 3, "train": ["a", "b"], "optimizer": {"name": "adam", "lr": 1e-8}, "schedule": "cosine"}]},
}


def reloaded(text: str, registry: Registry) -> RunConfig:
    return check_config(read_text(text, "config.yaml"), registry)


def test_a_dumped_config_loads_back_to_an_equal_one(registry: Registry) -> None:
    config, _ = load_config(CONFIG, registry=registry)
    text = dump_config(config)
    assert reloaded(text, registry) == config
    assert dump_config(reloaded(text, registry)) == text


def test_configs_that_differ_in_an_option_are_not_equal(registry: Registry) -> None:
    config, _ = load_config(CONFIG, registry=registry)
    assert load_config(CONFIG, overrides=["fit.phases.0.optimizer.lr=2e-8"], registry=registry)[0] != config
    assert load_config(CONFIG, overrides=["model.parts.0.pretrained=true"], registry=registry)[0] != config


def test_the_text_is_laid_out_like_a_hand_written_config(registry: Registry) -> None:
    text = dump_config(load_config(CONFIG, registry=registry)[0])
    assert text.startswith(
        """task: {name: pose, flip: true}
data: {name: lsp, root: a/b, validation: {share: 0.1, fold: 2, folds: 5, seed: 0}}
model:
  name: cascade
  parts: [{name: vgg16_bn, pretrained: false}]
  border: {fill: 7, mode: constant}
  names: {'no': 0.0003, '12:30': 1.0, '3e-4': 0.30000000000000004}
loss: {name: keypoint_l2, weight: 1.0}
metrics: [{name: pcp}]
plots: []
fit:
  name: gradient
  phases:
  - optimizer: {name: adam, lr: 1.0e-08, betas: [0.9, 0.999]}
    epochs: 3
    train: [a, b]
    schedule: {name: cosine, warmup: 0.0}
  batch_size: 128
"""
    )


@pytest.mark.parametrize("number", [3e-4, 1e-08, 0.1 + 0.2, 1e300, 5e-324, -0.0, 2.0, 123456789.123456789, 1e22])
def test_floats_keep_every_digit(registry: Registry, number: float) -> None:
    config, _ = load_config({**CONFIG, "model": {"name": "cascade", "names": {"x": number}}}, registry=registry)
    value = reloaded(dump_config(config), registry).model.options["names"]["x"]
    assert (value, math.copysign(1, value), type(value)) == (number, math.copysign(1, number), float)


@pytest.mark.parametrize(
    "text", ["no", "12:30", "3e-4", "010", "0x1", "null", "~", "", "true", ".nan", "a: b", "# x", "*x", "é", "two\nlines", " x ", "<<"]
)
def test_text_stays_text(registry: Registry, text: str) -> None:
    note = {"transforms": {"train": [{"name": "Affine", "note": text}]}}
    config, _ = load_config({**CONFIG, **note}, registry=registry)
    assert reloaded(dump_config(config), registry).transforms.train[0].options == {"note": text}


def test_a_reader_of_yaml_1_1_sees_the_same_values(registry: Registry) -> None:
    config, _ = load_config(CONFIG, registry=registry)
    assert yaml.safe_load(dump_config(config)) == plain_config(config)


def far(info: Any, /, *, limit: float = math.inf, where: Path | None = None) -> None: ...


def test_a_default_that_the_yaml_could_not_give_is_still_written(registry: Registry) -> None:
    extra = Registrar(Origin("far", "far", "1"))
    extra.loss("far", far)
    registry.add(extra)
    config, _ = load_config({**CONFIG, "loss": "far"}, registry=registry)
    assert "loss: {name: far, limit: .inf, where: null}\n" in dump_config(config)
