"""`ActivePhase`: a phase under way, with its optimizer and rates."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.optim import Optimizer

from toolkit.config.run_config import PenaltyConfig
from toolkit.training.phases import TrainedPart
from toolkit.training.schedules import Schedule, WatchingSchedule


@dataclass(frozen=True)
class ActivePhase:
    """What learns, by which optimizer, at which rates.

    name: of what learns. model: what is called in training; `part.model` within DistributedDataParallel where there are several processes.
    rates: the learning rates that the schedule's factor multiplies, one per parameter group.
    """

    name: str
    part: TrainedPart
    model: nn.Module
    optimizer: Optimizer
    rates: list[float]
    schedule: Schedule

    def set_rate(self, step: int) -> float:
        """Set every group's learning rate for `step` of the phase; returns the first group's."""
        factor = self.schedule(step)
        for group, rate in zip(self.optimizer.param_groups, self.rates, strict=True):
            group["lr"] = rate * factor
        return self.rates[0] * factor

    def watch(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Show the rows of the phase's epochs so far to a schedule that depends on them."""
        if isinstance(self.schedule, WatchingSchedule):
            self.schedule.watch(rows)

    def sync(self, *, last: bool) -> AbstractContextManager[Any]:
        """Processes exchange gradients only with the last part of a batch."""
        if isinstance(self.model, DistributedDataParallel) and not last:
            return self.model.no_sync()
        return contextlib.nullcontext()

    def penalise(self, penalty: PenaltyConfig) -> None:
        """Add the penalty's gradient to that of every weight (not to biases or norms, whose tensors have one dimension)."""
        weights: list[Tensor] = [p for p in self.part.parameters() if p.ndim > 1 and p.grad is not None]
        gradients = [weight.grad for weight in weights if weight.grad is not None]
        with torch.no_grad():
            if penalty.l2 and weights:
                torch._foreach_add_(gradients, weights, alpha=2 * penalty.l2)
            if penalty.l1 and weights:
                torch._foreach_add_(gradients, torch._foreach_sign(weights), alpha=penalty.l1)
