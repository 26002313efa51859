"""Transforms of colours and brightness."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from toolkit.data.device_transforms.colour_kernels import blend, gray, turn_hue
from toolkit.data.device_transforms.contract import CannotMatchError, Levels, LevelTransform, PixelTransform, Shape
from toolkit.data.device_transforms.draws import Indices, Uniforms, between
from toolkit.data.device_transforms.kernels import apply_levels, to_device

_ALL = np.arange(256, dtype=np.float32)


def linear_levels(factor: Uniforms, offset: Uniforms) -> Levels:
    """[B, 256] level * factor + offset, clipped and cut off as albucore does in float32 (not rounded)."""
    levels = _ALL * factor.astype(np.float32)[:, None] + offset.astype(np.float32)[:, None]
    kept: Levels = np.clip(levels, 0, 255).astype(np.uint8)
    return kept


@dataclass(frozen=True)
class Linear:
    """contrast, brightness: [B] level * contrast + brightness, brightness as a share of the full range or of the picture's mean."""

    contrast: Uniforms
    brightness: Uniforms


class BrightnessContrast(LevelTransform):
    """Of albumentations' RandomBrightnessContrast with brightness_by_max."""

    num_uniforms = 2

    def __init__(self, shape: Shape, transform: Any) -> None:
        super().__init__(shape)
        self._contrast, self._brightness = transform.contrast_limit, transform.brightness_limit
        self._safe = transform.ensure_safe_range

    def draw(self, uniforms: Uniforms) -> Linear:
        return Linear(1 + between(uniforms[:, 0], self._contrast), between(uniforms[:, 1], self._brightness))

    def levels(self, params: Linear) -> Levels:
        factor, offset = params.contrast, params.brightness * 255
        return linear_levels(*_kept_in_range(factor, offset)) if self._safe else linear_levels(factor, offset)


class BrightnessContrastByMean(PixelTransform):
    """The same without brightness_by_max: brightness counts in means of the picture."""

    num_uniforms = 2

    def __init__(self, shape: Shape, transform: Any) -> None:
        super().__init__(shape)
        if transform.ensure_safe_range:
            raise CannotMatchError("ensure_safe_range is true with brightness_by_max false")
        self._contrast, self._brightness = transform.contrast_limit, transform.brightness_limit

    def draw(self, uniforms: Uniforms) -> Linear:
        return Linear(1 + between(uniforms[:, 0], self._contrast), between(uniforms[:, 1], self._brightness))

    def apply(self, images: Tensor, params: Linear) -> Tensor:
        mean = images.flatten(1).sum(1, dtype=torch.int64).double() / images[0].numel()
        return apply_levels(images, _linear_levels_of(params.contrast, to_device(params.brightness, images) * mean))


@dataclass(frozen=True)
class Gamma:
    """gamma: [B] the exponent."""

    gamma: Uniforms


class GammaCurve(LevelTransform):
    """Of albumentations' RandomGamma."""

    num_uniforms = 1

    def __init__(self, shape: Shape, transform: Any) -> None:
        super().__init__(shape)
        self._limit = transform.gamma_limit

    def draw(self, uniforms: Uniforms) -> Gamma:
        return Gamma(between(uniforms[:, 0], self._limit) / 100)

    def levels(self, params: Gamma) -> Levels:
        shares = np.arange(0, 256.0 / 255, 1.0 / 255)[:256]
        return (shares ** params.gamma[:, None] * 255).astype(np.uint8)


class Inversion(LevelTransform):
    """Of albumentations' InvertImg."""

    def draw(self, uniforms: Uniforms) -> Indices:
        return np.zeros(len(uniforms), np.int64)

    def levels(self, params: Indices) -> Levels:
        return np.broadcast_to(np.arange(255, -1, -1, dtype=np.uint8), (len(params), 256))


@dataclass(frozen=True)
class Jitter:
    """What albumentations draws for ColorJitter.

    Args:
        brightness, contrast, saturation: [B] factors.
        hue: [B] shares of the colour circle.
        order: [B, 4] in which of the four (0 brightness ... 3 hue) is done first, second, ...
    """

    brightness: Uniforms
    contrast: Uniforms
    saturation: Uniforms
    hue: Uniforms
    order: Indices


class ColourJitter(PixelTransform):
    """Of albumentations' ColorJitter."""

    num_uniforms = 8

    def __init__(self, shape: Shape, transform: Any) -> None:
        super().__init__(shape)
        self._limits = transform.brightness, transform.contrast, transform.saturation, transform.hue

    def draw(self, uniforms: Uniforms) -> Jitter:
        brightness, contrast, saturation, hue = (between(uniforms[:, i], limits) for i, limits in enumerate(self._limits))
        return Jitter(brightness, contrast, saturation, hue, uniforms[:, 4:].argsort(1))

    def apply(self, images: Tensor, params: Jitter) -> Tensor:
        out = images
        for step in range(4):
            parts = [np.flatnonzero(params.order[:, step] == kind) for kind in range(4)]
            done = [self._one(kind, out, part, params) for kind, part in enumerate(parts) if len(part)]
            back = np.argsort(np.concatenate(parts))
            out = torch.cat(done).index_select(0, to_device(back, images)) if len(done) > 1 else done[0]
        return out

    def _one(self, kind: int, images: Tensor, part: Indices, params: Jitter) -> Tensor:
        chosen = images if len(part) == len(images) else images.index_select(0, to_device(part, images))
        if kind == 0:
            factor = params.brightness[part]
            return apply_levels(chosen, linear_levels(factor, np.zeros_like(factor)))
        if kind == 1:
            return adjust_contrast(chosen, params.contrast[part])
        if self.shape.channels == 1:
            return chosen
        return adjust_saturation(chosen, params.saturation[part]) if kind == 2 else turn_hue(chosen, params.hue[part].tolist())


def adjust_contrast(images: Tensor, factor: Uniforms) -> Tensor:
    """Away from the mean of the grey picture, as torchvision does; [B] factors."""
    grey = gray(images) if images.shape[-1] == 3 else images[..., 0]
    mean = grey.flatten(1).sum(1, dtype=torch.int64).double() / grey[0].numel()
    return apply_levels(images, _linear_levels_of(factor, mean * (1 - to_device(factor, images))))


def adjust_saturation(images: Tensor, factor: Uniforms) -> Tensor:
    """Away from the grey picture; [B] factors."""
    return blend(images, gray(images), factor.tolist())


class Grey(PixelTransform):
    """Of albumentations' ToGray."""

    def __init__(self, shape: Shape, transform: Any) -> None:
        super().__init__(shape)
        self._method, self._is_grey = transform.method, shape.channels == 1
        if self._method not in ("weighted_average", "desaturation", "average", "max"):
            raise CannotMatchError(f"method is {self._method}; expected weighted_average, desaturation, average or max")
        if not self._is_grey:
            self.output_shape = Shape(*shape[:2], transform.num_output_channels)
            if transform.num_output_channels not in (1, 3):
                raise CannotMatchError(f"num_output_channels is {transform.num_output_channels}; expected 1 or 3")

    def draw(self, uniforms: Uniforms) -> None:
        return None

    def apply(self, images: Tensor, params: None) -> Tensor:
        if self._is_grey:
            return images
        return self._grey(images)[..., None].expand(*images.shape[:3], self.output_shape.channels).contiguous()

    def _grey(self, images: Tensor) -> Tensor:
        if self._method == "weighted_average":
            return gray(images)
        if self._method == "max":
            return images.amax(-1)
        wide = images.to(torch.int32)
        if self._method == "average":
            return (wide.sum(-1, dtype=torch.int32) // 3).to(torch.uint8)
        return ((wide.amax(-1) + wide.amin(-1)) // 2).to(torch.uint8)


def brightness_contrast(transform: Any, shape: Shape) -> PixelTransform:
    """Of albumentations' RandomBrightnessContrast."""
    return (BrightnessContrast if transform.brightness_by_max else BrightnessContrastByMean)(shape, transform)


def _linear_levels_of(factor: Uniforms, offset: Tensor) -> Tensor:
    """`linear_levels` where the offset is known on the device only."""
    levels = torch.arange(256, dtype=torch.float32, device=offset.device)
    scaled = levels * to_device(factor.astype(np.float32), offset)[:, None] + offset.to(torch.float32)[:, None]
    return scaled.clamp_(0, 255).to(torch.uint8)


def _kept_in_range(factor: Uniforms, offset: Uniforms) -> tuple[Uniforms, Uniforms]:
    """Factors and offsets that keep all levels in range, as albumentations' ensure_safe_range does."""
    grows = factor > 0
    offset = np.where(grows, np.clip(offset, 0, 255), np.minimum(offset, 255))
    return np.where(grows, np.minimum(factor, (255 - offset) / 255), np.maximum(factor, -offset / 255)), offset
