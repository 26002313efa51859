"""`permute_pixels`: the plugin's own transform."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from albumentations.core.transforms_interface import ImageOnlyTransform
from torch import Tensor

from toolkit.data.device_transforms.contract import PixelTransform, Shape
from toolkit.data.device_transforms.draws import Uniforms
from toolkit.data.sample import Pixels


class PermutePixels(ImageOnlyTransform):  # type: ignore[misc]
    """Put the pixels of every picture into one other, fixed order: the same information without any neighbourhood.

    All channels of a pixel move together. A network that is fully connected loses nothing by it, a convolutional one does.

    Args:
        order_seed: what the order is drawn from; training and evaluation need the same. (Not `seed`: albumentations leaves an option
            of that name out of what it says of a transform, and two orders would be taken for one.)
    """

    toolkit_deterministic = True

    def __init__(self, order_seed: int = 0) -> None:
        super().__init__(p=1.0)
        if isinstance(order_seed, bool) or not isinstance(order_seed, int) or order_seed < 0:
            raise ValueError(f"order_seed should be a whole number of at least 0, got {order_seed!r}")
        self.order_seed = order_seed

    def apply(self, img: Pixels, **params: Any) -> Pixels:
        """[H, W, C] -> [H, W, C]."""
        height, width = img.shape[:2]
        return img.reshape(height * width, -1)[pixel_order(self.order_seed, height * width)].reshape(img.shape)

    def toolkit_device(self, shape: Shape) -> PixelTransform:
        """The same for whole batches."""
        return _BatchedPermutation(shape, self.order_seed)


@lru_cache(maxsize=16)
def pixel_order(seed: int, count: int) -> npt.NDArray[np.int64]:
    """[count] the old place of each new pixel, row by row."""
    return np.random.default_rng(seed).permutation(count)


class _BatchedPermutation(PixelTransform):
    def __init__(self, shape: Shape, seed: int) -> None:
        super().__init__(shape)
        self._order = torch.from_numpy(pixel_order(seed, shape.height * shape.width))

    def draw(self, uniforms: Uniforms) -> None:
        """Nothing is left to chance."""

    def apply(self, images: Tensor, params: None) -> Tensor:
        """[B, H, W, C] uint8 -> the same."""
        self._order = self._order.to(images.device)  # once: afterwards it is there
        return images.flatten(1, 2).index_select(1, self._order).reshape(images.shape)
