"""Whole runs of a small cascade: every stage is scored, one answers, and a run that is stopped in a later phase ends as the whole one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import toolkit
from toolkit.errors import StoppedError
from toolkit.visualize import visualize, visualize_untrained

pytestmark = pytest.mark.slow
PHASE = {"epochs": 2, "optimizer": {"name": "adam", "lr": 1e-3}}
CONFIG = {
    "task": "pose",
    "data": {"name": "synthetic_people", "size": 40, "image_size": 48, "validation": {"share": 0.2}},
    "transforms": {"train": [{"name": "HorizontalFlip", "p": 0.5}, {"name": "Normalize"}], "eval": [{"name": "Normalize"}]},
    "model": {"name": "deeppose", "backbone": "torchvision/squeezenet1_1", "stages": 3, "input_size": 48, "hidden": [16], "crops": 2},
    "metrics": ["pcp", {"name": "pdj", "thresholds": [0.5]}, "mean_error"],
    "fit": {
        "batch_size": 8,
        "phases": [PHASE | {"train": f"stage{stage}"} for stage in (1, 2, 3)],
        "select": {"use": "last", "metric": "val/mean_error_px"},
    },
    "plots": [],
    "runtime": {"device": "cpu", "precision": "float32", "threads": 1},
}


def test_all_stages_are_scored_and_the_best_on_validation_answers(tmp_path: Path) -> None:
    scores = toolkit.run(CONFIG, out=tmp_path / "run").scores
    on_validation = {stage: scores[f"val/stage{stage}/mean_error_px"] for stage in (1, 2, 3)}
    best = min(on_validation, key=lambda stage: on_validation[stage])
    for name in ("pcp", "pcp_relaxed", "pcp/head", "pdj@0.5", "pdj@0.5/neck", "mean_error_px"):
        assert scores[f"test/{name}"] == scores[f"test/stage{best}/{name}"]
    assert f"stage{best} answers, chosen by val/mean_error_px: stage1 " in (tmp_path / "run/log.txt").read_text()


def test_scales_are_measured_while_the_stage_learns_that_learns_first_and_in_a_finished_run_last(tmp_path: Path) -> None:
    def stages(scales: Any) -> set[str]:
        return {scale.name.split(".")[0] for scale in scales}

    short = ["fit.phases.0.epochs=1", "fit.phases.1.epochs=1", "fit.phases.2.epochs=1"]
    assert stages(visualize_untrained(CONFIG, out=tmp_path / "untrained").scales) == {"stage1"}
    assert stages(visualize(toolkit.run(CONFIG, short, out=tmp_path / "run").folder).scales) == {"stage3"}


@pytest.mark.parametrize("epoch", [3, 4, 5])
def test_a_cascade_stopped_in_a_later_phase_goes_on_as_if_it_had_not_been(tmp_path: Path, epoch: int) -> None:
    def stop(row: Any) -> None:
        if row["epoch"] == epoch:
            raise KeyboardInterrupt

    whole = toolkit.run(CONFIG, out=tmp_path / "whole")
    with pytest.raises(StoppedError):
        toolkit.run(CONFIG, out=tmp_path / "run", watch=stop)
    assert toolkit.resume(tmp_path / "run").scores == whole.scores
    rows = (tmp_path / "run/metrics.jsonl").read_bytes()
    assert rows == (tmp_path / "whole/metrics.jsonl").read_bytes()
    assert [json.loads(row)["phase"] for row in rows.splitlines()] == [f"stage{stage}" for stage in (1, 1, 2, 2, 3, 3)]
    weights = "checkpoints/last/model.safetensors"
    assert (tmp_path / "run" / weights).read_bytes() == (tmp_path / "whole" / weights).read_bytes()
