"""Contrast stretching of dark strokes, on one picture and on whole batches."""

from __future__ import annotations

from typing import Any

import albumentations
import numpy as np
import torch
from torch import Tensor

from toolkit.data.device_transforms import DeviceTransform, PixelTransform, Shape
from toolkit.data.sample import Pixels
from toolkit.errors import ConfigError


class StretchDarkStrokes(albumentations.ImageOnlyTransform):  # type: ignore[misc]  # albumentations' classes are untyped here
    """Make the darkest strokes black and the brightest parts white, stretching what lies between; for dark ink on light faces.

    Levels are taken from each picture's own histogram, so a dim or pale picture comes out like any other. Where both levels meet
    the picture is left alone. After course report S3, which stretches "the dark strokes" before training; its levels are not known.

    Args:
        dark: share of the picture's values that become black.
        bright: share of the values that lie below what becomes white. Where more of the picture than this is darker than the hands (a
            dark wall around a light dial), hands and dial both become white: keep it above the share of the surroundings.
        p: probability of applying it.
    """

    def __init__(self, dark: float = 0.02, bright: float = 0.9, p: float = 1.0) -> None:
        if not 0 <= dark < bright <= 1:
            raise ConfigError(f"StretchDarkStrokes has dark {dark} and bright {bright}; expected 0 <= dark < bright <= 1")
        super().__init__(p=p)
        self.dark = dark
        self.bright = bright

    toolkit_deterministic = True

    def apply(self, img: Pixels, **params: Any) -> Pixels:
        """[H, W, C] uint8 -> the same."""
        below = np.bincount(img.ravel(), minlength=256).cumsum()
        low, high = (int(np.searchsorted(below, max(share * img.size, 1))) for share in (self.dark, self.bright))
        if high <= low:
            return img
        levels = np.clip((np.arange(256) - low) * 510 + (high - low), 0, 510 * (high - low)) // (2 * (high - low))
        stretched: Pixels = levels.astype(np.uint8)[img]
        return stretched

    def get_transform_init_args_names(self) -> tuple[str, ...]:
        """What albumentations writes down of it."""
        return "dark", "bright"

    def toolkit_device(self, shape: Shape) -> DeviceTransform:
        """Its batched twin."""
        return BatchedStretch(shape, self.dark, self.bright)


class BatchedStretch(PixelTransform):
    """`StretchDarkStrokes` for whole batches; equal to it bit by bit."""

    def __init__(self, shape: Shape, dark: float, bright: float) -> None:
        super().__init__(shape)
        self._dark, self._bright = dark, bright

    def draw(self, uniforms: Any) -> None:
        """Nothing is left to chance."""

    def apply(self, images: Tensor, params: None) -> Tensor:
        """[B, H, W, C] uint8 -> the same."""
        values = images.flatten(1).long()  # [B, H*W*C]
        count = values.shape[1]
        histogram = torch.zeros(len(values), 256, dtype=torch.int64, device=images.device)
        below = histogram.scatter_add_(1, values, torch.ones_like(values)).cumsum(1).double()
        low, high = ((below < max(share * count, 1)).sum(1, keepdim=True) for share in (self._dark, self._bright))  # [B, 1]
        span = high - low
        levels = torch.arange(256, device=images.device)
        stretched = (((levels - low) * 510 + span).clamp(min=0)).minimum(510 * span) // (2 * span).clamp(min=1)
        levels_of = torch.where(span > 0, stretched, levels).to(torch.uint8)  # [B, 256]
        return levels_of.gather(1, values).view_as(images)
