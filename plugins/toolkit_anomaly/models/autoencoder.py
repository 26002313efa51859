"""`conv_autoencoder`: rebuild a picture from a few numbers; what does not come back is a defect."""

from __future__ import annotations

from typing import Annotated, cast

import torch
from annotated_types import Ge, Le, Lt, MinLen
from torch import Tensor, nn

from toolkit.errors import ConfigError
from toolkit_anomaly.models.corruption import corrupted
from toolkit_anomaly.types import AnomalyInfo, Reconstruction

Channels = Annotated[tuple[Annotated[int, Ge(1)], ...], MinLen(1)]


class ConvAutoencoder(nn.Module):
    """A convolutional autoencoder (layers of Bergmann et al., "Improving unsupervised defect segmentation ...", VISAPP 2019, Table 1).

    The encoder is a row of convolutions, 4x4 where the stride is 2 and 3x3 where it is 1, then one whose kernel covers all that is left
    (8x8 for the default on 128 pixels) and gives `bottleneck` numbers. The decoder is its mirror image in transposed convolutions, its
    last layer through a sigmoid. Pictures are to be in [0, 1]: no Normalize before it.

    Args:
        bottleneck: numbers that a picture passes through; 0 leaves out the narrowest pair of layers, so that the last map is the
            bottleneck.
        channels: of each convolution of the encoder.
        strides: of each, 1 or 2; as many as there are channels.
        batch_norm: batch normalisation before each activation, except at the bottleneck and the output.
        negative_slope: of the LeakyReLUs.
        skips: the decoder also sees the encoder's maps of equal size (a U-Net), and what it gives, at first nothing, is added to the
            picture instead of passed through a sigmoid. Only with `corruption`, or the picture itself would be the answer; and only with
            `fit.select.use: last`: clean validation pictures are given back best by the untrained network.
        corruption: share of the training pictures into which foreign patches are drawn; the network is to give back the clean picture.
            The idea is that of DRAEM (Zavrtanik, Kristan, Skocaj, ICCV 2021), without its second network and its picture library.

    Raises: ConfigError if the options or the size of the pictures do not go together.
    """

    def __init__(
        self,
        info: AnomalyInfo,
        /,
        *,
        bottleneck: Annotated[int, Ge(0)] = 100,
        channels: Channels = (32, 32, 32, 64, 64, 128, 64, 32),
        strides: Annotated[tuple[Annotated[int, Ge(1), Le(2)], ...], MinLen(1)] = (2, 2, 1, 2, 1, 2, 1, 1),
        batch_norm: bool = False,
        negative_slope: Annotated[float, Ge(0), Lt(1)] = 0.2,
        skips: bool = False,
        corruption: Annotated[float, Ge(0), Le(1)] = 0.0,
    ) -> None:
        super().__init__()
        side, factor = _checked_size(info.input_shape, channels, strides)
        if skips and not corruption:
            reason = "skips without corruption let the picture pass around the bottleneck; set corruption above 0 or skips: false"
            raise ConfigError(reason, path="model.skips")
        picture_channels = info.input_shape[0]
        self.corruption = corruption
        self.skips = skips
        before = (picture_channels, *channels[:-1])
        down = [
            _layer(nn.Conv2d(i, o, 2 + s, s, 1, bias=not batch_norm), o, batch_norm, negative_slope)
            for i, o, s in zip(before, channels, strides, strict=True)
        ]
        innermost = len(channels) - 1
        up = [  # a skip puts the encoder's map beside what a layer sees, except at the innermost one, which sees nothing else
            _layer(
                nn.ConvTranspose2d(o * (2 if skips and n < innermost else 1), i, 2 + s, s, 1, bias=not batch_norm or n == 0),
                i, batch_norm, negative_slope, last=n == 0,
            )
            for n, (i, o, s) in enumerate(zip(before, channels, strides, strict=True))
        ]  # fmt: skip
        self.encoder = nn.ModuleList(down)
        self.decoder = nn.ModuleList(reversed(up))
        kernel = (side[0] // factor, side[1] // factor)
        self.narrow: nn.Module = nn.Conv2d(channels[-1], bottleneck, kernel) if bottleneck else nn.Identity()
        self.widen: nn.Module = (
            _layer(nn.ConvTranspose2d(bottleneck, channels[-1], kernel), channels[-1], batch_norm, negative_slope)
            if bottleneck
            else nn.Identity()
        )
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
                nn.init.kaiming_normal_(module.weight, a=negative_slope)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
        if skips:
            nn.init.zeros_(cast(nn.ConvTranspose2d, self.decoder[-1]).weight)

    def forward(self, images: Tensor) -> Reconstruction:
        """[B, C, H, W] in [0, 1] -> the same pictures and their reconstruction; corrupted ones are shown in training mode only."""
        shown = seen = corrupted(images, self.corruption) if self.training and self.corruption else images
        maps = []
        for layer in self.encoder:
            seen = layer(seen)
            maps.append(seen)
        features = self.widen(self.narrow(maps.pop()))
        for layer in self.decoder:
            features = layer(features)
            if self.skips and maps:
                features = torch.cat([features, maps.pop()], dim=1)
        features = features.float()  # bfloat16 would round shades to 1/256
        if not self.skips:
            return Reconstruction(images, features.sigmoid())
        mended = shown.float() + features
        return Reconstruction(images, mended if self.training else mended.clamp(0, 1))  # a clamp would stop the gradient


def _layer(convolution: nn.Module, channels: int, batch_norm: bool, slope: float, *, last: bool = False) -> nn.Module:
    if last:
        return convolution
    return nn.Sequential(convolution, *([nn.BatchNorm2d(channels)] if batch_norm else []), nn.LeakyReLU(slope))


def _checked_size(input_shape: tuple[int, int, int], channels: tuple[int, ...], strides: tuple[int, ...]) -> tuple[tuple[int, int], int]:
    """Height and width of the pictures, and by how much the encoder divides them."""
    if len(channels) != len(strides):
        reason = f"channels has {len(channels)} numbers, strides {len(strides)}; expected one of each per convolution"
        raise ConfigError(reason, path="model.strides")
    _, height, width = input_shape
    factor = 2 ** strides.count(2)
    if height % factor or width % factor or not height or not width:
        reason = f"pictures are {height} x {width}, but {strides.count(2)} strides of 2 need multiples of {factor}; add a Resize"
        raise ConfigError(reason, path="model.strides")
    return (height, width), factor
