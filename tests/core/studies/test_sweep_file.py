"""Sweep files: what they say, and how their mistakes are told."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from toolkit.errors import ConfigError
from toolkit.extension.registry import Registry
from toolkit.studies.sweep_file import Named, Range, read_sweep

Study = Callable[[str], Path]
SHIPPED = sorted((Path(__file__).parents[3] / "configs" / "sweeps").glob("*.yaml"))

WHOLE = """\
config: tiny.yaml
set: {fit.phases.0.epochs: 3}
space:
  fit.phases.0.optimizer.lr: {low: 1e-4, high: 1e-1, log: true}
  model.hidden: {choices: [[8], [16, 16]]}
  fit.batch_size: {low: 8, high: 32}
trials: 5
metric: val/accuracy
direction: maximize
sampler: {name: random, seed: 3}
pruner: median
"""


def test_a_sweep_file_is_read_with_the_test_part_switched_off(study: Study, registry: Registry) -> None:
    sweep = read_sweep(study(WHOLE), synthetic=False, registry=registry)
    rate, hidden, size = sweep.space.values()
    assert isinstance(rate, Range)
    assert isinstance(size, Range)
    assert isinstance(hidden, tuple)
    assert (rate.low, rate.high, rate.log) == (1e-4, 1e-1, True)
    assert (size.low, size.high, size.log) == (8, 32, False)
    assert [choice.label for choice in hidden] == ["[8]", "[16, 16]"]
    assert (sweep.sampler, sweep.pruner, sweep.storage) == (Named("random", {"seed": 3}), Named("median", {}), None)
    assert (sweep.base.test, sweep.base.fit.phases[0].epochs) == (False, 3)


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("val/accuracy", "test/accuracy", "8:1: metric: input should be a validation score (val/...), got 'test/accuracy'"),
        ("maximize", "up", "9:1: direction: input should be 'maximize' or 'minimize', got 'up'"),
        ("direction: maximize\n", "", "a study needs 'direction'"),
        ("trials: 5", "trials: 0", "7:1: trials: input should be greater than or equal to 1, got 0"),
        ("low: 8, high: 32", "low: 32, high: 8", "6:3: space.fit.batch_size: low must be below high, got 32 and 8"),
        ("low: 1e-4", "low: 0", "4:3: space.fit.phases.0.optimizer.lr: low must be above 0 where log is true, got 0"),
        ("low: 8, high: 32", "low: 8", "space.fit.batch_size: input should be {low, high} or {low, high, log} or {choices}, got low"),
        ("low: 8, high: 32", "low: -8, high: 32", "6:3: fit.batch_size: input should be greater than or equal to 1, got -8"),
        ("[16, 16]", "[x]", "model.hidden.0: input should be a valid integer, got 'x'"),
        ("name: random", "name: tpee", "10:11: sampler: there is no such sampler: 'tpee'; there are: tpe, random; did you mean 'tpe'?"),
        ("seed: 3", "sead: 3", "10:25: sampler.sead: sampler 'random' has no such option; it has: seed"),
        ("seed: 3", "seed: -3", "10:25: sampler.seed: input should be greater than or equal to 0, got -3"),
        (WHOLE[WHOLE.index("space") : WHOLE.index("trials")], "", "space: nothing is searched"),
    ],
)
def test_a_mistake_in_a_sweep_file_is_told_with_its_place(study: Study, registry: Registry, old: str, new: str, told: str) -> None:
    with pytest.raises(ConfigError, match=r"study\.yaml") as caught:
        read_sweep(study(WHOLE.replace(old, new)), synthetic=False, registry=registry)
    assert told in str(caught.value)


REAL = """\
task: classification
data: mnist
model: {name: mlp, hidden: [8]}
fit: {phases: [{epochs: 1, optimizer: adam}]}
"""
ON_REAL = """\
config: real.yaml
set: {data.limit: 100}
space:
  data.limit: {low: 10, high: 100}
  data.name: {choices: [mnist, fashion_mnist]}
  network:
    choices: {small: {data.limit: 50}, large: {model.hidden: [16]}}
trials: 5
metric: val/accuracy
direction: maximize
"""


def test_on_a_stand_in_options_of_data_are_neither_set_nor_searched(study: Study, registry: Registry, tmp_path: Path) -> None:
    (tmp_path / "real.yaml").write_text(REAL)
    sweep = read_sweep(study(ON_REAL), synthetic=True, registry=registry)
    assert (sweep.stand_in, sweep.base.data.name) == ("synthetic_shapes", "synthetic_shapes")
    assert [setting.path for setting in sweep.common] == ["test", "fit.select.metric"]
    assert [*sweep.space] == ["network"]
    choices = sweep.space["network"]
    assert isinstance(choices, tuple)
    assert [(choice.label, [str(setting) for setting in choice.settings]) for choice in choices] == [
        ("small", []),
        ("large", ["model.hidden=[16]"]),
    ]


def test_a_sweep_of_nothing_but_options_of_data_has_no_stand_in(study: Study, registry: Registry, tmp_path: Path) -> None:
    (tmp_path / "real.yaml").write_text(REAL)
    text = ON_REAL[: ON_REAL.index("  network")] + ON_REAL[ON_REAL.index("trials") :]
    with pytest.raises(ConfigError, match=r"study\.yaml:3:1: space: only options of data are searched, which --synthetic leaves out$"):
        read_sweep(study(text), synthetic=True, registry=registry)


@pytest.mark.parametrize(
    ("metric", "direction", "told"),
    [
        ("val/loss", "maximize", "9:1: direction: val/loss is better lower, but direction is maximize; write minimize, and begin a new"),
        ("val/accuracy", "minimize", "9:1: direction: val/accuracy is better higher, but direction is minimize; write maximize, and begin"),
    ],
)
def test_a_direction_that_would_look_for_the_worst_is_told_with_its_place(
    study: Study, registry: Registry, metric: str, direction: str, told: str
) -> None:
    text = WHOLE.replace("val/accuracy", metric)
    right = "minimize" if direction == "maximize" else "maximize"
    read_sweep(study(text.replace("maximize", right)), synthetic=False, registry=registry).check_direction(["loss"])
    sweep = read_sweep(study(text.replace("maximize", direction)), synthetic=False, registry=registry)
    with pytest.raises(ConfigError, match=r"study\.yaml") as caught:
        sweep.check_direction(["loss"])
    assert told in str(caught.value)


@pytest.mark.parametrize("synthetic", [False, True])
@pytest.mark.parametrize("shipped", SHIPPED, ids=lambda file: file.name)
def test_every_shipped_sweep_is_right_with_and_without_synthetic_data(shipped: Path, synthetic: bool, registry: Registry) -> None:
    assert read_sweep(shipped, synthetic=synthetic, registry=registry).trials > 0
