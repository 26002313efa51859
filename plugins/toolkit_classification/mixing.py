"""`mixup` and `cutmix`: training batches whose pictures and labels are mixed (`transforms: {batch: [...]}`).

Labels become shares of classes, which the loss `cross_entropy` takes. Training scores still count the pictures' own labels.
"""

from __future__ import annotations

import math
from typing import Annotated

import torch
import torch.nn.functional as F
from annotated_types import Ge, Gt, Le
from torch import Tensor

from toolkit_classification.types import ClassificationInfo

Strength = Annotated[float, Gt(0)]
Chance = Annotated[float, Ge(0), Le(1)]


class Mixup:
    """Every picture blended with another of its batch, labels likewise (Zhang et al., "mixup", ICLR 2018).

    Args:
        alpha: of the Beta(alpha, alpha) distribution that one blending share per batch is drawn from.
        p: share of the batches that are mixed.
    """

    def __init__(self, info: ClassificationInfo, /, *, alpha: Strength = 0.2, p: Chance = 1.0) -> None:
        self._classes, self._alpha, self._p = info.num_outputs, alpha, p

    def __call__(self, images: Tensor, encoded: Tensor) -> tuple[Tensor, Tensor]:
        """[B, C, H, W] and labels [B] (or shares [B, N]) -> mixed pictures and shares [B, N]."""
        shares = as_shares(encoded, self._classes)
        share, partner, mixes = _draw(len(images), self._alpha, self._p)
        if not mixes:
            return images, shares
        partner = partner.to(images.device)
        return torch.lerp(images[partner], images, share), torch.lerp(shares[partner], shares, share)


class Cutmix:
    """A rectangle of every picture replaced by that of another of its batch, labels by area (Yun et al., "CutMix", ICCV 2019).

    Args:
        alpha: of the Beta(alpha, alpha) distribution that one share of kept area per batch is drawn from.
        p: share of the batches that are mixed.
    """

    def __init__(self, info: ClassificationInfo, /, *, alpha: Strength = 1.0, p: Chance = 1.0) -> None:
        self._classes, self._alpha, self._p = info.num_outputs, alpha, p

    def __call__(self, images: Tensor, encoded: Tensor) -> tuple[Tensor, Tensor]:
        """[B, C, H, W] and labels [B] (or shares [B, N]) -> mixed pictures and shares [B, N]."""
        shares = as_shares(encoded, self._classes)
        share, partner, mixes = _draw(len(images), self._alpha, self._p)
        top, bottom, left, right = _rectangle(images.shape[2], images.shape[3], share)
        if not mixes:
            return images, shares
        partner = partner.to(images.device)
        mixed = images.clone()
        mixed[:, :, top:bottom, left:right] = images[partner, :, top:bottom, left:right]
        kept = 1 - (bottom - top) * (right - left) / (images.shape[2] * images.shape[3])  # of the rectangle as it was cut at the edge
        return mixed, torch.lerp(shares[partner], shares, kept)


def as_shares(encoded: Tensor, classes: int) -> Tensor:
    """Labels [B] as shares [B, N]; shares as they are."""
    return F.one_hot(encoded, classes).float() if encoded.ndim == 1 else encoded


def _draw(count: int, alpha: float, p: float) -> tuple[float, Tensor, bool]:
    """The share that stays, who is mixed with whom, and whether the batch is mixed; from torch's generator of the CPU."""
    strength = torch.tensor(alpha)
    share = torch.distributions.Beta(strength, strength).sample().item()
    return share, torch.randperm(count), bool(torch.rand(()) < p)


def _rectangle(height: int, width: int, kept: float) -> tuple[int, int, int, int]:
    """Top, bottom, left, right of a rectangle of area 1 - kept around a random centre, cut at the picture's edge."""
    side = math.sqrt(1 - kept)
    y, x = (int(torch.randint(size, ()).item()) for size in (height, width))
    half_height, half_width = int(height * side) // 2, int(width * side) // 2
    return max(0, y - half_height), min(height, y + half_height), max(0, x - half_width), min(width, x + half_width)
