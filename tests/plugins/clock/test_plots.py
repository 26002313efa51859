"""What the figures show; that they look well was judged by eye."""

from __future__ import annotations

import dataclasses
import io
from typing import Any

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure

from toolkit.evaluation.evaluation import Evaluation
from toolkit_clock.plots import ErrorByTime, ErrorHistogram, HourConfusion, TenPredictions, WorstCases
from toolkit_clock.types import ClockInfo, TimePrediction, TimeTarget

INFO = ClockInfo((1, 8, 8))


def evaluation(true: list[int], read: list[int], apart: list[int] | None = None) -> Evaluation[TimePrediction]:
    """Sample n's picture is filled with n."""

    def tensor(times: list[int]) -> torch.Tensor:
        return torch.tensor(times, dtype=torch.int64)

    share = torch.linspace(0, 1, len(true))
    return Evaluation(
        split="test",
        ids=tuple(f"test/{n}" for n in range(len(true))),
        predictions=TimePrediction(tensor(read), tensor(apart or read), share, share),
        truths=TimeTarget(tensor(true)),
        losses=torch.zeros(len(true)),
        scores={},
        undefined={},
        image=lambda index: np.full((8, 8, 1), index, dtype=np.uint8),
    )


def texts(figure: Figure, axes: int = 0) -> list[str]:
    return [text.get_text() for text in figure.axes[axes].texts]


def test_the_histogram_counts_both_readings() -> None:
    figure = ErrorHistogram(INFO)(evaluation([0, 239, 100], [0, 239, 108], [0, 299, 108]))
    assert texts(figure) == ["2", "0", "0", "0", "1", "0", "0", "0", "0"] + ["1", "0", "0", "0", "1", "0", "0", "1", "0"]
    legend = figure.axes[0].get_legend()
    assert legend is not None
    assert [text.get_text() for text in legend.get_texts()] == [
        "joint: mean 2.67 min, 0 of 30 min or more",
        "independent: mean 22.67 min, 1 of 30 min or more",
    ]


def test_the_confusion_has_true_hours_in_rows() -> None:
    figure = HourConfusion(INFO)(evaluation([239, 200], [239, 200], [299, 200]))
    assert [axes.get_title() for axes in figure.axes] == ["joint: 100.00% right", "independent: 50.00% right"]
    shares = np.asarray(figure.axes[1].images[0].get_array())
    assert (shares[3, 3], shares[3, 4]) == (0.5, 0.5)


def test_errors_are_averaged_over_the_minute_and_over_quarters_of_an_hour() -> None:
    figure = ErrorByTime(INFO)(evaluation([59, 119, 130], [59, 125, 132]))
    joint_by_minute, joint_by_quarter = (np.asarray(axes.lines[1].get_xydata()) for axes in figure.axes)
    np.testing.assert_allclose(joint_by_minute, [[10, 2], [59, 3]])
    np.testing.assert_allclose(joint_by_quarter, [[0.75, 0], [1.75, 6], [2, 2]])  # 12:59, 1:59, 2:10


def test_the_worst_come_first_and_of_equals_the_surest() -> None:
    figure = WorstCases(INFO, count=3)(evaluation([0, 10, 20, 30], [1, 10, 21, 90]))
    assert [axes.get_title() for axes in figure.axes] == [
        "1:30, truth 12:30\n60 min off", "12:21, truth 12:20\n1 min off", "12:01, truth 12:00\n1 min off",
    ]  # fmt: skip
    assert [int(np.asarray(axes.images[0].get_array())[0, 0]) for axes in figure.axes] == [3, 2, 0]
    assert [texts(figure, place) for place in range(3)] == [["test/3"], ["test/2"], ["test/0"]]


def test_of_long_ids_the_end_is_shown() -> None:
    long = dataclasses.replace(evaluation([0], [0]), ids=("kitchen/IMG_20240501_1230500.jpg",))
    for figure in (WorstCases(INFO)(long), TenPredictions(INFO)(long)):
        assert "…_20240501_1230500.jpg" in texts(figure)


def test_the_table_has_ten_rows_with_both_readings() -> None:
    figure = TenPredictions(INFO)(evaluation([239] * 20, [239] * 20, [299] * 20))
    cells = texts(figure)
    assert cells.count("3:59") == 20  # true and read
    assert (cells.count("4:59"), cells.count("60 min"), cells.count("0 min")) == (10, 10, 10)
    assert len(figure.axes) == 11


@pytest.mark.parametrize("plot", [ErrorHistogram, HourConfusion, ErrorByTime, WorstCases, TenPredictions])
@pytest.mark.parametrize("samples", [0, 1, 30])
def test_every_plot_can_be_saved_whatever_the_number_of_samples(plot: Any, samples: int) -> None:
    times = [n * 31 % 720 for n in range(samples)]
    plot(INFO)(evaluation(times, times[::-1])).savefig(file := io.BytesIO(), dpi=20)
    assert file.getvalue()
