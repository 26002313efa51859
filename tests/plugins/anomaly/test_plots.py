"""Figures: what their rows, lines and bars show."""

from __future__ import annotations

from itertools import pairwise
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


def evaluation(
    *, masks: bool = True, reconstructs: bool = True, side: int = 8, low: float = 0.1, high: float = 0.5
) -> Evaluation[AnomalyPrediction]:
    """Two pictures of each kind; a defect is the upper left quarter, where scores are `high` and elsewhere `low`."""
    kinds = torch.tensor([0, 0, 1, 1, 2, 2])
    scores = torch.full((6, side, side), low)
    scores[2:, : side // 2, : side // 2] = high
    middle = (low * high) ** 0.5
    regions = torch.stack([regions_of((row > middle).numpy()) for row in scores])
    if not masks:
        regions = torch.empty(6, side, side, 0, dtype=torch.int32)
    limit = torch.full((6,), 0.6 * high)
    rebuilt = torch.zeros(6, 3 if reconstructs else 0, side, side, dtype=torch.uint8)
    prediction = AnomalyPrediction(scores, scores > limit[0], scores.amax(dim=(1, 2)), limit, limit, rebuilt, torch.eye(3).repeat(6, 1, 1))
    truth, picture = AnomalyTruth(kinds, regions), np.full((side, side, 3), 90, np.uint8)
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
    figure = ThresholdSweep(INFO)(evaluation(side=16))
    recall, precision, accuracy = (np.asarray(figure.axes[n].lines[0].get_xydata()) for n in range(3))
    assert [line.get_label() for line in figure.axes[0].lines[:2]] == ["crack", "hole"]
    between = (recall[:, 0] > 0.2) & (recall[:, 0] < 0.4)
    assert (recall[between, 1] == 1).all()
    assert (precision[between, 1] == 1).all()
    assert (accuracy[between, 1] == 1).all()
    assert recall[-1, 1] == 0
    assert accuracy[-1, 1] == pytest.approx(0.75)  # a quarter of a defective picture is missed


def test_the_maps_colours_begin_at_the_lowest_score_shown() -> None:
    figure = DefectRows(INFO, count=1)(evaluation(low=2.4, high=2.6))
    norm = figure.axes[2].images[0].norm
    assert (norm.vmin, norm.vmax) == (pytest.approx(2.4), pytest.approx(2.6))
    expected = "test: maps from the lowest score shown, 2.4, to the highest, 2.6\nmarked where the score is above 1.56"
    assert figure.get_suptitle() == expected
    assert norm(2.5) == pytest.approx(0.5)


def test_faint_scores_of_maps_over_decades_are_raised_by_a_square_root() -> None:
    figure = DefectRows(INFO, count=1)(evaluation(low=0.01, high=1.01))
    assert figure.axes[2].images[0].norm(0.26) == pytest.approx(0.5)
    assert "0.01, to the highest, 1.01 (square root)" in figure.get_suptitle()


@pytest.mark.parametrize(("side", "drawn"), [(8, False), (16, True)])
def test_precision_ends_where_fewer_than_50_pixels_are_above(side: int, drawn: bool) -> None:
    figure = ThresholdSweep(INFO)(evaluation(side=side))  # of the defects' pixels 2 * 16 or 2 * 64 are above 0.2
    threshold, precision = np.asarray(figure.axes[1].lines[0].get_xydata()).T
    between = (threshold > 0.2) & (threshold < 0.4)
    assert np.isfinite(precision[between]).all() == drawn
    assert np.isfinite(precision[between]).any() == drawn


@pytest.mark.parametrize(("low", "high"), [(2.3, 2.6), (0.08, 0.4), (0.004, 0.09), (4e-4, 0.1), (4e-5, 0.9), (1e-6, 500.0)])
@pytest.mark.parametrize("plot", [ThresholdSweep, ScoreHistograms])
def test_labels_of_scores_do_not_touch(plot: type[ThresholdSweep], low: float, high: float) -> None:
    figure = plot(INFO)(evaluation(side=16, low=low, high=high))
    figure.draw_without_rendering()
    for axes in figure.axes:
        left, right = axes.get_xlim()
        labels = [text for tick, text in zip(axes.get_xticks(), axes.get_xticklabels(), strict=True) if left <= tick <= right]
        boxes = [label.get_window_extent() for label in labels]
        assert len(boxes) >= 2
        assert all(one.x1 + 4 < other.x0 for one, other in pairwise(boxes))


def test_scores_of_pictures_over_decades_are_drawn_on_a_logarithmic_axis() -> None:
    decades, alike = (ScoreHistograms(INFO)(evaluation(low=low)).axes[0] for low in (0.005, 0.1))
    assert (decades.get_xscale(), alike.get_xscale()) == ("log", "linear")
    good = decades.containers[0]
    right = max(bar.get_x() + bar.get_width() for bar in good if bar.get_height())
    (threshold,) = {float(x) for x in decades.lines[0].get_xdata()}
    shares = [decades.transAxes.inverted().transform(decades.transData.transform((x, 0)))[0] for x in (right, threshold)]
    assert shares[0] < 0.15
    assert 0.7 < shares[1] < 0.95


def test_a_picture_that_scores_0_is_drawn_at_the_low_end_of_a_logarithmic_axis() -> None:
    given = evaluation(low=0.005)
    given.predictions.image_score[0] = 0.0
    bars = ScoreHistograms(INFO)(given).axes[0].containers[0]
    assert [bar.get_height() for bar in bars][:2] == [1.0, 0.0]


def test_without_masks_the_sweep_says_so() -> None:
    figure = ThresholdSweep(NO_MASKS)(evaluation(masks=False))
    assert figure.axes[0].texts[0].get_text() == "no defective pixel is known: there are no masks"
    good = evaluation(masks=False)
    good.truths.kind[:] = 0
    assert ThresholdSweep(NO_MASKS)(good).axes[0].texts[0].get_text() == "no defective pixel is known: there are no defective pictures"


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
