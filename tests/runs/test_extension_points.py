"""What a plugin may do beyond the plain contract: guided models, preparation between phases, calibration, one pass, rows, mixing."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

import toolkit
from toolkit.build import build_run
from toolkit.config import load_config
from toolkit.config.run_config import RuntimeConfig
from toolkit.errors import ConfigError
from toolkit.exporting.export import export
from toolkit.extension.discovery import load_plugins
from toolkit.training.checkpoint import load_checkpoint, save_checkpoint
from toolkit.training.runtime import choose_runtime

PLUGIN = Path(__file__).with_name("points_plugin.py")
GREY = {
    "task": "brightness",
    "data": {"name": "grey", "validation": {"share": 0.2}},
    "transforms": {"train": [{"name": "ToFloat"}], "eval": [{"name": "ToFloat"}]},
    "runtime": {"device": "cpu", "precision": "float32", "threads": 1},
}
SGD = {"epochs": 2, "optimizer": {"name": "sgd", "lr": 0.01}}
GUIDED = GREY | {"model": "guided", "fit": {"batch_size": 5, "phases": [SGD | {"train": "first"}, SGD | {"train": "second"}]}}
ONE_PASS = GREY | {"model": "mean_picture", "fit": {"name": "one_pass", "batch_size": 5}}


@pytest.fixture(autouse=True)
def _nothing_seen() -> Iterator[None]:
    yield
    vars(sys).pop("seen_by_points_plugin", None)


def seen(kind: str) -> list[Any]:
    return [event[1:] for event in vars(sys).get("seen_by_points_plugin", []) if event[0] == kind]


def train(config: dict[str, Any], out: Path, *overrides: str, **options: Any) -> Any:
    return toolkit.run(config, overrides, out=out, plugin_files=[PLUGIN], **options)


def several(metric: str) -> dict[str, Any]:
    fit = {**GUIDED["fit"], "select": {"metric": metric}}  # type: ignore[dict-item]
    return {**GUIDED, "task": {"name": "brightness", "several": True}, "metrics": ["median_error", "within", "never"], "fit": fit}


def test_a_guided_model_is_shown_the_truth_in_training_and_only_there(tmp_path: Path) -> None:
    train(GUIDED, tmp_path / "run")
    batches = seen("batch")
    assert {size for training, size in batches if size is not None} == {5}
    assert len([size for _, size in batches if size is not None]) == 2 * 2 * 3  # phases, epochs, batches of the 18 training samples
    assert any(size is None for _, size in batches)


def test_a_model_prepares_itself_on_validation_data_before_each_phase(tmp_path: Path) -> None:
    train(GUIDED, tmp_path / "run")
    assert seen("prepared") == [("first", 4, False, False), ("second", 4, False, False)]
    assert load_checkpoint(tmp_path / "run/checkpoints/last").tensors["model"]["prepared"] == 8


def test_a_run_resumed_within_a_phase_is_not_prepared_again(tmp_path: Path) -> None:
    whole = train(GUIDED, tmp_path / "whole")

    def stop(row: Any) -> None:
        if row["epoch"] == 3:
            raise KeyboardInterrupt

    with pytest.raises(toolkit.errors.StoppedError):
        train(GUIDED, tmp_path / "run", watch=stop)
    before = len(seen("prepared"))
    resumed = toolkit.runs.resume(tmp_path / "run")
    assert len(seen("prepared")) == before
    assert resumed.scores == whole.scores
    assert (tmp_path / "run/metrics.jsonl").read_bytes() == (tmp_path / "whole/metrics.jsonl").read_bytes()


def test_a_calibration_is_saved_with_the_weights_and_used_by_who_loads_them(tmp_path: Path) -> None:
    result = train(GUIDED, tmp_path / "run")
    offset = load_checkpoint(tmp_path / "run/checkpoints/best").tensors["calibration"]["offset"]
    predictor = toolkit.load(tmp_path / "run")
    assert predictor.task.offset == offset
    assert result.scores["test/median_error"] > 90  # the calibrated answers are far off; those of the fit are not
    assert toolkit.evaluate(tmp_path / "run")[0] == {n: s for n, s in result.scores.items() if n.startswith("test/")}


def test_the_reading_that_is_best_on_validation_answers_wherever_the_run_is_used(tmp_path: Path) -> None:
    scores = train(several("val/median_error"), tmp_path / "run").scores
    assert scores["val/near/median_error"] < scores["val/last/median_error"] < scores["val/far/median_error"]
    assert scores["val/median_error"] == scores["val/near/median_error"]
    assert scores["test/median_error"] == scores["test/near/median_error"]
    told = ", ".join(f"{name} {scores[f'val/{name}/median_error']:.4g}" for name in ("far", "last", "near"))
    assert f"near answers, chosen by val/median_error: {told}\n" in (tmp_path / "run/log.txt").read_text()
    assert toolkit.evaluate(tmp_path / "run")[0]["test/median_error"] == scores["test/median_error"]
    assert toolkit.load(tmp_path / "run").task.answer == "near"
    _, beside = export(tmp_path / "run", "safetensors")
    assert json.loads(beside.read_text())["run"]["answer"] == "near"
    rows = [json.loads(line) for line in (tmp_path / "run/metrics.jsonl").read_text().splitlines()]
    assert all(row["val/median_error"] == row["val/last/median_error"] for row in rows)  # there is no choice before the end


def test_a_score_that_should_be_high_chooses_the_reading_that_has_the_highest(tmp_path: Path) -> None:
    scores = train(several("val/within"), tmp_path / "run").scores
    assert [scores[f"val/{name}/within"] for name in ("far", "last", "near")] == [0.0, 0.0, 1.0]
    assert scores["test/within"] == 1.0
    assert json.loads((tmp_path / "run/results.json").read_text())["select"]["answer"] == "near"
    assert "Without a prefix they are those of near, which was best on validation." in (tmp_path / "run/report.html").read_text()


def test_readings_are_left_as_they_are_where_the_score_that_selects_tells_them_not_apart(tmp_path: Path) -> None:
    scores = train(several("val/loss"), tmp_path / "run").scores
    assert scores["val/median_error"] == scores["val/last/median_error"]
    told = "which of far, last, near answers was not chosen, since val/loss tells them not apart: the task's own choice stands"
    assert told in (tmp_path / "run/log.txt").read_text()
    assert "answer" not in json.loads((tmp_path / "run/results.json").read_text())["select"]
    _, beside = export(tmp_path / "run", "safetensors")
    assert json.loads(beside.read_text())["run"] == {"checkpoint": "best", "seed": 0}


def test_readings_are_left_as_they_are_where_the_score_that_selects_is_undefined(tmp_path: Path) -> None:
    scores = train(several("val/never"), tmp_path / "run").scores
    assert scores["val/median_error"] == scores["val/last/median_error"]
    told = "which of far, last, near answers was not chosen, since val/never is undefined (nobody knows): the task's own choice stands"
    assert told in (tmp_path / "run/log.txt").read_text()


def test_a_run_never_divides_a_group_between_training_and_validation(tmp_path: Path) -> None:
    config, plugins = GUIDED | {"data": {"name": "grey", "grouped": 3, "validation": {"share": 0.3}}}, load_plugins([PLUGIN])
    built = build_run(load_config(config, registry=plugins.registry)[0], plugins, choose_runtime(RuntimeConfig(device="cpu", threads=1)))
    groups = {split: {index // 3 for index in built.data.parts[split].indices.tolist()} for split in ("train", "validation")}
    built.close()
    assert groups["train"].isdisjoint(groups["validation"])
    assert groups["train"] | groups["validation"] == set(range(8))


def test_what_was_looked_up_in_test_data_stands_in_results_log_and_report(tmp_path: Path) -> None:
    train(GUIDED, tmp_path / "honest")
    train({**GUIDED, "task": {"name": "brightness", "on_test": True}}, tmp_path / "run")
    told = "calibrated on TEST samples"
    assert json.loads((tmp_path / "run/results.json").read_text())["caveats"] == [told]
    assert told in (tmp_path / "run/log.txt").read_text()
    assert f'<p class="notice">{told}</p>' in (tmp_path / "run/report.html").read_text()
    assert told not in (tmp_path / "honest/report.html").read_text()


def test_a_run_calibrated_on_test_data_is_not_evaluated_as_if_it_were_not(tmp_path: Path) -> None:
    train({**GUIDED, "task": {"name": "brightness", "on_test": True}}, tmp_path / "run")
    with pytest.raises(ConfigError, match=r"was calibrated on its test part, but the options .* now ask for its validation"):
        toolkit.evaluate(tmp_path / "run", overrides=["task.on_test=false"])


def test_a_calibration_that_does_not_say_where_it_was_made_is_believed(tmp_path: Path) -> None:
    train(GUIDED, tmp_path / "run")
    saved = load_checkpoint(tmp_path / "run/checkpoints/best")
    save_checkpoint(tmp_path / "run/checkpoints/best", saved.tensors, {k: v for k, v in saved.state.items() if k != "calibrated_on"})
    toolkit.evaluate(tmp_path / "run", overrides=["task.on_test=true"])


def test_further_pictures_of_a_prediction_are_written_beside_the_drawing(tmp_path: Path) -> None:
    train(GUIDED, tmp_path / "run")
    picture = tmp_path / "grey.png"
    toolkit.data.images.write_png(picture, torch.full((4, 4, 1), 50, dtype=torch.uint8).numpy())
    (answer,) = toolkit.load(tmp_path / "run").predict_files([picture], tmp_path / "out")
    assert answer["flat"] == str(tmp_path / "out/0000_grey_flat.png")
    assert Path(answer["flat"]).is_file()


def test_one_pass_shows_every_training_sample_once(tmp_path: Path) -> None:
    result = train(ONE_PASS, tmp_path / "run")
    assert seen("observed") == [(18,)]  # in batches of 5, 5, 5, 3
    checkpoint = load_checkpoint(tmp_path / "run/checkpoints/best")
    config = toolkit.config.load_config(tmp_path / "run/config.yaml", registry=toolkit.extension.discovery.load_plugins([PLUGIN]).registry)[
        0
    ]
    cut = toolkit.data.split.validation_indices(22, config.validation)[0]
    assert checkpoint.tensors["model"]["mean"].item() == pytest.approx(sum(10 * i for i in cut.tolist()) / len(cut) / 255)
    assert toolkit.runs.resume(tmp_path / "run").scores == result.scores
    assert seen("observed") == [(18,)]


def test_one_pass_needs_a_model_that_can(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"fit.name is one_pass, but Guided is trained by gradients; give fit.phases instead"):
        train(ONE_PASS, tmp_path / "run", "model=guided")


def test_one_pass_has_no_phases(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"fit: one_pass looks at every training batch once and has no phases; take them out"):
        train(GUIDED, tmp_path / "run", "fit.name=one_pass")


def test_a_batch_transform_mixes_training_batches_from_the_seeded_generator(tmp_path: Path) -> None:
    mixed = GUIDED | {"transforms": GREY["transforms"] | {"batch": ["inverted"]}}
    first = train(mixed, tmp_path / "a").scores
    draws = seen("mixed")
    assert len(draws) == 2 * 2 * 3
    assert len(set(draws)) == len(draws)
    assert train(mixed, tmp_path / "b").scores == first
    assert seen("mixed")[len(draws) :] == draws
    assert train(GUIDED, tmp_path / "c").scores != first


def test_a_run_may_leave_the_test_data_alone(tmp_path: Path) -> None:
    result = train(GUIDED, tmp_path / "run", "test=false")
    assert not [name for name in result.scores if name.startswith("test/")]
    with pytest.raises(ConfigError, match=r"data set 'grey' has no test part to evaluate; there are: validation"):
        toolkit.evaluate(tmp_path / "run")


def test_a_compiled_model_is_guided_and_scored_as_one_that_is_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    compiled: list[torch.nn.Module] = []
    real = torch.compile

    def compile_without_a_compiler(model: torch.nn.Module) -> Any:
        compiled.append(model)
        return real(model, backend="eager")

    monkeypatch.setattr(torch, "compile", compile_without_a_compiler)
    result = train(GUIDED, tmp_path / "run", "runtime.compile=true")
    assert len(compiled) == 2  # one for each phase
    assert (5 in {size for _, size in seen("batch")}) or seen("batch")
    monkeypatch.undo()
    assert result.scores == pytest.approx(train(GUIDED, tmp_path / "plain").scores, rel=1e-5)
