"""What the figures show; that they look well was judged by eye."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure

from toolkit.evaluation.evaluation import Evaluation
from toolkit_classification.plots import ConfusionMatrix, PerClassAccuracy, PredictionGrid
from toolkit_classification.types import ClassificationInfo, ClassPrediction, LabelTarget

PLOTS: list[Callable[[ClassificationInfo], Any]] = [ConfusionMatrix, PredictionGrid, PerClassAccuracy]


def info(num_classes: int) -> ClassificationInfo:
    return ClassificationInfo((3, 8, 8), tuple(f"c{n}" for n in range(num_classes)))


def evaluation(true: list[int], predicted: list[int], num_classes: int, sureness: list[float] | None = None) -> Evaluation[ClassPrediction]:
    """Sample n's picture is filled with n."""
    probabilities = torch.full((len(true), num_classes), 0.01)
    probabilities[torch.arange(len(true)), torch.tensor(predicted, dtype=torch.int64)] = torch.tensor(sureness or [0.9] * len(true))
    return Evaluation(
        split="test",
        ids=tuple(f"test/{n}" for n in range(len(true))),
        predictions=ClassPrediction(probabilities),
        truths=LabelTarget(torch.tensor(true, dtype=torch.int64)),
        losses=torch.zeros(len(true)),
        scores={},
        undefined={},
        image=lambda index: np.full((8, 8, 3), index, dtype=np.uint8),
    )


def texts(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.axes[0].texts]


def shown(figure: Figure) -> list[tuple[int, str]]:
    """(sample, caption) of each picture in the grid."""
    return [(int(np.asarray(axes.images[0].get_array())[0, 0, 0]), axes.get_title().strip()) for axes in figure.axes]


def test_the_confusion_matrix_has_truth_in_rows_and_shares_of_each_row_as_colour() -> None:
    figure = ConfusionMatrix(info(3))(evaluation([0, 0, 0, 0, 1], [0, 0, 0, 1, 2], 3))
    assert texts(figure) == ["3", "1", "0", "0", "0", "1", "0", "0", "0"]
    shares = np.asarray(figure.axes[0].images[0].get_array())
    np.testing.assert_array_equal(shares, [[0.75, 0.25, 0], [0, 0, 1], [0, 0, 0]])  # no sample of c2: an empty row
    assert figure.axes[0].get_title() == "Confusion matrix (test, 5 samples)"


def test_the_confusion_matrix_of_many_classes_has_no_numbers() -> None:
    assert texts(ConfusionMatrix(info(26))(evaluation([0, 25], [0, 0], 26))) == []


def test_the_grid_starts_with_the_surest_mistakes() -> None:
    true, predicted = [0, 0, 1, 1, 1], [0, 1, 0, 0, 1]
    figure = PredictionGrid(info(2))(evaluation(true, predicted, 2, sureness=[0.6, 0.7, 0.9, 0.8, 0.997]))
    assert shown(figure)[:3] == [(2, "c0 90%\ntruth: c1"), (3, "c0 80%\ntruth: c1"), (1, "c1 70%\ntruth: c0")]
    assert set(shown(figure)[3:]) == {(0, "c0 60%"), (4, "c1 >99%")}


@pytest.mark.parametrize(("wrong", "right", "wrong_shown"), [(50, 50, 6), (2, 50, 2), (50, 1, 9), (50, 0, 10), (0, 50, 0)])
def test_three_fifths_of_a_full_grid_are_mistakes_where_there_are_enough_of_both(wrong: int, right: int, wrong_shown: int) -> None:
    figure = PredictionGrid(info(2), count=10)(evaluation([0] * (wrong + right), [1] * wrong + [0] * right, 2))
    captions = [caption for _, caption in shown(figure)]
    assert len(captions) == 10
    assert sum("truth" in caption for caption in captions) == wrong_shown


def test_right_pictures_are_drawn_by_the_seed() -> None:
    all_right = evaluation([0] * 200, [0] * 200, 2)
    assert shown(PredictionGrid(info(2), count=4)(all_right)) == shown(PredictionGrid(info(2), count=4)(all_right))
    assert shown(PredictionGrid(info(2), count=4, seed=1)(all_right)) != shown(PredictionGrid(info(2), count=4)(all_right))


def test_bars_start_with_the_worst_class_and_name_those_without_samples() -> None:
    figure = PerClassAccuracy(info(4))(evaluation([0, 0, 1, 1, 3], [0, 1, 1, 1, 0], 4))
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == ["c3", "c0", "c1"]
    assert texts(figure) == ["0.0%  (0 of 1)", "50.0%  (1 of 2)", "100.0%  (2 of 2)"]
    assert figure.axes[0].get_title() == "Accuracy per class (test)\ndashed: all samples, 60.0%"
    assert figure.axes[0].get_xlabel() == "accuracy (no samples of: c2)"


def test_of_many_classes_the_worst_forty_are_shown() -> None:
    figure = PerClassAccuracy(info(50))(evaluation([*range(50)], [*range(45), 0, 0, 0, 0, 0], 50))
    names = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert (len(names), names[:5]) == (40, ["c45", "c46", "c47", "c48", "c49"])
    assert figure.axes[0].get_title().startswith("Accuracy per class (test): the 40 worst of 50\n")


@pytest.mark.parametrize("plot", PLOTS)
@pytest.mark.parametrize(("samples", "num_classes"), [(0, 2), (1, 2), (300, 150)])
def test_every_plot_can_be_saved_whatever_the_numbers_of_samples_and_classes(plot: Any, samples: int, num_classes: int) -> None:
    labels = [n % num_classes for n in range(samples)]
    figure = plot(info(num_classes))(evaluation(labels, labels[::-1], num_classes))
    figure.savefig(file := io.BytesIO(), dpi=20)
    assert file.getvalue()


@pytest.mark.parametrize("plot", PLOTS)
def test_signs_of_formulas_in_class_names_are_text(plot: Any) -> None:
    names = ClassificationInfo((3, 8, 8), (r"$\frac$", "a_b^c$"))
    plot(names)(evaluation([0, 1], [1, 1], 2)).savefig(io.BytesIO(), dpi=20)
