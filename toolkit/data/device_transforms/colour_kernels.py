"""Conversions between colours for whole batches: OpenCV's on the CPU, the same arithmetic in torch anywhere else."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
import torch
from torch import Tensor

from toolkit.data.device_transforms.kernels import is_native, to_device

_RED, _GREEN, _BLUE = 9798, 19235, 3735
"""0.299, 0.587, 0.114 in units of 2**-15, as cv2 has them."""


def gray(images: Tensor) -> Tensor:
    """[B, H, W, 3] uint8 -> [B, H, W], the same bytes as cv2's RGB2GRAY."""
    if is_native(images):
        return torch.from_numpy(cv2.cvtColor(_tall(images), cv2.COLOR_RGB2GRAY)).view(images.shape[:3])
    red, green, blue = images.to(torch.int32).unbind(-1)
    return (red * _RED + green * _GREEN + blue * _BLUE + (1 << 14)).bitwise_right_shift_(15).to(torch.uint8)


def blend(images: Tensor, others: Tensor, weights: Sequence[float]) -> Tensor:
    """images * weight + others * (1 - weight), one weight per sample, rounded; [B, H, W, C] and [B, H, W] uint8."""
    if is_native(images):
        both = images.numpy(), cv2.cvtColor(_tall(others[..., None]), cv2.COLOR_GRAY2RGB).reshape(images.shape)
        out = np.empty_like(both[0])
        for first, second, weight, after in zip(*both, weights, out, strict=True):
            cv2.addWeighted(first, weight, second, 1 - weight, 0, after)
        return torch.from_numpy(out)
    share = to_device(np.asarray(weights, np.float32), images)[:, None, None, None]
    return (images * share + others[..., None] * (1 - share)).round_().clamp_(0, 255).to(torch.uint8)


def turn_hue(images: Tensor, turns: Sequence[float]) -> Tensor:
    """Hues turned by a share of the circle per sample; [B, H, W, 3] uint8. Pictures that are turned by 0 keep their bytes."""
    still = np.flatnonzero(np.asarray(turns) == 0)  # the way to hue and back again would change some
    if len(still) == len(images):
        return images
    turned = _turn_hue(images, turns)
    if len(still):
        places = to_device(still, images)
        turned.index_copy_(0, places, images.index_select(0, places))
    return turned


def _turn_hue(images: Tensor, turns: Sequence[float]) -> Tensor:
    hues = np.mod(np.arange(256) + 180 * np.asarray(turns)[:, None], 180).astype(np.uint8)  # [B, 256]
    if is_native(images):
        coloured = cv2.cvtColor(_tall(images), cv2.COLOR_RGB2HSV)
        tables = np.empty((len(hues), 256, 3), np.uint8)
        tables[:, :, 0], tables[:, :, 1:] = hues, np.arange(256, dtype=np.uint8)[:, None]
        for table, part in zip(tables, coloured.reshape(images.shape), strict=True):
            cv2.LUT(part, table[:, None], part)
        return torch.from_numpy(cv2.cvtColor(coloured, cv2.COLOR_HSV2RGB)).view(images.shape)
    hue, saturation, value = _to_hsv(images)
    places = hue.flatten(1).long() + torch.arange(len(images), device=images.device)[:, None] * 256
    turned = to_device(hues, images).reshape(-1).take(places).view(hue.shape)
    return _from_hsv(turned, saturation, value)


def _tall(images: Tensor) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    """[B*H, W, C]: one call for the whole batch."""
    return images.numpy().reshape(-1, *images.shape[2:])


def _to_hsv(images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """cv2's 8-bit integer arithmetic: hue in [0, 180), saturation and value in [0, 255]; int32."""
    levels = np.arange(1, 256)
    saturations = to_device(np.rint(np.append(0, (255 << 12) / levels)).astype(np.int32), images)
    sixths = to_device(np.rint(np.append(0, (180 << 12) / (6 * levels))).astype(np.int32), images)
    pixels = images.to(torch.int32)
    red, green, blue = pixels.unbind(-1)
    value, least = pixels.amax(-1), pixels.amin(-1)
    spread = value - least
    hue = torch.where(value == green, blue - red + 2 * spread, red - green + 4 * spread)
    hue = torch.where(value == red, green - blue, hue)
    hue = (hue * sixths.take(spread.long()) + (1 << 11)) >> 12
    saturation = (spread * saturations.take(value.long()) + (1 << 11)) >> 12
    return torch.where(hue < 0, hue + 180, hue), saturation, value


def _from_hsv(hue: Tensor, saturation: Tensor, value: Tensor) -> Tensor:
    bright, colourful = value.to(torch.float32), saturation.to(torch.float32) / 255
    sixth = hue.to(torch.float32) / 30
    sector = sixth.floor()
    part = sixth - sector
    low, falling, rising = (bright * (1 - colourful * share) for share in (1, part, 1 - part))
    sector = sector.to(torch.int64)
    choices = torch.stack([bright, low, falling, rising])
    order = torch.tensor(  # which of them red, green and blue are in each sector
        [[0, 3, 1], [2, 0, 1], [1, 0, 3], [1, 2, 0], [3, 1, 0], [0, 1, 2]], device="cpu"
    ).to(hue.device, non_blocking=True)
    chosen = order[sector].movedim(-1, 0)  # [3, B, H, W]
    levels = choices.gather(0, chosen).add_(1e-4).floor_()  # OpenCV cuts off here, save at the ends of rows, where it rounds
    return levels.clamp_(0, 255).to(torch.uint8).movedim(0, -1).contiguous()
