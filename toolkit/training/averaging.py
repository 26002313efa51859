"""The exponential moving average of a model's weights."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

Tensors = tuple[Tensor, ...] | list[Tensor]


def averaged_model(model: nn.Module, decay: float) -> AveragedModel:
    """A copy that follows `model`'s weights and buffers with `decay` per step; `update_parameters(model)` after each."""

    def average(averaged: Tensors, current: Tensors, steps: Any) -> None:
        if averaged[0].is_floating_point():
            torch._foreach_lerp_(averaged, current, 1 - decay)
            return
        for ours, theirs in zip(averaged, current, strict=True):  # counts and choices have no mean; torch's own rounds them down
            ours.copy_(theirs)

    return AveragedModel(model, multi_avg_fn=torch.no_grad()(average), use_buffers=True)
