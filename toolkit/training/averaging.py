"""The exponential moving average of a model's weights."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

Tensors = tuple[Tensor, ...] | list[Tensor]


def averaged_model(model: nn.Module, decay: float) -> AveragedModel:
    """A copy that follows `model`'s weights and buffers; `update_parameters(model)` after each step.

    decay: per step. After n steps (1 + n) / (10 + n) stands for it where that is less (tf.train.ExponentialMovingAverage, num_updates):
        a run of 700 steps with 0.999 would otherwise end as half its random start.
    """

    def average(averages: Tensors, current: Tensors, steps: Any) -> None:
        if averages[0].is_floating_point():
            done = int(averaged.n_averaged)  # on the CPU; `steps` is its copy on the device, which would have to be waited for
            torch._foreach_lerp_(averages, current, 1 - min(decay, (1 + done) / (10 + done)))
            return
        for ours, theirs in zip(averages, current, strict=True):  # counts and choices have no mean; torch's own rounds them down
            ours.copy_(theirs)

    averaged = AveragedModel(model, multi_avg_fn=torch.no_grad()(average), use_buffers=True)
    return averaged
