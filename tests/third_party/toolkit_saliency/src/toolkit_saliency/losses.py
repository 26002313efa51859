"""`bce_dice`: every pixel by itself, and the object as a whole."""

from __future__ import annotations

from typing import Annotated

import torch.nn.functional as F
from annotated_types import Ge
from toolkit.data import DataInfo
from torch import Tensor


class BceDice:
    """Binary cross-entropy of the pixels plus 1 - Dice overlap of the object (Milletari et al., V-Net, 3DV 2016).

    Args:
        dice_weight: of the second term.
    """

    def __init__(self, info: DataInfo, /, *, dice_weight: Annotated[float, Ge(0)] = 1.0) -> None:
        self.dice_weight = dice_weight

    def __call__(self, output: Tensor, encoded: Tensor) -> dict[str, Tensor]:
        """`output`, `encoded`: [B, 1, H, W] -> two terms of [B]: one value per sample, never their mean."""
        logits, truth = output.flatten(1).float(), encoded.flatten(1)  # [B, H*W]
        probability = logits.sigmoid()
        dice = (2 * (probability * truth).sum(dim=1) + 1) / (probability.sum(dim=1) + truth.sum(dim=1) + 1)  # + 1: no object at all
        pixels = F.binary_cross_entropy_with_logits(logits, truth, reduction="none").mean(dim=1)
        return {"bce": pixels, "dice": self.dice_weight * (1 - dice)}
