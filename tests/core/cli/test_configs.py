"""`check`, `show` and `schema`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from tests.commands import Command

SHIPPED = sorted((Path(__file__).parents[3] / "configs").glob("*.yaml"))


def test_there_are_shipped_configs() -> None:
    assert SHIPPED


@pytest.mark.parametrize("shipped", SHIPPED, ids=lambda file: file.name)
def test_every_shipped_config_is_right_with_and_without_synthetic_data(shipped: Path, command: Command) -> None:
    ended = command("check", shipped)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, f"{shipped}: ok\n", "")


def test_check_tells_the_problems_of_all_files_and_which_files_are_right(command: Command, config: Path, tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / f"{name}.yaml").write_text(config.read_text().replace("name: mlp", f"name: mlp_{name}"))
    ended = command("check", tmp_path / "a.yaml", config, tmp_path / "b.yaml")
    assert ended.returncode == 2
    assert ended.stdout == f"{config}: ok\n"
    first, second = ended.stderr.splitlines()
    assert first.startswith(f"error: {tmp_path}/a.yaml:")
    assert second.startswith(f"{tmp_path}/b.yaml:")
    assert first.endswith("no model named 'mlp_a' for task 'classification'; did you mean 'mlp'?")


def test_check_lays_options_over_every_file(command: Command, config: Path) -> None:
    assert command("check", config, "fit.batch_size=4").stdout == f"{config}: ok\n"
    ended = command("check", config, "fit.batch_size=0")
    assert ended.returncode == 2
    assert "fit.batch_size: input should be greater than or equal to 1, got 0" in ended.stderr


def test_options_are_not_checked_against_the_synthetic_data_which_may_have_others(command: Command) -> None:
    (shipped,) = (file for file in SHIPPED if file.name == "classification_mnist_cnn.yaml")
    assert command("check", shipped, "data.limit=100").stdout == f"{shipped}: ok\n"


def test_check_of_options_without_a_file_asks_for_one(command: Command) -> None:
    ended = command("check", "fit.batch_size=4")
    assert (ended.returncode, ended.stderr) == (2, "error: name a config file to check before the options laid over it\n")


def test_what_show_prints_is_a_config_that_shows_the_same(command: Command, config: Path, tmp_path: Path) -> None:
    shown = command("show", config, "fit.batch_size=4", "seed=7").stdout
    values = yaml.safe_load(shown)
    assert (values["fit"]["batch_size"], values["seed"]) == (4, 7)
    assert values["model"]["dropout"] == 0.2  # a default, written out
    again = tmp_path / "shown.yaml"
    again.write_text(shown)
    assert command("show", again).stdout == shown


def test_show_with_synthetic_data_lays_that_block_over_the_file(command: Command, config: Path) -> None:
    config.write_text(config.read_text() + "synthetic: {fit: {batch_size: 2}}\n")
    assert yaml.safe_load(command("show", config).stdout)["fit"]["batch_size"] == 8
    assert yaml.safe_load(command("show", config, "--synthetic").stdout)["fit"]["batch_size"] == 2


def test_schema_prints_a_json_schema_that_knows_the_components(command: Command) -> None:
    ended = command("schema")
    assert ended.returncode == 0
    printed = json.loads(ended.stdout)
    assert printed["type"] == "object"
    assert {"task", "data", "model", "fit", "transforms"} <= printed["properties"].keys()
    assert all(f'"{name}"' in ended.stdout for name in ("synthetic_shapes", "alexnet_cifar", "adam"))


def test_checking_no_file_is_a_usage_error(command: Command) -> None:
    assert command("check").returncode == 2


@pytest.mark.parametrize(("key", "verb"), [("axes", "grid"), ("space", "sweep")])
def test_a_study_is_told_from_a_config(key: str, verb: str, command: Command, tmp_path: Path) -> None:
    study = tmp_path / "study.yaml"
    study.write_text(f"config: tiny.yaml\n{key}: {{}}\n")
    ended = command("check", study)
    assert ended.returncode == 2
    assert ended.stderr == f"error: {study}:1:1: this is no config but a study of one; run it with `toolkit {verb}`\n"
