"""`toolkit lr-find`: the range test of a config."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.commands import Command
from toolkit.data.images import read_image
from toolkit.errors import ConfigError
from toolkit.studies.lr_find import lr_find


@pytest.fixture
def config(tiny: dict[str, Any], tmp_path: Path) -> Path:
    file = tmp_path / "tiny.yaml"
    model = {"name": "mlp", "hidden": [16]}
    fit = {"batch_size": 16, "phases": [{"epochs": 3, "optimizer": {"name": "sgd", "lr": 0.5}, "schedule": "cosine"}]}
    file.write_text(yaml.safe_dump(tiny | {"model": model, "fit": fit}))
    return file


def found(command: Command, config: Path, out: Path, *more: str) -> Any:
    ended = command("lr-find", config, *more, "--out", out)
    assert (ended.returncode, ended.stderr) == (0, "")
    return json.loads((out / "lr_find.json").read_text()) | {"printed": ended.stdout}


def test_the_rate_rises_to_high_over_more_batches_than_an_epoch_has(command: Command, config: Path, tmp_path: Path) -> None:
    test = found(command, config, tmp_path / "out", "--low", "1e-6", "--high", "1e-3", "--steps", "40")  # 6 batches an epoch
    assert (len(test["rates"]), len(test["losses"]), test["diverged"]) == (40, 40, False)
    assert (test["rates"][0], test["rates"][-1]) == pytest.approx((1e-6, 1e-3))
    assert (test["optimizer"], test["batch_size"], test["low"], test["high"]) == ("sgd", 16, 1e-6, 1e-3)
    assert read_image(tmp_path / "out" / "lr_find.png").std() > 5
    assert not (tmp_path / "out" / "last").exists()


def test_it_ends_where_the_loss_diverges_and_says_where(command: Command, config: Path, tmp_path: Path) -> None:
    test = found(command, config, tmp_path / "out", "--low", "1e-3", "--high", "1e6", "--steps", "100")
    assert test["diverged"]
    assert 10 <= len(test["losses"]) < 100
    assert f"diverged at    {test['rates'][-1]:.2g}" in test["printed"]


def test_it_trains_as_a_run_does_with_the_rate_in_place_of_the_schedule(command: Command, config: Path, tmp_path: Path) -> None:
    """With a rate of nearly nothing the losses are those of an untrained network; with parts of a batch they are the same."""
    whole = found(command, config, tmp_path / "a", "--low", "1e-12", "--high", "1.1e-12", "--steps", "42")
    parts = found(command, config, tmp_path / "b", "fit.accumulate=2", "--low", "1e-12", "--high", "1.1e-12", "--steps", "42")
    assert parts["losses"] == pytest.approx(whole["losses"], rel=1e-4)
    assert sum(whole["losses"][:6]) == pytest.approx(sum(whole["losses"][6:12]), rel=0.05)  # the same pictures in another order
    assert whole["suggested"] is None
    assert "no suggestion: the loss did not fall between 1e-12 and 1.1e-12" in whole["printed"]


def test_too_few_steps_are_refused_and_overrides_from_a_generator_are_noted(config: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"^5 steps are too few for a range test; expected at least 10$"):
        lr_find(config, steps=5, out=tmp_path / "few")
    _, folder = lr_find(config, (f"seed={seed}" for seed in (3,)), steps=12, out=tmp_path / "out")
    assert json.loads((folder / "lr_find.json").read_text())["overrides"] == ["seed=3"]


def test_rates_that_do_not_rise_are_refused(command: Command, config: Path, tmp_path: Path) -> None:
    ended = command("lr-find", config, "--low", "1", "--high", "0.1", "--out", tmp_path / "out")
    assert ended.returncode == 2
    assert ended.stderr == "error: the learning rate goes from low 1 to high 0.1; it must rise from above 0\n"
