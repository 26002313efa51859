"""How a picture and its reconstruction differ, pixel by pixel: what maps show and losses average."""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from toolkit_anomaly.regions import closed
from toolkit_anomaly.ssim import blurred, gaussian_kernel, ssim_map

Difference = Literal["l1", "l2", "ssim", "ssim_l1", "gradient"]


def difference_map(pictures: Tensor, reconstruction: Tensor, kind: Difference) -> Tensor:
    """[B, H, W] float32: how different two batches of pictures [B, C, H, W] in [0, 1] are, averaged over the channels.

    Args:
        kind: l1, the absolute difference; l2, the squared one; ssim, (1 - SSIM) / 2; ssim_l1, the mean of l1 and ssim;
            gradient, the mean absolute difference of the slopes along x and y.
    """
    pictures, reconstruction = pictures.float(), reconstruction.float()  # bfloat16 has too few digits for SSIM's variances
    if kind == "l1":
        return (pictures - reconstruction).abs().mean(dim=1)
    if kind == "l2":
        return (pictures - reconstruction).square().mean(dim=1)
    if kind == "ssim":
        return ((1 - ssim_map(pictures, reconstruction)) / 2).clamp(0, 1).mean(dim=1)
    if kind == "gradient":
        return _slope_difference(pictures - reconstruction)
    return 0.5 * difference_map(pictures, reconstruction, "l1") + 0.5 * difference_map(pictures, reconstruction, "ssim")


def _slope_difference(difference: Tensor) -> Tensor:
    """The slopes of a difference are the difference of the slopes; the last row and column have none."""
    along_x = F.pad(difference[..., :, 1:] - difference[..., :, :-1], (0, 1)).abs()
    along_y = F.pad(difference[..., 1:, :] - difference[..., :-1, :], (0, 0, 0, 1)).abs()
    return (0.5 * (along_x + along_y)).mean(dim=1)


def smoothed(maps: Tensor, sigma: float) -> Tensor:
    """[B, H, W] blurred by a Gaussian of `sigma` pixels, cut off at four of them; 0 leaves them as they are."""
    if sigma == 0:
        return maps
    return blurred(maps[:, None], gaussian_kernel(2 * round(4 * sigma) + 1, sigma, maps))[:, 0]


def foreground(pictures: Tensor, distance: float) -> Tensor:
    """[B, H, W] bool: where a picture differs from its own background, with gaps and holes of an eighth of its side filled.

    The background's colour is the median, channel by channel, of the outermost pixels: for objects on a plain background only.

    Args:
        pictures: [B, C, H, W] in [0, 1].
        distance: the largest difference of a channel that still is background.
    """
    edge = torch.cat([pictures[..., 0, :], pictures[..., -1, :], pictures[..., :, 0], pictures[..., :, -1]], dim=-1)  # [B, C, edge pixels]
    background = edge.float().median(dim=-1).values[:, :, None, None]
    differs = (pictures.float() - background).abs().amax(dim=1) > distance
    return closed(differs, max(1, min(pictures.shape[-2:]) // 16))
