"""What flows through saliency: masks and maps of probabilities. Shapes and units are defined here, nowhere else."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Self

import torch
import torch.nn.functional as F
from toolkit.data import Target
from torch import Tensor


@dataclass(frozen=True)
class MaskTarget(Target):
    """Which pixels show the salient object.

    As truth it has the size of the file; truths of several sizes are a tuple of [H, W].

    Args:
        salient: [H, W] or [B, H, W] uint8, 1 on the object, 0 elsewhere.
    """

    moves: ClassVar[bool] = True
    salient: Tensor

    def mask(self) -> Tensor:
        """Travels with the picture."""
        return self.salient

    def moved(self, points: Tensor | None, mask: Tensor | None, mirrored: Tensor) -> Self:
        """The warped mask; mirrored, it is as good as before."""
        return self if mask is None else type(self)(mask)


@dataclass(frozen=True)
class SaliencyMap:
    """How probable it is for each pixel that it shows the salient object.

    The network saw a picture that was perhaps resized and padded, and only who holds the file knows its size. So the map
    stays as the network gave it and `in_file` reads it in pixels of the file.

    Args:
        probabilities: [h, w] or [B, h, w] float32 in [0, 1], in pixels of the picture that the network saw.
        to_original: [3, 3] or [B, 3, 3], from those pixels to pixels of the file.
    """

    probabilities: Tensor
    to_original: Tensor

    def in_file(self, height: int, width: int) -> Tensor:
        """[height, width] or [B, height, width] probabilities for a file of that size, interpolated; 0 where the network saw nothing.

        >>> doubled = torch.diag(torch.tensor([2.0, 2.0, 1.0]))
        >>> SaliencyMap(torch.tensor([[0.0, 1.0]]), doubled).in_file(1, 4)
        tensor([[0.0000, 0.5000, 1.0000, 0.5000]])
        """
        maps = self.probabilities.reshape(-1, 1, *self.probabilities.shape[-2:])  # [B, 1, h, w]
        device = maps.device
        y, x = torch.meshgrid(torch.arange(height, device=device), torch.arange(width, device=device), indexing="ij")
        file_pixels = torch.stack([x, y, torch.ones_like(x)], dim=-1).float()  # [height, width, 3]
        to_network = torch.linalg.inv_ex(self.to_original.reshape(-1, 3, 3)).inverse  # inv would wait for the device
        seen = torch.einsum("bij,hwj->bhwi", to_network, file_pixels)
        last = torch.tensor([maps.shape[3] - 1, maps.shape[2] - 1], device=device).clamp(min=1)
        places = 2 * (seen[..., :2] / seen[..., 2:]) / last - 1  # -1 is the middle of the first pixel, 1 that of the last
        read = F.grid_sample(maps, places, align_corners=True, padding_mode="zeros")
        return read.reshape(*self.probabilities.shape[:-2], height, width)
