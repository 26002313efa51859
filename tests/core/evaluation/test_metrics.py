"""`Metric`: exact sums that follow the batches."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import pytest
import torch
from torch import Tensor

from toolkit.evaluation.metrics import Metric, Undefined


class Mean(Metric[Tensor]):
    """Mean of the predictions."""

    def __init__(self) -> None:
        super().__init__()
        self.sums = {"total": torch.zeros((), dtype=torch.float64), "count": torch.zeros((), dtype=torch.int64)}

    def update(self, prediction: Tensor, truth: Any) -> None:
        self.add("total", prediction.sum(dtype=torch.float64))
        self.add("count", torch.tensor(len(prediction)))

    def compute(self) -> Mapping[str, float | Undefined]:
        count = int(self.sums["count"])
        return {"mean": float(self.sums["total"]) / count if count else Undefined("there are no samples")}


def test_batches_add_up() -> None:
    metric = Mean()
    for batch in ([1.0, 2.0], [6.0]):
        metric.update(torch.tensor(batch), None)
    assert metric.compute() == {"mean": 3.0}


def test_sums_keep_the_precision_they_were_made_with() -> None:
    metric = Mean()
    metric.add("total", torch.tensor(2.0**24, dtype=torch.float32))
    for _ in range(3):
        metric.add("total", torch.tensor(1.0, dtype=torch.float32))  # 2 ** 24 + 1 is no float32
    assert metric.sums["total"].item() == 2**24 + 3
    assert metric.sums["total"].dtype == torch.float64


@pytest.mark.slow
def test_the_first_batch_decides_where_the_sums_live() -> None:
    metric = Mean()
    metric.add("total", torch.ones((), dtype=torch.float64, device="meta"))
    assert metric.sums["total"].device.type == "meta"
    assert metric.sums["count"].device.type == "cpu"


def test_copies_count_for_themselves() -> None:
    first = Mean()
    second = copy.deepcopy(first)
    first.update(torch.tensor([4.0]), None)
    assert second.compute() == {"mean": Undefined("there are no samples")}


def test_more_is_better_unless_a_metric_says_otherwise() -> None:
    assert Mean.higher_is_better is True


def test_a_metric_must_say_how_it_counts() -> None:
    with pytest.raises(TypeError, match="abstract"):
        Metric()  # type: ignore[abstract]
