"""Flattening that leaves the layers before it in their memory layout."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn


class Flatten(nn.Module):
    """`nn.Flatten` whose gradient comes back in the memory layout of its input.

    The gradient of torch's own is contiguous, so that after channels_last convolutions the pool before it (and with it every
    large tensor further down) is rearranged; here only the small tensor at this place is.
    """

    def forward(self, values: Tensor) -> Tensor:
        """[B, C, H, W] -> [B, C * H * W], channel by channel as `nn.Flatten` counts."""
        if values.ndim == 4 and values.requires_grad and values.is_contiguous(memory_format=torch.channels_last):
            values = _KeepLayout.apply(values)
        return values.flatten(1)


class _KeepLayout(torch.autograd.Function):
    """Identity whose gradient is made channels_last."""

    @staticmethod
    def forward(ctx: Any, values: Tensor) -> Tensor:
        return values.view_as(values)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        return gradients[0].contiguous(memory_format=torch.channels_last)
