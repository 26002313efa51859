"""What the plugin registers, and that its configs can be built."""

from __future__ import annotations

from pathlib import Path

import pytest

from toolkit.config import load_config
from toolkit.extension import Component, Origin, Registrar
from toolkit.extension.discovery import load_plugins
from toolkit_clock import plugin
from toolkit_clock.task import ClockTask

CONFIGS = sorted((Path(__file__).parents[3] / "configs").glob("clock_*.yaml"))


def registered() -> list[Component]:
    registrar = Registrar(Origin("clock", "vision-toolkit"))
    plugin.toolkit_register(registrar)
    return registrar.components


def names(kind: str) -> set[str]:
    return {component.name for component in registered() if component.kind == kind}


def test_these_names_can_stand_in_a_config() -> None:
    assert names("task") == {"clock"}
    assert names("dataset") == {"clock_arrays", "clock_folder", "synthetic_clocks"}
    assert names("model") == {"clock_two_head"}
    assert names("backbone") == {"clock_trunk", "clock_conv_net"}
    assert names("head") == {"two_head", "single_720", "regression", "circular"}
    assert names("loss") == {"cross_entropy", "mse", "expected_error", "mixture"}
    assert names("metric") == {"common_sense_error", "time_accuracy"}
    assert names("transform") == {"StretchDarkStrokes"}


def test_the_defaults_of_the_task_are_registered() -> None:
    assert set(ClockTask.default_metrics) <= names("metric")
    assert set(ClockTask.default_plots) == names("plot")
    assert ClockTask.default_loss in names("loss")


@pytest.mark.parametrize("synthetic", [False, True])
@pytest.mark.parametrize("config", CONFIGS, ids=lambda path: path.stem)
def test_every_config_is_without_a_problem(config: Path, synthetic: bool) -> None:
    loaded, _ = load_config(config, synthetic=synthetic, registry=load_plugins().registry)
    assert loaded.task.name == "clock"
    if synthetic:
        assert loaded.data.name == "synthetic_clocks"
