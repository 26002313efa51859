"""The same from a script: `toolkit.run`, `toolkit.resume`, `toolkit.evaluate` and `toolkit.load`."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import numpy as np
import pytest
import yaml

import toolkit
from toolkit.data.images import read_image
from toolkit.errors import ConfigError, DataError


def test_a_run_from_a_mapping_gives_folder_scores_and_report(finished_run: Path, tiny: dict[str, Any], tmp_path: Path) -> None:
    result = toolkit.run(tiny, ["fit.phases.0.epochs=1", "seed=3"], out=tmp_path / "out")
    assert result.folder == tmp_path / "out"
    assert result.report == tmp_path / "out" / "report.html"
    assert result.report.is_file()
    written = json.loads((result.folder / "results.json").read_text())
    assert result.scores == written["scores"]
    assert result.undefined == written["undefined"]
    assert {"val/accuracy", "val/loss", "test/accuracy", "test/loss", "test/accuracy/circle"} <= result.scores.keys()
    assert (written["epochs"], written["seed"], written["config"]) == (1, 3, "config")
    assert written["data"] | {"fingerprint": ""} == {
        "name": "synthetic_shapes",
        "train": 108,
        "validation": 12,
        "test": 30,
        "fingerprint": "",
    }


def test_a_run_from_a_file_equals_one_from_the_same_mapping(finished_run: Path, tiny: dict[str, Any], tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(yaml.safe_dump(tiny))
    result = toolkit.run(file, out=tmp_path / "out")
    assert (result.folder / "metrics.jsonl").read_bytes() == (finished_run / "metrics.jsonl").read_bytes()
    assert (result.folder / "config.yaml").read_bytes() == (finished_run / "config.yaml").read_bytes()
    assert (result.folder / "source.yaml").read_text() == file.read_text()


def test_a_mapping_may_hold_paths_and_tuples(tiny: dict[str, Any], picture_folder: Callable[..., Path], tmp_path: Path) -> None:
    config = tiny | {"data": {"name": "image_folder", "root": picture_folder()}, "metrics": ("accuracy",)}
    result = toolkit.run(config, ["fit.phases.0.epochs=1"], out=tmp_path / "out")
    source = yaml.safe_load((result.folder / "source.yaml").read_text())
    assert source["data"] == {"name": "image_folder", "root": str(tmp_path / "pictures")}
    assert source["metrics"] == ["accuracy"]


def test_no_choice_is_left_automatic_in_the_config_of_a_run(finished_run: Path) -> None:
    written = yaml.safe_load((finished_run / "config.yaml").read_text())
    assert written["fit"]["eval_batch_size"] == 256
    assert "auto" not in (finished_run / "config.yaml").read_text()


def test_the_scores_of_a_run_are_those_of_its_best_epoch(finished_run: Path) -> None:
    rows = [json.loads(line) for line in (finished_run / "metrics.jsonl").read_text().splitlines()]
    results = json.loads((finished_run / "results.json").read_text())
    best = max(rows, key=lambda row: row["val/accuracy"])  # of equal ones the first
    assert results["select"] == {"epoch": best["epoch"], "value": best["val/accuracy"], "metric": "val/accuracy", "use": "best"}
    of_validation = {name: value for name, value in results["scores"].items() if name.startswith("val/")}
    assert of_validation == {name: value for name, value in best.items() if name.startswith("val/")}


def test_evaluate_gives_the_scores_of_the_run(finished_run: Path) -> None:
    scores, undefined = toolkit.evaluate(finished_run)
    written = json.loads((finished_run / "results.json").read_text())
    assert scores == {name: value for name, value in written["scores"].items() if name.startswith("test/")}
    assert undefined == {}


def test_the_training_part_is_not_evaluated(finished_run: Path) -> None:
    message = r"^data set 'synthetic_shapes' has no train part to evaluate; there are: validation, test$"
    with pytest.raises(ConfigError, match=message):
        toolkit.evaluate(finished_run, "train")


def test_a_model_is_scored_on_other_data_by_overrides(finished_run: Path) -> None:
    before = {file: file.read_bytes() for file in finished_run.rglob("*.json")}
    own, other = (toolkit.evaluate(finished_run, "test", overrides)[0] for overrides in ((), ["data.size=240"]))
    assert own.keys() == other.keys()
    assert own != other
    assert {file: file.read_bytes() for file in finished_run.rglob("*.json")} == before


def test_resuming_a_finished_run_gives_its_result_again(copied_run: Path) -> None:
    before = json.loads((copied_run / "results.json").read_text())
    metrics = (copied_run / "metrics.jsonl").read_bytes()
    assert toolkit.resume(copied_run).scores == before["scores"]
    assert (copied_run / "metrics.jsonl").read_bytes() == metrics


def test_a_resumed_run_still_says_by_which_command_it_began(copied_run: Path) -> None:
    file = copied_run / "environment.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"command": "toolkit run mine.yaml seed=3"}))
    toolkit.resume(copied_run)
    assert json.loads(file.read_text())["command"] == "toolkit run mine.yaml seed=3"
    assert "toolkit run mine.yaml seed=3" in (copied_run / "report.html").read_text()


@pytest.fixture
def folder_run(tiny: dict[str, Any], picture_folder: Callable[..., Path], tmp_path: Path) -> Path:
    """A run on an image folder whose pictures are dark cats and bright dogs."""
    config = tiny | {"data": {"name": "image_folder", "root": str(picture_folder())}, "plots": []}
    return toolkit.run(config, ["fit.phases.0.epochs=8", "fit.batch_size=8"], out=tmp_path / "out").folder


def test_a_loaded_model_answers_as_the_command_line_does_for_files_and_arrays_without_the_data_set(
    folder_run: Path, tmp_path: Path, command: Callable[..., CompletedProcess[str]]
) -> None:
    files = [shutil.copy(tmp_path / "pictures" / name / "0.png", tmp_path / f"{name}.png") for name in ("cat", "dog")]
    shutil.rmtree(tmp_path / "pictures")
    printed = [json.loads(line) for line in command("predict", folder_run, *files, "--out", tmp_path / "drawn").stdout.splitlines()]
    model = toolkit.load(folder_run)
    for file, line in zip(files, printed, strict=True):
        answer = model.predict(file)
        assert answer == {name: value for name, value in line.items() if name not in ("image", "picture")}
        assert model.predict(read_image(file)) == answer
        assert model.predict(str(file)) == answer
    assert [line["class"] for line in printed] == ["cat", "dog"]


def test_a_picture_of_another_kind_is_refused(finished_run: Path) -> None:
    model = toolkit.load(finished_run)
    with pytest.raises(DataError, match=r"^a picture must be \[H, W, 3\] uint8, got \[16, 16, 3\] float64$"):
        model.predict(np.zeros((16, 16, 3)))  # type: ignore[arg-type]
    with pytest.raises(DataError, match=r"^a picture must be \[H, W, 3\] uint8, got \[16, 16\] uint8$"):
        model.predict(np.zeros((16, 16), np.uint8))


def test_errors_reach_a_script_with_their_exit_code(tiny: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"<config>: .*no model named 'cnnn'.*did you mean 'cnn'\?") as caught:
        toolkit.run(tiny | {"model": "cnnn"}, out=tmp_path / "out")
    assert caught.value.exit_code == 2
    assert not (tmp_path / "out").exists()


def test_a_run_leaves_the_process_as_it_found_it(tiny: dict[str, Any], tmp_path: Path) -> None:
    import signal

    import torch

    torch.set_num_threads(2)
    before = (torch.get_num_threads(), signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM))
    toolkit.run(tiny, ["fit.phases.0.epochs=1", "plots=[]"], out=tmp_path / "out")
    assert (torch.get_num_threads(), signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before
