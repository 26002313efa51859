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
    assert names("model") == {"clock_net"}
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


def test_every_head_is_used_by_a_config() -> None:
    loaded = [load_config(config, synthetic=True, registry=load_plugins().registry)[0] for config in CONFIGS]
    heads = {config.model.options["head"].name for config in loaded if "head" in config.model.options}
    assert heads == names("head")


def test_drawn_dials_that_training_turns_by_quarter_turns_say_where_12_is() -> None:
    loaded = {config.stem: load_config(config, synthetic=True, registry=load_plugins().registry)[0] for config in CONFIGS}
    turning = {name: config for name, config in loaded.items() if "RandomRotate90" in [each.name for each in config.transforms.train]}
    assert turning.keys() == {"clock_dials"}
    for name, config in turning.items():
        assert config.data.options["turn_deg"] > 12, name  # only then synthetic_clocks marks 12 on every dial


def test_the_dials_recipe_turns_in_training_and_in_evaluation_and_keeps_the_last_average() -> None:
    config, _ = load_config(Path(__file__).parents[3] / "configs" / "clock_dials.yaml", registry=load_plugins().registry)
    assert config.transforms.train[0].name == "RandomRotate90"
    assert config.model.options["turn_average"] is True
    assert (config.fit.select.use, config.fit.ema) == ("last", 0.998)
