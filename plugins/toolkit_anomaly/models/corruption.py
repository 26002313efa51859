"""Foreign patches drawn into good pictures, so that a network learns to take them out again."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def corrupted(pictures: Tensor, share: float) -> Tensor:
    """[B, C, H, W] pictures in [0, 1], about `share` of them with foreign patches; the argument is not written to.

    Patches have the shape of clouds (smooth noise above a threshold, of random coarseness along either axis, so that
    some are thin lines) and are filled with a plain colour or with what stands elsewhere in another picture of the batch, more
    or less opaque. All randomness comes from torch's generator of the pictures' device.
    """
    count, channels, height, width = pictures.shape
    device = pictures.device
    cover = _clouds(count, height, width, device)
    chosen = torch.rand(count, 1, 1, 1, device=device) < share
    opacity = torch.empty(count, 1, 1, 1, device=device).uniform_(0.4, 1.0)
    grey = torch.rand(count, 1, 1, 1, device=device)  # as often near black and white as between, which three random channels are not
    tint = torch.empty(count, channels, 1, 1, device=device).uniform_(-0.4, 0.4)
    plain = (grey + tint).clamp(0, 1).expand_as(pictures)
    elsewhere = pictures[torch.randperm(count, device=device)].roll((height // 3, width // 3), dims=(2, 3))
    brightness = torch.empty(count, channels, 1, 1, device=device).uniform_(0.5, 1.6)
    filling = torch.where(torch.rand(count, 1, 1, 1, device=device) < 0.6, plain, (elsewhere * brightness).clamp(0, 1))
    weight = cover * chosen * opacity
    return pictures * (1 - weight) + filling * weight


def _clouds(count: int, height: int, width: int, device: torch.device) -> Tensor:
    """[B, 1, H, W] in [0, 1]: 1 in the patches, with soft edges of about a pixel."""
    window = torch.empty(count, 1, 1, 1, device=device)
    total = torch.zeros(count, 1, height, width, device=device)
    which = torch.randint(len(_GRIDS), (count, 1, 1, 1), device=device)
    for number, (rows, columns) in enumerate(_GRIDS):
        noise = F.interpolate(torch.randn(count, 1, rows, columns, device=device), (height, width), mode="bicubic", align_corners=False)
        total = torch.where(which == number, noise, total)
    window.uniform_(1.2, 2.4)  # standard deviations: the patches cover between an eighth and a hundredth of the picture
    return ((total - window) * 8).clamp(0, 1)


_GRIDS = ((4, 4), (8, 8), (16, 16), (24, 24), (4, 24), (24, 4), (8, 32), (32, 8))
"""Rows and columns of the noise: coarse grids give blobs, fine ones specks, uneven ones streaks."""
