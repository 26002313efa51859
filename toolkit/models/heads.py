"""Heads that several tasks share."""

from __future__ import annotations

from typing import Annotated, Literal

from annotated_types import Ge, Lt
from torch import Tensor, nn

from toolkit.data.sample import DataInfo
from toolkit.models.dropout import Dropout
from toolkit.models.model import Head, Shape


class LinearHead(Head):
    """Pooled features, dropout, one linear layer to `info.num_outputs` numbers.

    Args:
        pool: over height and width: their mean, their maximum, or none (all positions are kept).
        dropout: share of the pooled features zeroed while training.
    """

    def __init__(
        self,
        in_shape: Shape,
        info: DataInfo,
        /,
        *,
        pool: Literal["mean", "max", "none"] = "mean",
        dropout: Annotated[float, Ge(0), Lt(1)] = 0.0,
    ) -> None:
        super().__init__()
        channels, height, width = in_shape
        self.pool = {"mean": nn.AdaptiveAvgPool2d(1), "max": nn.AdaptiveMaxPool2d(1), "none": nn.Identity()}[pool]
        self.dropout = Dropout(dropout)
        self.linear = nn.Linear(channels * (height * width if pool == "none" else 1), info.num_outputs)

    def forward(self, features: Tensor) -> Tensor:
        """[B, C, H, W] -> [B, num_outputs]."""
        pooled: Tensor = self.pool(features).flatten(1)  # [B, C] or [B, C*H*W]
        output: Tensor = self.linear(self.dropout(pooled))
        return output
