"""What the plugin registers."""

from __future__ import annotations

import inspect

import pytest

from toolkit.extension import Component, Origin, Registrar
from toolkit_classification import plugin
from toolkit_classification.task import ClassificationTask


def registered() -> list[Component]:
    registrar = Registrar(Origin("classification", "vision-toolkit"))
    plugin.toolkit_register(registrar)
    return registrar.components


def names(kind: str) -> set[str]:
    return {component.name for component in registered() if component.kind == kind}


def test_these_names_can_stand_in_a_config() -> None:
    assert names("task") == {"classification"}
    assert names("dataset") == {"mnist", "fashion_mnist", "cifar10", "cifar100", "image_folder", "synthetic_shapes"}
    assert names("model") == {"mlp", "cnn", "alexnet", "alexnet_cifar", "vgg8", "vgg16", "vgg16_bn"}
    assert names("transform") == {"permute_pixels"}
    assert names("metric") == {"accuracy", "accuracy_top5", "f1_macro"}
    assert names("plot") == {"confusion_matrix", "prediction_grid", "per_class_accuracy"}


def test_the_defaults_of_the_task_are_registered() -> None:
    task = ClassificationTask
    assert set(task.default_metrics) <= names("metric")
    assert set(task.default_plots) <= names("plot")
    assert task.default_select == "val/accuracy"


def test_every_real_data_set_has_a_synthetic_stand_in() -> None:
    for component in registered():
        if component.kind == "dataset" and component.name != "synthetic_shapes":
            assert component.synthetic == "synthetic_shapes"


@pytest.mark.parametrize("component", registered(), ids=lambda component: f"{component.kind}:{component.name}")
def test_every_option_is_explained(component: Component) -> None:
    options = [p.name for p in inspect.signature(component.factory).parameters.values() if p.kind is p.KEYWORD_ONLY]
    text = inspect.getdoc(component.factory) or ""
    for option in options:
        assert f"    {option}: " in text, option
