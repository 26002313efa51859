"""`ResidualFlow`: the density of keypoint errors, learnt (residual log-likelihood estimation)."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

_LAYERS = 6
_WIDTH = 64


class ResidualFlow(nn.Module):
    """A normalising flow from a two-dimensional error to a standard normal: RealNVP with six coupling layers, shared by all keypoints.

    Source: Li et al., "Human Pose Regression with Residual Log-likelihood Estimation", ICCV 2021 (arXiv:2107.11291), section 3.2;
    the flow is Dinh, Sohl-Dickstein, Bengio, "Density estimation using Real NVP", ICLR 2017.
    """

    def __init__(self) -> None:
        super().__init__()
        self.scales = nn.ModuleList(_coupling(nn.Tanh()) for _ in range(_LAYERS))
        self.shifts = nn.ModuleList(_coupling(nn.Identity()) for _ in range(_LAYERS))

    def log_density(self, errors: Tensor) -> Tensor:
        """[...] natural logarithm of the density at `errors` [..., 2]; it integrates to 1 over the plane."""
        z, log_volume = errors, torch.zeros_like(errors[..., 0])
        for number, (scale, shift) in enumerate(zip(self.scales, self.shifts, strict=True)):
            kept, moved = (z[..., :1], z[..., 1:]) if number % 2 else (z[..., 1:], z[..., :1])
            log_scale = scale(kept)  # [..., 1]
            moved = (moved - shift(kept)) * torch.exp(-log_scale)
            z = torch.cat([kept, moved] if number % 2 else [moved, kept], dim=-1)
            log_volume = log_volume - log_scale[..., 0]
        return log_volume - 0.5 * z.square().sum(dim=-1) - math.log(2 * math.pi)


def _coupling(last: nn.Module) -> nn.Sequential:
    network = nn.Sequential(nn.Linear(1, _WIDTH), nn.LeakyReLU(), nn.Linear(_WIDTH, _WIDTH), nn.LeakyReLU(), nn.Linear(_WIDTH, 1), last)
    nn.init.zeros_(network[4].get_parameter("weight"))  # a fresh flow is the standard normal itself
    nn.init.zeros_(network[4].get_parameter("bias"))
    return network
