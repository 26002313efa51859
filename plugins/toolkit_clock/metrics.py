"""The common-sense error and shares of right readings, exact from a histogram of whole minutes."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from toolkit.evaluation.metrics import Metric, Undefined
from toolkit_clock.types import ClockInfo, TimePrediction, TimeTarget, circular_error_min

_NO_SAMPLES = Undefined("there are no samples")
_LARGEST_ERROR_MIN = 360
_NEAR_MIN = 5  # the hour hand moves 2.5 degrees in this time


class CommonSenseError(Metric[TimePrediction]):
    """Minutes between the time read and the true one on the 12-hour circle: mean, median, 95th percentile, and the gross errors.

    An error of 30 minutes or more is one of the hour, for whatever reason: a turned dial, hands that cannot be seen, one hand taken for the
    other. Those that joint decoding is there to remove are counted by themselves: an hour off, the minutes right to within 5, at a time
    within 5 minutes of the full hour. Percentiles are those of `numpy.percentile` with method "inverted_cdf": the smallest error that at
    least that share of the samples does not exceed.
    """

    higher_is_better = False

    def __init__(self, info: ClockInfo, /) -> None:
        super().__init__()
        self.sums = {
            "samples_by_error": torch.zeros(_LARGEST_ERROR_MIN + 1, dtype=torch.int64),
            "full_hour": torch.zeros((), dtype=torch.int64),
        }

    def update(self, prediction: TimePrediction, truth: TimeTarget) -> None:
        """Take in a batch."""
        errors = circular_error_min(prediction.time_min, truth.time_min)
        self.add_at("samples_by_error", errors, torch.ones_like(errors))
        minute = truth.time_min % 60
        is_near = torch.minimum(minute, 60 - minute) <= _NEAR_MIN
        self.add("full_hour", (is_near & ((errors - 60).abs() <= _NEAR_MIN)).sum())

    def compute(self) -> Mapping[str, float | Undefined]:
        """`common_sense_error_min`, `..._median_min`, `..._p95_min`, `errors_30_min_share`, `..._count`, `errors_full_hour_count`."""
        counts = self.sums["samples_by_error"].cpu()
        total = int(counts.sum())
        if not total:
            names = ("error_min", "error_median_min", "error_p95_min")
            return {f"common_sense_{name}": _NO_SAMPLES for name in names} | {
                "errors_30_min_share": _NO_SAMPLES,
                "errors_30_min_count": _NO_SAMPLES,
                "errors_full_hour_count": _NO_SAMPLES,
            }
        gross = int(counts[30:].sum())
        return {
            "common_sense_error_min": int((counts * torch.arange(len(counts))).sum()) / total,
            "common_sense_error_median_min": float(_percentile(counts, 50)),
            "common_sense_error_p95_min": float(_percentile(counts, 95)),
            "errors_30_min_share": gross / total,
            "errors_30_min_count": gross,
            "errors_full_hour_count": int(self.sums["full_hour"]),
        }


class TimeAccuracy(Metric[TimePrediction]):
    """Shares of samples: read exactly, within 1, 5 and 10 minutes, with the right hour, with the right minute."""

    def __init__(self, info: ClockInfo, /) -> None:
        super().__init__()
        self.sums = {name: torch.zeros((), dtype=torch.int64) for name in (*_JUDGED, "samples")}

    def update(self, prediction: TimePrediction, truth: TimeTarget) -> None:
        """Take in a batch."""
        read, true = prediction.time_min, truth.time_min
        errors = circular_error_min(read, true)
        judged = (errors == 0, errors <= 1, errors <= 5, errors <= 10, read // 60 == true // 60, read % 60 == true % 60)
        for name, right in zip(_JUDGED, judged, strict=True):
            self.add(name, right.sum())
        self.add("samples", torch.ones_like(true).sum())

    def compute(self) -> Mapping[str, float | Undefined]:
        """`exact`, `within_1_min`, `within_5_min`, `within_10_min`, `hour_accuracy`, `minute_accuracy`."""
        samples = int(self.sums["samples"])
        return {name: int(self.sums[name]) / samples if samples else _NO_SAMPLES for name in _JUDGED}


_JUDGED = ("exact", "within_1_min", "within_5_min", "within_10_min", "hour_accuracy", "minute_accuracy")


def _percentile(counts: Tensor, percent: int) -> int:
    """The smallest index up to which at least `percent` of 100 of the counts lie."""
    reached = counts.cumsum(0) * 100 >= percent * counts.sum()
    return int(reached.nonzero()[0])
