"""`toolkit visualize` of a run and of an untrained config."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image

import toolkit
from toolkit.data.images import write_png
from toolkit.errors import ConfigError, DataError
from toolkit.visualize import visualize, visualize_untrained


def test_a_run_is_looked_into_with_its_first_test_pictures(finished_run: Path, tmp_path: Path, command: Callable[..., Any]) -> None:
    done: CompletedProcess[str] = command("visualize", finished_run, "--out", tmp_path / "inside", "--json")
    assert done.returncode == 0, done.stderr
    made = json.loads(done.stdout)
    names = sorted(Path(file).name for file in made["files"])
    features = [name for name in names if name.startswith("features_features.0_")]
    assert len(features) == 4
    maps = [f"saliency_features.4_{number:02d}_test_{number:05d}.png" for number in range(4)]
    assert sorted({*names} - {*features}) == ["filters.png", *maps, "scales.json", "scales.png"]
    assert sorted(path.name for path in (tmp_path / "inside").iterdir()) == names
    assert [scale["name"] for scale in made["scales"]] == ["features.0", "classifier.1", "classifier.4"]
    assert all(scale["gradient_norm"] > 0 and scale["between_pictures"] > 0 for scale in made["scales"])
    assert json.loads((tmp_path / "inside" / "scales.json").read_text()) == made["scales"]
    with Image.open(tmp_path / "inside" / "filters.png") as picture:
        assert picture.width > 100


def test_named_pictures_and_a_chosen_layer_need_no_data_set(finished_run: Path, tmp_path: Path) -> None:
    picture = tmp_path / "my picture.png"
    write_png(picture, np.random.default_rng(0).integers(0, 255, (40, 30, 3)).astype(np.uint8))
    made = visualize(finished_run, [picture], layer="features.1", out=tmp_path / "inside")
    assert [file.name for file in made.files] == [
        "filters.png",
        "features_features.1_00_my_picture.png",
        "saliency_features.1_00_my_picture.png",
    ]
    assert made.scales == ()


def test_an_unknown_layer_and_a_missing_picture_are_told(finished_run: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"^--layer conv9: no layer of that name gives a map; there are: features\.0, features\.1, "):
        visualize(finished_run, layer="conv9", out=tmp_path / "inside")
    with pytest.raises(DataError, match=r"^no such picture: .*none\.png$"):
        visualize(finished_run, [tmp_path / "none.png"], out=tmp_path / "inside")


def test_an_untrained_network_gives_its_scales_from_the_configs_seed(
    tiny: dict[str, Any], tmp_path: Path, command: Callable[..., Any]
) -> None:
    config = tmp_path / "config.yaml"
    config.write_text(yaml.safe_dump(tiny))
    done: CompletedProcess[str] = command("visualize", config, "model.dense=[6]", "--out", tmp_path / "one")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert [line.split()[0] for line in lines[:4]] == ["layer", "features.0", "classifier.1", "classifier.4"]
    assert lines[4:] == [str(tmp_path / "one" / "scales.png"), str(tmp_path / "one" / "scales.json")]
    again: CompletedProcess[str] = command("visualize", config, "model.dense=[6]", "--out", tmp_path / "two")
    assert again.stdout.splitlines()[:4] == lines[:4]


def test_a_network_that_begins_with_given_weights_is_measured_with_them(finished_run: Path, tiny: dict[str, Any], tmp_path: Path) -> None:
    weights = finished_run / "checkpoints" / "best" / "model.safetensors"
    norms = [scale.weight_norm for scale in visualize(finished_run, out=tmp_path / "run").scales]
    given = visualize_untrained(tiny, [f"pretrained={weights}"], out=tmp_path / "given").scales
    assert [scale.weight_norm for scale in given] == pytest.approx(norms)
    assert [scale.weight_norm for scale in visualize_untrained(tiny, out=tmp_path / "new").scales] != pytest.approx(norms)


def test_what_the_first_phase_freezes_gets_no_gradient(tiny: dict[str, Any], tmp_path: Path) -> None:
    scales = visualize_untrained(tiny, ["fit.phases.0.train=classifier"], out=tmp_path / "inside").scales
    assert {scale.name: scale.gradient_norm is None for scale in scales} == {
        "features.0": True,
        "classifier.1": False,
        "classifier.4": False,
    }


def test_options_that_do_not_apply_are_refused(
    finished_run: Path, tiny: dict[str, Any], tmp_path: Path, command: Callable[..., Any]
) -> None:
    config = tmp_path / "config.yaml"
    config.write_text(yaml.safe_dump(tiny))
    layer: CompletedProcess[str] = command("visualize", config, "--layer", "features.0")
    assert layer.stderr == "error: --layer is of no use for a config: feature maps are drawn of a run\n"
    synthetic: CompletedProcess[str] = command("visualize", finished_run, "--synthetic")
    assert synthetic.stderr == "error: a run folder knows its own data and plugins; leave out --synthetic and --plugin\n"


def test_a_network_without_maps_shows_its_first_weights_as_pictures(tiny: dict[str, Any], tmp_path: Path) -> None:
    config = tiny | {"model": {"name": "mlp", "hidden": [4]}, "plots": []}
    folder = toolkit.run(config, ["fit.phases.0.epochs=1"], out=tmp_path / "out").folder
    made = visualize(folder)
    assert [file.relative_to(folder).as_posix() for file in made.files] == [
        "inside/filters.png",
        *(f"inside/saliency_{n:02d}_test_{n:05d}.png" for n in range(4)),
        "inside/scales.png",
        "inside/scales.json",
    ]
    with pytest.raises(ConfigError, match=r"^--layer features\.1: no layer of this network gives a map$"):
        visualize(folder, layer="features.1")
