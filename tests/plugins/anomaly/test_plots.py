"""Figures: what their rows, lines and bars show."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from toolkit.evaluation.evaluation import Evaluation
from toolkit_anomaly.datasets import regions_of
from toolkit_anomaly.diagnosis import draw_epochs, read_rows, toolkit_epoch_ended
from toolkit_anomaly.plots import DefectRows, ScoreHistograms, ThresholdSweep
from toolkit_anomaly.types import AnomalyInfo, AnomalyPrediction, AnomalyTruth

INFO = AnomalyInfo((3, 8, 8), ("good", "crack", "hole"), True)
NO_MASKS = AnomalyInfo((3, 8, 8), ("good", "crack", "hole"), False)


def evaluation(*, masks: bool = True, reconstructs: bool = True) -> Evaluation[AnomalyPrediction]:
    """Two pictures of each kind; a defect is the upper left quarter, where scores are 0.5 and elsewhere 0.1."""
    kinds = torch.tensor([0, 0, 1, 1, 2, 2])
    scores = torch.full((6, 8, 8), 0.1)
    scores[2:, :4, :4] = 0.5
    regions = torch.stack([regions_of((row > 0.2).numpy()) for row in scores])
    if not masks:
        regions = torch.empty(6, 8, 8, 0, dtype=torch.int16)
    limit = torch.full((6,), 0.3)
    rebuilt = torch.zeros(6, 3 if reconstructs else 0, 8, 8, dtype=torch.uint8)
    prediction = AnomalyPrediction(scores, scores > 0.3, scores.amax(dim=(1, 2)), limit, limit, rebuilt, torch.eye(3).repeat(6, 1, 1))
    truth, picture = AnomalyTruth(kinds, regions), np.full((8, 8, 3), 90, np.uint8)
    return Evaluation("test", tuple("abcdef"), prediction, truth, torch.zeros(6), {}, {}, lambda index: picture)


def titles(figure: Any) -> list[str]:
    return [axes.get_title() for axes in figure.axes if axes.get_title()]


def test_rows_show_every_kind_defects_first_with_all_five_pictures() -> None:
    figure = DefectRows(INFO, count=1)(evaluation())
    assert titles(figure) == ["input", "reconstruction", "map", "mask", "true mask"]
    assert [axes.get_ylabel() for axes in figure.axes if axes.get_ylabel()] == [
        "crack\n(called defective)", "hole\n(called defective)", "good\n(called good)",
    ]  # fmt: skip
    assert np.sum(figure.axes[4].images[0].get_array()) == 16


def test_columns_that_nobody_has_are_left_out() -> None:
    assert titles(DefectRows(NO_MASKS)(evaluation(masks=False, reconstructs=False))) == ["input", "map", "mask"]


def test_the_sweep_falls_from_all_to_nothing_at_the_scores_of_the_defect() -> None:
    figure = ThresholdSweep(INFO)(evaluation())
    recall, precision, accuracy = (np.asarray(figure.axes[n].lines[0].get_xydata()) for n in range(3))
    assert [line.get_label() for line in figure.axes[0].lines[:2]] == ["crack", "hole"]
    between = (recall[:, 0] > 0.2) & (recall[:, 0] < 0.4)
    assert (recall[between, 1] == 1).all()
    assert (precision[between, 1] == 1).all()
    assert (accuracy[between, 1] == 1).all()
    assert recall[-1, 1] == 0
    assert accuracy[-1, 1] == pytest.approx(0.75)  # a quarter of a defective picture is missed


def test_without_masks_the_sweep_says_so() -> None:
    figure = ThresholdSweep(NO_MASKS)(evaluation(masks=False))
    assert figure.axes[0].texts[0].get_text() == "no defective pixel is known: there are no masks"


@pytest.mark.parametrize(("masks", "count"), [(True, 2), (False, 1)])
def test_histograms_add_up_to_one_for_each_group(masks: bool, count: int) -> None:
    figure = ScoreHistograms(INFO)(evaluation(masks=masks))
    assert len(figure.axes) == count
    for axes in figure.axes:
        heights = sum(patch.get_height() for container in axes.containers for patch in container)
        assert heights == pytest.approx(2.0)


def test_measures_per_epoch_are_drawn_under_a_title_that_says_test() -> None:
    rows = [{"epoch": n, "test/recall@0.2/crack": 0.1 * n} for n in (1, 2)]
    figure = draw_epochs(rows, ("crack", "hole"), (0.1, 0.2, 0.3))
    assert "On TEST pictures, for diagnosis only (diagnose_on_test): threshold 0.2" in figure.get_suptitle()
    assert np.asarray(figure.axes[0].lines[0].get_ydata()).tolist() == pytest.approx([0.1, 0.2])


def test_nothing_is_diagnosed_for_other_tasks_or_without_the_option(tmp_path: Path) -> None:
    toolkit_epoch_ended(run=SimpleNamespace(task=None, folder=tmp_path), epoch=1, scores={})
    assert list(tmp_path.iterdir()) == []
    assert read_rows(tmp_path / "none.jsonl") == []
