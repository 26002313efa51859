"""`fcn`, a network around any backbone, and `dilated`, a small backbone that keeps the picture's size."""

from __future__ import annotations

from typing import Annotated

import torch.nn.functional as F
from annotated_types import Ge, Len
from toolkit.data import DataInfo
from toolkit.models.model import Backbone, Shape, output_shape
from torch import Tensor, nn


class Fcn(nn.Module):
    """Fully convolutional network (Long, Shelhamer, Darrell, CVPR 2015) without skips: features, one logit each, enlarged to the picture.

    Args:
        backbone: from pictures to features; any of the toolkit's, such as timm/resnet18, or `dilated`.
    """

    def __init__(self, info: DataInfo, /, *, backbone: Backbone) -> None:
        super().__init__()
        channels, _, _ = output_shape(backbone, info.input_shape)
        self.backbone = backbone
        self.classify = nn.Conv2d(channels, 1, kernel_size=1)

    def forward(self, images: Tensor) -> Tensor:
        """[B, C, H, W] -> [B, 1, H, W] logits."""
        logits: Tensor = self.classify(self.backbone(images))  # [B, 1, h, w]
        return F.interpolate(logits, size=images.shape[-2:], mode="bilinear", align_corners=False)


class Dilated(Backbone):
    """3x3 convolutions whose holes double from layer to layer, so that few of them see far without shrinking the picture.

    Args:
        widths: channels of each layer.
    """

    def __init__(self, input_shape: Shape, /, *, widths: Annotated[tuple[Annotated[int, Ge(1)], ...], Len(1)] = (16, 16)) -> None:
        super().__init__()
        self.layers = nn.Sequential()
        channels = input_shape[0]
        for number, width in enumerate(widths):
            self.layers.append(nn.Conv2d(channels, width, kernel_size=3, padding=2**number, dilation=2**number))
            self.layers.append(nn.ReLU())
            channels = width

    def forward(self, images: Tensor) -> Tensor:
        """[B, C, H, W] -> [B, widths[-1], H, W]."""
        features: Tensor = self.layers(images)
        return features
