"""The last step from bytes to what a model reads, done for a whole batch on its device."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import albumentations
import numpy as np
import torch
from torch import Tensor

from toolkit.errors import ConfigError


@dataclass(frozen=True)
class Finish:
    """pixel * scale + offset per channel; the same as albumentations' Normalize or ToFloat within 1e-5.

    scale, offset: one number per channel, or one for all.
    floats_too: whether pictures that a transform made float are scaled like bytes (Normalize) or left alone.
    """

    scale: tuple[float, ...] = (1 / 255,)
    offset: tuple[float, ...] = (0.0,)
    floats_too: bool = False

    def __call__(self, images: Tensor, *, channels_last: bool = False) -> Tensor:
        """[B, H, W, C] uint8 or float -> [B, C, H, W] float32 on the same device, in the memory layout asked for."""
        pixels = images.permute(0, 3, 1, 2)
        if images.dtype == torch.uint8 or self.floats_too:
            pixels = pixels.to(torch.float32)
            if images.dtype == torch.float32:
                pixels = pixels.clone()  # a view of the argument so far
            self._scale(pixels)
        layout = torch.channels_last if channels_last else torch.contiguous_format
        return pixels.to(torch.float32).contiguous(memory_format=layout)

    def check_channels(self, channels: int) -> None:
        """Raises: ConfigError if Normalize was given means or deviations for another number of channels."""
        for numbers in (self.scale, self.offset):
            if len(numbers) not in (1, channels):
                raise ConfigError(
                    f"Normalize has mean and std for {len(numbers)} channels, but the pictures have {channels}; "
                    f"give mean and std as {'one number each' if channels == 1 else f'lists of {channels}'}",
                    path="transforms",
                )

    def _scale(self, pixels: Tensor) -> None:
        if len(self.scale) == len(self.offset) == 1:
            pixels.mul_(self.scale[0])
            if self.offset[0]:
                pixels.add_(self.offset[0])
        else:
            scale, offset = (
                torch.tensor(numbers, device="cpu").to(pixels.device, non_blocking=True) for numbers in (self.scale, self.offset)
            )
            pixels.mul_(scale.view(1, -1, 1, 1)).add_(offset.view(1, -1, 1, 1))


def finish_of(transform: Any) -> Finish | None:
    """What stands in for a trailing albumentations `transform`, or None if it must run by itself."""
    if type(transform) is albumentations.ToFloat and transform.p >= 1:
        return Finish(scale=(1 / (transform.max_value or 255.0),))
    if type(transform) is albumentations.Normalize and transform.p >= 1 and transform.normalization == "standard":
        scale = np.atleast_1d(transform.denominator).astype(np.float64)
        offset = -np.atleast_1d(transform.mean_np).astype(np.float64) * scale
        return Finish(tuple(scale.tolist()), tuple(offset.tolist()), floats_too=True)
    return None
