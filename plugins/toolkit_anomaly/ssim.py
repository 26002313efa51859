"""Structural similarity (Wang, Bovik, Sheikh, Simoncelli, IEEE Transactions on Image Processing 2004), differentiable."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def ssim_map(one: Tensor, other: Tensor, *, window: int = 11, sigma: float = 1.5) -> Tensor:
    """How alike two pictures are around each pixel.

    Gaussian windows, population covariance, K1 = 0.01, K2 = 0.03, values in [0, 1]: scikit-image's `structural_similarity` with
    gaussian_weights=True, use_sample_covariance=False, data_range=1. Beyond the edge pictures are continued by reflection about it.

    Args:
        one, other: [B, C, H, W] in [0, 1].
        window: pixels, odd. sigma: of the Gaussian, in pixels.

    Returns: [B, C, H, W] in [-1, 1], 1 where the surroundings are equal.
    """
    kernel = gaussian_kernel(window, sigma, one)
    mean_one, mean_other = blurred(one, kernel), blurred(other, kernel)
    variance_one = blurred(one * one, kernel) - mean_one**2
    variance_other = blurred(other * other, kernel) - mean_other**2
    covariance = blurred(one * other, kernel) - mean_one * mean_other
    c1, c2 = 0.01**2, 0.03**2
    alike = (2 * mean_one * mean_other + c1) * (2 * covariance + c2)
    return alike / ((mean_one**2 + mean_other**2 + c1) * (variance_one + variance_other + c2))


def gaussian_kernel(window: int, sigma: float, like: Tensor) -> Tensor:
    """[window] weights that add up to 1, on the device of `like`."""
    distance = torch.arange(window, device=like.device, dtype=like.dtype) - window // 2
    weights = torch.exp(-(distance**2) / (2 * sigma**2))
    return weights / weights.sum()


def blurred(pictures: Tensor, kernel: Tensor) -> Tensor:
    """[B, C, H, W] averaged by the [K] kernel along both axes; beyond the edge continued by reflection about it, d c b a | a b c d."""
    _, channels, height, width = pictures.shape
    radius = len(kernel) // 2
    rows, columns = (_reflected(size, radius, pictures.device) for size in (height, width))
    padded = pictures.index_select(2, rows).index_select(3, columns)
    along_y = F.conv2d(padded, kernel.view(1, 1, -1, 1).expand(channels, 1, -1, 1), groups=channels)
    return F.conv2d(along_y, kernel.view(1, 1, 1, -1).expand(channels, 1, 1, -1), groups=channels)


def _reflected(size: int, radius: int, device: torch.device) -> Tensor:
    """[size + 2 radius] indices into 0 .. size - 1, as SciPy's mode "reflect"; pictures may be smaller than the radius."""
    place = torch.arange(-radius, size + radius, device=device).remainder(2 * size)
    return torch.minimum(place, 2 * size - 1 - place)
