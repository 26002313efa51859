"""`Metric`: scores that are exact over batches, orders and processes."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, TypeVar

import torch
from torch import Tensor

PredictionT = TypeVar("PredictionT")


@dataclass(frozen=True)
class Undefined:
    """A score that cannot be computed from these data, with the reason; it never becomes 0 or NaN in a report."""

    reason: str


class Metric(ABC, Generic[PredictionT]):
    """Accumulates over batches on their device and computes once. `factory(info, /, *, options)`.

    State lives in `self.sums`: tensors that are added up over batches and processes (counts, totals). Create them with
    their final shape, in float64 or int64, so that no split of the samples changes the result; add with
    `self.add("correct", tensor)`, which follows the batch to its device. What cannot be a sum (an exact rank statistic needs
    every sample's score) lives in `self.rows`: declare it empty, `self.rows["score"] = torch.empty(0)`, and add to it with
    `self.append("score", values)`; `compute` finds the rows of all samples of all processes there, in no promised order.
    Nothing here may wait for the device before `compute`.
    """

    higher_is_better: ClassVar[bool] = True
    """The direction of all its scores; a metric computes scores of one direction only."""

    def __init__(self) -> None:
        self.sums: dict[str, Tensor] = {}
        self.rows: dict[str, Tensor] = {}

    @abstractmethod
    def update(self, prediction: PredictionT, truth: Any) -> None:
        """Take in a batch."""

    @abstractmethod
    def compute(self) -> Mapping[str, float | Undefined]:
        """All scores by name, such as {"accuracy": 0.9, "accuracy/cat": Undefined("no cat among the samples")}.

        The names are the same whatever the samples: a metric that saw none gives all of its names, each undefined.
        """

    def add(self, name: str, amount: Tensor) -> None:
        """`sums[name] += amount`, on the device of `amount`."""
        total = self._total(name, amount)
        total += amount

    def add_at(self, name: str, index: Tensor, amount: Tensor) -> None:
        """`sums[name][index[i]] += amount[i]` for all i, on the device of `amount`; unlike `torch.bincount` it waits for no device."""
        self._total(name, amount).index_add_(0, index, amount.to(self.sums[name].dtype))

    def append(self, name: str, values: Tensor) -> None:
        """Put `values` [B, ...] below the rows collected so far, on their device."""
        rows = self.rows[name]
        self.rows[name] = torch.cat([rows.to(values.device), values.detach()]) if len(rows) else values.detach()

    def _total(self, name: str, like: Tensor) -> Tensor:
        if self.sums[name].device != like.device:  # once per evaluation: the first batch decides where the sums live
            self.sums[name] = self.sums[name].to(like.device)
        return self.sums[name]
