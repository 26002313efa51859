"""Scores against NumPy over plain lists of errors."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from toolkit.evaluation.metrics import Undefined
from toolkit_clock.metrics import CommonSenseError, TimeAccuracy
from toolkit_clock.types import ClockInfo, TimePrediction, TimeTarget

INFO = ClockInfo((1, 8, 8))


def read(times: list[int]) -> TimePrediction:
    tensor = torch.tensor(times, dtype=torch.int64)
    return TimePrediction(tensor, tensor, torch.zeros(len(times)), torch.zeros(len(times)))


def scored(metric: CommonSenseError | TimeAccuracy, times: list[int], truth: list[int]) -> dict[str, object]:
    metric.update(read(times), TimeTarget(torch.tensor(truth, dtype=torch.int64)))
    return dict(metric.compute())


def test_errors_are_those_of_numpy() -> None:
    rng = np.random.default_rng(0)
    times, truth = rng.integers(0, 720, (2, 999))
    errors = np.array([min(abs(int(a) - int(b)), 720 - abs(int(a) - int(b))) for a, b in zip(times, truth, strict=True)])
    assert scored(CommonSenseError(INFO), times.tolist(), truth.tolist()) == {
        "common_sense_error_min": pytest.approx(errors.mean()),
        "common_sense_error_median_min": np.percentile(errors, 50, method="inverted_cdf"),
        "common_sense_error_p95_min": np.percentile(errors, 95, method="inverted_cdf"),
        "errors_30_min_share": pytest.approx((errors >= 30).mean()),
        "errors_30_min_count": (errors >= 30).sum(),
        "errors_full_hour_count": sum(
            min(int(b) % 60, -int(b) % 60) <= 5 and 55 <= error <= 65 for b, error in zip(truth, errors, strict=True)
        ),
    }


def test_an_error_of_exactly_thirty_minutes_is_gross() -> None:
    assert scored(CommonSenseError(INFO), [0, 0, 0], [29, 30, 690])["errors_30_min_count"] == 2


@pytest.mark.parametrize(
    ("read", "truth", "is_counted"),
    [
        (60 + 59, 59, 1),  # K6: 1:59 for 0:59
        (2 * 60, 3 * 60, 1),
        (4 * 60 + 54, 3 * 60 + 59, 1),  # 55 minutes
        (3 * 60 + 6, 2 * 60 + 1, 1),  # 65 minutes
        (11 * 60 + 58, 58, 1),  # over the twelve
        (3 * 60 + 53, 2 * 60 + 59, 0),  # 54 minutes
        (4 * 60 + 6, 3 * 60 + 6, 0),  # an hour off, but where the hour hand is clearly past the hour
        (3 * 60, 5 * 60, 0),  # two hours
        (3 * 60 + 1, 3 * 60, 0),
    ],
)
def test_an_hour_off_near_the_full_hour_is_counted_by_itself(read: int, truth: int, is_counted: int) -> None:
    assert scored(CommonSenseError(INFO), [read], [truth])["errors_full_hour_count"] == is_counted


def test_shares_are_counted_by_hand() -> None:
    # exact; 1 off over the twelve (hour and minute wrong); 60 off (minute right); 5 off; 10 off
    scores = scored(TimeAccuracy(INFO), [100, 719, 239, 65, 130], [100, 0, 299, 70, 140])
    assert scores == {
        "exact": 0.2, "within_1_min": 0.4, "within_5_min": 0.6, "within_10_min": 0.8,
        "hour_accuracy": 0.6, "minute_accuracy": 0.4,
    }  # fmt: skip


def test_directions_are_declared() -> None:
    assert not CommonSenseError.higher_is_better
    assert TimeAccuracy.higher_is_better


@pytest.mark.parametrize("metric", [CommonSenseError(INFO), TimeAccuracy(INFO)])
def test_without_samples_every_score_is_undefined(metric: CommonSenseError | TimeAccuracy) -> None:
    names = metric.compute().keys()
    assert all(isinstance(score, Undefined) for score in metric.compute().values())
    assert scored(metric, [1], [1]).keys() == names
